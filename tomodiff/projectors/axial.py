"""Volumes that are the same all around an axis, from what they are by distance from it and height along it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tomodiff.array import Array, namespace
from tomodiff.core import LinearOperator, Space, check_element
from tomodiff.core.operators import into
from tomodiff.geometry import Grid


class Axial(LinearOperator):
    """Profile (height, radius) -> volume (z, y, x): linear between nodes, zero beyond the last.

    axis (x, y, z): its direction; through: a point (x, y, z) on it, where height is zero, in the grid's world.
    spacing: of the nodes, None for the grid's smallest; the first of each row lies on the axis, rows reach as far
    as the grid. mirror: what is below height zero is as what is above; the first row is then at zero.
    """

    def __init__(
        self,
        grid: Grid,
        axis: Sequence[float],
        through: Sequence[float] = (0.0, 0.0, 0.0),
        spacing: float | None = None,
        mirror: bool = False,
        dtype: str = "float32",
    ) -> None:
        towards, place = np.array(axis, np.float64), np.array(through, np.float64)
        size = float(np.linalg.norm(towards)) if towards.shape == (3,) else 0.0
        if place.shape != (3,) or not (np.isfinite(size) and size > 0 and np.isfinite(place).all()):
            raise ValueError(f"Axial: expected an axis of some length and a point, got {axis} and {through}")
        self.grid, self.spacing = grid, min(grid.spacing) if spacing is None else float(spacing)
        if not self.spacing > 0:
            raise ValueError(f"Axial: spacing: expected a length above 0, got {spacing}")
        z, y, x = np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij")
        affine = grid.world_from_index
        places = np.stack([x, y, z], axis=-1).reshape(-1, 3) @ affine[:, :3].T + affine[:, 3] - place
        height = places @ (towards / size)
        radius = np.sqrt(np.maximum((places**2).sum(axis=1) - height**2, 0))
        if mirror:
            height = np.abs(height)
        ends = np.floor(height.min() / self.spacing), np.ceil(height.max() / self.spacing)
        self.first = int(ends[0])
        shape = (int(ends[1] - ends[0]) + 1, int(np.ceil(radius.max() / self.spacing)) + 1)
        self.domain, self.range = Space(shape, dtype), Space(grid.shape, dtype)
        self._matrix: Any = _linear(height / self.spacing - self.first, radius / self.spacing, shape).astype(dtype)

    def forward(self, x: Array, out: Array | None = None) -> Array:
        check_element(self.domain, x, "Axial.forward: x")
        return into(out, (self._on(x) @ x.reshape(-1)).reshape(self.range.shape))

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        check_element(self.range, y, "Axial.adjoint: y")
        return into(out, (self._on(y).T @ y.reshape(-1)).reshape(self.domain.shape))

    def _on(self, values: Array) -> Any:
        """The matrix where the values are."""
        if namespace(values) is np:
            return self._matrix
        from cupyx.scipy.sparse import csr_matrix

        return csr_matrix(self._matrix)


def _linear(height: np.ndarray, radius: np.ndarray, shape: tuple[int, int]) -> Any:
    """The matrix (place, node) of linear interpolation at places in nodes."""
    from scipy.sparse import coo_matrix

    k, i = np.floor(height).astype(int), np.floor(radius).astype(int)
    f, g = height - k, radius - i
    rows, columns, values = [], [], []
    for dk, di in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = (f if dk else 1 - f) * (g if di else 1 - g)
        inside = (k + dk < shape[0]) & (i + di < shape[1]) & (weight != 0)
        rows.append(np.flatnonzero(inside))
        columns.append(((k + dk) * shape[1] + i + di)[inside])
        values.append(weight[inside])
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return coo_matrix(entries, shape=(len(height), shape[0] * shape[1])).tocsr()
