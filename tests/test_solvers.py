"""Solvers reach known minima, stop when told, and resume bit for bit from a checkpoint."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import optimize

import tomodiff.solvers
from tests.toys import Attenuated, Dense
from tomodiff.core import Functional, Linear, Space, Stack
from tomodiff.objective import (
    L1,
    L2,
    Box,
    Gaussian,
    HuberTotalVariation,
    NonNegative,
    Poisson,
    PoissonTransmission,
    TotalVariation,
    Wiener,
)
from tomodiff.solvers import (
    Adam,
    Admm,
    Cgls,
    DiffPir,
    Fista,
    GaussNewton,
    Gradient,
    GradientNorm,
    HalfQuadratic,
    Langevin,
    Lbfgs,
    LbfgsB,
    Lsmr,
    MaxIterations,
    NonlinearCg,
    Osem,
    OsMomentum,
    OsSart,
    Pdhg,
    Saga,
    Sirt,
    State,
    Svrg,
    curvature,
    iterate,
    load,
    save,
    solve,
)

SHAPE = (3, 4, 2)
SOLVERS: dict[str, Any] = {
    "Sirt": Sirt(1.5, low=0.0),
    "Cgls": Cgls(damping=0.1),
    "Fista": Fista(prior=0.05 * TotalVariation(low=0.0, iterations=10)),
    "Fista without prior": Fista(),
    "Gradient": Gradient(NonNegative()),
    "Lbfgs": Lbfgs(),
    "GaussNewton": GaussNewton(products=3),
    "LbfgsB": LbfgsB(inner=2),
    "Lsmr": Lsmr(damping=0.1),
    "NonlinearCg": NonlinearCg(),
    "Adam": Adam(),
    "Adam masked": Adam(masked=True, decay=0.01, constraint=NonNegative()),
    "Pdhg": Pdhg(),
    "Admm": Admm(0.1 * L1(), products=4),
    "HalfQuadratic": HalfQuadratic(0.1 * L1(), products=4),
    "OsSart": OsSart(3, low=0.0),
    "OsMomentum": OsMomentum(0.05 * HuberTotalVariation(0.1), 3, low=0.0),
    "Osem": Osem(2),
    "Saga": Saga(0.1 * L1(), subsets=3),
    "Svrg": Svrg(subsets=3),
    "Langevin": Langevin(burn=3),
    "DiffPir": DiffPir(Wiener(1.0), tuple(0.8**k for k in range(15))),
}
ELSEWHERE = {"Alternate": "takes dicts: test_solver_blocks.py"}
"""Solvers outside of this battery, and why."""


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """These arrays are too small to share: waking a second thread takes longer than the work."""
    monkeypatch.setenv("TOMODIFF_THREADS", "1")


def problem(dtype: str = "float64", seed: int = 7) -> tuple[Dense, np.ndarray, np.ndarray, np.ndarray]:
    """A non-negative, overdetermined operator with noisy data, weights and a starting point."""
    rng = np.random.default_rng(seed)
    matrix = rng.random((30, 24)) * (rng.random((30, 24)) < 0.4)
    A = Dense(matrix.astype(dtype), SHAPE, (6, 5))
    truth = np.maximum(rng.standard_normal(SHAPE), 0)
    data = (A.matrix @ truth.reshape(-1)).reshape(6, 5) + 0.05 * rng.standard_normal((6, 5))
    weights = 0.2 + rng.random((6, 5))
    return A, data.astype(dtype), weights.astype(dtype), (0.1 * rng.random(SHAPE)).astype(dtype)


def objective(name: str, A: Dense, data: np.ndarray, weights: np.ndarray) -> Any:
    """What a solver minimises here: least squares, or for those of counts their likelihood."""
    if isinstance(SOLVERS[name], Osem):
        return Poisson(np.abs(data), np.full_like(data, 0.1)) @ A
    return Gaussian(data, weights) @ A


def whitened(A: Dense, data: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    root = np.sqrt(weights.reshape(-1))
    return root[:, None] * A.matrix, root * data.reshape(-1)


def test_every_solver_is_tested() -> None:
    public = (getattr(tomodiff.solvers, name) for name in tomodiff.solvers.__all__)
    found = {c.__name__ for c in public if isinstance(c, type) and hasattr(c, "step") and c.__name__ != "Solver"}
    assert found == {type(s).__name__ for s in SOLVERS.values()} | set(ELSEWHERE)


# ---- contracts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SOLVERS)
def test_solver_contract(name: str, dtype: str) -> None:
    A, data, weights, x = problem(dtype)
    solver, f = SOLVERS[name], objective(name, A, data, weights)
    kept = [a.copy() for a in (x, data, weights)]
    state = solver.start(f, x)
    assert state.iteration == 0 and state.metrics == {}
    frozen = pickle.dumps(state)
    following = solver.step(f, state)
    assert pickle.dumps(state) == frozen, "a step must leave its state as it was"
    for a, b in zip((x, data, weights), kept, strict=True):
        np.testing.assert_array_equal(a, b)
    assert following.iteration == 1 and following.x.dtype == dtype and following.x.shape == SHAPE
    assert {"value", "relative_change", "seconds"} <= set(following.metrics)
    assert isinstance(solver, Osem) or "residual_norm" in following.metrics
    assert all(isinstance(v, float) for v in following.metrics.values())
    with pytest.raises(dataclasses.FrozenInstanceError):
        following.x = x  # type: ignore[misc]
    for field in dataclasses.fields(solver):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(solver, field.name, 1)
    holds = any(isinstance(getattr(solver, field.name), Functional | Wiener) for field in dataclasses.fields(solver))
    assert holds or solver == pickle.loads(pickle.dumps(solver))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SOLVERS)
def test_resume_is_bit_identical(name: str, dtype: str, tmp_path: Path) -> None:
    A, data, weights, x = problem(dtype)
    solver, f = SOLVERS[name], objective(name, A, data, weights)
    straight = solve(solver, f, x, 12)
    save(tmp_path / "state.npz", solve(solver, f, x, 5))
    resumed = solve(solver, f, load(tmp_path / "state.npz"), MaxIterations(12))
    assert_identical(resumed, straight)
    assert_identical(solve(solver, f, pickle.loads(pickle.dumps(solve(solver, f, x, 5))), 12), straight)


def assert_identical(a: State, b: State) -> None:
    """Everything but the clock."""

    def bare(state: State) -> tuple[Any, ...]:
        history = [{k: v for k, v in step.items() if k != "seconds"} for step in state.history]
        return state.solver, state.iteration, bits(state.x), bits(state.memory), history

    assert bare(a) == bare(b)


def bits(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: bits(v) for k, v in value.items()}
    return (value.dtype.name, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("name", SOLVERS)
def test_states_of_one_solver_are_refused_by_others(name: str) -> None:
    A, data, weights, x = problem()
    f = objective(name, A, data, weights)
    with pytest.raises(ValueError, match=r"expected a state of \w+, got one of Other"):
        SOLVERS[name].step(f, dataclasses.replace(SOLVERS[name].start(f, x), solver="Other"))


@pytest.mark.parametrize(
    "name", ["Cgls", "Lsmr", "Fista without prior", "Gradient", "NonlinearCg", "Lbfgs", "GaussNewton", "LbfgsB"]
)
def test_named_inputs(name: str, rng: np.random.Generator) -> None:
    """Dicts of unknowns and of data go through every solver, the same as one stacked unknown."""
    A = np.vstack([np.eye(5), rng.random((7, 5))])
    data = rng.standard_normal(12)

    def matrix(part: np.ndarray) -> Linear:
        spaces = {"a": Space((2,), "float64"), "b": Space((3,), "float64")}
        rows = Space((part.shape[0],), "float64")
        pull: Callable[[Any], Any] = lambda y: {"a": part.T[:2] @ y, "b": part.T[2:] @ y}  # noqa: E731
        return Linear(spaces, rows, lambda x: part[:, :2] @ x["a"] + part[:, 2:] @ x["b"], pull)

    f = Gaussian({"one": data[:5], "two": data[5:]}) @ Stack({"one": matrix(A[:5]), "two": matrix(A[5:])})
    solver = SOLVERS[name] if name != "Gradient" else Gradient()
    exact = {"Cgls": Cgls(), "Lsmr": Lsmr()}
    x = solve(exact.get(name, solver), f, {"a": np.zeros(2), "b": np.zeros(3)}, 5 if name in exact else 300).x
    expected = np.linalg.lstsq(A, data, rcond=None)[0]
    np.testing.assert_allclose(np.concatenate([x["a"], x["b"]]), expected, rtol=1e-6)


# ---- known minima ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_cgls_reaches_weighted_least_squares(damping: float) -> None:
    A, data, weights, x = problem()
    a, b = whitened(A, data, weights)
    expected = np.linalg.solve(a.T @ a + damping * np.eye(24), a.T @ b)
    state = solve(Cgls(damping), Gaussian(data, weights) @ A, x, GradientNorm(1e-13) | MaxIterations(100))
    np.testing.assert_allclose(state.x.reshape(-1), expected, atol=1e-7)
    r = a @ expected - b
    assert state.metrics["value"] == pytest.approx(0.5 * (r @ r + damping * expected @ expected), rel=1e-9)
    assert state.metrics["residual_norm"] == pytest.approx(np.linalg.norm(r), rel=1e-9)


def test_cgls_stays_at_the_minimum() -> None:
    A, data, _, x = problem()
    state = solve(Cgls(), Gaussian(A(x)) @ A, x, 3)
    np.testing.assert_array_equal(state.x, x)
    assert np.isfinite(data).all() and state.metrics["gradient_norm"] == 0


@pytest.mark.parametrize("weighted", [False, True])
def test_sirt_reaches_the_least_squares_it_says_within_bounds(weighted: bool) -> None:
    A, data, weights, x = problem()
    f = Gaussian(data, weights if weighted else None) @ A
    scale = (weights if weighted else np.ones_like(weights)) / A.matrix.sum(1).reshape(6, 5)
    a, b = whitened(A, data, scale)
    bounded = optimize.lsq_linear(a, b, (0.05, 0.9), tol=1e-14)
    state = solve(Sirt(1.9, low=0.05, high=0.9), f, x, 3000)
    np.testing.assert_allclose(state.x.reshape(-1), bounded.x, atol=1e-5)
    assert state.metrics["value"] == pytest.approx(bounded.cost, rel=1e-6)
    free = solve(Sirt(1.9), f, x, 20)
    values = [m["value"] for m in free.history]
    assert all(b <= a for a, b in itertools.pairwise(values))


def test_sirt_leaves_what_no_ray_sees(rng: np.random.Generator) -> None:
    matrix = rng.random((5, 4))
    matrix[:, 2], matrix[3] = 0, 0
    A = Dense(matrix, (4,), (5,))
    x = rng.random(4)
    state = solve(Sirt(), Gaussian(rng.random(5)) @ A, x, 10)
    assert state.x[2] == x[2] and np.isfinite(state.x).all()
    with pytest.raises(ValueError, match="non-negative row and column sums"):
        Sirt().start(Gaussian(rng.random(5)) @ (-1.0 * A), x)


@pytest.mark.parametrize("solver", [Fista(Box(0.05, 0.9)), Gradient(Box(0.05, 0.9))])
def test_bounded_least_squares(solver: Any) -> None:
    A, data, weights, x = problem()
    a, b = whitened(A, data, weights)
    expected = optimize.lsq_linear(a, b, (0.05, 0.9), tol=1e-14)
    state = solve(solver, Gaussian(data, weights) @ A, x, 800)
    np.testing.assert_allclose(state.x.reshape(-1), expected.x, atol=1e-7)


@pytest.mark.parametrize(
    "solver",
    [Fista(), Fista(restart=False), Gradient(), NonlinearCg(), Lbfgs(), Lbfgs(pairs=12), GaussNewton(products=5)],
)
def test_smooth_minimum_of_a_sum(solver: Any) -> None:
    A, data, weights, x = problem()
    a, b = whitened(A, data, weights)
    expected = np.linalg.solve(a.T @ a + 0.2 * np.eye(24), a.T @ b)
    f = Gaussian(data, weights) @ A + 0.2 * L2()
    state = solve(solver, f, x, GradientNorm(1e-9) | MaxIterations(2000))
    assert state.iteration < 2000
    np.testing.assert_allclose(state.x.reshape(-1), expected, atol=1e-7)


def test_fista_reaches_the_optimality_conditions_of_the_lasso() -> None:
    A, data, weights, x = problem()
    strength = 0.3
    state = solve(Fista(strength * L1()), Gaussian(data, weights) @ A, x, 3000)
    gradient = Gaussian(data, weights).through(A, state.x)[1]
    off = state.x == 0
    assert 0 < off.sum() < off.size
    assert np.abs(gradient[off]).max() <= strength * (1 + 1e-8)
    np.testing.assert_allclose(gradient[~off], -strength * np.sign(state.x[~off]), rtol=1e-6)


def test_fista_with_tv_is_its_prox_where_the_operator_is_the_identity(rng: np.random.Generator) -> None:
    noisy = np.pad(np.ones((4, 4)), 2) + 0.2 * rng.standard_normal((8, 8))
    prior = 0.2 * TotalVariation(low=0.0, iterations=100, accuracy=1e-6)
    identity = Linear(Space((8, 8), "float64"), Space((8, 8), "float64"), np.copy, np.copy)
    exact = (0.2 * TotalVariation(low=0.0, iterations=3000, accuracy=1e-6)).prox(noisy, 1.0)
    state = solve(Fista(prior), Gaussian(noisy) @ identity, np.zeros((8, 8)), 20)
    np.testing.assert_allclose(state.x, exact, atol=1e-4)
    assert state.memory["prior"]["dual"].shape == (3, 1, 8, 8)


@pytest.mark.parametrize("restart", [True, False])
def test_fista_halves_a_step_that_is_too_large(restart: bool) -> None:
    A, data, weights, x = problem()
    f = Gaussian(data, weights) @ A
    safe = 1 / np.linalg.norm(whitened(A, data, weights)[0], 2) ** 2
    state = solve(Fista(step_size=7 * safe, restart=restart), f, x, 3)
    assert state.metrics["step"] < 7 * safe
    if restart:
        a, b = whitened(A, data, weights)
        state = solve(Fista(step_size=7 * safe), f, x, 4000)
        assert state.metrics["step"] <= 2 * safe
        assert state.metrics["value"] == pytest.approx(0.5 * np.linalg.lstsq(a, b, rcond=None)[1][0], rel=1e-6)


def test_fista_is_faster_than_plain_descent() -> None:
    """The bound of Beck and Teboulle (theorem 4.4): F(x_k) - F* <= 2 L |x_0 - x*|^2 / (k + 1)^2."""
    A, data, weights, x = problem()
    a, b = whitened(A, data, weights)
    best, rest, *_ = np.linalg.lstsq(a, b, rcond=None)
    f, L = Gaussian(data, weights) @ A, np.linalg.norm(a, 2) ** 2
    for state in iterate(Fista(step_size=1 / L, restart=False), f, x, 60):
        bound = 2 * L * np.sum((x.reshape(-1) - best) ** 2) / (state.iteration + 1) ** 2
        assert f(state.x) - 0.5 * rest[0] <= bound


@pytest.mark.parametrize("solver", [Fista(NonNegative()), Gradient(NonNegative())])
def test_poisson_transmission_against_scipy(solver: Any) -> None:
    A, _, _, x = problem()
    rng = np.random.default_rng(3)
    truth = 0.3 * np.maximum(rng.standard_normal(SHAPE), 0)
    counts = rng.poisson(500 * np.exp(-A(truth))).astype(float)
    f = PoissonTransmission(counts, 500.0) @ A

    def flat(v: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = f.value_and_grad(v.reshape(SHAPE))
        return value, gradient.reshape(-1)

    options = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 5000, "maxfun": 50000}
    expected = optimize.minimize(
        flat, x.reshape(-1), jac=True, method="L-BFGS-B", bounds=[(0, None)] * 24, options=options
    )
    state = solve(solver, f, x, 3000)
    assert f(state.x) == pytest.approx(expected.fun, rel=1e-8)
    assert state.x.min() >= 0


def test_lbfgs_fits_named_unknowns_of_a_nonlinear_model(rng: np.random.Generator) -> None:
    A = Attenuated(rng.random((9, 4)))
    truth = {"x": rng.random(4) + 0.5, "depth": 0.3 * rng.random(9)}
    f = Gaussian(A(truth)) @ A + 1e-3 * L2(truth)
    state = solve(Lbfgs(), f, {"x": np.ones(4), "depth": np.zeros(9)}, GradientNorm(1e-8) | MaxIterations(500))
    assert state.iteration < 500 and state.metrics["value"] < 1e-12
    np.testing.assert_allclose(state.x["x"], truth["x"], atol=1e-5)


def test_gradient_methods_agree_on_smoothed_tv(rng: np.random.Generator) -> None:
    A, data, weights, x = problem()
    f = Gaussian(data, weights) @ A + 0.1 * HuberTotalVariation(0.05)
    values = [f(solve(s, f, x, GradientNorm(1e-7) | MaxIterations(3000)).x) for s in (Fista(), Gradient(), Lbfgs())]
    assert max(values) - min(values) < 1e-9 * values[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_curvature_of_a_quadratic_is_its_largest_eigenvalue(dtype: str) -> None:
    A, data, weights, x = problem(dtype)
    exact = np.linalg.norm(whitened(A, data, weights)[0], 2) ** 2
    f = Gaussian(data, weights) @ A
    for start in (x, np.zeros_like(x), solve(Cgls(), f, x, 24).x):
        assert curvature(f, start) == pytest.approx(exact, rel=2e-3)
    assert curvature(0 * L2(), x) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sirt(2.0), r"Sirt: relaxation: expected a number in \(0, 2\)"),
        (lambda: Cgls(-1.0), "Cgls: damping: expected a number >= 0"),
        (lambda: Fista(step_size=0.0), "Fista: step_size: expected a number > 0"),
    ],
)
def test_parameters_are_checked(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("solver", [Sirt(), Cgls()])
def test_linear_solvers_refuse_other_problems(solver: Any) -> None:
    A, data, _, x = problem()
    for f in (L2(), Gaussian(data), PoissonTransmission(np.abs(data), 1.0) @ A):
        with pytest.raises(TypeError, match=r"expected Gaussian\(data, weights\) @ A with a linear A"):
            solver.start(f, x)
