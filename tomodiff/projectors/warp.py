"""Deformations: a volume seen through displacement fields, and smooth fields made of few numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tomodiff.array import Array, Element, namespace
from tomodiff.core import Linear, LinearOperator, Operator, Space, check_element
from tomodiff.core.operators import into
from tomodiff.geometry import Grid
from tomodiff.kernels import host_threads, kernel, lanes, preferred

BLOCKS_PER_THREAD = 4
"""Shares that each CPU thread gets of the transpose, so that none waits long for another."""
_GPU_BLOCK = (64, 4, 1)


class Warp(Operator):
    """{"volume" (z, y, x), "displacement" (times, 3, z, y, x)} -> the volume at each time (times, z, y, x).

    warped[t](place) = volume(place + displacement[t](place)), linear between voxels and zero beyond them.  The
    displacement is in mm along the grid's own axes, in the order z, y, x.  Differentiable in both inputs, and linear in
    the volume; in the displacement the model has kinks where a place crosses a plane of voxels: there the slope is that
    of one side.  On a GPU two runs of the adjoint agree to rounding, on a CPU to the bit.
    """

    linear_in = frozenset({"volume"})

    def __init__(self, grid: Grid, times: int = 1, dtype: str = "float32") -> None:
        self.grid, self.times, self.dtype = grid, int(times), dtype
        shape = grid.shape
        self.domain = {"volume": Space(shape, dtype), "displacement": Space((self.times, 3, *shape), dtype)}
        self.range = Space((self.times, *shape), dtype)

    def __call__(self, x: Element) -> Array:
        return self._forward(*self._contiguous(x))

    def _contiguous(self, x: Element) -> tuple[Array, Array]:
        check_element(self.domain, x, "Warp: x")
        xp = namespace(x["volume"])
        return xp.ascontiguousarray(x["volume"]), xp.ascontiguousarray(x["displacement"])

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        volume, places = self._contiguous(x)

        def push(d: Element) -> Array:
            d_volume, changes = self._contiguous(d)
            made = self._forward(d_volume, places)
            for place, change, out in zip(places, changes, made, strict=True):
                self._launch("warp_push", volume, place, change, out)
            return made

        def pull(g: Array) -> Element:
            g = namespace(g).ascontiguousarray(g)
            return {"volume": self._adjoint(g, places), "displacement": self._pulled(volume, places, g)}

        return self._forward(volume, places), Linear(self.domain, self.range, push, pull, "Jacobian of Warp")

    def fix(self, **values: Array) -> Operator:
        if set(values) == {"displacement"}:
            check_element(self.domain["displacement"], values["displacement"], "Warp.fix: displacement")
            return Warped(self, values["displacement"])
        return super().fix(**values)

    def _forward(self, volume: Array, places: Array) -> Array:
        made = namespace(volume).empty(self.range.shape, self.dtype)
        for place, out in zip(places, made, strict=True):
            self._launch("warp_forward", volume, place, out)
        return made

    def _pulled(self, volume: Array, places: Array, g: Array) -> Array:
        back = namespace(g).empty(places.shape, self.dtype)
        for place, values, out in zip(places, g, back, strict=True):
            self._launch("warp_pull", volume, place, values, out)
        return back

    def _adjoint(self, g: Array, places: Array) -> Array:
        xp, nz = namespace(g), self.grid.shape[0]
        total = xp.zeros(self.grid.shape, self.dtype)
        places, g = xp.ascontiguousarray(places), xp.ascontiguousarray(g)
        for place, values in zip(places, g, strict=True):
            if preferred("warp_adjoint", xp) == "warp_adjoint_atomic":
                self._launch("warp_adjoint_atomic", total, place, values)
                continue
            furthest = float(np.abs(np.nan_to_num(place[0], posinf=0, neginf=0)).max()) * self.scale[0]
            planes = max(1, -(-nz // (BLOCKS_PER_THREAD * host_threads())))
            reach = int(min(furthest, nz)) + 2
            arguments = (total, place, values, *self.grid.shape, *self.scale, planes, reach)
            kernel("warp_adjoint_planes", xp, self.dtype)((-(-nz // planes),), (1,), arguments)
        return total

    @property
    def scale(self) -> tuple[float, ...]:
        """Voxels per mm along z, y and x."""
        return tuple(1 / s for s in self.grid.spacing)

    def _launch(self, name: str, *arrays: Array) -> None:
        xp, (nz, ny, nx) = namespace(arrays[0]), self.grid.shape
        block = (1, 1, 1) if xp is np else _GPU_BLOCK
        grid = (-(-nx // (lanes(xp) * block[0])), -(-ny // block[1]), nz)
        kernel(name, xp, self.dtype)(grid, block, (*arrays, nz, ny, nx, *self.scale))


class Warped(LinearOperator):
    """A volume through displacement fields that are known: volume (z, y, x) -> (times, z, y, x)."""

    def __init__(self, warp: Warp, displacement: Array) -> None:
        self.warp, self.displacement = warp, namespace(displacement).ascontiguousarray(displacement)
        self.domain, self.range = warp.domain["volume"], warp.range

    def forward(self, x: Array, out: Array | None = None) -> Array:
        check_element(self.domain, x, "Warped.forward: x")
        return into(out, self.warp._forward(namespace(x).ascontiguousarray(x), self.displacement))

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        check_element(self.range, y, "Warped.adjoint: y")
        return into(out, self.warp._adjoint(y, self.displacement))


class FreeForm(LinearOperator):
    """Coefficients (..., *knots) of cubic B-splines -> a smooth field (..., *shape): free-form deformations (Rueckert
    et al. 1999, IEEE TMI 18, 712) and whatever else varies slowly.

    Knots are spread evenly over the box of voxels, one interval beyond it on either side; at least four along each
    axis.  leading: the axes before those of the field, such as (times, 3).
    """

    def __init__(
        self, knots: Sequence[int], shape: Sequence[int], leading: Sequence[int] = (), dtype: str = "float32"
    ) -> None:
        if len(knots) != len(shape) or min(knots) < 4:
            raise ValueError(f"FreeForm: knots: expected {len(shape)} counts of at least 4, got {tuple(knots)}")
        self.domain, self.range = Space((*leading, *knots), dtype), Space((*leading, *shape), dtype)
        self.matrices = [_splines(m, n).astype(dtype) for m, n in zip(knots, shape, strict=True)]

    def forward(self, x: Array, out: Array | None = None) -> Array:
        check_element(self.domain, x, "FreeForm.forward: x")
        return into(out, self._along_axes(x, self.matrices))

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        check_element(self.range, y, "FreeForm.adjoint: y")
        return into(out, self._along_axes(y, [m.T for m in self.matrices]))

    def _along_axes(self, x: Array, matrices: list[np.ndarray]) -> Array:
        xp, first = namespace(x), x.ndim - len(matrices)
        for axis, matrix in enumerate(matrices, first):
            x = xp.moveaxis(xp.tensordot(x, xp.asarray(matrix), (axis, 1)), -1, axis)
        return xp.ascontiguousarray(x)


def _splines(knots: int, n: int) -> np.ndarray:
    """(n, knots): the cubic B-splines of evenly spread knots at the middles of n voxels."""
    at = (np.arange(n) + 0.5) / n * (knots - 3) + 1
    off = np.abs(at[:, None] - np.arange(knots))
    near, far = 2 / 3 - off**2 + off**3 / 2, (2 - off).clip(0) ** 3 / 6
    return np.where(off < 1, near, far)
