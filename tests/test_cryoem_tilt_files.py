"""Alignments of tilt series from the files of IMOD, AreTomo and SerialEM."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tomodiff.errors import DataError
from tomodiff.files.cryoem.tilt_aretomo import read_aln
from tomodiff.files.cryoem.tilt_imod import read_imod, read_tilt_com
from tomodiff.files.cryoem.tilt_mdoc import read_mdoc
from tomodiff.files.cryoem.tilt_text import view_list

COM = """# Command file to run Tilt
$tilt -StandardInput
InputProjections ts_ali.mrc
IMAGEBINNED 2
TILTFILE ts.tlt
XTILTFILE ts.xtilt
THICKNESS 300
XAXISTILT 2.5
OFFSET 1.5
SHIFT 10.0 -4.0
EXCLUDELIST2 1,3-5, 7
FULLIMAGE 64 48
SUBSETSTART 0 0
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def imod_folder(folder: Path, transforms: np.ndarray, tilts: np.ndarray, com: str = "") -> Path:
    write(
        folder / "ts.xf", "".join("{:12.7f}{:12.7f}{:12.7f}{:12.7f}{:12.3f}{:12.3f}\n".format(*t) for t in transforms)
    )
    write(folder / "ts.tlt", "".join(f"{t:8.2f}\n" for t in tilts))
    if com:
        write(folder / "tilt.com", com)
    return folder / "ts.xf"


def test_imod_transforms_lead_points_to_where_imod_puts_them(tmp_path: Path, rng: np.random.Generator) -> None:
    """The raw pixel of a point, from the aligned one by IMOD's own rule: A (raw - c) + D + c about c = (n - 1) / 2."""
    n, rows, columns, pixel = 5, 48, 61, 2.0
    tilts, angles = np.array([-50.0, -20, 0, 20, 50]), rng.normal(0, 1.5, n)
    scales, D = 1 + 0.01 * rng.normal(size=n), rng.normal(0, 20, (n, 2)).round(3)
    c, s = np.cos(angles) * scales, np.sin(angles) * scales
    transforms = np.column_stack([c, s, -s, c, D]).round(7)
    series = read_imod(imod_folder(tmp_path, transforms, tilts), pixel=pixel, image_shape=(rows, columns))
    point = np.array([13.0, -7.0, 22.0])
    found = series.scan().project(point)
    for i in range(n):
        t = np.deg2rad(tilts[i])
        across = np.array([np.cos(t) * point[0] + np.sin(t) * point[2], point[1]]) / pixel
        A, middle = transforms[i, :4].reshape(2, 2), (np.array([columns, rows]) - 1) / 2
        raw = np.linalg.solve(A, across - transforms[i, 4:]) + middle
        np.testing.assert_allclose(found[i, ::-1], raw, atol=1e-4)
    assert series.warnings == ()


def test_tilt_com_adds_offset_x_tilt_and_exclusions(tmp_path: Path) -> None:
    transforms = np.tile([1.0, 0, 0, 1, 0, 0], (9, 1))
    xf = imod_folder(tmp_path, transforms, np.arange(-4.0, 5), COM)
    write(tmp_path / "ts.xtilt", "3.0\n" * 9)
    series = read_imod(xf, pixel=4.0)
    np.testing.assert_array_equal(series.section, [1, 5, 7, 8])
    assert series.excluded == (0, 2, 3, 4, 6)
    np.testing.assert_allclose(np.rad2deg(series.tilt), np.array([-3, 1, 3, 4]) + 1.5)
    np.testing.assert_allclose(np.rad2deg(series.x_tilt), 0.5)
    assert series.image_shape == (48, 64)
    assert series.volume_shape == (300, 48, 64)
    np.testing.assert_allclose(series.volume_center, (-40, 0, -16))
    inverted = read_imod(xf, pixel=4.0, invert_tilt=True)
    np.testing.assert_allclose(np.rad2deg(inverted.tilt), -np.array([-3, 1, 3, 4]) - 1.5)


