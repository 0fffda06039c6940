"""Nonlinear conjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

from tomodiff.array import Element, inner, norm, tmap
from tomodiff.core import Functional
from tomodiff.solvers.gradient import search
from tomodiff.solvers.iterate import require
from tomodiff.solvers.measures import change, curvature, residual_norm
from tomodiff.solvers.state import State


@dataclass(frozen=True)
class NonlinearCg:
    """Conjugate gradients of any smooth functional (Polak and Ribiere 1969, restarted where beta < 0: Gilbert and
    Nocedal 1992), each direction turned against the gradient where it would not descend.

    The length of a step is that of the minimum of the parabola through value, slope, and slope at the last length;
    backtracking from there.  Measures, at the new x: "value", "gradient_norm", "residual_norm" for a Gaussian f.
    Memory: x, gradient, direction, and x and gradient at the new point.
    """

    def start(self, f: Functional, x: Element) -> State:
        """The state before the first step."""
        value, gradient = f.value_and_grad(x)
        steepness = curvature(f, x)
        memory = {
            "value": value, "gradient": gradient, "direction": tmap(lambda g: -g, gradient),
            "length": 1 / steepness if steepness else 1.0,
        }  # fmt: skip
        return State("NonlinearCg", x, memory=memory)

    def step(self, f: Functional, state: State) -> State:
        """One search along the direction."""
        require(state, "NonlinearCg")
        began, x, m = perf_counter(), state.x, state.memory
        gradient, direction = m["gradient"], m["direction"]

        def along(length: float) -> Element:
            return tmap(lambda a, d: a + length * d, x, direction)

        slope, length = inner(gradient, direction), m["length"]
        if slope < 0:
            bent = inner(f.value_and_grad(along(length))[1], direction) - slope
            length = -slope * length / bent if bent > 0 else 2 * length
        found = search(f, x, gradient, m["value"], along, length)
        new, value, new_gradient, length = found or (x, m["value"], gradient, m["length"])
        squared = inner(gradient, gradient)
        beta = (
            max(0.0, (inner(new_gradient, new_gradient) - inner(new_gradient, gradient)) / squared) if squared else 0.0
        )
        turned = tmap(lambda g, d: beta * d - g, new_gradient, direction)
        if inner(turned, new_gradient) >= 0:
            turned = tmap(lambda g: -g, new_gradient)
        memory = {"value": value, "gradient": new_gradient, "direction": turned, "length": length}
        return state.advance(
            new, memory, value=value, gradient_norm=norm(new_gradient), relative_change=change(new, x),
            seconds=perf_counter() - began, **residual_norm(f, value),
        )  # fmt: skip
