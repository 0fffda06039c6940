"""Maps from particles with known poses: closed forms, half maps, noise, conjugate gradients, point groups."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cryoem_toys import Blobs, ball, blobs, particles
from tomodiff.analytic.fsc import fsc
from tomodiff.geometry import poses
from tomodiff.geometry.symmetry import point_group
from tomodiff.particles import Optics, particles_of
from tomodiff.recipes.cryoem.data import ParticleData, View, by_group
from tomodiff.recipes.cryoem.halves import back_project, half_sets, inverse_tau2, reconstruct_halves
from tomodiff.recipes.cryoem.iterative import NormalEquations, conjugate_gradients
from tomodiff.recipes.cryoem.rounds import first_round, residual_noise

C1 = point_group("C1")


def error(found: np.ndarray, known: np.ndarray, mask: np.ndarray) -> float:
    return float(np.linalg.norm((found - known) * mask) / np.linalg.norm(known * mask))


@pytest.mark.parametrize(("kernel", "within"), [("linear", 0.02), ("kaiser-bessel", 0.05)])
def test_noiseless_images_give_the_map_back_in_scale(kernel: str, within: float, rng: np.random.Generator) -> None:
    """600 exact slices of a smooth object.  Dividing by weights is approximate: a wide kernel averages over more of
    the transform.  What is exact is the test of conjugate gradients below."""
    shape = blobs(2, 80, 35.0, (5.0, 8.0))
    n, pixel = 32, 3.5
    A = poses.random_rotations(600, rng)
    images = np.fft.fftshift(np.fft.irfft2(shape.slices(A, n, pixel), s=(n, n)), axes=(1, 2)).astype(np.float32)
    data = ParticleData(particles_of(images, A, Optics(300.0, 2.7, 0.1, pixel)), View(kernel=kernel))
    sums = back_project(data, data.values(), np.arange(600), np.ones((1, n // 2 + 1)), C1)
    assert error(np.asarray(sums.volume()), shape.volume(n, pixel), ball(n)) < within


def test_each_image_counts_in_all_equivalent_poses(rng: np.random.Generator) -> None:
    """Noisy images of a two-fold object, inserted twice, are as good as twice as many inserted once."""
    one = blobs(6, 40, 30.0, (5.0, 8.0))
    turn = np.diag([-1.0, -1.0, 1.0])
    double = Blobs(np.concatenate([one.position, one.position @ turn]), np.tile(one.mass, 2), np.tile(one.sigma, 2))
    n, pixel = 32, 3.5
    A = poses.random_rotations(200, rng)
    images = np.fft.fftshift(np.fft.irfft2(double.slices(A, n, pixel), s=(n, n)), axes=(1, 2)).astype(np.float32)
    images += (3 * images.std() * rng.normal(size=images.shape)).astype(np.float32)
    data = ParticleData(particles_of(images, A, Optics(300.0, 2.7, 0.1, pixel)), View())
    known, mask, index = double.volume(n, pixel), ball(n), np.arange(200)
    found = {
        group: np.asarray(back_project(data, data.values(), index, np.ones((1, 17)), point_group(group)).volume())
        for group in ("C1", "C2")
    }
    assert error(found["C2"], known, mask) < 0.8 * error(found["C1"], known, mask)
    turned = found["C2"][:, :0:-1, :0:-1]  # about the centre voxel: z stays, y and x change their signs
    assert np.allclose(found["C2"][:, 1:, 1:], turned, atol=1e-3 * np.abs(known).max())


@pytest.mark.slow
def test_noise_is_measured_and_the_fsc_predicts_the_truth() -> None:
    """The FSC of half maps F says that the map of all agrees with the truth by sqrt(2 F / (1 + F))."""
    rng = np.random.default_rng(1)
    shape = blobs(1)
    truth, sigma = particles(shape, 600, rng, snr=0.3)
    data = ParticleData(truth, View())
    state = first_round(data, data.values(), truth.half, C1)
    assert np.allclose(state.noise, (64 * sigma) ** 2, rtol=0.05)
    after = residual_noise(data, state, data.values())
    assert np.allclose(after[0, 10:30], (64 * sigma) ** 2, rtol=0.1)  # below, what left the box counts as noise too
    known, mask = shape.volume(64, truth.pixel), ball(64)
    predicted = np.sqrt(2 * np.clip(state.halves.fsc, 0, 1) / (1 + np.clip(state.halves.fsc, 0, 1)))
    clear = state.halves.fsc > 0.5  # where the correlation itself is well known
    assert np.abs(fsc(state.halves.map * mask, known * mask) - predicted)[clear].max() < 0.1


def test_conjugate_gradients_solve_the_regularised_problem() -> None:
    """In float64: the gradient vanishes, and the map is at least as good as the Wiener-divided one."""
    rng = np.random.default_rng(7)
    shape = blobs(7, 80, 35.0, (4.0, 6.0))
    truth, _ = particles(shape, 150, rng, box=32, snr=1.0)
    data = ParticleData(truth, View(dtype="float64"))
    values, index = data.values(), np.arange(150)
    noise = data.background_spectrum(index)
    halves = reconstruct_halves(data, values, truth.half, noise, C1)
    weight = halves.sums[0].mean_weight() + halves.sums[1].mean_weight()
    prior = inverse_tau2(weight, halves.fsc) * data.operator.spectrum.padding**3
    equations = NormalEquations(data, values, index, noise, C1, prior)
    x, y = rng.normal(size=(2, 32, 32, 32))
    assert np.vdot(equations(x), y) == pytest.approx(np.vdot(x, equations(y)), rel=1e-10)
    b = equations.right_hand_side()
    state = conjugate_gradients(equations, weight, 60, b, tolerance=1e-10)
    assert np.linalg.norm(equations(state.x) - b) < 1e-6 * np.linalg.norm(b)
    known, mask = shape.volume(32, truth.pixel), ball(32)
    assert error(state.x, known, mask) <= 1.02 * error(halves.map, known, mask)


def test_batches_of_any_size_give_the_same_map(rng: np.random.Generator) -> None:
    shape = blobs(7, 40, 30.0, (4.0, 6.0))
    truth, _ = particles(shape, 50, rng, box=32)
    maps = []
    for batch in (50, 7):
        data = ParticleData(truth, View(dtype="float64", diameter=80.0))
        data.batch, data.keeps = batch, batch == 50
        sums = back_project(data, data.values(), np.arange(50), np.ones((1, 17)), C1)
        maps.append(np.asarray(sums.volume()))
    assert np.allclose(*maps, rtol=0, atol=1e-9 * np.abs(maps[0]).max())


def test_half_sets_are_kept_or_made(rng: np.random.Generator) -> None:
    told = np.array([1, 2, 2, 1])
    assert half_sets(told, rng) is told
    made = half_sets(np.array([0, 2, 0, 1, 0]), rng)
    assert sorted(made) == [1, 1, 1, 2, 2]


def test_means_by_group() -> None:
    values = np.array([[1.0], [3.0], [10.0]])
    assert by_group(values, np.array([0, 0, 2]), 3).ravel().tolist() == [2.0, pytest.approx(14 / 3), 10.0]
