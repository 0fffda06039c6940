"""Adam, for objectives whose gradient is drawn at random or whose unknowns differ in scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from time import perf_counter
from typing import Any

import numpy as np

from tomodiff.array import Array, Element, namespace, norm, tmap, zeros_like
from tomodiff.core import Functional
from tomodiff.errors import Diverged
from tomodiff.solvers.iterate import require
from tomodiff.solvers.measures import change, residual_norm
from tomodiff.solvers.state import State

SHARE = 0.01
"""The first move of an entry, as a share of the root mean square of x."""


@dataclass(frozen=True)
class Adam:
    """Moves of about `rate` along each entry's smoothed gradient over its smoothed size (Kingma and Ba 2015, alg. 1).

    rate: a number, or one for each name, in the unit of x; None takes 1 % of the root mean square of the start (of 1
    where that is zero).  decay: the rate at step k is rate / (1 + decay k).  masked: entries whose gradient is exactly
    zero rest, and their averages with them (what no ray of this draw has met).  constraint: its prox follows every
    move.  An objective that draws (`Functional.draw`) does so from `seed` and the number of the step, so that a run
    resumes as if it had not stopped.

    Measures, at the x that the step started from: "value", "gradient_norm".  Memory: x, two averages, gradient, new x.
    """

    rate: float | Mapping[str, float] | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    decay: float = 0.0
    masked: bool = False
    constraint: Functional | None = None
    seed: int = 0

    def start(self, f: Functional, x: Element) -> State:
        """The state before the first step."""
        rates = tmap(self._rate, x) if not isinstance(self.rate, Mapping) else {n: float(self.rate[n]) for n in x}
        zero = zeros_like(x)
        squares = tmap(lambda a: namespace(a).zeros_like(a.real), x)
        steps = tmap(lambda a: namespace(a).zeros(a.shape, "int32"), x) if self.masked else None
        memory = {"rates": rates, "mean": zero, "square": squares, "steps": steps}
        return State("Adam", x, memory=memory)

    def _rate(self, a: Array) -> float:
        if self.rate is not None:
            return float(self.rate)  # type: ignore[arg-type]
        size = norm(a) / max(a.size, 1) ** 0.5
        return SHARE * (size or 1.0)

    def step(self, f: Functional, state: State) -> State:
        """One move."""
        require(state, "Adam")
        began, memory = perf_counter(), state.memory
        drawn = f.draw(np.random.default_rng([self.seed, state.iteration]))
        value, gradient = drawn.value_and_grad(state.x)
        if not isfinite(value):
            raise Diverged("Adam: the objective is not finite: the data or the start hold NaN or infinities")
        steps = tmap(lambda a: state.iteration, state.x) if memory["steps"] is None else memory["steps"]
        moved = tmap(self._moved, state.x, gradient, memory["mean"], memory["square"], steps, memory["rates"])
        x, mean, square, counts = (_part(moved, i) for i in range(4))
        if self.constraint is not None:
            x = self.constraint.prox(x, 0.0)
        memory = {**memory, "mean": mean, "square": square, "steps": None if memory["steps"] is None else counts}
        return state.advance(
            x, memory, value=value, gradient_norm=norm(gradient), relative_change=change(x, state.x),
            seconds=perf_counter() - began, **residual_norm(f, value),
        )  # fmt: skip

    def _moved(self, x: Array, g: Array, mean: Array, square: Array, steps: Any, rate: float) -> tuple[Array, ...]:
        """The new x, averages, and number of moves of an array."""
        b1, b2 = self.betas
        xp = namespace(x)
        now = steps + 1
        new_mean, new_square = b1 * mean + (1 - b1) * g, b2 * square + (1 - b2) * (g * g.conj()).real
        if self.masked:
            still = g == 0
            now = xp.where(still, steps, now).astype("int32")
            new_mean, new_square = xp.where(still, mean, new_mean), xp.where(still, square, new_square)
            count = xp.maximum(now, 1).astype(x.real.dtype)
        else:
            still, count = None, now
        size = (new_square / (1 - b2**count)) ** 0.5 + float(np.finfo(x.real.dtype).tiny) ** 0.5
        length = rate / (1 + self.decay * (count - 1))
        move = length * (new_mean / (1 - b1**count)) / size
        return (x - (move if still is None else xp.where(still, 0, move))).astype(x.dtype), new_mean, new_square, now


def _part(moved: Any, i: int) -> Element:
    return {name: parts[i] for name, parts in moved.items()} if isinstance(moved, dict) else moved[i]
