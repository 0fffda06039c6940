"""The image that a camera takes of a height field: what the line of sight of each pixel meets first."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.array import Array, Element, namespace
from tomodiff.core import LinearOperator, Operator, Space, check_element
from tomodiff.core.operators import Linear
from tomodiff.kernels import kernel, lanes

STEP = 0.5
"""Elements between two looks at the ground along a line of sight."""


class CameraImage(Operator):
    """{"height", "shade" (ny, nx)} -> image (rows, columns): what lies where each pixel's sight first meets the ground,
    both bilinear between elements; `nothing` where it meets none inside the grid.

    path (2, 4, rows, columns), middle, half: see `geometry.cameras.footprint.Footprint`.  Derivatives are exact where
    the sight meets the ground (by the implicit function), and none of the edges of what hides other ground.
    """

    def __init__(
        self, shape: tuple[int, int], path: Array, middle: float, half: float, *, nothing: float = 0.0,
        dtype: str = "float32",
    ) -> None:  # fmt: skip
        self.shape, self.dtype, self.nothing = (int(shape[0]), int(shape[1])), dtype, float(nothing)
        self.middle, self.half = float(middle), float(half)
        rows, columns = path.shape[2:]
        xp = namespace(path)
        self.path = xp.ascontiguousarray(path.reshape(2, 4, -1), dtype=dtype)
        self.domain = {"height": Space(self.shape, dtype), "shade": Space(self.shape, dtype)}
        self.range = Space((rows, columns), dtype)
        moved = xp.abs(self.path[:, 1:]).sum(1)
        longest = float(xp.nanmax(moved)) if bool(xp.isfinite(moved).any()) else 0.0
        self.steps = max(4, int(np.ceil(2 * longest / STEP)))

    def __call__(self, x: Element) -> Array:
        met = self._met(x)
        xp, flat = namespace(met.part), x["shade"].reshape(-1)
        made = xp.full(self.path.shape[2], self.nothing, self.dtype)
        made[met.where] = met.taken(flat)
        return made.reshape(self.range.shape)

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        met = self._met(x)
        xp, n = namespace(met.part), self.path.shape[2]
        height, shade = (x[name].reshape(-1) for name in ("height", "shade"))
        made = xp.full(n, self.nothing, self.dtype)
        made[met.where] = met.taken(shade)
        # d t: the ground rises by dz, the sight has to go back by dz over how fast the two part
        apart = self.half - met.along(height)
        by_height = met.along(shade) / apart

        def push(d: Element) -> Array:
            image = xp.zeros(n, self.dtype)
            moved = by_height * met.taken(d["height"].reshape(-1))
            image[met.where] = (moved + met.taken(d["shade"].reshape(-1))).astype(self.dtype)
            return image.reshape(self.range.shape)

        def pull(g: Array) -> Element:
            back = g.reshape(-1)[met.where]
            shape = self.shape
            return {
                "height": met.given(back * by_height, shape).astype(self.dtype),
                "shade": met.given(back, shape).astype(self.dtype),
            }

        return made.reshape(self.range.shape), Linear(self.domain, self.range, push, pull, "Jacobian of CameraImage")

    def seen(self, height: Array) -> Array:
        """(rows, columns) whether a pixel sees the ground."""
        t = self._traced(height)
        return (t == t).reshape(self.range.shape)

    def _traced(self, height: Array) -> Array:
        xp, (ny, nx), n = namespace(height), self.shape, self.path.shape[2]
        met = xp.empty(n, self.dtype)
        block = 1 if xp is np else 128
        kernel("sight_line", xp, self.dtype)(
            (-(-n // (lanes(xp) * block)),), (block,),
            (xp.ascontiguousarray(height), self.path, met, ny, nx, n, self.steps, self.middle, self.half),
        )  # fmt: skip
        return met

    def _met(self, x: Element) -> _Met:
        check_element(self.domain, x, "CameraImage: x")
        t = self._traced(x["height"])
        xp = namespace(t)
        where = xp.flatnonzero(t == t)
        t, p = t[where].astype("float64"), self.path[:, :, where].astype("float64")
        at = p[:, 0] + t * (p[:, 1] + t * (p[:, 2] + t * p[:, 3]))
        rate = p[:, 1] + t * (2 * p[:, 2] + 3 * t * p[:, 3])
        ny, nx = self.shape
        i, j = (xp.clip(xp.floor(a), 0, size - 2).astype("int64") for a, size in zip(at, (nx, ny), strict=True))
        return _Met(where, j * nx + i, nx, at[0] - i, at[1] - j, rate)


class _Met:
    """Places on the ground: `first` of four elements around each, parts of the way to the others, and how fast the
    place moves along the sight."""

    def __init__(self, where: Array, first: Array, nx: int, part: Array, down: Array, rate: Array) -> None:
        self.where, self.part, self.rate = where, part, rate
        self.taps = (first, first + 1, first + nx, first + nx + 1)
        self.weights = ((1 - part) * (1 - down), part * (1 - down), (1 - part) * down, part * down)
        self.down = down

    def taken(self, flat: Array) -> Array:
        """What a map holds there."""
        return sum(w * flat[e] for w, e in zip(self.weights, self.taps, strict=True))  # type: ignore[return-value]

    def along(self, flat: Array) -> Array:
        """How fast that changes along the sight."""
        a, b, c, d = (flat[e].astype("float64") for e in self.taps)
        across = (b - a) * (1 - self.down) + (d - c) * self.down
        below = (c - a) * (1 - self.part) + (d - b) * self.part
        return across * self.rate[0] + below * self.rate[1]

    def given(self, values: Array, shape: tuple[int, int]) -> Any:
        """The transpose of `taken`."""
        xp = namespace(values)
        place = xp.concatenate(self.taps)
        return xp.bincount(place, xp.concatenate([w * values for w in self.weights]), shape[0] * shape[1]).reshape(
            shape
        )
