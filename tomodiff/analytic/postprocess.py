"""From two half maps to the map that is looked at: weighted by its FSC, sharpened, and measured.

In this order (Rosenthal and Henderson 2003, J. Mol. Biol. 333, 721; RELION 3.1, src/postprocessing.cpp): mean of the
halves, division by the detector's MTF, weight sqrt(2 F / (1 + F)) per shell, exp(-B k^2 / 4) with B given or found from
a straight line through the logarithm of amplitudes against k^2 (Guinier plot), and perhaps a low-pass filter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tomodiff.analytic.fsc import HALF_MAPS, RANDOM_FROM, FscCurves, gold_standard, resolution, resolution_shell
from tomodiff.analytic.shells import back, check_map, low_pass, radius, shell_means, shell_weights, transform

FIT_FROM = 10.0
"""Angstrom from which the Guinier plot of a protein is straight (Rosenthal and Henderson 2003)."""
SMALLEST_FSC = 1e-4
"""Shells from the first with an FSC below this are left out (RELION)."""
SUSPICIOUS = 0.1
"""A mask whose random-phase FSC is above this at the resolution may have made the resolution (RELION)."""
NO_AMPLITUDE = -99.0
"""The logarithm that stands for nothing in a shell (RELION)."""
BFactor = float | Literal["auto"] | None


@dataclass(frozen=True, eq=False)
class Guinier:
    """Logarithms of mean amplitudes per shell, of transforms divided by the number of voxels, at each stage."""

    squared: np.ndarray
    """(shells,) 1 / d^2 in angstrom^-2."""
    original: np.ndarray
    weighted: np.ndarray
    """After the MTF and the FSC; the B-factor is fitted to this."""
    sharpened: np.ndarray
    slope: float | None = None
    intercept: float | None = None
    r_squared: float | None = None
    """Square of the correlation of the fit (RELION's rlnCorrelationFitGuinierPlot)."""


@dataclass(frozen=True, eq=False)
class Postprocessed:
    """A sharpened map, its FSC, and how it was sharpened. b_factor in angstrom^2, negative where it sharpens."""

    map: np.ndarray
    masked: np.ndarray | None
    curves: FscCurves
    resolution: float
    """Angstrom, where the corrected FSC falls below 0.143."""
    b_factor: float
    guinier: Guinier
    warnings: tuple[str, ...] = ()


def postprocess(
    half1: np.ndarray,
    half2: np.ndarray,
    pixel: float,
    mask: np.ndarray | None = None,
    b_factor: BFactor = "auto",
    fit_from: float = FIT_FROM,
    fit_to: float = 0.0,
    mtf: np.ndarray | None = None,
    mtf_pixel: float | None = None,
    low_pass_at: float | Literal["resolution"] | None = None,
    weight_by_fsc: bool = True,
    rng: np.random.Generator | None = None,
    randomise_at: float = RANDOM_FROM,
) -> Postprocessed:
    """Sharpen and measure the mean of two half maps (z, y, x).

    pixel: angstrom. b_factor: angstrom^2, "auto" (fitted from `fit_from` to `fit_to` angstrom) or None. mtf: (m, 2)
    frequency in 1/pixel of `mtf_pixel` angstrom (by default `pixel`) and value. low_pass_at: angstrom, "resolution" or
    None. rng: for the random phases that a mask needs.
    """
    curves = gold_standard(half1, half2, mask, rng, randomise_at)
    n = half1.shape[0]
    found = resolution(curves.corrected, pixel, HALF_MAPS, n)
    limit = found if low_pass_at == "resolution" else low_pass_at
    made, b, guinier = sharpen(
        (half1.astype(np.float64) + half2) / 2, pixel, curves.corrected if weight_by_fsc else None,
        b_factor, fit_from, fit_to, mtf, mtf_pixel, limit,
    )  # fmt: skip
    made = made.astype(np.result_type(half1.dtype, np.float32))
    masked = None if mask is None else (made * mask).astype(made.dtype)
    return Postprocessed(made, masked, curves, found, b, guinier, doubts(curves))


def sharpen(
    volume: np.ndarray,
    pixel: float,
    curve: np.ndarray | None = None,
    b_factor: BFactor = "auto",
    fit_from: float = FIT_FROM,
    fit_to: float = 0.0,
    mtf: np.ndarray | None = None,
    mtf_pixel: float | None = None,
    low_pass_at: float | None = None,
) -> tuple[np.ndarray, float, Guinier]:
    """A map weighted by an FSC curve and sharpened (as `postprocess` does), the B-factor used, and the Guinier plot."""
    n = check_map("volume", volume)
    F = transform(volume)
    squared = (np.arange(n // 2 + 1) / (n * pixel)) ** 2
    original = log_amplitudes(F, n)
    if mtf is not None:
        F *= 1 / np.interp(radius(n) * ((mtf_pixel or pixel) / (n * pixel)), mtf[:, 0], mtf[:, 1])
    if curve is not None:
        F *= shell_weights(fsc_weights(curve), n)
    weighted = log_amplitudes(F, n)
    slope: float | None = None
    intercept: float | None = None
    r_squared: float | None = None
    b = 0.0
    if b_factor == "auto":
        slope, intercept, r_squared = guinier_fit(squared, weighted, fit_from, fit_to)
        b = 4 * slope
    elif b_factor is not None:
        b = float(b_factor)
    if b != 0:
        k = radius(n) / (n * pixel)
        F *= np.where(k <= 1 / (2 * pixel), np.exp(-b / 4 * k * k), 0)
    sharpened = log_amplitudes(F, n)
    if low_pass_at is not None and np.isfinite(low_pass_at):
        F *= low_pass(low_pass_at, pixel, n)(radius(n))
    return back(F, n), b, Guinier(squared, original, weighted, sharpened, slope, intercept, r_squared)


def fsc_weights(curve: np.ndarray) -> np.ndarray:
    """sqrt(2 F / (1 + F)): the correlation of the map of all particles with the truth; 0 once F has vanished."""
    gone = np.flatnonzero(curve < SMALLEST_FSC)
    held = np.maximum(curve, 0.0)
    if gone.size:
        held[gone[0] :] = 0
    return np.sqrt(2 * held / (1 + held))


def log_amplitudes(F: np.ndarray, n: int) -> np.ndarray:
    """(n // 2 + 1,) logarithm of the mean amplitude of each shell, of a transform divided by the number of voxels."""
    means = shell_means(np.abs(F), n) / n**3
    return np.log(means, out=np.full(len(means), NO_AMPLITUDE), where=means > 0)


def guinier_fit(squared: np.ndarray, logs: np.ndarray, fit_from: float, fit_to: float) -> tuple[float, float, float]:
    """Slope, intercept and squared correlation of the straight line through the logarithms between two resolutions.

    Raises ValueError for fewer than three shells with signal there: maps that do not reach far beyond `fit_from`.
    """
    d = 1 / np.sqrt(np.maximum(squared, 1e-300))
    used = (d <= fit_from) & (d >= fit_to) & (logs > NO_AMPLITUDE)
    if used.sum() < 3:
        raise ValueError(
            f"fit_from: expected three shells or more with signal beyond {fit_from:g} angstrom, to fit a B-factor to, "
            f"found {used.sum()}; fit from a lower resolution, or give the B-factor"
        )
    x, y = squared[used], logs[used]
    slope, intercept = np.polyfit(x, y, 1)
    return float(slope), float(intercept), float(np.corrcoef(x, y)[0, 1] ** 2)


def doubts(curves: FscCurves) -> tuple[str, ...]:
    """What speaks against a mask, in words."""
    if curves.masked is None:
        return ()
    shell = resolution_shell(curves.corrected)
    said = []
    if resolution_shell(curves.unmasked) > shell:
        said.append("the FSC without the mask reaches further than the one corrected for it: the mask may be too tight")
    if curves.randomised is None:
        said.append("the FSC never fell far enough to randomise phases: it is not corrected for the mask")
    elif curves.randomised[shell] > SUSPICIOUS:
        said.append(
            f"the FSC of random phases is {curves.randomised[shell]:.2f} at the resolution: a softer or wider mask "
            "would make the resolution more trustworthy"
        )
    return tuple(said)
