"""A' W A of samples of a spectrum as a convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.array import Array, fft_of, namespace, to_numpy
from tomodiff.core import LinearOperator, check_element
from tomodiff.core.operators import into
from tomodiff.projectors.mri.fourier import Fourier, fourier_of
from tomodiff.projectors.spectrum import fft_workers


class Toeplitz(LinearOperator):
    """Images (*leading, *shape) -> the same, convolved with the point response of samples with weights, in two FFTs of
    twice the image whatever the number of samples (Fessler et al. 2005, IEEE TSP 53, 3393).

    Self-adjoint.  Agrees with A.T(w * A(x)) to the accuracy of the transform A.
    """

    def __init__(self, fourier: Fourier, spectrum: Array) -> None:
        self.fourier, self.spectrum = fourier, spectrum
        self.domain = self.range = fourier.domain

    @classmethod
    def of(cls, fourier: Fourier, weights: Any = None) -> Toeplitz:
        """weights: a number, one per sample, or None for 1; where they are says where the operator computes."""
        xp = np if weights is None or np.ndim(weights) == 0 else namespace(weights)
        samples = xp.ones(len(fourier.points), fourier.dtype) * (1 if weights is None else weights)
        samples = samples.astype(fourier.dtype)
        twice = tuple(2 * n for n in fourier.shape)
        accuracy = getattr(fourier, "accuracy", 1e-5)
        response = fourier_of(twice, fourier.points, (), accuracy, fourier.dtype).adjoint(samples)
        spectrum = fft_of(xp).fftn(fft_of(xp).ifftshift(response), **fft_workers(xp))
        return cls(fourier, spectrum.real.astype(fourier.real))

    def forward(self, x: Array, out: Array | None = None) -> Array:
        check_element(self.domain, x, "Toeplitz.forward: x")
        xp, d = namespace(x), len(self.fourier.shape)
        fft, axes = fft_of(xp), tuple(range(-d, 0))
        spectrum = fft.fftn(x, tuple(2 * n for n in self.fourier.shape), axes, **fft_workers(xp))
        if namespace(self.spectrum) is not xp:
            self.spectrum = to_numpy(self.spectrum) if xp is np else xp.asarray(self.spectrum)
        spectrum *= self.spectrum
        made = fft.ifftn(spectrum, axes=axes, overwrite_x=True, **fft_workers(xp))
        return into(out, xp.ascontiguousarray(made[(..., *(slice(n) for n in self.fourier.shape))]))

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        return self.forward(y, out)
