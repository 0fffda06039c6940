"""Local resolution: the FSC of two half maps in a soft sphere that moves through them, and a map filtered by it.

Source: Cardone, Heymann and Steven 2013, J. Struct. Biol. 184, 226; steps, windows and corrections are those of RELION
3.1 (src/postprocessing.cpp, run_locres). Windows are cut out of the box before they are transformed, which is faster
and has shells as wide as the window can tell apart; RELION's narrower shells scatter more, and so pass the threshold a
little earlier. The filtered map is summed over shells, each weighted by the smooth field of its local weights: the same
as filtering the whole map once for every window, as RELION does, at the cost of one transform a shell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.fft

from tomodiff.analytic.fsc import HALF_MAPS, check_mask, corrected, fsc, randomise_phases, resolution_shell
from tomodiff.analytic.masks import soft_sphere
from tomodiff.analytic.postprocess import fsc_weights, sharpen
from tomodiff.analytic.shells import back, check_map, low_pass, shell_index, transform

SAMPLING = 25.0
"""Angstrom between windows (RELION)."""
RANDOM_FROM = 25.0
"""Angstrom from which phases are randomised (RELION)."""
COARSEST = 50.0
"""Angstrom, the lowest resolution that is reported (RELION)."""


@dataclass(frozen=True, eq=False)
class LocalResolution:
    """Resolution around every voxel, and the mean of the halves filtered to it; both 0 where no window reaches.

    curves: (windows, n // 2 + 1) corrected FSC of each window, centres: (windows, 3) its middle (z, y, x),
    of_centres: (windows,) the resolution there, in angstrom.
    """

    resolution: np.ndarray
    filtered: np.ndarray
    centres: np.ndarray
    of_centres: np.ndarray
    curves: np.ndarray


def local_resolution(
    half1: np.ndarray,
    half2: np.ndarray,
    pixel: float,
    rng: np.random.Generator,
    sampling: float = SAMPLING,
    window_radius: float | None = None,
    window_edge: float | None = None,
    threshold: float = HALF_MAPS,
    random_from: float = RANDOM_FROM,
    coarsest: float = COARSEST,
    b_factor: float | None = None,
    mtf: np.ndarray | None = None,
    mtf_pixel: float | None = None,
    mask: np.ndarray | None = None,
    advance: Callable[[int], None] | None = None,
) -> LocalResolution:
    """Measure two half maps (z, y, x) in windows `sampling` angstrom apart.

    window_radius, window_edge: angstrom, by default half of the sampling and all of it. b_factor, mtf: of the filtered
    map, as in `postprocess`. mask: windows are placed only where it is above 0. advance(1) is called after each window.
    """
    n = check_map("half1", half1)
    check_map("half2", half2, half1)
    inner, edge = (
        max(int((default if length is None else length) / pixel + 0.5), 1)
        for length, default in ((window_radius, sampling / 2), (window_edge, sampling))
    )
    centres = window_centres(n, max(int(sampling / pixel + 0.5), 1), inner, mask)
    start = max(int(n * pixel / random_from), 1)
    mixed = [randomise_phases(h, start, rng) for h in (half1, half2)]
    curves = np.empty((len(centres), n // 2 + 1))
    for curve, centre in zip(curves, centres, strict=True):
        window = Window(n, centre, inner, edge)
        curve[:] = corrected(window.fsc(half1, half2), window.fsc(*mixed), start)
        if advance is not None:
            advance(1)
    shells = np.maximum([resolution_shell(curve, threshold) for curve in curves], n * pixel / coarsest)
    found = n * pixel / shells
    mean, _, _ = sharpen((half1.astype(np.float64) + half2) / 2, pixel, None, b_factor, mtf=mtf, mtf_pixel=mtf_pixel)
    line = np.arange(n // 2 + 1)
    weights = np.stack(
        [fsc_weights(curve) * low_pass(d, pixel, n)(line) for curve, d in zip(curves, found, strict=True)]
    )
    field = Field(n, centres, soft_window(inner, edge))
    inverse = field.mean(1 / found)
    local = np.divide(1, inverse, out=np.zeros_like(inverse), where=inverse > 0)
    return LocalResolution(
        local.astype(np.float32), locally_filtered(mean, weights, field).astype(np.float32), centres, found, curves
    )


def window_centres(n: int, step: int, inner: int, mask: np.ndarray | None) -> np.ndarray:
    """(windows, 3) voxels `step` apart, in the mask, whose windows' cores are within the inscribed sphere."""
    line = np.arange(0, n, step)
    grid = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    kept = np.linalg.norm(grid - n // 2, axis=1) < n // 2 - inner
    if mask is not None:
        check_mask(mask, np.zeros((n, n, n)))
        kept &= mask[tuple(grid.T)] > 0
    if not kept.any():
        raise ValueError(f"sampling, window_radius: expected windows that fit in a box of {n} voxels, found none")
    return grid[kept]


def soft_window(inner: int, edge: int) -> np.ndarray:
    """The cube that holds a soft sphere, of odd side."""
    reach = inner + edge
    return soft_sphere(2 * reach + 1, inner, edge)


class Window:
    """A soft sphere about one voxel, cut out of the box; what of it lies outside is left out."""

    def __init__(self, n: int, centre: np.ndarray, inner: int, edge: int) -> None:
        reach = inner + edge
        self.n, self.side = n, scipy.fft.next_fast_len(2 * reach, real=True)
        low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, n)
        self.box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        shape = soft_window(inner, edge)
        self.shape = shape[tuple(slice(a, b) for a, b in zip(low - centre + reach, high - centre + reach, strict=True))]

    def fsc(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The FSC in the window, at the shells of the whole box."""
        side = max(self.side, *self.shape.shape)
        both = [np.zeros((side, side, side), np.result_type(a.dtype, np.float32)) for _ in range(2)]
        corner = tuple(slice(0, length) for length in self.shape.shape)
        for cut, whole in zip(both, (a, b), strict=True):
            cut[corner] = whole[self.box] * self.shape
        curve = fsc(*both)
        return np.interp(np.arange(self.n // 2 + 1) / self.n, np.arange(len(curve)) / side, curve)


class Field:
    """Fields that are means over windows, weighted by where a voxel lies in them: convolutions with the window."""

    def __init__(self, n: int, centres: np.ndarray, window: np.ndarray) -> None:
        self.n, self.centres, self.reach = n, centres, window.shape[0] // 2
        self.side = scipy.fft.next_fast_len(n + self.reach, real=True)
        kernel = np.zeros((self.side,) * 3, np.float32)
        kernel[tuple(slice(0, length) for length in window.shape)] = window
        self.kernel = scipy.fft.rfftn(np.roll(kernel, (-self.reach,) * 3, (0, 1, 2)))
        self.total = self.spread(np.ones(len(centres)))

    def spread(self, values: np.ndarray) -> np.ndarray:
        """The sum of windows, each times its value."""
        points = np.zeros((self.side,) * 3, np.float32)
        points[tuple(self.centres.T)] = values
        made = scipy.fft.irfftn(scipy.fft.rfftn(points) * self.kernel, points.shape)
        return np.asarray(made[: self.n, : self.n, : self.n])

    def mean(self, values: np.ndarray) -> np.ndarray:
        """The mean of the values (windows,) around every voxel; 0 where no window reaches."""
        seen = self.total > 1e-4 * self.total.max()
        return np.divide(self.spread(values), self.total, out=np.zeros_like(self.total), where=seen)


def locally_filtered(volume: np.ndarray, weights: np.ndarray, field: Field) -> np.ndarray:
    """A map whose shells are weighted locally, by the weights (windows, shells) of the windows around."""
    n = volume.shape[0]
    F, made = transform(volume), np.zeros(volume.shape)
    for shell in np.flatnonzero(np.abs(weights).max(0) > 0):
        made += back(F * (shell_index(n) == shell), n) * field.mean(weights[:, shell])
    return made
