"""Where a camera was and how it was turned while it scanned: positions and quaternions at times, interpolated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

POINTS = 8
"""Neighbours of the Lagrange interpolation, as USGSCSM has it."""


@dataclass(frozen=True, eq=False)
class Track:
    """values (n, k) at evenly spaced times from `start` in steps of `step`, seconds; n = 1: constant."""

    start: float
    step: float
    values: np.ndarray

    def at(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(k, m) values and their derivatives by time, by the polynomial through the eight nearest; through six, four
        or two as an end of the track comes near, and the last two beyond it (USGSCSM, lagrangeInterp)."""
        n = len(self.values)
        if n == 1:
            held = np.repeat(self.values.T, times.size, 1)
            return held, np.zeros_like(held)
        place = (times - self.start) / self.step
        left = np.clip(place.astype(np.int64), 0, n - 2)
        half = np.minimum(np.minimum(left + 1, n - 1 - left), POINTS // 2)
        made, slope = (np.empty((self.values.shape[1], times.size)) for _ in range(2))
        for h in np.unique(half):
            those = half == h
            made[:, those], slope[:, those] = self._through(place[those], left[those] - h + 1, 2 * int(h))
        return made, slope / self.step

    def _through(self, place: np.ndarray, first: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
        away = (place - first) - np.arange(points)[:, None]
        w, s = np.ones((points, place.size)), np.zeros((points, place.size))
        for j in range(points):
            for i in range(points):
                if i != j:
                    s[j] = (s[j] * away[i] + w[j]) / (j - i)
                    w[j] *= away[i] / (j - i)
        nodes = self.values[first[:, None] + np.arange(points)]  # (m, points, k)
        return np.einsum("pm,mpk->km", w, nodes), np.einsum("pm,mpk->km", s, nodes)


def bilinear(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(3, 3, n) the symmetric bilinear form of quaternions (4, n), scalar first, whose diagonal is the rotation matrix
    of a unit quaternion."""
    w, v = a[0] * b[0], a[1:, None] * b[None, 1:]
    cross = a[0] * b[1:] + b[0] * a[1:]
    made = v + np.swapaxes(v, 0, 1)
    inner = w - (a[1:] * b[1:]).sum(0)
    for k in range(3):
        made[k, k] += inner
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        made[i, j] -= cross[k]
        made[j, i] += cross[k]
    return np.asarray(made)


def turned(q: np.ndarray, rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation matrices (3, 3, n) of quaternions (4, n) of any length, and their derivatives along `rate`."""
    length = np.sqrt((q * q).sum(0))
    unit = q / length
    moved = (rate - unit * (unit * rate).sum(0)) / length
    return bilinear(unit, unit), 2 * bilinear(unit, moved)