def test_the_stack_tells_the_shape_and_must_have_as_many_sections(tmp_path: Path) -> None:
    xf = imod_folder(tmp_path, np.tile([1.0, 0, 0, 1, 0, 0], (3, 1)), np.zeros(3))
    with pytest.raises(DataError, match="image shape"):
        read_imod(xf, pixel=1.0)
    with mrcfile.new(tmp_path / "ts.mrc") as mrc:
        mrc.set_data(np.zeros((3, 10, 12), np.float32))
    series = read_imod(xf, pixel=1.0)
    assert (series.image_shape, series.paths) == ((10, 12), (str(tmp_path / "ts.mrc"),))
    with mrcfile.new(tmp_path / "ts.mrc", overwrite=True) as mrc:
        mrc.set_data(np.zeros((4, 10, 12), np.float32))
    with pytest.raises(DataError, match=r"sections: expected 3.*found 4"):
        read_imod(xf, pixel=1.0)


@pytest.mark.parametrize(
    ("xf", "tlt", "message"),
    [
        ("1 0 0 1 0 0\n1 0 0 1 0\n", "0\n1\n", r"ts\.xf: line 2: expected 6 numbers"),
        ("1 0 0 1 0 0\n1 0 0 x 0 0\n", "0\n1\n", r"ts\.xf: line 2: expected finite numbers"),
        ("1 0 0 1 0 0\n1 0 0 -1 0 0\n", "0\n1\n", r"ts\.xf: line 2: expected a transformation without mirror"),
        ("1 0 0 1 0 0\n1 0 0 1 0 0\n", "0\n", r"ts\.tlt: lines: expected 2, as in ts\.xf, found 1"),
        ("1 0 0 1 0 0\n1 0 0 1 0 0\n", "0\n1 2\n", r"ts\.tlt: line 2"),
        ("1 0 0 1 0 0\n1 0 0 1 0 0\n", "0\nnan\n", r"ts\.tlt: line 2: expected finite"),
        ("", "0\n", r"ts\.xf: expected A11"),
    ],
)
def test_malformed_imod_files_are_named_with_the_line(tmp_path: Path, xf: str, tlt: str, message: str) -> None:
    write(tmp_path / "ts.xf", xf)
    write(tmp_path / "ts.tlt", tlt)
    with pytest.raises(DataError, match=message):
        read_imod(tmp_path / "ts.xf", pixel=1.0, image_shape=(8, 8))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("EXCLUDELIST 3,x", "line 1: expected views such as"),
        ("EXCLUDELIST 5-3", "line 1: expected a range of views that rises"),
        ("EXCLUDELIST 8-11", "line 1: expected views from 1 to 10"),
        ("EXCLUDELIST 0", "line 1: expected views from 1"),
        ("OFFSET 1.0 12", "tilt axis in the middle"),
        ("THICKNESS", "line 1: expected 1 number"),
    ],
)
def test_malformed_lines_of_tilt_com_are_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_tilt_com(write(tmp_path / "tilt.com", line + "\n"), 10)


def test_lists_of_views_with_ranges_and_spaces() -> None:
    assert view_list(Path("x"), 1, "1, 3-5,40 2 - 3", 40) == [1, 2, 3, 4, 5, 40]
    assert view_list(Path("x"), 1, "") == []


def aln(rows: list[tuple[int, float]], dark: list[tuple[int, int]], n: int, more: str = "") -> str:
    lines = [
        "# AreTomo Alignment / Priims bprmMn",
        f"# RawSize = 100 80 {n}",
        f"# NumPatches = {1 if more else 0}",
        *(f"# DarkFrame = {a:5d}{b:5d} {-60.0:8.2f}" for a, b in dark),
        "# AlphaOffset =     1.00",
        "# BetaOffset =     0.00",
        "# SEC     ROT         GMAG       TX          TY      SMEAN     SFIT    SCALE     BASE     TILT",
        *(f"{s:5d}  85.3000  1.00000  {s + 0.5:9.3f}  -2.000  1.00 1.00 1.00 0.00 {t:8.2f}" for s, t in rows),
    ]
    return "\n".join(lines) + "\n" + more


