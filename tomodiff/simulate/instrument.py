"""The imperfect instrument of a simulated scan: its beam, its detector and how it was put together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tomodiff.errors import ConfigError
from tomodiff.geometry import Scan, TurningScan, Vectors

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Beam:
    """What falls onto the detector where there is no sample.

    i0: counts of a pixel in the brightest part of the beam.
    profile: fraction by which the beam is darker at the detector's corners than in its middle (a smooth bowl).
    drift: fraction of the flux lost, linearly, between the first and the last view; flicker: standard deviation of
        independent relative changes of flux from view to view; after_flats: flux of the first view over that of flats.
    """

    i0: float = 1e5
    profile: float = 0.2
    drift: float = 0.0
    flicker: float = 0.0
    after_flats: float = 1.0

    def __post_init__(self) -> None:
        if self.i0 <= 0 or not 0 <= self.profile < 1 or self.drift >= 1 or self.flicker < 0 or self.after_flats <= 0:
            raise ConfigError(f"beam: expected i0 > 0, 0 <= profile < 1, drift < 1, flicker >= 0, got {self}")

    def image(self, shape: tuple[int, int]) -> Floats:
        """Expected counts (v, u) of a flat frame."""
        v, u = (np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape)
        return self.i0 * (1 - self.profile * (v[:, None] ** 2 + u[None, :] ** 2) / 2)

    def flux(self, n_view: int, rng: np.random.Generator) -> Floats:
        """Relative flux (n_view,) of each view; 1 is that of the flats."""
        trend = 1 - self.drift * np.arange(n_view) / max(1, n_view - 1)
        return self.after_flats * trend * np.exp(self.flicker * rng.standard_normal(n_view))


@dataclass(frozen=True)
class Detector:
    """How the detector turns photons into counts.

    flats, darks: number of frames without sample and without beam; dark_level: counts without beam; electronic_noise:
    standard deviation, counts, of Gaussian read-out noise; photon_noise: False for exact expectations.
    gain_error: standard deviation of each pixel's relative gain change between the flats and the scan: these make
    rings; gain_drift: of a further change that grows linearly through the scan; ring_width: pixels over which it is
    correlated. dead_pixels: how many pixels, at random places, that read the dark level for ever.
    dtype: "float32", or "uint16", which rounds and saturates at 65535 as a camera does.
    """

    flats: int = 10
    darks: int = 10
    dark_level: float = 100.0
    electronic_noise: float = 2.0
    photon_noise: bool = True
    gain_error: float = 0.0
    gain_drift: float = 0.0
    ring_width: int = 1
    dead_pixels: int = 0
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if min(self.flats, self.darks, self.dead_pixels, self.dark_level, self.electronic_noise, self.gain_error) < 0:
            raise ConfigError(f"detector: expected nothing below 0, got {self}")
        if self.dtype not in ("float32", "uint16"):
            raise ConfigError(f"detector dtype: expected 'float32' or 'uint16', got {self.dtype!r}")

    def gains(self, shape: tuple[int, int], rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Relative gain errors (v, u): constant through the scan, and the change from first to last view."""
        width = max(1, self.ring_width)
        parts = []
        for size in (self.gain_error, self.gain_drift):
            noise = rng.standard_normal((shape[0], shape[1] + width - 1))
            boxes = sum(noise[:, k : k + shape[1]] for k in range(width)) / np.sqrt(width)
            parts.append(size * np.asarray(boxes))
        return parts[0], parts[1]

    def read(self, expected: Floats, dead: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.generic]:
        """One frame (v, u) of counts where `expected` photons arrive."""
        photons = rng.poisson(expected).astype(np.float64) if self.photon_noise else np.array(expected)
        photons[dead] = 0.0
        counts = photons + self.dark_level + self.electronic_noise * rng.standard_normal(photons.shape)
        if self.dtype == "uint16":
            return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)
        return counts.astype(np.float32)


@dataclass(frozen=True)
class Misalignment:
    """How the real geometry differs from the one that the scan's file states.

    axis_shift: pixels by which the rotation axis projects further to +u than stated; detector_roll: radians more about
    the beam; jitter: standard deviations (v, u), in pixels, of independent detector shifts from view to view.
    """

    axis_shift: float = 0.0
    detector_roll: float = 0.0
    jitter: tuple[float, float] = (0.0, 0.0)

    def apply(self, scan: Scan, rng: np.random.Generator) -> Scan:
        """The true geometry of a scan that is stated to be `scan`."""
        true = scan
        if self.axis_shift or self.detector_roll:
            if not isinstance(scan, TurningScan):
                raise ConfigError(f"misalignment: a {type(scan).__name__} scan has no rotation axis to shift")
            roll, pitch, yaw = scan.detector_tilt
            offset = scan.axis_offset + self.axis_shift * scan.pixel[1]
            tilt = (roll + self.detector_roll, pitch, yaw)
            true = replace(scan, axis_offset=offset, detector_tilt=tilt)  # type: ignore[type-var]
        if self.jitter != (0.0, 0.0):
            if scan.radius is not None:
                raise ConfigError("misalignment: jitter of a curved detector is not simulated")
            table = np.array(true.frames())
            shift = rng.standard_normal((len(table), 2)) * self.jitter
            table[:, 3:6] += shift[:, :1] * table[:, 9:12] + shift[:, 1:] * table[:, 6:9]
            true = Vectors(table, scan.detector_shape, scan.kind)
        return true
