"""How fast total variation is: its prox beside scikit-image's and PyProximal's, and its share of a FISTA iteration.

    python -m workflows.benchmarks.total_variation [--quick] [--reps N] [--threads N] [--no-peers]

prox: argmin of weight TV(z) + |z - x|^2 / 2 for a noisy phantom, by each program to the same distance from the exact
minimum of that objective (a part of the objective; the exact one is bounded from below by our dual), with as few of its
iterations as that takes.  CPU seconds of all threads, the best of N; the others compute on one thread.
fista: one iteration of FISTA with 10 inner iterations of the prox on cone256 (`ct_projectors`), over the seconds of one
forward and one adjoint projection.  Prints all and adds JSON lines to results/total_variation.jsonl beside this file.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np

from tomodiff.objective import Gaussian
from tomodiff.objective.tv import TotalVariation
from tomodiff.projectors import XRay
from tomodiff.simulate.phantoms import shepp_logan_3d
from tomodiff.solvers import Fista
from workflows.benchmarks import record
from workflows.benchmarks.problems import cone256
from workflows.benchmarks.stopwatch import Seconds, on_host

INNER = 10
FISTA_GOAL, PROX_GOAL = 1.25, 4.0
NOISE, WEIGHT = 0.1, 0.1
APART = (1e-3, 1e-4)
"""How far from the minimum, relative to it, the proxes are compared."""


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, keep; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workflows.benchmarks.total_variation", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="small problems: to see that all runs, in seconds")
    parser.add_argument("--reps", type=int, default=3, help="rounds, of which the best counts (default 3)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of ours (default 2)")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="leave other programs out")
    given = parser.parse_args(arguments)
    os.environ["TOMODIFF_THREADS"] = str(given.threads)
    lines = [fista(given.quick, given.reps)]
    lines += proxes(24 if given.quick else 64, given.reps, given.peers)
    for line in lines:
        print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in line.items()))
    if not given.quick:
        common = record.circumstances("total_variation", "cpu", given.threads, given.reps, given.quick)
        record.write(record.RESULTS / "total_variation.jsonl", [common | line for line in lines])
    return 0


def best(call: Callable[[], Any], reps: int) -> Seconds:
    """The best of some calls."""
    found = Seconds()
    for _ in range(reps):
        found = found.best(on_host(call))
    return found


def fista(quick: bool, reps: int) -> dict[str, Any]:
    """An iteration beside its two projections."""
    problem = cone256(quick)
    A = XRay(problem.grid, problem.scan)
    x = shepp_logan_3d(0.4 * problem.grid.size[0]).voxelise(problem.grid, 1).astype("float32")
    data = A(x)
    f = Gaussian(data) @ A
    solver = Fista(0.01 * TotalVariation(low=0.0, iterations=INNER, accuracy=0.0), step_size=1e-6)
    state = solver.step(f, solver.step(f, solver.start(f, np.zeros_like(x))))
    projections, iteration = Seconds(), Seconds()
    for _ in range(reps):
        projections = projections.best(on_host(lambda: A.adjoint(A.forward(x))))
        iteration = iteration.best(on_host(lambda: solver.step(f, state)))
    return {
        "what": "fista", "problem": problem.name, "inner": INNER, "projections_cpu_s": projections.cpu,
        "iteration_cpu_s": iteration.cpu, "projections_wall_s": projections.wall, "iteration_wall_s": iteration.wall,
        "ratio": iteration.cpu / projections.cpu, "wall_ratio": iteration.wall / projections.wall, "goal": FISTA_GOAL,
    }  # fmt: skip


def proxes(n: int, reps: int, peers: bool) -> list[dict[str, Any]]:
    """The prox of a noisy volume by every program that is there, at the same distance from the minimum."""
    from tomodiff.geometry import Grid

    clean = shepp_logan_3d(0.45 * n, 1.0).voxelise(Grid(n), 1)
    x = (clean + NOISE * np.random.default_rng(0).standard_normal(clean.shape)).astype("float32")
    tv = TotalVariation()

    def objective(z: np.ndarray) -> float:
        z = np.ascontiguousarray(z.reshape(x.shape), "float32")
        return WEIGHT * tv(z) + 0.5 * float(((z - x).astype(np.float64) ** 2).sum())

    exact = TotalVariation(iterations=5000, accuracy=1e-6)
    z, memory = exact.prox_warm(x, WEIGHT, {})
    lowest = objective(z) - memory["gap"]
    contenders: list[tuple[str, Callable[[int], np.ndarray]]] = [
        ("tomodiff", lambda k: TotalVariation(iterations=k, accuracy=0.0).prox(x, WEIGHT))
    ]
    if peers:
        contenders += _others(x)
    lines: list[dict[str, Any]] = []
    for apart in APART:
        ours = None
        for program, call in contenders:
            needed = _iterations(lambda k, c=call, a=apart: objective(c(k)) - lowest <= a * lowest)
            if needed is None:
                print(f"{program}: not within {apart:g} of the minimum in {MOST} iterations", file=sys.stderr)
                continue
            seconds = best(lambda c=call, k=needed: c(k), reps)
            ours = ours or seconds
            lines.append({
                "what": "prox", "voxels": list(x.shape), "apart": apart, "program": program, "iterations": needed,
                "version": metadata.version(program), "cpu_s": seconds.cpu, "wall_s": seconds.wall,
                "ratio": seconds.cpu / ours.cpu, "goal": None if program == "tomodiff" else PROX_GOAL,
            })  # fmt: skip
    return lines


MOST = 3000


def _iterations(enough: Callable[[int], bool]) -> int | None:
    """The fewest iterations that are enough, to a twentieth, by doubling and halving."""
    high = 5
    while not enough(high):
        high *= 2
        if high > MOST:
            return None
    low = high // 2
    while high - low > max(1, high // 20):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _others(x: np.ndarray) -> list[tuple[str, Callable[[int], np.ndarray]]]:
    """Those that are installed."""
    found: list[tuple[str, Callable[[int], np.ndarray]]] = []
    try:
        from skimage.restoration import denoise_tv_chambolle

        found.append(("scikit-image", lambda k: denoise_tv_chambolle(x, weight=WEIGHT, eps=0, max_num_iter=k)))
    except ImportError:
        print("scikit-image is not installed: left out", file=sys.stderr)
    try:
        from pyproximal import TV

        found.append(("pyproximal", lambda k: TV(x.shape, sigma=1.0, niter=k, rtol=0.0).prox(x.reshape(-1), WEIGHT)))
    except ImportError:
        print("PyProximal is not installed: left out", file=sys.stderr)
    return found


if __name__ == "__main__":
    sys.exit(main())
