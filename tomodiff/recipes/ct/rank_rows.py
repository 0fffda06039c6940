"""A parallel-beam scan whose slices do not depend on each other: every rank reconstructs some rows by itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tomodiff.array import Array, to_numpy
from tomodiff.errors import ConfigError
from tomodiff.geometry import Grid, Scan
from tomodiff.projectors.xray_blocks import even_parts
from tomodiff.recipes.ct.correct import corrected_rows, grid_of, result_of
from tomodiff.recipes.ct.invert import analytic_inverse, padding_for, warn_of_analytic
from tomodiff.recipes.ct.rank_slabs import budget_of, collected
from tomodiff.recipes.ct.rank_views import shared_middle
from tomodiff.recipes.ct.settings import CtSettings
from tomodiff.recipes.ct.slabs import slab_rows
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run
from tomodiff.result import Result

METHOD = "fbp"
"""What is done so.  Iterative methods share out the views: their step lengths depend on all rows."""


def rows_at_a_time(settings: CtSettings, method: str, scan: Scan, grid: Grid, n_references: int, run: Run) -> int:
    """How many rows each rank takes at a time; 0 where ranks do not work by rows.  ConfigError where that was asked."""
    chosen, comm = settings.reconstruction, run.comm
    asked, found = chosen.across_ranks == "rows", 0
    if (asked or chosen.across_ranks == "auto") and method == METHOD and scan.detector_shape[0] >= 2 * comm.size:
        item = np.dtype(chosen.dtype).itemsize
        found = min(comm.collect(slab_rows(method, scan, grid, n_references, item, budget_of(settings, comm))))
    if asked and not found:
        raise ConfigError(
            f"reconstruction.across_ranks: rows are for {METHOD} of an upright parallel beam with voxels as high as "
            f"the detector's rows, at least two on each rank; found {method}, {scan}"
        )
    return found


def reconstruct_in_rank_rows(
    settings: CtSettings, scan: Scan, rows: int, run: Run, progress: Progress, device: Callable[[np.ndarray], Array]
) -> Result | None:
    """The volume, on the first rank in a file of the run's checkpoint folder; None on the others."""
    chosen, comm, nv = settings.reconstruction, run.comm, scan.detector_shape[0]
    run.record(across_ranks="rows")
    dataset, center, report = shared_middle(settings, nv, run, progress)
    padding = comm.share(None if dataset is None else padding_for(dataset.data))
    whole = scan if center is None else scan.with_axis_column(center)  # type: ignore[attr-defined]
    grid = grid_of(whole, settings)
    mine = even_parts(nv, comm.size)[comm.rank]
    slab = np.empty((mine.stop - mine.start, *grid.shape[1:]), chosen.dtype)
    starts = range(mine.start, mine.stop, rows)
    with progress.stage("rows", total=len(starts), unit="slab") as stage:
        for start in starts:
            now = slice(start, min(start + rows, mine.stop))
            part, _, own = corrected_rows(settings, now, nv, run, progress, center)
            if start == mine.start:
                warn_of_analytic(METHOD, part, part.scan, run)
            values, piece = device(np.ascontiguousarray(part.data, chosen.dtype)), grid_of(part.scan, settings)
            made = analytic_inverse(METHOD, values, part.scan, piece, chosen.window, Progress(quiet=True), padding)
            slab[now.start - mine.start : now.stop - mine.start] = to_numpy(made)[own]
            stage.advance()
    volume = collected(slab, grid, run)
    if volume is None or dataset is None:
        return None
    return result_of(volume, grid, dataset.replace(scan=whole), report, METHOD, settings, run)
