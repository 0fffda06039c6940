"""From heights to reflectance at once, and its derivative in the heights alone: what most steps of a fit need."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.array import Array, Element, namespace
from tomodiff.kernels import kernel, lanes
from tomodiff.projectors.terrain.photometry import Photometry
from tomodiff.projectors.terrain.surface import SurfaceGeometry


class Shading:
    """`Photometry` after `SurfaceGeometry`, with parameters, sun and view fixed; see these for shapes and units.

    The geometry stays in registers: a third of the memory traffic of the two, and half of the time.
    """

    def __init__(self, surface: SurfaceGeometry, photometry: Photometry) -> None:
        self.surface, self.photometry, self.dtype = surface, photometry, surface.dtype

    def value(self, x: Element, parameters: Array) -> Array:
        """R (ny, nx)."""
        return self._shaded("shading_value", x, parameters, self.surface.shape)

    def slopes(self, x: Element, parameters: Array) -> Array:
        """(3, ny, nx): R and its derivatives in the slopes of each element."""
        return self._shaded("shading_slopes", x, parameters, (3, *self.surface.shape))

    def push(self, made: Array, d_height: Array) -> Array:
        """The change of R (ny, nx) along d_height; made: what `slopes` gave."""
        xp = namespace(made)
        change = xp.empty(self.surface.shape, self.dtype)
        self._launch("shading_push", xp, (made, xp.ascontiguousarray(d_height, dtype=self.dtype), change))
        return change

    def pull(self, made: Array, g: Array, height: Array) -> None:
        """Add the gradient in the heights, from that in R, to `height`."""
        xp = namespace(made)
        self._launch("shading_pull", xp, (made, xp.ascontiguousarray(g, dtype=self.dtype), height))

    def _shaded(self, name: str, x: Element, parameters: Array, shape: tuple[int, ...]) -> Array:
        height, sun, view = self.surface.arrays(x)
        xp = namespace(height)
        p = xp.ascontiguousarray(xp.concatenate([parameters, xp.zeros(1)]), dtype=self.dtype)
        made = xp.empty(shape, self.dtype)
        more = (*map(int, self.surface.fields), self.photometry.model.number)
        self._launch(name, xp, (height, sun, view, p, made), *more)
        return made

    def _launch(self, name: str, xp: Any, arrays: tuple[Array, ...], *more: int) -> None:
        (ny, nx), (dy, dx) = self.surface.shape, self.surface.spacing
        block = (1, 1) if xp is np else (64, 4)
        grid = (-(-nx // (lanes(xp) * block[0])), -(-ny // block[1]))
        kernel(name, xp, self.dtype)(grid, block, (*arrays, ny, nx, 1 / dx, 1 / dy, *more))
