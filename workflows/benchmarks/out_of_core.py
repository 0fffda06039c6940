"""A scan larger than memory: FDK and an iteration of SIRT of a 1024^3 volume within a cap that the system enforces.

    python -m workflows.benchmarks.out_of_core --folder FOLDER [--size 1024] [--views 180] [--cap-gb 4]

FOLDER needs some 30 GB.  The scan is that of a ball, from its closed form; the command is `tomodiff ct reconstruct`
under RLIMIT_DATA, which bounds the memory of its own but not what the system keeps of files.  Prints seconds and the
mean in the middle of the ball, which is known (one iteration of SIRT does not reach it).  --results FOLDER keeps them.
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

ATTENUATION = 0.02


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and keep; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where scan and volumes go")
    parser.add_argument("--size", type=int, default=1024, help="voxels along each axis, rows and columns")
    parser.add_argument("--views", type=int, default=180)
    parser.add_argument("--cap-gb", type=float, default=4.0)
    parser.add_argument("--methods", default="fdk,sirt")
    parser.add_argument("--results", type=Path)
    chosen = parser.parse_args(arguments)
    scan = chosen.folder / f"ball_{chosen.size}_{chosen.views}.h5"
    if not scan.exists():
        write_ball(scan, chosen.size, chosen.views)
    lines = []
    for method in chosen.methods.split(","):
        found = job(scan, method, chosen.cap_gb)
        lines.append({"what": method, "size": chosen.size, "views": chosen.views, "cap_gb": chosen.cap_gb, **found})
        print(
            f"{method}: {found['seconds']:.0f} s within {chosen.cap_gb:g} GB, middle of the ball {found['middle']:.5f} "
            f"(true {ATTENUATION}); {found['how']}"
        )
    if chosen.results:
        from workflows.benchmarks.record import circumstances, write

        common = circumstances("out_of_core", "cpu", os.cpu_count() or 1, 1, chosen.size < 1024)
        write(chosen.results / "out_of_core.jsonl", [common | line for line in lines])
    return 0


def write_ball(path: Path, size: int, views: int) -> None:
    """Line integrals of a ball in a cone beam."""
    from tomodiff.files import write_scan
    from tomodiff.geometry import ConeBeam
    from tomodiff.result import Dataset

    angles = np.linspace(0, 2 * np.pi, views, endpoint=False)
    cone = ConeBeam(angles, 4.0 * size, 6.0 * size, (size, size), 1.5)
    data = np.empty((views, size, size), np.float32)
    for view in range(views):
        origins, directions = cone.rays(views=[view])
        distance_squared = (origins**2).sum(-1) - (origins * directions).sum(-1) ** 2
        data[view] = 2 * ATTENUATION * np.sqrt(np.clip((0.4 * size) ** 2 - distance_squared, 0, None))[0]
    write_scan(path, Dataset(data, cone, kind="line_integrals"))


def job(scan: Path, method: str, cap_gb: float) -> dict[str, Any]:
    """Seconds and findings of one reconstruction under the cap."""
    out = scan.with_name(f"{scan.stem}_{method}.npy")
    command = [sys.executable, "-m", "tomodiff", "ct", "reconstruct", str(scan), "-o", str(out), "-m", method]
    command += ["--overwrite", "--center", "keep", *([] if method == "fdk" else ["--iterations", "1"])]
    cap = int(cap_gb * 1e9)
    began = time.perf_counter()
    subprocess.run(command, check=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (cap, cap)))
    seconds = time.perf_counter() - began
    status = json.loads((out.with_suffix(".run") / "status.json").read_text())
    volume = np.load(out, mmap_mode="r")
    ball = tuple(slice(n // 2 - n // 16, n // 2 + n // 16) for n in volume.shape)
    how = next((text for text in status["warnings"] if "on disk" in text), "in memory")
    return {"seconds": seconds, "middle": float(volume[ball].mean()), "how": how, "stages": status["timings"]}


if __name__ == "__main__":
    sys.exit(main())
