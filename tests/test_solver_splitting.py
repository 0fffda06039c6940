"""Primal-dual, splitting and stochastic solvers against minima that other programs or closed forms give."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import optimize
from scipy.sparse.linalg import lsmr

from tests.test_solvers import SHAPE, problem, whitened
from tests.toys import Attenuated, Dense, matrix_of
from tomodiff.core import Functional, Linear, Space
from tomodiff.geometry import Grid, ParallelBeam
from tomodiff.objective import (
    L1,
    L2,
    Box,
    Differences,
    Gaussian,
    GroupL1,
    HuberTotalVariation,
    NonNegative,
    PlugAndPlay,
    Poisson,
    PoissonTransmission,
    Red,
    TotalVariation,
    Wiener,
    piccs,
)
from tomodiff.projectors import XRay
from tomodiff.solvers import (
    Adam,
    Admm,
    Alternate,
    Cgls,
    DiffPir,
    Fista,
    GaussNewton,
    GradientNorm,
    HalfQuadratic,
    Langevin,
    Lsmr,
    MaxIterations,
    Osem,
    OsSart,
    Pdhg,
    Saga,
    Sirt,
    Svrg,
    solve,
)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOMODIFF_THREADS", "1")


@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_lsmr_is_scipys(damping: float) -> None:
    A, data, weights, _ = problem()
    a, b = whitened(A, data, weights)
    for steps, near in ((1, 1e-12), (5, 1e-9), (12, 1e-4)):  # roundings grow as the directions lose orthogonality
        expected = lsmr(a, b, damp=damping**0.5, atol=0, btol=0, conlim=0, maxiter=steps)
        state = solve(Lsmr(damping), Gaussian(data, weights) @ A, np.zeros(SHAPE), steps)
        np.testing.assert_allclose(state.x.reshape(-1), expected[0], atol=near)
        assert state.metrics["gradient_norm"] == pytest.approx(expected[4], rel=1e4 * near)
        assert state.metrics["residual_norm"] == pytest.approx(expected[3], rel=1e4 * near)


def test_lsmr_goes_on_from_where_it_is() -> None:
    A, data, weights, x = problem()
    a, b = whitened(A, data, weights)
    state = solve(Lsmr(), Gaussian(data, weights) @ A, x, GradientNorm(1e-12) | MaxIterations(200))
    np.testing.assert_allclose(state.x.reshape(-1), np.linalg.lstsq(a, b, rcond=None)[0], atol=1e-7)


def lasso_conditions(x: np.ndarray, gradient: np.ndarray, strength: float, tolerance: float) -> None:
    off = np.abs(x) < 1e-7
    assert 0 < off.sum() < off.size
    assert np.abs(gradient[off]).max() <= strength * (1 + tolerance)
    np.testing.assert_allclose(gradient[~off], -strength * np.sign(x[~off]), rtol=tolerance)


@pytest.mark.parametrize(
    ("solver", "steps"),
    [(Pdhg(), 6000), (Pdhg(adaptive=False), 12000), (Admm(0.3 * L1(), products=40, tolerance=1e-9), 800),
     (Saga(0.3 * L1(), subsets=3), 4000), (Svrg(0.3 * L1(), subsets=3), 4000)],
    ids=["pdhg", "pdhg fixed", "admm", "saga", "svrg"],
)  # fmt: skip
def test_the_lasso(solver: Any, steps: int) -> None:
    A, data, weights, x = problem()
    f: Any = Gaussian(data, weights) @ A
    found = solve(solver, f + 0.3 * L1() if isinstance(solver, Pdhg) else f, x, steps).x
    lasso_conditions(found, f.value_and_grad(found)[1], 0.3, 1e-5)


@pytest.mark.parametrize("reference", [pytest.param(False, marks=pytest.mark.slow), True])
def test_pdhg_and_admm_with_total_variation(reference: bool, rng: np.random.Generator) -> None:
    """TV behind its own operator, with bounds, or beside the distance from a reference (PICCS): against Fista with the
    prox of TV, and against a smoothed objective by SciPy."""
    A, data, weights, x = problem()
    D = Differences(SHAPE, (1.0, 0.5, 2.0), dtype="float64")
    f, tv = Gaussian(data, weights) @ A, 0.1 * (GroupL1() @ D)
    if reference:
        there = 0.5 * rng.standard_normal(SHAPE)
        prior = 0.1 * piccs(GroupL1() @ D, there, 0.7)
        expected = _smoothed(f, 0.1, D, there, 0.7)
        found = solve(Pdhg(), f + prior, x, 6000).x
        assert (f + prior)(found) == pytest.approx(expected, rel=1e-4)
        return
    exact = 0.1 * TotalVariation((1.0, 0.5, 2.0), 0.0, iterations=600, accuracy=1e-8)
    expected = solve(Fista(exact), f, x, 400).x
    found = solve(Pdhg(), f + tv + NonNegative(), x, 4000).x
    np.testing.assert_allclose(found, expected, atol=1e-4)
    free = solve(Fista(0.1 * TotalVariation((1.0, 0.5, 2.0), iterations=600, accuracy=1e-8)), f, x, 400).x
    split = solve(Admm(0.1 * GroupL1(), D, products=40, tolerance=1e-9), f, x, 400).x
    np.testing.assert_allclose(split, free, atol=1e-4)


def _smoothed(f: Any, strength: float, D: Differences, reference: np.ndarray, share: float) -> float:
    """The minimum of the objective with GroupL1 rounded over 1e-6."""
    rounded = GroupL1(eps=1e-6)
    off = D.forward(reference)

    def whole(v: np.ndarray) -> tuple[float, np.ndarray]:
        v = v.reshape(SHAPE)
        value, g = f.value_and_grad(v)
        for at, part in ((D.forward(v) - off, share), (D.forward(v), 1 - share)):
            more, slope = rounded.value_and_grad(at)
            value, g = value + strength * part * more, g + strength * part * D.adjoint(slope)
        return value, g.ravel()

    options = {"maxiter": 50000, "maxfun": 100000, "ftol": 1e-16, "gtol": 1e-9}
    found = optimize.minimize(whole, np.zeros(np.prod(SHAPE)), jac=True, method="L-BFGS-B", options=options)
    return float(found.fun)


def test_pdhg_takes_smooth_terms_without_a_prox() -> None:
    A, _, _, x = problem()
    counts = np.random.default_rng(3).poisson(500 * np.exp(-0.3 * A(np.abs(x)))).astype(float)
    f = PoissonTransmission(counts, 500.0) @ A + 0.1 * HuberTotalVariation(0.1)
    expected = solve(Fista(NonNegative()), f, x, 1500)
    state = solve(Pdhg(), f + NonNegative(), x, 6000)
    assert f(state.x) == pytest.approx(f(expected.x), rel=1e-7)


@pytest.mark.slow
def test_pdhg_of_counts_is_mlem_and_scipy() -> None:
    A, _, _, x = problem()
    truth = np.maximum(np.random.default_rng(5).standard_normal(SHAPE), 0.05)
    counts = np.random.default_rng(6).poisson(20 * A(truth)).astype(float)
    f = Poisson(counts, 0.5) @ A
    expected = optimize.minimize(
        lambda v: (lambda p: (p[0], p[1].ravel()))(f.value_and_grad(v.reshape(SHAPE))), np.ones(24), jac=True,
        method="L-BFGS-B", bounds=[(0, None)] * 24, options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 9999},
    )  # fmt: skip
    assert f(solve(Pdhg(), f + NonNegative(), x, 20000).x.clip(0, None)) == pytest.approx(expected.fun, rel=1e-6)
    mlem = solve(Osem(), f, np.ones(SHAPE), 8000)
    values = [m["value"] for m in mlem.history]
    assert all(b <= a * (1 + 1e-12) for a, b in itertools.pairwise(values))
    assert values[-1] == pytest.approx(expected.fun, rel=1e-4)
    fast = solve(Osem(3), f, np.ones(SHAPE), 5)
    assert f(fast.x) < f(solve(Osem(), f, np.ones(SHAPE), 5).x)


def test_ordered_subsets_of_least_squares() -> None:
    A, data, weights, x = problem()
    f = Gaussian(data, weights) @ A
    one, all_ = solve(OsSart(1, 1.3, low=0.0), f, x, 6), solve(Sirt(1.3, low=0.0), f, x, 6)
    np.testing.assert_allclose(one.x, all_.x, atol=1e-12)
    assert one.metrics["value"] == pytest.approx(all_.metrics["value"])
    scan = ParallelBeam(np.linspace(0, np.pi, 30, endpoint=False), (1, 34), 1.0)
    B = XRay(Grid((1, 24, 24), 1.0), scan, dtype="float64")
    truth = np.abs(np.random.default_rng(1).standard_normal(B.domain.shape))
    exact, zero = Gaussian(B(truth)) @ B, np.zeros(B.domain.shape)
    errors = [np.linalg.norm(B(solve(s, exact, zero, 10).x - truth)) for s in (OsSart(10), Sirt())]
    assert errors[0] < 0.3 * errors[1]
    with pytest.raises(ValueError, match="expected 1 to 6"):
        OsSart(7).start(f, x)
    with pytest.raises(TypeError, match="expected Poisson"):
        Osem().start(f, x)
    with pytest.raises(ValueError, match="zeros never change"):
        Osem().start(Poisson(np.abs(data)) @ A, 0 * x)


@pytest.mark.parametrize("make", [lambda p: Saga(p, subsets=6), lambda p: Svrg(p, subsets=3)], ids=["saga", "svrg"])
@pytest.mark.parametrize("low", [None, 0.0])
def test_variance_reduction_reaches_the_minimum(make: Any, low: float | None) -> None:
    A, data, weights, x = problem()
    a, b = whitened(A, data, weights)
    wide, target = np.vstack([a, np.eye(24)]), np.concatenate([b, np.zeros(24)])
    expected = optimize.lsq_linear(wide, target, (-np.inf if low is None else low, np.inf), tol=1e-14).x
    prior = L2() if low is None else Squares()
    np.testing.assert_allclose(solve(make(prior), Gaussian(data, weights) @ A, x, 800).x.ravel(), expected, atol=1e-5)


class Squares(L2):
    """1/2 |x|^2 where x >= 0."""

    def prox(self, x: Any, step: Any) -> Any:
        return super().prox(x, step).clip(0, None)


def test_adam_with_masks_and_draws() -> None:
    A, data, weights, x = problem()
    unseen = np.zeros(SHAPE)
    unseen[1, 2] = 1
    B = Dense(A.matrix * (1 - unseen.ravel()), SHAPE, (6, 5))
    f = Gaussian(data, weights) @ B
    state = solve(Adam(0.05, masked=True, decay=0.01), f, x, 3000)
    np.testing.assert_array_equal(state.x[1, 2], x[1, 2])
    best = np.linalg.lstsq(*whitened(B, data, weights), rcond=None)[0]
    assert f(state.x) <= f(best.reshape(SHAPE)) * 1.01
    with pytest.raises(KeyError):
        Adam({"b": 1.0}).start(f, {"a": x})


# ---- denoisers in solvers, where everything is known


def pnp_problem() -> tuple[Any, np.ndarray, Wiener, np.ndarray]:
    """A normal posterior: misfit, start, the prior's exact denoiser, and the posterior mean."""
    A, data, _, x = problem()
    f = Gaussian(data / 0.2, None) @ (5.0 * A)
    a = A.matrix / 0.2
    mean = np.linalg.solve(a.T @ a + np.eye(24) / 0.7, a.T @ (data.ravel() / 0.2)).reshape(SHAPE)
    return f, x, Wiener(0.7), mean


