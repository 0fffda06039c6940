"""The few arrays of a volume that a report needs: three slices through its middle, and how its values spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tomodiff.array import Array, to_numpy
from tomodiff.html import window
from tomodiff.result import Result

HISTOGRAM_SAMPLES = 8_000_000
"""Voxels that the histogram and the statistics look at, at most; more are thinned out evenly."""


def summary(result: Result) -> dict[str, Any]:
    """Slices z, y, x through the middle, spacing (z, y, x) and centre of the grid in mm, histogram, statistics."""
    volume = result.volume
    step = max(1, int(np.ceil((np.prod(volume.shape, dtype=float) / HISTOGRAM_SAMPLES) ** (1 / 3))))
    steps = tuple(min(step, n) for n in volume.shape)
    sample = to_numpy(volume[:: steps[0], :: steps[1], :: steps[2]])
    finite = sample[np.isfinite(sample)].astype(np.float64)
    counts, edges = _histogram(finite)
    return {
        **middle(volume, result.grid.spacing, result.quantity, result.unit),
        "counts": counts,
        "edges": edges,
        "window": np.array(window(finite)),
        "minimum": finite.min() if finite.size else np.nan,
        "maximum": finite.max() if finite.size else np.nan,
        "mean": finite.mean() if finite.size else np.nan,
        "bad": np.count_nonzero(~np.isfinite(sample)),
    }


def middle(volume: Array, spacing_mm: Sequence[float], quantity: str, unit: str) -> dict[str, Any]:
    """Slices z, y, x through the middle of a volume on its way, with their place and a window."""
    index = [n // 2 for n in volume.shape]
    z, y, x = index
    planes = {"z": volume[z], "y": volume[:, y], "x": volume[:, :, x]}
    slices = {axis: to_numpy(plane).astype(np.float32) for axis, plane in planes.items()}
    return {
        **slices, "index": np.array(index), "shape": np.array(volume.shape), "quantity": quantity, "unit": unit,
        "spacing_mm": np.asarray(spacing_mm, np.float64), "window": np.array(window(*slices.values())),
    }  # fmt: skip


def _histogram(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """200 bins over what 99.98 % of the values span."""
    if not values.size:
        return np.zeros(1, dtype=int), np.array([0.0, 1.0])
    low, high = np.percentile(values, [0.01, 99.99])
    return np.histogram(values, bins=200, range=(low, high) if high > low else (low - 0.5, low + 0.5))
