"""Functionals: real functions of an element, which are likelihoods, priors and their sums."""

from __future__ import annotations

import operator
from collections.abc import Collection
from numbers import Real
from typing import Any

import numpy as np

from tomodiff.array import Array, Element, tmap, zeros_like
from tomodiff.core.curvature import Framed, Product, Scaled, Through, Total
from tomodiff.core.operators import Operator


class Functional:
    """One number with a gradient, a proximal map, or both.

    A subclass defines `value_and_grad` if it is differentiable, and `__call__` and `prox` if that map is known. An
    indicator function (a constraint) is zero inside and infinite outside its set, its prox is the projection.
    """

    __array_ufunc__ = None
    __iter__ = None
    separable = False
    """Whether f is a sum over entries, so that `prox` takes a step for each entry (an element of real numbers) too."""

    curvature_bound: float | None = None
    """What no second derivative of f, in any direction, goes above; None where no such number is known."""

    def value_and_grad(self, x: Element) -> tuple[float, Element]:
        """f(x) and its gradient, an array of its own that the caller may write into."""
        raise NotImplementedError(f"{type(self).__name__} has no gradient; use a solver that takes its prox")

    def __call__(self, x: Element) -> float:
        return self.value_and_grad(x)[0]

    def prox(self, x: Element, step: Any) -> Element:
        """argmin over z of step * f(z) + |z - x|^2 / 2, in the dtype of x; step: a number >= 0."""
        raise NotImplementedError(f"{type(self).__name__} has no prox; use a solver that takes its gradient")

    def prox_warm(self, x: Element, step: Any, memory: dict[str, Any]) -> tuple[Element, dict[str, Any]]:
        """prox(x, step) started from what the last call left, and what the next call may start from.

        `memory` is a flat dict of arrays and numbers, empty at first; a closed-form prox ignores it.  A "value" in it
        is that of f where the prox ended, of those for whom it would cost as much again to find.
        """
        return self.prox(x, step), memory

    def through(self, A: Operator, x: Element) -> tuple[float, Element]:
        """Value and gradient of x -> f(A(x)); overridden where an operator fuses the two."""
        y, jacobian = A.linearize(x)
        value, g_y = self.value_and_grad(y)
        return value, jacobian.adjoint(g_y)

    def quadratic(self, x: Element) -> tuple[float, Element, Product]:
        """Value, gradient and a positive part of the second derivative, as a `Curvature`: the quadratic model of
        Gauss-Newton steps.  Through an operator A this is J' H J, without the curvature of A itself."""
        raise NotImplementedError(f"{type(self).__name__} has no quadratic model; use a solver that takes its gradient")

    def restrict(self, x: Element, names: Collection[str]) -> Functional:
        """f as a function of the named inputs alone, the others held at x; if only one is named, it is a bare array."""
        return Restricted(self, {k: v for k, v in x.items() if k not in names}, tuple(names))

    def draw(self, rng: np.random.Generator) -> Functional:
        """The functional itself, or one drawn at random whose gradient is right on the average."""
        return self

    def __getitem__(self, views: Any) -> Functional:
        """The functional of a subset of the data, where that means something."""
        raise TypeError(f"{type(self).__name__} has no subsets of its data: f[views] is not defined for it")

    def __matmul__(self, A: Operator) -> Functional:
        return Pulled(self, A) if isinstance(A, Operator) else NotImplemented

    def __add__(self, other: Functional) -> Functional:
        return FunctionalSum((self, other)) if isinstance(other, Functional) else NotImplemented

    def __rmul__(self, factor: float) -> Functional:
        return FunctionalScaled(float(factor), self) if isinstance(factor, Real) else NotImplemented


class Restricted(Functional):
    """f of a dict of arrays, of which some are held; what is left is bare where it is one array."""

    def __init__(self, f: Functional, held: dict[str, Array], names: tuple[str, ...]) -> None:
        self.f, self.held, self.names = f, held, names

    def _whole(self, x: Element, others: dict[str, Array]) -> Element:
        return {**others, **(x if len(self.names) > 1 else {self.names[0]: x})}

    def _left(self, g: Element) -> Element:
        return {k: g[k] for k in self.names} if len(self.names) > 1 else g[self.names[0]]

    def __call__(self, x: Element) -> float:
        return self.f(self._whole(x, self.held))

    def value_and_grad(self, x: Element) -> tuple[float, Element]:
        value, g = self.f.value_and_grad(self._whole(x, self.held))
        return value, self._left(g)

    def quadratic(self, x: Element) -> tuple[float, Element, Product]:
        value, g, product = self.f.quadratic(self._whole(x, self.held))
        still = zeros_like(self.held)
        return value, self._left(g), Framed(product, lambda d: self._whole(d, still), self._left)


