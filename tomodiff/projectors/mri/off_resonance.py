"""Fields that are not even: spins away from resonance turn while a readout lasts."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.array import Array, namespace
from tomodiff.core import LinearOperator
from tomodiff.core.operators import Gram
from tomodiff.projectors.mri.fourier import Fourier, fourier_of

BINS = 200
"""Frequencies of the field at which the approximation is made to hold."""
MOST = 64
"""Segments of time, at most."""


class OffResonance(Fourier):
    """Images (*leading, *shape), complex -> samples (*leading, sample) under a field that is off by a frequency at each
    pixel: y = sum over r of x[r] exp(-2 pi i (k . r + f[r] t)).

    field: f (*shape) in Hz.  times: t (sample) in s from the moment at which all spins are in phase.  The rest as for
    `fourier_of`.  By a few images in time, each turned as the field turns it until then, between which samples are
    interpolated with weights that are best for the frequencies that the field has (Sutton, Noll and Fessler 2003, IEEE
    TMI 22, 178); as many as keep that error below the accuracy.  Exact adjoint.
    """

    def __init__(
        self,
        field: Any,
        times: Any,
        points: Any,
        leading: tuple[int, ...] = (),
        accuracy: float = 1e-5,
        dtype: str = "complex64",
    ) -> None:
        self.field, self.times = np.asarray(field, np.float64), np.asarray(times, np.float64)
        super().__init__(self.field.shape, points, leading, dtype)
        wanted, found = (len(self.points),), self.times.shape
        if found != wanted:
            raise ValueError(f"OffResonance: times: expected one per sample, {wanted[0]}, got {found}")
        for name, values in (("field", self.field), ("times", self.times)):
            if not np.isfinite(values).all():
                raise ValueError(f"OffResonance: {name}: expected finite numbers")
        self.accuracy = float(accuracy)
        self.moments, weights = segments(self.field, self.times, accuracy)
        self.inner = fourier_of(self.shape, self.points, (self.channels * len(self.moments),), accuracy, dtype)
        self._weights = weights.astype(self.dtype)
        self._turns = np.exp(-2j * np.pi * self.field[..., None] * self.moments).astype(self.dtype)

    def sampled(self, images: Array) -> Array:
        xp, channels = namespace(images), images.shape[-1]
        turned = images[..., None] * xp.asarray(self._turns)[..., None, :]
        samples = self.inner.sampled(xp.ascontiguousarray(turned.reshape(*self.shape, -1)))
        return xp.einsum("mcl,ml->mc", samples.reshape(len(self.points), channels, -1), xp.asarray(self._weights))

    def gathered(self, samples: Array) -> Array:
        xp, channels = namespace(samples), samples.shape[-1]
        spread = samples[..., None] * xp.asarray(self._weights).conj()[:, None, :]
        images = self.inner.gathered(xp.ascontiguousarray(spread.reshape(len(self.points), -1)))
        turned = images.reshape(*self.shape, channels, -1) * xp.asarray(self._turns).conj()[..., None, :]
        return turned.sum(axis=-1)

    def gram(self, weights: Any = None) -> LinearOperator:
        return Gram(self, weights)  # no convolution: the response differs from pixel to pixel


def segments(field: np.ndarray, times: np.ndarray, accuracy: float) -> tuple[np.ndarray, np.ndarray]:
    """Moments (segment) in s, and weights (sample, segment) with which turns at these moments give those at all times.

    ValueError where more than 64 segments would be needed.
    """
    low, high = float(field.min()), float(field.max())
    frequencies = np.linspace(low, high, BINS)
    wanted = np.exp(-2j * np.pi * np.outer(frequencies, times))
    for count in range(1, MOST + 1):
        moments = np.linspace(times.min(), times.max(), count) if count > 1 else np.array([times.mean()])
        basis = np.exp(-2j * np.pi * np.outer(frequencies, moments))
        weights = np.linalg.lstsq(basis, wanted, rcond=1e-12)[0]
        if np.sqrt(np.mean(np.abs(basis @ weights - wanted) ** 2)) < accuracy:
            return moments, weights.T
    turns = (high - low) * float(np.ptp(times))
    text = f"expected fewer turns than {MOST} segments can follow, got {turns:.0f}"
    raise ValueError(f"OffResonance: field and times: {text}")
