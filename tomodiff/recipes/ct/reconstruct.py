"""X-ray CT: a scan file to a volume of attenuation.

Read, correct, find the axis, reconstruct.  A parallel-beam scan that does not fit into memory goes through in slabs
of rows, any other through the disk; `preview` makes three slices.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tomodiff.analytic.orbit import Orbit
from tomodiff.analytic.rebinning import is_helix, twin_for_fdk
from tomodiff.array import Array, to_numpy
from tomodiff.errors import ConfigError, DataError, MemoryNeeded
from tomodiff.files import ScanInfo, probe, read
from tomodiff.files.atomic import in_units
from tomodiff.geometry import Scan, check_pair
from tomodiff.recipes.ct.correct import corrected, geometry_for, grid_of, part_of, result_of
from tomodiff.recipes.ct.invert import SUBSETS, invert
from tomodiff.recipes.ct.memory import ANALYTIC, required_bytes
from tomodiff.recipes.ct.on_disk import METHODS as ON_DISK
from tomodiff.recipes.ct.on_disk import plan_for, plan_under_way, reconstruct_on_disk
from tomodiff.recipes.ct.preview import preview
from tomodiff.recipes.ct.rank_rows import reconstruct_in_rank_rows, rows_at_a_time
from tomodiff.recipes.ct.rank_slabs import reconstruct_in_rank_slabs, wants_slabs
from tomodiff.recipes.ct.rank_views import own_part
from tomodiff.recipes.ct.residual import keep_residual
from tomodiff.recipes.ct.settings import CtSettings, ScanJob
from tomodiff.recipes.ct.slabs import reconstruct_in_slabs, rows_under_way, slab_rows
from tomodiff.recipes.device import device_named
from tomodiff.recipes.memory import USABLE, free_bytes
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run
from tomodiff.result import Result

COPIES_TO_PROJECT = 3
"""Copies of the volume that projecting a view of it may take."""


def reconstruct(settings: CtSettings, run: Run, progress: Progress) -> Result | None:
    """The volume of the scan that `settings` names, with what was found on the way recorded in `run`; None on ranks
    that have only a slab of it.

    Raises DataError for a scan that cannot be read or corrected, ConfigError for settings that do not fit it,
    MemoryNeeded where neither the job nor a slab of it fits, Diverged, and Stopped with a checkpoint.
    """
    device = device_of(settings)
    info = probe(settings.input.path, **settings.input.setup())
    scan = selected(info, settings)
    method = settings.reconstruction.method_for(scan.kind)
    if settings.preview and scan.kind == "cone" and method not in ANALYTIC:
        run.warn(f"the preview of a cone beam is made by fdk, not by {method}, which has no single slices")
        method = "fdk"
    _fits(method, scan)
    run.record(method=method)
    for text in info.warnings:
        run.warn(text)
    grid = grid_of(scan, settings)
    check_pair(scan, grid)
    if settings.preview and run.comm.size > 1:
        raise ConfigError("preview: expected one process; three slices need no more")
    if settings.preview:
        return preview(scan, grid, method, settings, run, progress, device)
    chosen = settings.reconstruction
    whole_only = [f"reconstruction.{name}" for name in ("metal", "mask", "start") if getattr(chosen, name) is not None]
    if method == "fdk" and is_helix(scan):
        whole_only.append("fdk of a helix")
    if run.comm.size > 1:
        if whole_only:
            raise ConfigError(f"{whole_only[0]}: this is done by one process")
        if method in SUBSETS:
            raise ConfigError(f"reconstruction.method: {method} is done by one process; take sirt, cgls or fista-tv")
        rows = rows_at_a_time(settings, method, scan, grid, info.n_flats + info.n_darks, run)
        if rows:
            return reconstruct_in_rank_rows(settings, scan, rows, run, progress, device)
        if wants_slabs(settings, method, scan, grid, info.n_flats + info.n_darks, run):
            return reconstruct_in_rank_slabs(settings, scan, method, run, progress, device)
        dataset, whole, report = own_part(settings, scan, run, progress)
        grid = grid_of(whole, settings)
        volume = to_numpy(invert(dataset, grid, method, settings, run, progress, device, whole=whole))
        made = result_of(volume, grid, dataset, report, method, settings, run)
        return made.replace(meta=made.meta | {"scan": str(whole)})
    subsets = settings.reconstruction.subsets
    needed = required_bytes(method, scan, grid, info.n_flats + info.n_darks, _item(settings), subsets)
    free = free_bytes(settings.reconstruction.memory_gb)
    run.record(memory_needed=in_units(needed), memory_free=in_units(free))
    rows, plan = rows_under_way(run), plan_under_way(run)  # a run that is resumed goes on as it began
    if not (rows or plan) and needed > USABLE * free:
        about = (method, scan, grid, info.n_flats + info.n_darks, _item(settings), USABLE * free)
        rows = slab_rows(*about, subsets)
        plan = None if rows else plan_for(*about)
        if not (rows or plan):
            raise MemoryNeeded(
                f"{info.path}: {method} needs {in_units(needed)} of memory for {scan.detector_shape[0]} x "
                f"{scan.detector_shape[1]} pixels, {len(scan)} views and {' x '.join(map(str, grid.shape))} voxels; "
                f"{in_units(free)} may be taken. Try {' or '.join(ON_DISK)} through the disk, --bin 2 (an eighth), "
                f"fewer --rows, or larger voxels (--voxel-mm)"
            )
        if plan is not None and whole_only:
            raise ConfigError(f"{whole_only[0]}: not in a job that goes through the disk for lack of memory")
        how = f"in slabs of {rows} rows" if plan is None else f"on disk, in {plan.slabs} slabs and {plan.chunks} chunks"
        run.warn(f"the scan needs {in_units(needed)} of memory, {in_units(free)} may be taken: done {how}")
    if plan is not None:
        return reconstruct_on_disk(settings, scan, method, plan, run, progress, device)
    if rows:
        return reconstruct_in_slabs(settings, scan, grid, method, rows, run, progress, device)
    dataset, report = corrected(settings, run, progress)
    grid = grid_of(dataset.scan, settings)
    check_pair(dataset.scan, grid)
    volume = to_numpy(invert(dataset, grid, method, settings, run, progress, device))
    if COPIES_TO_PROJECT * volume.nbytes < free_bytes(chosen.memory_gb):
        keep_residual(run, dataset, grid, volume, chosen.model, device)
    return result_of(volume, grid, dataset, report, method, settings, run)


def look_at(settings: ScanJob) -> None:
    """Raise what is wrong with the scan's file, without its data."""
    probe(settings.input.path, **settings.input.setup())


