"""The ramp filter of filtered back projection, with its windows."""

from __future__ import annotations

import numpy as np
import scipy.fft

from tomodiff.array import Array, fft_of, namespace

WINDOWS = ("ram-lak", "shepp-logan", "cosine", "hamming", "hann")


def ramp_response(n: int, pixel: float, window: str = "ram-lak") -> np.ndarray:
    """Frequency response of the band-limited ramp for rows padded to `n`, in 1/mm: (n//2 + 1,) float64.

    The transform of the kernel sampled in space, so that a constant is not lifted by the frequency zero
    (Kak & Slaney 1988, eq. 3.61), times `pixel` in mm and the window.
    """
    if window not in WINDOWS:
        raise ValueError(f"window: expected one of {', '.join(WINDOWS)}, found {window!r}")
    k = np.rint(np.fft.fftfreq(n) * n)
    kernel = np.zeros(n)
    kernel[0] = 1 / (4 * pixel**2)
    odd = k % 2 != 0
    kernel[odd] = -1 / (np.pi * k[odd] * pixel) ** 2
    response = np.real(np.fft.rfft(kernel)) * pixel
    f = np.arange(n // 2 + 1) / n  # cycles per pixel, up to 1/2
    shapes = {
        "ram-lak": np.ones_like(f),
        "shepp-logan": np.sinc(f),
        "cosine": np.cos(np.pi * f),
        "hamming": 0.54 + 0.46 * np.cos(2 * np.pi * f),
        "hann": 0.5 + 0.5 * np.cos(2 * np.pi * f),
    }
    return response * shapes[window]


def filter_rows(projections: Array, pixel: float, window: str = "ram-lak", padding: str = "zero") -> Array:
    """Detector rows (..., u) convolved with the ramp: same shape and dtype, in units of 1/mm.

    padding: what lies beyond the detector: "zero", or "edge" for an object that leaves the field of view: the edge
    value, falling to zero over the width of the detector like a cosine.
    """
    xp, n = namespace(projections), projections.shape[-1]
    padded, size = padded_rows(projections, padding)
    fft = fft_of(xp)
    spectrum = fft.rfft(padded, axis=-1, overwrite_x=True)
    spectrum *= xp.asarray(ramp_response(size, pixel, window), projections.dtype)
    return fft.irfft(spectrum, n=size, axis=-1, overwrite_x=True)[..., :n]


def padded_rows(projections: Array, padding: str) -> tuple[Array, int]:
    """Detector rows (..., u) with what is taken to lie beyond the detector after them (and, the rows being periodic,
    before them), wide enough for the filter; and how wide."""
    if padding not in ("zero", "edge"):
        raise ValueError(f"padding: expected zero or edge, found {padding!r}")
    n = projections.shape[-1]
    reach = n if padding == "edge" else 0
    size = scipy.fft.next_fast_len(2 * n + 2 * reach, real=True)
    return with_edges(projections, size, reach), size


def with_edges(rows: Array, size: int, reach: int) -> Array:
    """Rows (..., u) in periodic ones of `size`; the values at their ends go on over `reach`, falling to zero like a
    cosine."""
    xp, n = namespace(rows), rows.shape[-1]
    padded = xp.zeros((*rows.shape[:-1], size), rows.dtype)
    padded[..., :n] = rows
    if reach:
        fall = xp.asarray(0.5 + 0.5 * np.cos(np.pi * (np.arange(reach) + 1) / (reach + 1)), rows.dtype)
        padded[..., n : n + reach] = rows[..., -1:] * fall
        padded[..., size - reach :] = rows[..., :1] * fall[::-1]
    return padded
