"""Samples of the spectra of images, whichever transform finds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tomodiff.array import Array, namespace
from tomodiff.core import LinearOperator, Space, check_element
from tomodiff.core.operators import into


class Fourier(LinearOperator):
    """Images (*leading, *shape), complex -> samples (*leading, sample): y = sum over r of x[r] exp(-2 pi i k . r).

    points: k (sample, axis) in cycles per pixel, axes in the order of the image's; r counts pixels from the middle,
    r = index - n // 2.  leading: images that share the points, such as those of coils.  A subclass defines `sampled`
    and `gathered`, which take images with the leading axes as one, the last: what lies side by side shares all weights.
    """

    def __init__(self, shape: Sequence[int], points: Any, leading: Sequence[int], dtype: str) -> None:
        k, name = np.asarray(points, np.float64), type(self).__name__
        if len(shape) not in (2, 3) or k.ndim != 2 or k.shape[1] != len(shape) or not len(k):
            raise ValueError(
                f"{name}: points: expected (samples, {len(shape)}) for {tuple(shape)} pixels, got {k.shape}"
            )
        if not np.isfinite(k).all():
            raise ValueError(f"{name}: points: expected finite numbers, got {np.count_nonzero(~np.isfinite(k))} others")
        self.shape, self.points, self.leading = tuple(shape), k, tuple(leading)
        self.dtype, self.real = np.dtype(dtype).name, "float32" if np.dtype(dtype) == np.complex64 else "float64"
        self.channels = int(np.prod(self.leading, dtype=np.int64))
        self.domain = Space((*self.leading, *self.shape), dtype)
        self.range = Space((*self.leading, len(k)), dtype)

    def sampled(self, images: Array) -> Array:
        """(*shape, channels) -> (sample, channels)."""
        raise NotImplementedError

    def gathered(self, samples: Array) -> Array:
        """(sample, channels) -> (*shape, channels): the transpose of `sampled`."""
        raise NotImplementedError

    def forward(self, x: Array, out: Array | None = None) -> Array:
        check_element(self.domain, x, f"{type(self).__name__}.forward: x")
        xp = namespace(x)
        images = xp.moveaxis(x.reshape(self.channels, *self.shape), 0, -1)
        return into(out, xp.ascontiguousarray(self.sampled(images).T).reshape(self.range.shape))

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        check_element(self.range, y, f"{type(self).__name__}.adjoint: y")
        xp = namespace(y)
        images = self.gathered(xp.ascontiguousarray(y.reshape(self.channels, -1).T))
        return into(out, xp.ascontiguousarray(xp.moveaxis(images, -1, 0)).reshape(self.domain.shape))

    def gram(self, weights: Any = None) -> LinearOperator:
        """A' W A, by convolution on a grid twice as fine (`Toeplitz`) where the weights are one per sample."""
        from tomodiff.projectors.mri.toeplitz import Toeplitz

        return super().gram(weights) if per_image(weights) else Toeplitz.of(self, weights)


def per_image(weights: Any) -> bool:
    """Whether weights differ between images that share the points."""
    return weights is not None and np.ndim(weights) > 1


def fourier_of(
    shape: Sequence[int], points: Any, leading: Sequence[int] = (), accuracy: float = 1e-5, dtype: str = "complex64"
) -> Fourier:
    """Plain FFTs where all points are whole cycles per field of view, else a non-uniform one of this accuracy."""
    from tomodiff.projectors.mri.cartesian import Cartesian, on_grid
    from tomodiff.projectors.mri.nufft import Nufft

    if on_grid(shape, points):
        return Cartesian(shape, points, leading, dtype)
    return Nufft(shape, points, leading, accuracy, dtype)
