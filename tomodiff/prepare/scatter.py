"""Scattered radiation: a wide haze over the projections, estimated from them by a kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from tomodiff.array import block_mean
from tomodiff.errors import ConfigError
from tomodiff.prepare.record import expect_kind, pixel_mm, record
from tomodiff.prepare.threads import each
from tomodiff.result import Dataset

ITERATIONS = 8
"""Times that the scatter is estimated anew from what is left without it: each shrinks the error to a tenth or so."""

LEAST_PRIMARY = 0.05
"""Share of a measured transmission that is primary, at least, however much scatter the kernel gives."""

REACH = 4.0
"""Standard deviations at which the kernel ends."""

FINE = 4.0
"""Pixels that a standard deviation has, at least, after projections are shrunk for the estimate."""


def remove_scatter(dataset: Dataset, amplitude: float, sigma_mm: float, threads: int = 1) -> Dataset:
    """Transmissions (view, v, u) of the primary rays alone.

    A ray of primary transmission P sends amplitude * P * (-log P) of scatter into the detector, spread by a Gaussian of
    standard deviation sigma_mm on it: P (-log P) is what a first collision turns aside.  P is found from the measured
    P + S by iteration.  Ohnesorge, Flohr & Klingenbeck-Regn 1999, Eur. Radiol. 9, 563; the form of the potential: Sun &
    Star-Lack 2010, Phys. Med. Biol. 55, 6695.
    """
    expect_kind(dataset, "remove_scatter", "transmission")
    if not (0 < amplitude < 10 and 0 < sigma_mm < np.inf):
        raise ConfigError(f"scatter: expected an amplitude between 0 and 10 and a width above 0 mm, got {amplitude}, "
                          f"{sigma_mm}")  # fmt: skip
    pixel = pixel_mm(dataset, "remove_scatter")
    sigma = [sigma_mm / size if n > 1 else 0.0 for size, n in zip(pixel, dataset.data.shape[1:], strict=True)]
    result = np.empty(dataset.data.shape, np.float32)
    share = np.empty(len(result))

    def view(i: int) -> None:
        image = np.asarray(dataset.data[i], np.float32)
        haze = scatter_in(image, amplitude, sigma)
        result[i] = np.maximum(image - haze, LEAST_PRIMARY * image)
        share[i] = float(haze.mean() / max(float(image.mean()), 1e-12))

    each(view, len(result), threads)
    numbers = {"amplitude": amplitude, "sigma_mm": sigma_mm, "share_mean": float(share.mean())}
    line = f"kernel of {amplitude:g} and {sigma_mm:g} mm: {share.mean():.1%} of the signal is scatter"
    return record(dataset.replace(data=result), "remove_scatter", line, numbers)


def scatter_in(image: NDArray[Any], amplitude: float, sigma: list[float]) -> NDArray[Any]:
    """The scatter (v, u) in a transmission (v, u), for a kernel of `sigma` pixels (v, u)."""
    shrink = [max(1, int(s / FINE)) for s in sigma]
    small = _means(image, shrink)
    widths = [s / n for s, n in zip(sigma, shrink, strict=True)]
    primary, haze = small, np.zeros_like(small)
    for _ in range(ITERATIONS):
        source = primary * -np.log(np.clip(primary, 1e-6, 1))
        haze = amplitude * scipy.ndimage.gaussian_filter(source, widths, mode="constant", truncate=REACH)
        primary = np.maximum(small - haze, LEAST_PRIMARY * small)
    where = [(np.arange(n) + 0.5) / s - 0.5 for n, s in zip(image.shape, shrink, strict=True)]
    grid = np.meshgrid(*where, indexing="ij")
    return np.asarray(scipy.ndimage.map_coordinates(haze, grid, order=1, mode="nearest"))


def _means(image: NDArray[Any], block: list[int]) -> NDArray[Any]:
    """Means over blocks of pixels; what does not fill one at the ends continues as the outermost pixel."""
    extra = [(0, -n % b) for n, b in zip(image.shape, block, strict=True)]
    return np.asarray(block_mean(np.pad(image, extra, mode="edge"), block))
