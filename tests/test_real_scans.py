"""Real scans from file to volume: a tooth (APS), a metal pin (Savu), a tiny crop of a fast scan (K11, Diamond)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import numpy as np
import pytest

from tomodiff.cli.main import main
from tomodiff.files import probe, read, read_volume
from tomodiff.geometry import ParallelBeam, fit_grid
from tomodiff.prepare import prepare
from tomodiff.projectors import XRay
from tomodiff.recipes.config_file import settings_from
from tomodiff.recipes.ct.invert import invert
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run

pytestmark = pytest.mark.real

Shared = Callable[[str], Path]
Reconstructed = tuple[np.ndarray, dict[str, Any]]

TOOTH = "data/ct/tomopy_tooth/tooth.h5"
SAVU = "data/ct/savu_24737_tiffs"
K11 = "data/ct/httomo_k11_diad/k11-18014.nxs"


def reconstruct(scan: Path, out: Path, *options: str) -> Reconstructed:
    """The volume that the command writes, and the status of its run."""
    given = ["-q", "ct", "reconstruct", str(scan), "-o", str(out), "--set", "output.report=false", *options]
    assert main(given) == 0
    status = json.loads((out.with_suffix(".run") / "status.json").read_text())
    assert status["state"] == "done"
    volume = read_volume(out)[0]
    assert np.isfinite(volume).all()
    return volume, status


def disc(n: int, share: float) -> np.ndarray:
    """The pixels (y, x) of a slice within `share` of its half width."""
    y, x = np.indices((n, n)) - (n - 1) / 2
    return np.asarray(np.hypot(y, x) < share * n / 2)


# ---- tooth


def test_tooth_by_command(shared: Shared, tmp_path: Path) -> None:
    path = shared(TOOTH)
    fbp, status = reconstruct(path, tmp_path / "fbp.h5")
    assert abs(status["facts"]["center"] - 296) <= 1
    assert any("pixel size is not known" in text for text in status["warnings"])
    assert read_volume(tmp_path / "fbp.h5")[2]["unit"] == "1/pixel"
    tv, found = reconstruct(path, tmp_path / "tv.tif", "-m", "fista-tv", "--iterations", "25", "--rows", "0:1")
    assert found["facts"]["tv_weight"] > 0 and abs(found["facts"]["center"] - 296) <= 1
    assert tv.shape[1:] == fbp.shape[1:] and (tv >= 0).all()
    # both show one tooth: its mass, and air around it
    inside = disc(tv.shape[1], 0.9)
    assert tv[0][inside].sum() == pytest.approx(fbp[0][inside].sum(), rel=0.02)
    assert np.corrcoef(tv[0].ravel(), fbp[0].ravel())[0, 1] > 0.95
    assert tv[0][inside].max() > 0.003


@pytest.mark.slow
def test_fista_tv_predicts_withheld_views_better_than_fbp(shared: Shared, tmp_path: Path) -> None:
    data, _ = prepare(read(shared(TOOTH), rows=slice(0, 1)), rings="normal")
    views = np.arange(len(data.scan))
    withheld = views % 4 == 2
    kept = data.replace(data=data.data[~withheld], scan=data.scan[~withheld])
    assert 0.24 < withheld.mean() < 0.26
    grid = fit_grid(data.scan)
    A = XRay(grid, data.scan[withheld])
    measured = data.data[withheld]
    error = {}
    for method in ("fbp", "fista-tv"):
        given = {
            "input.path": str(shared(TOOTH)),
            "output.path": str(tmp_path / method),
            "reconstruction.method": method,
        }
        run = Run.create(settings_from({name: (value, name) for name, value in given.items()}))
        with run:
            volume = invert(kept, grid, method, run.settings, run, Progress(quiet=True), np.asarray)
            run.status["state"] = "done"
        error[method] = np.linalg.norm(A.forward(volume) - measured) / np.linalg.norm(measured)
    assert error["fista-tv"] < error["fbp"] < 0.1


# ---- Savu


def test_savu_by_command(shared: Shared, tmp_path: Path) -> None:
    folder = shared(SAVU)
    volume, status = reconstruct(folder, tmp_path / "pin.mrc")
    facts = status["facts"]
    assert abs(facts["center"] - 86) <= 1
    assert volume.shape[0] == 135
    before = facts["corrections"]["normalise_flux"]["air_transmission_before"]
    assert all(0.6 < value < 0.8 for value in before)
    assert any("air transmitted 0." in text for text in status["warnings"])
    with mrcfile.open(folder / "projections.mrc") as mrc:  # the same scan as its beamline corrected it
        dead = np.argwhere(np.isnan(mrc.data).all(axis=0)).tolist()
    assert len(dead) == 1
    defects = facts["corrections"]["repair_pixels"]
    assert defects["defective_pixels"] == 1 and defects["positions_vu"] == dead
    # the pin absorbs, the air around it does not
    middle = volume[60:75].mean(axis=0)
    assert np.percentile(middle, 99.5) > 0.02
    assert abs(np.median(middle)) < 0.002


def test_savu_air_after_the_correction(shared: Shared) -> None:
    data, report = prepare(read(shared(SAVU)), center=86.0)
    air = report["steps"]["normalise_flux"]["air_columns"]
    assert min(air) > 5
    for columns in (data.data[..., : air[0]], data.data[..., -air[1] :]):
        assert np.exp(-columns).mean() == pytest.approx(1.0, abs=0.01)
        assert np.exp(-columns.mean(axis=(1, 2))) == pytest.approx(1.0, abs=0.01)  # in every view
    assert np.isfinite(data.data).all()
    assert isinstance(data.scan, ParallelBeam) and data.scan.axis_column == 86.0


# ---- K11


def test_k11_pair(shared: Shared, tmp_path: Path) -> None:
    path = shared(K11)
    info = probe(path)
    assert info.scan is not None and info.scan.kind == "parallel"
    assert (info.shape, info.n_flats, info.n_darks) == ((3001, 22, 26), 100, 100)
    assert info.angles_deg == pytest.approx((90.0, 270.0, 0.06))
    with h5py.File(path) as file:
        key = file["entry/instrument/imaging/image_key"][()]
    assert [(key == k).sum() for k in (0, 1, 2)] == [3001, 100, 100]
    volume, status = reconstruct(path, tmp_path / "crop.npy")
    assert volume.shape[0] == 22
    said = " ".join(status["warnings"])
    # a crop of 26 columns inside the sample: angles from the plan, no air, an axis that nobody can be sure of
    for part in ("plan of the scan", "no air", "leaves the field of view", "pixel size is not known"):
        assert part in said
