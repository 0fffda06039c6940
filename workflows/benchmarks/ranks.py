"""How well two processes share a problem: CGLS of a cone beam on one and on two ranks of one thread each.

    python -m workflows.benchmarks.ranks [--size 256] [--iterations 3] [--rounds 3] [--results FOLDER]

Efficiency is the time of one rank over twice that of two; rounds alternate, the best of each counts.  CPU seconds of
MPI contain its waiting, which spins.  Needs mpi4py and an mpiexec (the mpich wheel).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

GOAL = 0.9


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and keep; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="voxels along each axis, columns, rows and views")
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.child:
        child(chosen.size, chosen.iterations)
        return 0
    best: dict[int, dict[str, Any]] = {}
    for _ in range(chosen.rounds):
        for n in (1, 2):
            found = started(n, chosen.size, chosen.iterations)
            if n not in best or found["wall_s"] < best[n]["wall_s"]:
                best[n] = found
    lines = []
    for n, found in best.items():
        shares = {f"efficiency_{k}": best[1][f"{k}_s"] / (m * found[f"{k}_s"]) for k, m in (("wall", n), ("cpu", 1))}
        lines.append({"what": "cgls", "size": chosen.size, "ranks": n, **found, **shares, "goal": GOAL})
        print(
            f"{n} ranks: {found['wall_s']:.2f} s, {found['cpu_s']:.2f} CPU s an iteration; efficiency "
            f"{shares['efficiency_wall']:.2f} of wall, {shares['efficiency_cpu']:.2f} of CPU (wanted {GOAL})"
        )
    if chosen.results:
        from workflows.benchmarks.record import circumstances, write

        common = circumstances("ranks", "cpu", 1, chosen.rounds, chosen.size < 256)
        write(chosen.results / "ranks.jsonl", [common | line for line in lines])
    return 0


def started(n: int, size: int, iterations: int) -> dict[str, Any]:
    """Seconds of an iteration under n ranks."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOMODIFF_THREADS": "1"}
    command = [
        str(Path(sys.executable).parent / "mpiexec"),
        "-n",
        str(n),
        sys.executable,
        "-m",
        __spec__.name,
        "--child",
    ]
    command += ["--size", str(size), "--iterations", str(iterations)]
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(size: int, iterations: int) -> None:
    """One rank's part; the first prints the slowest wall time and the CPU seconds of all, for one iteration."""
    from tomodiff.geometry import ConeBeam, fit_grid
    from tomodiff.objective import Gaussian
    from tomodiff.projectors import XRay
    from tomodiff.ranks import Spread, SpreadData, own_views, world
    from tomodiff.solvers import Cgls

    comm = world()
    angles = np.linspace(0, 2 * np.pi, size, endpoint=False)
    scan = ConeBeam(angles, 2.0 * size, 3.0 * size, (size, size), 1.5)
    mine = scan[own_views(comm)]
    A = SpreadData(XRay(fit_grid(scan), mine), comm)
    data = np.random.default_rng(comm.rank).random((len(mine), size, size), dtype=np.float32)
    f = Gaussian(Spread(data, comm)) @ A
    solver = Cgls()
    state = solver.step(f, solver.start(f, np.zeros(A.domain.shape, np.float32)))
    comm.barrier()
    began, before = time.perf_counter(), _cpu()
    for _ in range(iterations):
        state = solver.step(f, state)
    comm.barrier()
    wall, cpu = time.perf_counter() - began, _cpu() - before
    walls, cpus = comm.collect(wall), comm.collect(cpu)
    if comm.leads:
        print(json.dumps({"wall_s": max(walls) / iterations, "cpu_s": sum(cpus) / iterations}))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
