"""Denoisers known in closed form, and the priors made of them against what those closed forms say."""

from __future__ import annotations

import numpy as np
import pytest

from tomodiff.objective import L2, BySlices, Exemplars, PlugAndPlay, Red, ScoreDistillation, Wiener

SHAPE = (6, 5)


def stationary(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A power spectrum, even in frequency as that of a real field is, and its covariance matrix."""
    filter_ = rng.standard_normal(SHAPE)
    power = np.abs(np.fft.fftn(filter_)) ** 2 / 4 + 0.1
    n = power.size
    columns = [np.fft.ifftn(power * np.fft.fftn(e.reshape(SHAPE))).real.ravel() for e in np.eye(n)]
    return power, np.stack(columns, axis=1)


def test_wiener_is_the_posterior_mean_and_the_prox_of_its_prior(rng: np.random.Generator) -> None:
    power, covariance = stationary(rng)
    x, mean, sigma = rng.standard_normal(SHAPE), rng.standard_normal(SHAPE), 0.7
    D = Wiener(power, mean)
    gain = covariance @ np.linalg.inv(covariance + sigma**2 * np.eye(x.size))
    expected = mean.ravel() + gain @ (x - mean).ravel()
    np.testing.assert_allclose(D.denoise(x, sigma).ravel(), expected, atol=1e-12)
    step = 0.3
    by_hand = np.linalg.solve(np.eye(x.size) + step * np.linalg.inv(covariance), (x - mean).ravel()) + mean.ravel()
    np.testing.assert_allclose(PlugAndPlay(D).prox(x, step).ravel(), by_hand, atol=1e-11)
    np.testing.assert_allclose(PlugAndPlay(Wiener(0.4), 2.0).prox(x, step), (2 / 0.4 * L2()).prox(x, step), atol=1e-14)


def test_red_is_the_score(rng: np.random.Generator) -> None:
    """grad -log N(x; mean, C + sigma^2) for Wiener's denoiser; by differences of the mixture for exemplars."""
    power, covariance = stationary(rng)
    x, sigma = rng.standard_normal(SHAPE), 0.7
    wide = covariance + sigma**2 * np.eye(x.size)
    value, gradient = Red(Wiener(power), sigma).value_and_grad(x)
    np.testing.assert_allclose(gradient.ravel(), np.linalg.solve(wide, x.ravel()), atol=1e-12)
    assert value == pytest.approx(0.5 * x.ravel() @ np.linalg.solve(wide, x.ravel()))
    examples = rng.standard_normal((3, *SHAPE))
    y = examples[0] + 0.1 * rng.standard_normal(SHAPE)

    def energy(z: np.ndarray) -> float:
        return -float(np.log(np.exp(-((z - examples) ** 2).sum((1, 2)) / (2 * 9.0)).mean()))

    gradient = Red(Exemplars(examples), 3.0).value_and_grad(y)[1]
    d = rng.standard_normal(SHAPE)
    assert (energy(y + 1e-5 * d) - energy(y - 1e-5 * d)) / 2e-5 == pytest.approx((gradient * d).sum(), rel=1e-7)


def test_exemplars_are_found(rng: np.random.Generator) -> None:
    examples = rng.standard_normal((4, *SHAPE)).astype("float32")
    made = Exemplars(examples).denoise(examples[2] + 0.05 * rng.standard_normal(SHAPE).astype("float32"), 0.05)
    assert made.dtype == "float32" and np.abs(made - examples[2]).max() < 1e-6
    far = Exemplars(examples).denoise(np.zeros(SHAPE, "float32"), 1e3)
    np.testing.assert_allclose(far, examples.mean(0), atol=1e-5)


def test_volumes_are_denoised_by_slices(rng: np.random.Generator) -> None:
    x, D = rng.standard_normal((4, 6, 5)), Wiener(stationary(rng)[0])
    made = BySlices(D, axis=0).denoise(x, 0.5)
    np.testing.assert_allclose(made[3], D.denoise(x[3], 0.5))
    turned = BySlices(D, axis=1).denoise(np.ascontiguousarray(x.transpose(1, 0, 2)), 0.5)
    np.testing.assert_allclose(turned, made.transpose(1, 0, 2))


def test_score_distillation_on_the_average_pulls_as_the_score(rng: np.random.Generator) -> None:
    """For a linear denoiser D = a x the expected gradient is (1 - a) x / sigma^2."""
    f, x = ScoreDistillation(Wiener(2.0), [0.5, 1.0]), rng.standard_normal(SHAPE)
    draws = np.array([f.draw(rng).value_and_grad(x)[1] for _ in range(4000)])
    expected = 0.5 * sum((1 - 2 / (2 + s**2)) / s**2 for s in (0.5, 1.0)) * x
    assert np.abs(draws.mean(0) - expected).max() < 5 * draws.std() / 4000**0.5
    once = f.draw(np.random.default_rng(1))
    np.testing.assert_array_equal(once.value_and_grad(x)[1], once.value_and_grad(x)[1])
    assert f.value_and_grad(x)[1].shape == SHAPE
    with pytest.raises(ValueError, match="expected numbers > 0"):
        ScoreDistillation(Wiener(1.0), [])


def test_no_noise_leaves_everything(rng: np.random.Generator) -> None:
    x = rng.standard_normal(SHAPE)
    made = PlugAndPlay(Wiener(1.0)).prox(x, 0.0)
    np.testing.assert_array_equal(made, x)
    assert not np.shares_memory(made, x) and PlugAndPlay(Wiener(1.0))(x) == 0
    with pytest.raises(ValueError, match="sigma: expected a number > 0"):
        Red(Wiener(1.0), 0.0)
