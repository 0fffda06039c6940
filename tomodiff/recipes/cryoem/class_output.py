"""What recipes with several maps leave behind: maps, half maps, particles with their classes, the report's arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.analytic.fsc import FscCurves, resolution
from tomodiff.files.cryoem import write_map, write_particles
from tomodiff.recipes.cryoem.classes import Classes
from tomodiff.recipes.cryoem.columns import add_columns
from tomodiff.recipes.cryoem.data import ParticleData
from tomodiff.recipes.cryoem.output import keep_curves, keep_directions, keep_summary, updated, without_corners
from tomodiff.recipes.run import Run


def write_classes(
    run: Run, data: ParticleData, state: Classes, half: np.ndarray, mask: np.ndarray | None = None
) -> None:
    """Maps and half maps of the classes, the fullest first; particles with their classes; the report's arrays."""
    count = np.bincount(state.best, minlength=len(state.values))
    order, pixel = np.argsort(-count, kind="stable"), data.operator.voxel
    found = []
    for number, k in enumerate(order, 1):
        halves = state.halves[k]
        write_map(class_path(run, number), without_corners(halves.map), pixel)
        for h, volume in enumerate(halves.half, 1):
            write_map(run.path / f"map_class{number}_half{h}.mrc", without_corners(volume), pixel)
        found.append(resolution(halves.fsc, pixel))
    if mask is not None:
        write_map(run.path / "mask.mrc", mask.astype(np.float32), pixel)
    rank = np.argsort(order)
    values = state.chosen_values()
    for text in write_particles(
        run.path / "particles.star", updated(data.particles, values, half, klass=rank[state.best] + 1)
    ):
        run.warn(text)
    add_columns(run.path / "particles.star", {"rlnMaxValueProbDistribution": state.probability.max(1)})
    maps = np.stack([without_corners(state.halves[k].map) for k in order])
    run.save_report_data("classes", {"maps": maps, "count": count[order], "pixel": pixel})
    keep_summary(run, maps[0], pixel)
    keep_curves(run, FscCurves(state.halves[order[0]].fsc, None, None, state.halves[order[0]].fsc, None), pixel)
    keep_directions(run, values["rotation"])
    run.record(classes=len(order), resolution_a=found[0])
    shown = {f"class {i}": {"particles": int(count[k]), "resolution_a": found[i - 1]} for i, k in enumerate(order, 1)}
    run.record(class_maps=shown)


def class_path(run: Run, number: int) -> Any:
    """Where the map of a class goes; the first is the run's own map."""
    return run.volume_path if number == 1 else run.path / f"map_class{number}.mrc"
