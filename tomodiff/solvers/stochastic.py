"""Gradients of subsets of the data with their variance taken out: SVRG and SAGA, with a prior's prox."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from tomodiff.array import Element, norm
from tomodiff.core import Functional
from tomodiff.solvers.iterate import require
from tomodiff.solvers.measures import change, curvature, moved, residual_norm
from tomodiff.solvers.state import State
from tomodiff.solvers.subsets import parts

SAFE = 3.0
"""Steps are 1 / (SAFE L), L the largest curvature of n times a subset (Defazio, Bach and Lacoste-Julien 2014, thm.
1)."""


@dataclass(frozen=True)
class _Stochastic:
    """What both share: a likelihood @ A in `subsets`, a prior with a prox, a step found from the curvature."""

    prior: Functional | None = None
    subsets: int = 10
    step_size: float | None = None
    seed: int = 0

    def _size(self, f: Functional, x: Element, name: str) -> float:
        if self.step_size is not None:
            return self.step_size
        steepest = max(curvature(part, x, 6) for part in parts(f, self.subsets, name))
        return 1 / (SAFE * self.subsets * steepest) if steepest else 1.0

    def _turns(self, state: State) -> np.ndarray:
        """The order of the subsets in this pass."""
        return np.random.default_rng([self.seed, state.iteration]).permutation(self.subsets)

    def _stepped(self, x: Element, m: dict[str, Any], news: Element) -> Element:
        """x after a step along the sum of gradients, of which a subset tells `news`."""
        x = moved(x, -m["step"], moved(m["total"], float(self.subsets), news))
        return x if self.prior is None else self.prior.prox(x, m["step"])

    def _advanced(
        self, f: Functional, state: State, x: Element, memory: dict[str, Any], value: float, slope: float, began: float
    ) -> State:
        residual = residual_norm(f, value)
        value += 0.0 if self.prior is None else float(self.prior(x))
        return state.advance(
            x, memory, value=value, gradient_norm=slope, relative_change=change(x, state.x),
            seconds=perf_counter() - began, **residual,
        )  # fmt: skip


@dataclass(frozen=True)
class Saga(_Stochastic):
    """x <- prox(x - step (n (grad f_s(x) - last grad f_s) + sum of last gradients)) over subsets s in random order
    (Defazio, Bach and Lacoste-Julien 2014, eq. 1).

    A step is a pass.  Takes a likelihood @ A with subsets.  Measures: "value" (each subset
    at the x it met), "gradient_norm" (of the sum of last gradients).  Memory: x, and a gradient for each subset and
    their sum.
    """

    def start(self, f: Functional, x: Element) -> State:
        """The state before the first pass: all gradients at x."""
        grads = [part.value_and_grad(x)[1] for part in parts(f, self.subsets, "Saga")]
        total = grads[0]
        for g in grads[1:]:
            total = moved(total, 1.0, g)
        memory = {f"gradient{s}": g for s, g in enumerate(grads)}
        return State("Saga", x, memory={**memory, "total": total, "step": self._size(f, x, "Saga")})

    def step(self, f: Functional, state: State) -> State:
        """One pass."""
        require(state, "Saga")
        began, x, m, value = perf_counter(), state.x, dict(state.memory), 0.0
        pieces = list(parts(f, self.subsets, "Saga"))
        for s in self._turns(state):
            found, g = pieces[s].value_and_grad(x)
            value += found
            news = moved(g, -1.0, m[f"gradient{s}"])
            x = self._stepped(x, m, news)
            m[f"gradient{s}"], m["total"] = g, moved(m["total"], 1.0, news)
        return self._advanced(f, state, x, m, value, norm(m["total"]), began)


@dataclass(frozen=True)
class Svrg(_Stochastic):
    """x <- prox(x - step (n (grad f_s(x) - grad f_s(x0)) + grad f(x0))), x0 the x of the last full gradient, taken
    before every `every`-th pass (Johnson and Zhang 2013; with a prox: Xiao and Zhang 2014).

    Needs two subset gradients a step of Saga's one, and no memory for them.  Measures: "value" at x0, "gradient_norm"
    there.  Memory: x, x0 and its gradient.
    """

    every: int = 2

    def start(self, f: Functional, x: Element) -> State:
        """The state before the first pass."""
        value, gradient = f.value_and_grad(x)
        memory = {"anchor": x, "total": gradient, "value": value, "step": self._size(f, x, "Svrg")}
        return State("Svrg", x, memory=memory)

    def step(self, f: Functional, state: State) -> State:
        """One pass."""
        require(state, "Svrg")
        began, x, m = perf_counter(), state.x, dict(state.memory)
        if state.iteration and state.iteration % self.every == 0:
            m["value"], m["total"] = f.value_and_grad(x)
            m["anchor"] = x
        pieces = list(parts(f, self.subsets, "Svrg"))
        for s in self._turns(state):
            news = moved(pieces[s].value_and_grad(x)[1], -1.0, pieces[s].value_and_grad(m["anchor"])[1])
            x = self._stepped(x, m, news)
        return self._advanced(f, state, x, m, m["value"], norm(m["total"]), began)
