"""A terrain and its images as files: a coarse DEM, images under several suns, their angles, and the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from tomodiff.files.planetary import write_raster
from tomodiff.geometry.map_grid import MapGrid
from tomodiff.simulate.terrain import Terrain, fractal_terrain, rendered

FWHM = 2.355
"""Width at half height over the standard deviation of a Gaussian."""


@dataclass(frozen=True)
class TerrainSet:
    """How a terrain is made and seen: elements of `spacing` metres, suns as (azimuth, elevation) in degrees, noise of
    1 / snr of the mean brightness, a DEM low-passed to `dem_elements`, rendered `fine` times finer than the map."""

    shape: tuple[int, int] = (128, 128)
    spacing: float = 2.0
    suns: tuple[tuple[float, float], ...] = ((20.0, 32.0), (110.0, 27.0), (200.0, 35.0), (290.0, 24.0))
    snr: float = 100.0
    dem_elements: float = 20.0
    slope_deg: float = 10.0
    craters: int = 25
    fine: int = 4
    seed: int = 0
    crs: str = "IAU_2015:30110"
    corner: tuple[float, float] = (707000.0, 20000.0)

    @property
    def grid(self) -> MapGrid:
        """Where it lies: near the Moon's equator."""
        x, y = self.corner
        return MapGrid(self.shape, (self.spacing, 0, x, 0, -self.spacing, y), self.crs)


def terrain_of(chosen: TerrainSet) -> Terrain:
    """The truth, finer than the map."""
    rng = np.random.default_rng(chosen.seed)
    return fractal_terrain(chosen.shape, rng, slope_deg=chosen.slope_deg, craters=chosen.craters, fine=chosen.fine)


def write_terrain(folder: Path, chosen: TerrainSet) -> Iterator[Path]:
    """Write dem.tif, sun*.tif, sun_angles.txt, truth_height.tif and truth_albedo.tif; the paths as they are done."""
    from tomodiff.projectors.terrain.reflectance import direction

    folder.mkdir(parents=True, exist_ok=True)
    terrain, grid, rng = terrain_of(chosen), chosen.grid, np.random.default_rng([chosen.seed, 1])
    height = terrain.map_height * chosen.spacing
    coarse = gaussian_filter(height, chosen.dem_elements / FWHM, mode="nearest")
    for name, values, unit in (
        ("dem", coarse, "m"), ("truth_height", height, "m"), ("truth_albedo", terrain.map_albedo, ""),
    ):  # fmt: skip
        write_raster(folder / f"{name}.tif", values, grid, unit, name.replace("_", " "))
        yield folder / f"{name}.tif"
    lines = ["# image, azimuth of the sun clockwise from north, elevation, degrees\n"]
    for azimuth, elevation in chosen.suns:
        sun = grid.to_grid(direction(np.deg2rad(azimuth), np.deg2rad(elevation)))
        image, _ = rendered(terrain, sun, camera=0.0)
        name = f"sun{round(azimuth):03d}.tif"
        write_raster(folder / name, image + rng.normal(0, image.mean() / chosen.snr, image.shape), grid, "", "I/F")
        lines.append(f"{name} {azimuth:g} {elevation:g}\n")
        yield folder / name
    (folder / "sun_angles.txt").write_text("".join(lines), encoding="utf-8")
    yield folder / "sun_angles.txt"
