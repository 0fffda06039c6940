"""Zeiss scans: one of a microscope, where it is at hand, and files written here with the streams that are known."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ole_writer import write_ole
from tomodiff.errors import ConfigError, DataError
from tomodiff.files import probe, read
from tomodiff.geometry import ConeBeam, ParallelBeam
from tomodiff.prepare import flat_field, minus_log
from tomodiff.simulate import ellipsoid

pytest.importorskip("olefile", reason="olefile is not installed (the extra scanners)")

VIEWS, ROWS, COLUMNS = 24, 20, 32
NEAR, FAR, VOXEL_UM = 30.0, 90.0, 500.0


def streams(images: np.ndarray, **changes: Any) -> dict[str, bytes]:
    """As a microscope with a laboratory source would write them."""
    n, nv, nu = images.shape
    kinds = {"uint8": 3, "uint16": 5, "float32": 10}
    info = {
        "NoOfImages": np.int32(n), "ImagesTaken": np.int32(n), "ImageHeight": np.int32(nv), "ImageWidth": np.int32(nu),
        "DataType": np.int32(kinds[images.dtype.name]), "PixelSize": np.float32(VOXEL_UM), "XrayGeometry": np.int32(1),
        "AcquisitionMode": np.int32(0), "Angles": np.linspace(-180, 180, n, endpoint=False, dtype="<f4"),
        "StoRADistance": np.full(n, -NEAR, "<f4"), "DtoRADistance": np.full(n, FAR - NEAR, "<f4"),
        "Energy": np.full(n, 40000, "<f4"),
    }  # fmt: skip
    made = {f"ImageInfo/{name}": value.tobytes() for name, value in info.items()}
    made |= {f"ImageData{i // 100 + 1}/Image{i + 1}": image.tobytes() for i, image in enumerate(images)}
    made |= {name: np.asarray(value).tobytes() for name, value in changes.items() if value is not None}
    return {name: data for name, data in made.items() if name not in changes or changes[name] is not None}


def cone(n: int = VIEWS) -> ConeBeam:
    """The sample turns by the angles of the file, so the source turns the other way."""
    angles = -np.deg2rad(np.linspace(-180, 180, n, endpoint=False))
    return ConeBeam(angles, NEAR, FAR, (ROWS, COLUMNS), VOXEL_UM * 1e-3 * FAR / NEAR)


def test_a_scan_of_many_frames_with_its_flat_field(tmp_path: Path) -> None:
    """More frames than one storage holds; attenuation comes back after the flat field."""
    n = 130
    integrals = ellipsoid((1.0, -2.0, 1.5), (3, 2, 2), 0.1).project(cone(n), oversample=2)
    flat = np.linspace(30000, 40000, ROWS * COLUMNS, dtype="<f4").reshape(ROWS, COLUMNS)
    path = tmp_path / "s.txrm"
    counts = (flat * np.exp(-integrals)).astype("<u2")
    write_ole(path, streams(counts, **{"ReferenceData/Image": flat, "ReferenceData/DataType": np.int32(10)}))
    data = read(path)
    assert data.kind == "counts" and (data.data == counts).all() and data.flats is not None
    np.testing.assert_allclose(data.scan.frames(), cone(n).frames(), atol=1e-4)  # its numbers are single
    assert data.meta["energy_kev"] == pytest.approx(40)
    part = read(path, views=slice(98, 104), rows=slice(3, 9))
    assert (part.data == counts[98:104, 3:9]).all()
    made = minus_log(flat_field(data))
    np.testing.assert_allclose(made.data, integrals, atol=1e-3)


def test_shifts_are_in_the_geometry(tmp_path: Path, rng: np.random.Generator) -> None:
    """A view that has to be moved by some pixels sees a point so many pixels on the other side."""
    u, v = rng.uniform(-3, 3, (2, VIEWS)).astype("<f4")
    path, shifts = tmp_path / "s.txrm", {"Alignment/X-Shifts": u, "Alignment/Y-Shifts": v}
    write_ole(path, streams(np.ones((VIEWS, ROWS, COLUMNS), "<u2"), **shifts))
    scan, points = read(path).scan, rng.uniform(-3, 3, (10, 3))
    expected = cone().project(points) - np.stack([v, u], 1)[:, None]
    np.testing.assert_allclose(scan.project(points), expected, atol=1e-3)


def test_a_beam_through_optics_is_parallel(tmp_path: Path) -> None:
    path = tmp_path / "s.txrm"
    write_ole(path, streams(np.ones((VIEWS, ROWS, COLUMNS), "<u2"), **{"ImageInfo/XrayGeometry": np.int32(2)}))
    scan = read(path).scan
    assert isinstance(scan, ParallelBeam) and scan.pixel == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ImageInfo/DataType": np.int32(7)}, "ImageInfo/DataType: expected one of"),
        ({"ImageInfo/ImageWidth": None}, "ImageInfo/ImageWidth: expected a stream of this name"),
        ({"ImageInfo/ImageHeight": np.int32(-4)}, "ImageInfo/ImageHeight: expected a number of at least 1"),
        ({"ImageData1/Image3": None}, "ImageData1/Image3"),
        ({"ImageInfo/StoRADistance": np.zeros(VIEWS, "<f4")}, "ImageInfo"),
        ({"ImageInfo/ImagesTaken": np.int32(9)}, "24 images, as planned, found 9"),
        ({"ImageInfo/PixelSize": np.float32("nan")}, "ImageInfo"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "s.txrm"
    write_ole(path, streams(np.ones((VIEWS, ROWS, COLUMNS), "<u2"), **changes))
    with pytest.raises(DataError, match=said):
        read(path)


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.txrm"
    write_ole(path, streams(np.ones((VIEWS, ROWS, COLUMNS), "<u2")))
    data = path.read_bytes()
    for size in (0, 100, 600, len(data) // 2, len(data) - 3000):
        path.write_bytes(data[:size])
        with pytest.raises(DataError, match=r"s\.txrm"):
            read(path)


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.txrm"
    write_ole(path, streams(np.ones((VIEWS, ROWS, COLUMNS), "<u2")))
    monkeypatch.setitem(sys.modules, "olefile", None)
    with pytest.raises(ConfigError, match=r"tomodiff\[scanners\]"):
        read(path)


def test_the_file_of_a_microscope(shared: Callable[[str], Path]) -> None:
    info = probe(shared("data/ct/zeiss_txrm_mini/txrm_test_chip_tomo.txrm"))
    assert (info.shape, info.dtype, info.kind) == ((7, 256, 256), "uint16", "counts")
    assert info.meta["energy_kev"] == pytest.approx(9.2, abs=1e-3) and info.scan is not None
    along = info.scan.frames()[:, :2]  # (-sin, cos) of the angle
    turned = np.rad2deg(np.arctan2(-along[:, 0], along[:, 1]))
    np.testing.assert_allclose(turned, [45, 30, 15, 0, -15, -30, -45], atol=0.05)
