"""How much of k-space each sample of a trajectory stands for."""

from __future__ import annotations

import numpy as np
from scipy.spatial import Voronoi

from tomodiff.projectors.mri.fourier import fourier_of

ROUNDS = 15
"""Of the iteration in space; later ones follow noise between crowded samples."""
SAME = 1e-6
"""Cycles per pixel within which samples are taken to lie on one place."""


def density_weights(shape: tuple[int, ...], points: np.ndarray) -> np.ndarray:
    """Weights (sample) with which the adjoint of the transform is about its inverse; their sum is the share of k-space,
    (1 cycle per pixel)^axes, that is covered.

    In the plane the area nearest to each sample (Voronoi; Rasche et al. 1999, IEEE TMI 18, 385), no more at the rim
    than further in; in space w <- w / |A A' w|, by the crowd that a sample sees (Pipe and Menon 1999, MRM 41, 179).
    """
    return _areas(points) if len(shape) == 2 else _crowded(shape, points)


def _areas(points: np.ndarray) -> np.ndarray:
    places, which, counts = np.unique(np.rint(points / SAME), axis=0, return_inverse=True, return_counts=True)
    which = which.reshape(-1)
    if len(places) < 4 or np.ptp(places, axis=0).min() == 0:
        return np.full(len(points), 1 / len(points))
    found = Voronoi(places * SAME, qhull_options="Qbb Qc Qz QJ")
    area = np.full(len(places), np.nan)
    for i, region in enumerate(found.point_region):
        corners = found.regions[region]
        if corners and -1 not in corners:
            area[i] = _polygon(found.vertices[corners])
    radius = np.linalg.norm(places * SAME, axis=1)
    open_ended = ~(area > 0)
    rim = radius > 0.9 * radius.max()
    closed = area[rim & ~open_ended]
    # cells at the rim reach far beyond the samples, or have no end: they count as those just inside of them
    limit = float(np.median(closed)) if closed.size else float(np.nanmedian(area))
    area[open_ended] = limit
    area[rim] = np.minimum(area[rim], limit)
    made: np.ndarray = (area / counts)[which]
    return made


def _polygon(corners: np.ndarray) -> float:
    """The area of a convex polygon whose corners come in any order."""
    middle = corners - corners.mean(axis=0)
    x, y = middle[np.argsort(np.arctan2(middle[:, 1], middle[:, 0]))].T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def _crowded(shape: tuple[int, ...], points: np.ndarray) -> np.ndarray:
    fourier = fourier_of(shape, points, (), 1e-3)
    weights = np.ones(len(points), np.complex64)
    for _ in range(ROUNDS):
        crowd = np.abs(fourier.forward(fourier.adjoint(weights)))
        weights = (weights / np.maximum(crowd, 1e-6 * crowd.max())).astype(np.complex64)
    made: np.ndarray = weights.real
    return made
