"""Priors without coupling between voxels: constraints, quadratic and absolute values."""

from __future__ import annotations

from typing import Any

from tomodiff.array import Array, Element, inner, namespace, tmap
from tomodiff.core import Functional
from tomodiff.core.functional import Product


def _leaves(x: Element) -> list[Array]:
    return list(x.values()) if hasattr(x, "values") else [x]


class Box(Functional):
    """The constraint low <= x <= high: 0 inside, infinite outside; its prox is the projection. None is no bound."""

    def __init__(self, low: float | None = None, high: float | None = None) -> None:
        if low is not None and high is not None and not low <= high:
            raise ValueError(f"Box: expected low <= high, got low={low}, high={high}")
        self.low, self.high = (None if bound is None else float(bound) for bound in (low, high))

    def __call__(self, x: Element) -> float:
        inside = all(
            (self.low is None or bool((a >= self.low).all())) and (self.high is None or bool((a <= self.high).all()))
            for a in _leaves(x)
        )
        return 0.0 if inside else float("inf")

    def prox(self, x: Element, step: float) -> Element:
        if self.low is None and self.high is None:
            return tmap(lambda a: a.copy(), x)
        return tmap(lambda a: a.clip(self.low, self.high), x)


class NonNegative(Functional):
    """The constraint x >= 0; its prox sets negative entries to zero."""

    def __call__(self, x: Element) -> float:
        return 0.0 if all(bool((a >= 0).all()) for a in _leaves(x)) else float("inf")

    def prox(self, x: Element, step: float) -> Element:
        return tmap(lambda a: a.clip(0, None), x)


class L2(Functional):
    """1/2 |x - center|^2 (Tikhonov); `center` is None for zero, or an element."""

    def __init__(self, center: Element | None = None) -> None:
        self.center = center

    def value_and_grad(self, x: Element) -> tuple[float, Element]:
        gradient = tmap(lambda a: a.copy(), x) if self.center is None else tmap(lambda a, c: a - c, x, self.center)
        return 0.5 * inner(gradient, gradient), gradient

    def quadratic(self, x: Element) -> tuple[float, Element, Product]:
        return *self.value_and_grad(x), lambda d: d

    def prox(self, x: Element, step: float) -> Element:
        step = float(step)  # a NumPy double would widen float32
        if self.center is None:
            return tmap(lambda a: a / (1 + step), x)
        return tmap(lambda a, c: (a + step * c) / (1 + step), x, self.center)


class L1(Functional):
    """sum |x|, of complex entries too; its prox shrinks the modulus by the step (soft threshold)."""

    def __call__(self, x: Element) -> float:
        return sum(float(abs(a).sum(dtype="float64")) for a in _leaves(x))

    def prox(self, x: Element, step: float) -> Element:
        step = float(step)

        def shrink(a: Array) -> Any:
            if a.dtype.kind != "c":
                return a - a.clip(-step, step)
            modulus = abs(a)
            return a * ((modulus - step).clip(0, None) / namespace(a).where(modulus > 0, modulus, 1))

        return tmap(shrink, x)
