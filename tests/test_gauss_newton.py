"""Quadratic models of functionals, and Gauss-Newton steps with bounds against what SciPy finds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from tests.toys import Attenuated, dense, exact_slope
from tomodiff.array import inner, tmap
from tomodiff.core import Functional, check_gradient
from tomodiff.errors import Diverged
from tomodiff.objective import L1, Cauchy, Gaussian
from tomodiff.objective.of import Of
from tomodiff.solvers import GaussNewton, LbfgsB, iterate, solve
from tomodiff.solvers.gauss_newton import solve_free


def curved(f: Functional, x: object, rng: np.random.Generator) -> None:
    """The model has the value and gradient of f, and its product is the change of the gradient along a line."""
    value, gradient, product = f.quadratic(x)
    known, slope = f.value_and_grad(x)
    assert value == pytest.approx(known)
    assert inner(tmap(np.subtract, gradient, slope), tmap(np.subtract, gradient, slope)) < 1e-20
    d = tmap(lambda a: rng.standard_normal(a.shape), x)
    h = 1e-6
    up, down = (f.value_and_grad(tmap(lambda a, b, s=s: a + s * b, x, d))[1] for s in (h, -h))
    change = tmap(lambda a, b: (a - b) / (2 * h), up, down)
    off = tmap(np.subtract, product(d), change)
    assert inner(off, off) ** 0.5 < 1e-6 * inner(change, change) ** 0.5


def test_models_of_quadratic_functionals_are_exact(rng: np.random.Generator) -> None:
    A = dense(rng, (5,), (7,))
    f = 0.5 * (Gaussian(rng.normal(size=7), rng.uniform(0.5, 2, 7)) @ A) + Gaussian(np.zeros(5), 0.3)
    curved(f, rng.normal(size=5), rng)
    named = Of("x", Gaussian(np.ones(3), 2.0)) + Of("y", Gaussian(np.zeros(4), 0.5))
    curved(named, {"x": rng.normal(size=3), "y": rng.normal(size=4)}, rng)
    with pytest.raises(NotImplementedError, match="no quadratic model"):
        L1().quadratic(np.ones(3))


def test_cauchy(rng: np.random.Generator) -> None:
    data, weights = rng.normal(size=40), rng.uniform(0, 2, 40)
    f = Cauchy(data, 1.5, weights)
    exact_slope(check_gradient(f, rng.normal(size=40) * 4, rng), floor=1e-7)
    assert f(data) == 0
    near = data + 1e-4
    assert f(near) == pytest.approx(Gaussian(data, weights)(near), rel=1e-6)
    far = data.copy()
    far[0] += 1e6
    assert f(far) < 0.5 * 1.5**2 * np.log1p(2e12 / 1.5**2), "an outlier counts logarithmically"
    product = f.quadratic(data + 3)[2]
    assert product(np.ones(40)) == pytest.approx(weights / (1 + weights * 9 / 1.5**2))
    with pytest.raises(ValueError, match="threshold"):
        Cauchy(data, 0.0)


def test_one_step_solves_least_squares(rng: np.random.Generator) -> None:
    A, y = dense(rng, (6,), (20,)), rng.normal(size=20)
    f = Of("x", Gaussian(y) @ A)
    state = solve(GaussNewton(forcing=1e-12), f, {"x": np.zeros(6)}, 1)
    assert state.x["x"] == pytest.approx(np.linalg.lstsq(A.matrix, y, rcond=None)[0], abs=1e-9)
    assert state.metrics["length"] == 1 and state.metrics["value"] == pytest.approx(f(state.x))


def test_bounds_are_those_of_bounded_least_squares(rng: np.random.Generator) -> None:
    A, y = dense(rng, (12,), (30,)), 3 * rng.normal(size=30)
    low, high = -0.1, 0.2
    best = lsq_linear(A.matrix, y, (low, high), tol=1e-14).x
    assert ((best < low + 1e-9) | (best > high - 1e-9)).sum() > 3, "bounds matter here"
    solver = GaussNewton({"x": (low, high)}, forcing=1e-10)
    state = solve(solver, Of("x", Gaussian(y) @ A), {"x": np.zeros(12)}, 40)
    assert state.x["x"] == pytest.approx(best, abs=1e-6)
    assert state.x["x"].min() >= low and state.x["x"].max() <= high


def test_fixed_entries_stay(rng: np.random.Generator) -> None:
    A, y, mask = dense(rng, (6,), (20,)), rng.normal(size=20), np.arange(6) < 2
    state = solve(GaussNewton(fixed={"x": mask}, forcing=1e-12), Of("x", Gaussian(y) @ A), {"x": np.full(6, 0.5)}, 2)
    rest = np.linalg.lstsq(A.matrix[:, 2:], y - A.matrix[:, :2] @ np.full(2, 0.5), rcond=None)[0]
    assert state.x["x"][:2] == pytest.approx(0.5) and state.x["x"][2:] == pytest.approx(rest, abs=1e-9)


def test_a_nonlinear_fit_converges_fast(rng: np.random.Generator) -> None:
    A = Attenuated(rng.uniform(0.5, 1.5, (9, 3)))
    truth = {"x": rng.uniform(1, 2, 3), "depth": rng.uniform(0, 0.3, 9)}
    f = Gaussian(A(truth)) @ A + Of("depth", Gaussian(truth["depth"], 1e-2))
    x = {"x": np.ones(3), "depth": np.zeros(9)}
    states = list(iterate(GaussNewton(forcing=1e-8), f, x, 12))
    assert states[-1].metrics["value"] < 1e-16
    assert states[-1].x["x"] == pytest.approx(truth["x"], abs=1e-6)


def test_an_inner_solve_takes_as_many_products_as_there_are_values(rng: np.random.Generator) -> None:
    """Conjugate gradients end after one product for each distinct eigenvalue; with the inverse, after one."""
    values = np.repeat([1.0, 4.0, 9.0], 4)
    b, free = {"x": rng.normal(size=12)}, {"x": np.ones(12)}

    def product(d: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"x": values * d["x"]}

    d, used = solve_free(product, b, free, None, 50, 1e-10)
    assert used == 3 and d["x"] == pytest.approx(b["x"] / values)
    d, used = solve_free(product, b, free, lambda r: {"x": r["x"] / values}, 50, 1e-10)
    assert used == 1 and d["x"] == pytest.approx(b["x"] / values)


def test_nan_is_said(rng: np.random.Generator) -> None:
    A = dense(rng, (3,), (4,))
    with pytest.raises(Diverged, match="NaN"):
        solve(GaussNewton(), Of("x", Gaussian(np.full(4, np.nan)) @ A), {"x": np.zeros(3)}, 1)


@pytest.mark.parametrize("scaled", [False, True])
def test_limited_memory_steps_find_bounded_least_squares(scaled: bool, rng: np.random.Generator) -> None:
    """SciPy's minimiser in scaled unknowns, against its solver of linear problems with bounds; badly scaled columns."""
    A, y = dense(rng, (12,), (30,)), 3 * rng.normal(size=30)
    A.matrix *= np.geomspace(0.3, 3, 12)
    best = lsq_linear(A.matrix, y, (-0.1, 0.2), tol=1e-14).x
    sizes = (A.matrix**2).sum(0) ** -0.5
    solver = LbfgsB({"x": (-0.1, 0.2)}, scale=(lambda x, product: lambda d: {"x": sizes * d["x"]}) if scaled else None)
    state = solve(solver, Of("x", Gaussian(y) @ A), {"x": np.zeros(12)}, 8)
    assert state.x["x"] == pytest.approx(best, abs=1e-6)
    with pytest.raises(Diverged, match="NaN"):
        solve(solver, Of("x", Gaussian(np.full(30, np.nan)) @ A), {"x": np.zeros(12)}, 1)
    with pytest.raises(ValueError, match="bounds: expected a dict of arrays"):
        solver.start(Gaussian(y) @ A, np.zeros(12))


def test_bounds_hold_in_single_precision(rng: np.random.Generator) -> None:
    for _ in range(20):
        A = dense(rng, (6,), (9,), "float32")
        y, x = rng.normal(size=9).astype(np.float32), rng.uniform(0.1, 3, 6).astype(np.float32)
        sizes = ((A.matrix**2).sum(0) ** -0.5).astype(np.float32)
        solver = LbfgsB({"x": (0.0, None)}, scale=lambda x, product, s=sizes: lambda d: {"x": s * d["x"]})
        state = solve(solver, Of("x", Gaussian(y) @ A), {"x": x}, 3)
        assert state.x["x"].min() >= 0
