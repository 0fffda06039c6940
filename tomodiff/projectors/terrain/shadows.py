"""Cast shadows that differentiate: the part of the sun's disc that each element of a height field sees."""

from __future__ import annotations

from dataclasses import dataclass
from math import radians
from types import ModuleType
from typing import Any

import numpy as np

from tomodiff.array import Array, Element, namespace, to_numpy
from tomodiff.core import LinearOperator, Operator, Space, check_element
from tomodiff.core.operators import Linear
from tomodiff.kernels import kernel, lanes

SUN_RADIUS = radians(0.2666)
"""Half of the angle under which the sun is seen from the Earth and the Moon."""


@dataclass(frozen=True)
class Ray:
    """How rays towards the sun step over the grid: one element along the major axis each time (in the sense `sign`
    of its index; across rows if `y_major`), `drift` elements along the other, `run` in the unit of the heights."""

    y_major: bool
    sign: int
    drift: float
    run: float
    tangent: float
    """Of the sun's elevation."""

    @classmethod
    def towards(cls, sun: np.ndarray, spacing: tuple[float, float]) -> Ray:
        """Of a sun vector east, north, up.  ValueError for one in the zenith, which casts no shadows, and at or below
        the horizon."""
        east, north, up = (float(c) for c in sun)
        dy, dx = spacing
        level = float(np.hypot(east, north))
        if not up > 0:
            raise ValueError(f"sun: expected a sun above the horizon, got the vector ({east:g}, {north:g}, {up:g})")
        column, row = east / dx, -north / dy  # per unit of horizontal length, in elements
        y_major = abs(row) > abs(column)
        main, other = (row, column) if y_major else (column, row)
        if not abs(main) > 0:
            raise ValueError("sun: expected a sun beside the zenith, which has an azimuth")
        drift = other / abs(main)
        if abs(drift) < 1e-12:  # rounding must not push rays along an edge of the grid out of it
            drift = 0.0
        return cls(y_major, 1 if main > 0 else -1, drift, level / abs(main), up / level)


