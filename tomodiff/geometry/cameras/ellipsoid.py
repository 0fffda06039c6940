"""A body's ellipsoid: places on it, heights above it, and where lines of sight meet it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ellipsoid:
    """Semi-axes in metres: a of the equator, b of the poles.  Angles in radians, heights along the normal."""

    a: float
    b: float

    def places(self, lon: np.ndarray, lat: np.ndarray, height: np.ndarray | float = 0.0) -> np.ndarray:
        """(3, ...) body-fixed positions in metres of geodetic longitudes, latitudes and heights."""
        across = self._across(lat)
        ring = (across + height) * np.cos(lat)
        return np.stack(
            [ring * np.cos(lon), ring * np.sin(lon), (across * (self.b / self.a) ** 2 + height) * np.sin(lat)]
        )

    def geodetic(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Longitudes, latitudes and heights of positions (3, ...) outside of the body's core: Bowring's latitude (1976)
        repeated until it stays."""
        x, y, z = places
        ring = np.hypot(x, y)
        squared = 1 - (self.b / self.a) ** 2
        reduced = np.arctan2(z * self.a, ring * self.b)
        for _ in range(4):
            lat = np.arctan2(
                z + squared / (1 - squared) * self.b * np.sin(reduced) ** 3,
                ring - squared * self.a * np.cos(reduced) ** 3,
            )
            reduced = np.arctan2(self.b * np.sin(lat), self.a * np.cos(lat))
        height = ring * np.cos(lat) + z * np.sin(lat) - self.a**2 / self._across(lat)
        return np.arctan2(y, x), lat, height

    def axes(self, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
        """(3, 3, ...) rows: east, north and up, body-fixed."""
        east = np.stack([-np.sin(lon), np.cos(lon), np.zeros_like(lon)])
        up = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
        return np.stack([east, np.cross(up, east, axis=0), up])

    def radii(self, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The radii of curvature along the parallel's normal section (east) and along the meridian (north)."""
        across = self._across(lat)
        return across, across**3 * self.b**2 / self.a**4

    def met(self, centre: np.ndarray, look: np.ndarray, height: float) -> np.ndarray:
        """(3, ...) where lines from `centre` along `look` (3, ...) first come down to a height; NaN where they miss."""
        for_height, found = np.broadcast_to(float(height), centre.shape[1:]), np.empty(0)
        for _ in range(4):  # the ellipsoid with longer axes is no surface of one height, but nearly
            stretch = np.stack([1 / (self.a + for_height)] * 2 + [1 / (self.b + for_height)])
            p, d = centre * stretch, look * stretch
            bb, pd, pp = (d * d).sum(0), (p * d).sum(0), (p * p).sum(0)
            inside = pd**2 - bb * (pp - 1)
            with np.errstate(invalid="ignore"):
                length = (-pd - np.sqrt(inside)) / bb
            found = np.where(length > 0, centre + length * look, np.nan)
            if self.a == self.b:
                break
            for_height = for_height + height - self.geodetic(found)[2]
        return found

    def _across(self, lat: np.ndarray) -> np.ndarray:
        return np.asarray(self.a**2 / np.hypot(self.a * np.cos(lat), self.b * np.sin(lat)))
