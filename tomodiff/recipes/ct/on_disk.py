"""A scan that does not fit into memory, of any geometry: corrected projections, volume and the solver's state on disk.

Parallel beams whose slices do not depend on each other go better slab by slab (`tomodiff.recipes.ct.slabs`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tomodiff.array import Array, to_numpy
from tomodiff.core.filed import Filed, npy_file
from tomodiff.core.space import zeros
from tomodiff.geometry import Grid, Scan
from tomodiff.objective import Gaussian
from tomodiff.projectors.xray_blocks import XRayInBlocks, even_parts, rows_that_see
from tomodiff.recipes.checkpoints import Checkpoints
from tomodiff.recipes.ct.correct import OVERLAP, axis_column, corrected_middle, corrected_rows, grid_of, result_of
from tomodiff.recipes.ct.invert import INVERSES, make_solver, padding_for, run_solver
from tomodiff.recipes.ct.memory import ANALYTIC, FILTER_COPIES, PREPARE_COPIES
from tomodiff.recipes.ct.settings import CtSettings
from tomodiff.recipes.ct.slabs import FEWEST_ROWS, read_marker, write_marker
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run
from tomodiff.result import Dataset, Result

METHODS = ("fbp", "fdk", "sirt", "cgls")
"""What can be done so; total variation couples all slices in every step."""
SLAB_COPIES = 3
"""Arrays of the size of a slab that back projecting filtered views into it takes."""
BLOCK_COPIES = 8
"""Arrays of the size of a slab, and of a chunk of views, that an iteration takes: sums, `XRay` and what it rearranges,
temporaries of the solver."""
MARKER = "disk.json"


@dataclass(frozen=True)
class Plan:
    """How much is done at a time: detector rows corrected (beside their overlap), slabs of the volume and chunks of
    views in all."""

    rows: int
    slabs: int
    chunks: int


def plan_for(method: str, scan: Scan, grid: Grid, n_references: int, item: int, budget: float) -> Plan | None:
    """The coarsest plan that fits; None if there is none."""
    nv, nu = scan.detector_shape
    row = (PREPARE_COPIES * len(scan) + 2 * n_references) * nu * item
    rows = min(nv, int(budget // row) - 2 * OVERLAP) if nv > FEWEST_ROWS else nv
    slice_bytes, view_bytes = grid.shape[1] * grid.shape[2] * item, nv * nu * item
    of_slab, of_chunk = (SLAB_COPIES, FILTER_COPIES) if method in ANALYTIC else (BLOCK_COPIES, BLOCK_COPIES)
    slices, views = int(budget / 2 // (of_slab * slice_bytes)), int(budget / 2 // (of_chunk * view_bytes))
    if method not in METHODS or rows < min(FEWEST_ROWS, nv) or min(slices, views) < 1:
        return None
    return Plan(rows, -(-grid.shape[0] // slices), -(-len(scan) // views))


def plan_under_way(run: Run) -> Plan | None:
    """The plan of a stopped run, which goes on with it; None if it had none."""
    told = read_marker(run, MARKER).get("plan")
    return None if told is None else Plan(**told)


def reconstruct_on_disk(
    settings: CtSettings,
    scan: Scan,
    method: str,
    plan: Plan,
    run: Run,
    progress: Progress,
    device: Callable[[np.ndarray], Array],
) -> Result:
    """The volume, in a file of the run's checkpoint folder; a stopped run goes on where it was."""
    folder, nv = run.checkpoint().parent, scan.detector_shape[0]
    done = read_marker(run, MARKER)
    dataset, report = corrected_middle(settings, nv, run, progress, done.get("center"))
    center = axis_column(report)
    if center is not None:
        scan = scan.with_axis_column(center)  # type: ignore[attr-defined]
    grid, padding = grid_of(scan, settings), padding_for(dataset.data)
    work = _Work(settings, scan, grid, plan, run, progress, {"plan": asdict(plan), "rows": 0, "slabs": 0, **done})
    work.done["center"] = center
    data, weights = work.corrected(dataset, center)
    volume = npy_file(folder / "volume.npy", grid.shape, settings.reconstruction.dtype, new=not work.done["slabs"])
    if method in ANALYTIC:
        made = work.analytic(method, data, padding, device)
    else:
        made = work.iterative(method, data, weights, device)
    for part, slab in made:
        volume[part] = slab
        volume.flush()
        work.done["slabs"] += 1
        work.keep()
    return result_of(volume, grid, dataset, report, method, settings, run)


