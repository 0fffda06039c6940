"""What a terrain is found from: images, lights and first heights, brought onto one grid, and what of them counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.array import block_mean
from tomodiff.errors import ConfigError, DataError
from tomodiff.files.planetary import (
    Light,
    Observation,
    Raster,
    onto_grid,
    read_camera,
    read_directions,
    read_exposures,
    read_lights,
    read_raster,
)
from tomodiff.files.planetary.sun_angles import light_of_tags
from tomodiff.geometry.map_grid import MapGrid
from tomodiff.projectors.terrain.reflectance import direction
from tomodiff.projectors.terrain.sightings import Sightings
from tomodiff.recipes.run import Run
from tomodiff.recipes.terrain.holes import filled
from tomodiff.recipes.terrain.views import ImageView, light_of, view_image

HIGHEST = 89.95
"""Degrees: a sun in the zenith has no azimuth, along which shadows could be looked for."""
NEAR = 1e-3
"""Deviation, radians, of directions to a camera over the map, below which one does for all."""
LEAST_COVERED = 0.01
"""The part of the DEM that an image must cover to be used."""


@dataclass(frozen=True, eq=False)
class Scene:
    """height (ny, nx) to start from, finite everywhere, and where it was told (known); albedo (ny, nx) to start from;
    images (m, ny, nx), 0 where they do not count (valid); sun (m, 3) in the grid's own axes, view (m, 3) in those of
    each element, or (m, 3, ny, nx); all float64.  views: of images that come with a camera; `images` is what they show
    at the first heights.  weights (m,): how much each counts.
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
    views: tuple[ImageView | None, ...] = ()
    weights: np.ndarray | float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return self.grid.shape

    @property
    def single_view(self) -> np.ndarray:
        """(m, 3) towards the cameras, means where they are near."""
        mean = self.view if self.view.ndim == 2 else self.view.mean((2, 3))
        return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True))

    def cropped(self, rows: slice, columns: slice) -> Scene:
        """The scene of some rows and columns."""
        at = (..., rows, columns)
        return replace(
            self, grid=self.grid.cropped(rows, columns), height=self.height[at], known=self.known[at],
            albedo=self.albedo[at], images=self.images[at], valid=self.valid[at],
            frames=None if self.frames is None else self.frames[at],
            view=self.view if self.view.ndim == 2 else self.view[at],
            views=tuple(None if v is None else v.cropped(rows, columns) for v in self.views),
        )  # fmt: skip

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
            view=self.view if self.view.ndim == 2 else block_mean(self.view, factor),
            views=tuple(None if v is None else v.binned(factor) for v in self.views),
        )  # fmt: skip


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
    found = read_raster(settings.input.images[0])
    if _camera(found, _isds(settings.input)[0]) is None:
        onto_grid(found, grid)
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
    rows: list[_Row] = []
    for path, isd in zip(chosen.images, _isds(chosen), strict=True):
        found = read_raster(path)
        told, camera = lights.get(path.name) or light_of_tags(found.tags), _camera(found, isd)
        if camera is None:
            row, about, why = _mapped(path, found, dem.grid, inside, light, told)
        else:
            row, about, why = _sighted(path, found, camera, dem.grid, height, inside, light, told)
        if not why and row.told is None:
            raise DataError(
                path, "sun", "its azimuth and elevation, by sun_angles, lights, the camera's file or tags SUN_AZIMUTH "
                "and SUN_ELEVATION", "none of these",
            )  # fmt: skip
        if not why and row.told is not None and row.told.sun_elevation <= 0:
            why = f"its sun stands {-row.told.sun_elevation:g} degrees below the horizon"
        if not why:
            rows.append(row)
        used[path.name] = about | {"saturated by its file": found.saturated, "used": "no, " + why if why else "yes"}
        if why and run is not None:
            run.warn(f"{path.name}: not used: {why}")
    if run is not None:
        run.record(images=used)
    if not rows:
        told_why = "; ".join(f"{name}: {about['used']}" for name, about in used.items())
        raise DataError(chosen.path, "images", "at least one that can be used", told_why)
    return _assembled(chosen, dem, height, known, rows, run)


@dataclass(frozen=True, eq=False)
class _Row:
    """An image on the map: its values, which count, its light, and how its camera sees the elements, if one does."""

    name: str
    values: np.ndarray
    counts: np.ndarray
    told: Light | None
    view: ImageView | None = None
    towards: np.ndarray | None = None


def _counts(values: np.ndarray, light: Any) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        counts = np.isfinite(values) & (values >= light.low_light_threshold)
        return counts if light.saturation is None else counts & (values < light.saturation)


