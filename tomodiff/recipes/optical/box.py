"""Where a scene is: the box that cameras look at, and the voxels that enough of them see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from tomodiff.geometry import Grid
from tomodiff.geometry.cameras.photograph import Photograph

COARSE = 64
"""Nodes along each axis of the grid on which silhouettes are carved."""
MARGIN = 2.0
"""Of such nodes, left around a body."""
NEAR = 0.3
"""Of the distance of cameras from what they look at: nothing is nearer to one of them."""
PARALLEL = 1e-6
"""Cameras whose axes are closer than this to parallel look at no common place."""


def looked_at(cameras: Sequence[Photograph]) -> tuple[np.ndarray, float]:
    """The place nearest to all cameras' axes, and half the width that they see there.  ValueError if there is none."""
    axes, places = (np.array([c.pose[:, 2] for c in cameras]), np.array([c.place for c in cameras]))
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    normal = across.sum(axis=0)
    if np.linalg.eigvalsh(normal)[0] < PARALLEL * len(cameras):
        raise ValueError("the cameras look in parallel, at no common place: give the box of the scene")
    centre = np.linalg.solve(normal, np.einsum("nij,nj->i", across, places))
    depth = np.einsum("ni,ni->n", centre - places, axes)
    ahead = depth > 0
    if np.mean(ahead) < 0.5:
        raise ValueError("most cameras look away from each other, at no common place: give the box of the scene")
    slope = np.array([min(c.shape[0] / c.focal[1], c.shape[1] / c.focal[0]) / 2 for c in cameras])
    return centre, float(np.median((depth * slope)[ahead]))


def carved(cameras: Sequence[Photograph], masks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The lower and upper corner (x, y, z) of what may be behind all silhouettes (rows, columns), True inside.

    ValueError where nothing is left.
    """
    centre, half = looked_at(cameras)
    grid = Grid((COARSE,) * 3, 2 * half / COARSE, tuple(centre))
    places = nodes(grid)
    left = np.ones(len(places), bool)
    for camera, mask in zip(cameras, masks, strict=True):
        row, column, inside = _pixels(camera, places)
        left[inside] &= mask[row[inside], column[inside]]
    if not left.any():
        raise ValueError("no place is inside all silhouettes: cameras or images do not belong together")
    margin = MARGIN * 2 * half / COARSE
    return places[left].min(axis=0) - margin, places[left].max(axis=0) + margin


def seen_by(cameras: Sequence[Photograph], grid: Grid) -> np.ndarray:
    """How many cameras see each voxel (z, y, x)."""
    places, count = nodes(grid), np.zeros(int(np.prod(grid.shape)), np.int32)
    for camera in cameras:
        count += _pixels(camera, places)[2]
    return count.reshape(grid.shape)


def away_from(cameras: Sequence[Photograph], grid: Grid) -> np.ndarray:
    """Which voxels (z, y, x) are not so near to a camera that they would blind it."""
    places = np.array([camera.place for camera in cameras])
    try:
        middle = looked_at(cameras)[0]
    except ValueError:  # they look nowhere in common: at the box, then
        middle = np.array(grid.center)
    near = NEAR * float(np.median(np.linalg.norm(places - middle, axis=1)))
    distance, _ = cKDTree(places).query(nodes(grid))
    made: np.ndarray = (distance >= near).reshape(grid.shape)
    return made


def nodes(grid: Grid) -> np.ndarray:
    """The world's places (voxel, x y z) of all voxels, x fastest."""
    return np.stack([a.ravel() for a in grid.coordinates()], axis=1)


def box_grid(low: np.ndarray, high: np.ndarray, voxels: int) -> Grid:
    """A grid of cubes over a box, `voxels` along its longest side."""
    spacing = float((high - low).max()) / voxels
    shape = np.maximum(np.ceil((high - low) / spacing - 1e-6).astype(int), 2)
    return Grid((int(shape[2]), int(shape[1]), int(shape[0])), spacing, tuple(float(v) for v in (low + high) / 2))


def _pixels(camera: Photograph, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and columns of the pixels that see places, and whether there are such pixels."""
    column, row = camera.image_of(places).T
    with np.errstate(invalid="ignore"):
        inside = (row >= 0) & (row < camera.shape[0]) & (column >= 0) & (column < camera.shape[1])
    return np.where(inside, row, 0).astype(np.intp), np.where(inside, column, 0).astype(np.intp), inside