def selected(info: ScanInfo, settings: CtSettings) -> Scan:
    """The scan of the rows, views and bins that the settings select."""
    chosen = settings.input.selection()
    if info.scan is None:  # reading a single pixel says what is wrong with the angles
        read(info.path, rows=slice(0, 1), views=slice(0, 1), **settings.input.setup())
        raise DataError(info.path, "geometry", "angles for every view", "; ".join(info.warnings) or "none")
    scan = info.scan if settings.input.geometry is None else geometry_for(settings, info.scan)
    return part_of(scan, chosen)


def device_of(settings: CtSettings) -> Callable[[np.ndarray], Array]:
    """How arrays get to where the computation runs.  ConfigError if there is no such device."""
    return device_named(settings.reconstruction.device)


def _item(settings: CtSettings) -> int:
    return 4 if settings.reconstruction.dtype == "float32" else 8


def _fits(method: str, scan: Scan) -> None:
    if method in ("fbp", "gridding") and scan.kind != "parallel":
        raise ConfigError(f"reconstruction.method: {method} is for parallel beam, this scan is a cone beam; use fdk")
    if method == "fdk" and scan.kind != "cone":
        raise ConfigError("reconstruction.method: fdk is for cone beam, this scan is a parallel beam; use fbp")
    # what cannot be done is refused before anything is read
    if method == "gridding" and Orbit.of(scan).tilt:
        raise ConfigError("reconstruction.method: gridding needs rows that are slices, this axis is tilted; use fbp")
    if method == "fbp":
        Orbit.of(scan)
    elif method == "fdk" and not is_helix(scan):
        twin_for_fdk(scan)
