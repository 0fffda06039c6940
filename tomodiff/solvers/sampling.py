"""Samples of a posterior: Langevin dynamics, and diffusion with a denoiser."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, isfinite
from time import perf_counter
from typing import Any

import numpy as np

from tomodiff.array import Array, Element, inner, norm, tmap, zeros_like
from tomodiff.core import Functional
from tomodiff.core.curvature import white
from tomodiff.errors import Diverged
from tomodiff.objective.denoiser import Denoiser
from tomodiff.solvers.iterate import require
from tomodiff.solvers.measures import change, curvature, residual_norm
from tomodiff.solvers.splitting import proximal_point
from tomodiff.solvers.state import State

UNADJUSTED, ADJUSTED = 0.2, 1.0
"""Steps over 1 / curvature: small against the bias that no test takes out; with the test its length is adapted."""
TARGET = 0.574
"""The share of moves that is best accepted (Roberts and Rosenthal 1998)."""


@dataclass(frozen=True)
class Langevin:
    """x <- x - step grad f(x) + sqrt(2 step) n, n normal: draws of exp(-f) (Roberts and Tweedie 1996).

    adjust: each move is accepted or not by Metropolis' rule, which makes the draws exact and adapts the step while
    `burn` lasts; off for an f whose value is not that of its gradient (Red).  step_size None is found from the
    curvature. The mean and the variance of the draws after `burn` steps are in the memory: "mean", "variance".

    Measures, at the new x: "value", "gradient_norm", "accepted" (share so far).  Memory: x, gradient, mean, variance,
    and the new x and gradient.
    """

    adjust: bool = True
    burn: int = 100
    step_size: float | None = None
    seed: int = 0

    def start(self, f: Functional, x: Element) -> State:
        """The state before the first move."""
        value, gradient = f.value_and_grad(x)
        size = self.step_size
        if size is None:
            steepness = curvature(f, x)
            count = sum(a.size for a in (x.values() if isinstance(x, dict) else [x]))
            size = (ADJUSTED * count ** (-1 / 3) if self.adjust else UNADJUSTED) / (steepness or 1.0)
        zero = zeros_like(x)
        memory = {
            "value": value, "gradient": gradient, "step": float(size), "mean": zero,
            "variance": tmap(lambda a: a.real, zero), "count": 0, "accepted": 0,
        }  # fmt: skip
        return State("Langevin", x, memory=memory)

    def step(self, f: Functional, state: State) -> State:
        """One move."""
        require(state, "Langevin")
        began, x, m = perf_counter(), state.x, dict(state.memory)
        rng, size = np.random.default_rng([self.seed, state.iteration]), m["step"]
        noise = white(x, rng)
        new = tmap(lambda a, g, n: a - size * g + (2 * size) ** 0.5 * n, x, m["gradient"], noise)
        value, gradient = f.value_and_grad(new)
        if not isfinite(value) and not self.adjust:
            raise Diverged("Langevin: the objective is not finite: the step is too large, or the data hold NaN")
        if self.adjust:
            log = -float("inf") if not isfinite(value) else self._log_ratio(x, new, m["gradient"], gradient, size)
            log += m["value"] - value if isfinite(value) else 0.0
            chance = exp(min(0.0, log))
            taken = rng.random() < chance
            if state.iteration < self.burn:
                m["step"] = size * exp((chance - TARGET) / (1 + state.iteration) ** 0.4)
        else:
            taken = True
        if taken:
            m["value"], m["gradient"] = value, gradient
            m["accepted"] += 1
        else:
            new = x
        if state.iteration >= self.burn:
            self._counted(m, new)
        return state.advance(
            new, m, value=m["value"], gradient_norm=norm(m["gradient"]), accepted=m["accepted"] / (state.iteration + 1),
            relative_change=change(new, x), seconds=perf_counter() - began, **residual_norm(f, m["value"]),
        )  # fmt: skip

    @staticmethod
    def _log_ratio(x: Element, new: Element, g: Element, g_new: Element, size: float) -> float:
        """log q(x | new) - log q(new | x) of the moves' normal densities."""
        back = tmap(lambda a, b, c: a - b + size * c, x, new, g_new)
        there = tmap(lambda a, b, c: a - b + size * c, new, x, g)
        return (inner(there, there) - inner(back, back)) / (4 * size)

    @staticmethod
    def _counted(m: dict[str, Any], x: Element) -> None:
        """Mean and variance with one more draw (Welford 1962)."""
        m["count"] += 1
        n = m["count"]
        off = tmap(lambda a, b: a - b, x, m["mean"])
        m["mean"] = tmap(lambda a, d: a + d / n, m["mean"], off)
        m["variance"] = tmap(
            lambda v, d: v * ((n - 1) / n) + (d * d.conj()).real * ((n - 1) / n**2), m["variance"], off
        )


@dataclass(frozen=True)
class DiffPir:
    """A draw of what the data leave open, by diffusion with a denoiser (Zhu et al. 2023, algorithm 1, in the form where
    the noise is added and the picture not shrunk).

    From sigmas[0] down: x0 = D(x, sigma); x0 moves to argmin f + |. - x0|^2 / (2 strength sigma^2), f the negative
    log-likelihood; noise of the next sigma is put back, of which a share zeta is new.  A step is a level; further ones
    leave x as it is.  sigmas: falling, the first well above the range of x, the last about where the denoiser does not
    matter any more.  Measures: "value" (f at the denoised x), "sigma".  Memory: x and four arrays of conjugate
    gradients.
    """

    denoiser: Denoiser
    sigmas: tuple[float, ...]
    strength: float = 1.0
    zeta: float = 0.5
    products: int = 10
    tolerance: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        falling = all(a > b > 0 for a, b in zip(self.sigmas, self.sigmas[1:], strict=False))
        if not self.sigmas or not falling or self.sigmas[-1] <= 0:
            raise ValueError(f"DiffPir: sigmas: expected falling numbers > 0, got {self.sigmas}")
        if not 0 <= self.zeta <= 1:
            raise ValueError(f"DiffPir: zeta: expected a number from 0 to 1, got {self.zeta}")

    def start(self, f: Functional, x: Array) -> State:
        """Noise of the first level around x."""
        rng = np.random.default_rng([self.seed])
        noisy: Array = x + self.sigmas[0] * white(x, rng)
        return State("DiffPir", noisy)

    def step(self, f: Functional, state: State) -> State:
        """The next level."""
        require(state, "DiffPir")
        began, x, k = perf_counter(), state.x, state.iteration
        if k >= len(self.sigmas):
            value = float(f(x))
            return state.advance(
                x, {}, value=value, sigma=0.0, relative_change=0.0, seconds=perf_counter() - began,
                **residual_norm(f, value),
            )  # fmt: skip
        sigma = self.sigmas[k]
        clean = self.denoiser.denoise(x, sigma)
        weight = 1 / (self.strength * sigma**2)
        guided, value = proximal_point(f, clean, clean, weight, None, self.products, self.tolerance)
        following = self.sigmas[k + 1] if k + 1 < len(self.sigmas) else 0.0
        rng = np.random.default_rng([self.seed, k + 1])  # [seed, 0] is the stream of [seed]
        left = (x - guided) / sigma
        noise = (1 - self.zeta) ** 0.5 * left + self.zeta**0.5 * white(x, rng)
        new = guided + following * noise
        return state.advance(
            new, {}, value=value, sigma=sigma, relative_change=change(new, x), seconds=perf_counter() - began,
            **residual_norm(f, value),
        )  # fmt: skip
