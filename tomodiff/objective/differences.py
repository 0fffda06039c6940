"""Derivatives of images, volumes and series of them by differences, as linear operators with exact adjoints."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

from tomodiff.array import Array, namespace
from tomodiff.core import LinearOperator, Space, check_element

Sums = tuple[Any, Any]


def _weights(spacing: Any, axes: Sequence[int], where: str) -> tuple[float, ...]:
    steps = (float(spacing),) * len(axes) if isinstance(spacing, Real) else tuple(float(s) for s in spacing)
    if len(steps) != len(axes) or not all(s > 0 for s in steps):
        raise ValueError(f"{where}: spacing: expected {len(axes)} numbers > 0, got {spacing}")
    return tuple(1 / s for s in steps)


def _at(ndim: int, axis: int, part: slice) -> tuple[slice, ...]:
    return tuple(part if k == axis else slice(None) for k in range(ndim))


class Differences(LinearOperator):
    """x -> forward differences over the spacing along each of `axes` (all by default), (axis, *shape): the gradient.

    The last difference of an axis is zero.  Axes that are left out are channels, those with a spacing of their own may
    be times: `spacing` is a number or one number per axis of `axes`, in the order of them.
    """

    def __init__(
        self, shape: Sequence[int], spacing: Any = 1.0, axes: Sequence[int] | None = None, dtype: str = "float32"
    ) -> None:
        self.axes = tuple(range(len(shape))) if axes is None else tuple(a % len(shape) for a in axes)
        self.weights = _weights(spacing, self.axes, "Differences")
        self.domain = Space(tuple(shape), dtype)
        self.range = Space((len(self.axes), *shape), dtype)

    def forward(self, x: Array, out: Array | None = None) -> Array:
        check_element(self.domain, x, "Differences.forward: x")
        made = namespace(x).empty(self.range.shape, x.dtype) if out is None else out
        for row, axis, w in zip(made, self.axes, self.weights, strict=True):
            inside, ahead, last = (_at(x.ndim, axis, s) for s in (slice(-1), slice(1, None), slice(-1, None)))
            namespace(x).subtract(x[ahead], x[inside], out=row[inside])
            row[inside] *= w
            row[last] = 0
        return made

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        check_element(self.range, y, "Differences.adjoint: y")
        made = namespace(y).zeros(self.domain.shape, y.dtype) if out is None else out
        made[...] = 0
        for row, axis, w in zip(y, self.axes, self.weights, strict=True):
            inside, ahead = (_at(made.ndim, axis, s) for s in (slice(-1), slice(1, None)))
            moved = w * row[inside]
            made[inside] -= moved
            made[ahead] += moved
        return made

    def absolute_sums(self) -> Sums:
        """The largest sums of moduli over a row and over a column of the matrix."""
        return 2 * max(self.weights), 2 * sum(self.weights)


class Strains(LinearOperator):
    """A vector field (d, *shape) -> its symmetrised derivatives by backward differences (d (d + 1) / 2, *shape): first
    those of a component along its own axis, then (a along b + b along a) / sqrt(2), so that the sum of squares is that
    of the symmetric matrix (Bredies, Kunisch and Pock 2010, section 4).  The last entries of a component along its own
    axis, where forward differences are none, take no part: the strains of a gradient of a ramp are zero."""

    def __init__(self, shape: Sequence[int], spacing: Any = 1.0, dtype: str = "float32") -> None:
        d = len(shape)
        self.weights = _weights(spacing, range(d), "Strains")
        self.pairs = [(a, b) for a in range(d) for b in range(a + 1, d)]
        self.domain, self.range = Space((d, *shape), dtype), Space((d + len(self.pairs), *shape), dtype)

    def _places(self, component: int, axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Entries of a component that have one before them along an axis, and those before them."""
        shape = self.domain.shape[1:]
        valid = [slice(0, n - (k == component)) for k, n in enumerate(shape)]
        ahead, inside = list(valid), list(valid)
        ahead[axis], inside[axis] = slice(1, valid[axis].stop), slice(0, max(0, valid[axis].stop - 1))
        return tuple(ahead), tuple(inside)

    def _terms(self) -> list[tuple[int, int, int, float]]:
        """(row of the result, component, axis, factor)."""
        d, half = len(self.weights), 0.5**0.5
        terms = [(a, a, a, self.weights[a]) for a in range(d)]
        for i, (a, b) in enumerate(self.pairs):
            terms += [(d + i, a, b, half * self.weights[b]), (d + i, b, a, half * self.weights[a])]
        return terms

    def forward(self, x: Array, out: Array | None = None) -> Array:
        check_element(self.domain, x, "Strains.forward: x")
        made = namespace(x).zeros(self.range.shape, x.dtype) if out is None else out
        made[...] = 0
        for row, component, axis, w in self._terms():
            ahead, inside = self._places(component, axis)
            made[row][ahead] += w * (x[component][ahead] - x[component][inside])
        return made

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        check_element(self.range, y, "Strains.adjoint: y")
        made = namespace(y).zeros(self.domain.shape, y.dtype) if out is None else out
        made[...] = 0
        for row, component, axis, w in self._terms():
            ahead, inside = self._places(component, axis)
            moved = w * y[row][ahead]
            made[component][ahead] += moved
            made[component][inside] -= moved
        return made

    def absolute_sums(self) -> Sums:
        """The largest sums of moduli over a row and over a column of the matrix."""
        rows: dict[int, float] = {}
        columns: dict[int, float] = {}
        for row, component, _, w in self._terms():
            rows[row] = rows.get(row, 0.0) + 2 * w
            columns[component] = columns.get(component, 0.0) + 2 * w
        return max(rows.values()), max(columns.values())
