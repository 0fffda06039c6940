"""Ordered subsets of views: OS-SART of least squares, MLEM and OSEM of counts.

A step is a pass over all data; its `subsets` take turns in an order that keeps neighbours apart (Guan and Gordon 1994).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from tomodiff.array import Array, Element, inner, namespace
from tomodiff.core import Functional, LinearOperator, weigh
from tomodiff.core.functional import Pulled
from tomodiff.objective import Poisson
from tomodiff.solvers.iterate import require
from tomodiff.solvers.linear import inverse_sums, least_squares
from tomodiff.solvers.measures import change
from tomodiff.solvers.state import State


def order(subsets: int) -> list[int]:
    """The numbers 0 ... subsets - 1, each far from those before it: bits read backwards."""
    bits = max(subsets - 1, 1).bit_length()
    return [r for r in (int(f"{k:0{bits}b}"[::-1], 2) for k in range(2**bits)) if r < subsets]


def parts(f: Functional, subsets: int, solver: str) -> Iterator[Any]:
    """The functional of each subset of the views, in turn; f is a likelihood @ A."""
    if not isinstance(f, Pulled) or isinstance(f.A.range, Mapping):
        raise TypeError(f"{solver}: expected a likelihood @ A with data in one array, got {type(f).__name__}")
    views = f.A.range.shape[0]
    if not 1 <= subsets <= views:
        raise ValueError(f"{solver}: subsets: expected 1 to {views} (views), got {subsets}")
    for first in order(subsets):
        yield f[slice(first, None, subsets)] if subsets > 1 else f


@dataclass(frozen=True)
class OsSart:
    """Sirt on a subset of the views after the other (Andersen and Kak 1984; Wang and Jiang 2004, eq. 9): x <- clip(x -
    relaxation C_s A_s' R_s w (A_s x - data_s)), the relaxation falling as 1 / (1 + decay k) with the pass k.

    Takes Gaussian(data, weights) @ A with an A >= 0 that has subsets (A[views]).  Measures, at the x that each subset
    met: "value", 1/2 sum w R (A x - data)^2; "residual_norm".  Memory: x, and of each subset C; data, R and a residual.
    """

    subsets: int = 10
    relaxation: float = 1.0
    decay: float = 0.0
    low: float | None = None
    high: float | None = None

    def start(self, f: Functional, x: Element) -> State:
        """The state before the first pass."""
        least_squares(f, "OsSart")
        memory: dict[str, Any] = {}
        for s, part in enumerate(parts(f, self.subsets, "OsSart")):
            A, data, weights = least_squares(part, "OsSart")
            xp = namespace(data)
            ones = weigh(xp.ones_like(data), weights)
            memory[f"R{s}"] = inverse_sums(A.forward(xp.ones_like(x)), "OsSart")
            memory[f"C{s}"] = inverse_sums(A.adjoint(ones), "OsSart")
        return State("OsSart", x, memory=memory)

    def step(self, f: Functional, state: State) -> State:
        """One pass over all views."""
        require(state, "OsSart")
        began, x, value, squared = perf_counter(), state.x, 0.0, 0.0
        length = self.relaxation / (1 + self.decay * state.iteration)
        for s, part in enumerate(parts(f, self.subsets, "OsSart")):
            A, data, weights = least_squares(part, "OsSart")
            residual = A.forward(x) - data
            weighted = weigh(residual, weights)
            squared += max(inner(residual, weighted), 0.0)
            scaled = weighted * state.memory[f"R{s}"]
            value += 0.5 * inner(residual, scaled)
            x = x - length * (A.adjoint(scaled) * state.memory[f"C{s}"])
            if self.low is not None or self.high is not None:
                x = x.clip(self.low, self.high)
        return state.advance(
            x, state.memory, value=value, residual_norm=squared**0.5, relative_change=change(x, state.x),
            seconds=perf_counter() - began,
        )  # fmt: skip


@dataclass(frozen=True)
class Osem:
    """x <- x / (A_s' 1) A_s' (counts_s / (A_s x + background)), subset after subset (Shepp and Vardi 1982; Hudson and
    Larkin 1994).  One subset is MLEM, whose value never rises.

    Takes Poisson(counts, background) @ A with A >= 0; x > 0 to start from (an entry of zero stays zero).
    Measures, at the x that each subset met: "value", half the deviance.  Memory: x, and of each subset A_s' 1.
    """

    subsets: int = 1

    def start(self, f: Functional, x: Array) -> State:
        """The state before the first pass."""
        self._taken(f)
        if bool((x < 0).any()) or not bool((x > 0).any()):
            raise ValueError("Osem: x: expected numbers >= 0, some of them above: zeros never change")
        memory = {}
        for s, part in enumerate(parts(f, self.subsets, "Osem")):
            memory[f"C{s}"] = inverse_sums(part.A.adjoint(namespace(x).ones_like(part.f.counts)), "Osem")
        return State("Osem", x, memory=memory)

    def step(self, f: Functional, state: State) -> State:
        """One pass over all views."""
        require(state, "Osem")
        began, x, value = perf_counter(), state.x, 0.0
        self._taken(f)
        for s, part in enumerate(parts(f, self.subsets, "Osem")):
            found, slope = part.f.value_and_grad(part.A.forward(x))
            value += found
            x = x * (state.memory[f"C{s}"] * part.A.adjoint(1 - slope))
        return state.advance(
            x, state.memory, value=value, relative_change=change(x, state.x), seconds=perf_counter() - began
        )

    @staticmethod
    def _taken(f: Functional) -> None:
        if not (isinstance(f, Pulled) and isinstance(f.f, Poisson) and isinstance(f.A, LinearOperator)):
            raise TypeError(f"Osem: expected Poisson(counts, background) @ A with a linear A, got {type(f).__name__}")
