"""Where the elements of a map are seen as their heights change: a cubic in the height for each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tomodiff.errors import DataError
from tomodiff.geometry.cameras import Camera, view_of
from tomodiff.geometry.cameras.ellipsoid import Ellipsoid

BLOCK = 1 << 15
"""Elements taken at a time."""
NODES = np.cos(np.pi * (np.arange(4) + 0.5) / 4)
TO_POWERS = np.linalg.inv(np.vander(NODES, 4, increasing=True))
"""Heights at which cameras are asked, -1 to 1, and from values there to the coefficients of a cubic."""
WORST = 0.01
"""Pixels that the cubic may be off."""


@dataclass(frozen=True, eq=False)
class Parallax:
    """Columns and rows at which elements (ny, nx) are seen, whole numbers in the middles of pixels: start (2, ny, nx)
    plus the sum of path (2, 4, ny, nx) t^k, t = (height - middle) unit; NaN where none is seen.  view (3, ny, nx):
    towards the camera, body-fixed."""

    start: np.ndarray
    path: np.ndarray
    middle: float
    unit: float
    view: np.ndarray

    def at(self, heights: np.ndarray) -> np.ndarray:
        """(2, ny, nx) columns and rows at heights (ny, nx), metres."""
        t = (heights - self.middle) * self.unit
        p = np.moveaxis(self.path, 1, 0)
        return np.asarray(self.start + p[0] + t * (p[1] + t * (p[2] + t * p[3])))

    def less(self, column: int, row: int) -> Parallax:
        """In a part of the image that begins at this column and row."""
        return replace(self, start=self.start - np.array([column, row], np.int32)[:, None, None])


def parallax_of(
    camera: Camera, ellipsoid: Ellipsoid, lon: np.ndarray, lat: np.ndarray, low: float, high: float, name: str = ""
) -> Parallax:
    """The parallax of elements at longitudes and latitudes (ny, nx), radians, for heights from low to high, metres.

    Exact at four heights; raises DataError where the cubic is off by 0.01 pixel in the middle.
    """
    middle, half = (low + high) / 2, max((high - low) / 2, 1.0)
    shape, size = lon.shape, lon.size
    start, path, view = np.zeros((2, size), np.int32), np.zeros((2, 4, size)), np.zeros((3, size))
    worst = 0.0
    for first in range(0, size, BLOCK):
        part = slice(first, first + BLOCK)
        ground, up = ellipsoid.places(lon.flat[part], lat.flat[part]), ellipsoid.axes(lon.flat[part], lat.flat[part])[2]

        def seen(t: float, ground: np.ndarray = ground, up: np.ndarray = up) -> tuple[np.ndarray, np.ndarray]:
            places = ground + (middle + half * t) * up
            pixels, slopes = camera.image_of(places)
            return np.where(camera.within(places), pixels, np.nan), slopes

        at, slopes = seen(0.0)
        whole = np.where(np.isfinite(at), np.round(at), 0)
        made = np.einsum("kn,nap->akp", TO_POWERS, np.stack([seen(t)[0] - whole for t in NODES]))
        with np.errstate(invalid="ignore"):
            off = np.abs(made[:, 0] + whole - at)
        worst = max(worst, float(np.nanmax(off, initial=0)))
        start[:, part], path[:, :, part] = whole, made
        towards = view_of(slopes)
        view[:, part] = towards * np.sign((towards * up).sum(0))
    if worst > WORST:
        raise DataError(
            name, "heights", "a range over which the camera's parallax is smooth",
            f"{low:g} to {high:g} m, where cubics miss it by {worst:.2g} pixels",
        )  # fmt: skip
    return Parallax(
        start.reshape(2, *shape), path.reshape(2, 4, *shape), middle, 1 / half, view.reshape(3, *shape)
    )  # fmt: skip
