"""How well two processes share a problem: CGLS of a cone beam, or a cryo-EM refinement, on one and on two ranks.

    python -m workflows.benchmarks.ranks [--size 256] [--iterations 3] [--rounds 3] [--results FOLDER]
    python -m workflows.benchmarks.ranks --particles set.star       (tomodiff cryoem simulate makes one)

One thread each.  Efficiency is the time of one rank over twice that of two, of the best iteration in rounds that
alternate.  Two processes that have nothing to do with each other may slow each other down, too: that is measured as
well ("apart"), and is the most that ranks can reach.  CPU seconds of MPI contain its waiting, which spins.  Needs
mpi4py and an mpiexec (the mpich wheel).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
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
    parser.add_argument("--particles", type=Path, help="refine these, two rounds of local search, in place of CGLS")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.child:
        child(chosen.size, chosen.iterations)
        return 0
    best: dict[str, dict[str, Any]] = {}
    for _ in range(chosen.rounds):
        for name, n, copies in (("one rank", 1, 1), ("two ranks", 2, 1), ("apart", 1, 2)):
            found = refined(n, copies, chosen.particles) if chosen.particles else cgls(n, copies, chosen)
            if name not in best or found["wall_s"] < best[name]["wall_s"]:
                best[name] = found
    one, two, apart = (best[name] for name in ("one rank", "two ranks", "apart"))
    shares = {
        "efficiency_wall": one["wall_s"] / (2 * two["wall_s"]), "efficiency_cpu": one["cpu_s"] / two["cpu_s"],
        "efficiency_apart": one["wall_s"] / apart["wall_s"],
    }  # fmt: skip
    for name, found in best.items():
        print(f"{name}: {found['wall_s']:.2f} s, {found['cpu_s']:.2f} CPU s")
    print("; ".join(f"{name} {value:.2f}" for name, value in shares.items()) + f" (wanted {GOAL})")
    if chosen.results:
        from workflows.benchmarks.record import circumstances, write

        what = {"what": "refine" if chosen.particles else "cgls", "size": chosen.size, **shares, "goal": GOAL}
        common = circumstances("ranks", "cpu", 1, chosen.rounds, chosen.size < 256) | what
        write(chosen.results / "ranks.jsonl", [common | {"case": name, **found} for name, found in best.items()])
    return 0


ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOMODIFF_THREADS": "1"}


def mpiexec(n: int, *arguments: str) -> list[str]:
    """A Python program under so many ranks."""
    return [str(Path(sys.executable).parent / "mpiexec"), "-n", str(n), sys.executable, *arguments]


def side_by_side(commands: list[list[str]]) -> list[str]:
    """What commands print that run at the same time."""
    env = os.environ | ONE_THREAD
    jobs = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for command in commands]
    said = [job.communicate()[0] for job in jobs]
    for job, command in zip(jobs, commands, strict=True):
        if job.returncode:
            raise subprocess.CalledProcessError(job.returncode, command)
    return said


def cgls(n: int, copies: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """Seconds of an iteration under n ranks, of several such programs at a time the slowest."""
    more = ["--child", "--size", str(chosen.size), "--iterations", str(chosen.iterations)]
    said = side_by_side([mpiexec(n, "-m", __spec__.name, *more)] * copies)
    found: list[dict[str, Any]] = [json.loads(text.splitlines()[-1]) for text in said]
    return max(found, key=lambda one: float(one["wall_s"]))


def refined(n: int, copies: int, particles: Path) -> dict[str, Any]:
    """Seconds of the rounds of a refinement, and CPU seconds of all of it."""
    with tempfile.TemporaryDirectory() as folder:
        outs = [Path(folder) / f"refined{k}" for k in range(copies)]
        settings = ["--set", "output.report=false", "--set", "refinement.iterations=2"]
        job = ["-m", "tomodiff", "-q", "cryoem", "refine", str(particles), *settings, "-o"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        side_by_side([mpiexec(n, *job, str(out)) for out in outs])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        timings = [json.loads((out / "status.json").read_text())["timings"] for out in outs]
        walls = [sum(t for name, t in stages.items() if name.startswith("round")) for stages in timings]
    return {"wall_s": max(walls), "cpu_s": cpu / copies}


def child(size: int, iterations: int) -> None:
    """One rank's part; the first prints wall seconds of the slowest and CPU seconds of all, of the best iteration."""
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
    best = {"wall_s": float("inf"), "cpu_s": float("inf")}
    for _ in range(iterations):
        comm.barrier()
        began, before = time.perf_counter(), _cpu()
        state = solver.step(f, state)
        walls, cpus = comm.collect(time.perf_counter() - began), comm.collect(_cpu() - before)
        best = {"wall_s": min(best["wall_s"], max(walls)), "cpu_s": min(best["cpu_s"], sum(cpus))}
    if comm.leads:
        print(json.dumps(best))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
