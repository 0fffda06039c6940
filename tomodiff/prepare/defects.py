"""Detector pixels that cannot be trusted, and their repair from neighbours in the same projection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from tomodiff.errors import DataError
from tomodiff.prepare.flat_field import response
from tomodiff.prepare.medians import median_of
from tomodiff.prepare.record import expect_kind, record, source
from tomodiff.prepare.threads import each, row_blocks
from tomodiff.result import Dataset

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

WINDOW = 5
"""Side, in pixels, of the neighbourhood that a pixel is compared with."""

NO_RESPONSE = 0.1
"""Response, relative to the local median, below which a pixel counts as dead."""

SIGMAS, FRACTION = 10.0, 0.1
"""A value is an outlier this many robust standard deviations and this fraction off the local median."""

MANY_CONSTANT = 0.05
"""Share of pixels without any change at which these are taken to be free of noise, not stuck."""

LISTED = 10
"""Positions that reports list."""


@dataclass(frozen=True, eq=False)
class Defects:
    """Which pixels (v, u) of a detector are defective, and how many for each reason (the first that applies)."""

    mask: Mask
    reasons: dict[str, int]

    def positions(self) -> list[list[int]]:
        """The first ten, as [v, u]."""
        found = np.argwhere(self.mask)[:LISTED]
        return [[int(v), int(u)] for v, u in found]


class PixelSums:
    """What `find_defects` knows of each pixel's values in all views, gathered from a few views at a time."""

    def __init__(self, shape: tuple[int, int], threads: int = 1) -> None:
        self.views, self.threads, self.blocks = 0, threads, row_blocks(shape)
        self.nonfinite, self.total = np.zeros(shape, np.int64), np.zeros(shape)
        self.lowest, self.highest = np.full(shape, np.inf), np.full(shape, -np.inf)

    def add(self, data: NDArray[Any]) -> None:
        """Take in some views (view, v, u)."""
        self.views += len(data)

        def block(k: int) -> None:
            rows = self.blocks[k]
            for view in data:
                part = view[rows]
                if part.dtype.kind == "f":
                    self.nonfinite[rows] += ~np.isfinite(part)
                self.total[rows] += part
                np.fmin(self.lowest[rows], part, out=self.lowest[rows])
                np.fmax(self.highest[rows], part, out=self.highest[rows])

        each(block, len(self.blocks), self.threads)


def find_defects(
    dataset: Dataset, sums: PixelSums | None = None, beam: tuple[Floats, Floats] | None = None, threads: int = 1
) -> Defects:
    """The pixels that are defective throughout the scan.

    "not finite": NaN or infinite in flats, darks or at least half of the views; "no response": flat - dark below a
    tenth of its neighbours'; "outlier": both flat - dark and the mean transmission far off the local median (dust dims
    the flat alone: that is corrected, not a defect); "stuck": the same value in all views while its neighbours' values
    change.  sums: those of all views, and beam: what `response` says, where they are known.
    """
    if sums is None:
        sums = PixelSums(dataset.data.shape[1:], threads)
        sums.add(dataset.data)
    taken = np.zeros(dataset.data.shape[1:], dtype=bool)
    reasons: dict[str, int] = {}
    for reason, mask in _suspects(dataset, sums, beam).items():
        new = mask & ~taken
        if new.any():
            reasons[reason] = int(new.sum())
        taken |= mask
    return Defects(taken, reasons)


def _suspects(dataset: Dataset, sums: PixelSums, beam: tuple[Floats, Floats] | None) -> dict[str, Mask]:
    nonfinite = sums.nonfinite >= max(1.0, 0.5 * sums.views)
    found = {"not finite": nonfinite}
    if dataset.flats is not None and len(dataset.flats):
        full, dark = response(dataset.flats, dataset.darks, sums.threads) if beam is None else beam
        found["not finite"] = nonfinite | ~np.isfinite(full) | ~np.isfinite(dark)
        full = np.where(np.isfinite(full), full, 0.0)
        local = _local_median(full, sums.threads)
        found["no response"] = full <= np.maximum(NO_RESPONSE * local, 0.0)
        mean = sums.total / sums.views - np.where(np.isfinite(dark), dark, 0.0)
        alive = ~found["no response"] & ~found["not finite"] & np.isfinite(mean)
        through = np.divide(mean, full, out=np.ones(full.shape), where=alive)
        found["outlier"] = alive & _outliers(full, local) & _outliers(through, _local_median(through, sums.threads))
    found["stuck"] = _stuck(sums)
    return found


def _outliers(image: Floats, local: Floats) -> Mask:
    """Pixels whose value is far off `local`, the median of their neighbourhood."""
    ratio = np.divide(image, local, out=np.ones(image.shape), where=local > 0) - 1
    spread = 1.4826 * np.median(np.abs(ratio - np.median(ratio)))
    return np.asarray(np.abs(ratio) > max(SIGMAS * spread, FRACTION))


def _stuck(sums: PixelSums) -> Mask:
    """Pixels that never change although those around them do; none where the data has no noise to tell them by."""
    never = sums.highest < sums.lowest  # no value at all
    change = np.where(never, np.nan, sums.highest - np.where(never, 0.0, sums.lowest))
    if sums.views < 3 or (change == 0).mean() > MANY_CONSTANT:
        return np.zeros(change.shape, dtype=bool)
    return np.asarray((change == 0) & (_local_median(np.nan_to_num(change), sums.threads) > 0))


