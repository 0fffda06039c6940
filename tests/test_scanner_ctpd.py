"""DICOM-CT-PD folders, written here tag by tag from the format's dictionary; no set of a hospital could be had.

The writer knows nothing of the reader's geometry: it places source and elements by the formulas in the reader's head,
as ODL and helix2fan have them, and integrates balls along the rays between by their chords.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pydicom", reason="the extra medical is not installed")

from pydicom.dataset import Dataset as Dicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.ct_jobs import Jobs, method
from tomodiff.errors import DataError
from tomodiff.files import probe, read
from tomodiff.geometry import Vectors

BALLS = (((0.0, 0.0, 40.0), 60.0, 0.02), ((20.0, -12.0, 36.0), 14.0, 0.01), ((-22.0, 8.0, 46.0), 12.0, -0.01))
"""Centre, radius, attenuation."""
RHO, DISTANCE, DU, DV, COLUMNS, ROWS = 500.0, 900.0, 3.0, 4.0, 96, 16
CENTRAL = (48.9, 8.5)
SLOPE, INTERCEPT = 1e-4, -0.02


def through(sources: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Line integrals through BALLS from sources to ends (..., 3)."""
    along = ends - sources
    along = along / np.linalg.norm(along, axis=-1, keepdims=True)
    total = np.zeros(along.shape[:-1])
    for centre, radius, density in BALLS:
        to = np.asarray(centre) - sources
        nearest = np.linalg.norm(to - (to * along).sum(-1, keepdims=True) * along, axis=-1)
        total += 2 * density * np.sqrt(np.maximum(0, radius**2 - nearest**2))
    return total


