"""Limited-memory BFGS with bounds, as SciPy has it, on named arrays in unknowns that are scaled alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from time import perf_counter

import numpy as np

from tomodiff.array import Element, tmap
from tomodiff.core import Functional
from tomodiff.errors import Diverged
from tomodiff.solvers.gauss_newton import Bounds, GaussNewton, Preconditioner
from tomodiff.solvers.iterate import require
from tomodiff.solvers.measures import change, residual_norm
from tomodiff.solvers.state import State


@dataclass(frozen=True)
class LbfgsB:
    """`inner` iterations of L-BFGS-B (Byrd, Lu, Nocedal, Zhu 1995) a step, each from a fresh memory of `pairs` pairs.

    x: a NumPy array or a dict of them.  bounds: name -> (lowest, highest), None for none.  scale: (x, product with the
    second derivative there) -> about its inverse square root, by which unknowns are scaled; for a name with bounds it
    must be a diagonal.  f needs `quadratic` for that; without scale only a gradient.

    Measures, at the new x: "value", "gradient_norm" (scaled), "products" (evaluations), "length" (1, or 0 where f does
    not fall any more).  Memory: none but x.
    """

    bounds: Bounds = field(default_factory=dict)
    scale: Preconditioner | None = field(default=None, repr=False)
    inner: int = 20
    pairs: int = 10

    def start(self, f: Functional, x: Element) -> State:
        """The state before the first step."""
        return State("LbfgsB", GaussNewton(self.bounds).projected(x))

    def step(self, f: Functional, state: State) -> State:
        """`inner` iterations."""
        from scipy.optimize import minimize

        require(state, "LbfgsB")
        began, x = perf_counter(), state.x
        if self.scale is None:
            value, scaled = f(x), lambda d: d
        else:
            value, _, product = f.quadratic(x)
            scaled = self.scale(x, product)
        if not isfinite(value):
            raise Diverged("LbfgsB: the objective is not finite: the data or the start hold NaN or infinities")

        def at(y: np.ndarray) -> Element:
            new = tmap(lambda a, d: (a + d).astype(a.dtype), x, scaled(_apart(y, x)))
            return GaussNewton(self.bounds).projected(new)  # single precision may round beyond a bound

        def misfit(y: np.ndarray) -> tuple[float, np.ndarray]:
            found, gradient = f.value_and_grad(at(y))
            return found, _flat(scaled(gradient))

        made = minimize(
            misfit, np.zeros(_flat(x).size), jac=True, method="L-BFGS-B", bounds=self._bounds(x, scaled),
            options={"maxiter": self.inner, "maxcor": self.pairs, "ftol": 1e-12, "gtol": 1e-12},
        )  # fmt: skip
        better = made.fun < value
        new = at(made.x) if better else x
        return state.advance(
            new, {}, value=float(made.fun) if better else value,
            gradient_norm=float(np.linalg.norm(made.jac)), products=float(made.nfev), length=float(better),
            relative_change=change(new, x), seconds=perf_counter() - began,
            **residual_norm(f, float(made.fun) if better else value),
        )  # fmt: skip

    def _bounds(self, x: Element, scaled: object) -> list[tuple[float, float]] | None:
        """The bounds of what is scaled."""
        if not self.bounds:
            return None
        size = scaled(tmap(np.ones_like, x))  # type: ignore[operator]
        low, high = (tmap(lambda a, v=v: np.full(a.shape, v), x) for v in (-np.inf, np.inf))
        for name in self.bounds.keys() & x.keys():
            least, most = self.bounds[name]
            low[name] = low[name] if least is None else (least - x[name]) / size[name]
            high[name] = high[name] if most is None else (most - x[name]) / size[name]
        return list(zip(_flat(low), _flat(high), strict=True))


def _flat(x: Element) -> np.ndarray:
    parts = x.values() if isinstance(x, Mapping) else [x]
    return np.concatenate([np.asarray(a, np.float64).ravel() for a in parts])


def _apart(y: np.ndarray, like: Element) -> Element:
    """The flat values in the form of `like`."""
    if not isinstance(like, Mapping):
        return y.reshape(like.shape).astype(like.dtype)
    made, first = {}, 0
    for name, a in like.items():
        made[name] = y[first : first + a.size].reshape(a.shape).astype(a.dtype)
        first += a.size
    return made
