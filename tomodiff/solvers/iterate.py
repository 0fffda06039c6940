"""The loop around a solver: the user's `for` statement is where logging, checkpoints and pictures go."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from numbers import Integral
from typing import Protocol

from tomodiff.array import Element
from tomodiff.core import Functional
from tomodiff.errors import Diverged
from tomodiff.solvers.state import State
from tomodiff.solvers.stopping import MaxIterations, Stop

GROWTH = 1e3
"""A value this many times that of the first step is taken as divergence."""


class Solver(Protocol):
    """Hyper-parameters of an iteration: `start` gives the first state, `step` the next one."""

    def start(self, f: Functional, x: Element) -> State:
        """The state before the first step."""

    def step(self, f: Functional, state: State) -> State:
        """The state one step on; `state` is left as it is."""


def iterate(solver: Solver, f: Functional, x: Element | State, stop: Stop | int) -> Iterator[State]:
    """The states after each step, until `stop` (a rule or a number of iterations) is met.

    `x` is the first estimate, or a State to go on from. Diverged is raised when the value is not finite or has grown
    a thousandfold since the first step.
    """
    rule: Stop = MaxIterations(int(stop)) if isinstance(stop, Integral) else stop  # type: ignore[assignment]
    state = x if isinstance(x, State) else solver.start(f, x)
    while rule(state) is None:
        state = solver.step(f, state)
        check_convergence(state)
        yield state


def solve(solver: Solver, f: Functional, x: Element | State, stop: Stop | int) -> State:
    """The last state of `iterate`; `x` itself, or the start from it, where no step was needed."""
    state = x if isinstance(x, State) else solver.start(f, x)
    for reached in iterate(solver, f, state, stop):
        state = reached
    return state


def check_convergence(state: State) -> None:
    """Raise Diverged if the value of the last step is not finite, or far above that of the first."""
    first, value = state.history[0]["value"], state.metrics["value"]
    if not isfinite(value) or value > GROWTH * abs(first) > 0:
        raise Diverged(
            f"{state.solver} diverged: the objective is {value:.4g} after {state.iteration} iterations, it was "
            f"{first:.4g} after the first. The data may hold NaN or infinite values, or the step is too large"
        )


def require(state: State, solver: str) -> None:
    """Raise ValueError unless `state` was made by the solver of this name."""
    if state.solver != solver:
        raise ValueError(f"{solver}.step: expected a state of {solver}, got one of {state.solver}")
