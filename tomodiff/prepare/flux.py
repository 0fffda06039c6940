"""Flux of the beam from view to view, read off the air beside the sample."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from tomodiff.errors import ConfigError
from tomodiff.prepare.record import expect_kind, record
from tomodiff.prepare.threads import each, written_to
from tomodiff.result import Dataset

Floats = NDArray[np.float64]

DIMMEST_AIR = 0.5
"""Transmission below which nothing counts as air, whatever else it looks like."""

DIMMER_THAN_BRIGHTEST = 0.85
"""Air is at least this fraction of the brightest 5 % of the scan (beams move, and are brighter in the middle)."""

FALL = 0.02
"""Rise of -log, beyond noise, relative to the outermost columns, at which the sample begins."""

STEADY = 0.02
"""Change of -log, beyond noise, from view to view that beams and detectors make by themselves."""

ROW_BLOCKS = 24
"""Groups of rows that are looked at separately, so that a sample in a few rows is seen."""


class Air(NamedTuple):
    """How many columns at the left and at the right end of the detector see nothing but air in all views."""

    left: int
    right: int


def find_air(transmission: NDArray[Any], threads: int = 1) -> Air:
    """The air at the detector's sides, conservatively: 0 where in doubt.

    A side counts as air if its outermost columns are bright (above 0.5, and 0.85 of the brightest 5 % of each view) and
    keep their ratios between groups of rows, and to the other side, from view to view up to noise (the flux itself may
    change); from there it reaches inwards up to the first column that any view or group of rows shows darker, less a
    margin.
    """
    nv, nu = transmission.shape[1:]
    side = max(2, nu // 64)
    if nu < 8 * side or len(transmission) < 2:
        return Air(0, 0)
    blocks = min(ROW_BLOCKS, nv)
    profile = _by_groups(transmission, np.linspace(0, nv, blocks + 1).astype(int), threads)
    brightest = np.percentile(profile.reshape(len(profile), -1), 95, axis=1)[:, None]
    log = np.log(np.maximum(profile, 1e-3))
    # pixel noise, from differences of neighbouring columns; even the sample adds little to its lower quartile
    noise = float(np.percentile(np.abs(np.diff(log, axis=2)).mean(axis=(0, 1)), 25)) * 1.2533 / np.sqrt(2)
    found = []
    for flip in (False, True):
        side_log = log[:, :, ::-1] if flip else log
        found.append(_reach(side_log, side, noise, brightest))
    ends = [log[:, :, :side], log[:, :, -side:]]
    if all(found):
        return Air(*found) if _steady(np.concatenate(ends, axis=1), noise) else Air(0, 0)
    if blocks == 1 and any(found):  # one row, one side: nothing to compare with, so the level itself must be steady
        level = ends[0] if found[0] else ends[1]
        return Air(*found) if _steady(np.concatenate([level, np.zeros_like(level)], axis=1), noise) else Air(0, 0)
    return Air(*found)


def _by_groups(transmission: NDArray[Any], bounds: NDArray[np.intp], threads: int) -> Floats:
    """The mean over groups of rows (view, group, u), without what is not a number."""
    profile = np.empty((len(transmission), len(bounds) - 1, transmission.shape[2]))
    rows = np.diff(bounds)[:, None]

    def view(i: int) -> None:
        parts = [transmission[i, a:b] for a, b in pairwise(bounds)]
        profile[i] = [part.sum(axis=0) for part in parts] / rows
        if not np.isfinite(profile[i]).all():
            profile[i] = [np.nanmean(part, axis=0, dtype=np.float64) for part in parts]

    each(view, len(transmission), threads)
    return profile


def _reach(log: Floats, side: int, noise: float, brightest: Floats) -> int:
    """Columns of air from column 0 inwards; `log` (view, group of rows, u) is the log of the transmission."""
    rim = log[:, :, :side]
    level = np.exp(rim.mean(axis=2))
    if (level < np.maximum(DIMMEST_AIR, DIMMER_THAN_BRIGHTEST * brightest)).any():
        return 0
    if rim.shape[1] > 1 and not _steady(rim, noise):
        return 0
    smooth = scipy.ndimage.uniform_filter1d(log, side, axis=2, mode="nearest")
    fall = rim.mean(axis=2, keepdims=True) - smooth
    limit = FALL + 5 * noise * np.sqrt(2 / side)
    dark = np.flatnonzero(fall.max(axis=(0, 1)) > limit)
    if not dark.size:  # nothing but air as far as this side can tell
        return log.shape[2] // 4
    return max(0, int(dark[0]) - 2 * side)


def _steady(rim: Floats, noise: float) -> bool:
    """Whether the groups' ratios (view, group, u) stay what they are from view to view, up to noise and slow change."""
    level = rim.mean(axis=2)
    change = level - level.mean(axis=1, keepdims=True)
    change = change - change.mean(axis=0)
    return bool(change.std() < 4 * noise / np.sqrt(rim.shape[2]) + STEADY)


