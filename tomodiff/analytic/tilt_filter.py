"""Weighted back projection of an aligned tilt series: the filters of single-axis electron tomography.

Frequencies are of the detector rows, across the tilt axis, in cycles per angstrom; lengths in angstrom.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

from tomodiff.analytic.fbp import ColumnVolume, RowVolume, upright_parallel
from tomodiff.analytic.orbit import Orbit
from tomodiff.analytic.ramp import WINDOWS, ramp_response, with_edges
from tomodiff.array import Array, fft_of, namespace
from tomodiff.geometry import Grid, Scan
from tomodiff.projectors.ray_tables import projection_matrices

WEIGHTINGS = ("ramp", "exact")


def exact_weights(frequency: np.ndarray, tilt: np.ndarray, thickness: float) -> np.ndarray:
    """(n, frequency) 1 / sum over j of D sinc(D k sin(tilt_i - tilt_j)): the weight of each view in 1/angstrom.

    D = thickness of the specimen (angstrom).  Where the slabs of thickness 1/D that the views fill in Fourier space
    overlap, they share; at high frequency each counts 1/D (Harauz & van Heel 1986, Optik 73, 146).  Between dense views
    the sum is 1/(k step), so that the weight is the ramp.  Never above 1/D.
    """
    k, angles = np.asarray(frequency, np.float64), np.asarray(tilt, np.float64)
    apart = thickness * np.sin(angles[:, None] - angles)
    shared = np.stack([np.sinc(row[:, None] * k).sum(axis=0) for row in apart])
    return 1 / (thickness * np.maximum(shared, 1.0))


def sirt_like(frequency: np.ndarray, thickness: float, iterations: int) -> np.ndarray:
    """The part of each frequency that so many steps of a gradient method from zero recover: 1 - (1 - 1/(D k))^n.

    Back projection after projection of a slab of thickness D damps frequency k like 1/(D k), never above 1; these are
    the filter factors of Landweber (1951) of that.  It leaves low frequencies and turns high ones down, as SIRT does.
    """
    if iterations < 1:
        raise ValueError(f"sirt_iterations: expected at least 1, found {iterations}")
    damped = 1 / np.maximum(thickness * np.abs(frequency), 1.0)
    return 1 - (1 - damped) ** iterations


def tilt_filter(
    size: int,
    pixel: float,
    tilt: np.ndarray,
    thickness: float,
    weighting: str = "ramp",
    window: str = "ram-lak",
    sirt_iterations: int | None = None,
) -> np.ndarray:
    """(n, size // 2 + 1) the response in 1/angstrom of each view for rows padded to `size`.

    weighting: "ramp" times the angle that the view stands for, or "exact" (see `exact_weights`); window: see
    `ramp_response`; sirt_iterations: see `sirt_like`.
    """
    if weighting not in WEIGHTINGS:
        raise ValueError(f"weighting: expected one of {', '.join(WEIGHTINGS)}, found {weighting!r}")
    if window not in WINDOWS:
        raise ValueError(f"window: expected one of {', '.join(WINDOWS)}, found {window!r}")
    frequency = np.fft.rfftfreq(size, pixel)
    ramp = ramp_response(size, pixel, window)
    if weighting == "ramp":
        response = Orbit(np.asarray(tilt), pixel, np.inf, 0.0).view_weights(np.pi)[:, None] * ramp
    else:
        plain = ramp_response(size, pixel)
        shape = np.where(plain > 0, ramp / np.where(plain > 0, plain, 1), 1.0)
        response = exact_weights(frequency, tilt, thickness) * shape
    return response if sirt_iterations is None else response * sirt_like(frequency, thickness, sirt_iterations)


def filter_views(images: Array, response: np.ndarray, padding: str = "edge") -> Array:
    """Rows of images (n, row, column) filtered, each view by its response (n, size // 2 + 1); same shape and dtype.

    padding: of what lies beyond the image, "zero", or "edge" for a specimen that goes on: the edge's value, falling to
    zero like a cosine over half of what `size` leaves.
    """
    if padding not in ("zero", "edge"):
        raise ValueError(f"padding: expected zero or edge, found {padding!r}")
    xp = namespace(images)
    n, (count, size) = images.shape[-1], (response.shape[0], 2 * (response.shape[1] - 1))
    if count != images.shape[0] or size < 2 * n:
        raise ValueError(f"response: expected ({images.shape[0]}, > {n}), found {response.shape}")
    padded = with_edges(images, size, (size - n) // 2 if padding == "edge" else 0)
    spectrum = fft_of(xp).rfft(padded, axis=-1)
    spectrum *= xp.asarray(response[:, None], images.dtype)
    return fft_of(xp).irfft(spectrum, n=size, axis=-1)[..., :n]


def padded_size(columns: int) -> int:
    """An even length, good for Fourier transforms, with room for what lies beyond the edges of an image."""
    size = scipy.fft.next_fast_len(3 * columns, real=True)
    while size % 2:
        size = scipy.fft.next_fast_len(size + 1, real=True)
    return int(size)


def back_project(filtered: Array, scan: Scan, grid: Grid) -> Array:
    """The sum over views of the filtered images (view, v, u) at each voxel (z, y, x), linear between pixels."""
    xp, matrices = namespace(filtered), projection_matrices(grid, scan)
    target = (RowVolume if upright_parallel(scan, matrices) else ColumnVolume)(grid, xp, filtered.dtype.name)
    target.add(filtered, matrices)
    return target.volume()
