"""Deviations of results: against dense matrices, and against how often the truth lies within them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from tests.conftest import Measured
from tests.slice_problems import operator, parameters
from tests.toys import Dense, dense
from tomodiff.array import Element, inner, tmap
from tomodiff.core import Functional, LinearOperator, Operator
from tomodiff.core.curvature import white
from tomodiff.geometry import Grid, ParallelBeam
from tomodiff.objective import L1, L2, Correlated, Gaussian, GroupL1, Of, Poisson
from tomodiff.objective.differences import Differences
from tomodiff.objective.terrain import Curvatures
from tomodiff.projectors import XRay
from tomodiff.projectors.terrain.images import TerrainImages
from tomodiff.projectors.terrain.reflectance import direction
from tomodiff.solvers import GaussNewton, Posterior, solve

TRUTHS = 24
HOLD = (0.62, 0.74)
"""What 68 % intervals may hold of the truths."""
SURE = GaussNewton(products=300, forcing=1e-6)


def _problem(rng: np.random.Generator) -> tuple[Functional, np.ndarray, np.ndarray]:
    """f, a point and the dense second derivative there, of terms of every kind."""
    A, W = dense(rng, (9,), (12,)), dense(rng, (9,), (5,))
    x, weights, data = rng.standard_normal(9), rng.uniform(0.5, 2, 12), rng.standard_normal(12)
    D = Differences((9,), dtype="float64")
    f = Gaussian(data, weights) @ A + 0.7 * Correlated(rng.standard_normal(9), W) + 0.3 * L2()
    f = f + 0.4 * (GroupL1(0, 0.5) @ D)
    H = np.stack([f.quadratic(x)[2](e) for e in np.eye(9)])
    return f, x, H


def test_noise_has_the_second_derivative_as_covariance(rng: np.random.Generator) -> None:
    f, x, H = _problem(rng)
    product = f.quadratic(x)[2]
    drawn = np.stack([product.noise(rng) for _ in range(4000)])  # type: ignore[attr-defined]
    np.testing.assert_allclose(drawn.T @ drawn / len(drawn), H, atol=0.1 * np.diag(H).max())
    complex_one = Gaussian(np.zeros(3, complex), 4.0).quadratic(np.ones(3, complex))[2]
    noise = np.stack([complex_one.noise(rng) for _ in range(4000)])  # type: ignore[attr-defined]
    assert noise.real.var() == pytest.approx(4, rel=0.06) and noise.imag.var() == pytest.approx(4, rel=0.06)


def test_deviations_are_those_of_the_dense_inverse(rng: np.random.Generator) -> None:
    f, x, H = _problem(rng)
    exact = np.diag(np.linalg.inv(H))
    p = Posterior(f, x, SURE)
    np.testing.assert_allclose(p.solved(H @ x), x, rtol=1e-5)
    np.testing.assert_allclose(p.deviation(rng, 800), exact**0.5, rtol=0.12)
    np.testing.assert_allclose(p.variance(rng, 800), exact, rtol=0.3)
    np.testing.assert_allclose(p.lanczos(rng, 9).diagonal(), exact, rtol=1e-6)
    np.testing.assert_allclose(p.variance(rng, 1, steps=9), exact, rtol=1e-4)
    parts = [p.lanczos(np.random.default_rng(5), k).diagonal() for k in range(1, 9)]
    assert all((b >= a - 1e-12).all() for a, b in itertools.pairwise(parts))
    assert (parts[-1] <= exact * (1 + 1e-6)).all()
    assert p.lanczos(rng, 30).diagonal() == pytest.approx(exact, rel=1e-6)  # a complete space: no more is done


def test_perturbing_and_optimising_is_drawing(rng: np.random.Generator) -> None:
    A = dense(rng, (5,), (8,))
    f = Gaussian(rng.standard_normal(8), 2.0) @ A + 0.5 * L2()
    x = solve(SURE, f, np.zeros(5), 1).x
    p = Posterior(f, x, SURE)
    drawn = x + p.draw(np.random.default_rng(3))
    again = solve(SURE, p.perturbed(f, np.random.default_rng(3)), np.zeros(5), 1).x
    np.testing.assert_allclose(again, drawn, rtol=1e-5)
    counts = Poisson(rng.poisson(50.0, 8).astype(float)) @ Dense(np.abs(A.matrix), (5,), (8,))
    start = np.full(5, 10.0)
    best = solve(SURE, counts, start, 10).x
    q = Posterior(counts, best, SURE)
    made = np.stack([solve(SURE, q.perturbed(counts, rng), best, 6).x for _ in range(200)])
    np.testing.assert_allclose(made.std(0), q.deviation(rng, 400), rtol=0.3)


def test_what_is_known_does_not_vary(rng: np.random.Generator) -> None:
    f = Of("a", L2()) + Of("b", 4.0 * L2())
    x = {"a": np.array([1.0, 0.0, 2.0]), "b": np.ones(2)}
    solver = GaussNewton(bounds={"a": (0.0, None)}, fixed={"b": np.array([True, False])}, products=50, forcing=1e-8)
    f = f + Of("a", Gaussian(np.array([3.0, -1.0, 1.0])))
    p = Posterior(f, x, solver)
    found = p.variance(rng, 4)
    np.testing.assert_allclose(found["a"], [0.5, 0, 0.5], rtol=1e-6)
    np.testing.assert_allclose(found["b"], [0, 0.25], rtol=1e-6)
    assert p.deviation(rng, 3)["b"][0] == 0
    with pytest.raises(NotImplementedError, match="no quadratic model"):
        Posterior(L1(), np.ones(3))


def _coverage(
    A: Operator, prior: Functional, mean: Element, noise: float, found: Callable[[Functional], Element],
    rng: np.random.Generator, counted: Callable[[Element], list[np.ndarray]], draws: int,
) -> list[float]:  # fmt: skip
    """The parts of the entries of truths, drawn from the prior, that lie within one deviation of what is found.  Where
    A is linear, deviations do not depend on the data, and are found once."""
    held: list[list[float]] = []
    everything, sigma = Posterior(prior, mean, SURE), None
    for _ in range(TRUTHS):
        truth = tmap(lambda m, d: m + d, mean, everything.draw(rng))
        exact = A(truth)
        data = exact + noise * white(exact, rng)
        f = Gaussian(data, noise**-2) @ A + prior
        x = found(f)
        if sigma is None or not isinstance(A, LinearOperator):
            sigma = Posterior(f, x, GaussNewton(products=150, forcing=1e-2)).deviation(rng, draws)
        off = tmap(lambda a, b: abs(a - b), x, truth)
        held.append([float((o < s).mean()) for o, s in zip(counted(off), counted(sigma), strict=True)])
    return [float(h) for h in np.mean(held, 0)]


def test_intervals_of_a_ct_volume(rng: np.random.Generator, measured: Measured) -> None:
    """Few noisy views of smooth random volumes."""
    grid = Grid((4, 12, 12))
    A = XRay(grid, ParallelBeam(np.linspace(0, np.pi, 7, endpoint=False), (4, 17), 1.0), dtype="float64")
    prior = 3.0 * (L2() @ Differences(grid.shape, dtype="float64")) + 0.2 * L2()
    start = np.zeros(grid.shape)
    held = _coverage(A, prior, start, 0.5, lambda f: solve(SURE, f, start, 1).x, rng, lambda x: [x], 100)
    measured("CT, truths within one deviation", "0.62 to 0.74", part=held[0])
    assert HOLD[0] < held[0] < HOLD[1], held


def test_intervals_of_counts(rng: np.random.Generator, measured: Measured) -> None:
    """Where f is not quadratic, Laplace's approximation: Poisson counts of a smooth positive activity."""
    A = Dense(np.abs(rng.standard_normal((60, 40))), (40,), (60,))
    mean = np.full(40, 20.0)
    prior = 0.05 * (L2() @ Differences((40,), dtype="float64")) + 0.01 * L2(mean)
    held = []
    everything = Posterior(prior, mean, SURE)
    for _ in range(TRUTHS):
        truth = (mean + everything.draw(rng)).clip(1, None)
        f = Poisson(rng.poisson(A(truth)).astype(float)) @ A + prior
        x = solve(SURE, f, mean, 8).x
        held.append(float((abs(x - truth) < Posterior(f, x, SURE).deviation(rng, 24)).mean()))
    measured("counts, truths within one deviation", "0.62 to 0.74", part=float(np.mean(held)))
    assert HOLD[0] < np.mean(held) < HOLD[1], held


