"""The grid of a map on a planet: where each element lies, and which way is up there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tomodiff.errors import ConfigError, DataError
from tomodiff.geometry.cameras.ellipsoid import Ellipsoid

FLAT_RAD = 2e-4
"""Turns of the elements' axes below which a site counts as flat (0.01 degrees)."""
UNEVEN = 0.02
"""Relative differences of the elements' sizes over the map above which one size for all is refused."""


@dataclass(frozen=True, eq=False)
class MapGrid:
    """shape (ny, nx) elements of a north-up map; row 0 is the northernmost.

    transform: (a, b, c, d, e, f) of x = a col + b row + c, y = d col + e row + f at the corners of elements, as
    rasterio has it; crs: the coordinate reference system as WKT or an authority's code, None for metres on flat
    ground.  Raises DataError for a grid that is turned, mirrored or of no size, or whose elements differ too much in
    size on the ground.
    """

    shape: tuple[int, int]
    transform: tuple[float, float, float, float, float, float]
    crs: str | None = None
    name: str = "map"

    def __post_init__(self) -> None:
        a, b, _, d, e, _ = self.transform
        if not (a > 0 and e < 0 and abs(b) < 1e-9 * a and abs(d) < 1e-9 * abs(e)):
            raise DataError(
                self.name, "transform", "a north-up grid (columns to the east, rows to the south)",
                f"the steps ({a:g}, {d:g}) along columns and ({b:g}, {e:g}) along rows",
                "gdalwarp brings it into that form.",
            )  # fmt: skip
        if min(self.shape) < 4:
            raise DataError(self.name, "shape", "at least 4 x 4 elements", f"{self.shape[0]} x {self.shape[1]}")

    @cached_property
    def spacing(self) -> tuple[float, float]:
        """(dy, dx) metres on the ground, those of the middle."""
        if self.crs is None:
            return -self.transform[4], self.transform[0]
        dy, dx = self._steps
        middle = (self.shape[0] // 2, self.shape[1] // 2)
        size = float(dy[middle]), float(dx[middle])
        uneven = max(float(np.abs(steps / own - 1).max()) for steps, own in zip((dy, dx), size, strict=True))
        if uneven > UNEVEN:
            raise DataError(
                self.name, "projection", f"elements that differ by at most {UNEVEN:.0%} in size on the ground",
                f"a difference of {uneven:.1%}", "Project the map so that its scale is even here, or take less of it.",
            )  # fmt: skip
        return size

    @property
    def body_radius(self) -> float | None:
        """Metres, of a sphere that curves as the ground does; None for flat ground."""
        if self.crs is None:
            return None
        return float(np.sqrt(self.ellipsoid.a * self.ellipsoid.b))

    @cached_property
    def ellipsoid(self) -> Ellipsoid:
        """Of the body that the map shows."""
        assert self.crs is not None
        found = _crs(self.crs, self.name).ellipsoid
        return Ellipsoid(found.semi_major_metre, found.semi_minor_metre)

    @cached_property
    def site(self) -> np.ndarray:
        """(3, 3) rows: the grid's own axes in its middle (along columns, up the rows, out of the ground) in true
        east, north, up."""
        if self.crs is None:
            return np.eye(3)
        middle = (self.shape[0] // 2, self.shape[1] // 2)
        lon, lat = (c[middle] for c in self.geodetic)
        return np.asarray(self.axes[:, :, middle[0], middle[1]] @ self.ellipsoid.axes(lon, lat).T)

    @cached_property
    def frames(self) -> np.ndarray | None:
        """(3, 3, ny, nx) rows: the axes of each element in those of the middle; None where the ground is flat enough
        for one."""
        if self.crs is None:
            return None
        axes = self.axes
        middle = axes[:, :, self.shape[0] // 2, self.shape[1] // 2]
        made = np.einsum("abij,cb->acij", axes, middle)
        turn = np.abs(made - np.eye(3)[:, :, None, None]).max()
        return None if turn < FLAT_RAD else made

    def to_grid(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors (..., 3) in true east, north, up of the middle, in the grid's own axes there."""
        return np.asarray(vectors @ self.site.T)

    def cropped(self, rows: slice, columns: slice) -> MapGrid:
        """The grid of some rows and columns."""
        a, b, c, d, e, f = self.transform
        top, left = rows.indices(self.shape[0])[0], columns.indices(self.shape[1])[0]
        shape = (len(range(*rows.indices(self.shape[0]))), len(range(*columns.indices(self.shape[1]))))
        moved = (a, b, c + a * left + b * top, d, e, f + d * left + e * top)
        return MapGrid(shape, moved, self.crs, self.name)

    def binned(self, factor: int) -> MapGrid:
        """The grid of blocks of factor x factor elements; what is left at the right and below is outside."""
        a, b, c, d, e, f = self.transform
        shape = (self.shape[0] // factor, self.shape[1] // factor)
        return MapGrid(shape, (a * factor, b * factor, c, d * factor, e * factor, f), self.crs, self.name)

    def xy(self) -> tuple[np.ndarray, np.ndarray]:
        """Projected coordinates (ny, nx) of the elements' middles."""
        a, b, c, d, e, f = self.transform
        column, row = np.meshgrid(np.arange(self.shape[1]) + 0.5, np.arange(self.shape[0]) + 0.5)
        return a * column + b * row + c, d * column + e * row + f

    @cached_property
    def geodetic(self) -> tuple[np.ndarray, np.ndarray]:
        """Longitude and latitude (ny, nx) in radians."""
        from pyproj import Transformer

        assert self.crs is not None
        crs = _crs(self.crs, self.name)
        lon, lat = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(*self.xy())
        if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
            raise DataError(self.name, "projection", "a map that lies on the body", "elements outside of it")
        return np.deg2rad(lon), np.deg2rad(lat)

    def elements_of(self, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
        """(2, ...) columns and rows of longitudes and latitudes in radians, whole numbers in the middles of elements;
        NaN where the projection does not reach."""
        from pyproj import Transformer

        assert self.crs is not None
        crs = _crs(self.crs, self.name)
        way = Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True)
        x, y = way.transform(np.rad2deg(lon), np.rad2deg(lat))
        a, _, c, _, e, f = self.transform
        made = np.stack([(np.asarray(x) - c) / a - 0.5, (np.asarray(y) - f) / e - 0.5])
        return np.where(np.isfinite(made), made, np.nan)

    @cached_property
    def places(self) -> np.ndarray:
        """(3, ny, nx) body-fixed positions on the ellipsoid, metres."""
        return self.ellipsoid.places(*self.geodetic)

    @cached_property
    def _steps(self) -> tuple[np.ndarray, np.ndarray]:
        """Lengths (ny, nx) on the ground of a step down the rows and along the columns."""
        down, along = (np.gradient(self.places, axis=axis) for axis in (1, 2))
        return np.linalg.norm(down, axis=0), np.linalg.norm(along, axis=0)

    @cached_property
    def axes(self) -> np.ndarray:
        """(3, 3, ny, nx) rows: along columns, up the rows, out of the ground, body-fixed and at right angles."""
        up = self.ellipsoid.axes(*self.geodetic)[2]
        along = np.gradient(self.places, axis=2)
        along -= (along * up).sum(0) * up
        along /= np.linalg.norm(along, axis=0)
        return np.stack([along, np.cross(up, along, axis=0), up])


def _crs(text: str, name: str) -> Any:
    try:
        from pyproj import CRS
        from pyproj.exceptions import CRSError
    except ImportError as error:
        raise ConfigError("maps with a projection need pyproj: pip install 'tomodiff[planetary]'") from error
    try:
        return CRS.from_user_input(text)
    except CRSError as error:
        raise DataError(name, "projection", "a coordinate reference system that PROJ knows", str(error)) from error