class Pulled(Functional):
    """f @ A: x -> f(A(x))."""

    def __init__(self, f: Functional, A: Operator) -> None:
        self.f, self.A = f, A

    def __call__(self, x: Element) -> float:
        return self.f(self.A(x))

    def value_and_grad(self, x: Element) -> tuple[float, Element]:
        return self.f.through(self.A, x)

    def quadratic(self, x: Element) -> tuple[float, Element, Product]:
        y, J = self.A.linearize(x)
        value, g, product = self.f.quadratic(y)
        return value, J.adjoint(g), Through(product, J)

    def restrict(self, x: Element, names: Collection[str]) -> Functional:
        held = {k: v for k, v in x.items() if k not in names}
        return self.f @ self.A.fix(**held) if held else self

    def draw(self, rng: np.random.Generator) -> Functional:
        return self.f.draw(rng) @ self.A

    def __getitem__(self, views: Any) -> Functional:
        return self.f[views] @ self.A[views]


class FunctionalSum(Functional):
    """f + g + ..."""

    def __init__(self, terms: tuple[Functional, ...]) -> None:
        flat = (f.terms if isinstance(f, FunctionalSum) else (f,) for f in terms)
        self.terms: tuple[Functional, ...] = tuple(f for group in flat for f in group)
        bounds = [f.curvature_bound for f in self.terms]
        known = [bound for bound in bounds if bound is not None]
        self.curvature_bound = sum(known) if len(known) == len(bounds) else None

    def __call__(self, x: Element) -> float:
        return sum(f(x) for f in self.terms)

    def value_and_grad(self, x: Element) -> tuple[float, Element]:
        value, gradient = self.terms[0].value_and_grad(x)
        for f in self.terms[1:]:
            more, g = f.value_and_grad(x)
            value, gradient = value + more, tmap(operator.add, gradient, g)
        return value, gradient

    def quadratic(self, x: Element) -> tuple[float, Element, Product]:
        value, gradient, first = self.terms[0].quadratic(x)
        products = [first]
        for f in self.terms[1:]:
            more, g, product = f.quadratic(x)
            value, gradient = value + more, tmap(operator.add, gradient, g)
            products.append(product)
        return value, gradient, Total(products)

    def restrict(self, x: Element, names: Collection[str]) -> Functional:
        return FunctionalSum(tuple(f.restrict(x, names) for f in self.terms))

    def draw(self, rng: np.random.Generator) -> Functional:
        return FunctionalSum(tuple(f.draw(rng) for f in self.terms))


class FunctionalScaled(Functional):
    """factor * f with a non-negative factor."""

    def __init__(self, factor: float, f: Functional) -> None:
        if not factor >= 0:
            raise ValueError(f"factor * {type(f).__name__}: expected a factor >= 0, got {factor}")
        self.factor, self.f, self.separable = float(factor), f, f.separable
        self.curvature_bound = None if f.curvature_bound is None else self.factor * f.curvature_bound

    def __call__(self, x: Element) -> float:
        return self.factor * self.f(x)

    def value_and_grad(self, x: Element) -> tuple[float, Element]:
        value, gradient = self.f.value_and_grad(x)
        return self.factor * value, tmap(lambda g: g * self.factor, gradient)

    def through(self, A: Operator, x: Element) -> tuple[float, Element]:
        value, gradient = self.f.through(A, x)
        return self.factor * value, tmap(lambda g: g * self.factor, gradient)

    def quadratic(self, x: Element) -> tuple[float, Element, Product]:
        value, gradient, product = self.f.quadratic(x)
        return self.factor * value, tmap(lambda g: g * self.factor, gradient), Scaled(product, self.factor)

    def prox(self, x: Element, step: Any) -> Element:
        return self.f.prox(x, tmap(lambda s: self.factor * s, step))

    def prox_warm(self, x: Element, step: Any, memory: dict[str, Any]) -> tuple[Element, dict[str, Any]]:
        made, memory = self.f.prox_warm(x, tmap(lambda s: self.factor * s, step), memory)
        return made, memory | {"value": self.factor * memory["value"]} if "value" in memory else memory

    def restrict(self, x: Element, names: Collection[str]) -> Functional:
        return self.factor * self.f.restrict(x, names)

    def draw(self, rng: np.random.Generator) -> Functional:
        return self.factor * self.f.draw(rng)

    def __getitem__(self, views: Any) -> Functional:
        return self.factor * self.f[views]
