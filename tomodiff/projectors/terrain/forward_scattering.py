"""Air that scatters forwards: what a Henyey-Greenstein phase function adds to isotropic scattering, in the first order.

In the spirit of Hapke's function for surfaces, as `HapkeAtm1` of USGS ISIS has it (R. Kirk): integrals over the sky of
the phase function less 1, with the sums over incidence that ISIS takes at whole degrees.
"""

from __future__ import annotations

import numpy as np

NODES = 40
LOWEST = 1e-6
"""Cosine from which the sky is integrated."""
STEEPEST = 1e-4
"""Sine of incidence: nearer to the zenith the sun's glow is that of here (ISIS has none at exactly 0)."""
CLOSE = 1e-3
"""Difference of slant depths below which a series stands for the difference of exponentials over that of cosines."""


def phase_function(cosine: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Henyey and Greenstein's, 1 in the mean; cosine 1: back to the sun; g above 0: forwards."""
    return (1 - g * g) / (1 + 2 * g * cosine + g * g) ** 1.5


def _sky() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cosines and azimuths (n, n) of the sky, weights of the azimuths' mean, and of cosines."""
    at, weight = np.polynomial.legendre.leggauss(NODES)
    mu = LOWEST + (1 - LOWEST) * ((1 + at) / 2) ** 2  # finer where paths are long
    of_mu = weight * (1 - LOWEST) * (1 + at) / 2
    phi, of_phi = np.pi * (1 + at) / 2, weight / 2
    return mu[:, None], np.cos(phi)[None], of_mu[:, None] * of_phi[None], np.sqrt(1 - mu**2)[:, None]


def transmitted(tau: np.ndarray, w: np.ndarray, g: np.ndarray, mu0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What forward scattering adds to the light that comes through the air (m,) along cosines mu0: to all of it, and
    to the beam, whose scattered light still falls as from the sun."""
    mu, cos_phi, weight, sine = _sky()
    tau, w, g, m0 = (a[:, None, None] for a in (tau, w, g, np.maximum(mu0, 1e-30)))
    s0 = np.maximum(np.sqrt(1 - np.minimum(m0, 1) ** 2), STEEPEST)
    more = phase_function(s0 * sine * cos_phi - m0 * mu, g) - 1
    e0, e = np.exp(-np.minimum(tau.real / m0, 600) - 1j * tau.imag / m0), np.exp(-tau / mu)
    apart = tau * (m0 - mu) / (mu * m0)
    near = np.abs(apart.real) < CLOSE
    ratio = np.where(near, e0 * tau / (mu * m0) * (1 - apart / 2 + apart**2 / 6), (e0 - e) / np.where(near, 1, m0 - mu))
    all_of_it = w[:, 0, 0] / 2 * (weight * mu * more * ratio).sum((1, 2))
    beam = w[:, 0, 0] / 2 * (weight * -sine * cos_phi * more * ratio).sum((1, 2))
    return all_of_it, beam * (m0 / s0)[:, 0, 0]


def sky_albedo(tau: np.ndarray, w: np.ndarray, g: np.ndarray) -> np.ndarray:
    """What forward scattering adds to the albedo of the sky (m,), by trapezoids over whole degrees."""
    mu, cos_phi, weight, sine = _sky()
    total = np.zeros_like(tau)
    for degree in range(1, 91):
        m0, s0 = max(np.cos(np.deg2rad(degree)), 1e-30), np.sin(np.deg2rad(degree))
        more = phase_function(s0 * sine * cos_phi + m0 * mu, g[:, None, None]) - 1
        gone = 1 - np.exp(-tau[:, None, None] / m0) * np.exp(-tau[:, None, None] / mu)
        part = (weight * m0 * mu * more * gone / (m0 + mu)).sum((1, 2))
        total = total + s0 * (0.5 if degree == 90 else 1.0) * part
    return w / 2 * total * 2 * np.pi / 180
