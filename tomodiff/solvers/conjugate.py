"""Preconditioned conjugate gradients for symmetric positive systems that are known by their action alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from tomodiff.array import Array, inner
from tomodiff.errors import Diverged
from tomodiff.solvers.state import State


@dataclass(frozen=True)
class NormalCg:
    """x -> the solution of H x = b (Hestenes and Stiefel 1952; Saad 2003, algorithm 9.1), H and the preconditioner
    functions of an array.

    For least squares whose data are too many to keep: H = A' W A and b = A' W y are passes over them, made elsewhere.
    Measures: "value" (x' H x / 2 - b' x), "gradient_norm" (|H x - b|).  Memory: five arrays of the size of x.
    """

    apply: Callable[[Array], Array] = field(repr=False)
    precondition: Callable[[Array], Array] = field(default=lambda r: r, repr=False)

    def start(self, b: Array, x: Array) -> State:
        """The state before the first step."""
        residual = b - self.apply(x)
        z = self.precondition(residual)
        memory: dict[str, Any] = {"b": b, "residual": residual, "direction": z.copy(), "size": inner(residual, z)}
        return State("NormalCg", x.copy(), memory=memory)

    def step(self, state: State) -> State:
        """One more product with H."""
        began, m = perf_counter(), state.memory
        image = self.apply(m["direction"])
        bend = inner(m["direction"], image)
        if bend < 0:
            raise Diverged(f"NormalCg: expected a positive system, found a direction of curvature {bend:.3g}")
        length = m["size"] / bend if bend > 0 else 0.0
        x = state.x + length * m["direction"]
        residual = m["residual"] - length * image
        z = self.precondition(residual)
        size = inner(residual, z)
        direction = z + (size / m["size"] if m["size"] > 0 else 0.0) * m["direction"]
        memory = {"b": m["b"], "residual": residual, "direction": direction, "size": size}
        value = -0.5 * (inner(x, m["b"]) + inner(x, residual))
        moved = abs(length) * inner(m["direction"], m["direction"]) ** 0.5
        return state.advance(
            x, memory, value=value, gradient_norm=inner(residual, residual) ** 0.5,
            relative_change=moved / max(inner(x, x) ** 0.5, 1e-30), seconds=perf_counter() - began,
        )  # fmt: skip

    def iterate(self, b: Array, x: Array | State, steps: int, tolerance: float = 0.0) -> Iterator[State]:
        """States until `steps` are done or a step moves x by less than `tolerance` of its norm."""
        state = x if isinstance(x, State) else self.start(b, x)
        while state.iteration < steps:
            state = self.step(state)
            yield state
            if state.metrics["relative_change"] < tolerance:
                return
