"""Samples at the nodes of the grid: plain FFTs in place of non-uniform ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tomodiff.array import Array, fft_of, namespace
from tomodiff.projectors.mri.fourier import Fourier
from tomodiff.projectors.spectrum import fft_workers

NEAR = 1e-3
"""Cycles per field of view that a point may be off a node."""


def on_grid(shape: Sequence[int], points: Any) -> bool:
    """Whether all points, in cycles per pixel, are whole cycles per field of view."""
    at = np.asarray(points, np.float64) * np.array(shape)
    return bool(np.abs(at - np.rint(at)).max() < NEAR)


class Cartesian(Fourier):
    """Images (*leading, *shape), complex -> samples (*leading, sample): what `Nufft` computes, exactly, for points at
    whole cycles per field of view.  ValueError for others."""

    def __init__(
        self, shape: Sequence[int], points: Any, leading: Sequence[int] = (), dtype: str = "complex64"
    ) -> None:
        super().__init__(shape, points, leading, dtype)
        if not on_grid(shape, self.points):
            raise ValueError("Cartesian: points: expected whole cycles per field of view")
        sizes = np.array(self.shape)
        nodes = np.rint(self.points * sizes).astype(np.int64) % sizes
        self.place = np.ravel_multi_index(tuple(nodes.T), self.shape)
        self.once = len(np.unique(self.place)) == len(self.place)

    def sampled(self, images: Array) -> Array:
        xp, axes = namespace(images), tuple(range(len(self.shape)))
        fft = fft_of(xp)
        spectrum = fft.fftn(fft.ifftshift(images, axes), axes=axes, overwrite_x=True, **fft_workers(xp))
        return spectrum.reshape(-1, images.shape[-1])[xp.asarray(self.place)]

    def gathered(self, samples: Array) -> Array:
        xp, axes = namespace(samples), tuple(range(len(self.shape)))
        fft = fft_of(xp)
        spectrum = xp.zeros((int(np.prod(self.shape)), samples.shape[-1]), samples.dtype)
        if self.once:
            spectrum[xp.asarray(self.place)] = samples
        else:
            xp.add.at(spectrum, xp.asarray(self.place), samples)
        spectrum = spectrum.reshape(*self.shape, -1)
        images = fft.ifftn(spectrum, axes=axes, norm="forward", overwrite_x=True, **fft_workers(xp))
        return xp.ascontiguousarray(fft.fftshift(images, axes))
