"""Ordered subsets with momentum: penalised, weighted least squares in a dozen passes over the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

from tomodiff.array import Array, namespace
from tomodiff.core import Functional, weigh
from tomodiff.solvers.iterate import require
from tomodiff.solvers.linear import inverse_sums, least_squares
from tomodiff.solvers.measures import change, residual_norm
from tomodiff.solvers.state import State
from tomodiff.solvers.subsets import parts


@dataclass(frozen=True)
class OsMomentum:
    """min f(x) + prior(x) within bounds: x <- clip(z - (n grad f_s(z) + grad prior(z)) / D), z <- the next point of
    Nesterov's sequence, for one of n subsets after the other (Kim, Ramani and Fessler 2015, IEEE TMI 34, 167).

    D = A' w A 1 + the prior's curvature bound is above the second derivative in every voxel, for A >= 0.  Takes
    Gaussian(data, weights) @ A with subsets (A[views]) and a prior with `curvature_bound` (HuberTotalVariation, a
    multiple or sum of such).  Subsets pull in somewhat different ways, so the end is near the minimum and not at it,
    the nearer the fewer they are; each should have views from all directions, a dozen or more.
    Measures, at the z that each subset met: "value", f and the prior there; "residual_norm".  Memory: x, z, 1 / D; of
    each subset's data a residual.
    """

    prior: Functional | None = None
    subsets: int = 10
    low: float | None = None
    high: float | None = None

    def start(self, f: Functional, x: Array) -> State:
        """The state before the first pass."""
        if isinstance(x, Mapping):
            raise TypeError("OsMomentum: x: expected one array")
        bound = 0.0 if self.prior is None else self.prior.curvature_bound
        if bound is None:
            raise TypeError(f"OsMomentum: prior: expected one of bounded curvature, got {type(self.prior).__name__}")
        A, _, weights = least_squares(f, "OsMomentum")
        sums = A.forward(namespace(x).ones_like(x))
        steepest = A.adjoint(weigh(sums, weights))
        return State("OsMomentum", x, memory={"z": x, "t": 1.0, "scale": inverse_sums(steepest + bound, "OsMomentum")})

    def step(self, f: Functional, state: State) -> State:
        """One pass over all views."""
        require(state, "OsMomentum")
        began, x, z, t = perf_counter(), state.x, state.memory["z"], state.memory["t"]
        scale, misfit, penalty = state.memory["scale"], 0.0, 0.0
        for part in parts(f, self.subsets, "OsMomentum"):
            found, gradient = part.value_and_grad(z)
            misfit += found
            if self.subsets > 1:
                gradient *= self.subsets
            if self.prior is not None:
                found, slope = self.prior.value_and_grad(z)
                penalty += found / self.subsets
                gradient += slope
            gradient *= scale
            new = z - gradient
            if self.low is not None or self.high is not None:
                new = new.clip(self.low, self.high)
            following = 0.5 * (1 + (1 + 4 * t * t) ** 0.5)
            z = new + ((t - 1) / following) * (new - x)
            x, t = new, following
        return state.advance(
            x, {"z": z, "t": t, "scale": scale}, value=misfit + penalty,
            relative_change=change(x, state.x), seconds=perf_counter() - began, **residual_norm(f, misfit),
        )  # fmt: skip
