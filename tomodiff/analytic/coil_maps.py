"""Sensitivities of receiver coils, from the middle of their own data."""

from __future__ import annotations

import numpy as np
import scipy.ndimage

from tomodiff.projectors.mri.fourier import fourier_of

MIDDLE = 0.12
"""Cycles per pixel up to which k-space goes into the maps, where a raised cosine ends: sensitivities are smooth."""
BLOCK = 5
"""Side in pixels of the neighbourhood whose covariance tells the sensitivities."""
POWERS = 12
"""Steps of the power iteration; the first eigenvalue is far above the others."""


def coil_images(
    data: np.ndarray, points: np.ndarray, shape: tuple[int, ...], weights: np.ndarray, reach: float | None = None
) -> np.ndarray:
    """The image that each coil sees (coil, *shape): its samples, by their weights, transformed back.

    reach: cycles per pixel beyond which samples are left out, with a raised cosine.
    """
    window = np.ones(len(points))
    if reach is not None:
        r = np.sqrt((points**2).sum(axis=1)) / reach
        window = np.where(r < 1, 0.5 + 0.5 * np.cos(np.pi * r), 0)
    seen = window > 0
    fourier = fourier_of(shape, points[seen], data.shape[:1])
    made: np.ndarray = fourier.adjoint(np.ascontiguousarray((data * (weights * window))[:, seen], np.complex64))
    return made


def walsh_maps(images: np.ndarray, block: int = BLOCK) -> np.ndarray:
    """Sensitivities (coil, *shape), complex, from the images of coils: at each pixel the first eigenvector of their
    covariance in its neighbourhood (Walsh, Gmitro and Marcellin 2000, MRM 43, 682).

    Of length one at each pixel, with the phase of the mixture of coils that sees most, so that they are smooth.
    """
    coils, shape = len(images), images.shape[1:]
    flat = images.reshape(coils, -1)
    leading = np.linalg.eigh((flat @ flat.conj().T).astype(np.complex128))[1][:, -1].astype(np.complex64)
    size = [min(block, n) for n in shape]
    covariance = np.empty((*shape, coils, coils), np.complex64)
    for i in range(coils):
        for j in range(i, coils):
            product = images[i] * images[j].conj()
            mean = scipy.ndimage.uniform_filter(product, size, mode="nearest")
            covariance[..., i, j], covariance[..., j, i] = mean, mean.conj()
    found = np.broadcast_to(leading, (*shape, coils)).copy()
    for _ in range(POWERS):
        found = np.einsum("...ij,...j->...i", covariance, found)
        found /= np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-30)
    reference = found @ leading.conj()
    found *= np.exp(-1j * np.angle(reference))[..., None]
    return np.ascontiguousarray(np.moveaxis(found, -1, 0).astype(np.complex64))


def estimated_maps(
    data: np.ndarray, points: np.ndarray, shape: tuple[int, ...], weights: np.ndarray, reach: float = MIDDLE
) -> np.ndarray:
    """Sensitivities (coil, *shape) from the samples of coils (coil, sample) within `reach` of the middle of k-space."""
    return walsh_maps(coil_images(data, points, shape, weights, reach))
