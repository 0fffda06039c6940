"""A scene from photographs: PSNR of views that were held out, CPU seconds, and cameras found again.

    python -m workflows.benchmarks.optical TRAIN TEST [--iterations N] [--voxels N] [--rays N] [--locate N]

TRAIN and TEST are transforms.json files.  The command `tomodiff optical reconstruct` runs in a process of its own, with
all of its reading, writing and reporting in its CPU time.  Then the cameras of up to N views of TEST are moved by 5
degrees and 5 % of their distance, in random directions, and found again.  Prints all and adds JSON lines to
results/optical.jsonl beside this file.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.files.photographs import read_views
from tomodiff.files.radiance_file import read_field
from tomodiff.geometry.poses import angle_between
from tomodiff.geometry.rigid import moved
from tomodiff.kernels import host_threads
from tomodiff.recipes.optical.locate import locate
from tomodiff.recipes.run import Run
from workflows.benchmarks import record

TURN_DEG, SHIFT = 5.0, 0.05


def reconstruct(train: Path, test: Path, out: Path, more: Sequence[str]) -> dict[str, Any]:
    """The line of a reconstruction."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "tomodiff", "-q", "optical", "reconstruct", str(train), "--test", str(test)]
    subprocess.run([*command, "-o", str(out), *more], check=True)
    after, facts = resource.getrusage(resource.RUSAGE_CHILDREN), Run.open(out).status["facts"]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    names = ("photographs", "held_out", "voxels", "psnr_held_out_db", "psnr_held_out_db_least")
    return {"name": "reconstruct", "cpu_s": cpu, "wall_s": time.monotonic() - began, **{n: facts[n] for n in names}}


def find_again(scene: Path, test: Path, most: int) -> dict[str, Any]:
    """The line of cameras that were moved and found again."""
    stored, rng = read_field(scene), np.random.default_rng(1)
    centre = np.array(stored.grid.center)
    turned, doubted, took = [], 0, []
    for view in read_views(test)[:most]:
        turn, along = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
        true = view.camera.pose
        far = SHIFT * float(np.linalg.norm(view.camera.place - centre))
        twist = np.concatenate([np.radians(TURN_DEG) * turn, far * along])
        began = time.monotonic()
        found = locate(stored, replace(view.camera, pose=moved(true, twist, view.camera.place)), view.pixels())
        took.append(time.monotonic() - began)
        turned.append(float(np.degrees(angle_between(found.camera.pose[:, :3], true[:, :3]))))
        doubted += bool(found.doubt)
    return {
        "name": "locate", "views": len(turned), "errors_deg": turned, "median_deg": float(np.median(turned)),
        "within_1_deg": sum(error < 1 for error in turned), "doubted": doubted, "wall_s_each": float(np.median(took)),
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, keep; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workflows.benchmarks.optical", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--locate", type=int, default=10, help="cameras to find again (default 10)")
    parser.add_argument("--quick", action="store_true", help="keep nothing: to see that all runs")
    given, more = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        common = record.circumstances("optical", "cpu", host_threads(), 1, given.quick)
        for line in (reconstruct(given.train, given.test, out, more), find_again(out, given.test, given.locate)):
            print(
                "  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in line.items()), flush=True
            )
            if not given.quick:
                record.write(record.RESULTS / "optical.jsonl", [common | line])
    return 0


if __name__ == "__main__":
    sys.exit(main())
