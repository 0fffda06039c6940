"""Lens distortions, as the CSM's image support data name them: between where light should fall and where it falls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

STEPS, CLOSE = 30, 1e-12

Map = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(coefficients, points (2, n) in mm) -> (their images (2, n), derivatives (2, 2, n))."""


def _matrix(xx: np.ndarray, xy: np.ndarray, yx: np.ndarray, yy: np.ndarray) -> np.ndarray:
    return np.stack([np.stack([xx, xy]), np.stack([yx, yy])])


def _scaled(p: np.ndarray, factor: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """p factor(r^2), whose derivative by r^2 is `slope`."""
    x, y = p
    cross = 2 * slope * x * y
    return p * factor, _matrix(factor + 2 * slope * x * x, cross, cross, factor + 2 * slope * y * y)


def _radial(k: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rr = (p * p).sum(0)
    return _scaled(p, 1 - (k[0] + rr * (k[1] + rr * k[2])), -(k[1] + 2 * rr * k[2]))


def _dawn(k: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rr = (p * p).sum(0)
    return _scaled(p, 1 + k[0] * rr, np.full_like(rr, k[0]))


def _lroc(k: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = p
    bent = 1 + k[0] * y * y
    one = np.ones_like(x)
    return np.stack([x, y / bent]), _matrix(one, 0 * x, 0 * x, (1 - k[0] * y * y) / bent**2)


def _kaguya(k: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shift_x, x, shift_y, y = k[0], k[1:5], k[5], k[6:10]
    r = np.sqrt((p * p).sum(0))
    powers, slopes = np.stack([r**n for n in range(4)]), np.stack([0 * r, r**0, 2 * r, 3 * r * r])
    away = p / np.maximum(r, 1e-300)
    moved = np.stack([p[0] + x @ powers + shift_x, p[1] + y @ powers + shift_y])
    sx, sy = x @ slopes, y @ slopes
    return moved, _matrix(1 + sx * away[0], sx * away[1], sy * away[0], 1 + sy * away[1])


def _transverse(k: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = p
    o, z = np.ones_like(x), np.zeros_like(x)
    terms = np.stack([o, x, y, x * x, x * y, y * y, x**3, x * x * y, x * y * y, y**3])
    by_x = np.stack([z, o, z, 2 * x, y, z, 3 * x * x, 2 * x * y, y * y, z])
    by_y = np.stack([z, z, o, z, x, 2 * y, z, x * x, 2 * x * y, 3 * y * y])
    a, b = k[:10], k[10:]
    return np.stack([a @ terms, b @ terms]), _matrix(a @ by_x, a @ by_y, b @ by_x, b @ by_y)


KINDS: dict[str, tuple[Map, bool, int]] = {
    "radial": (_radial, False, 3), "transverse": (_transverse, True, 20), "lrolrocnac": (_lroc, False, 1),
    "kaguyalism": (_kaguya, False, 10), "dawnfc": (_dawn, True, 1),
}  # fmt: skip
"""Name -> (formula, whether it bends straight light (else it straightens bent light), number of coefficients).

Formulas: USGSCSM, Distortion.cpp."""


@dataclass(frozen=True, eq=False)
class Distortion:
    """kind: one of KINDS; coefficients: in the order of the CSM's image support data, of mm on the focal plane."""

    kind: str
    coefficients: np.ndarray

    def bent(self, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where light falls (2, n) that should fall at p, mm, and the derivatives (2, 2, n)."""
        formula, direct, _ = KINDS[self.kind]
        return formula(self.coefficients, p) if direct else self._solved(p)

    def straight(self, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where light should have fallen (2, n) that falls at p, mm, and the derivatives (2, 2, n)."""
        formula, direct, _ = KINDS[self.kind]
        return self._solved(p) if direct else formula(self.coefficients, p)

    def _solved(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The inverse of the formula and its derivative, by Newton's method."""
        formula = KINDS[self.kind][0]
        p = wanted.copy()
        for _ in range(STEPS):
            found, slope = formula(self.coefficients, p)
            inverse = inverse_2x2(slope)
            step = np.einsum("abn,bn->an", inverse, wanted - found)
            p += step
            if not np.abs(step).max(initial=0) > CLOSE * max(1.0, float(np.abs(p).max(initial=0))):
                break
        return p, inverse_2x2(formula(self.coefficients, p)[1])


def inverse_2x2(m: np.ndarray) -> np.ndarray:
    """The inverses of matrices (2, 2, ...)."""
    (a, b), (c, d) = m
    return np.asarray(_matrix(d, -b, -c, a) / (a * d - b * c))
