"""The ground of a terrain run, before and after: heights to draw in space, and how a sun lights them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import ConfigError, DataError
from tomodiff.projectors.terrain.lit_surface import lit_surface
from tomodiff.projectors.terrain.reflectance import direction

WIDEST = 320
"""Elements along an axis that a browser draws, at most."""
SURFACES = ("before", "after")
MODEL = "lunar_lambert_mcewen"


class Ground:
    """The heights that a run keeps (report_data/relief.npz), thinned for drawing, holes at the lowest height."""

    def __init__(self, run: Path) -> None:
        self._path = run / "report_data" / "relief.npz"
        self._lock = threading.Lock()
        self._read: tuple[int, dict[str, np.ndarray]] | None = None

    def shown(self) -> dict[str, Any] | None:
        """Shape (rows, columns), spacing in metres, lowest and highest height, and a version that changes with them;
        None for a run without heights."""
        try:
            version, kept = self._kept()
        except DataError:
            return None
        return {
            "version": version, "shape": list(kept["after"].shape), "spacing": kept["spacing"].tolist(),
            "range": kept["range"].tolist(),
        }  # fmt: skip

    def heights(self, which: int) -> np.ndarray:
        """(rows, columns) metres, float32: 0 before, 1 after.  DataError where there are none."""
        return self._kept()[1][_name(which)].astype(np.float32)

    def light(self, which: int, azimuth: float, elevation: float) -> np.ndarray:
        """(rows, columns), uint8: reflectance with cast shadows, 255 for level ground under the zenith; the sun at
        degrees clockwise from the top of the map and above the horizon.  ConfigError for one that is not up."""
        if not 0 < elevation <= 90 or not np.isfinite(azimuth):
            raise ConfigError(f"sun: expected 0 < elevation <= 90 degrees and an azimuth, got {elevation}, {azimuth}")
        kept = self._kept()[1]
        dy, dx = (float(s) for s in kept["spacing"])
        sun = direction(*np.deg2rad([azimuth, elevation]))[None]
        image = lit_surface(kept[_name(which)], (dy, dx), sun, np.array([[0.0, 0.0, 1.0]]), MODEL)
        return np.clip(255 * image, 0, 255).astype(np.uint8)

    def _kept(self) -> tuple[int, dict[str, np.ndarray]]:
        with self._lock:
            try:
                version = self._path.stat().st_mtime_ns
                if self._read is None or self._read[0] != version:
                    with np.load(self._path, allow_pickle=False) as stored:
                        self._read = version, _thinned({name: stored[name] for name in stored.files})
            except (OSError, ValueError, EOFError, KeyError) as error:
                raise DataError(self._path, "", "heights before and after a fit", str(error)) from error
            return self._read


def _name(which: int) -> str:
    if which not in range(len(SURFACES)):
        raise ConfigError(f"ground: expected 0 (before) or 1 (after), got {which}")
    return SURFACES[which]


def _thinned(stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    step = -(-max(stored["after"].shape) // WIDEST)
    made = {"spacing": stored["spacing"] * step}
    for name in SURFACES:
        height = np.asarray(stored[name][::step, ::step], np.float64)
        finite = np.isfinite(height)
        made[name] = np.where(finite, height, height[finite].min() if finite.any() else 0.0)
    both = [made[name] for name in SURFACES]
    return made | {"range": np.array([np.min(both), np.max(both)])}
