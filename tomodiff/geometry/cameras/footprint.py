"""What the pixels of an image see of a map: for each, its place over the map's grid as a cubic in the height."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import RectBivariateSpline

from tomodiff.errors import DataError
from tomodiff.geometry.cameras import Camera, LineScan
from tomodiff.geometry.cameras.parallax import BLOCK, NODES, TO_POWERS, WORST
from tomodiff.geometry.map_grid import MapGrid

APART = 16
"""Pixels between those that are traced; others are interpolated by cubics.  Lines of a scanner are all traced."""


@dataclass(frozen=True, eq=False)
class Footprint:
    """path (2, 4, rows, columns): columns and rows over the grid, whole numbers in the middles of elements, of powers 0
    to 3 of t = (height - middle) / half; NaN for pixels that see nothing of the body."""

    path: np.ndarray
    middle: float
    half: float


def footprint_of(
    camera: Camera, grid: MapGrid, low: float, high: float, columns: np.ndarray, rows: np.ndarray
) -> Footprint:
    """The footprint of the pixels at rising columns (c,) and rows (r,), for heights from low to high, metres.

    Raises DataError where the cubics in the height, or those between pixels, are off by 0.01 element halfway.
    """
    middle, half = (low + high) / 2, max((high - low) / 2, 1.0)

    def over(pixels: np.ndarray, t: float) -> np.ndarray:
        return grid.elements_of(*camera.ground_of(pixels, middle + half * t))

    def traced(at_columns: np.ndarray, at_rows: np.ndarray) -> tuple[np.ndarray, float]:
        flat = np.stack(np.meshgrid(at_columns, at_rows)).reshape(2, -1)
        path, off = np.empty((2, 4, flat.shape[1])), 0.0
        for first in range(0, flat.shape[1], BLOCK):
            part = flat[:, first : first + BLOCK]
            made = np.einsum("kn,nap->akp", TO_POWERS, np.stack([over(part, t) for t in NODES]))
            miss = np.abs(made[:, 0] - over(part, 0.0))
            off = max(off, float(np.max(miss, initial=0, where=np.isfinite(miss))))
            path[:, :, first : first + BLOCK] = made
        return path.reshape(2, 4, len(at_rows), len(at_columns)), off

    at_columns = _nodes(columns, APART)
    at_rows = rows if isinstance(camera, LineScan) else _nodes(rows, APART)
    path, off = traced(at_columns, at_rows)
    if len(at_columns) < len(columns) or len(at_rows) < len(rows):
        if np.isfinite(path).all():
            between = [(a[1:] + a[:-1])[len(a) // 4 :: max(1, len(a) // 4)] / 2 for a in (at_columns, at_rows)]
            made = [RectBivariateSpline(at_rows, at_columns, p) for p in path.reshape(8, *path.shape[2:])]
            exact, more = traced(*between)
            there = np.stack([spline(between[1], between[0]) for spline in made]).reshape(exact.shape)
            miss = np.abs((there - exact).sum(1))
            off = max(off, more, float(np.max(miss, initial=0, where=np.isfinite(miss))))
            path = np.stack([spline(rows, columns) for spline in made]).reshape(2, 4, len(rows), len(columns))
        else:
            path, off = traced(columns, rows)
    if off > WORST:
        raise DataError(
            grid.name, "heights", "a range over which the camera's sight is smooth",
            f"{low:g} to {high:g} m, where cubics miss it by {off:.2g} elements",
        )  # fmt: skip
    return Footprint(path, middle, half)


def _nodes(values: np.ndarray, apart: int) -> np.ndarray:
    """Some of rising values, about `apart` apart, both ends among them; all where that leaves too few."""
    count = int(np.ceil((values[-1] - values[0]) / apart)) + 1
    return values if count < 5 or count >= len(values) else np.linspace(values[0], values[-1], count)
