"""Polynomials in the two frequencies of an image: aberrations as RELION orders them, and linear changes of variables.

A homogeneous polynomial of degree d has the coefficients of u^d, u^(d-1) v, ..., v^d.
"""

from __future__ import annotations

from functools import cache
from math import comb, factorial, isqrt

import numpy as np

EVEN_DEGREES, ODD_DEGREES = (0, 2, 4, 6), (1, 3, 5)


def zernike_index(parity: str, i: int) -> tuple[int, int]:
    """(m, n) of RELION's i-th even or odd Zernike polynomial (src/jaz/math/Zernike.cpp)."""
    if parity == "even":
        q = isqrt(i)
        return 2 * (i - q * q - q), 2 * q
    q = (isqrt(1 + 4 * i) - 1) // 2
    n = 2 * q + 1
    return 2 * (i - q * q - q) - n, n


def _radial(m: int, n: int) -> dict[int, float]:
    """Powers of the radius in R_n^m and their coefficients (Born and Wolf, section 9.2.1)."""
    half, low = (n - m) // 2, (n + m) // 2
    return {
        n - 2 * s: (-1) ** s * factorial(n - s) / (factorial(s) * factorial(low - s) * factorial(half - s))
        for s in range(half + 1)
    }


def _harmonic(m: int) -> np.ndarray:
    """r^|m| cos(m phi) for m >= 0, r^|m| sin(|m| phi) for m < 0, as a homogeneous polynomial of degree |m|."""
    size, made = abs(m), np.zeros(abs(m) + 1)
    for j in range(size + 1):
        power = 1j**j  # of (u + i v)^size
        made[j] = comb(size, j) * (power.real if m >= 0 else power.imag)
    return made


def _times_radius(p: np.ndarray, squares: int) -> np.ndarray:
    """p times (u^2 + v^2)^squares."""
    for _ in range(squares):
        p = np.convolve(p, [1.0, 0.0, 1.0])
    return p


@cache
def zernike_table(parity: str) -> np.ndarray:
    """(polynomials, coefficients): every Zernike polynomial of the parity, in unnormalised radius, as monomials."""
    degrees = EVEN_DEGREES if parity == "even" else ODD_DEGREES
    starts = dict(zip(degrees, np.cumsum([0, *(d + 1 for d in degrees)]), strict=False))
    count = sum(d + 1 for d in degrees)
    table = np.zeros((count, count))
    for i in range(count):
        m, n = zernike_index(parity, i)
        for power, coefficient in _radial(abs(m), n).items():
            part = coefficient * _times_radius(_harmonic(m), (power - abs(m)) // 2)
            table[i, starts[power] : starts[power] + power + 1] += part
    return table


@cache
def beam_tilt_table() -> np.ndarray:
    """(2, 12) |k|^2 kx and |k|^2 ky as odd polynomials."""
    table = np.zeros((2, 12))
    table[0, 2:6] = [1, 0, 1, 0]
    table[1, 2:6] = [0, 1, 0, 1]
    return table


def substitution(M: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """T (n, d+1, d+1) with (T p)(k) = p(M k) for homogeneous p of the degree, and dT/dM (n, 2, 2, d+1, d+1)."""
    n = len(M)
    first, second = _powers(M[:, 0], degree), _powers(M[:, 1], degree)  # powers of (M00 u + M01 v), (M10 u + M11 v)
    T, slopes = np.zeros((n, degree + 1, degree + 1)), np.zeros((n, 2, 2, degree + 1, degree + 1))
    unit = np.eye(2)
    for a in range(degree + 1):
        T[:, :, a] = _product(first[degree - a], second[a])
        for c in range(2):
            step = np.broadcast_to(unit[c], (n, 2))
            if a < degree:
                lower = _product(first[degree - a - 1], second[a])
                slopes[:, 0, c, :, a] = (degree - a) * _product(lower, step)
            if a > 0:
                lower = _product(first[degree - a], second[a - 1])
                slopes[:, 1, c, :, a] = a * _product(lower, step)
    return T, slopes


def _powers(line: np.ndarray, degree: int) -> list[np.ndarray]:
    powers = [np.ones((len(line), 1))]
    for _ in range(degree):
        powers.append(_product(powers[-1], line))
    return powers


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    made = np.zeros((len(a), a.shape[1] + b.shape[1] - 1))
    for j in range(b.shape[1]):
        made[:, j : j + a.shape[1]] += a * b[:, j : j + 1]
    return made
