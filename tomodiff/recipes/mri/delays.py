"""Delays of the gradients: a trajectory that runs late, found from the data that it should explain."""

from __future__ import annotations

import numpy as np

from tomodiff.analytic.coil_maps import estimated_maps
from tomodiff.analytic.density import density_weights
from tomodiff.errors import DataError
from tomodiff.files.kspace import KSpace
from tomodiff.objective import Gaussian
from tomodiff.projectors.mri.sense import SenseModel
from tomodiff.solvers import Cgls, solve

REACH = 0.12
"""Cycles per pixel up to which samples tell the delays: there spokes overlap."""
ROUNDS = 12
IMAGE_STEPS = 6
"""Of conjugate gradients for the image, between two steps of the delays."""
ENOUGH = 1e-3
"""Samples: a step of the delays below which nothing more is to be found."""
MOST = 8.0
"""Samples beyond which a delay is not believed."""


def delayed(kspace: KSpace, delays: np.ndarray) -> np.ndarray:
    """The points (sample, axis) of a trajectory that is late by so many samples along each axis."""
    return kspace.points - delays * velocity(kspace)


def velocity(kspace: KSpace) -> np.ndarray:
    """Cycles per pixel that the trajectory moves from one sample to the next (sample, axis)."""
    runs = kspace.points.reshape(-1, kspace.readout, kspace.points.shape[1])
    made: np.ndarray = np.gradient(runs, axis=1).reshape(kspace.points.shape)
    return made


def find_delays(kspace: KSpace) -> tuple[np.ndarray, float]:
    """The delay of each axis in samples, and the share of the misfit that it explains.

    Image (conjugate gradients) and delays (Gauss-Newton) in turn, on the middle of k-space and a grid as coarse,
    where readouts in several directions cover the same places.  DataError where the data have no readouts.
    """
    if kspace.readout < 8:
        raise DataError(kspace.source, "trajectory", "readouts, along which gradients may be late", "single samples")
    inside = (np.abs(kspace.points) < REACH).all(axis=1)
    factor = 2 * REACH
    shape = tuple(max(8, int(np.ceil(n * factor / 2)) * 2) for n in kspace.shape)
    scale = np.array(kspace.shape) / np.array(shape)
    data = np.ascontiguousarray(kspace.data[:, inside]).astype(np.complex64)
    data /= np.linalg.norm(data) / np.sqrt(data.size)
    motion = velocity(kspace)[inside] * scale
    model = SenseModel(shape, len(data), data.shape[1])
    delays = np.zeros(len(shape))
    first = last = 0.0
    for number in range(ROUNDS):
        points = (kspace.points[inside] * scale - delays * motion).astype(np.float32)
        maps = estimated_maps(data, points.astype(np.float64), shape, density_weights(shape, points), 0.5)
        A = model.fix(maps=maps, points=points)
        state = solve(Cgls(), Gaussian(data) @ A, np.zeros(shape, np.complex64), IMAGE_STEPS)
        values, jacobian = model.linearize({"image": state.x, "maps": maps, "points": points})
        residual = data - values
        last = float(np.linalg.norm(residual))
        first = first or last
        still = {"image": np.zeros(shape, np.complex64), "maps": np.zeros_like(maps)}
        columns = []
        for axis in range(len(shape)):
            move = np.zeros_like(points)
            move[:, axis] = -motion[:, axis]
            columns.append(jacobian.forward({**still, "points": move}).ravel())
        slopes = np.stack(columns, axis=1).astype(np.complex128)
        normal, pull = slopes.conj().T @ slopes, slopes.conj().T @ residual.ravel()
        step = np.linalg.lstsq(normal.real, pull.real, rcond=None)[0]
        delays = np.clip(delays + step, -MOST, MOST)
        if number and np.abs(step).max() < ENOUGH:
            break
    return delays, 1 - last / first