@pytest.mark.parametrize(
    "make", [lambda p: Fista(p), lambda p: Admm(p, products=60, tolerance=1e-10), lambda p: Saga(p, subsets=3)],
    ids=["pgm", "admm", "saga"],
)  # fmt: skip
def test_plug_and_play_finds_the_posterior_mean(make: Any) -> None:
    f, x, D, mean = pnp_problem()
    np.testing.assert_allclose(solve(make(PlugAndPlay(D)), f, x, 3000).x, mean, atol=1e-4)


def test_half_quadratic_splitting() -> None:
    """At a constant weight the minimum of f + the Moreau envelope of the prior; as it grows, of f + the prior."""
    f, x, D, mean = pnp_problem()
    a, weight = matrix_of(f.A), 40.0
    still = solve(HalfQuadratic(PlugAndPlay(D), weight, 1.0, products=60, tolerance=1e-12), f, x, 800).x
    wide = 0.7 + 1 / weight
    expected = np.linalg.solve(a.T @ a + np.eye(24) / wide, a.T @ f.f.data.ravel())
    np.testing.assert_allclose(still.ravel(), expected, atol=1e-6)
    slow = solve(HalfQuadratic(PlugAndPlay(D), growth=1.01, products=60, tolerance=1e-9), f, x, 1500).x
    np.testing.assert_allclose(slow, mean, atol=1e-2)


