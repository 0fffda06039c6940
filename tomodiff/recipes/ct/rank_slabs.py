"""A scan whose volume no rank holds whole: slabs of the volume and some of the views on each."""

from __future__ import annotations

import socket
from collections.abc import Callable

import numpy as np

from tomodiff.array import Array, to_numpy
from tomodiff.core.filed import npy_file
from tomodiff.core.space import zeros
from tomodiff.errors import ConfigError, MemoryNeeded
from tomodiff.files.atomic import in_units
from tomodiff.geometry import Grid, Scan
from tomodiff.objective import Gaussian
from tomodiff.projectors.xray_blocks import even_parts
from tomodiff.projectors.xray_ranks import XRayAcrossRanks
from tomodiff.ranks import Comm, Spread, own_views
from tomodiff.recipes.checkpoints import Checkpoints
from tomodiff.recipes.ct.correct import grid_of, result_of
from tomodiff.recipes.ct.invert import INVERSES, make_solver, padding_for, run_solver
from tomodiff.recipes.ct.memory import ANALYTIC, required_bytes
from tomodiff.recipes.ct.rank_views import own_part
from tomodiff.recipes.ct.settings import CtSettings
from tomodiff.recipes.memory import USABLE, free_bytes
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run
from tomodiff.result import Result

METHODS = ("fbp", "fdk", "sirt", "cgls")
"""What can be done so; total variation would need its neighbours' slices in every inner step."""


def wants_slabs(settings: CtSettings, method: str, scan: Scan, grid: Grid, n_references: int, run: Run) -> bool:
    """Whether ranks share the volume out, too: as the settings have it, or where it does not fit on one of them.

    MemoryNeeded where it does not fit either way, ConfigError for a method that cannot be done so.
    """
    chosen, comm = settings.reconstruction, run.comm
    item = np.dtype(chosen.dtype).itemsize
    free = budget_of(settings, comm)
    own = scan[own_views(comm)]
    needed = required_bytes(method, own, grid, n_references, item)
    slabs = chosen.across_ranks == "slabs" or (chosen.across_ranks == "auto" and comm.any(needed > free))
    if slabs and method not in METHODS:
        raise ConfigError(f"reconstruction.method: {method} has no slabs over ranks; take {', '.join(METHODS)}")
    if slabs:
        needed = required_bytes(method, own, grid[: -(-grid.shape[0] // comm.size)], n_references, item)
    if comm.any(needed > free):
        raise MemoryNeeded(
            f"{settings.input.path}: {method} needs {in_units(needed)} of memory on each of {comm.size} ranks, "
            f"{in_units(free / USABLE)} may be taken. Take more nodes, or --bin 2 (an eighth)"
        )
    return slabs


def budget_of(settings: CtSettings, comm: Comm) -> float:
    """Bytes that this rank may take: its part of what is free on its computer."""
    hosts = comm.collect(socket.gethostname())
    return USABLE * free_bytes(settings.reconstruction.memory_gb) / hosts.count(hosts[comm.rank])


def reconstruct_in_rank_slabs(
    settings: CtSettings,
    scan: Scan,
    method: str,
    run: Run,
    progress: Progress,
    device: Callable[[np.ndarray], Array],
) -> Result | None:
    """The volume, on the first rank in a file of the run's checkpoint folder; None on the others."""
    chosen, comm = settings.reconstruction, run.comm
    run.record(across_ranks="slabs")
    dataset, whole, report = own_part(settings, scan, run, progress)
    grid = grid_of(whole, settings)
    if grid.shape[0] < comm.size:
        raise ConfigError(f"{comm.size} ranks: expected no more than slices to share out, {grid.shape[0]}")
    A = XRayAcrossRanks(grid, whole, comm, chosen.model, chosen.dtype, device)
    values = np.ascontiguousarray(dataset.data, chosen.dtype)
    if method in ANALYTIC:
        slab = _analytic(method, A, values, whole, settings, progress, device)
    else:
        weights = None if dataset.weights is None else np.ascontiguousarray(dataset.weights, chosen.dtype)
        spread = None if weights is None else Spread(weights, comm)
        misfit = Gaussian(Spread(values, comm), spread) @ A
        start = Checkpoints(run).load() or zeros(A.domain)
        solver = make_solver(method, chosen, A, values, grid, run)
        slab = run_solver(solver, misfit, start, method, settings, run, progress)["own"]
    volume = collected(slab, grid, run)
    return None if volume is None else result_of(volume, grid, dataset, report, method, settings, run)


def _analytic(
    method: str, A: XRayAcrossRanks, values: np.ndarray, scan: Scan, settings: CtSettings, progress: Progress,
    device: Callable[[np.ndarray], Array],
) -> np.ndarray:  # fmt: skip
    window = settings.reconstruction.window
    padding, slab = padding_for(values, A.comm), np.zeros(A.grid.shape, A.dtype)
    with progress.stage(method, total=len(scan), unit="view") as stage:
        for views, seen in A.shown(Spread(values, A.comm)):
            made = INVERSES[method](device(seen), scan.rows(*A.rows), A.grid, window, padding, views=views)
            slab += to_numpy(made)
            stage.advance(len(views))
    return slab


def collected(slab: np.ndarray, grid: Grid, run: Run) -> np.ndarray | None:
    """The slabs of all ranks, in a file on the first."""
    comm, dtype = run.comm, slab.dtype.name
    volume = npy_file(run.checkpoint().parent / "volume.npy", grid.shape, dtype) if comm.leads else None
    for rank, part in enumerate(even_parts(grid.shape[0], comm.size)):
        shape = (part.stop - part.start, *grid.shape[1:])
        sent = comm.from_rank(slab if rank == comm.rank else None, rank, shape, dtype)
        if volume is not None:
            volume[part] = sent
    return volume
