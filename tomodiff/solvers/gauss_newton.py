"""Gauss-Newton steps by preconditioned conjugate gradients, with bounds: many unknowns of several kinds at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from time import perf_counter

import numpy as np

from tomodiff.array import Array, Element, inner, namespace, norm, tmap, zeros_like
from tomodiff.core import Functional
from tomodiff.core.curvature import Product
from tomodiff.errors import Diverged
from tomodiff.solvers.gradient import ROUNDING, SUFFICIENT
from tomodiff.solvers.iterate import require
from tomodiff.solvers.measures import change, inner_with_move, moved, residual_norm
from tomodiff.solvers.state import State

Bounds = Mapping[str, tuple[float | None, float | None]]
Preconditioner = Callable[[Element, Product], Product]
"""(x, product with the second derivative there) -> an approximate inverse of it."""


@dataclass(frozen=True)
class GaussNewton:
    """x <- P(x + s d), where d solves the quadratic model of f (`Functional.quadratic`) inexactly.

    x: an array or a dict of them.  bounds: name -> (lowest, highest), None for none; P is the projection onto them, and
    entries at a bound against which the gradient pushes stay out of d (Bertsekas 1982).  fixed: name -> a mask of
    entries that never move.  products: conjugate-gradient iterations per step, at most; they end where the residual
    has fallen to `forcing` of the gradient (Dembo, Eisenstat and Steihaug 1982), both in the preconditioner's norm;
    without one, named inputs are brought to one scale (`by_names`).
    Backtracking line search.

    Measures, at the new x: "value", "gradient_norm" (of the entries that are free), "products", "length" of the step
    (0: no step lowers f any more).  Memory: none but x.
    """

    bounds: Bounds = field(default_factory=dict)
    fixed: Mapping[str, Array] = field(default_factory=dict, repr=False)
    precondition: Preconditioner | None = field(default=None, repr=False)
    products: int = 40
    forcing: float = 0.05
    halvings: int = 12

    def start(self, f: Functional, x: Element) -> State:
        """The state before the first step."""
        return State("GaussNewton", self.projected(x))

    def step(self, f: Functional, state: State) -> State:
        """One step, from one linearisation of f and `products` products with it."""
        require(state, "GaussNewton")
        began, x = perf_counter(), state.x
        value, gradient, product = f.quadratic(x)
        if not isfinite(value):
            raise Diverged("GaussNewton: the objective is not finite: the data or the start hold NaN or infinities")
        free = self.free(x, gradient)
        inverse = self.inverse(x, free, product)
        descent = tmap(lambda g, m: -g * m, gradient, free)
        d, used = solve_free(product, descent, free, inverse, self.products, self.forcing)
        new, found, length = self._search(f, x, value, gradient, d)
        return state.advance(
            new, {}, value=found, gradient_norm=norm(descent), products=float(used), length=length,
            relative_change=change(new, x), seconds=perf_counter() - began, **residual_norm(f, found),
        )  # fmt: skip

    def projected(self, x: Element) -> Element:
        """x within the bounds."""
        if not isinstance(x, Mapping):
            if self.bounds:
                raise ValueError(f"bounds: expected a dict of arrays to hold within them, got {type(x).__name__}")
            return x
        return {name: a.clip(*self.bounds[name]) if name in self.bounds else a for name, a in x.items()}

    def free(self, x: Element, gradient: Element) -> Element:
        """1 for entries that may move, 0 for those that may not."""
        if not isinstance(x, Mapping):
            return namespace(x).ones_like(x)
        made = {}
        for name, a in x.items():
            low, high = self.bounds.get(name, (None, None))
            stays = namespace(a).zeros(a.shape, bool) if name not in self.fixed else self.fixed[name].copy()
            if low is not None:
                stays |= (a <= low) & (gradient[name] > 0)
            if high is not None:
                stays |= (a >= high) & (gradient[name] < 0)
            made[name] = (~stays).astype(a.dtype)
        return made

    def inverse(self, x: Element, free: Element, product: Product) -> Product | None:
        """The preconditioner at x."""
        return by_names(free, product) if self.precondition is None else self.precondition(x, product)

    def _search(
        self, f: Functional, x: Element, value: float, gradient: Element, d: Element
    ) -> tuple[Element, float, float]:
        """The first of x + d, x + d / 2, ... that is low enough, its value, and the length; x itself where none is."""
        length = 1.0
        for _ in range(self.halvings):
            trial = self.projected(moved(x, length, d))
            found, promised = f(trial), inner_with_move(gradient, trial, x)
            if isfinite(found) and found <= value + SUFFICIENT * promised + ROUNDING * 1e-3 * abs(value):
                return trial, found, length
            length /= 2
        return x, value, 0.0


def by_names(free: Element, product: Product) -> Product | None:
    """The division of each named input by its mean curvature, which makes their units the same: one product for each,
    with signs drawn at random (Hutchinson 1990).  None for a bare array."""
    if not isinstance(free, Mapping) or len(free) < 2:
        return None
    scales = {}
    for name, mask in free.items():
        signs = np.random.default_rng(0).choice((-1.0, 1.0), mask.shape)
        probe = {**zeros_like(free), name: mask * namespace(mask).asarray(signs, mask.dtype)}
        bend, count = inner(probe, product(probe)), float(mask.sum(dtype="float64"))
        scales[name] = count / bend if bend > 0 else 1.0
    return lambda r: {name: a * scales[name] for name, a in r.items()}


def solve_free(
    product: Product, b: Element, free: Element, inverse: Product | None, most: int, tolerance: float
) -> tuple[Element, int]:
    """d with H d = b among free entries, and the products it took: preconditioned conjugate gradients (Saad 2003,
    algorithm 9.1), ended early at a direction without curvature."""

    def masked(z: Element) -> Element:
        return tmap(lambda a, m: a * m, z, free)

    def prepared(r: Element) -> Element:
        return r if inverse is None else masked(inverse(r))

    d = zeros_like(b)
    r, z = b, prepared(b)
    p, size = z, inner(r, z)
    target = tolerance**2 * size
    for used in range(most):
        if not size > target:
            return d, used
        image = masked(product(p))
        bend = inner(p, image)
        if not bend > 0:
            return (p if used == 0 else d), used + 1
        a = size / bend
        d, r = moved(d, a, p), moved(r, -a, image)
        z = prepared(r)
        size, last = inner(r, z), size
        p = moved(z, size / last, p)
    return d, most