@dataclass
class _Work:
    """One job on its way through the disk; `done` is how far it has come."""

    settings: CtSettings
    scan: Scan
    grid: Grid
    plan: Plan
    run: Run
    progress: Progress
    done: dict[str, Any]

    def keep(self) -> None:
        write_marker(self.run, MARKER, self.done)

    def corrected(self, sample: Dataset, center: float | None) -> tuple[np.ndarray, np.ndarray | None]:
        """All corrected projections (view, v, u) and their weights, in files."""
        folder, dtype = self.run.checkpoint().parent, self.settings.reconstruction.dtype
        nv, rows, first = self.scan.detector_shape[0], self.plan.rows, self.done["rows"]
        shape = (len(self.scan), *self.scan.detector_shape)
        data = npy_file(folder / "projections.npy", shape, dtype, new=not first)
        weights = None if sample.weights is None else npy_file(folder / "weights.npy", shape, dtype, new=not first)
        with self.progress.stage("correct", total=-(-nv // rows), unit="slab", done=first // rows) as stage:
            for start in range(first, nv, rows):
                now, silent = slice(start, min(start + rows, nv)), Progress(quiet=True)
                part, _, own = corrected_rows(self.settings, now, nv, self.run, silent, center)
                data[:, now] = part.data[:, own]
                if weights is not None and part.weights is not None:
                    weights[:, now] = part.weights[:, own]
                    weights.flush()
                data.flush()
                self.done["rows"] = now.stop
                self.keep()
                stage.advance()
        return data, weights

    def analytic(
        self, method: str, data: np.ndarray, padding: str, device: Callable[[np.ndarray], Array]
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Slab by slab, from the detector rows that see it."""
        chosen, n, first = self.settings.reconstruction, self.plan.slabs, self.done["slabs"]
        at_a_time = -(-len(self.scan) // self.plan.chunks)
        with self.progress.stage(method, total=n, unit="slab", done=first) as stage:
            for part in even_parts(self.grid.shape[0], n)[first:]:
                low, high = rows_that_see(self.scan, self.grid[part])
                seen, scan = data[:, low:high], self.scan.rows(low, high)
                if chosen.device != "cpu":
                    seen = device(np.ascontiguousarray(seen))
                inverse, grid = INVERSES[method], self.grid[part]
                yield part, to_numpy(inverse(seen, scan, grid, chosen.window, padding, at_a_time=at_a_time))
                stage.advance()

    def iterative(
        self, method: str, data: np.ndarray, weights: np.ndarray | None, device: Callable[[np.ndarray], Array]
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """The slabs of the last iterate."""
        chosen, folder = self.settings.reconstruction, self.run.checkpoint().parent
        A = XRayInBlocks(
            self.grid, self.scan, self.plan.slabs, self.plan.chunks, folder, chosen.model, chosen.dtype, device
        )

        def filed(values: np.ndarray) -> Filed:
            return Filed(((str(n), values[part]) for n, part in enumerate(A.chunks)), folder)

        misfit = Gaussian(filed(data), None if weights is None else filed(weights)) @ A
        solver = make_solver(method, chosen, A, data, self.grid, self.run)
        start = Checkpoints(self.run).load() or zeros(A.domain)
        x = run_solver(solver, misfit, start, method, self.settings, self.run, self.progress)
        yield from list(zip(A.slabs, x.values(), strict=True))[self.done["slabs"] :]
