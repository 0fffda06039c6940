"""What the tests of several ranks share: how to start programs and jobs under mpiexec, and the scans they take."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tomodiff.cli.main import main

REPOSITORY = Path(__file__).resolve().parent.parent
MPIEXEC = Path(sys.executable).parent / "mpiexec"
started = pytest.mark.skipif(not MPIEXEC.exists(), reason="there is no mpiexec beside Python (the mpich wheel)")
NO_REPORT = ["--set", "output.report=false"]
QUIET = ["--rings", "off", "--flux", "off", "--center", "keep"]
"""No correction that looks at other rows."""
LONG = ["-m", "sirt", "--iterations", "400", "--tolerance", "0", "--checkpoint-every", "3", *NO_REPORT, *QUIET]


def under_ranks(n: int, *arguments: str | Path, cwd: Path, background: bool = False) -> Any:
    env = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    env |= {"TOMODIFF_THREADS": "1", "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))}
    command = [str(MPIEXEC), "-n", str(n), sys.executable, *map(str, arguments)]
    if background:
        return subprocess.Popen(command, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=100)


def make_scans(folder: Path) -> dict[str, Path]:
    """A small scan of each kind of beam."""
    kinds = {"cone": ["--source-axis-mm", "60", "--source-detector-mm", "90"], "parallel": []}
    made = {name: folder / f"{name}.h5" for name in kinds}
    for name, more in kinds.items():
        size = ["--views", "40", "--rows", "24", "--columns", "32"]
        assert main(["-q", "ct", "simulate", str(made[name]), *size, *more]) == 0
    return made


def volume(path: Path) -> np.ndarray:
    return np.asarray(np.load(path))


def reconstruct(n: int, scan: Path, out: Path, *more: str, corrections: list[str] = QUIET) -> Any:
    command = ["-m", "tomodiff", "ct", "reconstruct", scan, "-o", out, *NO_REPORT, *corrections, *more]
    if n == 1:
        assert main([str(a) for a in command[2:]]) == 0
        return volume(out)
    done = under_ranks(n, *command, cwd=out.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    return volume(out)


def begin(scan: Path, out: Path, iterations: int, *more: str) -> Any:
    """A job of two ranks that has done some iterations."""
    command = ["-m", "tomodiff", "ct", "reconstruct", scan, "-o", out, *LONG, *more]
    job = under_ranks(2, *command, cwd=out.parent, background=True)
    metrics = out.with_suffix(".run") / "metrics.jsonl"
    for _ in range(600):
        if job.poll() is not None or (metrics.exists() and metrics.read_text().count("\n") >= iterations):
            return job
        time.sleep(0.02)
    raise AssertionError("the job did not start")


def ranks_of(job: Any) -> list[int]:
    """The Python processes below an mpiexec, by rank of their start."""
    text = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    lines = [line.split(None, 2) for line in text.splitlines()[1:]]
    below = {job.pid}
    for _ in range(4):
        below |= {int(pid) for pid, parent, _ in lines if int(parent) in below}
    return sorted(int(pid) for pid, _, args in lines if int(pid) in below and "-m tomodiff" in args and
                  "mpiexec" not in args and "hydra" not in args)  # fmt: skip
