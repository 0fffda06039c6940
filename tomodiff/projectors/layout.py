"""Buffers in the order that the X-ray kernels read, and the copies between them and public arrays.

Kernels want the slice (or the detector row) contiguous, with zeros around it; the public order is (z, y, x) and
(view, v, u).  Every projection makes these copies, and its timings include them.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from tomodiff.array import Array
from tomodiff.kernels import kernel, lanes

PAD = 2
"""Places before the first slice of a column, as `PAD` in the kernels."""

STEP = 16
"""Columns are a whole number of the widest vector registers long (16 floats)."""

SKEW = 48
"""Entries between the rows y of a volume: whole cache lines, so that power-of-two sizes do not share cache sets."""

SLACK = 64
"""Entries after the last column that a register window may read."""


@dataclass(frozen=True)
class Columns:
    """A buffer of `planes` x `count` columns of `width` places; `pad` places lie before row 0 of each."""

    planes: int
    count: int
    rows: int
    width: int
    pad: int
    plane_step: int

    @classmethod
    def of(cls, planes: int, count: int, rows: int, pad: int, step: int = STEP, skew: int = 0) -> Columns:
        """The buffer for columns of `rows` rows, rounded up to `step`."""
        width = -(-(rows + 2 * pad) // step) * step
        return cls(planes, count, rows, width, pad, count * width + skew)

    @property
    def size(self) -> int:
        """Entries of the buffer."""
        return self.planes * self.plane_step + SLACK

    def empty(self, xp: ModuleType, dtype: str, zero: bool = False) -> Array:
        """A new flat buffer."""
        return (xp.zeros if zero else xp.empty)(self.size, dtype)


def lane_launch(xp: ModuleType, n: int, second: int, third: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Grid and block for kernels whose threads own `lanes` of n neighbouring outputs, for each of second x third."""
    threads = 128 if lanes(xp) == 1 else 1
    return (-(-n // (threads * lanes(xp))), second, third), (threads, 1, 1)


def _tiles(xp: ModuleType, count: int, rows: int, planes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if lanes(xp) == 1:
        return (-(-count // 32), -(-rows // 8), planes), (32, 8, 1)
    return (-(-count // 16), -(-rows // 64), planes), (1, 1, 1)


def _strides(stacked: bool, shape: tuple[int, ...]) -> tuple[int, int]:
    """(step between planes, step between rows) of a volume (rows, planes, count) or a stack (planes, rows, count)."""
    _, b, c = shape
    return (b * c, c) if stacked else (c, b * c)


def gather(x: Array, to: Columns, xp: ModuleType, stacked: bool, offset: int = 0) -> Array:
    """`x` as columns: (z, y, x) with planes y, or with `stacked` (view, v, u) with planes view.

    Row r goes to place pad + r + offset.  `x` may have any memory order.
    """
    dtype = x.dtype.name
    buffer = to.empty(xp, dtype)
    if not x.flags.c_contiguous:
        x = xp.ascontiguousarray(x)
    rows = x.shape[1] if stacked else x.shape[0]
    grid, block = _tiles(xp, to.count, to.width, to.planes)
    kernel("rows_to_columns", xp, dtype)(
        grid,
        block,
        (x, buffer, to.planes, rows, to.count, to.width, to.pad + offset, *_strides(stacked, x.shape), to.plane_step),
    )
    buffer[-SLACK:] = 0
    return buffer


def scatter(buffer: Array, source: Columns, out: Array, xp: ModuleType, stacked: bool, offset: int = 0) -> Array:
    """The way back, into the C-contiguous `out`."""
    rows = out.shape[1] if stacked else out.shape[0]
    grid, block = _tiles(xp, source.count, rows, source.planes)
    kernel("columns_to_rows", xp, out.dtype.name)(
        grid,
        block,
        (
            buffer,
            out,
            source.planes,
            rows,
            source.count,
            source.width,
            source.pad + offset,
            *_strides(stacked, out.shape),
            source.plane_step,
        ),
    )
    return out


def as_table(table: np.ndarray, xp: ModuleType, dtype: str) -> Array:
    """A geometry table, computed in double precision, as the kernels take it."""
    return xp.asarray(np.ascontiguousarray(table, dtype=dtype))
