"""Volumes and data larger than memory: blocks against the whole, jobs under a limit of memory, stops and full disks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tomodiff.array import inner, tmap
from tomodiff.core import random_element
from tomodiff.core.filed import Filed, file_array, in_file
from tomodiff.errors import DataError
from tomodiff.files import write_scan
from tomodiff.geometry import ConeBeam, Grid, ParallelBeam, Scan, fit_grid
from tomodiff.objective import Gaussian
from tomodiff.projectors import XRay
from tomodiff.projectors.xray_blocks import XRayInBlocks, rows_that_see
from tomodiff.recipes.ct.slabs import read_marker
from tomodiff.result import Dataset
from tomodiff.solvers import Cgls, Sirt, State, load, save, solve

SIZE = 112
LIMIT_MB = 64
"""Of memory beyond what the process had at the start; a job of `SIZE` needs twice this at least, and more on disk."""
LIMITED = """
import resource, sys
from tomodiff.cli.main import main
import tomodiff.recipes.ct.on_disk
name, amount = sys.argv[1].split("=")
main(["-q", *sys.argv[2:4], "small.h5", "-o", "warm.npy", *sys.argv[7:]])  # all libraries are loaded before the limit
lines = open("/proc/self/status").read().splitlines()
taken = 1024 * int(next(line for line in lines if line.startswith("VmData")).split()[1])
resource.setrlimit(getattr(resource, name), (int(amount) + (taken if name == "RLIMIT_DATA" else 0),) * 2)
sys.exit(main(sys.argv[2:]))
"""
PARALLEL = ParallelBeam(np.linspace(0, np.pi, 20, endpoint=False), (30, 36), 1.0)
CONE = ConeBeam(np.linspace(0, 2 * np.pi, 20, endpoint=False), 100.0, 150.0, (40, 36), 1.5)


def blocks(A: XRay, folder: Path) -> XRayInBlocks:
    return XRayInBlocks(A.grid, A.scan, 4, 3, folder, A.model, A.dtype)


def cut(values: np.ndarray, parts: list[slice], folder: Path) -> Filed:
    return Filed(((str(n), values[part]) for n, part in enumerate(parts)), folder)


def whole(x: Filed) -> np.ndarray:
    return np.concatenate(list(x.values()))


@pytest.mark.parametrize("model", ["joseph", "footprint"])
@pytest.mark.parametrize("scan", [CONE, PARALLEL], ids=["cone", "parallel"])
def test_blocks_are_the_whole(scan: Scan, model: str, tmp_path: Path, rng: np.random.Generator) -> None:
    grid = fit_grid(scan)
    uneven = Grid(grid.shape, (0.9, 1.1, 1.0), (1.0, -2.0, 0.5))
    for each in (grid, uneven):
        A = XRay(each, scan, model, "float64")
        B = blocks(A, tmp_path)
        x, y = rng.random(A.domain.shape), rng.random(A.range.shape)
        made, back = B.forward(cut(x, B.slabs, tmp_path)), B.adjoint(cut(y, B.chunks, tmp_path))
        assert np.abs(whole(made) - A.forward(x)).max() <= 1e-12 * np.abs(whole(made)).max()
        assert np.abs(whole(back) - A.adjoint(y)).max() <= 1e-12 * np.abs(whole(back)).max()
        p, q = random_element(B.domain, rng), random_element(B.range, rng)
        left, right = inner(B.forward(p), q), inner(p, B.adjoint(q))
        assert abs(left - right) <= 1e-12 * (inner(q, q) * inner(B.forward(p), B.forward(p))) ** 0.5
    assert all(in_file(part) for part in (*made.values(), *p.values()))
    assert rows_that_see(scan, grid[:5]) != (0, scan.detector_shape[0])


@pytest.mark.parametrize("solver", [Sirt(low=0.0), Cgls()])
def test_solvers_do_not_see_the_files(solver: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    A = XRay(fit_grid(CONE), CONE, dtype="float64")
    B, data = blocks(A, tmp_path), A.forward(rng.random(A.domain.shape))
    one = solve(solver, Gaussian(data) @ A, np.zeros(A.domain.shape), 4)
    other = solve(solver, Gaussian(cut(data, B.chunks, tmp_path)) @ B, tmap(lambda s: np.zeros(s.shape), B.domain), 2)
    save(tmp_path / "state", other)
    other = solve(solver, Gaussian(cut(data, B.chunks, tmp_path)) @ B, load(tmp_path / "state"), 4)
    assert isinstance(other.x, Filed) and all(in_file(part) for part in other.x.values())
    assert np.abs(whole(other.x) - one.x).max() <= 1e-10 * np.abs(one.x).max()
    assert not [path for path in tmp_path.iterdir() if path.name != "state"]  # files without names


def test_a_disk_without_room_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"disk space: expected 1e\+06 GB"):
        file_array((10**15,), "uint8", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Line integrals of a ball of 0.02 / mm, in a cone beam."""
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    for size, name in ((16, "small.h5"), (SIZE, "scan.h5")):
        cone = ConeBeam(np.linspace(0, 2 * np.pi, size, endpoint=False), 4.0 * size, 6.0 * size, (size, size), 1.5)
        radius, data = 0.35 * size, np.empty((size, size, size), np.float32)
        for view in range(size):
            origins, directions = cone.rays(views=[view])
            distance_squared = (origins**2).sum(-1) - (origins * directions).sum(-1) ** 2
            data[view] = 0.04 * np.sqrt(np.clip(radius**2 - distance_squared, 0, None))[0]
        write_scan(path.with_name(name), Dataset(data, cone, kind="line_integrals"))
    return path


