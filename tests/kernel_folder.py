"""A copy of the package with one small kernel, in a folder of its own: for tests of compiling, caching and loading."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tomodiff import compile as build
from tomodiff import kernels

REPOSITORY = Path(__file__).resolve().parent.parent

KERNEL = """#include "lane.cuh"
/* y = factor * x, one thread an element. */
extern "C" __global__ void scale(const real* __restrict__ x, real* __restrict__ y, int n, real factor) {
    const int i = THREAD_X;
    if (i < n) y[i] = factor * x[i];
}
"""

DRIVER = """
import numpy as np
from tomodiff.kernels import kernel
x, y = np.arange(5.0, dtype="float32"), np.zeros(5, "float32")
kernel("scale")((5,), (1,), (x, y, 5, 2))
print(y.tolist())
"""

DOUBLED = "[0.0, 2.0, 4.0, 6.0, 8.0]\n"
"""What DRIVER prints."""

LIBRARIES = ("TOMODIFF_LIBRARY_FLOAT32", "TOMODIFF_LIBRARY_FLOAT64")
COMPILER_ENVIRONMENT = {
    "CXX",
    "PYTHONPATH",
    "TOMODIFF_CACHE",
    "TOMODIFF_ISA",
    "TOMODIFF_NO_COMPILE",
    "XDG_CACHE_HOME",
    *LIBRARIES,
}
"""What decides which kernels a process loads."""


def make_package(folder: Path) -> Path:
    """tomodiff/ and cuda_kernels/ with the kernel `scale` alone, no library compiled; returns `folder`."""
    names = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(REPOSITORY / "tomodiff", folder / "tomodiff", ignore=names)
    (folder / "tomodiff" / "_lib").mkdir(exist_ok=True)
    (folder / "cuda_kernels").mkdir()
    for header in ("host.h", "lane.cuh"):
        shutil.copy(REPOSITORY / "cuda_kernels" / header, folder / "cuda_kernels")
    (folder / "cuda_kernels" / "scale.cu").write_text(KERNEL)
    return folder


def environment(package: Path, cache: Path, **more: str) -> dict[str, str]:
    """The environment of a process that imports `package` and caches kernels in `cache`."""
    kept = {
        k: v for k, v in os.environ.items() if k not in COMPILER_ENVIRONMENT and not k.startswith("TOMODIFF_LIBRARY")
    }
    return {**kept, "PYTHONPATH": str(package), "TOMODIFF_CACHE": str(cache), "PYTHONWARNINGS": "error", **more}


def runnable_isas() -> list[str]:
    """The instruction sets that this machine has."""
    known = build.host_isas()
    return known[known.index(kernels.cpu_isa()) :]


def run_python(
    code: str, env: dict[str, str], cwd: Path, python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    """Run a few lines in a process of their own."""
    return subprocess.run([python, "-c", code], env=env, cwd=cwd, text=True, capture_output=True, timeout=300)
