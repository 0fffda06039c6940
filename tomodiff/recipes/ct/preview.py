"""A few slices of a reconstruction, in seconds."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np

from tomodiff.array import Array, to_numpy
from tomodiff.geometry import Grid, Scan
from tomodiff.recipes.ct.correct import axis_column, blurred_over, corrected, file_rows, grid_of, result_of
from tomodiff.recipes.ct.invert import invert
from tomodiff.recipes.ct.settings import CtSettings
from tomodiff.recipes.progress import Progress, in_time
from tomodiff.recipes.run import Run
from tomodiff.result import Result

PREVIEW_SLICES = 3
PREVIEW_MARGIN = 2
"""Rows above and below a previewed one that its corrections may look at."""


def preview(
    scan: Scan,
    grid: Grid,
    method: str,
    settings: CtSettings,
    run: Run,
    progress: Progress,
    device: Callable[[np.ndarray], Array],
) -> Result:
    """Three slices, evenly spaced about the middle, as a volume of three thick steps."""
    nz = grid.shape[0]
    count = min(PREVIEW_SLICES, nz)
    step = max(1, nz // (count + 1))
    chosen = [(nz - 1) // 2 + (i - (count - 1) // 2) * step for i in range(count)]
    began = perf_counter()
    once = 0.0  # seconds of what the whole volume needs no more often than its preview
    if scan.kind == "cone":  # all slices need all rows; back projection only looks at the middles of voxels
        dataset, report = corrected(settings, run, progress)
        once = perf_counter() - began
        thick = _apart(grid_of(dataset.scan, settings), grid, chosen, step)
        volume = to_numpy(invert(dataset, thick, method, settings, run, progress, device, resume=False))
    else:
        center: float | None = None
        report, slices = {}, []
        for i in chosen:
            rows = _rows_of_slice(i, scan, grid, settings)
            dataset, found = corrected(settings, run, progress, rows, center, quiet=i != chosen[0])
            report = report or found
            center = axis_column(found)
            part = grid_of(dataset.scan, settings)
            part = part[_nearest_slice(part, _height(grid, i))]
            slices.append(to_numpy(invert(dataset, part, method, settings, run, progress, device, resume=False)))
        thick, volume = _apart(part, grid, chosen, step), np.concatenate(slices)
    whole = once + (perf_counter() - began - once) * nz / count
    run.record(seconds_of_the_whole=round(whole, 1))
    progress.note(f"the whole volume will take about {in_time(whole)}, or less")
    run.warn(f"a preview: slices {', '.join(map(str, chosen))} of {nz}, {step} slices apart")
    return result_of(volume, thick, dataset, report, method, settings, run)


def _apart(plane: Grid, grid: Grid, chosen: list[int], step: int) -> Grid:
    """The chosen slices of `grid` as a grid of thick steps, with the rows and columns of `plane`."""
    middle = (_height(grid, chosen[0]) + _height(grid, chosen[-1])) / 2
    spacing = (step * grid.spacing[0], *plane.spacing[1:])
    return Grid((len(chosen), *plane.shape[1:]), spacing, (plane.center[0], plane.center[1], middle))


def _height(grid: Grid, i: int) -> float:
    return grid.center[2] + (i - (grid.shape[0] - 1) / 2) * grid.spacing[0]


def _nearest_slice(grid: Grid, height: float) -> slice:
    i = int(np.clip(round((height - _height(grid, 0)) / grid.spacing[0]), 0, grid.shape[0] - 1))
    return slice(i, i + 1)


def _rows_of_slice(i: int, scan: Scan, grid: Grid, settings: CtSettings) -> slice:
    """Rows of the file around the one that sees slice `i`, with a margin for the corrections."""
    v = scan.detector_shape[0]
    row = int(np.clip(round(float(scan[:1].project((0.0, 0.0, _height(grid, i)))[0, 0])), 0, v - 1))
    margin = max(PREVIEW_MARGIN, blurred_over(settings))
    low, high = max(0, row - margin), min(v, row + margin + 1)
    return file_rows(settings, low, high)
