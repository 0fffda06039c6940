"""Terrains of a power law and craters, and their images by a model of its own: finer than the result, without kernels.

What tests and samples compare with, so nothing here is shared with the projectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from tomodiff.array import block_mean

SUN_DISC_RAD = np.deg2rad(0.2666)
LEVELS = 16
"""Slices of the sun's disc."""
CAMERA = 0.5
"""Width of what an element of a map sees (standard deviation of a Gaussian), in elements, before it is averaged."""


@dataclass(frozen=True, eq=False)
class Terrain:
    """Heights in elements of the map and albedo, both (fine ny, fine nx); row 0 is the northernmost."""

    height: np.ndarray
    albedo: np.ndarray
    fine: int

    def on_map(self, values: np.ndarray) -> np.ndarray:
        """Means over the elements of the map."""
        return np.asarray(block_mean(values, self.fine))

    @property
    def map_height(self) -> np.ndarray:
        """(ny, nx) mean heights, in elements."""
        return self.on_map(self.height)

    @property
    def map_albedo(self) -> np.ndarray:
        """(ny, nx) mean albedo."""
        return self.on_map(self.albedo)


def fractal_terrain(
    shape: tuple[int, int], rng: np.random.Generator, *, slope_deg: float = 10.0, craters: int = 60,
    albedo: float = 0.2, contrast: float = 0.2, fine: int = 4,
) -> Terrain:  # fmt: skip
    """A surface of spectrum k^-1.9 with craters of depth to diameter 0.1 and sharp rims, and patches of albedo.

    slope_deg: the root mean square slope of the whole; contrast: the standard deviation of the albedo over its mean.
    """
    ny, nx = (fine * n for n in shape)
    fy, fx = np.fft.fftfreq(ny)[:, None], np.fft.rfftfreq(nx)[None]
    k = np.hypot(fy, fx)
    k[0, 0] = 1
    spectrum = np.fft.rfft2(rng.normal(size=(ny, nx))) * k**-1.9 * (k < 0.45 / fine)
    spectrum[0, 0] = 0
    height = np.fft.irfft2(spectrum, (ny, nx))
    height /= _rms_slope(height, fine)
    y, x = np.mgrid[:ny, :nx] / fine
    bowls = np.zeros_like(height)
    for _ in range(craters):
        radius = 3.0 * (1 - rng.uniform() * (1 - (3 / (min(shape) / 6)) ** 2)) ** -0.5  # as many as area is small
        cx, cy = rng.uniform(0, shape[1]), rng.uniform(0, shape[0])
        d = np.hypot(x - cx, y - cy) / radius
        bowls += 0.2 * radius * np.where(d < 1, d**2 - 0.8, 0.2 * np.exp(-3 * (np.minimum(d, 9) - 1)))
    height += bowls / max(_rms_slope(bowls, fine), 1e-9) * (0.7 if craters else 0.0)
    height = gaussian_filter(height, 0.8 * fine)
    height *= np.tan(np.deg2rad(slope_deg)) / _rms_slope(height, fine)
    patches = gaussian_filter(rng.normal(size=(ny, nx)), 6 * fine)
    patches = 1 + contrast * np.clip(patches / patches.std(), -2.5, 2.5)
    return Terrain(height, albedo * np.maximum(patches, 0.2), fine)


def _rms_slope(height: np.ndarray, fine: int) -> float:
    return float(np.sqrt(np.square(np.gradient(height, 1 / fine)).sum(0).mean()))


def mcewen(mu0: np.ndarray, mu: np.ndarray, phase: float) -> np.ndarray:
    """The Lunar-Lambert law with McEwen's (1996) weight."""
    a = np.rad2deg(phase)
    share = 1 - 0.019 * a + 2.42e-4 * a**2 - 1.46e-6 * a**3
    return np.asarray(2 * share * mu0 / np.maximum(mu0 + mu, 1e-9) + (1 - share) * mu0)


def rendered(
    terrain: Terrain, sun: np.ndarray, view: np.ndarray | None = None, *, shadows: bool = True, sky: float = 0.0,
    disc: float = SUN_DISC_RAD, camera: float = CAMERA,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The image (ny, nx) in units of I/F under one sun, and the part of the sun that each element sees.

    sun, view: unit vectors east, north, up (a camera in the zenith is the default); sky: added to all.
    """
    up = np.array([0.0, 0.0, 1.0]) if view is None else np.asarray(view)
    south, east = np.gradient(terrain.height, 1 / terrain.fine)
    steep = np.sqrt(1 + east**2 + south**2)
    mu0, mu = ((-east * v[0] + south * v[1] + v[2]) / steep for v in (sun, up))
    bright = np.where((mu0 > 0) & (mu > 0), mcewen(np.maximum(mu0, 0), np.maximum(mu, 1e-9), np.arccos(sun @ up)), 0.0)
    lit = lit_part(terrain.height, sun, terrain.fine, disc) if shadows else np.ones_like(bright)
    image = gaussian_filter(terrain.albedo * bright * lit + sky, camera * terrain.fine) if camera else (
        terrain.albedo * bright * lit + sky)  # fmt: skip
    return terrain.on_map(image), terrain.on_map(lit)


def lit_part(height: np.ndarray, sun: np.ndarray, fine: int, disc: float) -> np.ndarray:
    """The part of the sun's disc above the horizon of each fine element: the ground turned so that the sun stands to
    the right, and for each slice of the disc a running maximum of the heights above its rays."""
    ny, nx = height.shape
    azimuth = np.arctan2(sun[1], sun[0])  # counter-clockwise from east
    elevation = np.arcsin(sun[2])
    c, s = np.cos(azimuth), np.sin(azimuth)
    size = int(np.ceil(np.hypot(ny, nx))) + 2
    along, across = np.meshgrid(np.arange(size) - size / 2, np.arange(size) - size / 2)
    columns, rows = along * c - across * s + (nx - 1) / 2, -(along * s + across * c) + (ny - 1) / 2
    inside = (rows >= 0) & (rows <= ny - 1) & (columns >= 0) & (columns <= nx - 1)
    turned = map_coordinates(height, [rows, columns], order=1, mode="nearest")
    edges = np.linspace(-1, 1, LEVELS + 1)
    weights = np.diff(0.5 + (edges * np.sqrt(1 - edges**2) + np.arcsin(edges)) / np.pi)
    seen = np.zeros_like(turned)
    for middle, weight in zip((edges[1:] + edges[:-1]) / 2, weights, strict=True):
        tangent = np.tan(max(elevation + disc * middle, 1e-6))
        above = np.where(inside, turned - along / fine * tangent, -np.inf)
        horizon = np.maximum.accumulate(above[:, ::-1], 1)[:, ::-1]
        before = np.concatenate([horizon[:, 1:], np.full((size, 1), -np.inf)], 1)
        seen += weight * (above >= before - 1e-9)
    back_x, back_y = np.meshgrid(np.arange(nx) - (nx - 1) / 2, (ny - 1) / 2 - np.arange(ny))
    place = [-back_x * s + back_y * c + size / 2, back_x * c + back_y * s + size / 2]
    return np.clip(map_coordinates(seen, place, order=1, mode="nearest"), 0, 1)
