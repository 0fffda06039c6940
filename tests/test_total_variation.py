"""Total variation: value, smoothed gradient and prox against NumPy, other solvers and closed forms."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from tomodiff.array import to_numpy
from tomodiff.objective import Differences, GroupL1, HuberTotalVariation, TotalVariation


def differences(x: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """D x as the docstring says it: forward differences over the spacing, zero at the end of each axis."""
    parts = []
    for axis, step in enumerate(spacing):
        last = x.take([-1], axis)
        parts.append(np.diff(x, axis=axis, append=last) / step)
    return np.stack(parts)


def adjoint(p: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """D' p, by the matrix of D."""
    shape = p.shape[1:]
    n = int(np.prod(shape))
    D = np.stack([differences(e.reshape(shape), spacing).reshape(-1) for e in np.eye(n)], axis=1)
    return (D.T @ p.reshape(-1)).reshape(shape)


SHAPES = [(4, 5, 6), (1, 4, 3), (3, 1, 4), (5, 3, 1), (2, 2, 301), (17, 2, 3), (6, 7), (9,), (1, 1, 1)]
"""Odd ones: single planes, rows and columns, rows longer than a thread's lanes, more planes than a thread sums."""


@pytest.mark.parametrize("shape", SHAPES)
def test_tv_value_and_smoothed_gradient_against_numpy(shape: tuple[int, ...], xp: ModuleType) -> None:
    rng = np.random.default_rng(4)
    x, spacing, eps = rng.standard_normal(shape), (2.0, 0.5, 1.5)[-len(shape) :], 0.9
    length = np.sqrt((differences(x, spacing) ** 2).sum(0))
    assert TotalVariation(spacing)(xp.asarray(x)) == pytest.approx(length.sum(), rel=1e-12)
    huber = np.where(length > eps, length - eps / 2, length**2 / (2 * eps)).sum()
    f = HuberTotalVariation(eps, spacing)
    value, gradient = f.value_and_grad(xp.asarray(x))
    assert value == f(xp.asarray(x)) == pytest.approx(huber, rel=1e-12)
    if x.size < 500:
        flow = adjoint(differences(x, spacing) / np.maximum(length, eps), spacing)
        np.testing.assert_allclose(to_numpy(gradient), flow, atol=1e-12)
    moved, h = rng.standard_normal(shape), 1e-5
    slope = (f(xp.asarray(x + h * moved)) - f(xp.asarray(x - h * moved))) / (2 * h)
    assert slope == pytest.approx((to_numpy(gradient) * moved).sum(), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("bounds", [(None, None), (0.0, None), (-0.3, 0.5)])
@pytest.mark.parametrize("shape", [(3, 4, 5), (5, 6), (8,), (2, 1, 258)])
def test_tv_prox_has_the_duality_gap_it_claims(
    shape: tuple[int, ...], bounds: tuple[float | None, float | None], xp: ModuleType
) -> None:
    """Weak duality, computed without our kernels: the pair (z, p) proves how far z is from the minimum."""
    rng = np.random.default_rng(5)
    x, step, spacing = rng.standard_normal(shape), 0.6, (1.5, 1.0, 0.8)[-len(shape) :]
    f = TotalVariation(spacing, *bounds, iterations=1500, accuracy=1e-4)
    z, memory = f.prox_warm(xp.asarray(x), step, {})
    z, p = to_numpy(z), to_numpy(memory["dual"])[3 - len(shape) :].reshape(len(shape), *shape)
    assert np.sqrt((p**2).sum(0)).max() <= 1 + 1e-12
    d = differences(z, spacing)
    primal = step * np.sqrt((d**2).sum(0)).sum() + 0.5 * ((z - x) ** 2).sum()
    best = np.clip(x - step * adjoint(p, spacing), *bounds)
    dual = step * (differences(best, spacing) * p).sum() + 0.5 * ((best - x) ** 2).sum()
    assert primal - dual == pytest.approx(memory["gap"], abs=1e-10)
    assert memory["iterations"] < 1500 and primal - dual <= 0.5e-8 * (x**2).sum() + 1e-10
    np.testing.assert_allclose(z, best, atol=1e-10)


def test_tv_prox_against_an_independent_solver(rng: np.random.Generator) -> None:
    """The same minimum from SciPy's SLSQP on the dual problem with explicit matrices."""
    optimize = pytest.importorskip("scipy.optimize", reason="SciPy is not installed")
    shape, spacing, step = (3, 3), (1.0, 2.0), 0.5
    x = rng.standard_normal(shape)
    D = np.stack([differences(e.reshape(shape), spacing).reshape(-1) for e in np.eye(9)], axis=1)

    def dual(p: np.ndarray) -> tuple[float, np.ndarray]:
        z = x.reshape(-1) - step * D.T @ p
        return 0.5 * float(z @ z), -step * D @ z

    inside = {
        "type": "ineq",
        "fun": lambda p: 1 - (p.reshape(2, -1) ** 2).sum(0),
        "jac": lambda p: np.hstack([np.diag(-2 * p[:9]), np.diag(-2 * p[9:])]),
    }
    options = {"maxiter": 500, "ftol": 1e-15}
    found = optimize.minimize(dual, np.zeros(18), jac=True, constraints=inside, method="SLSQP", options=options)
    expected = (x.reshape(-1) - step * D.T @ found.x).reshape(shape)
    z = TotalVariation(spacing, iterations=2000, accuracy=1e-6).prox(x, step)
    np.testing.assert_allclose(z, expected, atol=2e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tv_of_a_step_has_a_closed_form(dtype: str, xp: ModuleType) -> None:
    """In one dimension two plateaus of n and m samples move towards each other by step/n and step/m."""
    n, m, step = 60, 20, 2.0
    x = np.concatenate([np.zeros(n), np.ones(m)]).astype(dtype)
    z = to_numpy(TotalVariation(iterations=3000, accuracy=1e-5).prox(xp.asarray(x), step))
    expected = np.concatenate([np.full(n, step / n), np.full(m, 1 - step / m)])
    # dual steps below the rounding of p = 1 are lost: a slope of eps * |D|^2 * step per sample stays, over n samples
    stays = n * np.finfo(dtype).eps * 4 * step * (n + m) ** 0.5
    assert z.dtype == dtype and np.linalg.norm(z - expected) <= 1e-5 * np.linalg.norm(x) + stays


def test_tv_decouples_axes_of_infinite_spacing(rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 6, 7))
    f = TotalVariation((np.inf, 1.0, 1.0), low=0.0, iterations=200, accuracy=0)
    slices = [TotalVariation(low=0.0, iterations=200, accuracy=0).prox(s, 0.3) for s in x]
    np.testing.assert_allclose(f.prox(x, 0.3), slices, atol=1e-12)  # the same iteration, slice by slice


def test_tv_prox_warm_start_saves_iterations_and_accuracy_is_proved(rng: np.random.Generator) -> None:
    x = np.pad(np.ones((10, 10)), 5) + 0.1 * rng.standard_normal((20, 20))
    f = TotalVariation(iterations=5000, accuracy=1e-2)
    z, memory = f.prox_warm(x, 0.2, {})
    exact = TotalVariation(iterations=2000, accuracy=1e-6).prox(x, 0.2)
    assert memory["iterations"] < 5000 and np.linalg.norm(z - exact) <= 1e-2 * np.linalg.norm(x)
    kept = memory["dual"].copy()
    near = x + 1e-4 * rng.standard_normal(x.shape)
    again = f.prox_warm(near, 0.2, memory)[1]
    assert again["iterations"] < f.prox_warm(near, 0.2, {})[1]["iterations"]
    np.testing.assert_array_equal(memory["dual"], kept)


def test_tv_prox_agrees_with_scikit_image(rng: np.random.Generator) -> None:
    """Another program's Chambolle (2004) iteration, with the same discretisation and border."""
    restoration = pytest.importorskip("skimage.restoration", reason="scikit-image is not installed")
    x = np.pad(np.ones((12, 12)), 4) + 0.1 * rng.standard_normal((20, 20))
    theirs = restoration.denoise_tv_chambolle(x, weight=0.3, eps=1e-12, max_num_iter=3000)
    ours = TotalVariation(iterations=1000, accuracy=1e-5).prox(x, 0.3)
    assert np.linalg.norm(ours - theirs) < 3e-3 * np.linalg.norm(x)


def test_total_variation_is_the_length_of_differences(rng: np.random.Generator) -> None:
    x, spacing = rng.standard_normal((5, 4, 6)), (2.0, 1.0, 0.5)
    D = Differences(x.shape, spacing, dtype="float64")
    assert (GroupL1() @ D)(x) == pytest.approx(TotalVariation(spacing)(x), rel=1e-12)
    value, gradient = (GroupL1(eps=0.3) @ D).value_and_grad(x)
    expected, same = HuberTotalVariation(0.3, spacing).value_and_grad(x)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, same, atol=1e-12)
