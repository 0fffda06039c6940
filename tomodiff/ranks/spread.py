"""Data that lie on several ranks, while the unknowns are the same on all of them.

F(x) = sum over ranks of F_r(x): each rank has some of the views, particles or images, and knows all of x.  Solvers need
not know: they see one element, one operator, one functional.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tomodiff.array import Array, Element, Parts, tmap
from tomodiff.core import Functional, LinearOperator
from tomodiff.core.curvature import Product
from tomodiff.ranks.comm import Comm

OWN = "own"


def own_views(comm: Comm) -> slice:
    """The views of this rank: every size-th, so that all have some of everything."""
    return slice(comm.rank, None, comm.size)


class Spread(Parts):
    """An element of which every rank holds a part under the name "own"; inner products are sums over all ranks."""

    def __init__(self, own: Any, comm: Comm) -> None:
        super().__init__({OWN: own})
        self.comm = comm

    def made_of(self, parts: Iterable[tuple[str, Any]]) -> Spread:
        return Spread(dict(parts)[OWN], self.comm)

    def total(self, value: float) -> float:
        return self.comm.total(value)


class SpreadData(LinearOperator):
    """A linear operator whose data lie across the ranks: this rank's part of it, x -> Spread(A_r x); the adjoint adds
    up what all ranks project back."""

    def __init__(self, of: LinearOperator, comm: Comm) -> None:
        self.of, self.comm = of, comm
        self.domain, self.range = of.domain, Spread(of.range, comm)
        self.nonnegative = getattr(of, "nonnegative", False)

    def forward(self, x: Element, out: Element | None = None) -> Element:
        return Spread(self.of.forward(x, out and out[OWN]), self.comm)

    def adjoint(self, y: Element, out: Element | None = None) -> Element:
        return self.comm.sum(self.of.adjoint(y[OWN], out))[0]

    def residual_grad(self, x: Element, data: Element, weights: Any = None) -> tuple[float, Element]:
        own = weights[OWN] if isinstance(weights, Spread) else weights
        value, gradient = self.of.residual_grad(x, data[OWN], own)
        gradient, (value,) = self.comm.sum(gradient, (value,))
        return value, gradient


class AcrossRanks(Functional):
    """The sum over the ranks of a functional that each has of the same x; one message for value and gradient."""

    def __init__(self, f: Functional, comm: Comm) -> None:
        self.f, self.comm = f, comm

    def __call__(self, x: Element) -> float:
        return self.comm.total(self.f(x))

    def value_and_grad(self, x: Element) -> tuple[float, Element]:
        value, gradient = self.f.value_and_grad(x)
        gradient, (value,) = self.comm.sum(gradient, (value,))
        return value, gradient

    def quadratic(self, x: Element) -> tuple[float, Element, Product]:
        value, gradient, product = self.f.quadratic(x)
        gradient, (value,) = self.comm.sum(gradient, (value,))

        def added(d: Element) -> Element:
            return self.comm.sum(tmap(_owned, product(d)))[0]

        return value, gradient, added


def _owned(a: Array) -> Array:
    return a.copy()
