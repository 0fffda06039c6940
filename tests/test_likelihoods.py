"""Likelihoods of counts against the distributions that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from tests.test_functionals import EXAMPLES, SHAPE
from tomodiff.objective import Poisson, PoissonGaussian, PoissonTransmission


def test_poisson_is_the_deviance(rng: np.random.Generator) -> None:
    counts, y = rng.poisson(50, (4, 5)).astype(float), rng.random((4, 5))
    counts[0, 0] = 0
    for background in (None, 7.0):
        mean = 90 * np.exp(-y) + (background or 0)
        log = np.where(counts > 0, counts * np.log(np.where(counts > 0, counts, 1) / mean), 0)
        f = PoissonTransmission(counts, 90.0, background)
        assert f(y) == pytest.approx((mean - counts + log).sum(), rel=1e-12)
    exact = -np.log(np.maximum(counts, 1) / 90)
    f = PoissonTransmission(np.maximum(counts, 1), 90.0)
    assert abs(f(exact)) < 1e-12 and np.abs(f.value_and_grad(exact)[1]).max() < 1e-12


def test_poisson_in_single_precision_near_its_minimum() -> None:
    """c log(c/m) - c + m loses all digits in float32 when m is near c; the value must not."""
    counts = np.full((64, 64), 1e5, "float32")
    y = np.full((64, 64), np.log(1.2) + 1e-3)
    exact = PoissonTransmission(counts.astype(float), 1.2e5)(y)
    assert PoissonTransmission(counts, 1.2e5)(y.astype("float32")) == pytest.approx(exact, rel=1e-3)
    assert PoissonTransmission(counts, 1.2e5)(np.full((64, 64), -1e3, "float32")) == np.inf


@pytest.mark.parametrize("name", ["Gaussian weighted", "Cauchy", "Huber weighted", "Poisson", "Poisson with scatter"])
def test_quadratic_models_have_the_gradient_and_a_positive_curvature(name: str, rng: np.random.Generator) -> None:
    f, x, d = EXAMPLES[name], 0.3 + 0.2 * rng.standard_normal(SHAPE), rng.standard_normal(SHAPE)
    value, gradient, product = f.quadratic(x)
    expected, same = f.value_and_grad(x)
    assert value == pytest.approx(expected)
    np.testing.assert_allclose(gradient, same)
    assert (d * product(d)).sum() > 0


def test_poisson_gaussian_is_the_convolution_and_tends_to_poisson(rng: np.random.Generator) -> None:
    """Against the integral by brute force, and for little noise against the counts alone."""
    from scipy import stats

    k = np.arange(400)
    for mean, sigma in ((0.3, 0.5), (12.0, 2.5), (90.0, 4.0)):
        z = np.array([mean + s for s in (-2 * sigma, 0.1, 3 * sigma)])
        exact = -np.log([(stats.poisson.pmf(k, mean) * np.exp(-((a - k) ** 2) / (2 * sigma**2))).sum() for a in z])
        f = [PoissonGaussian(np.array([a]), sigma) for a in z]
        there = [g(np.array([mean])) for g in f]
        other = [
            -np.log((stats.poisson.pmf(k, 1.3 * mean) * np.exp(-((a - k) ** 2) / (2 * sigma**2))).sum()) for a in z
        ]
        moved = [g(np.array([1.3 * mean])) for g in f]
        np.testing.assert_allclose(np.subtract(moved, there), np.subtract(other, exact), rtol=1e-7, atol=1e-9)
    counts, y = rng.poisson(20, 9).astype(float), 15 + 10 * rng.random(9)
    assert PoissonGaussian(counts, 0.05)(y) == pytest.approx(Poisson(counts)(y), rel=1e-6)


def test_means_below_zero_are_infinitely_unlikely() -> None:
    assert Poisson(np.array([3.0]))(np.array([-0.1])) == np.inf and Poisson(np.array([0.0]))(np.array([0.0])) == 0.0
    assert PoissonGaussian(np.array([3.0]), 1.0)(np.array([-0.1])) == np.inf