def test_red_finds_the_mode_of_the_smoothed_prior() -> None:
    f, x, D, _ = pnp_problem()
    a = matrix_of(f.A)
    found = solve(Fista(), f + Red(D, 0.3), x, 3000).x
    expected = np.linalg.solve(a.T @ a + np.eye(24) / (0.7 + 0.09), a.T @ f.f.data.ravel())
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-6)


@pytest.mark.slow
def test_langevin_draws_have_the_moments_of_the_posterior() -> None:
    f, _, _, mean = pnp_problem()
    a = matrix_of(f.A)
    covariance = np.linalg.inv(a.T @ a + np.eye(24) / 0.7)
    state = solve(Langevin(burn=1000), f + 1 / 0.7 * L2(), mean, 20000)
    assert 0.4 < state.metrics["accepted"] < 0.75
    deviations = np.sqrt(np.diag(covariance)).reshape(SHAPE)
    assert np.abs((state.memory["mean"] - mean) / deviations).max() < 0.5
    ratios = np.sqrt(state.memory["variance"]) / deviations
    assert abs(np.median(ratios) - 1) < 0.1 and ratios.min() > 0.6 and ratios.max() < 1.4
    loose = solve(Langevin(adjust=False, burn=500), f + Red(Wiener(0.7), 0.05), mean, 10000)
    assert abs(np.median(np.sqrt(loose.memory["variance"]) / deviations) - 1) < 0.15


