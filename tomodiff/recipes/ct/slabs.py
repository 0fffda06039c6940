"""A parallel-beam scan that does not fit into memory, slab by slab of detector rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from tomodiff.analytic.orbit import Orbit
from tomodiff.array import Array, to_numpy
from tomodiff.core.filed import npy_file
from tomodiff.errors import ConfigError, DataError
from tomodiff.files.atomic import replace_text
from tomodiff.geometry import Grid, Scan
from tomodiff.projectors import XRay
from tomodiff.recipes.ct.correct import OVERLAP, axis_column, corrected_middle, corrected_rows, grid_of, result_of
from tomodiff.recipes.ct.invert import automatic_edge, automatic_tv_weight, invert, padding_for, photons_of
from tomodiff.recipes.ct.memory import required_bytes
from tomodiff.recipes.ct.settings import CtSettings
from tomodiff.recipes.identity import refuse_other
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run
from tomodiff.result import Dataset, Result

FEWEST_ROWS = 4
MARKER = "slabs.json"


def slab_rows(
    method: str, scan: Scan, grid: Grid, n_references: int, item: int, budget: float, subsets: int | None = None
) -> int:
    """How many detector rows of a parallel-beam scan fit at a time; 0 if slabs do not help.

    Slabs need slices that are the detector's rows: an untilted parallel beam with the default voxel height.
    """
    nv = scan.detector_shape[0]
    if scan.kind != "parallel" or grid.shape[0] != nv or abs(grid.spacing[0] / scan.pixel[0] - 1) > 1e-9:
        return 0
    try:
        if Orbit.of(scan).tilt:
            return 0
    except ConfigError:  # rolled
        return 0
    for rows in range(nv // 2, FEWEST_ROWS - 1, -1):
        wide = min(nv, rows + 2 * OVERLAP)
        part = grid[(nv - wide) // 2 : (nv - wide) // 2 + wide]
        if required_bytes(method, scan.rows(0, wide), part, n_references, item, subsets) <= budget:
            return rows
    return 0


def rows_under_way(run: Run) -> int:
    """Rows of the slabs in which a stopped run was going; 0 if it was not."""
    return int(read_marker(run, MARKER).get("rows", 0))


def reconstruct_in_slabs(
    settings: CtSettings,
    scan: Scan,
    grid: Grid,
    method: str,
    rows: int,
    run: Run,
    progress: Progress,
    device: Callable[[np.ndarray], Array],
) -> Result:
    """The volume, collected on disk in the run's checkpoint folder; a stopped run goes on with the next slab."""
    nv = scan.detector_shape[0]
    folder = run.checkpoint().parent
    target, done = folder / "volume.npy", read_marker(run, MARKER)
    dataset, report = corrected_middle(settings, nv, run, progress, done.get("center"))
    center = axis_column(report)
    full = grid_of(dataset.scan, settings)
    whole = Grid((nv, *full.shape[1:]), full.spacing, grid.center)
    volume = npy_file(target, whole.shape, settings.reconstruction.dtype, new=not done)
    write_marker(run, MARKER, {"next": 0, **done, "center": center, "rows": rows})
    settings = _with_one_prior(settings, method, dataset, full, device)
    padding = padding_for(dataset.data)  # one for all slabs, like the weight, so that they meet without seams
    starts = range(done.get("next", 0), nv, rows)
    with progress.stage("slabs", total=-(-nv // rows), unit="slab", done=done.get("next", 0) // rows) as stage:
        for start in starts:
            stop = min(start + rows, nv)
            part, rows_of, own = corrected_rows(settings, slice(start, stop), nv, run, progress, center)
            piece = grid_of(part.scan, settings)
            if piece.shape != (rows_of.stop - rows_of.start, *whole.shape[1:]):
                where = f"rows {rows_of.start}:{rows_of.stop}"
                raise DataError(settings.input.path, where, str(whole.shape[1:]), str(piece.shape))
            made = to_numpy(invert(part, piece, method, settings, run, progress, device, False, padding))
            volume[start:stop] = made[own]
            volume.flush()
            write_marker(run, MARKER, {"next": stop, "center": center, "rows": rows})
            for leftover in folder.glob("state*"):  # of the solver, in the slab that is done
                leftover.unlink()
            stage.advance()
    return result_of(volume, whole, dataset, report, method, settings, run)


def _with_one_prior(
    settings: CtSettings, method: str, dataset: Dataset, grid: Grid, device: Callable[[np.ndarray], Array]
) -> CtSettings:
    """The settings with what is automatic about the prior found in the middle of the scan."""
    chosen = settings.reconstruction
    asked = [name for name in ("tv_weight", "edge") if getattr(chosen, name) == "auto"]
    if not asked:
        return settings
    values = device(np.ascontiguousarray(dataset.data, dtype=chosen.dtype))
    A = XRay(grid, dataset.scan, chosen.model, chosen.dtype)
    found = {
        "tv_weight": automatic_tv_weight(A, values, grid, weights=photons_of(values) if method == "pwls" else None)
    }
    if "edge" in asked:
        found["edge"] = automatic_edge(A, values, grid)
    known = {name: found[name] for name in asked}
    return settings.model_copy(update={"reconstruction": chosen.model_copy(update=known)})


def read_marker(run: Run, name: str) -> dict[str, Any]:
    """How far a job has come that goes through the disk; empty if it has not begun.  DataError if that was another job:
    of other settings, or another input."""
    path = run.checkpoint().with_name(name)
    done: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    refuse_other(done.get("about", {}), run.about(), path)
    return done


def write_marker(run: Run, name: str, values: dict[str, Any]) -> None:
    """Keep how far it has come, once the data themselves are in their files."""
    replace_text(run.checkpoint().with_name(name), json.dumps({"about": run.about(), **values}))