def run(*arguments: str | Path, limit: str = "", cwd: Path) -> subprocess.Popen[str]:
    if limit:
        shutil.copy(Path(arguments[2]).with_name("small.h5"), cwd)
    start = ["-c", LIMITED, limit] if limit else ["-m", "tomodiff"]
    return subprocess.Popen(
        [sys.executable, *start, *map(str, arguments)], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=os.environ | {"PYTHONPATH": str(REPOSITORY), "TOMODIFF_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def ended(job: subprocess.Popen[str]) -> str:
    """What it said on stderr."""
    return job.communicate(timeout=200)[1]


def arguments(scan: Path, out: str, method: str) -> list[str | Path]:
    iterations = [] if method == "fdk" else ["--iterations", "3"]
    return ["ct", "reconstruct", scan, "-o", out, "-m", method, *iterations, "--set", "output.report=false"]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")
@pytest.mark.parametrize("method", ["fdk", "cgls", pytest.param("sirt", marks=pytest.mark.slow)])
def test_a_job_under_a_limit_of_memory(method: str, scan: Path, tmp_path: Path) -> None:
    limit = f"RLIMIT_DATA={LIMIT_MB * 1_000_000}"
    small = run(*arguments(scan, "small.npy", method), limit=limit, cwd=tmp_path)
    large = run(*arguments(scan, "large.npy", method), cwd=tmp_path)
    for job in (small, large):
        said = ended(job)
        assert job.returncode == 0, said
    status = json.loads((tmp_path / "small.run" / "status.json").read_text())
    assert any("done on disk" in text for text in status["warnings"]), status
    assert not list((tmp_path / "small.run" / "checkpoint").iterdir())
    one, other = np.load(tmp_path / "small.npy"), np.load(tmp_path / "large.npy")
    assert np.abs(one - other).max() <= 1e-5 * np.abs(other).max()
    if method == "fdk":
        middle = one[one.shape[0] // 2]
        assert abs(middle[SIZE // 2 - 8 : SIZE // 2 + 8, SIZE // 2 - 8 : SIZE // 2 + 8].mean() - 0.02) < 2e-4


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")
def test_total_variation_does_not_fit_and_says_what_does(scan: Path, tmp_path: Path) -> None:
    job = run(*arguments(scan, "v.npy", "fista-tv"), limit=f"RLIMIT_DATA={LIMIT_MB * 1_000_000}", cwd=tmp_path)
    said = ended(job)
    assert job.returncode == 4 and "sirt or cgls through the disk" in said, said


@pytest.mark.faults
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")
def test_a_full_disk_ends_it_with_a_message(scan: Path, tmp_path: Path) -> None:
    given = [*arguments(scan, "v.npy", "fdk"), "--set", "reconstruction.memory_gb=0.17"]
    job = run(*given, limit="RLIMIT_FSIZE=3000000", cwd=tmp_path)
    said = ended(job)
    assert job.returncode == 3 and "disk space" in said, said
    assert not (tmp_path / "v.npy").exists()


@pytest.mark.faults
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")
@pytest.mark.parametrize("method", ["fdk", "cgls"])
@pytest.mark.slow
def test_stopped_it_goes_on_to_the_same_bits(method: str, scan: Path, tmp_path: Path) -> None:
    small = ["--set", "reconstruction.memory_gb=0.15", "--checkpoint-every", "1"]
    job = run(*arguments(scan, "whole.npy", method), *small, cwd=tmp_path)
    said = ended(job)
    assert job.returncode == 0 and "done on disk" in said, said
    cut_short = run(*arguments(scan, "cut.npy", method), *small, cwd=tmp_path)
    folder = tmp_path / "cut.run" / "checkpoint"
    marker = folder / "disk.json"
    while cut_short.poll() is None:
        if (marker.exists() and json.loads(marker.read_text())["slabs"]) or (folder / "state").exists():
            break
        time.sleep(0.01)
    cut_short.send_signal(signal.SIGKILL)
    cut_short.communicate(timeout=60)
    assert marker.exists() and not (tmp_path / "cut.npy").exists()
    again = run("resume", "cut.run", cwd=tmp_path)
    assert again.wait(200) == 0, again.communicate()[1]
    again.communicate()
    assert (np.load(tmp_path / "cut.npy") == np.load(tmp_path / "whole.npy")).all()


def test_what_was_kept_for_another_job_is_refused(tmp_path: Path) -> None:
    (tmp_path / "disk.json").write_text(json.dumps({"about": {"settings": "a"}, "rows": 3}))
    run: Any = SimpleNamespace(checkpoint=lambda: tmp_path / "state", about=lambda: {"settings": "b"})
    with pytest.raises(DataError, match=r"disk.json: checkpoint: settings: expected a, found b.*start anew"):
        read_marker(run, "disk.json")


def test_a_state_without_files_is_as_before(tmp_path: Path) -> None:
    save(tmp_path / "s", State("Cgls", np.ones(3), memory={"a": {"0": np.zeros(2)}}))
    assert not isinstance(load(tmp_path / "s").memory["a"], Filed)
