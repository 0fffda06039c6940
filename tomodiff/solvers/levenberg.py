"""Levenberg-Marquardt on many small least-squares problems at once, each with its own damping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Parameters = dict[str, np.ndarray]
Evaluate = Callable[[Parameters, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""(x of some problems, their numbers) -> value (m,), gradient (m, q), Gauss-Newton matrix (m, q, q)."""


@dataclass(frozen=True)
class Levenberg:
    """Damped Gauss-Newton steps (Levenberg 1944, Marquardt 1963; the update of the damping: Nielsen 1999).

    steps: at most; tolerance: a problem is done when a step promises less than this decrease of its value, in the
    value's own unit (a likelihood's: nats).  largest: (q,) the longest step in each column.
    """

    steps: int = 20
    tolerance: float = 1e-3
    damping: float = 1e-2
    largest: tuple[float, ...] | None = None

    def __call__(
        self, evaluate: Evaluate, move: Callable[[Parameters, np.ndarray], Parameters], x: Parameters
    ) -> tuple[Parameters, np.ndarray, np.ndarray]:
        """The minimisers, their values (n,), and their Gauss-Newton matrices (n, q, q).

        x: named arrays with one entry per problem; move(x, step (m, q)) is x moved.
        """
        n = len(next(iter(x.values())))
        x = {name: a.copy() for name, a in x.items()}
        value, gradient, matrix = evaluate(x, np.arange(n))
        damping, growth, active = np.full(n, self.damping), np.full(n, 2.0), np.ones(n, bool)
        for _ in range(self.steps):
            which = np.flatnonzero(active)
            if not which.size:
                break
            step, promised = self._step(gradient[which], matrix[which], damping[which])
            trial = move({name: a[which] for name, a in x.items()}, step)
            new_value, new_gradient, new_matrix = evaluate(trial, which)
            better = new_value < value[which]
            good = which[better]
            for name in x:
                x[name][good] = trial[name][better]
            gain = np.clip((value[which] - new_value) / np.maximum(promised, 1e-300), -1, 1.5)
            value[good], gradient[good], matrix[good] = new_value[better], new_gradient[better], new_matrix[better]
            calmer = np.maximum(damping[which] * np.maximum(1 / 3, 1 - (2 * gain - 1) ** 3), 1e-9)
            damping[which] = np.where(better, calmer, damping[which] * growth[which])
            growth[which] = np.where(better, 2.0, growth[which] * 2)
            active[which] = (promised >= self.tolerance) & (damping[which] < 1e6)
        return x, value, matrix

    def _step(self, g: np.ndarray, H: np.ndarray, damping: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The damped steps, and the decrease that each promises."""
        diagonal = np.einsum("nii->ni", H)
        scale = np.maximum(diagonal, 1e-12 * np.maximum(diagonal.max(1, keepdims=True), 1e-30))
        damped = H + damping[:, None, None] * scale[:, None] * np.eye(H.shape[1])
        step = -np.linalg.solve(damped, g[..., None])[..., 0]
        if self.largest is not None:
            step /= np.maximum(1, (np.abs(step) / np.array(self.largest)).max(1, keepdims=True))
        return step, -np.einsum("nq,nq->n", step, g) - 0.5 * np.einsum("nq,nqr,nr->n", step, H, step)
