"""Particle images on their way to the Fourier domain: soft circular mask, background, transforms, noise spectra."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from tomodiff.array import Array, fft_of, namespace
from tomodiff.projectors.spectrum import fft_workers


def transforms(images: Array) -> Array:
    """(n, box, box // 2 + 1) the rfft2 of images (n, box, box) whose origin is pixel box // 2; keeps the precision."""
    xp = namespace(images)
    fft = fft_of(xp)
    return fft.rfft2(fft.ifftshift(images, axes=(-2, -1)), **fft_workers(xp))


def images_of(transformed: Array) -> Array:
    """The way back: real images (n, box, box)."""
    xp = namespace(transformed)
    fft = fft_of(xp)
    box = transformed.shape[-2]
    return fft.fftshift(fft.irfft2(transformed, (box, box), **fft_workers(xp)), axes=(-2, -1))


def radius(box: int, xp: ModuleType = np) -> Array:
    """(box, box) distance of each pixel from the centre pixel box // 2, in pixels."""
    line = xp.arange(box) - box // 2
    return xp.sqrt(line[:, None] ** 2 + line[None, :] ** 2)


def soft_disc(box: int, outer: float, edge: float, xp: ModuleType = np) -> Array:
    """(box, box) 1 within outer - edge pixels of the centre, falling like a cosine to 0 at `outer`."""
    where = (xp.clip((outer - radius(box, xp)) / max(edge, 1e-6), 0, 1)) * np.pi
    return (0.5 - 0.5 * xp.cos(where)).astype("float32")


def masked(images: Array, outer: float, edge: float = 5.0) -> Array:
    """Images with what lies beyond a soft disc replaced by the mean of the background there."""
    xp = namespace(images)
    disc = soft_disc(images.shape[-1], outer, edge, xp).astype(images.dtype)
    outside = 1 - disc
    background = (images * outside).sum((-2, -1)) / xp.maximum(outside.sum(), 1)
    return images * disc + background[:, None, None] * outside


def half_shells(box: int, xp: ModuleType = np) -> tuple[Array, Array]:
    """(box, box // 2 + 1) the shell of each point of a half transform, its rounded radius, and how often the whole
    plane holds it (1 or 2)."""
    y, x = xp.fft.fftfreq(box, 1 / box)[:, None], xp.arange(box // 2 + 1)[None]
    shell = xp.floor(xp.sqrt(x * x + y * y) + 0.5).astype("int64")
    times = xp.broadcast_to(xp.where((x == 0) | (x == box // 2), 1.0, 2.0), shell.shape)
    return shell, times


def shell_power(transformed: Array) -> Array:
    """(n, box // 2 + 1) mean |F|^2 in each shell of each transform, over the whole plane."""
    xp = namespace(transformed)
    box = transformed.shape[-2]
    shell, times = half_shells(box, xp)
    kept = shell <= box // 2
    count = xp.bincount(shell[kept], times[kept], box // 2 + 1)
    power = (xp.abs(transformed) ** 2)[:, kept] * times[kept]
    sums = xp.stack([xp.bincount(shell[kept], p, box // 2 + 1) for p in power])
    return sums / count
