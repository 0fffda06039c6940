"""Functionals of a part of an element, or of its distance from another."""

from __future__ import annotations

from typing import Any

from tomodiff.array import Array, Element, inner, namespace, tmap
from tomodiff.core import Functional, LinearOperator
from tomodiff.core.curvature import Framed, Product
from tomodiff.core.functional import Pulled


class Of(Functional):
    """f of one entry of a dict; the others do not count."""

    def __init__(self, name: str, f: Functional) -> None:
        self.name, self.f = name, f

    def __call__(self, x: Element) -> float:
        return self.f(x[self.name])

    def value_and_grad(self, x: Element) -> tuple[float, Element]:
        value, g = self.f.value_and_grad(x[self.name])
        return value, self._placed(g, x)

    def quadratic(self, x: Element) -> tuple[float, Element, Product]:
        value, g, product = self.f.quadratic(x[self.name])
        return value, self._placed(g, x), Framed(product, lambda d: d[self.name], lambda g: self._placed(g, x))

    def _placed(self, g: Array, x: Element) -> Element:
        return {name: g if name == self.name else namespace(a).zeros_like(a) for name, a in x.items()}


class Centred(Functional):
    """x -> f(x - reference)."""

    def __init__(self, f: Functional, reference: Element) -> None:
        self.f, self.reference, self.separable = f, reference, f.separable
        self.curvature_bound = f.curvature_bound

    def _off(self, x: Element) -> Element:
        return tmap(lambda a, r: a - r, x, self.reference)

    def __call__(self, x: Element) -> float:
        return self.f(self._off(x))

    def value_and_grad(self, x: Element) -> tuple[float, Element]:
        return self.f.value_and_grad(self._off(x))

    def quadratic(self, x: Element) -> tuple[float, Element, Product]:
        return self.f.quadratic(self._off(x))

    def prox(self, x: Element, step: Any) -> Element:
        return tmap(lambda a, r: a + r, self.f.prox(self._off(x), step), self.reference)

    def prox_warm(self, x: Element, step: Any, memory: dict[str, Any]) -> tuple[Element, dict[str, Any]]:
        made, memory = self.f.prox_warm(self._off(x), step, memory)
        return tmap(lambda a, r: a + r, made, self.reference), memory


class Tilted(Functional):
    """x -> f(x) - <slope, x>: what is minimised in place of f for a draw of its posterior, with a random slope."""

    def __init__(self, f: Functional, slope: Element) -> None:
        self.f, self.slope = f, slope

    def __call__(self, x: Element) -> float:
        return self.f(x) - inner(self.slope, x)

    def value_and_grad(self, x: Element) -> tuple[float, Element]:
        value, gradient = self.f.value_and_grad(x)
        return value - inner(self.slope, x), tmap(lambda g, s: g - s, gradient, self.slope)

    def quadratic(self, x: Element) -> tuple[float, Element, Product]:
        value, gradient, product = self.f.quadratic(x)
        return value - inner(self.slope, x), tmap(lambda g, s: g - s, gradient, self.slope), product


def piccs(f: Functional, reference: Element, share: float = 0.5) -> Functional:
    """share * f(x - reference) + (1 - share) * f(x): prior image constrained compressed sensing (Chen, Tang and Leng
    2008, eq. 4), for a sparsity f such as `GroupL1() @ Differences(...)` and a solver of sums of priors (Pdhg)."""
    if not 0 <= share <= 1:
        raise ValueError(f"piccs: share: expected a number from 0 to 1, got {share}")
    if isinstance(f, Pulled) and isinstance(f.A, LinearOperator):
        there = Centred(f.f, f.A.forward(reference)) @ f.A
    else:
        there = Centred(f, reference)
    return share * there + (1 - share) * f
