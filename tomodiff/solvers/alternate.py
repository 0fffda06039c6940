"""Block coordinates: named inputs by turns, each with a solver of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from tomodiff.array import Element
from tomodiff.core import Functional
from tomodiff.solvers.iterate import check_convergence, require
from tomodiff.solvers.measures import change, residual_norm
from tomodiff.solvers.state import State


@dataclass(frozen=True)
class Alternate:
    """A step: for each block, `steps` steps of its solver on f as a function of the block's inputs, the others held.

    blocks: (names, solver, steps) in their order; names is one name or several, joined by commas.  A solver starts
    afresh in each turn, as what it remembers of the last one belongs to another functional.  Measures, at the new x:
    "value", and "value_NAMES" after each block.  Memory: that of one solver at a time.
    """

    blocks: tuple[tuple[str, Any, int], ...]

    def start(self, f: Functional, x: Mapping[str, Any]) -> State:
        """The state before the first turn."""
        if not isinstance(x, Mapping):
            raise TypeError(f"Alternate: expected a dict of arrays, got {type(x).__name__}")
        unknown = {name for names, _, _ in self.blocks for name in names.split(",")} - set(x)
        if unknown:
            raise ValueError(f"Alternate: blocks: expected names among {sorted(x)}, got {sorted(unknown)}")
        return State("Alternate", dict(x))

    def step(self, f: Functional, state: State) -> State:
        """One turn of every block."""
        require(state, "Alternate")
        began, x, value, measured = perf_counter(), dict(state.x), float("nan"), {}
        for names, solver, steps in self.blocks:
            some = names.split(",")
            g = f.restrict(x, some)
            inner_state = solver.start(g, self._taken(x, some))
            for _ in range(steps):
                inner_state = solver.step(g, inner_state)
                check_convergence(inner_state)
            value = float(g(inner_state.x))
            x.update(inner_state.x if len(some) > 1 else {some[0]: inner_state.x})
            measured[f"value_{names}"] = value
        return state.advance(
            x, {}, value=value, relative_change=change(x, state.x), seconds=perf_counter() - began,
            **measured, **residual_norm(f, value),
        )  # fmt: skip

    @staticmethod
    def _taken(x: dict[str, Any], names: list[str]) -> Element:
        return {name: x[name] for name in names} if len(names) > 1 else x[names[0]]
