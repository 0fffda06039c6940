"""Tomograms of tilt series: weighted back projection, and iterations through the X-ray projector.

Densities are in units of the images per angstrom.  The work is done in the frame (x, -z, y) of a turned grid, in which
an aligned series is a parallel beam about the vertical axis (see `tomodiff.geometry.tilt`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomodiff.analytic.tilt_filter import back_project, filter_views, padded_size, tilt_filter
from tomodiff.array import Array, namespace, to_numpy
from tomodiff.geometry import Grid
from tomodiff.geometry.tilt import TiltSeries, to_tomogram
from tomodiff.objective import TotalVariation
from tomodiff.prepare.dose import dose_weighted
from tomodiff.prepare.tilt_images import aligned_images, bin_images, check_images, normalised, tapered
from tomodiff.projectors import XRay
from tomodiff.projectors.xray_blocks import even_parts, rows_that_see
from tomodiff.ranks import ALONE, Comm, own_views
from tomodiff.recipes.ct.invert import PROX_ITERATIONS, automatic_tv_weight, least_squares
from tomodiff.solvers import Cgls, Fista, Sirt, State, iterate

ITERATIVE = ("sirt", "cgls", "fista-tv")
STEEPEST = np.deg2rad(80.0)
"""Tilts up to which the tomogram is widened so that all rays pass it from top to bottom."""


@dataclass(frozen=True)
class Prepared:
    """Images ready to be reconstructed: aligned, with the weight (0 or 1) of each pixel.

    Of several ranks each has its own of the series (`own_views`); tilts, in radians, are those of all.
    """

    images: np.ndarray
    weights: np.ndarray
    series: TiltSeries
    tilts: np.ndarray
    comm: Comm = ALONE


def prepared(
    images: np.ndarray,
    series: TiltSeries,
    *,
    bin: int = 1,
    normalise: str = "mean-variance",
    dose_weighting: bool = False,
    voltage: float = 300.0,
    taper: int = 0,
    tilts: np.ndarray | None = None,
    comm: Comm = ALONE,
) -> Prepared:
    """Tilt images (n, row, column) binned, dose weighted, normalised, turned upright and tapered, in this order.

    The dose of an image is what the specimen had seen before it, and half of its own.  tilts: of all images,
    where these are one rank's.
    """
    check_images(images, series)
    images, series = bin_images(images, series, bin)
    if dose_weighting:
        images = dose_weighted(images, series.dose + series.exposure / 2, series.pixel, voltage)
    images = normalised(images, normalise)
    images, inside, series = aligned_images(images, series)
    if taper:
        images = tapered(images, taper)
    return Prepared(images, inside, series, series.tilt if tilts is None else tilts, comm)


def tomogram_wbp(
    data: Prepared,
    shape: tuple[int, int, int],
    *,
    weighting: str = "ramp",
    window: str = "ram-lak",
    sirt_iterations: int | None = None,
    padding: str = "edge",
    slabs: int = 1,
    out: np.ndarray | None = None,
    device: Callable[[np.ndarray], Array] = np.asarray,
) -> np.ndarray:
    """The tomogram (z, y, x) of `shape` by weighted back projection; voxels have the size of the images' pixels.

    slabs: so many along y, one after the other, into `out`, which may lie in a file; each takes the rows of the images
    that see it.  weighting, window, sirt_iterations: see `tilt_filter`; its thickness is that of the tomogram.
    padding: see `filter_views`.  Directions that were not measured count as zero.  Radermacher 1988 (J. Electron
    Microsc. Tech. 9, 359); Harauz & van Heel 1986 for "exact".
    """
    series = data.series
    size = padded_size(series.image_shape[1])
    thickness = shape[0] * series.pixel
    response = tilt_filter(size, series.pixel, data.tilts, thickness, weighting, window, sirt_iterations)
    scan, grid = series.scan(turned=True), series.grid(shape, turned=True)
    volume = np.empty(shape, data.images.dtype) if out is None else out
    for part in even_parts(shape[1], slabs):
        rows = (0, series.image_shape[0]) if slabs == 1 else rows_that_see(scan, grid[part])
        seen = device(np.ascontiguousarray(data.images[:, slice(*rows)]))
        filtered = filter_views(seen, response[own_views(data.comm)], padding)
        made = back_project(filtered, scan.rows(*rows), grid[part])
        volume[:, part] = to_tomogram(to_numpy(data.comm.sum(made)[0]))
    return volume


def widened(columns: int, tilts: np.ndarray, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """The shape so much wider in x that every ray of every image, so many columns wide, enters at the top and leaves at
    the bottom."""
    steepest = min(float(np.abs(tilts).max()), STEEPEST)
    width = columns / np.cos(steepest) + shape[0] * np.tan(steepest)
    extra = max(0, int(np.ceil((width - shape[2]) / 2))) * 2
    return shape[0], shape[1], shape[2] + extra


def narrowed(volume: np.ndarray, width: int) -> np.ndarray:
    """The middle `width` columns, so that voxel n // 2 stays where it was."""
    start = volume.shape[2] // 2 - width // 2
    return volume[:, :, start : start + width]


def tomogram_iterative(
    data: Prepared,
    shape: tuple[int, int, int],
    method: str = "fista-tv",
    *,
    iterations: int = 50,
    tv_weight: float | None = None,
    relaxation: float = 1.0,
    non_negative: bool = False,
    start: State | None = None,
    on_state: Callable[[State], None] | None = None,
    on_weight: Callable[[float], None] | None = None,
    device: Callable[[np.ndarray], Array] = np.asarray,
) -> np.ndarray:
    """The tomogram (z, y, x) of `shape` by sirt, cgls or fista-tv (least squares and total variation).

    A slab goes on beyond the field of view, so the volume is widened while it is found (`widened`) and cut at the end.
    tv_weight: None for the automatic one (`automatic_tv_weight`), told to `on_weight`.  start: a State to go on from;
    on_state is called after each iteration, and may raise to stop.
    """
    if method not in ITERATIVE:
        raise ValueError(f"method: expected one of {', '.join(ITERATIVE)}, found {method!r}")
    series, comm = data.series, data.comm
    grid = series.grid(widened(series.image_shape[1], data.tilts, shape), turned=True)
    values = device(np.ascontiguousarray(data.images, np.float32))
    weights = None if not comm.any(not data.weights.all()) else device(data.weights.astype(np.float32))
    A = XRay(grid, series.scan(turned=True), dtype="float32")
    solver = _solver(method, A, values, grid, tv_weight, relaxation, non_negative, on_weight, comm)
    begin: Any = start if start is not None else namespace(values).zeros(A.domain.shape, A.dtype)
    state = begin
    for state in iterate(solver, least_squares(A, values, weights, comm), begin, iterations):
        if on_state is not None:
            on_state(state)
    volume = to_numpy(state.x if isinstance(state, State) else state)
    return np.ascontiguousarray(narrowed(to_tomogram(volume), shape[2]))


def _solver(
    method: str,
    A: XRay,
    values: Array,
    grid: Grid,
    tv_weight: float | None,
    relaxation: float,
    non_negative: bool,
    on_weight: Callable[[float], None] | None,
    comm: Comm,
) -> Any:
    low = 0.0 if non_negative else None
    if method == "sirt":
        return Sirt(relaxation=relaxation, low=low)
    if method == "cgls":
        return Cgls()
    weight = automatic_tv_weight(A, values, grid, comm) if tv_weight is None else tv_weight
    if on_weight is not None:
        on_weight(weight)
    return Fista(prior=weight * TotalVariation(grid.spacing, low=low, iterations=PROX_ITERATIONS))