class Shadows(Operator):
    """{"height" (ny, nx), "sun" (3,)} -> the part of the sun's disc above each element's horizon (ny, nx), 0 to 1.

    height and spacing (dy, dx) in one unit, row 0 northernmost; sun: east, north, up.  The horizon is that of the
    heights along the sun's azimuth, linear between grid lines; it cuts a disc of angular radius `radius` (radians)
    straight.  Exact derivatives: in the heights of the element and of what stands at its horizon, and in the sun; they
    are zero but in penumbras.  radius=0: hard shadows, 0 or 1, without derivatives.  body_radius: of a sphere, in the
    unit of the heights, by whose curvature distant heights sink.
    """

    def __init__(
        self, shape: tuple[int, int], spacing: tuple[float, float] | float = 1.0, *, radius: float = SUN_RADIUS,
        body_radius: float | None = None, dtype: str = "float32",
    ) -> None:  # fmt: skip
        self.shape = (int(shape[0]), int(shape[1]))
        dy, dx = spacing if isinstance(spacing, tuple) else (spacing, spacing)
        self.spacing, self.dtype = (float(dy), float(dx)), dtype
        if not 0 <= radius < 0.5:
            raise ValueError(f"radius: expected 0 to 0.5 radians, got {radius:g}")
        self.radius, self.curve = float(radius), 0.0 if body_radius is None else 0.5 / float(body_radius)
        self.domain = {"height": Space(self.shape, dtype), "sun": Space((3,), "float64")}
        self.range = Space(self.shape, dtype)

    def __call__(self, x: Element) -> Array:
        return self._seen(x)[0]

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        lit, slope, step, ray = self._seen(x)
        xp = namespace(lit)
        where = xp.flatnonzero(slope)
        penumbra = Penumbra.of(self, ray, x["height"], where, step.reshape(-1)[where], xp)
        slope = slope.reshape(-1)[where].astype("float64")
        frame = self._frame(to_numpy(x["sun"]))

        def push(d: Element) -> Array:
            made = xp.zeros(self.shape, self.dtype)
            moved = penumbra.tangent_along(d["height"], frame @ to_numpy(d["sun"]))
            made.reshape(-1)[where] = slope * moved
            return made

        def pull(g: Array) -> Element:
            back = slope * g.reshape(-1)[where]
            height, ray_gradient = penumbra.gathered(back, self.shape)
            return {"height": height.astype(self.dtype), "sun": xp.asarray(frame.T @ ray_gradient)}

        return lit, Linear(self.domain, self.range, push, pull, "Jacobian of Shadows")

    def _seen(self, x: Element) -> tuple[Array, Array, Array, Ray]:
        """lit; its derivative in the angle of the sun above the horizon, 0 beside penumbras; the step; the ray."""
        check_element(self.domain, x, "Shadows: x")
        height = x["height"]
        xp, ray = namespace(height), Ray.towards(to_numpy(x["sun"]), self.spacing)
        elevation = np.arctan(ray.tangent)
        low = float(np.tan(max(elevation - self.radius, 0.0)))
        tangent, step = self.march(height, ray, low, xp)
        if self.radius == 0:
            return (step == 0).astype(self.dtype), xp.zeros(self.shape, self.dtype), step, ray
        above = (elevation - xp.arctan(tangent.astype("float64"))) / self.radius
        inside = xp.clip(above, -1, 1)
        root = xp.sqrt(1 - inside * inside)
        lit = 0.5 + (inside * root + xp.arcsin(inside)) / np.pi
        lit = xp.where(step == 0, 1.0, lit)
        slope = xp.where(step == 0, 0.0, 2 / np.pi * root / self.radius)
        return lit.astype(self.dtype), slope, step, ray

    def march(self, height: Array, ray: Ray, low: float, xp: ModuleType) -> tuple[Array, Array]:
        """The largest tangent of elevation (ny, nx) along a ray, at least `low`, and the step at which it stands, 0
        where none is above `low`."""
        ny, nx = self.shape
        height = xp.ascontiguousarray(height)
        tangent, step = xp.empty(self.shape, self.dtype), xp.empty(self.shape, "int32")
        highest, lowest = float(height.max()), float(height.min())
        if not (np.isfinite(highest) and np.isfinite(lowest)):
            raise ValueError("Shadows: x['height']: expected finite heights, got NaN or infinities")
        steps = ny if ray.y_major else nx
        if low > 0:
            steps = min(steps, int((highest - lowest) / (ray.run * low)) + 1)
        block = (1, 1) if xp is np else (64, 4)
        grid = (-(-nx // (lanes(xp) * block[0])), -(-ny // block[1]))
        sizes = (ny, nx, int(ray.y_major), ray.sign, steps, ray.drift, ray.run, low, self.curve, highest)
        kernel("horizon_march", xp, self.dtype)(grid, block, (height, tangent, step, *sizes))
        return tangent, step

    def _frame(self, sun: np.ndarray) -> np.ndarray:
        """(3, 3) derivatives of drift, run and the tangent of the elevation in the sun's vector."""
        (east, north, up), (dy, dx) = sun, self.spacing
        level = np.hypot(east, north)
        along = np.array([east / level, north / level, 0.0])  # of `level`
        column, row = np.array([1 / dx, 0, 0]), np.array([0, -1 / dy, 0])
        c, r = east / dx, -north / dy
        main, other, m, o = (r, c, row, column) if abs(r) > abs(c) else (c, r, column, row)
        drift = (o * abs(main) - other * np.sign(main) * m) / main**2
        run = along / abs(main) - level * np.sign(main) * m / main**2
        return np.stack([drift, run, (np.array([0, 0, 1.0]) * level - up * along) / level**2])


@dataclass(frozen=True, eq=False)
class Penumbra:
    """The elements of the penumbra, what stands at their horizons, and how the angle of the sun above it changes.

    where (k,) the elements; near, far (k,) the two between which the blocking height is; part (k,) how far from the
    first; away (k,) its distance; scale (k,) and sun: derivatives of the horizon's angle and of the sun's in
    their tangents; side, outward (k,) derivatives of the horizon's tangent in drift and run.
    """

    where: Array
    near: Array
    far: Array
    part: Array
    away: Array
    scale: Array
    sun: float
    side: Array
    outward: Array

    @classmethod
    def of(cls, model: Shadows, ray: Ray, height: Array, where: Array, step: Array, xp: Any) -> Penumbra:
        nx, flat = model.shape[1], height.reshape(-1).astype("float64")
        t = step.astype("int64")
        lateral = xp.asarray(ray.drift, model.dtype) * t.astype(model.dtype)  # as the kernel rounds it
        whole = xp.floor(lateral)
        part = (lateral - whole).astype("float64")
        whole = whole.astype("int64")
        unit_major, unit_minor = (nx, 1) if ray.y_major else (1, nx)
        near = where + ray.sign * t * unit_major + whole * unit_minor
        far = near + xp.where(part > 0, unit_minor, 0)
        away = ray.run * t
        rise = flat[near] + part * (flat[far] - flat[near]) - model.curve * away**2 - flat[where]
        tangent = rise / away
        outward = (-rise / away**2 - 2 * model.curve) * t
        return cls(
            where, near, far, part, away, 1 / (1 + tangent**2), 1 / (1 + ray.tangent**2),
            (flat[far] - flat[near]) * t / away, outward,
        )  # fmt: skip

    def tangent_along(self, d_height: Array, d_ray: np.ndarray) -> Array:
        """(k,) how the sun's angle above the horizon changes along changes of heights and of drift, run and tangent."""
        flat = d_height.reshape(-1).astype("float64")
        rise = flat[self.near] + self.part * (flat[self.far] - flat[self.near]) - flat[self.where]
        horizon = rise / self.away + self.side * d_ray[0] + self.outward * d_ray[1]
        return self.sun * d_ray[2] - self.scale * horizon

    def gathered(self, back: Array, shape: tuple[int, int]) -> tuple[Array, np.ndarray]:
        """The transpose: gradients in the heights and in (drift, run, tangent of the sun's elevation)."""
        xp = namespace(back)
        each = -back * self.scale / self.away
        place = xp.concatenate([self.near, self.far, self.where])
        weight = xp.concatenate([each * (1 - self.part), each * self.part, -each])
        height = xp.bincount(place, weight, shape[0] * shape[1]).reshape(shape)
        along = -back * self.scale
        sums = [(along * self.side).sum(), (along * self.outward).sum(), (back * self.sun).sum()]
        return height, np.array([float(s) for s in sums])
