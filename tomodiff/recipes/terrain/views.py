"""Images as their cameras took them: which pixel shows each element of the map, from where, and what hides it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter

from tomodiff.array import block_mean
from tomodiff.errors import DataError
from tomodiff.files.planetary import Light, Observation, Raster
from tomodiff.geometry.cameras.parallax import Parallax, parallax_of
from tomodiff.geometry.map_grid import MapGrid
from tomodiff.projectors.terrain.shadows import Shadows
from tomodiff.projectors.terrain.sightings import Sighting, coefficients_of
from tomodiff.projectors.terrain.sun_angles import angles_of
from tomodiff.recipes.terrain.holes import filled

MARGIN = 16
"""Pixels kept around what the map needs of an image."""
EDGE = 2
"""Pixels at an image's edges that do not count, so that small moves stay inside."""
REACH, ELEMENTS = 0.5, 20
"""How far heights may move: of their range, and elements, whichever is more."""
OTHER_BODY = 1e-3
"""Relative difference of axes above which a camera's body is not the map's."""


@dataclass(frozen=True, eq=False)
class ImageView:
    """pixels (rows, columns) of the part that is needed, holes filled from beside; which of them count; where the
    elements are seen; scale: pixels along an element's side; corner: (column, row) of the part in the image of `whole`
    (rows, columns)."""

    pixels: np.ndarray
    counts: np.ndarray
    parallax: Parallax
    scale: float
    corner: tuple[int, int]
    whole: tuple[int, int]
    factor: int = 1

    def cropped(self, rows: slice, columns: slice) -> ImageView:
        """For some rows and columns of elements."""
        old = self.parallax
        at = (..., rows, columns)
        return replace(self, parallax=replace(old, start=old.start[at], path=old.path[at], view=old.view[at]))

    def binned(self, factor: int) -> ImageView:
        """For elements `factor` times as large."""
        old = self.parallax
        total = old.path.copy()
        total[:, 0] += old.start
        path = block_mean(total, factor)
        start = np.round(path[:, 0])
        path[:, 0] -= start
        made = Parallax(start.astype(np.int32), path, old.middle, old.unit, block_mean(old.view, factor))
        return replace(self, parallax=made, factor=self.factor * factor)

    @property
    def smooth(self) -> np.ndarray:
        """The pixels, averaged as over an element's area: by a Gaussian, as much as that is wider than a pixel."""
        sigma = np.sqrt(max((self.scale * self.factor) ** 2 - 1, 0) / 12)
        return gaussian_filter(self.pixels, sigma, mode="nearest") if sigma > 0.2 else self.pixels

    def sighting(self, base: float, dtype: str) -> Sighting:
        """For `Sightings` of heights above `base`."""
        n = self.parallax.start[0].size
        rows, columns = self.whole
        centre = (columns - 1) / 2 - self.corner[0], (rows - 1) / 2 - self.corner[1]
        return Sighting(
            coefficients_of(self.smooth, dtype), np.ascontiguousarray(self.parallax.start.reshape(2, n)),
            np.ascontiguousarray(self.parallax.path.reshape(2, 4, n), dtype), self.parallax.middle - base,
            self.parallax.unit, centre, (columns / 2, rows / 2),
        )  # fmt: skip

    def counted(self, heights: np.ndarray) -> np.ndarray:
        """(ny, nx) the elements whose pixels count, at these heights."""
        column, row = np.rint(self.parallax.at(heights)).astype(np.int64)
        rows, columns = self.counts.shape
        inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        return inside & self.counts[np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)]


