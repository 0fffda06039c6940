"""Grids of orientations that divide into finer ones, and how evenly a set of views covers directions.

Directions of view are HEALPix pixels in nested order (Gorski et al. 2005, Astrophys. J. 622, 759) at nside 2^order,
each with 6 * 2^order in-plane angles, the spacing RELION pairs with them. Every cell divides into eight: four pixels,
two angles. In-plane angles count from a frame that is carried from each pixel to its four children by the shortest
turn. With Euler angles they would count from the meridian, and near a pole the eight children of a pose would lie far
from it (at any order); so carried, a cell is within `cell_radius` of its middle, which bounds in a search rely on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tomodiff.errors import ConfigError
from tomodiff.geometry.checks import Array
from tomodiff.geometry.poses import exp, from_euler, random_rotations
from tomodiff.geometry.symmetry import asymmetric_unit

Indices = npt.NDArray[np.int64]
PSI_PER_PIXEL = 6
"""In-plane angles at order 0; 60 degrees apart, as the pixels are (58.6 degrees)."""


def angular_step(order: int) -> float:
    """Radians between neighbouring in-plane angles, and nearly so between neighbouring directions."""
    return 2 * np.pi / angles_per_pixel(order)


def angles_per_pixel(order: int) -> int:
    """How many in-plane angles each direction has."""
    if order < 0:
        raise ValueError(f"order: expected a HEALPix order of at least 0, found {order}")
    return PSI_PER_PIXEL << order


def grid_size(order: int) -> int:
    """Number of orientations of a whole grid: 72 * 8^order."""
    return 12 * 4**order * angles_per_pixel(order)


def cell_radius(order: int) -> float:
    """Radians, an upper bound on the angle from the middle of a cell to any pose within, but for the area of a pixel.

    The largest pixel's radius (Gorski et al. 2005) and half an in-plane step, about axes at right angles.
    """
    return float(2 * np.arccos(np.cos(pixel_radius(order) / 2) * np.cos(angular_step(order) / 4)))


def pixel_radius(order: int) -> float:
    """Radians, from the middle of the largest HEALPix pixel of an order to its furthest corner."""
    nside = 1 << order
    middle = _unit(2 / 3, np.pi / (4 * nside))
    corner = _unit(1 - (1 - 1 / nside) ** 2 / 3, 0.0)
    return float(np.arccos(middle @ corner))


def directions(order: int) -> Array:
    """(12 * 4^order, 3) unit vectors to the middles of the pixels, nested order."""
    return _middles(np.arange(12 * 4**order), order)


def so3_grid(order: int, group: Array | None = None, rng: np.random.Generator | None = None) -> Array:
    """(n, 3, 3) the orientations of a grid: the same directions and in-plane steps as RELION's at this HEALPix order.

    With a point group, only as many as needed for every pose to be equivalent to one within `cell_radius`. With a
    random generator the whole grid is turned at random, as is usual from one iteration of a search to the next.
    """
    grid = rotation_of(np.arange(grid_size(order)), order)
    if rng is not None:
        grid = grid @ random_rotations(1, rng)[0]
    if group is None or len(group) == 1:
        return grid
    return grid[asymmetric_unit(grid[:, 2], group, pixel_radius(order))]


def rotation_of(index: Indices, order: int) -> Array:
    """(..., 3, 3) the pose in the middle of each cell; index = pixel * angles_per_pixel + angle."""
    pixel, angle = np.divmod(np.asarray(index), angles_per_pixel(order))
    psi = (angle + 0.5) * angular_step(order)
    return from_euler(0 * psi, 0 * psi, psi) @ frames(pixel, order)


def index_of(rotation: Array, order: int) -> Indices:
    """(...) the cell that holds each pose."""
    d = np.asarray(rotation)[..., 2, :]
    pixel = _pixels(d, order)
    frame = frames(pixel, order)
    carried = frame @ np.swapaxes(_shortest_turn(frame[..., 2, :], d), -1, -2)
    in_plane = rotation @ np.swapaxes(carried, -1, -2)
    psi = np.arctan2(in_plane[..., 0, 1], in_plane[..., 0, 0]) % (2 * np.pi)
    angle = np.minimum((psi / angular_step(order)).astype(np.int64), angles_per_pixel(order) - 1)
    return np.asarray(pixel * angles_per_pixel(order) + angle)


def children(index: Indices, order: int) -> Indices:
    """(..., 8) the cells of the next order that a cell divides into."""
    pixel, angle = np.divmod(np.asarray(index), angles_per_pixel(order))
    pixels = 4 * pixel[..., None, None] + np.arange(4)[:, None]
    angles = 2 * angle[..., None, None] + np.arange(2)
    made = pixels * angles_per_pixel(order + 1) + angles
    return np.asarray(made.reshape(*made.shape[:-2], 8))


def neighbours(rotation: Array, order_from: int, order_to: int) -> Array:
    """(n, 8^(order_to - order_from), 3, 3) the orientations, on the finer grid, in the cell of each pose (n, 3, 3)."""
    if order_to < order_from:
        raise ValueError(f"order_to: expected at least order_from = {order_from}, found {order_to}")
    cells = index_of(rotation, order_from)[..., None]
    for order in range(order_from, order_to):
        cells = children(cells, order).reshape(*cells.shape[:-1], -1)
    return rotation_of(cells, order_to)


def frames(pixel: Indices, order: int) -> Array:
    """(..., 3, 3) the pose of each pixel from which its in-plane angles count; the third row is its direction."""
    ancestor = np.asarray(pixel) >> (2 * order)
    d = _middles(ancestor, 0)
    made = from_euler(np.arctan2(d[..., 1], d[..., 0]), np.arccos(np.clip(d[..., 2], -1, 1)), np.zeros(d.shape[:-1]))
    for k in range(1, order + 1):
        below = _middles(np.asarray(pixel) >> (2 * (order - k)), k)
        made = made @ np.swapaxes(_shortest_turn(d, below), -1, -2)
        d = below
    return made


def direction_counts(rotations: Array, order: int) -> Indices:
    """(12 * 4^order,) how many poses look along each HEALPix pixel, nested order."""
    return np.bincount(_pixels(np.asarray(rotations)[..., 2, :].reshape(-1, 3), order), minlength=12 * 4**order)


def spread_directions(n: int) -> Array:
    """(n, 3) unit vectors spread evenly over the half sphere z >= 0 (a Fibonacci spiral)."""
    k = np.arange(n)
    z = 1 - (k + 0.5) / n
    turn = k * np.pi * (3 - 5**0.5)
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(turn), r * np.sin(turn), z], -1)


def fourier_sampling(rotations: Array, along: Array, shell: float, group: Array | None = None) -> Array:
    """(m,) how often the slices of all poses pass each direction `along` (m, 3) of Fourier space; 1 on average.

    A slice is one voxel thick at `shell` voxels from the origin: it passes u where |d . u| < 1 / (2 shell).
    """
    views = np.asarray(rotations)[:, 2]
    if group is not None:
        views = np.einsum("ni,mij->nmj", views, group).reshape(-1, 3)
    half = 1 / (2 * shell)
    hits = np.zeros(len(along))
    for some in np.array_split(views, max(1, len(views) * len(along) // 5_000_000)):
        hits += np.count_nonzero(np.abs(along @ some.T) < half, axis=1)
    return hits / (len(views) * half)


def sampling_compensation(
    rotations: Array, group: Array | None = None, shell: float = 20.0, n_directions: int = 2000
) -> float:
    """How well the poses cover Fourier space, 1 for even coverage: the number of particles counts for this part of it.

    The reciprocal of the mean, over directions, of 1 / sampling (Baldwin and Lyumkis 2020, Prog. Biophys. Mol. Biol.
    150, 160); 0 if any direction is not sampled at all. Views from all sides about one axis have 8 / pi^2 = 0.81.
    """
    sampled = fourier_sampling(rotations, spread_directions(n_directions), shell, group)
    return 0.0 if (sampled == 0).any() else float(1 / np.mean(1 / sampled))


def _healpix(order: int) -> Any:
    try:
        from astropy_healpix import HEALPix
    except ImportError as error:
        raise ConfigError(
            "grids of orientations: expected the package astropy-healpix, found none; "
            'install it with: pip install "tomodiff[cryoem]"'
        ) from error
    return HEALPix(nside=1 << order, order="nested")


def _middles(pixel: Indices, order: int) -> Array:
    """(..., 3) directions of pixels; those of a whole order are looked up once."""
    lon, lat = _healpix(order).healpix_to_lonlat(np.asarray(pixel))
    return _unit(np.sin(lat.to_value("rad")), lon.to_value("rad"))


def _pixels(d: Array, order: int) -> Indices:
    """(...) the pixel of each direction (..., 3)."""
    from astropy import units

    lon, lat = np.arctan2(d[..., 1], d[..., 0]), np.arctan2(d[..., 2], np.hypot(d[..., 0], d[..., 1]))
    return np.asarray(_healpix(order).lonlat_to_healpix(lon * units.rad, lat * units.rad), np.int64)


def _unit(z: Any, azimuth: Any) -> Array:
    r = np.sqrt(np.maximum(0.0, 1 - np.square(z)))
    return np.stack(np.broadcast_arrays(r * np.cos(azimuth), r * np.sin(azimuth), z), -1)


def _shortest_turn(a: Array, b: Array) -> Array:
    """(..., 3, 3) T with T a = b, about their common normal; they are never opposite here."""
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)
    angle = np.arctan2(sine, np.sum(a * b, -1, keepdims=True))
    # Below the smallest normal number the axis has no direction and the turn is none.
    return exp(axis * np.where(sine > 1e-300, angle / np.where(sine > 1e-300, sine, 1), 1))
