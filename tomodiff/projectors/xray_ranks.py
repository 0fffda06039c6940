"""The X-ray transform of a volume that no rank holds whole: each has a slab of it, and some of the views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tomodiff.array import to_numpy
from tomodiff.core import LinearOperator, Space
from tomodiff.core.operators import into
from tomodiff.geometry import Grid, Scan
from tomodiff.projectors.xray import XRay
from tomodiff.projectors.xray_blocks import even_parts, rows_that_see
from tomodiff.ranks import Comm, Spread, own_views

CHUNK_BYTES = 128 << 20
"""Projections that are summed, or sent, at a time."""


class XRayAcrossRanks(LinearOperator):
    """`XRay` of slabs of the volume, one on each rank in their order, to views shared out by `own_views`.

    Every rank projects its slab in all views; these partial projections are summed where the view belongs.  The adjoint
    sends each view to all.  Both move the projections once, less than a volume as long as there are fewer views than
    voxels along an axis, and no rank ever holds more than its slab, its views and a chunk of others.
    device: how arrays get to where the kernels run.
    """

    nonnegative = True

    def __init__(
        self, grid: Grid, scan: Scan, comm: Comm, model: str = "joseph", dtype: str = "float32",
        device: Any = np.asarray,
    ) -> None:  # fmt: skip
        self.scan, self.comm, self.model, self.dtype, self._device = scan, comm, model, dtype, device
        self.part = even_parts(grid.shape[0], comm.size)[comm.rank]
        self.grid = grid[self.part]
        self.rows = rows_that_see(scan, self.grid)  # detector rows (start, stop) that see this rank's slab
        self.domain = Spread(Space(self.grid.shape, dtype), comm)
        own = len(range(len(scan))[own_views(comm)])
        self.range = Spread(Space((own, *scan.detector_shape), dtype), comm)

    def forward(self, x: Spread, out: Spread | None = None) -> Spread:
        volume = self._device(x["own"])
        made = np.empty(self.range["own"].shape, self.dtype) if out is None else out["own"]
        low, high = self.rows
        for owner, places, views in self._chunks():
            partial = np.zeros((len(views), *self.scan.detector_shape), self.dtype)
            partial[:, low:high] = to_numpy(self._block(views).forward(volume))
            whole = self.comm.summed_at(partial, owner)
            if whole is not None:
                made[places] = whole
        return Spread(made, self.comm)

    def adjoint(self, y: Spread, out: Spread | None = None) -> Spread:
        sums = np.zeros(self.domain["own"].shape, self.dtype)
        for views, seen in self.shown(y):
            sums += to_numpy(self._block(views).adjoint(self._device(seen)))
        return into(out, Spread(sums, self.comm))

    def shown(self, y: Spread) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All views in chunks: their numbers, and of their projections the rows that see this rank's slab."""
        low, high = self.rows
        for owner, places, views in self._chunks():
            own = y["own"][places] if owner == self.comm.rank else None
            seen = self.comm.from_rank(own, owner, (len(views), *self.scan.detector_shape), self.dtype)
            yield views, np.ascontiguousarray(seen[:, low:high])

    def _block(self, views: np.ndarray) -> XRay:
        return XRay(self.grid, self.scan[views].rows(*self.rows), self.model, self.dtype)

    def _chunks(self) -> Iterator[tuple[int, slice, np.ndarray]]:
        """Rank, place among its views, and numbers of the views of each chunk."""
        image = int(np.prod(self.scan.detector_shape)) * np.dtype(self.dtype).itemsize
        for rank in range(self.comm.size):
            views = np.arange(len(self.scan))[rank :: self.comm.size]
            for places in even_parts(len(views), -(-len(views) * image // CHUNK_BYTES)):
                yield rank, places, views[places]
