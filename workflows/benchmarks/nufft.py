"""Our non-uniform FFT beside FINUFFT's, both planned once, at the accuracy that both were asked for.

    python -m workflows.benchmarks.nufft [--reps N] [--threads N] [--quick]

Each is the best of N rounds in turn; errors are those against our transform at 1e-12 in double precision.  Prints all
and adds JSON lines to results/nufft.jsonl beside this file.  Needs finufft (the extra `fourier`).
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import numpy as np

from tomodiff.extras import library
from tomodiff.projectors.mri.nufft import Nufft
from tomodiff.simulate.mri import spokes_of
from workflows.benchmarks import record
from workflows.benchmarks.analytic import in_turn

ACCURACY = 1e-5
PROBLEMS = {
    "25 spokes of 256, 12 coils": ((256, 256), 12, 25),
    "400 spokes of 256, 8 coils": ((256, 256), 8, 400),
    "1e5 points, 8 coils": ((256, 256), 8, 100_000),
    "1e5 points, 1 coil": ((256, 256), 1, 100_000),
    "2e5 points in 96^3, 8 coils": ((96, 96, 96), 8, 200_000),
    "5e5 points in 96^3, 1 coil": ((96, 96, 96), 1, 500_000),
}
"""Name -> shape, coils, spokes or random points."""


def compare(name: str, threads: int, reps: int, quick: bool) -> dict[str, Any]:
    """The line of one problem."""
    finufft = library("finufft", "fourier", "this benchmark needs")
    shape, coils, count = PROBLEMS[name]
    rng = np.random.default_rng(0)
    if quick:
        shape, coils, count = shape[:2] if len(shape) == 2 else (12, 12, 12), min(coils, 2), min(count, 300)
    points = rng.uniform(-0.5, 0.5, (count, len(shape)))
    if "spokes" in name:
        points = spokes_of(shape[0], count)
    values = rng.standard_normal((2, coils, *shape))
    x = (values[0] + 1j * values[1]).astype(np.complex64)
    A = Nufft(shape, points, (coils,), ACCURACY)
    y = A.forward(x)
    exact = Nufft(shape, points, (coils,), 1e-12, "complex128").forward(x.astype(np.complex128))
    plans = []
    for kind, sign in ((2, -1), (1, 1)):
        plan = finufft.Plan(kind, shape, coils, ACCURACY, sign, dtype=np.complex64, nthreads=threads)
        plan.setpts(*[np.ascontiguousarray(2 * np.pi * k, np.float32) for k in points.T])
        plans.append(plan)
    theirs_x, theirs_y = (x, y) if coils > 1 else (x[0], y[0])
    calls = {
        "own_forward": lambda: A.forward(x),
        "finufft_forward": lambda: plans[0].execute(theirs_x),
        "own_adjoint": lambda: A.adjoint(y),
        "finufft_adjoint": lambda: plans[1].execute(theirs_y),
    }
    best = in_turn(calls, reps)

    def error(made: np.ndarray) -> float:
        return float(np.linalg.norm(made.reshape(exact.shape) - exact) / np.linalg.norm(exact))

    return {
        "name": name,
        **{f"{key}_{unit}_s": getattr(took, unit) for key, took in best.items() for unit in ("wall", "cpu")},
        "forward_ratio": best["finufft_forward"].wall / best["own_forward"].wall,
        "adjoint_ratio": best["finufft_adjoint"].wall / best["own_adjoint"].wall,
        "own_error": error(y),
        "finufft_error": error(plans[0].execute(theirs_x)),
        "oversampling": A.oversampling,
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, keep; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workflows.benchmarks.nufft", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="small problems: to see that all runs, in seconds")
    parser.add_argument("--reps", type=int, default=5, help="rounds, of which the best counts (default 5)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of ours and of FINUFFT (default 2)")
    given = parser.parse_args(arguments)
    os.environ["TOMODIFF_THREADS"] = str(given.threads)
    for name in PROBLEMS:
        line = compare(name, given.threads, given.reps, given.quick)
        record.keep("nufft", line, given.threads, given.reps, given.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
