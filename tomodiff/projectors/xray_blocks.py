"""The X-ray transform in blocks: slabs of the volume by chunks of views, for volumes and data larger than memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.array import to_numpy
from tomodiff.core import LinearOperator, Space
from tomodiff.core.filed import Filed
from tomodiff.core.operators import into
from tomodiff.core.sending import sent
from tomodiff.geometry import Grid, Scan
from tomodiff.projectors.xray import XRay

MARGIN = 2
"""Detector rows beyond the shadow of a slab's corners that may see it."""


class XRayInBlocks(LinearOperator):
    """`XRay` of an element in slabs (z, y, x), z running on from one to the next, to one in chunks (view, v, u).

    The integral along a ray is the sum of those through the slabs, since nothing is outside of each; the result is
    that of `XRay` to rounding.  Names are "0", "1", ...; both elements are `Filed` in `folder`.  One slab, one chunk
    and what `XRay` takes for both are in memory at a time; on a GPU two slabs, or two chunks: the next is copied there
    while kernels work on one.
    device: how arrays get to where the kernels run.
    """

    nonnegative = True

    def __init__(
        self, grid: Grid, scan: Scan, slabs: int, chunks: int, folder: Path, model: str = "joseph",
        dtype: str = "float32", device: Any = np.asarray,
    ) -> None:  # fmt: skip
        self.grid, self.scan, self.folder, self.model, self.dtype = grid, scan, folder, model, dtype
        self.slabs, self.chunks = even_parts(grid.shape[0], slabs), even_parts(len(scan), chunks)
        self._device = device
        self._rows = [rows_that_see(scan, grid[part]) for part in self.slabs]
        shapes = ((part.stop - part.start, *grid.shape[1:]) for part in self.slabs)
        self.domain = Filed(((str(n), Space(shape, dtype)) for n, shape in enumerate(shapes)), folder)
        shapes = ((part.stop - part.start, *scan.detector_shape) for part in self.chunks)
        self.range = Filed(((str(n), Space(shape, dtype)) for n, shape in enumerate(shapes)), folder)

    def _block(self, slab: int, chunk: int) -> XRay:
        scan = self.scan[self.chunks[chunk]].rows(*self._rows[slab])
        return XRay(self.grid[self.slabs[slab]], scan, self.model, self.dtype)

    def forward(self, x: Filed, out: Filed | None = None) -> Filed:
        return into(out, Filed(((str(n), self._project(x, n)) for n in range(len(self.chunks))), self.folder))

    def adjoint(self, y: Filed, out: Filed | None = None) -> Filed:
        return into(out, Filed(((str(n), self._project_back(y, n)) for n in range(len(self.slabs))), self.folder))

    def _project(self, x: Filed, chunk: int) -> np.ndarray:
        sums = self._device(np.zeros(self.range[str(chunk)].shape, self.dtype))
        slabs = sent((x[str(slab)] for slab in range(len(self.slabs))), self._device)
        for slab, (volume, (low, high)) in enumerate(zip(slabs, self._rows, strict=True)):
            sums[:, low:high] += self._block(slab, chunk).forward(volume)
        return to_numpy(sums)

    def _project_back(self, y: Filed, slab: int) -> np.ndarray:
        low, high = self._rows[slab]
        sums = self._device(np.zeros(self.domain[str(slab)].shape, self.dtype))
        chunks = (np.ascontiguousarray(y[str(chunk)][:, low:high]) for chunk in range(len(self.chunks)))
        for chunk, seen in enumerate(sent(chunks, self._device)):
            sums += self._block(slab, chunk).adjoint(seen)
        return to_numpy(sums)


def even_parts(n: int, parts: int) -> list[slice]:
    """range(n) in so many (at most n) parts of nearly one size."""
    parts = min(n, parts)
    return [slice(n * i // parts, n * (i + 1) // parts) for i in range(parts)]


def rows_that_see(scan: Scan, grid: Grid) -> tuple[int, int]:
    """Detector rows (start, stop) that hold the shadow of a box of voxels in all views; all, where it reaches beyond
    what the source throws onto the detector."""
    nv = scan.detector_shape[0]
    ends = np.array([(-0.5 - MARGIN, n - 0.5 + MARGIN) for n in grid.shape])
    corners = np.array([(x, y, z, 1.0) for z in ends[0] for y in ends[1] for x in ends[2]])
    shadow = scan.project(corners @ grid.world_from_index.T)[..., 0]
    if scan.radius is not None or not np.isfinite(shadow).all():
        return 0, nv
    start, stop = int(np.floor(shadow.min())) - MARGIN, int(np.ceil(shadow.max())) + MARGIN + 1
    start = min(max(0, start), nv - 1)
    return start, max(start + 1, min(nv, stop))
