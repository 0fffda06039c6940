"""Soft masks of a particle: a sphere, or what lies around the density of a map. Values 0 (solvent) to 1 (particle)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from tomodiff.analytic.shells import check_map, filtered, low_pass


def soft_sphere(n: int, radius: float, edge: float, centre: tuple[float, float, float] | None = None) -> np.ndarray:
    """(n, n, n) float32: 1 within `radius` voxels of the centre, falling to 0 over `edge` voxels as a raised cosine.

    centre: (z, y, x) in voxels, by default n // 2.
    """
    if radius < 0 or edge < 0:
        raise ValueError(f"radius, edge: expected voxels of at least 0, found {radius} and {edge}")
    z, y, x = (np.arange(n) - c for c in (centre or (n // 2,) * 3))
    r = np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2)
    return falling(r - radius, edge)


def from_map(
    volume: np.ndarray,
    threshold: float | None = None,
    extend: float = 0.0,
    edge: float = 0.0,
    pixel: float | None = None,
    resolution: float | None = None,
) -> np.ndarray:
    """(n, n, n) float32 mask of a map, as relion_mask_create makes it.

    The map, low-passed at `resolution` angstrom if given (which needs `pixel`), is thresholded (None: at
    `automatic_threshold`), grown by `extend` voxels (shrunk if negative), and given a raised cosine edge of `edge`.
    Raises ValueError where the mask would be empty.
    """
    n = check_map("volume", volume)
    if resolution is not None:
        if pixel is None:
            raise ValueError("pixel: expected angstrom, to low-pass the map at a resolution, found None")
        volume = filtered(volume, low_pass(resolution, pixel, n))
    if threshold is None:
        threshold = automatic_threshold(volume)
    inside = volume >= threshold
    if not inside.any():
        raise ValueError(f"threshold: expected at most the map's largest value {volume.max():.4g}, found {threshold}")
    if extend > 0:
        inside |= ndimage.distance_transform_edt(~inside) < extend
    elif extend < 0 and not inside.all():
        inside &= ndimage.distance_transform_edt(inside) >= -extend
        if not inside.any():
            raise ValueError(f"extend: expected a shrinking that leaves something of the mask, found {extend}")
    if inside.all():
        return np.ones((n, n, n), np.float32)
    return falling(ndimage.distance_transform_edt(~inside), edge)


def automatic_threshold(volume: np.ndarray, bins: int = 512) -> float:
    """The density that parts particle from solvent: of all thresholds, that whose two classes differ most (Otsu 1979,
    IEEE Trans. SMC 9, 62: largest variance between them), in the sphere inscribed in the box.

    Low-pass the map first (15 to 20 angstrom), so that noise is small against the density of the particle.
    """
    inside = volume[soft_sphere(volume.shape[0], volume.shape[0] // 2, 0.0) > 0]
    counts, edges = np.histogram(inside, bins)
    middles = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = inside.size - below
    mass = np.cumsum(counts * middles)
    mean_below, mean_above = mass[:-1] / np.maximum(below, 1), (mass[-1] - mass[:-1]) / np.maximum(above, 1)
    between = below * above * (mean_above - mean_below) ** 2
    if not between.max() > 0:
        raise ValueError("volume: expected a map with density above its solvent, found one constant value")
    return float(edges[1:-1][np.argmax(between)])


def falling(distance: np.ndarray, edge: float) -> np.ndarray:
    """float32: 1 where distance <= 0, 0 where distance >= edge, half a cosine period between."""
    if edge == 0:
        return (distance <= 0).astype(np.float32)
    return (0.5 + 0.5 * np.cos(np.pi * np.clip(distance / edge, 0, 1))).astype(np.float32)
