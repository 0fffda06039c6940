"""The estimate of a job's memory bounds what the job then takes, and not by much."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tomodiff.files import write_scan
from tomodiff.files.atomic import in_units
from tomodiff.geometry import ConeBeam, ParallelBeam, Scan, fit_grid
from tomodiff.recipes.ct.memory import required_bytes
from tomodiff.recipes.memory import free_bytes
from tomodiff.result import Dataset

SIZE = 112
OTHER = 24e6
"""Bytes that a process takes beside the arrays that grow with the scan."""

JOB = """
import sys
from tomodiff.recipes.config_file import settings_from
from tomodiff.recipes.ct.reconstruct import reconstruct
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run

def peak():
    # not getrusage: its maximum begins with what the process that started this one had
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

for name in ("small", "large"):
    before = peak()  # of the large one: all libraries are loaded
    given = {"input.path": f"{name}.h5", "output.path": name, "prepare.center": "keep"}
    given["reconstruction.method"] = sys.argv[1]
    if sys.argv[1] not in ("fbp", "fdk", "gridding"):
        given["reconstruction.iterations"] = 3
    run = Run.create(settings_from({key: (value, key) for key, value in given.items()}))
    with run:
        run.finish(reconstruct(run.settings, run, Progress(quiet=True)))
print(peak() - before)
"""


def scan_of(method: str, n: int, views: int) -> Scan:
    if method == "fdk":
        return ConeBeam(np.linspace(0, 2 * np.pi, views, endpoint=False), 4.0 * n, 6.0 * n, (n, n), 1.5)
    return ParallelBeam(np.linspace(0, np.pi, views, endpoint=False), (n, n), 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.4, 1.0, 2.5])
@pytest.mark.parametrize(
    "method", ["fbp", "gridding", "fdk", "sirt", "cgls", "lsmr", "os-sart", "mlem", "pwls", "fista-tv"]
)
def test_estimate(method: str, share: float, tmp_path: Path, rng: np.random.Generator) -> None:
    for name, n in (("small", 16), ("large", SIZE)):
        scan = scan_of(method, n, int(share * n))
        body = np.exp(-np.sqrt(np.maximum(0.5 - np.linspace(-1, 1, n) ** 2, 0)))
        counts = rng.poisson(2e4 * np.broadcast_to(body, (len(scan), n, n))).astype(np.float32)
        references = (np.full((10, n, n), 2e4, np.float32), np.zeros((5, n, n), np.float32))
        write_scan(tmp_path / f"{name}.h5", Dataset(counts, scan, "counts", *references))
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "TOMODIFF_THREADS": "1"}
    command = [sys.executable, "-c", JOB, method]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    subsets = 10 if method == "os-sart" else None
    taken, estimate = float(done.stdout), required_bytes(method, scan, fit_grid(scan), 15, subsets=subsets)
    assert taken <= estimate + OTHER
    assert estimate <= 3 * taken


def test_larger_jobs_need_more() -> None:
    grids = {n: scan_of("fbp", n, n) for n in (32, 64)}
    for method in ("fbp", "fdk", "sirt", "cgls", "lsmr", "os-sart", "osem", "fista-tv"):
        small, large = (required_bytes(method, scan, fit_grid(scan)) for scan in grids.values())
        assert 7 * small < large < 9 * small
        scan = grids[64]
        assert required_bytes(method, scan, fit_grid(scan), item=8) > 1.8 * large
        assert large > 4 * (np.prod(fit_grid(scan).shape) + len(scan) * np.prod(scan.detector_shape))
    assert 0 < free_bytes() < 1 << 60


def test_sizes_are_written_with_units() -> None:
    assert [in_units(n) for n in (0, 999, 1.5e3, 2e6, 3.21e9, 5e12, 4e15)] == [
        "0 B", "999 B", "1.5 kB", "2 MB", "3.21 GB", "5 TB", "4e+03 TB",
    ]  # fmt: skip
