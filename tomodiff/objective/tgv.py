"""Total generalised variation of second order: piecewise linear where total variation is piecewise constant."""

from __future__ import annotations

from typing import Any

from tomodiff.array import Array, namespace, norm
from tomodiff.core import Functional
from tomodiff.objective.differences import Differences, Strains
from tomodiff.objective.penalty import GroupL1

LOOK_EVERY = 10
"""Iterations between two looks at the change."""


class TotalGeneralizedVariation(Functional):
    """min over vector fields w of sum |D x - w| + ratio sum |E w|, E the symmetrised derivative (Bredies, Kunisch and
    Pock 2010, eq. 3.5, over alpha_1; ratio = alpha_0 / alpha_1, a length in the unit of the spacing, about 2 voxels).

    Value and prox come from a preconditioned primal-dual iteration (Pock and Chambolle 2011), ended when x, or the
    value, changes by at most `accuracy` of itself between looks, or after `iterations`.  1 to 3 axes.  `prox_warm` goes
    on from the dual fields of the call before.  Memory: with d axes 2 + 3 d + d (d + 1) / 2 arrays of the size of x.
    """

    def __init__(self, spacing: Any = 1.0, ratio: float = 2.0, iterations: int = 500, accuracy: float = 1e-4) -> None:
        if not ratio > 0 or iterations < 1 or accuracy < 0:
            raise ValueError(
                "TotalGeneralizedVariation: expected ratio > 0, iterations >= 1, accuracy >= 0, "
                f"got {ratio}, {iterations}, {accuracy}"
            )
        self.spacing, self.ratio, self.iterations, self.accuracy = spacing, float(ratio), iterations, accuracy

    def __call__(self, x: Array) -> float:
        if x.size < 2:
            return 0.0
        return float(self._solve(x, None, {})[1])

    def prox(self, x: Array, step: Any) -> Array:
        return self.prox_warm(x, step, {})[0]

    def prox_warm(self, x: Array, step: Any, memory: dict[str, Any]) -> tuple[Array, dict[str, Any]]:
        step = float(step)
        if not step >= 0:
            raise ValueError(f"TotalGeneralizedVariation.prox: step: expected a number >= 0, got {step}")
        if step == 0 or x.size < 2:
            return x.copy(), memory
        u, value, memory = self._solve(x, step, memory)
        return u, memory | {"value": value}

    def _solve(self, x: Array, step: float | None, memory: dict[str, Any]) -> tuple[Array, float, dict[str, Any]]:
        """The prox of x, or with step None x itself, with the value there, and the fields where it ended."""
        D, E = Differences(x.shape, self.spacing, dtype=x.dtype.name), Strains(x.shape, self.spacing, x.dtype.name)
        (d_rows, d_columns), (e_rows, e_columns) = D.absolute_sums(), E.absolute_sums()
        sizes = {"p": 1 / (d_rows + 1), "q": 1 / e_rows, "u": 1 / d_columns, "w": 1 / (1 + e_columns)}
        weight = 1.0 if step is None else step
        xp, length = namespace(x), GroupL1()
        fields = dict(memory) or {
            "p": xp.zeros(D.range.shape, x.dtype), "q": xp.zeros(E.range.shape, x.dtype),
            "w": xp.zeros(D.range.shape, x.dtype),
        }  # fmt: skip
        p, q, w = (fields[name].copy() for name in "pqw")
        u = x.copy() if step is None else x - D.adjoint(p)
        ahead_u, ahead_w, before = u, w, None
        for k in range(1, self.iterations + 1):
            p = _within(p + sizes["p"] * (D.forward(ahead_u) - ahead_w), weight)
            q = _within(q + sizes["q"] * E.forward(ahead_w), weight * self.ratio)
            new_w = w - sizes["w"] * (E.adjoint(q) - p)
            ahead_w, w = 2 * new_w - w, new_w
            if step is not None:
                new_u = (u - sizes["u"] * (D.adjoint(p) - x)) / (1 + sizes["u"])
                ahead_u, u = 2 * new_u - u, new_u
            if k % LOOK_EVERY == 0 or k == self.iterations:
                now = length(D.forward(u) - w) + self.ratio * length(E.forward(w)) if step is None else u
                if before is not None and _moved(now, before) <= self.accuracy:
                    break
                before = now
        value = length(D.forward(u) - w) + self.ratio * length(E.forward(w))
        return u, value, {"p": p, "q": q, "w": w}


def _within(p: Array, radius: float) -> Array:
    """The field with its vectors no longer than the radius."""
    length = (p * p).sum(0, keepdims=True) ** 0.5
    return p / (length / radius).clip(1, None)


def _moved(now: Any, before: Any) -> float:
    """The change relative to what is now."""
    if not hasattr(now, "shape"):
        return abs(now - before) / max(abs(now), 1e-30)
    return norm(now - before) / (norm(now) or 1.0)
