"""Constraints: 0 inside a set, infinite outside; the prox is the projection onto it."""

from __future__ import annotations

from typing import Any

from tomodiff.array import Array, Element, namespace, tmap
from tomodiff.core import Functional


def leaves(x: Element) -> list[Array]:
    """The arrays of an element."""
    return list(x.values()) if hasattr(x, "values") else [x]


class Box(Functional):
    """The constraint low <= x <= high: 0 inside, infinite outside; its prox is the projection. None is no bound."""

    separable = True

    def __init__(self, low: float | None = None, high: float | None = None) -> None:
        if low is not None and high is not None and not low <= high:
            raise ValueError(f"Box: expected low <= high, got low={low}, high={high}")
        self.low, self.high = (None if bound is None else float(bound) for bound in (low, high))

    def __call__(self, x: Element) -> float:
        inside = all(
            (self.low is None or bool((a >= self.low).all())) and (self.high is None or bool((a <= self.high).all()))
            for a in leaves(x)
        )
        return 0.0 if inside else float("inf")

    def prox(self, x: Element, step: Any) -> Element:
        if self.low is None and self.high is None:
            return tmap(lambda a: a.copy(), x)
        return tmap(lambda a: a.clip(self.low, self.high), x)


class NonNegative(Functional):
    """The constraint x >= 0; its prox sets negative entries to zero."""

    separable = True

    def __call__(self, x: Element) -> float:
        return 0.0 if all(bool((a >= 0).all()) for a in leaves(x)) else float("inf")

    def prox(self, x: Element, step: Any) -> Element:
        return tmap(lambda a: a.clip(0, None), x)


class Simplex(Functional):
    """x >= 0 with sums of `total` along an axis: volume fractions of materials, say.  The projection is that of
    Duchi et al. (2008, figure 1); sums may be off by `tolerance` times the total when the value is asked for."""

    def __init__(self, total: float = 1.0, axis: int = 0, tolerance: float = 1e-5) -> None:
        if not total > 0:
            raise ValueError(f"Simplex: total: expected a number > 0, got {total}")
        self.total, self.axis, self.tolerance = float(total), axis, tolerance

    def __call__(self, x: Array) -> float:
        off = abs(x.sum(self.axis) - self.total).max()
        return 0.0 if bool((x >= 0).all()) and bool(off <= self.tolerance * self.total) else float("inf")

    def prox(self, x: Array, step: Any) -> Array:
        xp = namespace(x)
        falling = xp.flip(xp.sort(x, axis=self.axis), self.axis)
        places = xp.arange(1, x.shape[self.axis] + 1).reshape(
            [-1 if k == self.axis % x.ndim else 1 for k in range(x.ndim)]
        )
        excess = (xp.cumsum(falling, axis=self.axis) - self.total) / places.astype(x.dtype)
        last = (falling > excess).sum(self.axis, keepdims=True) - 1
        return (x - xp.take_along_axis(excess, last, self.axis)).clip(0, None)