class AirFit(NamedTuple):
    """The log transmission of air, per view, as a polynomial in x = -1..1 across the detector.

    `coefficients` (view, degree + 1); `error` is the standard error of the mean air of one view.
    """

    coefficients: Floats
    error: float


def fit_air(transmission: NDArray[Any], air: Air) -> AirFit:
    """Least-squares polynomials through the air of each view.

    A constant where one side alone has air.  With both sides a line; and a parabola (a beam whose profile has changed
    since the flats) where each side has air on a twelfth of the detector and the mean curvature is ten times its error.
    """
    nv, nu = transmission.shape[1:]
    columns = np.concatenate([np.arange(air.left), np.arange(nu - air.right, nu)])
    x = np.linspace(-1, 1, nu)[columns]
    pixels = np.maximum(transmission[:, :, columns], 1e-3)
    profile = np.log(pixels.mean(axis=1, dtype=np.float64))
    beside = 2 if len(columns) > 1 else 1 if nv > 1 else 0  # neighbours to tell the noise by: columns, rows or views
    scatter = float(np.median(np.abs(np.diff(pixels, axis=beside)))) * 1.4826 / np.sqrt(2) / float(np.median(pixels))
    error = float(scatter / np.sqrt(nv * len(columns)))
    if not (air.left and air.right):
        return AirFit(profile.mean(axis=1, keepdims=True), error)
    degree = 1
    if min(air.left, air.right) * 12 >= nu:
        basis = np.polynomial.polynomial.polyvander(x, 2)
        inverse = np.linalg.pinv(basis)
        mean_profile = profile.mean(axis=0)
        curve = inverse @ mean_profile
        residual = float((mean_profile - basis @ curve).std())
        if abs(curve[2]) > 10 * residual * np.linalg.norm(inverse[2]):
            degree = 2
    return AirFit(np.asarray(np.polynomial.polynomial.polyfit(x, profile.T, degree)).T, error)


def normalise_flux(
    dataset: Dataset, air: tuple[int, int] | Air | None = None, threads: int = 1, reuse: bool = False
) -> Dataset:
    """The transmission divided, view by view, by that of the air beside the sample, so that air transmits 1.

    `air`: how many columns at the (left, right) end see air in all views; None looks for them (`find_air`), and leaves
    the scan as it is, with a warning, where there are none.  The divisor follows `fit_air` across the detector.  Where
    its changes from view to view are within the noise of the air, their smooth trend (a cubic in the view's number) is
    divided out instead, which adds no noise.  reuse: the result may take the place of the dataset's data in memory.
    """
    expect_kind(dataset, "normalise_flux", "transmission")
    nu = dataset.data.shape[2]
    given = air is not None
    where = Air(*air) if air is not None else find_air(dataset.data, threads)
    if min(where) < 0 or sum(where) >= nu or (given and sum(where) == 0):
        raise ConfigError(f"air: expected columns at the (left, right) end, together 1 to {nu - 1}, got {tuple(where)}")
    if sum(where) == 0:
        line = "no air seen at the detector's sides in all views; flux left as it is"
        return record(dataset, "normalise_flux", line, {"air_columns": [0, 0]}, [line])
    fit = fit_air(dataset.data, where)
    powers = np.polynomial.polynomial.polyvander(np.linspace(-1, 1, nu), fit.coefficients.shape[1] - 1)
    in_air = np.concatenate([powers[: where.left], powers[nu - where.right :]])
    level = fit.coefficients @ in_air.mean(axis=0)
    smooth, flicker = False, 0.0
    if len(level) > 8:
        wobble = np.diff(level - _trend(level[:, None])[:, 0])
        flicker = float(1.4826 / np.sqrt(2) * np.median(np.abs(wobble)))
        smooth = flicker < 2 * fit.error
    coefficients = _trend(fit.coefficients) if smooth else fit.coefficients
    data = written_to(dataset.data, reuse)

    def view(i: int) -> None:
        np.multiply(dataset.data[i], np.exp(-(powers @ coefficients[i])).astype(np.float32), out=data[i])

    each(view, len(data), threads)
    before = np.exp(level)
    numbers = {
        "air_columns": [int(where.left), int(where.right)],
        "air_given": given,
        "air_transmission_before": [float(before.min()), float(before.mean()), float(before.max())],
        "degree_across": fit.coefficients.shape[1] - 1,
        "flicker": flicker,
        "standard_error": fit.error,
        "smoothed_over_views": smooth,
    }
    off = abs(float(before.mean()) - 1)
    warnings = [f"air transmitted {before.mean():.3f} before: the flats do not fit the scan"] if off > 0.1 else []
    line = f"air ({where.left} columns left, {where.right} right) transmitted {before.mean():.4f}; now 1"
    return record(dataset.replace(data=data), "normalise_flux", line, numbers, warnings)


def _trend(values: Floats) -> Floats:
    """The least-squares cubic through each column of `values` (view, n), views at equal steps."""
    x = np.linspace(-1, 1, len(values))
    polynomial = np.polynomial.polynomial.polyfit(x, values, 3)
    return np.asarray(np.polynomial.polynomial.polyvander(x, 3) @ polynomial)
