"""Folders of EDF images, tilt stacks of IMOD and Zarr arrays as scans."""

from __future__ import annotations

import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tomodiff.cli.main import main
from tomodiff.errors import DataError
from tomodiff.files import probe, read
from tomodiff.geometry import ParallelBeam, fit_grid
from tomodiff.simulate import sample

SCAN = ParallelBeam(np.linspace(0, np.pi, 60, endpoint=False), (6, 48), 0.2)


def integrals() -> np.ndarray:
    return np.asarray(sample(np.random.default_rng(5), 4.0).project(SCAN), np.float32)


def slices(path: Path, out: Path, *options: str) -> np.ndarray:
    fixed = ["--center", "keep", "--rings", "off", "--set", "output.report=false", "-o", str(out)]
    assert main(["-q", "ct", "reconstruct", str(path), *fixed, *options]) == 0
    return np.asarray(np.load(out))


def right(volume: np.ndarray, unit: float = 1.0) -> bool:
    truth = sample(np.random.default_rng(5), 4.0).voxelise(fit_grid(SCAN), 2)
    found = volume * unit
    return found.shape == truth.shape and float(np.corrcoef(found.ravel(), truth.ravel())[0, 1]) > 0.95


# ---- EDF


def write_edf(folder: Path, more: str = "", skip: int | None = None) -> Path:
    """As the ESRF's acquisition leaves them: flats before and after, a sum of ten darks, three images more."""
    fabio = pytest.importorskip("fabio", reason="the extra scanners is not installed")
    folder.mkdir()
    level = np.linspace(20000, 16000, 61)
    through = np.exp(-0.5 * integrals())
    for k in range(63):
        if k != skip:
            counts = level[min(k, 59)] * through[min(k, 59)] + 100
            fabio.edfimage.EdfImage(data=counts.astype(np.uint16)).write(str(folder / f"walnut{k:04d}.edf"))
    for k in (0, 60):
        flat = np.full(through.shape[1:], level[k] + 100).astype(np.uint16)
        fabio.edfimage.EdfImage(data=flat).write(str(folder / f"refHST{k:04d}.edf"))
    fabio.edfimage.EdfImage(data=np.full(flat.shape, 1000, np.uint32)).write(str(folder / "darkend0000.edf"))
    (folder / "walnut.info").write_text(
        f"Prefix= walnut\nEnergy= 20.0\nDistance= 35\nScanRange= 180\nTOMO_N= 60\nDARK_N= 10\nPixelSize= 200\n{more}"
    )
    return folder


def test_an_edf_folder_becomes_a_volume(tmp_path: Path) -> None:
    folder = write_edf(tmp_path / "walnut")
    info = probe(folder)
    assert info.format == "edf" and info.shape == (60, 6, 48) and (info.n_flats, info.n_darks) == (2, 1)
    assert info.pixel_mm == pytest.approx((0.2, 0.2)) and info.angles_deg == pytest.approx((0.0, 177.0, 3.0))
    data = read(folder)
    assert data.meta["energy_kev"] == 20 and data.meta["detector_distance_mm"] == 35
    np.testing.assert_allclose(data.meta["flat_views"], [0, 59])
    assert data.darks is not None and float(data.darks.mean()) == pytest.approx(100)
    assert right(slices(folder, tmp_path / "v.npy", "--flux", "off"), 2.0)
    assert probe(folder / "walnut0003.edf").shape == info.shape


def test_edf_folders_that_are_not_whole(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image 7"):
        read(write_edf(tmp_path / "a", skip=7))
    with pytest.raises(DataError, match="TOMO_N"):
        read(write_edf(tmp_path / "b", more="TOMO_N= 80\n"))
    folder = write_edf(tmp_path / "c")
    (folder / "walnut0012.edf").write_bytes((folder / "walnut0012.edf").read_bytes()[:700])
    with pytest.raises(DataError, match=r"walnut0012\.edf"):
        read(folder)
    (folder / "walnut.info").unlink()
    with pytest.raises(DataError, match="ScanRange"):
        read(folder)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "notes.edf").write_bytes(b"")
    with pytest.raises(DataError, match="numbered EDF"):
        read(tmp_path / "d")


# ---- IMOD


def write_stack(path: Path, suffix: str = ".rawtlt") -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with mrcfile.new(path, overwrite=True) as file:
            file.set_data(integrals())
            file.voxel_size = 2e6
    path.with_suffix(suffix).write_text("\n".join(f"{np.rad2deg(a):.3f}" for a in SCAN.angles))
    return path


@pytest.mark.parametrize(("name", "suffix"), [("a.st", ".rawtlt"), ("a.ali", ".tlt"), ("a.mrc", ".tlt")])
def test_a_tilt_stack_becomes_a_volume(name: str, suffix: str, tmp_path: Path) -> None:
    path = write_stack(tmp_path / name, suffix)
    info = probe(path, kind="line_integrals")
    assert info.shape == (60, 6, 48) and info.pixel_mm == pytest.approx((0.2, 0.2))
    assert any("vertical" in text for text in info.warnings) == (name != "a.ali")
    assert right(slices(path, tmp_path / "v.npy", "--kind", "line_integrals"))


def test_tilt_stacks_that_are_damaged(tmp_path: Path) -> None:
    path = write_stack(tmp_path / "a.st")
    path.with_suffix(".rawtlt").unlink()
    with pytest.raises(DataError, match=r"a\.rawtlt"):
        read(path, kind="line_integrals")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"a\.st"):
        read(path, kind="line_integrals", angles="0:180:60")
    path.write_bytes(b"1")
    with pytest.raises(DataError, match=r"a\.st"):
        read(path, kind="line_integrals", angles="0:180:60")


# ---- Zarr

YAML = "kind: line_integrals\nangles_deg: 0:180:60\npixel_mm: 0.2\n"


@pytest.mark.parametrize("how", ["array", "group", "ome"])
def test_a_zarr_scan_becomes_a_volume(how: str, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", reason="the extra zarr is not installed")
    path = tmp_path / "scan.zarr"
    if how == "array":
        zarr.create_array(str(path), data=integrals())
    else:
        group = zarr.open_group(str(path), mode="w")
        if how == "group":
            group.create_array("projections", data=integrals())
        else:
            group.create_array("0", data=integrals()[None])
            group.create_array("1", data=integrals()[None, :, ::2, ::2])
            group.attrs["multiscales"] = [{"datasets": [{"path": "0"}, {"path": "1"}]}]
    (tmp_path / "scan.yml").write_text(YAML)
    assert probe(path).shape == (60, 6, 48)
    assert right(slices(path, tmp_path / "v.npy"))


def test_zarr_scans_that_cannot_be_read(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", reason="the extra zarr is not installed")
    group = zarr.open_group(str(tmp_path / "two.zarr"), mode="w")
    for name in ("a", "b"):
        group.create_array(name, data=integrals())
    (tmp_path / "two.yml").write_text(YAML)
    with pytest.raises(DataError, match="one of a, b"):
        read(tmp_path / "two.zarr")
    (tmp_path / "two.yml").write_text(YAML + "array: b\n")
    assert read(tmp_path / "two.zarr").data.shape == (60, 6, 48)
    (tmp_path / "none.zarr").mkdir()
    with pytest.raises(DataError, match=r"none\.zarr"):
        read(tmp_path / "none.zarr")
