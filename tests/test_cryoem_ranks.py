"""Cryo-EM under several ranks, from the command line: what one process finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.rank_jobs import NO_REPORT, started, under_ranks
from tests.tilt_series import PIXEL, write_series
from tomodiff.cli.main import main
from tomodiff.files.cryoem import read_map, read_particles

pytestmark = pytest.mark.mpi


def simulated(folder: Path, *more: str) -> str:
    path, box = str(folder / "p.star"), ["--box", "32", "--pixel-a", "4", "--seed", "3"]
    assert main(["-q", "cryoem", "simulate", "phantom", path, *box, *more]) == 0
    return path


def both(given: list[str], folder: Path, ranks: int = 2) -> tuple[Path, Path]:
    """The runs of one process and of several."""
    given = ["-q", "cryoem", *given, *NO_REPORT]
    one, several = folder / "one", folder / "several"
    assert main([*given, "-o", str(one)]) == 0
    done = under_ranks(ranks, "-m", "tomodiff", *given, "-o", several, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return one, several


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(other - one) / np.linalg.norm(one))


@started
def test_particles_are_shared_out(tmp_path: Path) -> None:
    """Maps and poses of three ranks are those of one, but for rounding; that may end the search of a pose a step
    earlier, which stops where a step promises less than 1e-3 of the log-likelihood."""
    size = ["--particles", "100", "--box", "32", "--pixel-a", "4", "--snr", "0.5", "--seed", "3"]
    assert main(["-q", "cryoem", "simulate", "phantom", str(tmp_path / "p.star"), *size]) == 0
    cg = ["--method", "cg", "--iterations", "3"]
    for job, more, bound in (("reconstruct", cg, 1e-5), ("refine", ["--iterations", "2"], 0.02)):
        given = ["-q", "cryoem", job, str(tmp_path / "p.star"), *more, "--sharpen", "off", *NO_REPORT]
        assert main([*given, "-o", str(tmp_path / f"{job}1")]) == 0
        done = under_ranks(3, "-m", "tomodiff", *given, "-o", tmp_path / f"{job}3", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        one, three = (read_map(tmp_path / f"{job}{n}" / "map.mrc")[0] for n in (1, 3))
        assert np.linalg.norm(three - one) < bound * np.linalg.norm(one)
        before, after = (read_particles(tmp_path / f"{job}{n}" / "particles.star") for n in (1, 3))
        assert np.array_equal(before.half, after.half)
        turned = np.abs(before.rotation - after.rotation)
        assert np.median(turned) < 1e-3 and turned.max() < 0.02


@pytest.mark.slow
@started
def test_particles_find_their_classes_together(tmp_path: Path) -> None:
    path = simulated(tmp_path, "--particles", "200", "--snr", "0.5", "--conformations", "2")
    runs = both(["classify", path, "--iterations", "2"], tmp_path)
    before, after = (read_particles(run / "particles.star") for run in runs)
    assert (before.klass == after.klass).mean() > 0.99
    for name in ("map.mrc", "map_class2.mrc"):
        assert difference(*(read_map(run / name)[0] for run in runs)) < 0.01


@started
def test_components_are_those_of_all_particles(tmp_path: Path) -> None:
    path = simulated(tmp_path, "--particles", "200", "--snr", "0.5", "--motion")
    runs = both(["variability", path, "--components", "1", "--iterations", "4"], tmp_path, ranks=3)
    for name in ("map.mrc", "component1.mrc"):
        assert difference(*(read_map(run / name)[0] for run in runs)) < 1e-3


@pytest.mark.slow
@started
def test_a_first_map_comes_of_all_particles(tmp_path: Path) -> None:
    path = simulated(tmp_path, "--particles", "120", "--snr", "1")
    runs = both(["abinitio", path, "--iterations", "3", "--max-resolution-a", "24"], tmp_path)
    assert difference(*(read_map(run / "map.mrc")[0] for run in runs)) < 0.05


@started
@pytest.mark.parametrize("method", ["wbp", "cgls", "fista-tv"])
def test_a_tilt_series_is_shared_out(method: str, tmp_path: Path) -> None:
    """Weights of the views, the widened volume and all else that depends on every tilt, from some of the images."""
    write_series(tmp_path)
    more = [] if method == "wbp" else ["--iterations", "4", *(["--tv-weight", "0.05"] if method == "fista-tv" else [])]
    given = ["tomogram", str(tmp_path / "ts.xf"), "--pixel-a", str(PIXEL), "--thickness-a", "80", "--taper", "4", *more]
    one, several = both([*given, "--method", method], tmp_path)
    assert difference(*(read_map(run / "map.mrc")[0] for run in (one, several))) < 1e-4
