"""How fast the X-ray projectors are, beside ASTRA and RTK measured in the same run.

    python -m workflows.benchmarks.ct_projectors [--quick] [--reps N] [--no-peers] [--device cpu|cuda]

prints one table and appends it, a JSON line for each row, to results/ct_projectors.jsonl beside this file (on a GPU:
ct_projectors_gpu.jsonl; with --quick: only to where --results says).

Columns.  CPU s: seconds of all threads together, the figure to compare, since wall seconds depend on what else runs and
on how well a program uses several threads (RTK's back projection uses one); on a GPU the seconds between two events, of
arrays that are on the device.  Gu/s: 1e9 voxels times views per such second.  Ratio: how many times faster than the
peer on the same problem; for the rolled detector, than our own fast path on the upright one.  Adjoint?: the Gram
mismatch, rounding error for an exact pair.  Same?: how far the peer's projections are from ours.

Our times begin and end with public arrays, C-contiguous (z, y, x) and (view, v, u), and include the new output array.
What a peer can prepare once (ASTRA's projector objects, RTK's geometry, its own memory order) is not in its times.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from tomodiff.kernels import cpu_isa
from workflows.benchmarks import contenders, record
from workflows.benchmarks.contenders import Ours
from workflows.benchmarks.measure import Measurement, measure
from workflows.benchmarks.problems import Problem, cone256, cone512, par512, rolled
from workflows.benchmarks.stopwatch import on_gpu, on_host

MAKERS = {"par512": par512, "cone256": cone256, "cone512": cone512}

GOALS = {"par512": (12.0, 6.0), "cone256": (4.0, 2.5)}
"""How many times faster than the peer the forward and the adjoint projection are to be, in CPU seconds."""

STRETCH = {"cone256": (4.0, 3.5)}
"""What would be better still."""

GENERAL_PATH = (0.25, 0.25)
"""The general path is to be within four times of the fast path."""

FOOTPRINT_VIEWS = 12
"""Views on which the footprint model is timed on a CPU, where all of them would take most of the run."""

PEERS = {"par512": contenders.astra, "cone256": contenders.rtk}


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, keep; returns the exit code."""
    given = parse(arguments)
    os.environ["TOMODIFF_THREADS"] = str(given.threads)  # read at every launch
    cuda = given.device == "cuda"
    if cuda and not _gpu_is_there():
        return 2
    names = given.problems or (list(MAKERS) if cuda else list(PEERS))
    head = record.device_name("cuda") if cuda else f"{record.processor()}, {given.threads} threads, {cpu_isa()}"
    print(f"{head}; load {os.getloadavg()[0]:.1f}", flush=True)
    measured: list[Measurement] = []
    for name in names:
        rows = plan(MAKERS[name](given.quick), given.device, given.threads, given.peers)
        measure(rows, given.reps, on_gpu if cuda else on_host, _progress)
        measured += rows
    print(record.table(measured, given.device, judged=not given.quick and not cuda))
    for m in measured:
        if m.contender.note:
            print(f"{m.problem.name}, {m.contender.program}: {m.contender.note}")
    target = given.results or record.RESULTS
    if given.results or not given.quick:
        path = target / ("ct_projectors_gpu.jsonl" if cuda else "ct_projectors.jsonl")
        lines = record.append(path, measured, given.device, given.threads, given.reps, given.quick)
        print(f"{len(lines)} lines added to {path}")
    return 0


def plan(problem: Problem, device: str, threads: int, peers: bool) -> list[Measurement]:
    """What is measured on a problem: our models and precisions, the peer, and the general path for a cone beam."""
    xp = np
    if device == "cuda":
        import cupy

        xp = cupy
    name = problem.name
    ours = Measurement(Ours(problem, xp))
    views = FOOTPRINT_VIEWS if device == "cpu" else None
    models = [Measurement(Ours(problem, xp, "footprint", views=views))]
    if name in PEERS:  # larger ones take too much memory in double precision
        models.append(Measurement(Ours(problem, xp, dtype="float64")))
    rows = [ours, *models]
    if device == "cpu":
        ours.goals, ours.stretch = GOALS.get(name), STRETCH.get(name)
        peer = PEERS[name](problem, threads) if peers and name in PEERS else None
        if peer is not None:
            rows.append(Measurement(peer))
            for m in (ours, *models):
                m.reference = rows[-1]
        elif peers and name in PEERS:
            print(f"the peer for {name} is not installed (pip install 'tomodiff[peers]'): no ratios")
    if problem.scan.kind == "cone":
        rows.append(Measurement(Ours(rolled(problem), xp), reference=ours, goals=GENERAL_PATH))
    return rows


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m workflows.benchmarks.ct_projectors", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("problems", nargs="*", metavar="PROBLEM", help=f"{', '.join(MAKERS)}; default: all that suit")
    parser.add_argument("--quick", action="store_true", help="small problems: to see that all runs, in seconds")
    parser.add_argument("--reps", type=_count, default=3, help="rounds, of which the best counts (default 3)")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="leave other programs out")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=_count, default=2, help="CPU threads of all programs (default 2)")
    parser.add_argument("--results", type=Path, help="folder for the JSON lines")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.problems if name not in MAKERS]
    if unknown:
        parser.error(f"problem {', '.join(unknown)}: expected one of {', '.join(MAKERS)}")
    return given


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number


def _gpu_is_there() -> bool:
    try:
        import cupy

        there = bool(cupy.cuda.is_available())
    except ImportError:
        there = False
    if not there:
        print("--device cuda: expected CuPy and an NVIDIA GPU, found none", file=sys.stderr)
    return there


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
