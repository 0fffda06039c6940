"""Frame and line-scan cameras on spacecraft, as the CSM's image support data describe them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tomodiff.geometry.cameras.distortion import Distortion
from tomodiff.geometry.cameras.ellipsoid import Ellipsoid
from tomodiff.geometry.cameras.path import Track, turned

STEPS = 40
CLOSE = 1e-6
"""Lines: where the search for the line that sees a place may end."""


@dataclass(frozen=True, eq=False)
class Detector:
    """From the focal plane to pixels: sample = (to_samples . (1, x, y) + centre[0] - first[0]) / summing[0], line the
    same with [1]; x, y in mm behind a lens of this focal length (mm) and distortion.  The upper left pixel's middle is
    (0.5, 0.5)."""

    focal: float
    to_samples: np.ndarray
    to_lines: np.ndarray
    centre: tuple[float, float]
    first: tuple[float, float]
    summing: tuple[float, float]
    distortion: Distortion

    def pixels_of(self, look: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(sample, line) (2, n) of directions (3, n) in the camera's axes, and their derivatives (2, 3, n)."""
        x, y, z = look
        p = self.focal * np.stack([x, y]) / z
        o, zero = np.full_like(x, self.focal) / z, np.zeros_like(x)
        flat = np.stack([np.stack([o, zero, -p[0] / z]), np.stack([zero, o, -p[1] / z])])
        bent, slope = self.distortion.bent(p)
        A, b = self._affine()
        return A @ bent + b[:, None], np.einsum("ab,bcn,cdn->adn", A, slope, flat)

    def looks_of(self, pixels: np.ndarray) -> np.ndarray:
        """Directions (3, n), of length 1, of (sample, line) (2, n)."""
        A, b = self._affine()
        straight, _ = self.distortion.straight(np.linalg.solve(A, pixels - b[:, None]))
        look = np.stack([*straight, np.full(pixels.shape[1], self.focal)])
        return np.asarray(look / np.linalg.norm(look, axis=0))

    def _affine(self) -> tuple[np.ndarray, np.ndarray]:
        rows = np.stack([self.to_samples, self.to_lines])
        s = np.array(self.summing)
        return rows[:, 1:] / s[:, None], (rows[:, 0] + np.array(self.centre) - np.array(self.first)) / s