def view_image(
    path: Path, found: Raster, observation: Observation, counts: np.ndarray, grid: MapGrid, height: np.ndarray
) -> tuple[ImageView | None, np.ndarray, np.ndarray]:
    """An image (None where it does not show the map), the unit vectors (3, ny, nx) from its elements to the camera in
    their own axes, and the elements that it sees.  counts: of the image's pixels.  Raises DataError where the map has
    no projection or lies on another body than the camera's."""
    if grid.crs is None:
        raise DataError(grid.name, "projection", f"one, as {path.name} comes with a camera", "none")
    camera, body = observation.camera, grid.ellipsoid
    if max(abs(camera.ellipsoid.a / body.a - 1), abs(camera.ellipsoid.b / body.b - 1)) > OTHER_BODY:
        raise DataError(
            path, "camera's body", f"axes of {body.a:.0f} and {body.b:.0f} m, as the map of {grid.name} has",
            f"{camera.ellipsoid.a:.0f} and {camera.ellipsoid.b:.0f} m",
        )  # fmt: skip
    low, high = float(height.min()), float(height.max())
    reach = max(REACH * (high - low), ELEMENTS * max(grid.spacing))
    lon, lat = grid.geodetic
    parallax = parallax_of(camera, body, lon, lat, low - reach, high + reach, path.name)
    at = parallax.at(height)
    rows, columns = found.values.shape
    seen = (at[0] >= EDGE) & (at[0] <= columns - 1 - EDGE) & (at[1] >= EDGE) & (at[1] <= rows - 1 - EDGE)
    view = towards_camera(parallax, grid)
    if not seen.any():
        return None, view, seen
    column, row = at[0][seen], at[1][seen]
    left, right = max(0, int(column.min()) - MARGIN), min(columns, int(column.max()) + MARGIN + 1)
    top, bottom = max(0, int(row.min()) - MARGIN), min(rows, int(row.max()) + MARGIN + 1)
    part = found.values[top:bottom, left:right]
    if min(part.shape) < 4:
        return None, view, seen
    nowhere = ~np.isfinite(parallax.path).all((0, 1))
    path_there = np.where(nowhere, 0.0, parallax.path)
    start = np.where(nowhere, np.array([left, top])[:, None, None], parallax.start).astype(np.int32)
    kept = replace(parallax, start=start, path=path_there).less(left, top)
    made = ImageView(
        filled(part),
        counts[top:bottom, left:right] & np.isfinite(part),
        kept,
        _scale(at),
        (left, top),
        (rows, columns),
    )
    return made, view, seen & ~_hidden(height, view, grid) & made.counted(height)


def towards_camera(parallax: Parallax, grid: MapGrid) -> np.ndarray:
    """Unit vectors (3, ny, nx) from elements to the camera in their own axes; up where it does not see them."""
    axes = grid.axes
    return np.einsum("abij,bij->aij", axes, np.where(np.isfinite(parallax.view), parallax.view, axes[2]))


def light_of(observation: Observation, grid: MapGrid, view: np.ndarray, told: Light | None) -> Light | None:
    """Where sun and camera stand over the middle of the map, as the camera's file tells it; a sun that is told
    elsewhere goes before it.  None where neither tells of a sun."""
    middle = (grid.shape[0] // 2, grid.shape[1] // 2)

    def angles(own: np.ndarray) -> tuple[float, float]:
        azimuth, elevation = np.rad2deg(angles_of((own @ grid.site)[None])[0])
        return float(azimuth % 360), float(elevation)

    camera = angles(view[:, middle[0], middle[1]])
    if told is not None:
        return Light(told.sun_azimuth, told.sun_elevation, *camera)
    if observation.sun is None:
        return None
    towards = observation.sun - grid.places[:, middle[0], middle[1]]
    return Light(*angles(grid.axes[:, :, middle[0], middle[1]] @ (towards / np.linalg.norm(towards))), *camera)


def _hidden(height: np.ndarray, view: np.ndarray, grid: MapGrid) -> np.ndarray:
    """The elements that others hide from the camera, and their neighbours."""
    towards = view.mean((1, 2))
    towards = towards / np.linalg.norm(towards)
    if towards[2] > 0.9999 or towards[2] <= 0:
        return np.full(height.shape, bool(towards[2] <= 0))
    A = Shadows(height.shape, grid.spacing, radius=0.0, body_radius=grid.body_radius, dtype="float64")
    return np.asarray(binary_dilation(A({"height": height - height.mean(), "sun": towards}) == 0))


def _scale(at: np.ndarray) -> float:
    """Pixels along an element's side: the root of the area that one covers."""
    down, along = np.gradient(at, axis=1), np.gradient(at, axis=2)
    return float(np.sqrt(np.nanmedian(np.abs(along[0] * down[1] - along[1] * down[0]))))
