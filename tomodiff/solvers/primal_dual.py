"""The primal-dual hybrid gradient method: any sum of smooth terms and terms with a prox behind linear operators."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

from tomodiff.array import Array, Element, inner, namespace, norm, tmap, zeros_like
from tomodiff.core import Functional, LinearOperator
from tomodiff.objective.penalty import like
from tomodiff.solvers.iterate import require
from tomodiff.solvers.measures import change, curvature, inner_of_moves, inner_with_move, residual_norm, value_after
from tomodiff.solvers.state import State
from tomodiff.solvers.terms import absolute_sums, terms_of

SMOOTH = 0.55
"""The share of the curvature of S that a step must leave room for: a half, and the error of the estimate."""
ROUNDING = 1e-5
"""The relative error that the value of S may have in float32."""
ADAPTION, COOLING, UNBALANCED = 0.5, 0.95, 1.5
"""How far a step changes at first, how fast that wanes, and what counts as out of balance (Goldstein et al. 2015)."""


@dataclass(frozen=True)
class Pdhg:
    """min sum F_i(K_i x) + G(x) + S(x) over x (Chambolle and Pock 2011; with smooth S: Condat 2013, Vu 2013).

    The functional is taken apart as it was added up: `Gaussian(d) @ A + 0.1 * GroupL1() @ D + NonNegative()` is two F_i
    with their operators and a G; smooth functionals without a prox are S.  Steps are diagonal, from the sums of rows
    and columns of the operators (Pock and Chambolle 2011), where the functional of a term is separable, numbers else;
    those of primal and dual are kept in balance by their residuals (Goldstein, Li and Yuan 2015), each times the
    size of its variable, so that units do not matter.

    Measures, at the new x: "value" (without constraints behind operators), "residual_norm" of a Gaussian F_1,
    "primal", "dual" (residuals of the optimality conditions).  Memory: x, new x, K' y and the column sums; y_i, K_i x,
    K_i new x for each term, and row sums where diagonal; what the prox of G goes on from.
    """

    adaptive: bool = True

    def start(self, f: Functional, x: Element) -> State:
        """The state before the first step."""
        terms = terms_of(f, "Pdhg")
        columns: Any = 0.0
        memory: dict[str, Any] = {"ratio": 1.0, "adaption": ADAPTION}
        steep = curvature(terms.smooth, x) if terms.smooth is not None else 0.0
        for i, (F, K) in enumerate(terms.dual):
            row, column = absolute_sums(K, x)
            row = row if F.separable else _largest(row)
            columns = tmap(lambda a, b: a + b, like(columns, x), like(column, x))
            image = _forward(K, x)
            memory[f"sigma{i}"] = tmap(_inverse, row)
            memory[f"image{i}"] = image
            memory[f"dual{i}"] = zeros_like(image)
        G = terms.primal
        if G is not None and not G.separable:
            columns = tmap(_largest, columns)
        memory["columns"], memory["steep"], memory["bound"] = columns, steep, None
        memory["back"], memory["prior"] = zeros_like(x), {}
        return State("Pdhg", x, memory=memory)

    def step(self, f: Functional, state: State) -> State:
        """One primal move and one dual move of each term."""
        require(state, "Pdhg")
        began, m, x, terms = perf_counter(), dict(state.memory), state.x, terms_of(f, "Pdhg")
        ratio = m["ratio"]
        pull, smooth_value, slope = m["back"], 0.0, None
        if terms.smooth is not None:
            smooth_value, slope = terms.smooth.value_and_grad(x)
            pull = tmap(lambda a, b: a + b, pull, slope)
            if m["bound"] is not None and smooth_value > m["bound"] + ROUNDING * abs(smooth_value):
                m["steep"] *= 2
        tau = tmap(lambda c: _inverse(c * ratio + SMOOTH * m["steep"]), m["columns"])
        new = tmap(lambda a, g, t: a - t * g, x, pull, like(tau, x))
        if terms.primal is not None:
            new, m["prior"] = terms.primal.prox_warm(new, tau, m["prior"])
        back = zeros_like(x)
        dual_residual, dual_size, value, measured = 0.0, 0.0, 0.0, {}
        for i, (F, K) in enumerate(terms.dual):
            image, y, sigma = m[f"image{i}"], m[f"dual{i}"], tmap(lambda s: s * ratio, m[f"sigma{i}"])
            fresh = _forward(K, new)
            ahead = tmap(lambda a, b, v, s: v + s * (2 * a - b), fresh, image, y, like(sigma, y))
            near = F.prox(tmap(lambda a, s: a / s, ahead, like(sigma, y)), tmap(_inverse, sigma))
            turned = tmap(lambda a, b, s: a - s * b, ahead, near, like(sigma, y))
            moved = tmap(lambda a, b, s, p, q: (b - a) / s - (q - p), turned, y, like(sigma, y), fresh, image)
            dual_residual += inner(moved, moved)
            dual_size += inner(turned, turned)
            back = tmap(lambda a, b: a + b, back, turned if K is None else K.adjoint(turned))
            found = float(F(fresh))
            value += 0.0 if found == float("inf") else found  # a constraint that is not met yet
            if i == 0:
                measured = residual_norm(F, found)
            m[f"image{i}"], m[f"dual{i}"] = fresh, turned
        off = tmap(lambda a, b, t, p, q: (a - b) / t - (p - q), x, new, like(tau, x), m["back"], back)
        primal_residual = inner(off, off) ** 0.5
        if self.adaptive:
            sizes = norm(new) * primal_residual, (dual_size * dual_residual) ** 0.5  # both in the unit of f
            m["ratio"], m["adaption"] = self._balanced(ratio, m["adaption"], *sizes)
        m["back"] = back
        if slope is not None:  # what S may be at most at the new x, were its curvature what it is taken for
            moved_squared = inner_of_moves(new, x, new, x)
            m["bound"] = smooth_value + inner_with_move(slope, new, x) + 0.5 * m["steep"] * moved_squared
        if terms.smooth is not None:
            value += float(terms.smooth(new))
        if terms.primal is not None:
            value += value_after(terms.primal, new, m["prior"])
        return state.advance(
            new, m, value=value, primal=primal_residual, dual=dual_residual**0.5, relative_change=change(new, x),
            seconds=perf_counter() - began, **measured,
        )  # fmt: skip

    @staticmethod
    def _balanced(ratio: float, adaption: float, primal: float, dual: float) -> tuple[float, float]:
        """sigma / tau for the next step, and how far it may change then."""
        if primal > UNBALANCED * dual:
            return ratio * (1 - adaption), adaption * COOLING
        if dual > UNBALANCED * primal:
            return ratio / (1 - adaption), adaption * COOLING
        return ratio, adaption


def _forward(K: LinearOperator | None, x: Element) -> Element:
    return x if K is None else K.forward(x)


def _largest(sums: Any) -> float:
    return float(sums.max()) if hasattr(sums, "shape") else float(sums)


def _inverse(sums: Any) -> Any:
    """1 / sums, and 1 where a sum is zero: no ray meets that entry."""
    if not hasattr(sums, "shape"):
        return 1 / sums if sums > 0 else 1.0
    xp = namespace(sums)
    made: Array = xp.where(sums > 0, 1 / xp.where(sums > 0, sums, 1), 1)
    return made