class Pinhole:
    """What frame and line-scan cameras share.  Columns and rows are whole numbers in the middles of pixels; positions
    body-fixed, metres; the camera sees along +z of its axes, or along -z where only that leads towards the body."""

    shape: tuple[int, int]
    ellipsoid: Ellipsoid

    @cached_property
    def facing(self) -> float:
        """1, or -1 where the camera sees along -z."""
        middle = np.array([[(self.shape[1] - 1) / 2], [(self.shape[0] - 1) / 2]])
        position, axes = self.pose(middle[1])
        return -1.0 if float((position[:, 0] * axes[:, 2, 0]).sum()) > 0 else 1.0

    def pose(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The camera's positions (3, n) and axes (3, 3, n), columns in the body's frame, at rows."""
        raise NotImplementedError

    def ray(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The camera's positions (3, n) and directions of sight (3, n), body-fixed, of (column, row) (2, n)."""
        position, axes = self.pose(pixels[1])
        return position, self.facing * np.einsum("abn,bn->an", axes, self.looks(pixels))

    def looks(self, pixels: np.ndarray) -> np.ndarray:
        """Directions (3, n) in the camera's axes, z > 0, of (column, row) (2, n)."""
        raise NotImplementedError

    def ground_of(self, pixels: np.ndarray, height: float) -> tuple[np.ndarray, np.ndarray]:
        """Longitudes and latitudes (n,) in radians that pixels (2, n) see at one height; NaN where they miss it."""
        lon, lat, _ = self.ellipsoid.geodetic(self.ellipsoid.met(*self.ray(pixels), height))
        return lon, lat

    def within(self, places: np.ndarray) -> np.ndarray:
        """(n,) whether positions lie in front of the camera."""
        return np.isfinite(self.image_of(places)[0]).all(0)

    def image_of(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows (2, n) at which positions (3, n) are seen, and their derivatives (2, 3, n), 1/m."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Frame(Pinhole):
    """All pixels at once: position (3,) and axes (3, 3), columns in the body's frame, of the camera."""

    shape: tuple[int, int]
    ellipsoid: Ellipsoid
    detector: Detector
    position: np.ndarray
    axes: np.ndarray

    def pose(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n = len(rows)
        return np.repeat(self.position[:, None], n, 1), np.repeat(self.axes[:, :, None], n, 2)

    def looks(self, pixels: np.ndarray) -> np.ndarray:
        return self.detector.looks_of(pixels + 0.5)

    def image_of(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        look = self.axes.T @ (places - self.position[:, None])
        look = np.where(self.facing * look[2] > 0, look, np.nan)
        pixels, slopes = self.detector.pixels_of(look)
        return pixels - 0.5, np.einsum("abn,cb->acn", slopes, self.axes)


@dataclass(frozen=True, eq=False)
class LineScan(Pinhole):
    """A line at a time.  rates (k, 3): first line (the first of all is 0.5), its start in seconds and the time of a
    line; positions: a track of metres; quaternions: a track, scalar first, of the camera's axes in the body's frame.
    The line is exposed in its middle; what the detector sees then has no extent along lines."""

    shape: tuple[int, int]
    ellipsoid: Ellipsoid
    detector: Detector
    rates: np.ndarray
    positions: Track
    quaternions: Track

    def times(self, rows: np.ndarray) -> np.ndarray:
        """Seconds at the middles of rows."""
        which = np.clip(np.searchsorted(self.rates[:, 0], rows + 0.5, "right") - 1, 0, len(self.rates) - 1)
        first, start, step = self.rates[which].T
        return np.asarray(start + step * (rows + 0.5 - first + 0.5))

    def rows(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows exposed at these times, and the seconds of each."""
        which = np.clip(np.searchsorted(self.rates[:, 1] + self.rates[:, 2] / 2, times, "right") - 1, 0, None)
        first, start, step = self.rates[which].T
        return first - 1 + (times - start) / step, step

    def pose(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        times = self.times(rows)
        return self.positions.at(times)[0], turned(*self.quaternions.at(times))[0]

    def looks(self, pixels: np.ndarray) -> np.ndarray:
        return self.detector.looks_of(np.stack([pixels[0] + 0.5, np.zeros_like(pixels[0])]))

    def image_of(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The row is where the detector's line, G(place, time) = 0, meets the place: found by Newton's method; the
        derivatives are those of the implicit function."""
        n = places.shape[1]
        times = np.full(n, float(self.times(np.array([self.shape[0] / 2]))[0]))
        least, most = self.times(np.array([-0.5 * self.shape[0], 1.5 * self.shape[0]]))
        done = np.zeros(n, bool)
        for _ in range(STEPS):
            pixels, by_place, by_time = self._at(places, times)
            step = -pixels[1] / by_time[1]
            times = np.clip(times + step, least, most)
            done = ~(np.abs(step) > CLOSE * self.rows(times)[1])
            if done.all():
                break
        pixels, by_place, by_time = self._at(places, times)
        later = -by_place[1] / by_time[1]  # d time / d place
        row, step = self.rows(times)
        slopes = np.stack([by_place[0] + by_time[0] * later, later / step])
        found = np.stack([pixels[0] - 0.5, row])
        found[:, ~done] = np.nan
        return found, slopes

    def _at(self, places: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(sample, line on the detector) (2, n) at given times, and their derivatives by place and by time."""
        position, speed = self.positions.at(times)
        axes, turn = turned(*self.quaternions.at(times))
        away = places - position
        look = np.einsum("ban,bn->an", axes, away)
        rate = np.einsum("ban,bn->an", turn, away) - np.einsum("ban,bn->an", axes, speed)
        look = np.where(self.facing * look[2] > 0, look, np.nan)
        pixels, slopes = self.detector.pixels_of(look)
        return pixels, np.einsum("abn,cbn->acn", slopes, axes), np.einsum("abn,bn->an", slopes, rate)


def view_of(slopes: np.ndarray) -> np.ndarray:
    """(3, n) unit vectors along which a pixel's sight runs, from derivatives (2, 3, n): the direction in which neither
    column nor row changes; of two, any."""
    made = np.cross(slopes[0], slopes[1], axis=0)
    return np.asarray(made / np.linalg.norm(made, axis=0))
