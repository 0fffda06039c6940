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

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from tomodiff.errors import ConfigError
from tomodiff.prepare.medians import last_axis_median, median_of
from tomodiff.prepare.record import expect_kind, record
from tomodiff.prepare.threads import each
from tomodiff.result import Dataset

Floats = NDArray[np.float64]
Reals = NDArray[Any]

WINDOWS = {"light": 5, "normal": 7, "strong": 13}
"""Columns of neighbourhood by strength: the wider, the wider stripes are seen and the more the object leaks."""

PASSES = 4
"""Times that offsets are estimated anew from what the last ones leave."""

PARTS = 8
"""Equal runs of views whose offsets are compared."""

BLOCK = 64
"""Columns that are looked at together, few enough to stay in the cache."""

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
        every = -(-len(sinogram) // MOST_VIEWS)
        taken = np.ascontiguousarray(sinogram[::every].T, np.result_type(sinogram.dtype, np.float32))
        constant = self._constant(taken)
        change = np.zeros_like(constant)
        if self.drift and taken.shape[1] >= 4 * PARTS and len(taken) >= 2 * WINDOWS[self.strength]:
            change = self._change(_without(taken, constant))
        return constant, change

    def _constant(self, columns: Reals) -> Floats:
        offset = np.zeros(len(columns))
        if columns.shape[1] < 2 * PARTS or len(columns) < 2 * WINDOWS[self.strength]:
            return offset
        for _ in range(PASSES):
            details, near_kink = self._details(_without(columns, offset))
            parts = [_combine(details[..., part], near_kink) for part in _parts(columns.shape[1])]
            whole = _combine(details, near_kink)
            variance = np.var(parts, axis=0, ddof=1) / PARTS
            offset = offset + whole * _shrink(whole, variance)
        return offset

    def _change(self, columns: Reals) -> Floats:
        """The change through the scan of what is left after the constant offset, a line through the parts' offsets."""
        details, near_kink = self._details(columns)
        parts = np.stack([_combine(details[..., part], near_kink) for part in _parts(columns.shape[1])])
        time = (np.arange(PARTS) - (PARTS - 1) / 2) / PARTS
        slope = time @ parts / (time @ time)
        residual = parts - parts.mean(axis=0) - time[:, None] * slope
        variance = (residual**2).sum(axis=0) / (PARTS - 2) / (time @ time)
        return slope * _shrink(slope, 2 * variance)

    def _details(self, columns: Reals) -> tuple[Reals, NDArray[np.bool_]]:
        """What each value (u, view) differs from its neighbours in the same view, in three ways (3, u, view); and the
        columns near kinks."""
        reach, n = WINDOWS[self.strength] // 2, len(columns)
        near = np.pad(columns, ((reach, reach), (0, 0)), mode="edge")
        bent = np.pad(columns, ((reach, reach), (0, 0)), mode="reflect", reflect_type="odd")
        guess = np.empty((3, *columns.shape), columns.dtype)
        for start in range(0, n, BLOCK):
            block = slice(start, min(start + BLOCK, n))
            width = block.stop - start
            around = [near[start + k : start + k + width] for k in range(2 * reach + 1)]
            pairs = [bent[start + reach - k :][:width] + bent[start + reach + k :][:width] for k in range(1, reach + 1)]
            guess[0, block], guess[1, block] = median_of(around), _parabola(around)
            np.multiply(median_of(pairs), 0.5, out=guess[2, block])
        _parabola_at_ends(columns, guess[1], 2 * reach + 1)
        return np.subtract(columns, guess, out=guess), _near_kinks(last_axis_median(columns).astype(np.float64))


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

    each(row, data.shape[1], threads)
    return result, offset


def _parts(views: int) -> list[slice]:
    bounds = np.linspace(0, views, PARTS + 1).astype(int)
    return [slice(int(a), int(b)) for a, b in pairwise(bounds)]


def _without(columns: Reals, offset: Floats) -> Reals:
    """Columns (u, view) less the offset (u,) of each, in their own precision."""
    return np.subtract(columns, offset[:, None].astype(columns.dtype))


def _combine(details: Reals, near_kink: NDArray[np.bool_]) -> Floats:
    """One offset per column from the medians over the views: their median, near kinks what all agree on."""
    estimates = last_axis_median(details).astype(np.float64)
    agree = np.abs(np.sign(estimates).sum(axis=0)) == len(estimates)
    least = np.sign(estimates[0]) * np.abs(estimates).min(axis=0) * agree
    return np.where(near_kink, least, np.median(estimates, axis=0))


def _shrink(estimate: Floats, variance: Floats) -> Floats:
    """The factor in 0..1 that keeps of an estimate what its variance does not explain (positive-part James-Stein)."""
    square = estimate**2
    return np.maximum(0.0, 1.0 - np.divide(variance, square, out=np.ones_like(square), where=square > 0))


def _parabola(around: list[Reals]) -> Reals:
    """The value of the parabola that fits best through each value and its neighbours (Savitzky & Golay 1964)."""
    weights = [float(w) for w in _parabola_matrix(len(around))[len(around) // 2]]
    fit = weights[0] * around[0]
    for weight, layer in zip(weights[1:], around[1:], strict=True):
        fit += weight * layer
    return np.asarray(fit)


def _parabola_at_ends(columns: Reals, fit: Reals, window: int) -> None:
    """Correct the outer columns of `fit`, which have no neighbours on one side: the outermost parabola goes on."""
    matrix, half = _parabola_matrix(window).astype(columns.dtype), window // 2
    fit[:half] = matrix[:half] @ columns[:window]
    fit[-half:] = matrix[-half:] @ columns[-window:]


@cache
def _parabola_matrix(window: int) -> Floats:
    """From values to those of the parabola that fits them best."""
    powers = np.vander(np.arange(window) - window // 2, 3)
    return np.asarray(powers @ np.linalg.pinv(powers))


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
