"""The kernels, compiled for the CPU under AddressSanitizer and UndefinedBehaviorSanitizer: a memory checker for CUDA.

Every kernel of cuda_kernels/ is launched by tests/kernel_smoke.py; `make nightly` also runs the kernels' own tests.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel_folder import KERNEL, REPOSITORY, runnable_isas
from tomodiff import compile as build
from tomodiff import kernels

pytestmark = pytest.mark.sanitizer

SANITIZE = (
    "-O0",
    "-g1",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined,float-cast-overflow",
    "-fno-sanitize-recover=all",
)
BEST, *OTHERS = runnable_isas()
WHERE = [(BEST, "float32"), pytest.param(BEST, "float64", marks=pytest.mark.slow)]
EVERYWHERE = [*WHERE, *(pytest.param(isa, p, marks=pytest.mark.slow) for isa in OTHERS for p in build.PRECISIONS)]


def runtime() -> str:
    """The sanitizer's own library, which has to be loaded before Python."""
    compiler = build.compiler().split()
    found = subprocess.run([*compiler, "-print-file-name=libasan.so"], text=True, capture_output=True).stdout.strip()
    if not Path(found).is_absolute():
        pytest.skip(f"{compiler[0]} has no libasan.so")
    return str(Path(found).resolve())


def environment(libraries: dict[str, Path]) -> dict[str, str]:
    """The environment of a process that takes its kernels from sanitized libraries."""
    return {
        **os.environ,
        "LD_PRELOAD": runtime(),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps what it allocated to the end
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONPATH": str(REPOSITORY),
        "TOMODIFF_THREADS": "2",
        **{f"TOMODIFF_LIBRARY_{precision.upper()}": str(path) for precision, path in libraries.items()},
    }


def compile_sanitized(sources: Path, target: Path, isa: str, precision: str) -> Path:
    """A library with sanitizers."""
    return build.compile_library(sources, target / build.library_name(isa, precision), isa, precision, SANITIZE)


@pytest.mark.parametrize(("isa", "precision"), EVERYWHERE)
def test_every_kernel_runs_clean(isa: str, precision: str, tmp_path: Path) -> None:
    library = compile_sanitized(kernels.FOLDER, tmp_path, isa, precision)
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "tests" / "kernel_smoke.py"), precision, str(tmp_path / "results.npz")],
        env=environment({precision: library}),
        text=True,
        capture_output=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    assert f"of {len(kernels.signatures())} kernels" in done.stdout


@pytest.mark.slow
def test_the_kernels_own_tests_run_clean(tmp_path: Path) -> None:
    files = [p for p in sorted((REPOSITORY / "tests").glob("test_*.py")) if re.search(r"\bxp\b", p.read_text())]
    files = [p for p in files if p.name not in (Path(__file__).name, "test_kernels_cache.py")]
    libraries = {p: compile_sanitized(kernels.FOLDER, tmp_path, BEST, p) for p in build.PRECISIONS}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow and not nvrtc",
        *map(str, files),
    ]
    done = subprocess.run(
        command, env=environment(libraries), cwd=REPOSITORY, text=True, capture_output=True, timeout=3600
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Run one kernel body over five elements under the sanitizers, and return what they say."""

    def run(body: str) -> str:
        folder = tmp_path_factory.mktemp("faulty")
        for header in ("host.h", "lane.cuh"):
            shutil.copy(kernels.FOLDER / header, folder)
        changed = KERNEL.replace("if (i < n) y[i] = factor * x[i];", body)
        assert changed != KERNEL
        (folder / "scale.cu").write_text(changed)
        library = compile_sanitized(folder, folder, BEST, "float32")
        code = f"""
import ctypes, numpy as np
from tomodiff import kernels
kernels.FOLDER = __import__("pathlib").Path({str(folder)!r})
x, y = np.ones(5, "float32"), np.zeros(5, "float32")
kernels.kernel("scale")((5,), (1,), (x, y, 5, 1e20))
"""
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment({"float32": library}), text=True, capture_output=True
        )
        return f"{done.returncode} {done.stderr}"

    return run


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("y[i + 1] = x[i];", "heap-buffer-overflow"),
        ("y[i] = x[i - 1];", "heap-buffer-overflow"),
        (
            "real a[4]; for (int l = 0; l <= n; ++l) a[l] = x[i]; y[i] = a[n % 3];",
            "index 4 out of bounds|stack-buffer-overflow",
        ),
        ("y[i] = (int)(factor * x[i]);", "is outside the range of representable values of type 'int'"),
        ("y[i] = (n + 2147483647);", "signed integer overflow"),
    ],
)
def test_faults_are_seen(faulty: Callable[[str], str], body: str, says: str) -> None:
    """The tests above can fail."""
    assert re.search(rf"^1 .*({says})", faulty(body), re.S)


def test_a_kernel_without_fault_is_clean(faulty: Callable[[str], str]) -> None:
    assert faulty("if (i < n) y[i] = x[i] * factor;") == "0 "
