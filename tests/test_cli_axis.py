"""`tomodiff ct center`: the column, what each method says, the picture to choose by; scans with the axis at an edge."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from tomodiff.analytic import fbp
from tomodiff.cli.ct.axis import PANELS
from tomodiff.cli.main import main
from tomodiff.files import write_scan
from tomodiff.geometry import ConeBeam, ParallelBeam, Scan, fit_grid
from tomodiff.prepare import find_center
from tomodiff.result import Dataset
from tomodiff.simulate import sample


def file_of(scan: Scan, path: Path) -> Path:
    """Line integrals with a little noise."""
    exact = sample(np.random.default_rng(5), 4.0).project(scan)
    noise = np.random.default_rng(6).normal(0, 0.01, exact.shape)
    write_scan(path, Dataset((exact + noise).astype(np.float32), scan, "line_integrals"))
    return path


@pytest.fixture(scope="module")
def parallel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scan = ParallelBeam(np.linspace(0, np.pi, 90, endpoint=False), (8, 64), 0.16).with_axis_column(33.7)
    return file_of(scan, tmp_path_factory.mktemp("axis") / "parallel.h5")


def test_each_method_says_what_it_finds(parallel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ct", "center", str(parallel), "--compare"]) == 0
    column, *lines = capsys.readouterr().out.splitlines()
    assert float(column) == pytest.approx(33.7, abs=0.1)
    said = {line.split()[0]: line for line in lines}
    assert set(said) == {"opposite", "wedge", "seam", "moments", "fan"}
    assert float(said["wedge"].split()[1]) == pytest.approx(33.7, abs=0.1)
    assert float(said["moments"].split()[1]) == pytest.approx(33.7, abs=0.3)
    assert "confidence" in said["wedge"] and "parallel" in said["fan"]


@pytest.mark.parametrize("kind", ["parallel", "cone"])
def test_a_picture_of_nine_places(kind: str, parallel: Path, tmp_path: Path) -> None:
    path = parallel
    if kind == "cone":
        angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        path = file_of(ConeBeam(angles, 60.0, 90.0, (5, 64), 0.24).with_axis_column(32.5), tmp_path / "cone.h5")
    assert main(["ct", "center", str(path), "--picture", str(tmp_path / "axis.png"), "--step", "2"]) == 0
    image = matplotlib.image.imread(tmp_path / "axis.png")
    assert image.shape[0] > 600 and image[..., :3].std() > 0.05
    assert PANELS == 9


def test_a_picture_must_be_a_png(parallel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ct", "center", str(parallel), "--picture", str(tmp_path / "axis.txt")]) != 0
    assert ".png" in capsys.readouterr().err


def test_a_full_turn_with_the_axis_at_the_edge(tmp_path: Path) -> None:
    """Half acquisition: the detector sees little more than half of the object.  The axis is found in the columns that
    are named, and the volume is as wide as the object and as that of a detector that sees all of it."""
    angles = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    half = ParallelBeam(angles, (4, 40), 0.16).with_axis_column(7.3)
    data = sample(np.random.default_rng(5), 4.0).project(half)
    found = find_center(Dataset(data, half.with_axis_column(10.0), "line_integrals"), search=(3.0, 15.0))
    assert found.center == pytest.approx(7.3, abs=0.15)
    whole = ParallelBeam(angles, (4, 66), 0.16).with_axis_column(33.3)
    grid = fit_grid(whole)
    full = fbp(sample(np.random.default_rng(5), 4.0).project(whole), whole, grid)
    one = fbp(data, half, grid)
    x, y, _ = grid.coordinates()
    seen = np.broadcast_to(np.hypot(x, y) < 4.4, one.shape)
    assert np.sqrt(np.mean((one - full)[seen] ** 2)) < 0.1 * full[seen].std()
    assert fit_grid(half).shape[1] * half.pixel[1] > 9


def test_ct_numbers_are_compared_with_ct_numbers(tmp_path: Path) -> None:
    """The error against a simulated truth in HU is that in attenuation, times 1000 over water's."""
    small = ["--views", "60", "--rows", "4", "--columns", "48", "--seed", "3"]
    assert main(["-q", "ct", "simulate", str(tmp_path / "s.h5"), *small]) == 0
    error = {}
    for name, more in (("mu", []), ("hu", ["--water", "0.05"])):
        out = ["-o", str(tmp_path / name), "--set", "output.report=false", "-m", "fbp", *more]
        assert main(["-q", "ct", "reconstruct", str(tmp_path / "s.h5"), *out]) == 0
        error[name] = json.loads((tmp_path / name / "status.json").read_text())["facts"]["rmse"]
    assert error["hu"] == pytest.approx(1000 * error["mu"] / 0.05, rel=1e-3)
