"""Spherical harmonics: orthonormal, with slopes as their differences have them."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from tomodiff.array import to_numpy
from tomodiff.projectors.harmonics import harmonic_slopes, harmonics
from tomodiff.projectors.terrain.sky_light import sky_harmonics

DEGREE = 4


def test_orthonormal_over_the_sphere() -> None:
    """By Gauss's rule, exact for these polynomials; those of skies begin with 1."""
    z, weights = np.polynomial.legendre.leggauss(12)
    phi = np.arange(24) * 2 * np.pi / 24
    x, y = (np.outer(np.sqrt(1 - z * z), f(phi)) for f in (np.cos, np.sin))
    places = np.stack([x, y, np.broadcast_to(z[:, None], x.shape)], axis=-1).reshape(-1, 3)
    weights = np.repeat(weights, 24) * 2 * np.pi / 24
    values, sky = harmonics(places, DEGREE), sky_harmonics(places, DEGREE)
    np.testing.assert_allclose(values.T @ (weights[:, None] * values), np.eye(25), atol=1e-12)
    np.testing.assert_allclose(sky.T @ (weights[:, None] * sky) / (4 * np.pi), np.eye(25), atol=1e-12)
    np.testing.assert_allclose(sky[:, 0], 1)


def test_the_first_have_the_usual_signs(rng: np.random.Generator) -> None:
    """Condon and Shortley: -y, z, -x; those of skies without."""
    places = rng.normal(size=(5, 3))
    x, y, z = places.T
    wanted = np.sqrt(3 / np.pi) / 2 * np.stack([-y, z, -x], axis=1)
    np.testing.assert_allclose(harmonics(places, 1)[:, 1:], wanted, atol=1e-14)
    np.testing.assert_allclose(sky_harmonics(places, 1)[:, 1:], np.sqrt(3) * np.stack([y, z, x], axis=1), atol=1e-14)


def test_slopes_are_those_of_differences(rng: np.random.Generator) -> None:
    places = rng.normal(size=(5, 3))
    slopes = harmonic_slopes(places, DEGREE)
    for axis in range(3):
        moved = [harmonics(places + s * 1e-5 * np.eye(3)[axis], DEGREE) for s in (1, -1)]
        np.testing.assert_allclose(slopes[..., axis], (moved[0] - moved[1]) / 2e-5, atol=2e-8)


@pytest.mark.parametrize("degree", [0, 1, 4])
def test_single_precision_stays_single(degree: int, rng: np.random.Generator, xp: ModuleType) -> None:
    places = rng.normal(size=(7, 3))
    there = xp.asarray(places.astype("float32"))
    for made, wanted in (
        (harmonics(there, degree), harmonics(places, degree)),
        (harmonic_slopes(there, degree), harmonic_slopes(places, degree)),
    ):
        assert made.dtype == "float32"
        np.testing.assert_allclose(to_numpy(made), wanted, rtol=1e-5, atol=1e-5)
