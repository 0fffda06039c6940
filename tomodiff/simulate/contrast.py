"""What the microscope does to the transform of an image: contrast transfer, aberrations, envelope; in plain NumPy.

Written from the formulas (RELION, src/ctf.h, src/jaz/math/Zernike.cpp; Born and Wolf, section 9.2.1; Grant and
Grigorieff 2015, eLife 4, e06980, eq. 3) and not from the package's kernels, which are tested against it.
"""

from __future__ import annotations

from math import factorial, isqrt

import numpy as np

from tomodiff.geometry.units import ANGSTROM_PER_MM
from tomodiff.particles import Optics


def frequencies(box: int, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """(1, box // 2 + 1) and (box, 1): kx and ky of rfft2, 1/angstrom."""
    return np.fft.rfftfreq(box, pixel)[None], np.fft.fftfreq(box, pixel)[:, None]


def electron_wavelength(voltage: float) -> float:
    """Angstrom, of electrons accelerated by `voltage` kV, relativistic."""
    volts = 1e3 * voltage
    return float(12.2643247 / np.sqrt(volts + 0.978466e-6 * volts**2))


def contrast(
    box: int,
    optics: Optics,
    defocus: np.ndarray,
    *,
    phase_shift: float = 0.0,
    b_factor: float = 0.0,
    scale: float = 1.0,
    dose: float = 0.0,
) -> np.ndarray:
    """(box, box // 2 + 1) complex: what the transform of a projection is multiplied with, protein white.

    defocus: U, V in angstrom (positive: under focus) and the angle of U from x; phase_shift of a phase plate, radians;
    b_factor: exp(-B k^2 / 4), angstrom^2; dose: electrons per square angstrom before the exposure.
    """
    kx, ky = frequencies(box, optics.pixel)
    (a, b), (c, d) = optics.magnification
    x, y = a * kx + b * ky, c * kx + d * ky
    square, lam = x**2 + y**2, electron_wavelength(optics.voltage)
    under_focus = focus(x, y, *defocus)
    gamma = np.pi / 2 * optics.cs * ANGSTROM_PER_MM * lam**3 * square**2 - np.pi * lam * under_focus
    gamma -= phase_shift + np.arcsin(optics.amplitude_contrast)
    gamma += _series(optics.even_zernike, "even", x, y)
    tilt = optics.beam_tilt[0] * x + optics.beam_tilt[1] * y
    odd = _series(optics.odd_zernike, "odd", x, y) - 2e-3 * np.pi * optics.cs * ANGSTROM_PER_MM * lam**2 * square * tilt
    envelope = scale * np.exp(-b_factor / 4 * square)
    if dose:
        envelope = envelope * np.exp(-0.5 * dose / critical_exposure(np.hypot(kx, ky)))
    return np.asarray(-np.sin(gamma) * envelope * np.exp(1j * odd))


def focus(x: np.ndarray, y: np.ndarray, U: float, V: float, angle: float) -> np.ndarray:
    """The defocus along the direction of (x, y) times x^2 + y^2."""
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return np.asarray(U * along**2 + V * across**2)


def critical_exposure(k: np.ndarray) -> np.ndarray:
    """Electrons per square angstrom after which exp(-1/2) of the amplitude at k is left; infinite at k = 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(0.245 * np.power(k, -1.665) + 2.81)


def _series(coefficients: tuple[float, ...], parity: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The sum of Zernike polynomials in RELION's order, radius |k| in 1/angstrom, not normalised."""
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape))
    for i, coefficient in enumerate(coefficients):
        if coefficient:
            total += coefficient * zernike(parity, i, x, y)
    return total


def zernike(parity: str, i: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The i-th even or odd polynomial: R_n^m(r) cos(m phi), or sin(|m| phi) for m < 0."""
    if parity == "even":
        q = isqrt(i)
        m, n = 2 * (i - q * q - q), 2 * q
    else:
        q = (isqrt(1 + 4 * i) - 1) // 2
        m, n = 2 * (i - q * q - q) - 2 * q - 1, 2 * q + 1
    order = abs(m)
    radial = sum(
        (-1) ** s * factorial(n - s)
        / (factorial(s) * factorial((n + order) // 2 - s) * factorial((n - order) // 2 - s))
        * (x**2 + y**2) ** ((n - order) // 2 - s)
        for s in range((n - order) // 2 + 1)
    )  # fmt: skip
    turning = (x + 1j * y) ** order
    return np.asarray(radial * (turning.real if m >= 0 else turning.imag))
