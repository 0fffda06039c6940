"""A scan file that is open but not yet read: where its frames and angles are, and what it says about the setup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.stack import Stack

if TYPE_CHECKING:
    from tomodiff.geometry import Scan


@dataclass
class RawAngles:
    """Angles as a file gives them: the values, their unit there ("deg", "rad" or None), and where they were found."""

    values: np.ndarray
    unit: str | None
    origin: str


@dataclass
class Source:
    """What a reader found in a file, before any pixel is read.

    `angles` None means that the file has none, and `no_angles` says why; `scan` is our own geometry where the
    file carries it; `pixel` is (v, u) in mm.  `meta` and `notes` go to the dataset's meta and history.
    """

    path: Path
    format: str
    projections: Stack
    flats: Stack | None = None
    darks: Stack | None = None
    weights: Stack | None = None
    angles: RawAngles | None = None
    no_angles: str = "no angles"
    pixel: tuple[float, float] | None = None
    scan: Scan | None = None
    kind: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raise DataError where flats, darks, weights or the carried geometry do not fit the projections."""
        shape = self.projections.shape
        for name in ("flats", "darks"):
            frames: Stack | None = getattr(self, name)
            if frames is not None and frames.shape[1:] != shape[1:]:
                raise DataError(
                    frames.name, name, f"frames of {shape[1:]} pixels like the projections", str(frames.shape[1:])
                )
        if self.scan is not None and (len(self.scan), *self.scan.detector_shape) != shape:
            raise DataError(
                self.path,
                "geometry",
                f"{shape[0]} views of {shape[1:]} pixels, as there are",
                f"{len(self.scan)} views of {self.scan.detector_shape}",
            )
        if self.weights is not None and self.weights.shape != shape:
            raise DataError(self.weights.name, "weights", f"the projections' shape {shape}", str(self.weights.shape))


MM: Mapping[str, float] = {
    "m": 1e3, "meter": 1e3, "metre": 1e3, "cm": 10.0, "mm": 1.0, "millimeter": 1.0, "millimetre": 1.0,
    "um": 1e-3, "\N{MICRO SIGN}m": 1e-3, "\N{GREEK SMALL LETTER MU}m": 1e-3, "micron": 1e-3, "micrometer": 1e-3,
    "micrometre": 1e-3, "micros": 1e-3, "nm": 1e-6, "nanometer": 1e-6, "angstrom": 1e-7,
}  # fmt: skip
"""Length units in files -> mm."""

KEV: Mapping[str, float] = {"ev": 1e-3, "kev": 1.0, "mev": 1e3, "j": 6.241509074460763e15}
"""Energy units in files -> keV (J: CODATA 2018)."""


def in_mm(value: float, unit: str | None) -> float | None:
    """A length in mm, or None where the file does not say the unit in a way that is known."""
    return _scaled(value, unit, MM)


def in_kev(value: float, unit: str | None) -> float | None:
    """A photon energy in keV, or None where its unit is not said; GeV (a storage ring's) is none either."""
    return _scaled(value, unit, KEV)


def _scaled(value: float, unit: str | None, table: Mapping[str, float]) -> float | None:
    name = (unit or "").strip().lower()
    factor = table.get(name, table.get(name.removesuffix("s")))
    return None if factor is None or not np.isfinite(value) or value == 0 else float(value) * factor
