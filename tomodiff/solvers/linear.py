"""Solvers of linear least squares: SIRT and CGLS.

Both take `Gaussian(data, weights) @ A` with a linear A, that is 1/2 sum w (A x - data)^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

from tomodiff.array import Array, Element, inner, namespace, tmap
from tomodiff.core import Functional, LinearOperator, weigh
from tomodiff.core.functional import Pulled
from tomodiff.objective import Gaussian
from tomodiff.solvers.iterate import require
from tomodiff.solvers.measures import change
from tomodiff.solvers.state import State


def least_squares(f: Functional, solver: str) -> tuple[LinearOperator, Element, Any]:
    """The operator, data and weights of f = Gaussian(data, weights) @ A, or TypeError."""
    if not (isinstance(f, Pulled) and isinstance(f.f, Gaussian) and isinstance(f.A, LinearOperator)):
        raise TypeError(f"{solver}: expected Gaussian(data, weights) @ A with a linear A, got {type(f).__name__}")
    return f.A, f.f.data, f.f.weights


@dataclass(frozen=True)
class Sirt:
    """Simultaneous iterative reconstruction: x <- clip(x - relaxation * C A' R w (A x - data)).

    R = 1 / A 1 and C = 1 / A' w are the inverse row and column sums (zero where a sum is zero), so that any relaxation
    in (0, 2) converges, for A >= 0 and w >= 0, to a minimum of 1/2 sum w R (A x - data)^2 within the bounds (Gilbert
    1972; Gregor and Benson 2008, IEEE TMI 27, 918, eq. 5; the weights enter R and the sums behind C alike).

    Measures, at the x that the step started from: "value", that sum; "residual_norm", |A x - data| weighted by w.
    Memory: x, C and the new x; data, R and the residual (and w).
    """

    relaxation: float = 1.0
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.relaxation < 2:
            raise ValueError(f"Sirt: relaxation: expected a number in (0, 2), got {self.relaxation}")

    def start(self, f: Functional, x: Element) -> State:
        A, data, weights = least_squares(f, "Sirt")
        rows = A.forward(tmap(lambda a: namespace(a).ones_like(a), x))
        ones = tmap(lambda d: namespace(d).ones_like(d), data)
        columns = A.adjoint(weigh(ones, weights))
        return State("Sirt", x, memory={"R": tmap(inverse_sums, rows), "C": tmap(inverse_sums, columns)})

    def step(self, f: Functional, state: State) -> State:
        require(state, "Sirt")
        began, (A, data, weights), x = perf_counter(), least_squares(f, "Sirt"), state.x
        residual = tmap(lambda a, d: _subtract(a, d), A.forward(x), data)
        weighted = weigh(residual, weights)
        residual_norm = max(inner(residual, weighted), 0.0) ** 0.5
        scaled = tmap(lambda a, r: a * r, weighted, state.memory["R"])
        value = 0.5 * inner(residual, scaled)
        del residual, weighted
        new = tmap(self._move, A.adjoint(scaled), state.memory["C"], x)
        return state.advance(
            new,
            state.memory,
            value=value,
            residual_norm=residual_norm,
            relative_change=change(new, x),
            seconds=perf_counter() - began,
        )

    def _move(self, g: Array, c: Array, x: Array) -> Array:
        """The new x, written over the back projection."""
        g *= c
        g *= -self.relaxation
        g += x
        return g if self.low is None and self.high is None else g.clip(self.low, self.high, out=g)


def _subtract(a: Array, b: Array) -> Array:
    a -= b
    return a


def inverse_sums(sums: Array, solver: str = "Sirt") -> Array:
    """1 / sums, zero where a sum is zero; ValueError where one is negative."""
    if bool((sums < 0).any()):
        raise ValueError(f"{solver}: expected an operator with non-negative row and column sums, got negative ones")
    xp = namespace(sums)
    return xp.where(sums > 0, 1 / xp.where(sums > 0, sums, 1), 0)


@dataclass(frozen=True)
class Cgls:
    """Conjugate gradients on the normal equations of 1/2 sum w (A x - data)^2 + damping/2 |x|^2.

    Hestenes and Stiefel (1952); in the form of Bjorck (1996, algorithm 7.4.1), which never forms A' A. Without damping
    the number of iterations regularises: stop by Discrepancy or after a few tens. Weights must be >= 0.

    Measures, at the new x: "value", "residual_norm" (|A x - data| weighted by w) and "gradient_norm".
    Memory: x, direction, gradient and the new x; data, residual and A direction (and one weighted copy).
    """

    damping: float = 0.0

    def __post_init__(self) -> None:
        if not self.damping >= 0:
            raise ValueError(f"Cgls: damping: expected a number >= 0, got {self.damping}")

    def start(self, f: Functional, x: Element) -> State:
        A, data, weights = least_squares(f, "Cgls")
        residual = tmap(_subtract, A.forward(x), data)
        gradient = self._gradient(A, residual, weights, x)
        direction = tmap(lambda g: -g, gradient)
        squared = inner(gradient, gradient)
        return State("Cgls", x, memory={"residual": residual, "direction": direction, "gradient_squared": squared})

    def _gradient(self, A: LinearOperator, residual: Element, weights: Any, x: Element) -> Element:
        gradient = A.adjoint(weigh(residual, weights))
        return tmap(lambda g, a: g + self.damping * a, gradient, x) if self.damping else gradient

    def step(self, f: Functional, state: State) -> State:
        require(state, "Cgls")
        began, (A, _, weights), memory = perf_counter(), least_squares(f, "Cgls"), state.memory
        direction, squared = memory["direction"], memory["gradient_squared"]
        image = A.forward(direction)
        curvature = inner(image, weigh(image, weights)) + self.damping * inner(direction, direction)
        length = squared / curvature if curvature > 0 else 0.0  # zero gradient: the minimum is reached
        x = tmap(lambda a, p: a + length * p, state.x, direction)
        residual = tmap(lambda r, q: r + length * q, memory["residual"], image)
        del image
        gradient = self._gradient(A, residual, weights, x)
        now = inner(gradient, gradient)
        direction = tmap(lambda g, p: (now / squared if squared else 0.0) * p - g, gradient, direction)
        misfit = inner(residual, weigh(residual, weights))
        return state.advance(
            x,
            {"residual": residual, "direction": direction, "gradient_squared": now},
            value=0.5 * (misfit + self.damping * inner(x, x)),
            residual_norm=misfit**0.5,
            gradient_norm=now**0.5,
            relative_change=change(x, state.x),
            seconds=perf_counter() - began,
        )
