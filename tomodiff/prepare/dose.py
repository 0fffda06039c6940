"""Radiation damage: what of each spatial frequency is left after a dose.

The amplitude falls to exp(-dose / (2 N(k))), with the critical exposure N(k) = 0.245 k^-1.665 + 2.81 electrons per
square angstrom at 300 kV, k in 1/angstrom (Grant & Grigorieff 2015, eLife 4:e06980, eq. 3).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.array import Array, fft_of, namespace

AMPLITUDE, EXPONENT, CONSTANT = 0.245, -1.665, 2.81
"""Of the critical exposure at 300 kV; Grant & Grigorieff 2015, eq. 3."""

AT_200_KV = 0.8
"""Critical exposures at 200 kV over those at 300 kV (Grant & Grigorieff 2015, section on methods)."""


def critical_exposure(frequency: Any, voltage: float = 300.0) -> np.ndarray:
    """Electrons per square angstrom after which exp(-1/2) of the amplitude is left; infinite at frequency 0.

    voltage: kV, 300 or 200; ValueError for others, for which nothing was measured.
    """
    if voltage not in (200.0, 300.0):
        raise ValueError(f"voltage: expected 200 or 300 kV, found {voltage!r}")
    k = np.asarray(frequency, np.float64)
    with np.errstate(divide="ignore"):
        critical = AMPLITUDE * k**EXPONENT + CONSTANT
    return critical * (AT_200_KV if voltage == 200 else 1.0)


def dose_attenuation(frequency: Any, dose: Any, voltage: float = 300.0) -> np.ndarray:
    """The factor of the amplitude at `frequency` (1/angstrom) after `dose` (electrons per square angstrom)."""
    return np.exp(-0.5 * np.asarray(dose, np.float64) / critical_exposure(frequency, voltage))


def dose_weighted(images: Array, dose: Any, pixel: float, voltage: float = 300.0, restore_power: bool = False) -> Array:
    """Images (n, row, column) low-passed by what is left after `dose` (n,): same shape and dtype.

    restore_power divides by the root of the mean square of all factors at each frequency, so that white noise keeps its
    power in the sum of the images (Grant & Grigorieff 2015, eq. 9).
    """
    xp = namespace(images)
    fft = fft_of(xp)
    doses = np.asarray(dose, np.float64)
    if images.ndim != 3 or doses.shape != (images.shape[0],):
        raise ValueError(f"dose: expected one number for each image of {images.shape}, found shape {doses.shape}")
    if not np.isfinite(doses).all() or (doses < 0).any():
        raise ValueError(f"dose: expected finite numbers >= 0, found {doses.min():g} to {doses.max():g}")
    if not pixel > 0:
        raise ValueError(f"pixel: expected a size above 0 angstrom, found {pixel}")
    rows, columns = images.shape[1:]
    k = np.hypot(np.fft.fftfreq(rows, pixel)[:, None], np.fft.rfftfreq(columns, pixel)[None])
    total = np.sqrt(sum(dose_attenuation(k, d, voltage) ** 2 for d in doses) / len(doses)) if restore_power else 1.0
    out = xp.empty_like(images)
    for i, d in enumerate(doses):
        factors = xp.asarray(dose_attenuation(k, d, voltage) / total, images.dtype)
        out[i] = fft.irfft2(fft.rfft2(images[i]) * factors, s=(rows, columns))
    return out
