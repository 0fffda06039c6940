"""Denoisers: one protocol, and the few for which everything is known in closed form.

A denoiser is any object with `denoise(x, sigma)`: the estimate of what x shows, where x carries white normal noise of
deviation sigma.  The best estimate in the mean square is x + sigma^2 grad log p_sigma(x) (Tweedie; Robbins 1956), so
every such denoiser is also a score; the priors that are made of denoisers (`denoised.py`) know nothing else of them.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from tomodiff.array import Array, fft_of, namespace


class Denoiser(Protocol):
    """What removes white normal noise."""

    def denoise(self, x: Array, sigma: float) -> Array:
        """The estimate of the clean x, in its shape and dtype; sigma > 0 is the deviation of the noise, in its unit."""


class Wiener:
    """The exact denoiser of stationary normal fields: mean + F^-1 [P / (P + sigma^2)] F (x - mean).

    power: variance of each Fourier coefficient (of the unitary transform over all axes), real numbers of the shape of
    the transform; a white field of variance v has power v everywhere, given as a number.
    """

    def __init__(self, power: Array | float, mean: Array | float = 0.0) -> None:
        self.power, self.mean = power, mean

    def denoise(self, x: Array, sigma: float) -> Array:
        """The posterior mean, which is the mode too."""
        if not hasattr(self.power, "shape"):
            return (x - self.mean) * (self.power / (self.power + sigma**2)) + self.mean
        fft = fft_of(namespace(x))
        filtered = fft.ifftn(fft.fftn(x - self.mean) * (self.power / (self.power + sigma**2)))
        made: Array = ((filtered if x.dtype.kind == "c" else filtered.real) + self.mean).astype(x.dtype)
        return made


class Exemplars:
    """The exact denoiser where x is known to be one of a few exemplars (n, *shape), each as likely: their average,
    weighted by how well they fit (the least mean square error there is)."""

    def __init__(self, exemplars: Array) -> None:
        self.exemplars = exemplars

    def denoise(self, x: Array, sigma: float) -> Array:
        """sum of w_i e_i, w_i ~ exp(-|x - e_i|^2 / (2 sigma^2))."""
        xp = namespace(x)
        squares = xp.asarray([float(((x - e) ** 2).sum(dtype=np.float64)) for e in self.exemplars])
        weights = xp.exp(-(squares - squares.min()) / (2 * sigma**2))
        made: Array = xp.tensordot((weights / weights.sum()).astype(x.dtype), self.exemplars, 1)
        return made


class BySlices:
    """A denoiser of images, slice by slice along an axis of a volume."""

    def __init__(self, denoiser: Denoiser, axis: int = 0) -> None:
        self.denoiser, self.axis = denoiser, axis

    def denoise(self, x: Array, sigma: float) -> Array:
        """Every slice denoised."""
        xp = namespace(x)
        slices = [self.denoiser.denoise(xp.ascontiguousarray(s), sigma) for s in xp.moveaxis(x, self.axis, 0)]
        return xp.ascontiguousarray(xp.moveaxis(xp.stack(slices), 0, self.axis))