@pytest.mark.parametrize("first", [0, 1])
def test_aretomo_counts_sections_from_0_or_from_1(tmp_path: Path, first: int) -> None:
    text = aln([(first + i, 3.0 * i) for i in (1, 2, 3)], [(0, first)], 4, "# Local Alignment\n0 0 1 2 3 4 1\n")
    series = read_aln(write(tmp_path / "ts.aln", text), pixel=2.0)
    np.testing.assert_array_equal(series.section, [1, 2, 3])
    assert (series.excluded, series.image_shape) == ((0,), (80, 100))
    np.testing.assert_allclose(np.rad2deg(series.tilt), [3, 6, 9])
    np.testing.assert_allclose(np.rad2deg(series.axis), 85.3)
    np.testing.assert_allclose(series.shift[0], [2 * (first + 1.5), -4.0])
    assert "local" in series.warnings[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (aln([(1, 0.0), (2, 3.0)], [], 4), r"SEC: expected all 4 sections"),
        (aln([(0, 0.0)], [], 1).replace("1.00000", "one"), "line 7: expected finite"),
        (aln([(0, 0.0)], [], 1).replace(" 1.00000", ""), "line 7: expected 10 numbers"),
        (aln([(0, 0.0)], [], 1).replace("TILT", "TLT"), "line 6: expected the columns"),
        ("0.0\n", "line 1: expected 10"),
        ("", "expected an .aln file"),
    ],
)
def test_malformed_aln_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_aln(write(tmp_path / "ts.aln", text), pixel=1.0)


def mdoc(tilts: list[float], prior: bool = True, dates: bool = True) -> str:
    """Dose-symmetric: taken in the order of rising |tilt|."""
    head = "PixelSpacing = 1.35\nVoltage = 300\nImageSize = 3838 3710\n\n[T = SerialEM: Digitized]\n\n"
    order = np.argsort(np.argsort(np.abs(tilts), kind="stable"), kind="stable")
    parts = []
    for z, tilt in enumerate(tilts):
        lines = [f"[ZValue = {z}]", f"TiltAngle = {tilt}", "ExposureDose = 3.0", "RotationAngle = 175.3"]
        lines += [f"PriorRecordDose = {3.0 * order[z]}"] if prior else []
        lines += [f"DateTime = 05-Nov-15  15:{order[z]:02d}:38"] if dates else []
        lines += [f"SubFramePath = X:\\frames\\img_{z}.tif"]
        parts.append("\n".join(lines))
    return head + "\n\n".join(parts) + "\n"


@pytest.mark.parametrize("prior", [True, False])
def test_mdoc_doses_follow_time_not_angle(tmp_path: Path, prior: bool) -> None:
    series = read_mdoc(write(tmp_path / "ts.mdoc", mdoc([-4.0, -2.0, 0.0, 2.5, 4.5], prior)))
    np.testing.assert_array_equal(series.order, [3, 1, 0, 2, 4])
    np.testing.assert_allclose(series.dose, [9, 3, 0, 6, 12])
    np.testing.assert_allclose(series.exposure, 3)
    np.testing.assert_allclose(np.rad2deg(series.axis), 175.3)
    assert (series.pixel, series.image_shape) == (1.35, (3710, 3838))
    assert series.meta["frames"][2] == "img_2.tif"
    assert bool(series.warnings) is not prior


def test_an_mdoc_of_one_tilt(tmp_path: Path) -> None:
    series = read_mdoc(write(tmp_path / "one.mdoc", mdoc([12.0])))
    assert len(series) == 1
    np.testing.assert_allclose(np.rad2deg(series.tilt), 12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("TiltAngle = 0.0", "TiltAngle = zero"), r"line 16: expected finite numbers \(TiltAngle\)"),
        (("TiltAngle = 0.0\n", ""), "ZValue 1: expected TiltAngle"),
        (("[ZValue = 1]", "[ZValue = 0]"), "ZValue: expected each section once, found 0 twice"),
        (("[ZValue = 1]", "[ZValue = one]"), "line 15: expected a section number"),
        (("05-Nov-15  15:00", "05-Nov-15T15:00"), "expected a DateTime such as"),
        (("PixelSpacing = 1.35\n", ""), "PixelSpacing"),
        (("Voltage = 300", "Voltage 300"), "line 2: expected KEY = VALUE"),
    ],
)
def test_malformed_mdocs_are_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    text = mdoc([-3.0, 0.0])
    assert change[0] in text
    with pytest.raises(DataError, match=message):
        read_mdoc(write(tmp_path / "ts.mdoc", text.replace(*change)))
