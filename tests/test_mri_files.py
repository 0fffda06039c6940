"""K-space in files: ISMRMRD and BART, in the conventions of those who made them, and broken."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tomodiff.errors import ConfigError, DataError
from tomodiff.files.kspace import KSpace, read_kspace
from tomodiff.files.kspace.bart import read_cfl, write_cfl
from tomodiff.files.kspace.ismrmrd_writer import HEAD, write_ismrmrd
from tomodiff.projectors.mri.cartesian import on_grid
from tomodiff.simulate.mri import Spokes, simulate_kspace

SMALL = Spokes(size=16, coils=3, spokes=6, noise=0.0)
TIMES = 80


@pytest.fixture(scope="module")
def radial() -> KSpace:
    return simulate_kspace(SMALL)[0]


def replaced(path: Path, old: str, new: str) -> None:
    """Change the XML header of an ISMRMRD file."""
    with h5py.File(path, "r+") as file:
        text = file["dataset/xml"][0].decode()
        assert old in text
        file["dataset/xml"][0] = text.replace(old, new)


def changed(path: Path, change: Any) -> None:
    """Change the acquisitions of an ISMRMRD file."""
    with h5py.File(path, "r+") as file:
        rows = file["dataset/data"][()]
        rows = change(rows)
        del file["dataset/data"]
        file["dataset/data"] = rows


def test_what_is_written_is_read(radial: KSpace, tmp_path: Path) -> None:
    write_ismrmrd(tmp_path / "a.h5", radial)
    read = read_kspace(tmp_path / "a.h5")
    np.testing.assert_array_equal(read.data, radial.data)
    np.testing.assert_allclose(read.points, radial.points, atol=1e-7)
    assert (read.shape, read.readout, read.pixel_mm, read.frames) == ((16, 16), 16, (20.0, 20.0), 1)
    assert read.meta["trajectory"] == "radial"


def test_the_package_of_the_format_reads_it(radial: KSpace, tmp_path: Path) -> None:
    ismrmrd = pytest.importorskip("ismrmrd", reason="ismrmrd is not installed (the extra test)")
    write_ismrmrd(tmp_path / "a.h5", radial)
    theirs = ismrmrd.Dataset(str(tmp_path / "a.h5"), "dataset", create_if_needed=False)
    assert theirs.number_of_acquisitions() == 6
    one = theirs.read_acquisition(2)
    np.testing.assert_array_equal(one.data, radial.data[:, 32:48])
    np.testing.assert_allclose(one.traj, radial.points[32:48, ::-1], atol=1e-7)
    header = ismrmrd.xsd.CreateFromDocument(theirs.read_xml_header())
    assert header.encoding[0].reconSpace.matrixSize.x == 16
    theirs.close()


def test_what_the_package_of_the_format_writes_is_read(tmp_path: Path, rng: np.random.Generator) -> None:
    """A Cartesian scan with readouts sampled twice as fine, a noise measurement, a navigator, and discarded samples."""
    ismrmrd = pytest.importorskip("ismrmrd", reason="ismrmrd is not installed (the extra test)")
    mixing = np.array([[1, 0], [0.5j, 2]])
    values = rng.standard_normal((2, 8, 20)) + 1j * rng.standard_normal((2, 8, 20))
    theirs = ismrmrd.Dataset(str(tmp_path / "b.h5"), "dataset", create_if_needed=True)
    size = (
        "<matrixSize><x>{}</x><y>8</y><z>1</z></matrixSize><fieldOfView_mm><x>{}</x><y>160</y><z>5</z></fieldOfView_mm>"
    )
    theirs.write_xml_header(
        "<ismrmrdHeader xmlns='http://www.ismrm.org/ISMRMRD'><encoding><encodedSpace>"
        + size.format(16, 320) + "</encodedSpace><reconSpace>" + size.format(8, 160) + "</reconSpace><encodingLimits>"
        "<kspace_encoding_step_1><minimum>0</minimum><maximum>7</maximum><center>4</center></kspace_encoding_step_1>"
        "</encodingLimits><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"
    )  # fmt: skip
    noise = mixing @ (rng.standard_normal((2, 20000)) + 1j * rng.standard_normal((2, 20000))) / np.sqrt(2)
    for kind, data in (("noise", noise), ("navigator", values[:, 0]), *((line, values[:, line]) for line in range(8))):
        one = ismrmrd.Acquisition.from_array(np.ascontiguousarray(mixing @ data if kind != "noise" else data, "c8"))
        if kind == "noise":
            one.setFlag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        elif kind == "navigator":
            one.setFlag(ismrmrd.ACQ_IS_NAVIGATION_DATA)
        else:
            one.idx.kspace_encode_step_1 = kind
            one.discard_pre, one.discard_post, one.center_sample = 3, 1, 3 + 8
        theirs.append_acquisition(one)
    theirs.close()
    read = read_kspace(tmp_path / "b.h5")
    assert read.shape == (8, 8) and read.pixel_mm == (20.0, 20.0) and read.data.shape == (2, 8 * 16)
    # half a cycle per field of view of the image from sample to sample, a whole one from line to line
    x, y = np.meshgrid((np.arange(16) - 8) / 16, (np.arange(8) - 4) / 8)
    np.testing.assert_allclose(read.points, np.stack([y.ravel(), x.ravel()], axis=1), atol=1e-12)
    white = read.data.reshape(2, 8, 16)
    phase = np.exp(-1j * np.angle(np.vdot(white[1], values[1, :, 3:19])))
    np.testing.assert_allclose(white[0], values[0, :, 3:19], rtol=0, atol=0.08)
    np.testing.assert_allclose(white[1] / phase, values[1, :, 3:19], rtol=0, atol=0.08)
    assert not on_grid(read.shape, read.points)


@pytest.mark.parametrize(("unit", "factor"), [("fov", 16.0), ("radian", 2 * np.pi)])
def test_units_of_trajectories_are_told_by_their_size(radial: KSpace, tmp_path: Path, unit: str, factor: float) -> None:
    def scale(rows: np.ndarray) -> np.ndarray:
        for row in rows:
            row["traj"] = row["traj"] * np.float32(factor)
        return rows

    path = tmp_path / "a.h5"
    write_ismrmrd(path, radial)
    changed(path, scale)
    for given in ("auto", unit):
        np.testing.assert_allclose(read_kspace(path, trajectory_unit=given).points, radial.points, atol=1e-6)
    with pytest.raises(DataError, match=r"trajectory: expected at most 0.5 \(pixel\)"):
        read_kspace(path, trajectory_unit="pixel")


def test_a_trajectory_of_no_known_unit_is_refused(radial: KSpace, tmp_path: Path) -> None:
    def scale(rows: np.ndarray) -> np.ndarray:
        for row in rows:
            row["traj"] = row["traj"] * np.float32(0.2)
        return rows

    write_ismrmrd(tmp_path / "a.h5", radial)
    changed(tmp_path / "a.h5", scale)
    with pytest.raises(DataError, match=r"trajectory.*found 0.1.*--trajectory-unit"):
        read_kspace(tmp_path / "a.h5")
    np.testing.assert_allclose(
        read_kspace(tmp_path / "a.h5", trajectory_unit="pixel").points, 0.2 * radial.points, atol=1e-7
    )


def test_images_in_time(tmp_path: Path) -> None:
    series = simulate_kspace(Spokes(size=16, coils=2, spokes=6, frames=3, noise=0.0))[0]
    write_ismrmrd(tmp_path / "a.h5", series)
    read = read_kspace(tmp_path / "a.h5")
    assert read.frames == 3 and series.frame is not None
    np.testing.assert_array_equal(read.frame, series.frame)
    np.testing.assert_array_equal(read.of_frame(1).data, series.data[:, 32:64])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: replaced(p, "<x>16</x>", "<x>no</x>"), r"matrixSize: expected three numbers above 0"),
        (lambda p: replaced(p, "<encodedSpace>", "<else>"), r"xml: expected the ISMRMRD header"),
        (lambda p: changed(p, lambda rows: rows[:0]), r"slice 0: expected acquisitions of an image, found none of 0"),
        (lambda p: changed(p, _short), r"acquisition 2: expected 96 numbers for 3 coils of 16, found 90 numbers"),
        (
            lambda p: changed(p, _missing),
            r"trajectory of acquisition 1: expected 2 or 3 numbers for each of 16 samples",
        ),
        (lambda p: changed(p, _nan), r"k-space: expected finite numbers, found 1 others"),
        (lambda p: changed(p, _mixed), r"the same channels and samples in all"),
    ],
)
def test_what_is_wrong_is_named(radial: KSpace, tmp_path: Path, spoil: Any, message: str) -> None:
    path = tmp_path / "a.h5"
    write_ismrmrd(path, radial)
    spoil(path)
    with pytest.raises(DataError, match=message):
        read_kspace(path)


def _short(rows: np.ndarray) -> np.ndarray:
    rows[2]["data"] = rows[2]["data"][:-6]
    return rows


def _missing(rows: np.ndarray) -> np.ndarray:
    rows[1]["traj"] = rows[1]["traj"][:3]
    return rows


def _nan(rows: np.ndarray) -> np.ndarray:
    rows[0]["data"][4] = np.nan
    return rows


def _mixed(rows: np.ndarray) -> np.ndarray:
    rows["head"]["active_channels"][3] = 2
    return rows


def test_another_slice_has_none(radial: KSpace, tmp_path: Path) -> None:
    write_ismrmrd(tmp_path / "a.h5", radial)
    with pytest.raises(DataError, match=r"slice 4: expected acquisitions of an image"):
        read_kspace(tmp_path / "a.h5", slice_number=4)
    with pytest.raises(ConfigError, match=r"trajectory: expected k-space of BART"):
        read_kspace(tmp_path / "a.h5", trajectory=tmp_path / "t.cfl")


def test_radial_samples_of_bart(radial: KSpace, tmp_path: Path) -> None:
    """As BART's `traj` and `phantom -k` have them: (3, sample, spoke) in cycles per field of view, and samples
    (1, sample, spoke, coil)."""
    at = np.zeros((3, 16, 6), np.complex64)
    at[:2] = (radial.points[:, ::-1] * 16).reshape(6, 16, 2).transpose(2, 1, 0)
    write_cfl(tmp_path / "t", at)
    write_cfl(tmp_path / "k", radial.data.reshape(3, 6, 16).transpose(2, 1, 0)[None])
    assert (tmp_path / "k.hdr").read_text().splitlines() == ["# Dimensions", "1 16 6 3"]
    read = read_kspace(tmp_path / "k.cfl", trajectory=tmp_path / "t.cfl")
    np.testing.assert_array_equal(read.data, radial.data)
    np.testing.assert_allclose(read.points, radial.points, atol=1e-7)
    assert read.shape == (16, 16) and read.readout == 16


def test_cartesian_samples_of_bart(tmp_path: Path, rng: np.random.Generator) -> None:
    values = np.zeros((6, 8, 1, 2), np.complex64)
    measured = np.zeros((6, 8), bool)
    measured[:, [1, 4, 5]] = True
    values[measured] = rng.standard_normal((18, 1, 2)) + 1j
    write_cfl(tmp_path / "k", values)
    read = read_kspace(tmp_path / "k")
    assert read.shape == (8, 6) and read.data.shape == (2, 18) and on_grid(read.shape, read.points)
    x, y = np.argwhere(measured.T)[:, 1], np.argwhere(measured.T)[:, 0]
    np.testing.assert_allclose(read.points, np.stack([(y - 4) / 8, (x - 3) / 6], axis=1))
    np.testing.assert_array_equal(read.data, values[x, y, 0].T)


@pytest.mark.parametrize(
    ("header", "size", "message"),
    [
        (None, 64, r"k.hdr: header: expected the dimensions"),
        ("# Dimensions\n", 64, r"# Dimensions: expected whole numbers"),
        ("# Dimensions\n2 x 2\n", 64, r"# Dimensions: expected whole numbers"),
        ("# Dimensions\n2 0 2\n", 64, r"# Dimensions: expected numbers above 0"),
        ("# Dimensions\n2 2 2\n", 60, r"k.cfl: size: expected 64 bytes for \[2, 2, 2\], found 60 bytes"),
        ("# Dimensions\n2 2 1 1 2\n", 64, r"dimensions: expected x, y, z, coil and time alone"),
    ],
)
def test_broken_files_of_bart(tmp_path: Path, header: str | None, size: int, message: str) -> None:
    (tmp_path / "k.cfl").write_bytes(np.ones(size, "u1").tobytes())
    if header is not None:
        (tmp_path / "k.hdr").write_text(header)
    with pytest.raises(DataError, match=message):
        read_kspace(tmp_path / "k.cfl")


def test_an_array_of_bart_keeps_its_order(tmp_path: Path, rng: np.random.Generator) -> None:
    array = (rng.standard_normal((2, 3, 4)) + 1j).astype(np.complex64)
    write_cfl(tmp_path / "a.cfl", array)
    np.testing.assert_array_equal(read_cfl(tmp_path / "a"), array)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "a.cfl", np.complex64), array.ravel(order="F"))


def test_the_file_that_is_named_is_read(radial: KSpace, tmp_path: Path, rng: np.random.Generator) -> None:
    write_ismrmrd(tmp_path / "scan.h5", radial)
    write_cfl(tmp_path / "scan", (rng.standard_normal((4, 4, 1, 2)) + 1j).astype(np.complex64))
    assert read_kspace(tmp_path / "scan.h5").data.shape == radial.data.shape
    assert read_kspace(tmp_path / "scan").data.shape == (2, 16)


def test_what_is_neither_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(b"12345")
    with pytest.raises(DataError, match=r"a.dat: expected ISMRMRD \(HDF5\) or BART"):
        read_kspace(tmp_path / "a.dat")
    with pytest.raises(DataError, match=r"b.h5: expected a file of ISMRMRD or BART, found no file"):
        read_kspace(tmp_path / "b.h5")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["exchange/data"] = np.ones(3)
    with pytest.raises(DataError, match=r"c.h5: expected a group with ISMRMRD's data and xml"):
        read_kspace(tmp_path / "c.h5")


def test_the_head_is_as_long_as_the_format_says() -> None:
    assert HEAD.itemsize == 340


@pytest.mark.parametrize("kind", ["ismrmrd", "bart"])
def test_bytes_changed_are_read_or_refused(kind: str, radial: KSpace, tmp_path: Path) -> None:
    """Never a hang, or an error of another kind.  (HDF5 itself crashed once in thousands of trials.)"""
    rng = np.random.default_rng(17)
    if kind == "ismrmrd":
        source = tmp_path / "a.h5"
        write_ismrmrd(source, radial)
    else:
        write_cfl(tmp_path / "a.cfl", np.ones((4, 5, 1, 2), np.complex64))
        source = tmp_path / "a.hdr"
    whole = source.read_bytes()
    for _ in range(TIMES):
        spoiled = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            spoiled[place] = rng.integers(256)
        if rng.random() < 0.3:
            spoiled = spoiled[: rng.integers(1, len(whole))]
        source.write_bytes(bytes(spoiled))
        with contextlib.suppress(DataError, ConfigError):
            read_kspace(source)
