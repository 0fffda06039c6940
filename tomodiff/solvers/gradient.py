"""Gradient methods with a line search, for smooth functionals of any kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from time import perf_counter
from typing import Any

from tomodiff.array import Element, inner, norm, tmap
from tomodiff.core import Functional
from tomodiff.errors import Diverged
from tomodiff.solvers.iterate import require
from tomodiff.solvers.measures import change, curvature, inner_of_moves, inner_with_move, residual_norm
from tomodiff.solvers.state import State

SUFFICIENT = 1e-4
"""The share of the predicted decrease that a step must reach (Armijo 1966)."""
HALVINGS = 30
"""Halvings of a step after which a gradient is taken for wrong."""

ROUNDING = 1e-5
"""A predicted relative decrease that float32 may not be able to show."""


def search(
    f: Functional, x: Element, gradient: Element, ceiling: float, along: Callable[[float], Element], length: float
) -> tuple[Element, float, Element, float] | None:
    """The first of along(length), along(length / 2), ... that is low enough: the point, its value, gradient, length.

    Low enough is below `ceiling` by a share of the decrease that the gradient predicts. Where rounding hides that
    decrease, the slope at the first point may show it instead (approximate Wolfe condition: Hager and Zhang 2005, SIAM
    J. Optim. 16, 170, eq. 4.1). None if no point is low enough, and even the first promised no more than the
    rounding of the objective: x is the minimum in this precision.
    """
    promised = 0.0
    for _ in range(HALVINGS):
        trial = along(length)
        value, trial_gradient = f.value_and_grad(trial)
        predicted = inner_with_move(gradient, trial, x)
        hidden = (
            promised == 0 and value <= ceiling + ROUNDING * abs(ceiling) and abs(predicted) <= ROUNDING * abs(ceiling)
        )
        flat = hidden and inner_with_move(trial_gradient, trial, x) <= (2 * SUFFICIENT - 1) * predicted
        promised = promised or predicted
        if isfinite(value) and (flat or value <= ceiling + SUFFICIENT * predicted):
            return trial, value, trial_gradient, length
        length /= 2
    if abs(promised) <= ROUNDING * abs(ceiling):
        return None
    raise Diverged(f"no step against the gradient lowers the objective from {ceiling:.6g}: is the gradient wrong?")


@dataclass(frozen=True)
class Gradient:
    """Spectral projected gradient: x <- P(x - step * grad f), P the prox of a constraint such as NonNegative.

    Steps of Barzilai and Borwein (1988), accepted when below the worst of the last ten values (Birgin, Martinez and
    Raydan 2000, algorithm SPG1). The first step is 1 / curvature.

    Measures, at the new x: "value", "gradient_norm" (of the last move over its step, as bounds stop the gradient
    itself from vanishing), "residual_norm" for a Gaussian f. Memory: x, gradient, and both at the new x.
    """

    constraint: Functional | None = None
    window: int = 10

    def start(self, f: Functional, x: Element) -> State:
        x = x if self.constraint is None else self.constraint.prox(x, 0.0)
        value, gradient = f.value_and_grad(x)
        steepness = curvature(f, x)
        size = 1 / steepness if steepness else 1.0
        return State("Gradient", x, memory={"value": value, "gradient": gradient, "step": size})

    def step(self, f: Functional, state: State) -> State:
        require(state, "Gradient")
        began, x, gradient, size = perf_counter(), state.x, state.memory["gradient"], state.memory["step"]

        def along(length: float) -> Element:
            moved = tmap(lambda a, g: a - length * g, x, gradient)
            return moved if self.constraint is None else self.constraint.prox(moved, 0.0)

        recent = [step["value"] for step in state.history[-self.window :]]
        ceiling = max([state.memory["value"], *recent])
        found = search(f, x, gradient, ceiling, along, size)
        new, value, new_gradient, size = found or (x, state.memory["value"], gradient, size)
        moved, bent = inner_of_moves(new, x, new, x), inner_of_moves(new, x, new_gradient, gradient)
        return state.advance(
            new,
            {"value": value, "gradient": new_gradient, "step": moved / bent if bent > 0 and moved > 0 else size},
            value=value,
            gradient_norm=moved**0.5 / size,
            relative_change=change(new, x),
            seconds=perf_counter() - began,
            **residual_norm(f, value),
        )


@dataclass(frozen=True)
class Lbfgs:
    """Limited-memory BFGS (Nocedal 1980; the two-loop recursion of Nocedal and Wright 2006, algorithm 7.4).

    `pairs` moves and gradient changes are remembered; a pair of no positive curvature is not. Backtracking line
    search. No bounds.

    Measures, at the new x: "value", "gradient_norm", "residual_norm" for a Gaussian f. Memory: 2 * pairs arrays, x,
    gradient, direction, and x and gradient at the new point.
    """

    pairs: int = 5

    def start(self, f: Functional, x: Element) -> State:
        value, gradient = f.value_and_grad(x)
        steepness = curvature(f, x)
        scale = 1 / steepness if steepness else 1.0
        return State("Lbfgs", x, memory={"value": value, "gradient": gradient, "pairs": {}, "scale": scale})

    def step(self, f: Functional, state: State) -> State:
        require(state, "Lbfgs")
        began, x, memory = perf_counter(), state.x, state.memory
        gradient, pairs = memory["gradient"], list(memory["pairs"].values())
        direction = _two_loops(gradient, pairs, memory["scale"])

        def along(length: float) -> Element:
            return tmap(lambda a, d: a - length * d, x, direction)

        found = search(f, x, gradient, memory["value"], along, 1.0)
        new, value, new_gradient, _ = found or (x, memory["value"], gradient, 1.0)
        move, bend = tmap(lambda a, b: a - b, new, x), tmap(lambda a, b: a - b, new_gradient, gradient)
        curved, bend_squared, scale = inner(move, bend), inner(bend, bend), memory["scale"]
        if curved > 1e-10 * norm(move) * bend_squared**0.5:
            pairs = [*pairs, {"move": move, "bend": bend, "curved": curved}][-self.pairs :]
            scale = curved / bend_squared
        return state.advance(
            new,
            {
                "value": value,
                "gradient": new_gradient,
                "pairs": {str(i): pair for i, pair in enumerate(pairs)},
                "scale": scale,
            },
            value=value,
            gradient_norm=norm(new_gradient),
            relative_change=change(new, x),
            seconds=perf_counter() - began,
            **residual_norm(f, value),
        )


def _two_loops(gradient: Element, pairs: list[dict[str, Any]], scale: float) -> Element:
    """The inverse Hessian that the pairs and the scale stand for, times the gradient."""
    q, shares = gradient, []
    for pair in reversed(pairs):
        share = inner(pair["move"], q) / pair["curved"]
        q = tmap(lambda a, b, c=share: a - c * b, q, pair["bend"])
        shares.append(share)
    q = tmap(lambda a: scale * a, q)
    for pair, share in zip(pairs, reversed(shares), strict=True):
        excess = share - inner(pair["bend"], q) / pair["curved"]
        q = tmap(lambda a, s, c=excess: a + c * s, q, pair["move"])
    return q
