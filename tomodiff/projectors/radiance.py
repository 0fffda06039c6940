"""Radiance fields: what photographs see of a volume that absorbs, and shines differently in each direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage

from tomodiff.array import Array, Element, namespace, to_numpy
from tomodiff.core import Linear, LinearOperator, Operator, Space, check_element
from tomodiff.geometry import Grid
from tomodiff.kernels import preferred
from tomodiff.projectors.harmonics import harmonic_slopes, harmonics
from tomodiff.projectors.march import COPIES, gathered, in_voxels, in_world, launch, step_of

ACTIVATIONS = ("relu", "softplus", "exp")
"""What makes a density of a number, after interpolation."""
STOP = 1e-4
"""Share of the background below which a ray ends; what is left goes to the background."""


class RadianceField(Operator):
    """{"field" (z, y, x, 1 + 3 K), "origins" (ray, 3), "directions" (ray, 3), "background" (ray, 3)} -> colours
    (ray, 3).

    A voxel holds what its density is made of (per length of the grid's unit, by `activation`), and K = 1, 4 or 9
    coefficients of spherical harmonics for red, then green, then blue: the colour is max(0, 1/2 + sum of Y_k(direction)
    B_k).  degree: 0, 1 or 2.  Rays as for `EmissionRays`.  occupied (z, y, x): cells all of whose corners are 0 are not
    marched through.  stop: see `STOP`; 0 never ends a ray.

    Differentiable in all inputs, with kinks where colours or densities reach zero and samples cross planes of voxels.
    """

    def __init__(
        self,
        grid: Grid,
        rays: int,
        degree: int = 1,
        activation: str = "softplus",
        step: float | None = None,
        stop: float = STOP,
        occupied: Array | None = None,
        dtype: str = "float32",
    ) -> None:
        if degree not in (0, 1, 2):
            raise ValueError(f"RadianceField: degree: expected 0, 1 or 2, got {degree}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"RadianceField: activation: expected one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        if occupied is not None and tuple(occupied.shape) != grid.shape:
            raise ValueError(f"RadianceField: occupied: expected shape {grid.shape}, got {tuple(occupied.shape)}")
        self.grid, self.degree, self.dtype, self.stop = grid, degree, dtype, float(stop)
        self.terms = (degree + 1) ** 2
        self.activation, self.step = activation, step_of(grid, step, "RadianceField")
        self.clear = None if occupied is None else emptiness(to_numpy(occupied))
        self.domain = {
            "field": Space((*grid.shape, 1 + 3 * self.terms), dtype),
            "origins": Space((rays, 3), dtype),
            "directions": Space((rays, 3), dtype),
            "background": Space((rays, 3), dtype),
        }
        self.range = Space((rays, 3), dtype)

    def __call__(self, x: Element) -> Array:
        return self.seen(x)[0]

    def seen(self, x: Element) -> tuple[Array, Array]:
        """Colours (ray, 3), and how much of the background comes through (ray): 1 - opacity."""
        x = self._checked(x)
        return self._rendered(x, self._still(x))

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        x = self._checked(x)
        xp, still, slopes = namespace(x["field"]), self._still(x), harmonic_slopes(x["directions"], self.degree)
        image = self._rendered(x, still)[0]

        def push(d: Element) -> Array:
            d, made = self._checked(d), xp.empty(self.range.shape, self.dtype)
            moved = in_voxels(self.grid, d["origins"], d["directions"], points=False)
            d_basis = xp.ascontiguousarray(xp.einsum("nka,na->nk", slopes, d["directions"]))
            change = (d["field"], d_basis, *moved, d["background"])
            self._launch("radiance_push", xp, *still, x["background"], *change, made)
            return made

        def pull(g: Array) -> Element:
            return self._pulled(still, image, g, slopes)

        return image, Linear(self.domain, self.range, push, pull, "Jacobian of RadianceField")

    def gradient(
        self, x: Element, data: Array | Callable[[Array], Array], into: Array | None = None
    ) -> tuple[float, dict[str, Array]]:
        """1/2 |colours - data|^2 and its gradients in field and background, without what moving rays would cost.

        data: colours (ray, 3), or a function that makes them of those that are seen, and is taken as still (score
        distillation).  into: the field's gradient is added to these `copies()`; their sum is left to the caller.
        """
        x = self._checked(x)
        still = self._still(x)
        image = self._rendered(x, still)[0]
        residual = image - (data(image) if callable(data) else data)
        value = 0.5 * float((residual.astype("float64") ** 2).sum())
        return value, self._pulled(still, image, residual, into=into)

    def ray_slopes(self, x: Element) -> tuple[Array, Array, Array]:
        """Colours (ray, 3), and how they change with origins and directions (channel, ray, 3), from which the slopes in
        poses of cameras are made."""
        x = self._checked(x)
        xp, still, slopes = namespace(x["field"]), self._still(x), harmonic_slopes(x["directions"], self.degree)
        image = self._rendered(x, still)[0]
        rows = []
        for channel in range(3):
            g = xp.zeros(self.range.shape, self.dtype)
            g[:, channel] = 1
            rows.append(self._pulled(still, image, g, slopes, whole=False))
        return image, *(xp.stack([row[name] for row in rows]) for name in ("origins", "directions"))

    def copies(self, xp: Any) -> Array:
        """Zeros (copy, z, y, x, 1 + 3 K) for a gradient in the field to be added to, on the device of `xp`."""
        n = COPIES if preferred("radiance_pull", xp).endswith("copies") else 1
        return xp.zeros((n, *self.domain["field"].shape), self.dtype)

    def _checked(self, x: Element) -> dict[str, Array]:
        check_element(self.domain, x, "RadianceField: x")
        return {name: namespace(a).ascontiguousarray(a) for name, a in x.items()}

    def _still(self, x: Element) -> tuple[Any, ...]:
        """Field, mask, basis and rays, as all kernels take them."""
        xp = namespace(x["field"])
        if self.clear is not None and not isinstance(self.clear, xp.ndarray):
            self.clear = to_numpy(self.clear) if xp is np else xp.asarray(self.clear)
        basis = xp.ascontiguousarray(harmonics(x["directions"], self.degree))
        rays = in_voxels(self.grid, x["origins"], x["directions"])
        return (x["field"], self.clear, basis, *rays)

    def _rendered(self, x: Element, still: tuple[Any, ...]) -> tuple[Array, Array]:
        xp = namespace(x["field"])
        image, left = xp.empty(self.range.shape, self.dtype), xp.empty(self.range.shape[:1], self.dtype)
        self._launch("radiance_forward", xp, *still, x["background"], image, left)
        return image, left

    def _pulled(
        self, still: tuple[Any, ...], image: Array, g: Array, slopes: Array | None = None, into: Array | None = None,
        whole: bool = True,
    ) -> dict[str, Array]:  # fmt: skip
        """Gradients in field, if `whole`, and background, and in the rays where the slopes of the basis are given."""
        xp, rays, moving = namespace(g), self.range.shape[0], slopes is not None
        name = preferred("radiance_pull", xp)
        field: Any = self.copies(xp) if whole and into is None else into
        own = [xp.empty((rays, n), self.dtype) if moving else None for n in (self.terms, 3, 3)]
        background = xp.empty(self.range.shape, self.dtype)
        self._launch(name, xp, *still, image, xp.ascontiguousarray(g), field, *own, background)
        if whole and into is None:
            field = gathered(field)
        made = {"field": field, "background": background}
        if moving:
            basis, origins, directions = own
            made["origins"] = in_world(self.grid, origins)
            made["directions"] = in_world(self.grid, directions) + xp.einsum("nka,nk->na", slopes, basis)
        return made

    def _launch(self, name: str, xp: Any, *arrays: Array | None) -> None:
        rays, activation = self.range.shape[0], ACTIVATIONS.index(self.activation)
        sizes = (rays, *self.grid.shape, self.terms, self.step, activation, self.stop)
        launch(name, xp, self.dtype, rays, *arrays, *sizes)


def emptiness(occupied: np.ndarray) -> np.ndarray:
    """How many cells away the nearest is that has a corner in `occupied` (z, y, x), for each cell: there is one
    more than voxels along an axis, the first lies before the first voxel.  At least one where nothing is occupied."""
    full = np.pad(np.asarray(occupied) != 0, 1)
    for axis in range(3):
        full = full.take(np.arange(full.shape[axis] - 1), axis) | full.take(np.arange(1, full.shape[axis]), axis)
    if not full.any():
        return np.full(full.shape, sum(full.shape), np.int32)
    made: np.ndarray = ndimage.distance_transform_cdt(~full, metric="chessboard")
    return np.ascontiguousarray(made, np.int32)