def _local_median(image: Floats, threads: int = 1) -> Floats:
    if min(image.shape) < WINDOW:
        size = tuple(min(WINDOW, n) for n in image.shape)
        return np.asarray(scipy.ndimage.median_filter(image, size=size, mode="nearest"))
    around, result = np.pad(image, WINDOW // 2, mode="edge"), np.empty(image.shape)
    blocks = row_blocks((image.shape[0], WINDOW * image.shape[1]))

    def block(k: int) -> None:
        rows = blocks[k]
        tall = around[rows.start : rows.stop + WINDOW - 1]
        shifts = np.lib.stride_tricks.sliding_window_view(tall, (WINDOW, WINDOW))
        result[rows] = median_of([shifts[:, :, i, j] for i in range(WINDOW) for j in range(WINDOW)])

    each(block, len(blocks), threads)
    return result


def fill(image: NDArray[Any], mask: Mask) -> NDArray[Any]:
    """A copy of one image (v, u) in which the pixels of `mask` are weighted means of the nearest others."""
    result = image.copy()
    for pixel, neighbours, weights in _recipes(mask):
        result[pixel] = image[neighbours] @ weights
    return result


def _recipes(mask: Mask) -> list[tuple[tuple[int, int], tuple[NDArray[np.intp], NDArray[np.intp]], Floats]]:
    """For each masked pixel the good pixels (v, u) that replace it and their weights, 1 / distance^2.

    The neighbourhood grows until it holds good pixels to the left and to the right, where there are any at all.
    """
    nv, nu = mask.shape
    known = np.flatnonzero(~mask.all(axis=0))
    first, last = (known[0], known[-1]) if known.size else (nu, -1)
    recipes = []
    for v, u in np.argwhere(mask):
        for reach in range(1, max(nv, nu)):
            rows = np.arange(max(0, v - reach), min(nv, v + reach + 1))
            columns = np.arange(max(0, u - reach), min(nu, u + reach + 1))
            y, x = (grid.ravel() for grid in np.meshgrid(rows, columns, indexing="ij"))
            good = ~mask[y, x]
            y, x = y[good], x[good]
            beside = ((x < u).any() or u <= first) and ((x > u).any() or u >= last)
            if len(y) >= min(2, (~mask).sum()) and beside:
                break
        weights = 1.0 / ((y - v) ** 2 + (x - u) ** 2)
        recipes.append(((int(v), int(u)), (y, x), weights / weights.sum()))
    return recipes


def repair(data: NDArray[Any], mask: Mask, reuse: bool = False, name: str = "projections") -> tuple[NDArray[Any], int]:
    """A copy of projections (view, v, u), or with `reuse` these themselves, with the pixels of `mask`, and all that are
    not finite, filled in.

    Returns how many values outside `mask` were not finite.  Floating-point data only.  DataError, in which they
    are called `name`, for a view of which more than half is missing.
    """
    result = data if reuse and data.flags.writeable else data.copy()
    recipes = _recipes(mask)
    transient = 0
    for view, image in enumerate(data):
        bad = ~np.isfinite(image) & ~mask
        if bad.any():
            missing = mask | bad
            if missing.mean() > 0.5:
                raise DataError(
                    name, f"view {view}", "at least half of its values", f"{(~missing).sum()} of {mask.size}"
                )
            transient += int(bad.sum())
            result[view] = fill(image, missing)
        else:
            for pixel, neighbours, weights in recipes:
                result[(view, *pixel)] = image[neighbours] @ weights
    return result, transient


def repair_pixels(dataset: Dataset, defects: Defects | None = None, reuse: bool = False) -> Dataset:
    """The scan (transmission or line integrals) with defective pixels interpolated within each projection.

    `defects` as found in the counts before flat_field; None looks for them here.  Values that are not finite in single
    views are repaired too.  reuse: the dataset's data may be written over.  DataError where more than half of the
    pixels are defective.
    """
    expect_kind(dataset, "repair_pixels", "transmission", "line_integrals")
    found = find_defects(dataset) if defects is None else defects
    if found.mask.shape != tuple(dataset.data.shape[1:]):
        raise DataError(source(dataset), "defects", f"shape {dataset.data.shape[1:]}", str(found.mask.shape))
    if found.mask.mean() > 0.5:
        many = f"{found.mask.sum()}: {found.reasons}"
        raise DataError(source(dataset), "pixels", "at most half of them defective", many)
    data, transient = repair(dataset.data, found.mask, reuse, source(dataset))
    count = int(found.mask.sum())
    numbers = {
        "defective_pixels": count,
        "reasons": found.reasons,
        "positions_vu": found.positions(),
        "single_values": transient,
    }
    warnings = []
    if count > 0.01 * found.mask.size:
        share = count / found.mask.size
        warnings.append(f"{count} pixels ({share:.1%} of the detector) are defective: {found.reasons}")
    if transient:
        warnings.append(f"{transient} values that were not finite in single views were interpolated")
    why = "; ".join(f"{n} {reason}" for reason, n in found.reasons.items())
    line = f"{count} pixels interpolated{f' ({why})' if why else ''}, {transient} single values"
    return record(dataset.replace(data=data), "repair_pixels", line, numbers, warnings)
