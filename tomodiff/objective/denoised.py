"""Priors that are made of a denoiser: plug and play, regularisation by denoising, score distillation."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.array import Array, inner, namespace
from tomodiff.core import Functional
from tomodiff.objective.denoiser import Denoiser


class PlugAndPlay(Functional):
    """A prior by its prox alone: prox(x, step) = denoise(x, sqrt(step * strength)) (Venkatakrishnan, Bouman and
    Wohlberg 2013).  Its value is taken as zero.  strength: 1 where misfit and denoiser both are log-probabilities."""

    def __init__(self, denoiser: Denoiser, strength: float = 1.0) -> None:
        if not strength >= 0:
            raise ValueError(f"PlugAndPlay: strength: expected a number >= 0, got {strength}")
        self.denoiser, self.strength = denoiser, float(strength)

    def __call__(self, x: Array) -> float:
        return 0.0

    def prox(self, x: Array, step: Any) -> Array:
        sigma = (self.strength * float(step)) ** 0.5
        return self.denoiser.denoise(x, sigma) if sigma > 0 else x.copy()


class Red(Functional):
    """Regularisation by denoising, <x, x - D(x)> / (2 sigma^2) with the gradient (x - D(x)) / sigma^2 (Romano, Elad and
    Milanfar 2017, eq. 7).  That gradient is minus the score of the density smoothed by sigma where D is the best
    denoiser (Tweedie), whatever D is; it is the gradient of the value where D is homogeneous and its Jacobian symmetric
    (Reehorst and Schniter 2019)."""

    def __init__(self, denoiser: Denoiser, sigma: float) -> None:
        if not sigma > 0:
            raise ValueError(f"Red: sigma: expected a number > 0, got {sigma}")
        self.denoiser, self.sigma = denoiser, float(sigma)

    def value_and_grad(self, x: Array) -> tuple[float, Array]:
        gradient = (x - self.denoiser.denoise(x, self.sigma)) / self.sigma**2
        return 0.5 * inner(x, gradient), gradient


class ScoreDistillation(Functional):
    """What a denoiser at many noise levels knows of x, by random draws: with n normal and a sigma of `sigmas`, the
    gradient is that of 1/2 |x - D(x + sigma n, sigma)|^2 / sigma^2 with D held still (Poole et al. 2023, eq. 3, with
    weights 1/sigma^2).  Each draw is a functional whose value is that misfit; a solver that draws is Adam.
    """

    def __init__(self, denoiser: Denoiser, sigmas: Any) -> None:
        self.denoiser, self.sigmas = denoiser, tuple(float(s) for s in sigmas)
        if not self.sigmas or not all(s > 0 for s in self.sigmas):
            raise ValueError(f"ScoreDistillation: sigmas: expected numbers > 0, got {sigmas}")

    def draw(self, rng: np.random.Generator) -> Functional:
        """One noise level; the noise itself is drawn with a seed of its own, in the shape of x."""
        return _Distilled(self.denoiser, self.sigmas[rng.integers(len(self.sigmas))], int(rng.integers(2**62)))

    def value_and_grad(self, x: Array) -> tuple[float, Array]:
        """The average over the noise levels, each with a noise that is always the same."""
        parts = [_Distilled(self.denoiser, s, k).value_and_grad(x) for k, s in enumerate(self.sigmas)]
        return sum(v for v, _ in parts) / len(parts), sum(g for _, g in parts) / len(parts)


class _Distilled(Functional):
    """1/2 |x - D(x + sigma n, sigma)|^2 / sigma^2 with the gradient for D held still."""

    def __init__(self, denoiser: Denoiser, sigma: float, seed: int) -> None:
        self.denoiser, self.sigma, self.seed = denoiser, sigma, seed

    def value_and_grad(self, x: Array) -> tuple[float, Array]:
        noise = namespace(x).asarray(np.random.default_rng(self.seed).standard_normal(x.shape), x.dtype)
        gradient = (x - self.denoiser.denoise(x + self.sigma * noise, self.sigma)) / self.sigma**2
        return 0.5 * self.sigma**2 * inner(gradient, gradient), gradient
