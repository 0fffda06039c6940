"""A scene distilled from exemplars of a few directions, seen from the directions between.

    python -m workflows.benchmarks.distillation [--directions N] [--pixels N] [--iterations N] [--quick]

N directions around a tray of solids each have a frozen model: the exact denoiser of the pictures that are known from
there, which are one of the tray and three of others (the tray with one thing less).  The scene is what score
distillation makes of these models.  Measured on directions in the middle between, against exact pictures: the PSNR of
the scene's renders, and of the blend of the two nearest exemplars, which is the best that can be had without a volume.
Prints all and adds a JSON line to results/distillation.jsonl beside this file.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np

from tomodiff.geometry.cameras.photograph import Photograph
from tomodiff.kernels import host_threads
from tomodiff.objective.denoiser import Exemplars
from tomodiff.recipes.optical.box import box_grid
from tomodiff.recipes.optical.distillation import Guided
from tomodiff.recipes.optical.scene import Scene, psnr
from tomodiff.recipes.optical.training import FIRST_COLOUR, Plan, fitting, stored
from tomodiff.simulate.photographs import LIGHTS, table_scene
from tomodiff.simulate.solids import looking, photograph
from workflows.benchmarks import record

SIGMAS = (0.05, 0.1, 0.2, 0.4)
HEIGHT = 1.6
DISTANCE = 3.7


def camera_at(azimuth: float, pixels: int) -> Photograph:
    """A camera on a circle above the tray."""
    place = np.array([DISTANCE * np.cos(azimuth), DISTANCE * np.sin(azimuth), HEIGHT])
    return Photograph((pixels, pixels), (1.4 * pixels,) * 2, (pixels / 2,) * 2, looking(place, np.zeros(3)))


def picture(camera: Photograph, without: int | None = None) -> np.ndarray:
    """The exact picture over white, of the tray without one of its things."""
    things = [thing for i, thing in enumerate(table_scene()) if i != without]
    seen = photograph(camera, things, LIGHTS, samples=2)
    made: np.ndarray = (seen.colours + 1 - seen.opacity[..., None]).astype(np.float32)
    return made


def distil(directions: int, pixels: int, iterations: int, voxels: int = 64) -> dict[str, Any]:
    """The line of a scene."""
    azimuths = 2 * np.pi * np.arange(directions) / directions
    cameras = [camera_at(a, pixels) for a in azimuths]
    known = [[picture(camera, without) for without in (None, 1, 2, 3)] for camera in cameras]
    guide = Guided(cameras, [Exemplars(np.stack(pictures)) for pictures in known], SIGMAS)
    low, high = np.array([-1.1, -1.1, -0.75]), np.array([1.1, 1.1, 0.65])
    plan = Plan(iterations, guide.rays, degree=0)
    grids = [box_grid(low, high, max(2, round(voxels * part))) for _, part, _ in plan.stages]
    white = np.zeros((9, 3))
    white[0] = 0.5 / FIRST_COLOUR
    began = time.process_time()
    *_, fit = fitting(guide, grids, [np.ones(grid.shape, bool) for grid in grids], plan, False, white)
    scene, gains, ours, blends = Scene(stored(fit)), [], [], []
    for i, azimuth in enumerate(azimuths):
        between = camera_at(azimuth + np.pi / directions, pixels)
        truth = picture(between)
        blend = (known[i][0] + known[(i + 1) % directions][0]) / 2
        ours.append(psnr(scene.picture(between)[0], truth))
        blends.append(psnr(blend, truth))
        gains.append(ours[-1] - blends[-1])
    return {
        "name": f"{directions} directions of {pixels} x {pixels}", "psnr_db": float(np.mean(ours)),
        "blend_psnr_db": float(np.mean(blends)), "gain_db": float(np.mean(gains)), "least_gain_db": float(min(gains)),
        "cpu_s": time.process_time() - began,
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, keep; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workflows.benchmarks.distillation", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--directions", type=int, default=24, help="frozen models, around the scene (default 24)")
    parser.add_argument("--pixels", type=int, default=64, help="of a picture's side (default 64)")
    parser.add_argument("--iterations", type=int, default=800, help="pictures that are drawn (default 800)")
    parser.add_argument("--quick", action="store_true", help="keep nothing: to see that all runs")
    given = parser.parse_args(arguments)
    line = distil(given.directions, given.pixels, given.iterations)
    record.keep("distillation", line, host_threads(), 1, given.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
