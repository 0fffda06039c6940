"""What a camera makes of light: exposure, blur, photons, read-out noise, dead pixels; and its fit to a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.optimize import least_squares

WIDEST = 20.0
"""Pixels of a point spread, at most."""


@dataclass(frozen=True)
class Sensor:
    """values = black + gain * blurred(light) with noise, from 0 to 1.

    blur: deviation of a normal point spread in pixels.  photons: of light 1 at gain 1; 0 for no photon noise.
    read_noise: deviation, of white.  dead: the share of pixels that always read black or white.
    """

    gain: float = 1.0
    black: float = 0.0
    blur: float = 0.0
    photons: float = 0.0
    read_noise: float = 0.0
    dead: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.gain, self.blur, self.photons, self.read_noise, self.dead)
        if min(numbers) < 0 or not np.isfinite(numbers).all() or self.dead > 1:
            raise ValueError(f"Sensor: expected numbers of at least 0, and dead of at most 1, got {self}")

    def mean(self, light: np.ndarray) -> np.ndarray:
        """Values (row, column, channel) without noise, before they are cut off at black and white."""
        return self.black + self.gain * blurred(light, self.blur)

    def values(self, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Values from 0 to 1 as they are read."""
        signal = np.maximum(self.gain * blurred(light, self.blur), 0)
        if self.photons > 0:
            signal = rng.poisson(signal * self.photons) / self.photons
        made = self.black + signal + self.read_noise * rng.standard_normal(light.shape)
        broken = rng.random(light.shape[:2])
        made[broken < self.dead / 2] = 0.0
        made[(broken >= self.dead / 2) & (broken < self.dead)] = 1.0
        return made.clip(0, 1)


def blurred(light: np.ndarray, sigma: float) -> np.ndarray:
    """Light (row, column, ...) through a normal point spread, mirrored at the rim."""
    return _blurs(light, sigma)[0]


def _blurs(light: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """What `blurred` gives, and its slope in sigma, both exact (cosine waves)."""
    waves = [np.pi * np.arange(n) / n for n in light.shape[:2]]
    square = (waves[0][:, None] ** 2 + waves[1][None] ** 2).reshape(*light.shape[:2], *(1,) * (light.ndim - 2))
    spectrum = fft.dctn(light, axes=(0, 1), norm="ortho") * np.exp(-0.5 * sigma**2 * square)
    made, slope = (fft.idctn(s, axes=(0, 1), norm="ortho") for s in (spectrum, -sigma * square * spectrum))
    return made, slope


def fit_sensor(light: np.ndarray, picture: np.ndarray, robust: float = 0.02) -> Sensor:
    """Gain, black level and blur with which a simulated picture's light (row, column, channel) looks most like a real
    picture of the same (sim to real): by Gauss-Newton steps with exact slopes and a loss that dead pixels and
    highlights do not move; values at black and white are left out.

    ValueError where the two are not of one shape, or the light shows nothing.
    """
    if light.shape != picture.shape or light.ndim != 3:
        raise ValueError(
            f"fit_sensor: expected two pictures (row, column, channel), got {light.shape}, {picture.shape}"
        )
    if not (np.isfinite(light).all() and np.isfinite(picture).all()) or np.ptp(light) == 0:
        raise ValueError("fit_sensor: expected finite numbers, and light that shows something")
    known = (picture > 0) & (picture < 1)

    def misfit(unknown: np.ndarray) -> np.ndarray:
        gain, black, sigma = unknown
        return ((black + gain * _blurs(light, sigma)[0] - picture) * known).ravel()

    def slopes(unknown: np.ndarray) -> np.ndarray:
        gain, _, sigma = unknown
        made, slope = _blurs(light, sigma)
        columns = np.stack([made, np.ones_like(made), gain * slope], axis=-1) * known[..., None]
        return columns.reshape(-1, 3)

    limits = ([0.0, -1.0, 0.0], [np.inf, 1.0, WIDEST])
    found = least_squares(misfit, [1.0, 0.0, 1.0], slopes, bounds=limits, loss="soft_l1", f_scale=robust)
    gain, black, sigma = map(float, found.x)
    noise = float(np.median(np.abs(misfit(found.x)[known.ravel()])) / 0.6745)
    return Sensor(gain, black, sigma, read_noise=noise)
