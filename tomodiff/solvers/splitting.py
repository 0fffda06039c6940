"""Splitting a misfit from a prior by a copy of the unknown: ADMM and half quadratic splitting, plug and play or not."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from tomodiff.array import Element, namespace, norm, tmap, zeros_like
from tomodiff.core import Functional, LinearOperator, operator_norm
from tomodiff.solvers.gauss_newton import solve_free
from tomodiff.solvers.iterate import require
from tomodiff.solvers.measures import change, curvature, residual_norm, value_after
from tomodiff.solvers.state import State
from tomodiff.solvers.terms import has_prox

BALANCE = 0.1
"""The weight of the splitting at first, over the largest curvature of the misfit."""
UNBALANCED, FACTOR = 10.0, 2.0
"""When and by how much the weight changes (Boyd et al. 2011, eq. 3.13)."""
CALM = 50
"""Iterations after which the weight stays as it is, so that the iteration converges."""


def proximal_point(
    f: Functional, x: Element, to: Element, weight: float, K: LinearOperator | None, products: int, tolerance: float
) -> tuple[Element, float]:
    """About argmin over x of f(x) + weight/2 |K x - to|^2, and a value of f: by the prox of f and there, where it has
    one and K is the identity; else by one Gauss-Newton step of conjugate gradients, exact for a quadratic f when they
    are run to their end, and at the x that it starts from."""
    if K is None and has_prox(f):
        made = f.prox(to, 1 / weight)
        return made, float(f(made))
    value, gradient, product = f.quadratic(x)
    off = tmap(lambda a, b: weight * (a - b), x if K is None else K.forward(x), to)
    slope = tmap(lambda g, o: -g - o, gradient, off if K is None else K.adjoint(off))

    def whole(d: Element) -> Element:
        stretched = d if K is None else K.adjoint(K.forward(d))
        return tmap(lambda a, b: a + weight * b, product(d), stretched)

    free = tmap(lambda a: namespace(a).ones_like(a), x)
    d, _ = solve_free(whole, slope, free, None, products, tolerance)
    return tmap(lambda a, b: a + b, x, d), value


@dataclass(frozen=True)
class Admm:
    """min f(x) + prior(K x): alternating direction method of multipliers in scaled form (Boyd et al. 2011, section
    3.1.1).

    f: with a quadratic model (Gaussian, Poisson, Huber ... @ A) or a prox of its own; prior: with a prox, which may be
    a denoiser's (PlugAndPlay); through: K, None for the identity.  Each step minimises f + weight/2 |K x - z + u|^2 by
    `products` conjugate-gradient products from where the last one ended.  The weight, which None finds from the
    curvature of f, is kept in balance by the residuals for the first steps.

    Measures, at the new x: "value" (f at the x that the step started from, plus the prior at z), "primal" |K x - z|,
    "dual".  Memory: x, z, u, gradient and three arrays of conjugate gradients.
    """

    prior: Functional
    through: LinearOperator | None = None
    weight: float | None = None
    products: int = 10
    tolerance: float = 1e-3

    def start(self, f: Functional, x: Element) -> State:
        """The state before the first step."""
        weight = self.weight
        if weight is None:
            size = (
                1.0 if self.through is None else operator_norm(self.through, np.random.default_rng(0), xp=namespace(x))
            )
            weight = BALANCE * curvature(f, x) / max(size, 1e-30) ** 2 or 1.0
        z = self._image(x)
        u = zeros_like(z)
        return State("Admm", x, memory={"z": z, "u": u, "weight": float(weight), "prior": {}})

    def _image(self, x: Element) -> Element:
        return x if self.through is None else self.through.forward(x)

    def step(self, f: Functional, state: State) -> State:
        """One move of x, of z and of the multipliers."""
        require(state, "Admm")
        began, m, weight = perf_counter(), state.memory, state.memory["weight"]
        to = tmap(lambda a, b: a - b, m["z"], m["u"])
        x, value = proximal_point(f, state.x, to, weight, self.through, self.products, self.tolerance)
        image = self._image(x)
        z, prior = self.prior.prox_warm(tmap(lambda a, b: a + b, image, m["u"]), 1 / weight, m["prior"])
        gap = tmap(lambda a, b: a - b, image, z)
        u = tmap(lambda a, b: a + b, m["u"], gap)
        moved = tmap(lambda a, b: weight * (a - b), z, m["z"])
        primal, dual = norm(gap), norm(moved if self.through is None else self.through.adjoint(moved))
        factor = 1.0
        if self.weight is None and state.iteration < CALM:
            if primal > UNBALANCED * dual / weight:
                factor = FACTOR
            elif dual / weight > UNBALANCED * primal:
                factor = 1 / FACTOR
        if factor != 1:
            u = tmap(lambda a: a / factor, u)
        memory = {"z": z, "u": u, "weight": weight * factor, "prior": prior}
        return state.advance(
            x, memory, value=value + value_after(self.prior, z, prior), primal=primal, dual=dual,
            relative_change=change(x, state.x), seconds=perf_counter() - began, **residual_norm(f, value),
        )  # fmt: skip


@dataclass(frozen=True)
class HalfQuadratic:
    """x <- argmin f(x) + weight/2 |x - z|^2, z <- prox of the prior at x with step 1/weight, the weight growing by
    `growth` each step (Geman and Yang 1995; with a denoiser: Zhang et al. 2017, eq. 6).

    f and prior as of Admm.  weight None starts at a tenth of the curvature of f.  Measures: "value" (f at the x that
    the step started from), "weight".  Memory: x, z and four arrays of conjugate gradients.
    """

    prior: Functional
    weight: float | None = None
    growth: float = 1.3
    products: int = 10
    tolerance: float = 1e-3

    def start(self, f: Functional, x: Element) -> State:
        """The state before the first step."""
        weight = BALANCE * curvature(f, x) or 1.0 if self.weight is None else self.weight
        return State("HalfQuadratic", x, memory={"weight": float(weight), "prior": {}})

    def step(self, f: Functional, state: State) -> State:
        """One step of each."""
        require(state, "HalfQuadratic")
        began, weight = perf_counter(), state.memory["weight"]
        z, prior = self.prior.prox_warm(state.x, 1 / weight, state.memory["prior"])
        x, value = proximal_point(f, state.x, z, weight, None, self.products, self.tolerance)
        return state.advance(
            x, {"weight": weight * self.growth, "prior": prior}, value=value, weight=weight,
            relative_change=change(x, state.x), seconds=perf_counter() - began, **residual_norm(f, value),
        )  # fmt: skip
