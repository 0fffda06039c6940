"""What a terrain is found from: images, lights and first heights, brought onto one grid, and what of them counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from tomodiff.errors import ConfigError, DataError
from tomodiff.files.planetary import (
    Light,
    Raster,
    onto_grid,
    read_directions,
    read_exposures,
    read_lights,
    read_raster,
)
from tomodiff.files.planetary.sun_angles import light_of_tags
from tomodiff.geometry.map_grid import MapGrid
from tomodiff.projectors.reflectance import direction
from tomodiff.recipes.run import Run

HIGHEST = 89.95
"""Degrees: a sun in the zenith has no azimuth, along which shadows could be looked for."""
LEAST_COVERED = 0.01
"""The part of the DEM that an image must cover to be used."""


@dataclass(frozen=True, eq=False)
class Scene:
    """height (ny, nx) to start from, finite everywhere, and where it was told (known); albedo (ny, nx) to start from;
    images (m, ny, nx), 0 where they do not count (valid); sun, view (m, 3) in the grid's own axes; all float64.

    unit: of heights and of the grid's lengths.
    """

    grid: MapGrid
    names: tuple[str, ...]
    height: np.ndarray
    known: np.ndarray
    albedo: np.ndarray
    images: np.ndarray
    valid: np.ndarray
    sun: np.ndarray
    view: np.ndarray
    exposure: np.ndarray | None
    haze: np.ndarray
    frames: np.ndarray | None = None
    albedo_given: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return self.grid.shape

    def binned(self, factor: int) -> Scene:
        """Means over blocks of factor x factor elements; of images, over what counts, where half of a block does."""
        if factor == 1:
            return self
        part = block_mean(self.valid.astype(np.float64), factor)
        images = block_mean(self.images, factor) / np.maximum(part, 1e-9)
        valid = part >= 0.5
        return replace(
            self, grid=self.grid.binned(factor), height=block_mean(self.height, factor),
            known=block_mean(self.known.astype(np.float64), factor) >= 0.5, albedo=block_mean(self.albedo, factor),
            images=np.where(valid, images, 0.0), valid=valid,
            frames=None if self.frames is None else block_mean(self.frames, factor),
        )  # fmt: skip


def block_mean(values: np.ndarray, factor: int) -> np.ndarray:
    """Means over the last two axes; what does not fill a block at their ends is left out."""
    ny, nx = (n // factor * factor for n in values.shape[-2:])
    blocks = values[..., :ny, :nx].reshape(*values.shape[:-2], ny // factor, factor, nx // factor, factor)
    return np.asarray(blocks.mean((-3, -1)))


def read_dem(settings: Any) -> Raster:
    """The DEM, or level ground of unknown height on the map of the first image; the part of it that is wanted.  Raises
    DataError where its unit is none that is known."""
    if settings.dem is None:
        first = read_raster(settings.images[0])
        found = replace(first, values=np.full(first.grid.shape, np.nan), unit=None)
    else:
        found = read_raster(settings.dem)
    unit = (found.unit or "m").strip().lower()
    metres = {"m": 1.0, "metre": 1.0, "meter": 1.0, "metres": 1.0, "meters": 1.0, "km": 1000.0, "": 1.0}
    if unit not in metres:
        raise DataError(found.path, "unit", "metres or kilometres", found.unit or "none")
    found = replace(found, values=found.values * metres[unit])
    if settings.crop_win is None:
        return found
    column, row, width, height = (round(n) for n in settings.crop_win)
    ny, nx = found.grid.shape
    if not (0 <= column < column + width <= nx and 0 <= row < row + height <= ny):
        raise ConfigError(f"input.crop_win: expected a part of the {nx} x {ny} elements of {found.path.name}")
    rows, columns = slice(row, row + height), slice(column, column + width)
    return replace(found, values=found.values[rows, columns], grid=found.grid.cropped(rows, columns))


def look_at(settings: Any) -> None:
    """What cannot be read should cost no run directory: the DEM, the first image, the table of suns."""
    grid = read_dem(settings.input).grid
    onto_grid(read_raster(settings.input.images[0]), grid)
    _lights(settings.input)


def load_scene(settings: Any, light: Any, run: Run | None = None) -> Scene:
    """The scene of a job; the run is told which images and elements are used, and why others are not."""
    chosen = settings
    dem = read_dem(chosen)
    known = np.isfinite(dem.values)
    if not known.any() and chosen.dem is not None:
        raise DataError(chosen.dem, "heights", "at least one in the part that is wanted", "only holes")
    height = _filled(dem.values) if chosen.dem is not None else np.zeros(dem.grid.shape)
    lights, inside = _lights(chosen), _mask(chosen, dem.grid)
    used: dict[str, dict[str, Any]] = {}
    rows: list[tuple[str, np.ndarray, np.ndarray, Light]] = []
    for path in chosen.images:
        found = read_raster(path)
        values = onto_grid(found, dem.grid)
        finite = np.isfinite(values)
        counts = finite & inside & (values >= light.low_light_threshold)
        if light.saturation is not None:
            counts &= values < light.saturation
        about = {
            "covers": float(finite.mean()), "counts": float(counts.mean()), "saturated by its file": found.saturated,
        }  # fmt: skip
        why = _refused(path, values, finite, counts)
        told = lights.get(path.name) or light_of_tags(found.tags)
        if not why and told is None:
            raise DataError(
                path, "sun", "its azimuth and elevation, by sun_angles, lights or tags SUN_AZIMUTH and SUN_ELEVATION",
                "none of these",
            )  # fmt: skip
        if not why and told is not None and told.sun_elevation <= 0:
            why = f"its sun stands {-told.sun_elevation:g} degrees below the horizon"
        if not why and told is not None:
            rows.append((path.name, np.where(counts, values, 0.0), counts, told))
        used[path.name] = about | {"used": "no, " + why if why else "yes"}
        if why and run is not None:
            run.warn(f"{path.name}: not used: {why}")
    if run is not None:
        run.record(images=used)
    if not rows:
        told_why = "; ".join(f"{name}: {about['used']}" for name, about in used.items())
        raise DataError(chosen.path, "images", "at least one that can be used", told_why)
    return _assembled(chosen, dem, height, known, rows, run)


def _lights(chosen: Any) -> dict[str, Light]:
    """What the table of suns or lights tells."""
    if chosen.lights is not None:
        return read_directions(chosen.lights, [path.name for path in chosen.images])
    return {} if chosen.sun_angles is None else read_lights(chosen.sun_angles)


def _mask(chosen: Any, grid: MapGrid) -> np.ndarray:
    """The elements that count."""
    if chosen.mask is None:
        return np.ones(grid.shape, bool)
    values = onto_grid(read_raster(chosen.mask), grid)
    inside = values > 0.5 * float(np.nanmax(values))
    if not inside.any():
        raise DataError(chosen.mask, "values", "some brighter than half of the brightest", "none")
    return np.asarray(inside)


def _refused(path: Path, values: np.ndarray, finite: np.ndarray, counts: np.ndarray) -> str:
    """Why an image is not used; nothing where it is."""
    if finite.mean() < LEAST_COVERED:
        return f"it covers {finite.mean():.2%} of the DEM"
    if float(values[finite].max()) <= 0:
        return "it is black where it covers the DEM"
    if float(np.ptp(values[finite])) == 0:
        return "it has one value everywhere"
    return "" if counts.mean() >= LEAST_COVERED else "all of it is too dark or saturated"


def _assembled(
    chosen: Any, dem: Raster, height: np.ndarray, known: np.ndarray,
    rows: list[tuple[str, np.ndarray, np.ndarray, Light]], run: Run | None,
) -> Scene:  # fmt: skip
    names = tuple(name for name, *_ in rows)
    grid = dem.grid
    suns = direction(*np.deg2rad([[t.sun_azimuth, min(t.sun_elevation, HIGHEST)] for *_, t in rows]).T)
    views = direction(*np.deg2rad([[t.view_azimuth, t.view_elevation] for *_, t in rows]).T)
    albedo = np.ones(grid.shape)
    if chosen.input_albedo is not None:
        albedo = _filled(onto_grid(read_raster(chosen.input_albedo), grid))
    if run is not None and chosen.dem is not None and not known.all():
        run.warn(f"{chosen.dem.name}: {int((~known).sum())} holes; they start from their nearest neighbours")
    return Scene(
        grid, names, height, known, albedo, np.stack([v for _, v, _, _ in rows]), np.stack([c for *_, c, _ in rows]),
        grid.to_grid(suns), grid.to_grid(views), _of_images(chosen.image_exposures, names, "image_exposures"),
        _haze(chosen.haze, names), grid.frames, chosen.input_albedo is not None,
    )  # fmt: skip


def _of_images(given: Any, names: tuple[str, ...], what: str) -> np.ndarray | None:
    """A number for each image; None where they are to be found."""
    if given == "auto":
        return None
    if not isinstance(given, Path):
        return np.full(len(names), float(given))
    found = read_exposures(given)
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(given, what, "a line for each image", f"none for {', '.join(missing)}")
    return np.array([found[name][0] for name in names])


def _haze(given: Any, names: tuple[str, ...]) -> np.ndarray:
    found = _of_images(given, names, "haze")
    assert found is not None
    return found


def _filled(values: np.ndarray) -> np.ndarray:
    """The values, holes with that of their nearest neighbour."""
    holes = ~np.isfinite(values)
    if not holes.any():
        return values
    if holes.all():
        raise ConfigError("a map that holds nothing where the DEM lies")
    nearest = distance_transform_edt(holes, return_distances=False, return_indices=True)
    return np.asarray(values[tuple(nearest)])
