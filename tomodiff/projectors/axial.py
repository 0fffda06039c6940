"""Volumes that are the same all around an axis, from what they are by distance from it and height along it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tomodiff.geometry import Grid
from tomodiff.projectors.sparse import Sparse, bilinear


class Axial(Sparse):
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
        places = np.stack([a.ravel() for a in grid.coordinates()], axis=1) - place
        height = places @ (towards / size)
        radius = np.sqrt(np.maximum((places**2).sum(axis=1) - height**2, 0))
        if mirror:
            height = np.abs(height)
        ends = np.floor(height.min() / self.spacing), np.ceil(height.max() / self.spacing)
        self.first = int(ends[0])
        shape = (int(ends[1] - ends[0]) + 1, int(np.ceil(radius.max() / self.spacing)) + 1)
        nodes = np.stack([height / self.spacing - self.first, radius / self.spacing], axis=1)
        super().__init__(bilinear(nodes, shape), shape, grid.shape, dtype)