def test_intervals_of_a_particles_volume(rng: np.random.Generator, measured: Measured) -> None:
    """Noisy particle images with CTFs, poses known: cryo-EM's volume."""
    size, n = 8, 30
    whole = operator(size, size, n, rng, ctf="ctf")
    A = whole.fix(**parameters(n, rng))
    prior = 2.0 * (L2() @ Differences((size,) * 3, dtype="float64")) + 0.3 * L2()
    start = np.zeros((size,) * 3)
    held = _coverage(A, prior, start, 3.0, lambda f: solve(SURE, f, start, 1).x, rng, lambda x: [x], 100)
    measured("cryo-EM, truths within one deviation", "0.62 to 0.74", part=held[0])
    assert HOLD[0] < held[0] < HOLD[1], held


@pytest.mark.slow
def test_intervals_of_terrain(rng: np.random.Generator, measured: Measured) -> None:
    """Heights and albedo from three images with different suns: not linear, so that the intervals are Laplace's."""
    shape, suns = (8, 9), direction(np.deg2rad([100.0, 215.0, 330.0]), np.deg2rad([40.0, 55.0, 35.0]))
    images = TerrainImages(shape, np.tile([0.0, 0, 1], (3, 1)), model="lambert", shadows="none", dtype="float64")
    known = {"sun": suns, "parameters": images.reflectance.photometry.model.vector(), "exposure": np.ones(3)}
    A = images.fix(**known, haze=np.zeros(3))
    mean = {"height": np.zeros(shape), "albedo": np.full(shape, 0.2)}
    smooth = {"height": Curvatures(shape, dtype="float64"), "albedo": Differences(shape, dtype="float64")}
    prior = Of("height", 30.0 * (L2() @ smooth["height"]) + 4.0 * L2())
    prior = prior + Of("albedo", 500.0 * (L2() @ smooth["albedo"]) + 1000.0 * L2(mean["albedo"]))
    held = _coverage(
        A, prior, mean, 0.01, lambda f: solve(GaussNewton(products=100, forcing=1e-3), f, mean, 8).x, rng,
        lambda x: [x["height"], x["albedo"]], 16,
    )  # fmt: skip
    measured("terrain, truths within one deviation", "0.62 to 0.74", height=held[0], albedo=held[1])
    assert all(HOLD[0] < h < HOLD[1] for h in held), held


@pytest.mark.slow
def test_langevin_finds_the_same_deviations(rng: np.random.Generator) -> None:
    """Draws by moves and draws by solving agree, here on a small volume from few views."""
    from tomodiff.solvers import Langevin

    grid = Grid((1, 5, 5))
    A = XRay(grid, ParallelBeam(np.linspace(0, np.pi, 4, endpoint=False), (1, 7), 1.0), dtype="float64")
    f = Gaussian(np.ones(A.range.shape), 4.0) @ A + 1.0 * L2()
    x = solve(SURE, f, np.zeros(grid.shape), 1).x
    state = solve(Langevin(burn=300), f, x, 5000)
    deviation = Posterior(f, x, SURE).deviation(rng, 1000)
    np.testing.assert_allclose(state.memory["variance"] ** 0.5, deviation, rtol=0.15)
    assert inner(deviation, deviation) > 0
