"""How fast particle images are modelled, beside torch-projectors and RELION measured in the same run.

    python -m workflows.benchmarks.cryoem_projectors [--quick] [--reps N] [--no-peers] [--threads N]

1000 images of 128 x 128 pixels, padded twice, single precision (RELION computes in double).  Prints one table and
adds a JSON line for each row to results/cryoem_projectors.jsonl beside this file (with --quick: only to where --results
says).

Like is compared with like, within one scope.  kernel: from arrays to arrays, the padded transform given; what is done
to images is in it.  operator: a volume in, or its gradient out.  command: a whole program from files to files, its
start included; CPU seconds of its process as the system counts them.  CPU s: of all threads together, the best of
--reps rounds in which all take turns.  Ratio: how many times faster our linear kernel is than that program.

torch-projectors is compared where it loads (its 0.13.1 wheels do with torch 2.6), RELION where it is installed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.kernels import cpu_isa
from workflows.benchmarks import cryoem_contenders as contenders
from workflows.benchmarks import record
from workflows.benchmarks.cryoem_contenders import Contender

OURS = "tomodiff linear"
COLUMNS = ("task", "scope", "program", "CPU s", "wall s", "images/CPU s", "ratio", "note")


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, keep; returns the exit code."""
    given = parse(arguments)
    os.environ["TOMODIFF_THREADS"] = str(given.threads)  # read at every launch
    count, box = (20, 32) if given.quick else (1000, 128)
    print(f"{record.processor()}, {given.threads} threads, {cpu_isa()}; load {os.getloadavg()[0]:.1f}", flush=True)
    volume, particles = contenders.problem(count, box, np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as folder:
        rows = [r for kernel in ("linear", "kaiser-bessel") for r in contenders.ours(volume, particles, kernel)]
        if given.peers:
            rows += contenders.torch_projectors(volume, particles, given.threads)
        rows += contenders.commands(volume, particles, Path(folder), given.threads, given.peers)
        for row in rows:
            if row.scope != "command":
                row.run()  # compiles, allocates, fills caches
        for rep in range(given.reps):
            print(f"round {rep + 1} of {given.reps}", file=sys.stderr, flush=True)
            for row in rows:
                row.seconds = row.seconds.best(row.run())
    print(table(rows, count))
    if given.results or not given.quick:
        path = (given.results or record.RESULTS) / "cryoem_projectors.jsonl"
        common = record.circumstances("cryoem_projectors", "cpu", given.threads, given.reps, given.quick)
        lines = record.write(path, [common | line(row, rows, count, box) for row in rows])
        print(f"{len(lines)} lines added to {path}")
    return 0


def ratio(row: Contender, rows: list[Contender]) -> float | None:
    """CPU seconds of a program over those of our linear kernel at the same task and scope; None for ourselves."""
    mine = [r for r in rows if (r.task, r.scope, r.program) == (row.task, row.scope, OURS)]
    return row.seconds.cpu / mine[0].seconds.cpu if mine and row is not mine[0] else None


def table(rows: list[Contender], count: int) -> str:
    """All rows, those of a task together."""
    order = {key: i for i, key in enumerate(dict.fromkeys((r.scope, r.task) for r in rows))}
    cells = [COLUMNS]
    for r in sorted(rows, key=lambda r: order[r.scope, r.task]):
        times = ratio(r, rows)
        cells.append((r.task, r.scope, r.program, f"{r.seconds.cpu:.3g}", f"{r.seconds.wall:.3g}",
                      f"{count / r.seconds.cpu:.0f}", "" if times is None else f"{times:.2f}", r.note))  # fmt: skip
    widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "-" * sum(widths), *lines[1:]])


def line(row: Contender, rows: list[Contender], count: int, box: int) -> dict[str, Any]:
    """What is kept of a row."""
    return {
        "problem": f"{count} images of {box}^2", "padding": 2.0, "task": row.task, "scope": row.scope,
        "program": row.program, "version": row.version, "cpu_s": row.seconds.cpu, "wall_s": row.seconds.wall,
        "times_ours": ratio(row, rows), "note": row.note,
    }  # fmt: skip


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m workflows.benchmarks.cryoem_projectors", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="a small problem: to see that all runs, in seconds")
    parser.add_argument("--reps", type=_count, default=3, help="rounds, of which the best counts (default 3)")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="leave other programs out")
    parser.add_argument("--threads", type=_count, default=2, help="CPU threads of all programs (default 2)")
    parser.add_argument("--results", type=Path, help="folder for the JSON lines")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number


if __name__ == "__main__":
    sys.exit(main())
