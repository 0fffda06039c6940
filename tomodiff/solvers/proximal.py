"""Accelerated proximal gradients: a smooth misfit and a prior with a prox."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

from tomodiff.array import Array, Element, tmap
from tomodiff.core import Functional
from tomodiff.solvers.iterate import require
from tomodiff.solvers.measures import change, curvature, inner_of_moves, residual_norm, value_after
from tomodiff.solvers.state import State

MARGIN = 1.05
"""The step is 1 / (MARGIN * curvature): power iteration comes from below."""
RISE = 1e-3
"""A relative rise of the objective that inexact proxes and float32 do not explain."""
ROUNDING = 1e-5
"""The relative error that the value of f may have in float32."""


@dataclass(frozen=True)
class Fista:
    """min f(x) + prior(x): x <- prox(y - step * grad f(y)), y <- x + beta (x - last x).

    Beck and Teboulle (2009, SIAM J. Imaging Sci. 2, 183), with the gradient restart of O'Donoghue and Candes (2015,
    eq. 12) unless `restart` is off. Without prior it is Nesterov's gradient method. `step_size` None is found by power
    iteration (13 gradients at the start). A step that is too large is halved: f is evaluated twice without momentum
    after every restart, and the second value must obey the quadratic bound of the paper (eq. 2.6) from the first.

    Measures "value", f at the y that the step started from plus the prior at the new x; "residual_norm" there for a
    Gaussian f; "gradient_norm", |y - new x| / step; "step". Memory: x, y, gradient, new x and new y, and what f and the
    prior need.
    """

    prior: Functional | None = None
    step_size: float | None = None
    restart: bool = True

    def __post_init__(self) -> None:
        if self.step_size is not None and not self.step_size > 0:
            raise ValueError(f"Fista: step_size: expected a number > 0 or None, got {self.step_size}")

    def start(self, f: Functional, x: Element) -> State:
        steepness = curvature(f, x) * MARGIN if self.step_size is None else 1 / self.step_size
        memory = {
            "y": x,
            "t": 1.0,
            "step": 1 / steepness if steepness else 1.0,
            "bound": None,
            "prior": {},
        }
        return State("Fista", x, memory=memory)

    def step(self, f: Functional, state: State) -> State:
        require(state, "Fista")
        began, x, memory = perf_counter(), state.x, state.memory
        y, t = memory["y"], memory["t"]
        value, gradient = f.value_and_grad(y)
        too_large = memory["bound"] is not None and value > memory["bound"] + ROUNDING * abs(value)
        t, size = (1.0, memory["step"] / 2) if too_large else (t, memory["step"])
        descended = tmap(lambda g, a: _descend(g, a, size), gradient, y)
        new, prior_memory = self._prox(descended, size, memory["prior"])
        predicted = -inner_of_moves(y, descended, y, new) / size
        moved = inner_of_moves(y, new, y, new)
        prior_value = 0.0 if self.prior is None else value_after(self.prior, new, prior_memory)
        growing = bool(state.history) and value + prior_value > state.metrics["value"] * (1 + RISE)
        again = self.restart and (growing or inner_of_moves(y, new, new, x) > 0)
        following = 1.0 if again else 0.5 * (1 + (1 + 4 * t * t) ** 0.5)
        beta = 0.0 if again else (t - 1) / following
        memory = {
            "y": new if beta == 0 else tmap(lambda a, b: a + beta * (a - b), new, x),
            "t": following,
            "step": size,
            "bound": value + predicted + moved / (2 * size) if t == 1.0 else None,
            "prior": prior_memory,
        }
        return state.advance(
            new,
            memory,
            value=value + prior_value,
            gradient_norm=moved**0.5 / size,
            relative_change=change(new, x),
            step=size,
            seconds=perf_counter() - began,
            **residual_norm(f, value),
        )

    def _prox(self, x: Element, size: float, memory: dict[str, Any]) -> tuple[Element, dict[str, Any]]:
        return (x, memory) if self.prior is None else self.prior.prox_warm(x, size, memory)


def _descend(gradient: Array, y: Array, size: float) -> Array:
    """y - size * gradient, written over the gradient."""
    gradient *= -size
    gradient += y
    return gradient
