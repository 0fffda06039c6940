"""Second derivatives: symmetric matrices by their action, and random elements that have them as covariance."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodiff.array import Element, namespace, tmap
from tomodiff.core.space import Space, random_element, weigh

if TYPE_CHECKING:
    from tomodiff.core.operators import LinearOperator

Product = Callable[[Element], Element]
"""A symmetric matrix by its action."""


def white(x: Element, rng: np.random.Generator) -> Element:
    """A `random_element` of the space of x, each array on the device of its own."""
    return tmap(lambda a: random_element(Space(a.shape, a.dtype.name), rng, namespace(a)), x)


class Curvature:
    """A positive semidefinite matrix H: `H(d)`, and `H.noise(rng)`, normal of mean 0 and covariance H."""

    def __call__(self, d: Element) -> Element:
        raise NotImplementedError

    def noise(self, rng: np.random.Generator) -> Element:
        """One draw."""
        raise NotImplementedError


class Diagonal(Curvature):
    """d -> bend d: bend is None (1), a number, or an element; `like` is an element of the space of d."""

    def __init__(self, bend: Any, like: Element) -> None:
        self.bend, self.like = bend, like

    def __call__(self, d: Element) -> Element:
        return weigh(d, self.bend)

    def noise(self, rng: np.random.Generator) -> Element:
        root = None if self.bend is None else tmap(lambda b: b**0.5, self.bend)
        return weigh(white(self.like, rng), root)


class Through(Curvature):
    """J' H J."""

    def __init__(self, of: Product, J: LinearOperator) -> None:
        self.of, self.J = of, J

    def __call__(self, d: Element) -> Element:
        return self.J.adjoint(self.of(self.J.forward(d)))

    def noise(self, rng: np.random.Generator) -> Element:
        return self.J.adjoint(noise_of(self.of, rng))


class Scaled(Curvature):
    """factor H."""

    def __init__(self, of: Product, factor: float) -> None:
        self.of, self.factor = of, factor

    def __call__(self, d: Element) -> Element:
        return weigh(self.of(d), self.factor)

    def noise(self, rng: np.random.Generator) -> Element:
        return weigh(noise_of(self.of, rng), self.factor**0.5)


class Total(Curvature):
    """H + ..."""

    def __init__(self, parts: list[Product]) -> None:
        self.parts = parts

    def __call__(self, d: Element) -> Element:
        return _sum(part(d) for part in self.parts)

    def noise(self, rng: np.random.Generator) -> Element:
        return _sum(noise_of(part, rng) for part in self.parts)


class Framed(Curvature):
    """P' H P, where P takes a part of an element, or sets it among zeros, and `back` is its transpose."""

    def __init__(self, of: Product, there: Product, back: Product) -> None:
        self.of, self.there, self.back = of, there, back

    def __call__(self, d: Element) -> Element:
        return self.back(self.of(self.there(d)))

    def noise(self, rng: np.random.Generator) -> Element:
        return self.back(noise_of(self.of, rng))


def noise_of(product: Product, rng: np.random.Generator) -> Element:
    """One draw of covariance `product`.  TypeError where that is a bare function."""
    if not isinstance(product, Curvature):
        raise TypeError(f"expected a Curvature, whose square root is known, got {type(product).__name__}")
    return product.noise(rng)


def _sum(elements: Any) -> Element:
    total = next(elements)
    for element in elements:
        total = tmap(operator.add, total, element)
    return total
