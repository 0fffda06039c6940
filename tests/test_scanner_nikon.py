"""Nikon scans, written here from the description of their format (no file of a scanner can be had)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from tomodiff.cli.main import main
from tomodiff.errors import DataError
from tomodiff.files import probe, read
from tomodiff.geometry import Vectors
from tomodiff.geometry.rotation import about_x, about_y, about_z
from tomodiff.simulate import ellipsoid

VIEWS, ROWS, COLUMNS, PIXEL, NEAR, FAR, WHITE = 30, 24, 40, 0.8, 60.0, 200.0, 50000.0
FIELDS = {
    "Name": "cell", "Projections": VIEWS, "DetectorPixelsX": COLUMNS, "DetectorPixelsY": ROWS,
    "DetectorPixelSizeX": PIXEL, "DetectorPixelSizeY": PIXEL, "SrcToObject": NEAR, "SrcToDetector": FAR,
    "WhiteLevel": WHITE, "InitialAngle": 7, "AngularStep": 12, "InputSeparator": "_", "XraykV": 120,
}  # fmt: skip


def as_nikon_has_it(aside: float = 0.0, roll: float = 0.0, tilt: float = 0.0) -> Vectors:
    """The views in the frame of the sample: the source at the origin, the detector across y, its first pixel at +x and
    +z; the axis at (-aside, NEAR), leaning; the sample turns by minus the turntable's angle."""
    start = np.array([-aside, NEAR, 0.0])
    upright = about_x(-tilt) @ about_y(roll)
    rows = []
    for view in range(VIEWS):
        turn = np.deg2rad(180 - FIELDS["InitialAngle"] - FIELDS["AngularStep"] * view)
        to_sample = (upright @ about_z(turn)).T
        source, middle = to_sample @ -start, to_sample @ (np.array([0.0, FAR, 0.0]) - start)
        rows.append([*source, *middle, *(to_sample @ [-PIXEL, 0, 0]), *(to_sample @ [0, 0, -PIXEL])])
    return Vectors(rows, (ROWS, COLUMNS), "cone")


def write_scan(folder: Path, scan: Vectors, **fields: object) -> Path:
    sample = ellipsoid((1.2, -0.8, 0.9), (3.0, 2.5, 2.0), 0.08)
    images = WHITE * np.exp(-sample.project(scan, oversample=2))
    for number, image in enumerate(images, 1):
        tifffile.imwrite(folder / f"cell_{number:04d}.tif", image.astype(np.uint16))
    path = folder / "cell.xtekct"
    lines = [f"{name}={value}" for name, value in (FIELDS | fields).items() if value is not None]
    path.write_text("[XTekCT]\n" + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("fields", "layout"),
    [
        ({}, {}),
        ({"ObjectOffsetX": 1.5}, {"aside": 1.5}),
        ({"CentreOfRotationTop": 3.0, "CentreOfRotationBottom": 3.0}, {"aside": 3.0 * NEAR / FAR}),
        ({"ObjectRoll": 2.0}, {"roll": np.deg2rad(2.0)}),
        ({"ObjectTilt": 3.0}, {"tilt": np.deg2rad(3.0)}),
        ({"CentreOfRotationTop": 0.4, "CentreOfRotationBottom": -0.4}, {"roll": -np.arctan2(0.8, ROWS * PIXEL)}),
    ],
)
def test_points_fall_where_the_scanner_sees_them(
    fields: dict[str, float], layout: dict[str, float], tmp_path: Path, rng: np.random.Generator
) -> None:
    scan = read(write_scan(tmp_path, as_nikon_has_it(**layout), **fields)).scan
    points = rng.uniform(-4, 4, (50, 3))
    last = np.array([ROWS - 1, COLUMNS - 1])
    np.testing.assert_allclose(scan.project(points), last - as_nikon_has_it(**layout).project(points), atol=1e-9)


def test_a_scan_becomes_the_sample_the_right_way_up(tmp_path: Path) -> None:
    path = write_scan(tmp_path, as_nikon_has_it(aside=0.4), ObjectOffsetX=0.4)
    out = tmp_path / "out.npy"
    given = ["--center", "keep", "--rings", "off", "--flux", "off", "--set", "output.report=false"]
    assert main(["-q", "ct", "reconstruct", str(path), "-o", str(out), *given]) == 0
    volume, info = np.load(out), probe(path)
    assert info.format == "nikon" and info.meta["tube_kv"] == "120" and info.n_flats == 1
    weight = np.where(volume > 0.04, volume, 0)
    z, y, x = (np.arange(n) - (n - 1) / 2 for n in volume.shape)
    voxel = PIXEL * NEAR / FAR
    found = [float((weight.sum(other) * axis).sum() / weight.sum()) * voxel for other, axis in
             (((0, 1), x), ((0, 2), y), ((1, 2), z))]  # fmt: skip
    np.testing.assert_allclose(found, (1.2, -0.8, 0.9), atol=0.1)
    assert abs(np.median(volume[weight > 0]) - 0.08) < 0.004


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"Projections": 31}, "31 TIFF images"),
        ({"SrcToObject": "near"}, "SrcToObject: expected a number, found 'near'"),
        ({"SrcToDetector": 50}, "SrcToDetector: expected more than SrcToObject"),
        ({"WhiteLevel": None}, "WhiteLevel: expected a number"),
        ({"DetectorPixelsX": 41}, "DetectorPixelsX"),
        ({"Projections": 2.5}, "Projections: expected a whole number"),
        ({"DetectorPixelSizeX": "nan"}, "DetectorPixelSizeX: expected a number"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, object], said: str, tmp_path: Path) -> None:
    path = write_scan(tmp_path, as_nikon_has_it(), **fields)
    with pytest.raises(DataError, match=said):
        read(path)


def test_a_folder_stands_for_the_file_in_it(tmp_path: Path) -> None:
    path = write_scan(tmp_path, as_nikon_has_it())
    assert probe(tmp_path).format == "nikon" and probe(tmp_path).scan == probe(path).scan
    (tmp_path / "b.xtekct").write_text(path.read_text())
    with pytest.raises(DataError, match=r"one \.xtekct file in the folder, found b\.xtekct, cell\.xtekct"):
        probe(tmp_path)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xtekct").write_text("no sections here\n")
    with pytest.raises(DataError, match="XTekCT"):
        read(tmp_path / "a.xtekct")


def test_uneven_angles_are_pointed_out(tmp_path: Path) -> None:
    path = write_scan(tmp_path, as_nikon_has_it())
    told = [f"{n + 1}\t{-12 * n:.2f}\t0" for n in range(VIEWS)]
    file = tmp_path / "cell_ctdata.txt"
    file.write_text("\n".join(["Projs", "30", "Projection\tAngle\tTime", *told]))
    assert not probe(path).warnings
    told[10] = "11\t-128.0\t0"
    file.write_text("\n".join(["Projs", "30", "Projection\tAngle\tTime", *told]))
    assert "up to 8 degrees" in probe(path).warnings[0]
