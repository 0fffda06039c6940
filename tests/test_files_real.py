"""Real scans in the formats of their beamlines: APS Data Exchange, Diamond NeXus, Savu's TIFF stack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile

from tomodiff.errors import DataError
from tomodiff.files import check_dataset, checksum, probe, read, read_volume

pytestmark = pytest.mark.real

Shared = Callable[[str], Path]


def test_tooth(shared: Shared) -> None:
    path = shared("data/ct/tomopy_tooth/tooth.h5")
    back = read(path)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(back.data, file["exchange/data"])
        np.testing.assert_array_equal(back.flats, file["exchange/data_white"])
        np.testing.assert_array_equal(back.darks, file["exchange/data_dark"])
        np.testing.assert_allclose(back.scan.angles, np.deg2rad(file["exchange/theta"]), rtol=1e-14)
    assert (back.kind, back.scan.kind, back.meta["sample"]) == ("counts", "parallel", "Tooth")
    assert [p.severity for p in check_dataset(back)] == ["note"]  # the pixel size alone is unknown
    part = read(path, rows=slice(1, 2), views=slice(10, 100, 9), bin=(1, 4))
    expected = back.data[10:100:9, 1:2].reshape(10, 1, 160, 4).mean(axis=3)
    np.testing.assert_allclose(part.data, expected, rtol=1e-6)


def test_savu_folder(shared: Shared) -> None:
    folder = shared("data/ct/savu_24737_tiffs")
    back = read(folder)
    assert back.data.shape == (91, 135, 160)
    for view in (0, 9, 10, 90):
        np.testing.assert_array_equal(back.data[view], tifffile.imread(folder / f"tiffs/raw_{view:05d}.tiff"))
    np.testing.assert_array_equal(back.flats[0], tifffile.imread(folder / "flat_00001.tiff"))
    np.testing.assert_array_equal(back.darks[0], tifffile.imread(folder / "dark_00001.tiff"))
    np.testing.assert_allclose(np.rad2deg(back.scan.angles), np.arange(91) * 2 - 88.2, atol=5e-4)
    assert "111 angles for 91 views" in back.meta["warnings"][0]
    named = read(folder / "tiffs", angles=folder / "angles.txt", flats=folder / "flat_00001.tiff",
                 darks=folder / "dark_00001.tiff", rows=slice(60, 70))  # fmt: skip
    np.testing.assert_array_equal(named.data, back.data[:, 60:70])
    np.testing.assert_array_equal(named.flats, back.flats[:, 60:70])
    assert named.scan == back.scan.rows(60, 70)
    with pytest.raises(DataError, match="no angles file"):
        read(folder / "tiffs")


def test_savu_corrected_scan_has_its_dead_pixel(shared: Shared) -> None:
    folder = shared("data/ct/savu_24737_tiffs")
    transmission, _, _ = read_volume(folder / "projections.mrc")
    with mrcfile.open(folder / "projections.mrc") as mrc:
        np.testing.assert_array_equal(transmission, mrc.data)
    assert transmission.dtype == np.float32
    raw = read(folder)
    found = check_dataset(raw.replace(data=transmission, kind="transmission", flats=None, darks=None))
    assert found[0].severity == "error" and "91 NaN and 0 infinite" in found[0].message
    # the pixel that is NaN in every corrected view is the one whose flat equals its dark
    dead = np.argwhere(np.isnan(transmission[0]))[0]
    v, u = dead
    assert raw.flats is not None and raw.darks is not None
    assert raw.flats[0, v, u] <= raw.darks[0, v, u]
    assert "1 pixels not brighter" in check_dataset(raw)[0].message


def test_diamond_k11(shared: Shared) -> None:
    path = shared("data/ct/httomo_k11_diad/k11-18014.nxs")
    info = probe(path)
    assert (info.format, info.shape, info.dtype) == ("nxtomo", (3001, 22, 26), "uint16")
    assert (info.n_flats, info.n_darks, info.kind) == (100, 100, "counts")
    assert info.angles_deg == pytest.approx((90.0, 270.0, 0.06))
    assert "plan of the scan" in info.warnings[0]
    assert "energy_kev" not in info.meta  # 3 GeV is the ring's
    back = read(path, views=slice(None, None, 500), rows=slice(2, 6))
    with h5py.File(path) as file:
        key = file["entry/instrument/imaging/image_key"][()]
    with h5py.File(path.parent / "k11-18014" / "k11-18014-imaging.h5") as file:
        frames = file["entry/detector/detector"][()]
    np.testing.assert_array_equal(back.data, frames[key == 0][::500, 2:6])
    np.testing.assert_array_equal(back.flats, frames[key == 1][:, 2:6])
    np.testing.assert_array_equal(back.darks, frames[key == 2][:, 2:6])
    np.testing.assert_allclose(back.scan.angles, np.deg2rad(90 + 0.06 * np.arange(0, 3001, 500)), rtol=1e-12)


def test_checksum_is_that_of_sha256sum(shared: Shared, tmp_path: Path) -> None:
    path = shared("data/ct/tomopy_tooth/tooth.h5")
    # sha256sum of the file as it is in the tomopy repository, commit 2c94ed18
    assert checksum(path) == "ab1d9bd073b7fb1beae4defa991c2a2626605c5cf1f4be0d0203656bc47b6489"
