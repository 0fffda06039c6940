"""Ring removal: stripes that stay in their column through all views, estimated and subtracted from line integrals.

A pixel whose gain has changed since the flat fields adds the same offset to its line integral in every view: a straight
stripe in the sinogram, a ring in the slice.  The object moves, so the median over the views of what a column differs
from its neighbours is that offset, as long as the object has no detail that stays in the column too.  One offset per
pixel is subtracted and nothing else changes: no smoothing, no sorting of what belongs to the object.

Three estimates of the difference from neighbours are made, each of which fails differently on objects: from the moving
median (blind on slopes), from a local parabola (leaks at edges) and from the median of symmetric pairs (leaks where the
profile bends).  Their median is used, but next to a kink of the mean profile (the rim of a centred cylinder, which
stays in its column) only what all three agree on.  What does not agree between eight parts of the scan is taken back.

The idea of separating stripes by robust statistics along the views: Vo, Atwood & Drakopoulos 2018, Optics Express 26,
28396; limits of any such method for objects with circular symmetry: Sijbers & Postnov 2004, Phys. Med. Biol. 49, N247.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from tomodiff.errors import ConfigError
from tomodiff.prepare.record import expect_kind, record
from tomodiff.result import Dataset

Floats = NDArray[np.float64]

WINDOWS = {"light": 5, "normal": 7, "strong": 13}
"""Columns of neighbourhood by strength: the wider, the wider stripes are seen and the more the object leaks."""

PASSES = 4
"""Times that offsets are estimated anew from what the last ones leave."""

PARTS = 8
"""Equal runs of views whose offsets are compared."""

MOST_VIEWS = 256
"""Views, evenly taken, from which offsets are estimated where a scan has more."""

KINK_SIGMAS, KINK_REACH = 3.0, 4
"""Robust standard deviations at which a change of slope is a kink, and the columns on each side that it affects."""


@dataclass(frozen=True)
class RingFilter:
    """How stripes are estimated: `strength` "light", "normal" or "strong"; `drift` lets each pixel's offset also change
    linearly through the scan."""

    strength: str = "normal"
    drift: bool = False

    def __post_init__(self) -> None:
        if self.strength not in WINDOWS:
            raise ConfigError(f"ring strength: expected one of {sorted(WINDOWS)}, got {self.strength!r}")

    def offsets(self, sinogram: NDArray[Any]) -> tuple[Floats, Floats]:
        """Each column's offset (u,), and its change from first to last view (u,), of one sinogram (view, u)."""
        taken = sinogram[:: -(-len(sinogram) // MOST_VIEWS)].astype(np.float64)
        constant = self._constant(taken)
        change = np.zeros_like(constant)
        if self.drift and len(taken) >= 4 * PARTS:
            change = self._change(taken - constant)
        return constant, change

    def _constant(self, sinogram: Floats) -> Floats:
        offset = np.zeros(sinogram.shape[1])
        if len(sinogram) < 2 * PARTS or sinogram.shape[1] < 2 * WINDOWS[self.strength]:
            return offset
        for _ in range(PASSES):
            details, near_kink = self._details(sinogram - offset)
            whole = _combine(details, near_kink)
            parts = [_combine([d[p] for d in details], near_kink) for p in _parts(len(sinogram))]
            variance = np.var(parts, axis=0, ddof=1) / PARTS
            offset = offset + whole * _shrink(whole, variance)
        return offset

    def _change(self, sinogram: Floats) -> Floats:
        """The change through the scan of what is left after the constant offset, a line through the parts' offsets."""
        details, near_kink = self._details(sinogram)
        parts = np.stack([_combine([d[p] for d in details], near_kink) for p in _parts(len(sinogram))])
        time = (np.arange(PARTS) - (PARTS - 1) / 2) / PARTS
        slope = time @ parts / (time @ time)
        residual = parts - parts.mean(axis=0) - time[:, None] * slope
        variance = (residual**2).sum(axis=0) / (PARTS - 2) / (time @ time)
        return slope * _shrink(slope, 2 * variance)

    def _details(self, sinogram: Floats) -> tuple[list[Floats], NDArray[np.bool_]]:
        """What each value differs from its neighbours in the same view, in three ways; and the columns near kinks."""
        from scipy.signal import savgol_filter  # brings much of SciPy with it

        window = WINDOWS[self.strength]
        median = scipy.ndimage.median_filter(sinogram, size=(1, window), mode="nearest")
        parabola = savgol_filter(sinogram, window, 2, axis=1, mode="interp")
        near_kink = _near_kinks(np.median(sinogram, axis=0))
        return [sinogram - median, sinogram - parabola, sinogram - _pairs(sinogram, window // 2)], near_kink


def remove_rings(dataset: Dataset, ring_filter: RingFilter | None = None, threads: int = 1) -> Dataset:
    """The line integrals less the offsets that stay in their pixel through all views (see the module), row by row."""
    expect_kind(dataset, "remove_rings", "line_integrals")
    chosen = ring_filter or RingFilter()
    data, offset = subtract_stripes(dataset.data, chosen, threads)
    numbers = {
        "strength": chosen.strength,
        "drift": chosen.drift,
        "offset_rms": float(np.sqrt(np.mean(offset**2))),
        "offset_largest": float(np.abs(offset).max(initial=0.0)),
        "pixels_changed": int(np.count_nonzero(offset)),
    }
    line = f"{chosen.strength}: offsets of {numbers['offset_rms']:.3g} rms, {numbers['offset_largest']:.3g} at most"
    return record(dataset.replace(data=data), "remove_rings", line, numbers)


def subtract_stripes(data: NDArray[Any], ring_filter: RingFilter, threads: int = 1) -> tuple[NDArray[Any], Floats]:
    """Line integrals (view, v, u) without stripes, in the same dtype, and the constant offsets (v, u) subtracted."""
    result = np.empty_like(data)
    offset = np.empty(data.shape[1:])
    time = np.linspace(-0.5, 0.5, len(data)) if len(data) > 1 else np.zeros(1)

    def row(v: int) -> None:
        constant, change = ring_filter.offsets(data[:, v])
        offset[v] = constant
        result[:, v] = data[:, v] - (constant + time[:, None] * change)

    with ThreadPoolExecutor(max(1, threads)) as pool:
        list(pool.map(row, range(data.shape[1])))
    return result, offset


def _parts(views: int) -> list[slice]:
    bounds = np.linspace(0, views, PARTS + 1).astype(int)
    return [slice(int(a), int(b)) for a, b in pairwise(bounds)]


def _combine(details: list[Floats], near_kink: NDArray[np.bool_]) -> Floats:
    """One offset per column from the medians over the views: their median, near kinks what all agree on."""
    estimates = np.stack([np.median(detail, axis=0) for detail in details])
    agree = np.abs(np.sign(estimates).sum(axis=0)) == len(estimates)
    least = np.sign(estimates[0]) * np.abs(estimates).min(axis=0) * agree
    return np.where(near_kink, least, np.median(estimates, axis=0))


def _shrink(estimate: Floats, variance: Floats) -> Floats:
    """The factor in 0..1 that keeps of an estimate what its variance does not explain (positive-part James-Stein)."""
    square = estimate**2
    return np.maximum(0.0, 1.0 - np.divide(variance, square, out=np.ones_like(square), where=square > 0))


def _pairs(sinogram: Floats, reach: int) -> Floats:
    """The median over k = 1..reach of the mean of the values k columns to the left and to the right."""
    n = sinogram.shape[1]
    wide = np.pad(sinogram, ((0, 0), (reach, reach)), mode="reflect", reflect_type="odd")
    means = [(wide[:, reach - k : reach - k + n] + wide[:, reach + k : reach + k + n]) / 2 for k in range(1, reach + 1)]
    return np.asarray(np.median(means, axis=0))


def _near_kinks(profile: Floats) -> NDArray[np.bool_]:
    """Columns near an abrupt change of slope of the mean profile, from lines through 5 columns on each side."""
    width, n = 5, len(profile)
    line = np.arange(width) - (width - 1) / 2
    slope = np.correlate(np.pad(profile, width, mode="edge"), line / (line @ line), "valid")
    change = np.append(slope, slope[-1])[width + 1 : width + 1 + n] - slope[:n]
    change -= scipy.ndimage.median_filter(change, size=31, mode="nearest")
    size = np.abs(change)
    peak = size == scipy.ndimage.maximum_filter1d(size, 2 * width - 1)
    kinks = peak & (size > KINK_SIGMAS * 1.4826 * np.median(size) + 1e-6)
    return np.asarray(scipy.ndimage.binary_dilation(kinks, iterations=KINK_REACH)) if kinks.any() else kinks