def _mapped(
    path: Path, found: Raster, grid: MapGrid, inside: np.ndarray, light: Any, told: Light | None
) -> tuple[_Row, dict[str, Any], str]:
    """An image that lies on a map."""
    values = onto_grid(found, grid)
    counts = _counts(values, light) & inside
    about = {"covers": float(np.isfinite(values).mean()), "counts": float(counts.mean())}
    why = _refused(values, counts)
    return _Row(path.name, np.where(counts, values, 0.0), counts, told), about, why


def _sighted(
    path: Path, found: Raster, observation: Observation, grid: MapGrid, height: np.ndarray, inside: np.ndarray,
    light: Any, told: Light | None,
) -> tuple[_Row, dict[str, Any], str]:  # fmt: skip
    """An image with a camera: its values are those that it shows at the first heights."""
    view, towards, seen = view_image(path, found, observation, _counts(found.values, light), grid, height)
    about = {"camera": type(observation.camera).__name__, "covers": float(seen.mean())}
    if view is None:
        return _Row(path.name, height, seen, told), about, "its camera does not see the DEM"
    sight = Sightings(grid.shape, [view.sighting(0.0, "float64")], "float64")
    values = np.where(seen, sight({"height": height, "camera": np.zeros((1, 6))})[0], np.nan)
    counts = seen & inside
    about |= {"counts": float(counts.mean()), "pixels along an element": view.scale}
    row = _Row(
        path.name, np.where(counts, values, 0.0), counts, light_of(observation, grid, towards, told), view, towards
    )
    return row, about, _refused(values, counts)


def _camera(found: Raster, isd: Path | None) -> Observation | None:
    """The camera that counts: none for an image that lies on a map, unless one is told."""
    return read_camera(found.path, isd) if isd is not None or not found.projected else None


def _isds(chosen: Any) -> list[Path | None]:
    """The camera file of each image."""
    given = chosen.cameras
    if given is None:
        return [None] * len(chosen.images)
    if len(given) != len(chosen.images):
        raise ConfigError(f"input.cameras: expected {len(chosen.images)} files, one for each image, got {len(given)}")
    return list(given)


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


def _refused(values: np.ndarray, counts: np.ndarray) -> str:
    """Why an image is not used; nothing where it is."""
    finite = np.isfinite(values)
    if finite.mean() < LEAST_COVERED:
        return f"it covers {finite.mean():.2%} of the DEM"
    if float(values[finite].max()) <= 0:
        return "it is black where it covers the DEM"
    if float(np.ptp(values[finite])) == 0:
        return "it has one value everywhere"
    return "" if counts.mean() >= LEAST_COVERED else "all of it is too dark or saturated"


def _assembled(
    chosen: Any, dem: Raster, height: np.ndarray, known: np.ndarray, rows: list[_Row], run: Run | None
) -> Scene:
    names, grid = tuple(row.name for row in rows), dem.grid
    told = [row.told for row in rows if row.told is not None]
    suns = direction(*np.deg2rad([[t.sun_azimuth, min(t.sun_elevation, HIGHEST)] for t in told]).T)
    albedo = np.ones(grid.shape)
    if chosen.input_albedo is not None:
        albedo = _filled(onto_grid(read_raster(chosen.input_albedo), grid))
    if run is not None and chosen.dem is not None and not known.all():
        run.warn(f"{chosen.dem.name}: {int((~known).sum())} holes; they start from their nearest neighbours")
    views = tuple(row.view for row in rows)
    return Scene(
        grid, names, height, known, albedo, np.stack([row.values for row in rows]),
        np.stack([row.counts for row in rows]), grid.to_grid(suns), _towards(rows, told, grid),
        _of_images(chosen.image_exposures, names, "image_exposures"), _told(chosen.haze, names, "haze"), grid.frames,
        chosen.input_albedo is not None, views if any(v is not None for v in views) else (),
        _told(chosen.image_weights, names, "image_weights"),
    )  # fmt: skip


def _towards(rows: list[_Row], told: list[Light], grid: MapGrid) -> np.ndarray:
    """Unit vectors to the cameras: (m, 3), or (m, 3, ny, nx) where one camera is so near that they differ."""
    single = grid.to_grid(direction(*np.deg2rad([[t.view_azimuth, t.view_elevation] for t in told]).T))
    near = [row for row in rows if row.towards is not None and float(row.towards.std((1, 2)).max()) > NEAR]
    if not near:
        return single
    fields = [
        np.broadcast_to(one[:, None, None], (3, *grid.shape)) if row.towards is None else row.towards
        for row, one in zip(rows, single, strict=True)
    ]
    return np.stack(fields)


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


def _told(given: Any, names: tuple[str, ...], what: str) -> np.ndarray:
    found = _of_images(given, names, what)
    assert found is not None
    return found


def _filled(values: np.ndarray) -> np.ndarray:
    """The values without holes; there must be some."""
    if not np.isfinite(values).any():
        raise ConfigError("a map that holds nothing where the DEM lies")
    return filled(values)
