"""How fast closed-form inverses and the preparation are, beside other programs in the same run.

    python -m workflows.benchmarks.analytic [--only NAME] [--reps N] [--threads N] [--quick]

fdk      FDK of cone256 beside RTK's on the CPU: wall seconds of both with the same threads.
fbp      FBP of par512 beside scikit-image's iradon (per slice and core) and algotom's direct Fourier inversion.
gridding Fourier gridding beside our FBP, slices of 1024^2 and 2048^2 from as many views, and how far apart they are.
prepare  counts to line integrals, beside plain NumPy: the flat field and -log alone, and the whole chain.

Each is the best of N rounds in turn.  Prints all and adds JSON lines to results/analytic.jsonl beside this file.  A
program that is not installed is left out, and said so.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tomodiff.analytic import fbp, fdk, gridding
from tomodiff.files import read
from tomodiff.geometry import ConeBeam, Grid, ParallelBeam, fit_grid
from tomodiff.prepare import flat_field, minus_log, prepare
from tomodiff.prepare.arriving import Arriving
from tomodiff.prepare.chain import AT_ONCE
from tomodiff.result import Dataset
from tomodiff.simulate import shepp_logan_3d
from workflows.benchmarks import record
from workflows.benchmarks.stopwatch import Seconds, on_host

Line = dict[str, Any]

RTK = """
import sys, time
import itk
from itk import RTK as rtk
import numpy as np
n, views, reps, threads = map(int, sys.argv[1:])
itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(threads)
Image = itk.Image[itk.F, 3]
geometry = rtk.ThreeDCircularProjectionGeometry.New()
for k in range(views):
    geometry.AddProjection(2.0 * n, 4.0 * n, 360.0 * k / views)
data = np.load("data.npy")
for _ in range(reps):
    projections = itk.image_from_array(data)
    projections.SetSpacing([2.0, 2.0, 1.0])
    projections.SetOrigin([-(n - 1.0), -(n - 1.0), 0.0])
    empty = rtk.ConstantImageSource[Image].New()
    empty.SetSpacing([1.0] * 3)
    empty.SetOrigin([-(n - 1) / 2] * 3)
    empty.SetSize([n] * 3)
    empty.Update()
    fdk = rtk.FDKConeBeamReconstructionFilter[Image].New()
    fdk.SetInput(0, empty.GetOutput())
    fdk.SetInput(1, projections)
    fdk.SetGeometry(geometry)
    wall, cpu = time.perf_counter(), time.process_time()
    fdk.Update()
    print(time.process_time() - cpu, time.perf_counter() - wall, flush=True)