def rays(phi: float, z: float, siemens: bool, shift: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Source and elements (column, row, 3) as the file counts them."""
    t, ts = -phi - np.pi, -(phi + shift[0]) - np.pi
    source = np.array([(RHO + shift[2]) * np.sin(ts), -(RHO + shift[2]) * np.cos(ts), z + shift[1]])
    alpha = (CENTRAL[0] - (np.arange(COLUMNS) + 1)) * DU / DISTANCE
    height = (CENTRAL[1] - (np.arange(ROWS) + 1)) * DV * (1 if siemens else -1)
    centre = np.array([RHO * np.sin(t), -RHO * np.cos(t)])
    plane = centre + DISTANCE * (
        np.cos(alpha)[:, None] * [-np.sin(t), np.cos(t)] + np.sin(alpha)[:, None] * [np.cos(t), np.sin(t)]
    )
    ends = np.empty((COLUMNS, ROWS, 3))
    ends[..., :2], ends[..., 2] = plane[:, None], z + height
    return source, ends


def write(
    folder: Path, views: int, turns: float = 3.2, siemens: bool = True, flying: float = 0.0, **changes: Any
) -> None:
    """A helix of some turns, phi falling, z growing; numbers of private tags as bytes, as files without dictionary."""
    folder.mkdir()
    for k in range(views):
        phi = float(np.float32((0.7 - 2 * np.pi * 3.2 * k / views) % (2 * np.pi)))
        z = float(np.float32(80.0 * k / views))
        shift = (0.0006 * (-1) ** k, 0.4 * (-1) ** (k // 2), flying * (-1) ** k) if flying else (0.0, 0.0, 0.0)
        values = through(*rays(phi, z, siemens, shift))
        file = Dicom()
        file.file_meta = FileMetaDataset()
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66"
        file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = generate_uid()
        file.Manufacturer = "SIEMENS" if siemens else "GE MEDICAL SYSTEMS"
        file.InstanceNumber = k + 1
        file.Rows, file.Columns = COLUMNS, ROWS
        file.BitsAllocated = file.BitsStored = 16
        file.HighBit, file.PixelRepresentation, file.SamplesPerPixel = 15, 0, 1
        file.PhotometricInterpretation = "MONOCHROME2"
        file.RescaleSlope, file.RescaleIntercept = SLOPE, INTERCEPT
        tags: dict[int, bytes] = {
            0x70291010: np.array([ROWS], "<u2").tobytes(), 0x70291011: np.array([COLUMNS], "<u2").tobytes(),
            0x7029100B: b"CYLINDRICAL ", 0x70411001: np.array([0.02], "<f4").tobytes(),
            0x70311033: np.array(CENTRAL, "<f4").tobytes(),
        }  # fmt: skip
        numbers = {0x70291002: DU, 0x70291006: DV, 0x70311001: phi, 0x70311002: z, 0x70311003: RHO,
                   0x70311031: DISTANCE, 0x7033100B: shift[0], 0x7033100C: shift[1], 0x7033100D: shift[2]}  # fmt: skip
        tags |= {tag: np.array([value], "<f4").tobytes() for tag, value in numbers.items()}
        tags |= changes.get("tags", {}) if k == views // 2 else {}
        for tag, value in tags.items():
            if value:
                file.add_new(tag, "UN", value)
        file.PixelData = np.rint((values - INTERCEPT) / SLOPE).astype("<u2").tobytes()
        if k == views // 2:
            for name, value in changes.get("header", {}).items():
                setattr(file, name, value)
        # the order of names is not that of the views
        file.save_as(folder / f"{(7 * k) % views:05d}.dcm", enforce_file_format=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ctpd") / "L067"
    write(made, 640)
    return made


@pytest.mark.parametrize(("siemens", "flying"), [(True, 0.0), (False, 0.0), (True, 0.3)])
def test_rays_go_where_the_file_says(siemens: bool, flying: float, tmp_path: Path) -> None:
    write(tmp_path / "set", 11, siemens=siemens, flying=flying)
    data = read(tmp_path / "set")
    assert data.kind == "line_integrals" and data.data.shape == (11, ROWS, COLUMNS)
    scan = data.scan
    assert isinstance(scan, Vectors) and scan.radius == DISTANCE
    sources, ends = scan.frames()[:, None, None, :3], scan.pixels()
    expected = through(np.broadcast_to(sources, ends.shape), ends)
    off = np.abs(expected - data.data)
    # a flying spot takes its cylinder with it: outer elements are off by a few hundredths of a mm, seen at edges alone
    assert off.max() < (0.1 if flying else 0.7 * SLOPE)
    assert off.mean() < 0.001
    assert data.meta["water_per_mm"] == pytest.approx(0.02)


def test_rows_views_and_what_is_known_beforehand(folder: Path) -> None:
    info = probe(folder)
    assert info.format == "dicom-ct-pd" and info.shape == (640, ROWS, COLUMNS) and info.pixel_mm == (DV, DU)
    whole, part = read(folder, views=slice(3, 9, 2)), read(folder, rows=slice(4, 10), views=slice(3, 9, 2))
    np.testing.assert_array_equal(whole.data[:, 4:10], part.data)
    assert probe(folder / "00003.dcm").shape == info.shape


def test_a_helix_of_a_clinic_to_a_volume(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Jobs(tmp_path, monkeypatch)(folder, **method("auto"), reconstruction__voxel_mm=3.0)
    x, y, z = made.grid.coordinates()
    for centre, _, more in BALLS[1:]:
        away = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
        assert made.volume[away < 6].mean() == pytest.approx(0.02 + more, rel=0.02)
    numbers = Jobs(tmp_path / "hu", monkeypatch)(
        folder, **method("auto"), reconstruction__voxel_mm=3.0, reconstruction__water="file"
    )
    assert numbers.unit == "HU"
    np.testing.assert_allclose(numbers.volume, 1000 * (made.volume / 0.02 - 1), atol=0.1)


def test_a_helix_with_a_flying_focal_spot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which moves by 4 mm along the beam, as those that also change their height do."""
    write(tmp_path / "flying", 640, flying=4.0)
    made = Jobs(tmp_path, monkeypatch)(tmp_path / "flying", **method("auto"), reconstruction__voxel_mm=3.0)
    x, y, z = made.grid.coordinates()
    for centre, _, more in BALLS[1:]:
        away = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
        assert made.volume[away < 6].mean() == pytest.approx(0.02 + more, rel=0.02)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tags": {0x70311001: b""}}, "DetectorFocalCenterAngularPosition"),
        ({"tags": {0x70311001: b"\x00\x01"}}, "1 numbers"),
        ({"tags": {0x70311002: np.array([np.nan], "<f4").tobytes()}}, "finite"),
        ({"tags": {0x7029100B: b"SPHERICAL "}}, "CYLINDRICAL"),
        ({"tags": {0x70291002: np.array([2.0], "<f4").tobytes()}}, "as the views before"),
        ({"tags": {0x70311003: np.array([-5.0], "<f4").tobytes()}}, "above 0"),
        ({"header": {"Rows": 17}}, "Rows, Columns"),
        ({"header": {"InstanceNumber": 1}}, "InstanceNumber"),
    ],
)
def test_damaged_headers(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    write(tmp_path / "set", 5, **changes)
    with pytest.raises(DataError, match=said):
        read(tmp_path / "set")


def test_damaged_pixels_and_empty_folders(tmp_path: Path) -> None:
    write(tmp_path / "set", 5, header={"PixelData": b"\x00" * 64})
    with pytest.raises(DataError, match="PixelData"):
        read(tmp_path / "set")
    (tmp_path / "set" / "00002.dcm").write_bytes(b"no DICOM at all")
    with pytest.raises(DataError, match=r"00002\.dcm"):
        read(tmp_path / "set")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        read(tmp_path / "empty")
