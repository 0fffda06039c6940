"""Seconds that a call takes: of all CPU threads and of the clock, or between events on a GPU."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Seconds:
    """The best of the calls so far: `cpu` seconds summed over the threads of this process (of the GPU where it
    computes), and `wall` seconds.

    CPU seconds hardly depend on what else runs on a shared machine; wall seconds do.
    """

    cpu: float = float("inf")
    wall: float = float("inf")

    def best(self, other: Seconds) -> Seconds:
        """The smaller of each."""
        return Seconds(min(self.cpu, other.cpu), min(self.wall, other.wall))

    def scaled(self, factor: float) -> Seconds:
        """For a problem `factor` times as large."""
        return replace(self, cpu=self.cpu * factor, wall=self.wall * factor)


def on_host(call: Callable[[], Any]) -> Seconds:
    """One call on the CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Seconds(time.process_time() - cpu, time.perf_counter() - wall)


def of_command(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> Seconds:
    """A whole command, from its start to its end, in a folder: `cpu` is the user and system time of its process and of
    those that it waited for.  Raises RuntimeError, with the end of what it said, if it fails."""
    with (folder / "said.txt").open("w+", encoding="utf-8", errors="replace") as said:
        wall = time.perf_counter()
        child = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - wall
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)} failed with {child.returncode}:\n{said.read()[-2000:]}")
    return Seconds(usage.ru_utime + usage.ru_stime, wall)


def on_gpu(call: Callable[[], Any]) -> Seconds:
    """One call on the current CuPy device: `cpu` is the time between two events on the stream around it."""
    import cupy

    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    cupy.cuda.Device().synchronize()
    wall = time.perf_counter()
    start.record()
    call()
    end.record()
    end.synchronize()
    return Seconds(cupy.cuda.get_elapsed_time(start, end) / 1e3, time.perf_counter() - wall)