np.save("volume.npy", itk.array_from_image(fdk.GetOutput()))
"""
"""FDK by RTK, in a process of its own: the rotation axis is y there."""


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, keep; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workflows.benchmarks.analytic", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--only", choices=sorted(PARTS), help="one of the parts")
    parser.add_argument("--quick", action="store_true", help="small problems: to see that all runs, in seconds")
    parser.add_argument("--reps", type=int, default=3, help="rounds, of which the best counts (default 3)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of ours and of others (default 2)")
    given = parser.parse_args(arguments)
    os.environ["TOMODIFF_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = str(given.threads)
    for name, part in PARTS.items():
        if given.only not in (None, name):
            continue
        lines = part(given)
        for line in lines:
            print(
                "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in line.items()), flush=True
            )
        if not given.quick:
            common = record.circumstances("analytic", "cpu", given.threads, given.reps, given.quick)
            record.write(record.RESULTS / "analytic.jsonl", [common | line for line in lines])
    return 0


def in_turn(calls: dict[str, Callable[[], Any]], reps: int) -> dict[str, Seconds]:
    """The best of some rounds of calls that take turns, after one that does not count."""
    best = dict.fromkeys(calls, Seconds())
    for round_number in range(reps + 1):
        for name, call in calls.items():
            took = on_host(call)
            best[name] = took.best(best[name]) if round_number else best[name]
    return best


def against_rtk(given: argparse.Namespace) -> list[Line]:
    """FDK of n^3 voxels from 180 views of n^2 pixels."""
    import tempfile

    n, views = (64, 60) if given.quick else (256, 180)
    scan = ConeBeam(np.linspace(0, 2 * np.pi, views, endpoint=False), 2.0 * n, 4.0 * n, (n, n), 2.0)
    data, grid = shepp_logan_3d(0.4 * n, 0.02).project(scan).astype(np.float32), Grid((n, n, n), 1.0)
    own = in_turn({"own": lambda: fdk(data, scan, grid)}, given.reps)["own"]
    line: Line = {"name": f"fdk of cone{n}", "wall_s": own.wall, "cpu_s": own.cpu, "goal": "RTK's wall >= 2 times"}
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/data.npy", data)
        sizes = map(str, (n, views, given.reps, given.threads))
        done = subprocess.run([sys.executable, "-c", RTK, *sizes], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            print(f"fdk: RTK is left out: {done.stderr.strip().splitlines()[-1:]}")
            return [line]
        times = [tuple(map(float, text.split())) for text in done.stdout.splitlines() if text[:1].isdigit()]
        theirs = np.load(f"{folder}/volume.npy")
    cpu, wall = (min(column) for column in zip(*times, strict=True))
    ours = fdk(data, scan, grid)
    similar = np.corrcoef(np.sort(ours.ravel()), np.sort(theirs.ravel()))[0, 1]
    again = in_turn({"own": lambda: fdk(data, scan, grid)}, given.reps)["own"]  # before and after: the machine varies
    wall_own = min(own.wall, again.wall)
    more = {"wall_s": wall_own, "rtk_wall_s": wall, "rtk_cpu_s": cpu, "ratio": wall / wall_own,
            "same_values": float(similar), "itk_rtk": metadata.version("itk-rtk")}  # fmt: skip
    return [line | more]


def against_slices(given: argparse.Namespace) -> list[Line]:
    """FBP of 64 slices of n^2 voxels from 360 views, and others' of fewer slices, per slice."""
    n, nz = (128, 16) if given.quick else (512, 64)
    scan = ParallelBeam(np.linspace(0, np.pi, 360, endpoint=False), (nz, n), 1.0)
    data, grid = shepp_logan_3d(0.4 * n, 0.02).project(scan).astype(np.float32), fit_grid(scan)
    sinogram = np.ascontiguousarray(data[:, nz // 2])
    calls: dict[str, Callable[[], Any]] = {"own": lambda: fbp(data, scan, grid)}
    try:
        calls["gridding"] = lambda: gridding(data, scan, grid)
        from skimage.transform import iradon

        degrees = np.linspace(0, 180, 360, endpoint=False)
        calls["iradon"] = lambda: iradon(sinogram.T, degrees, filter_name="ramp", circle=True)
        from algotom.rec.reconstruction import dfi_reconstruction

        angles = np.asarray(scan.angles)
        calls["algotom"] = lambda: dfi_reconstruction(sinogram, (n - 1) / 2, angles, apply_log=False)
    except ImportError as error:
        print(f"fbp: left out: {error}")
    best = in_turn(calls, given.reps)
    own = best["own"]
    line: Line = {"name": f"fbp of par{n}", "wall_s_per_slice": own.wall / nz, "cpu_s_per_slice": own.cpu / nz}
    if "gridding" in best:
        line["gridding_wall_s_per_slice"] = best["gridding"].wall / nz
    for name, what in (("iradon", "scikit-image"), ("algotom", "algotom")):
        if name in best:
            line |= {f"{name}_wall_s": best[name].wall, f"{name}_cpu_s": best[name].cpu,
                     f"{name}_cpu_ratio": best[name].cpu / (own.cpu / nz),
                     f"{name}_wall_ratio": best[name].wall / (own.wall / nz),
                     what: metadata.version(what)}  # fmt: skip
    return [line | {"goal": "iradon's CPU >= 5 times, algotom's wall >= 1 times"}]


def against_direct(given: argparse.Namespace) -> list[Line]:
    """Gridding and FBP of some slices, from as many views as columns."""
    lines = []
    for n in (128,) if given.quick else (512, 1024, 2048):
        nz = 4 if n > 1024 else 8
        scan = ParallelBeam(np.linspace(0, np.pi, n, endpoint=False), (nz, n), 1.0)
        phantom, grid = shepp_logan_3d(0.45 * n, 0.02), fit_grid(scan)
        data = phantom.project(scan).astype(np.float32)
        calls = {"direct": partial(fbp, data, scan, grid), "fast": partial(gridding, data, scan, grid)}
        best = in_turn(calls, given.reps if n <= 1024 else 1)
        direct, fast, truth = fbp(data, scan, grid), gridding(data, scan, grid), phantom.voxelise(grid, 2)
        x, y, _ = grid.coordinates()
        seen = np.broadcast_to(np.hypot(x, y) < 0.48 * n, truth.shape)
        wrong = [float(np.sqrt(np.mean((v - truth)[seen] ** 2))) for v in (direct, fast)]
        lines.append(
            {
                "name": f"gridding of {n}^2",
                "wall_s_per_slice": best["fast"].wall / nz,
                "fbp_wall_s_per_slice": best["direct"].wall / nz,
                "ratio": best["direct"].wall / best["fast"].wall,
                "cpu_ratio": best["direct"].cpu / best["fast"].cpu,
                "rms_apart": float(np.std((fast - direct)[seen]) / np.std(direct[seen])),
                "error_ratio": wrong[1] / wrong[0],
                "goal": ">= 5 times from 1024^2 up" if n >= 1024 else "",
                "finufft": metadata.version("finufft"),
            }
        )
    return lines


def against_numpy(given: argparse.Namespace) -> list[Line]:
    """Counts of 2 GB (uint16), 20 flats and 10 darks."""
    views, nv, nu = (40, 64, 256) if given.quick else (500, 1024, 2048)
    rng = np.random.default_rng(0)
    one = rng.integers(2000, 30000, (nv, nu), dtype=np.uint16)
    data = np.empty((views, nv, nu), np.uint16)
    for view in data:
        view[:] = one
    flats = rng.integers(31000, 33000, (20, nv, nu), dtype=np.uint16)
    darks = rng.integers(90, 110, (10, nv, nu), dtype=np.uint16)
    scan = ParallelBeam(np.linspace(0, np.pi, views, endpoint=False), (nv, nu), 1.0)
    scanned = Dataset(data, scan, "counts", flats, darks)

    def plain() -> np.ndarray:
        dark = darks.mean(0, dtype=np.float32)
        return np.asarray(-np.log((data.astype(np.float32) - dark) / (flats.mean(0, dtype=np.float32) - dark)))

    calls = {
        "numpy": plain,
        "own": lambda: minus_log(flat_field(scanned, "mean", given.threads), 1e-4, given.threads),
        "chain": lambda: prepare(scanned, center=None, threads=given.threads),
    }
    best = in_turn(calls, 1)
    return [
        {
            "name": f"prepare of {data.nbytes / 1e9:.2g} GB",
            **{f"{name}_wall_s": found.wall for name, found in best.items()},
            "ratio": best["numpy"].wall / best["own"].wall,
            "goal": "plain NumPy's flat and log >= 4 times",
        },
        from_file(scanned, plain, given.threads),
    ]


def from_file(scanned: Dataset, plain: Callable[[], np.ndarray], threads: int) -> Line:
    """The same from a file that the system keeps no copy of: how much of the reading hides behind the preparation.

    hidden: what reading and preparing one after the other take more than both at once, over the shorter of the two.
    """
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path = Path(folder) / "scan.h5"
        with h5py.File(path, "w") as file:
            for name, frames in (("data", scanned.data), ("data_white", scanned.flats), ("data_dark", scanned.darks)):
                file[f"exchange/{name}"] = frames
            file["exchange/theta"] = np.rad2deg(scanned.scan.angles)

        def cold() -> None:
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

        def clock(call: Callable[[], Any]) -> float:
            start = time.perf_counter()
            call()
            return time.perf_counter() - start

        def first_steps(dataset: Dataset) -> Arriving:
            begun = Arriving(True, "mean", threads, in_place=True)
            for start in range(0, len(dataset.data), AT_ONCE):
                begun(dataset, slice(start, start + AT_ONCE))
            return begun

        def round_of() -> tuple[float, ...]:
            cold()
            reading = clock(lambda: read(path))
            working = clock(partial(first_steps, read(path)))
            cold()
            begun = Arriving(True, "mean", threads, in_place=True)
            both = clock(lambda: read(path, watch=begun))
            rest = clock(lambda: prepare(scanned, center=None, threads=threads, begun=begun))
            cold()
            with h5py.File(path) as file:
                numpy = clock(lambda: file["exchange/data"][:])
            return both, reading, working, rest, numpy + clock(plain)

        both, reading, working, rest, numpy = min(round_of() for _ in range(3))
    return {
        "name": f"read (cold) and prepare {scanned.data.nbytes / 1e9:.2g} GB",
        "threads": threads,
        "read_wall_s": reading,
        "defects_and_flats_wall_s": working,
        "both_at_once_wall_s": both,
        "other_steps_wall_s": rest,
        "numpy_wall_s": numpy,
        "ratio": numpy / (both + rest),
        "hidden": (reading + working - both) / min(reading, working),
        "goal": "90 % of a cold read hidden",
    }


PARTS = {"fdk": against_rtk, "fbp": against_slices, "gridding": against_direct, "prepare": against_numpy}

if __name__ == "__main__":
    sys.exit(main())
