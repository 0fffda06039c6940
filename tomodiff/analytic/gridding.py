"""Filtered back projection by Fourier gridding: the same inverse as `fbp`, in N^2 log N steps for a slice."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft

from tomodiff.analytic.fbp import FULL_TURN, Progress, parallel_weights, symmetric_margin, upright_parallel, views_of
from tomodiff.analytic.orbit import Orbit
from tomodiff.analytic.ramp import padded_rows, ramp_response
from tomodiff.array import Array
from tomodiff.errors import ConfigError
from tomodiff.extras import library
from tomodiff.geometry import Grid, Scan
from tomodiff.projectors.ray_tables import projection_matrices

ACCURACY = {"float32": 1e-4, "float64": 1e-7}
"""Relative error of the non-uniform transform (finufft's eps)."""


def gridding(
    data: Array,
    scan: Scan,
    grid: Grid,
    window: str = "ram-lak",
    padding: str = "zero",
    progress: Progress | None = None,
    views: slice | np.ndarray | None = None,
    threads: int = 0,
) -> Array:
    """Filtered back projection of parallel-beam line integrals (view, v, u): attenuation (z, y, x) in 1/mm.

    By the projection-slice theorem, each filtered view is a line through the slice's spectrum; a non-uniform FFT
    (finufft; Barnett, Magland & af Klinteberg 2019, SIAM J. Sci. Comput. 41, C479) sums all lines.  `fbp` interpolates
    between pixels by straight lines, which damps rows by sinc^2; they are damped so here, too, but nothing is aliased
    (docs/accuracy.md).  Weights, windows and padding are those of `fbp`; progress counts slices.
    threads: 0 for all.  Needs the extra `fourier`.  ConfigError for cones, tilted axes and arrays on a GPU.
    """
    finufft = library("finufft", "fourier", "gridding needs")
    if not isinstance(data, np.ndarray):
        raise ConfigError("gridding: expected arrays of NumPy: it runs on the CPU only (fbp runs on GPUs)")
    if scan.kind != "parallel":
        raise ConfigError(f"gridding takes a parallel beam, found a {scan.kind} beam (use fdk)")
    orbit, matrices = Orbit.of(scan), projection_matrices(grid, scan)
    if not upright_parallel(scan, matrices):
        raise ConfigError("gridding takes detector rows that are slices, found a tilted or rolled one (use fbp)")
    chosen = views_of(data, scan, views)
    weights = parallel_weights(scan, orbit)[chosen][:, 0]
    margin = symmetric_margin(scan) if orbit.coverage > FULL_TURN else (0, 0)
    nz, ny, nx = grid.shape
    complex_type = np.result_type(data.dtype, np.complex64)
    # u = mx i + my j + at for column i and row j of the slice, counted from the middle as finufft does
    mx, my, _, at = (matrices[chosen][:, [0, 1, 2, 3]] / matrices[chosen][:, 11:12]).T
    at = at + margin[0] + mx * (nx // 2) + my * (ny // 2)
    size = padded_rows(np.zeros((1, data.shape[2] + sum(margin)), data.dtype), padding)[0].shape[-1]
    frequency = 2 * np.pi * scipy.fft.fftfreq(size)
    response = ramp_response(size, orbit.pixel, window)
    response *= np.sinc(np.arange(len(response)) / size) ** 2
    if size % 2 == 0:  # the highest frequency has no partner of the other sign, and would mix the slices of a pair
        response[-1] = 0
    response = np.concatenate([response, response[1 : (size + 1) // 2][::-1]]) / size
    factor = (response * np.exp(1j * frequency * at[:, None])).astype(complex_type)
    points = [(frequency * m[:, None]).astype(data.dtype).ravel() for m in (my, mx)]
    plan = finufft.Plan(
        1,
        (ny, nx),
        1,
        ACCURACY[data.dtype.name],
        1,
        dtype=complex_type,
        upsampfac=1.25,
        **({"nthreads": threads} if threads else {}),
    )
    plan.setpts(*points)
    volume = np.empty(grid.shape, data.dtype)
    for k in range(0, nz, 2):  # two slices at a time, as the real and imaginary part of one
        rows = [_row_of_slice(data, matrices[chosen], k + i) for i in range(min(2, nz - k))]
        spectra = [padded_rows(np.pad(row * weights, ((0, 0), margin)), padding)[0] for row in rows]
        pair: Any = spectra[0] + 1j * spectra[1] if len(rows) == 2 else spectra[0].astype(complex_type)
        spectrum = scipy.fft.fft(pair.astype(complex_type), axis=-1, overwrite_x=True, workers=threads or -1)
        spectrum *= factor
        made = plan.execute(spectrum.reshape(-1))
        volume[k] = made.real
        if len(rows) == 2:
            volume[k + 1] = made.imag
        if progress is not None:
            progress(min(k + 2, nz), nz)
    return volume


def _row_of_slice(data: np.ndarray, matrices: np.ndarray, k: int) -> np.ndarray:
    """The detector row (view, u) onto which slice k projects, between rows by straight lines, zero beyond the ends."""
    nv = data.shape[1]
    v = (matrices[:, 6] * k + matrices[:, 7]) / matrices[:, 11]
    low = np.floor(v + 1e-9).astype(int)
    part = np.clip(v - low, 0, 1)
    total = np.zeros((len(data), data.shape[2]), data.dtype)
    for row, share in ((low, 1 - part), (low + 1, part)):
        there = (row >= 0) & (row < nv) & (share > 1e-9)
        total[there] += data[np.flatnonzero(there), row[there]] * share[there, None].astype(data.dtype)
    return total
