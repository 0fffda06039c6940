"""What is free of memory."""

from __future__ import annotations

import contextlib
from importlib import import_module
from pathlib import Path

LIBRARIES_BYTES = 100_000_000
"""What Python and the libraries of a job take before it begins."""

USABLE = 0.85
"""The part of the free memory that a job plans to use."""


def free_bytes(most_gb: float | None = None) -> int:
    """Bytes that this process may still take: the machine's, its control group's, or its own limits, the least; with
    `most_gb` no more than that in all, and the same in every run, so that jobs are cut into the same pieces."""
    bounds = []
    if most_gb is not None:
        bounds.append(int(1e9 * most_gb) - LIBRARIES_BYTES)
    with contextlib.suppress(OSError, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        bounds.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):
            bounds.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
    if not bounds:  # neither Linux nor a bound: psutil is required on other systems
        with contextlib.suppress(ImportError):
            bounds.append(int(import_module("psutil").virtual_memory().available))
    with contextlib.suppress(ImportError):
        resource = import_module("resource")  # not on Windows
        for kind, taken in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
            soft, _ = resource.getrlimit(kind)
            if soft != resource.RLIM_INFINITY:
                bounds.append(soft - _own(taken))
    return max(0, min(bounds)) if bounds else 1 << 62


def _own(name: str) -> int:
    """Bytes that this process takes, as Linux counts them under this name; 0 elsewhere."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])
    return 0