def test_diffusion_draws_agree_with_the_data_and_spread_where_they_do_not_tell() -> None:
    """Of 24 unknowns 12 are measured: those are found to the noise, the others spread as the prior."""
    rng = np.random.default_rng(8)
    truth, noise = 0.8 * rng.standard_normal(24), 0.05
    A = Dense(np.eye(24)[:12], (24,), (12, 1))
    data = A(truth) + noise * rng.standard_normal((12, 1))
    f = Gaussian(data, noise**-2) @ A
    sigmas = tuple(np.geomspace(20, 0.02, 60))
    draws = np.array([solve(DiffPir(Wiener(0.64), sigmas, seed=k), f, np.zeros(24), len(sigmas)).x for k in range(60)])
    assert np.abs(draws[:, :12] - truth[:12]).mean() < 3 * noise
    assert 0.5 * 0.8 < draws[:, 12:].std() < 1.2 * 0.8
    assert np.abs(draws[:, 12:].mean()) < 0.15
    with pytest.raises(ValueError, match="falling numbers"):
        DiffPir(Wiener(1.0), (1.0, 2.0))


def test_diffusion_draws_new_noise_at_every_level(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[np.ndarray] = []

    def recorded(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        drawn.append(rng.standard_normal(x.shape))
        return drawn[-1]

    monkeypatch.setattr("tomodiff.solvers.sampling.white", recorded)
    f = Gaussian(np.zeros((3, 1)), 1.0) @ Dense(np.eye(24)[:3], (24,), (3, 1))
    solve(DiffPir(Wiener(1.0), (4.0, 2.0, 1.0)), f, np.zeros(24), 3)
    assert len(drawn) == 4 and len({a.tobytes() for a in drawn}) == 4


def test_pdhg_takes_the_gradient_of_a_smooth_prior_about_a_reference(rng: np.random.Generator) -> None:
    A, data, weights, x = problem()
    f, there = Gaussian(data, weights) @ A, 0.5 * rng.standard_normal(SHAPE)
    prior = 0.1 * piccs(HuberTotalVariation(0.1), there)
    assert prior.curvature_bound is not None
    found = solve(Pdhg(), f + prior, x, 3000).x
    best = solve(Fista(), f + prior, x, 3000).x
    assert (f + prior)(found) == pytest.approx((f + prior)(best), rel=1e-5)


# ---- named inputs by turns


def test_blocks_by_turns_reach_the_joint_minimum(rng: np.random.Generator) -> None:
    A = Attenuated(rng.random((9, 4)))
    truth = {"x": rng.random(4) + 0.5, "depth": 0.3 * rng.random(9)}
    f = Gaussian(A(truth)) @ A + L2({"x": truth["x"], "depth": truth["depth"]})
    blocks = (("x", GaussNewton(), 1), ("depth", GaussNewton(), 2))
    state = solve(Alternate(blocks), f, {"x": np.ones(4), "depth": np.zeros(9)}, 400)
    np.testing.assert_allclose(state.x["x"], truth["x"], atol=1e-4)
    assert {"value_x", "value_depth"} <= set(state.metrics)
    values = [m["value"] for m in state.history]
    assert all(b <= a * (1 + 1e-9) for a, b in itertools.pairwise(values))
    again = solve(Alternate(blocks), f, solve(Alternate(blocks), f, {"x": np.ones(4), "depth": np.zeros(9)}, 7), 12)
    straight = solve(Alternate(blocks), f, {"x": np.ones(4), "depth": np.zeros(9)}, 12)
    np.testing.assert_array_equal(again.x["depth"], straight.x["depth"])
    with pytest.raises(ValueError, match="expected names among"):
        Alternate((("y", Cgls(), 1),)).start(f, truth)
    with pytest.raises(TypeError, match="expected a dict"):
        Alternate(blocks).start(f, truth["x"])


def test_what_no_solver_can_take_is_refused() -> None:
    A, data, _, x = problem()
    f = Gaussian(data) @ A
    nothing = Linear(Space(SHAPE, "float64"), Space(SHAPE, "float64"), np.copy, np.copy)
    with pytest.raises(TypeError, match="neither a prox nor a gradient"):
        Pdhg().start(f + Mute(), x)
    assert solve(Pdhg(), Gaussian(data) @ A + Box(0, 1) @ nothing, x, 3).iteration == 3


class Mute(Functional):
    """A functional of which nothing is known but its value."""

    def __call__(self, x: Any) -> float:
        return 0.0
