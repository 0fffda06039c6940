"""Likelihoods and priors: gradients by differences, proxes against independent minimisation, total variation."""

from __future__ import annotations

import contextlib
import itertools
import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tomodiff.objective
from tests.toys import dense, subclasses
from tomodiff.array import tmap, to_numpy
from tomodiff.core import Functional, Space, check_gradient, zeros
from tomodiff.objective import (
    L1,
    L2,
    Box,
    Cauchy,
    Gaussian,
    Huber,
    HuberTotalVariation,
    NonNegative,
    PoissonTransmission,
    TotalVariation,
)

SHAPE = (2, 3, 2)
GRADIENT = ["Gaussian", "Gaussian weighted", "Huber", "PoissonTransmission", "Poisson with scatter", "L2", "L2 centred"]
GRADIENT += ["HuberTotalVariation", "sum", "scaled", "pulled", "Cauchy"]
PROX = ["Gaussian", "Gaussian weighted", "Huber", "L2", "L2 centred", "L1", "NonNegative", "Box", "TotalVariation"]
PROX += ["TotalVariation in a box", "scaled"]


def _examples() -> dict[str, Functional]:
    rng = np.random.default_rng(2)
    data, weights, counts = rng.standard_normal(SHAPE), rng.random(SHAPE), rng.poisson(20, SHAPE).astype(float)
    counts[0, 0, 0] = 0
    return {
        "Gaussian": Gaussian(data),
        "Gaussian weighted": Gaussian(data, weights),
        "Huber": Huber(data, 0.8),
        "Cauchy": Cauchy(data, 0.8, weights),
        "PoissonTransmission": PoissonTransmission(counts, 30.0),
        "Poisson with scatter": PoissonTransmission(counts, 10 + 30 * weights[0], np.full(SHAPE, 3.0)),
        "L1": L1(),
        "L2": L2(),
        "L2 centred": L2(data),
        "NonNegative": NonNegative(),
        "Box": Box(-0.5, 0.7),
        "HuberTotalVariation": HuberTotalVariation(0.3, (2.0, 1.0, 0.5)),
        "TotalVariation": TotalVariation((2.0, 1.0, 0.5), iterations=2000, accuracy=1e-6),
        "TotalVariation in a box": TotalVariation(low=-0.2, high=0.6, iterations=2000, accuracy=1e-6),
        "sum": Gaussian(data, weights) + 0.3 * L2() + HuberTotalVariation(0.3),
        "scaled": 0.4 * L2(data),
        "pulled": Gaussian(rng.standard_normal((4, 2))) @ dense(rng, SHAPE, (4, 2)),
    }


EXAMPLES = _examples()


def test_every_functional_is_tested() -> None:
    public = {n for n in tomodiff.objective.__all__ if issubclass(getattr(tomodiff.objective, n), Functional)}
    tested = {type(f).__name__ for f in EXAMPLES.values()}
    assert public <= tested
    assert {c.__name__ for c in subclasses(Functional, "tomodiff.core")} <= tested
    for name, f in EXAMPLES.items():
        has = {method for method in ("value_and_grad", "prox") if method in vars(type(f))}
        assert ("value_and_grad" not in has or name in GRADIENT) and ("prox" not in has or name in PROX)


@pytest.mark.parametrize("name", GRADIENT)
def test_gradient_falls_quadratically(name: str, rng: np.random.Generator) -> None:
    x = 0.3 + 0.5 * rng.standard_normal(SHAPE)
    errors = check_gradient(EXAMPLES[name], x, rng)
    for large, small in itertools.pairwise(errors):
        assert small < large / 30 or small < 3e-10
    assert errors[-1] < 1e-8


@pytest.mark.parametrize("name", EXAMPLES)
def test_functional_contract(name: str, rng: np.random.Generator) -> None:
    f, x = EXAMPLES[name], rng.standard_normal(SHAPE)
    before = x.copy()
    assert isinstance(f(x), float)
    if name in GRADIENT:
        value, gradient = f.value_and_grad(x)
        assert isinstance(value, float) and value == pytest.approx(f(x), rel=1e-12)
        assert gradient.shape == x.shape and gradient.dtype == x.dtype and not np.shares_memory(gradient, x)
        again = gradient.copy()
        gradient.fill(np.nan)
        np.testing.assert_array_equal(f.value_and_grad(x)[1], again)
    else:
        with pytest.raises(NotImplementedError, match=f"{type(f).__name__} has no gradient"):
            f.value_and_grad(x)
    if name in PROX:
        z = f.prox(x, 0.3)
        assert z.shape == x.shape and z.dtype == x.dtype and not np.shares_memory(z, x)
        assert np.abs(f.prox(z, 0.0) - z).max() < 1e-15  # only the constraint is left, and z fulfils it
    else:
        with pytest.raises(NotImplementedError, match=f"{type(f).__name__} has no prox"):
            f.prox(x, 0.3)
    np.testing.assert_array_equal(x, before)
    assert pickle.loads(pickle.dumps(f))(x) == f(x)


@pytest.mark.parametrize("name", PROX)
def test_prox_is_not_beaten(name: str, rng: np.random.Generator) -> None:
    """Neither random moves of any size nor a direct search find a value below that of the prox by more than its gap."""
    optimize = pytest.importorskip("scipy.optimize", reason="SciPy is not installed")
    f, x, step = EXAMPLES[name], rng.standard_normal(SHAPE), 0.4
    z = f.prox(x, step)

    def objective(u: np.ndarray) -> float:
        u = u.reshape(SHAPE)
        return min(step * f(u), 1e30) + 0.5 * float(((u - x) ** 2).sum())  # the search does not know infinity

    best = objective(z)
    assert best < objective(x) or f(x) == 0
    for size in (1, 1e-1, 1e-2, 1e-3, 1e-4):
        for _ in range(30):
            assert objective(z + size * rng.standard_normal(SHAPE)) >= best - 1e-10
    found = optimize.minimize(objective, z.reshape(-1), method="Powell", options={"maxiter": 3})
    assert found.fun >= best - 1e-10


@pytest.mark.parametrize("number", [1, 0.5, np.float64(0.5), np.float32(0.5)])
def test_single_precision_stays_single(number: Any, rng: np.random.Generator) -> None:
    """Whatever kind of number the parameters are."""
    x = rng.random(SHAPE).astype("float32")
    for f in (
        Gaussian(x, number),
        Huber(x, number),
        PoissonTransmission(x, number, number),
        L2(),
        L1(),
        Box(0 * number, number),
        NonNegative(),
        TotalVariation(number, 0 * number, number, iterations=2),
        HuberTotalVariation(number, number),
        number * L2(x),
    ):
        results = []
        for method in (lambda f: f.value_and_grad(x)[1], lambda f: f.prox(x, number)):
            with contextlib.suppress(NotImplementedError):
                results.append(method(f))
        assert results and all(r.dtype == "float32" for r in results)


@pytest.mark.parametrize("name", ["L1", "NonNegative", "Box", "L2", "Huber", "Gaussian"])
def test_prox_is_firmly_nonexpansive(name: str, rng: np.random.Generator) -> None:
    f = EXAMPLES[name]
    for _ in range(20):
        x, y = rng.standard_normal((2, *SHAPE))
        p, q = f.prox(x, 0.7), f.prox(y, 0.7)
        assert ((p - q) ** 2).sum() <= ((p - q) * (x - y)).sum() + 1e-14


def test_l1_shrinks_complex_moduli() -> None:
    z = L1().prox(np.array([3 + 4j, 0.3j, 0]), 1.0)
    np.testing.assert_allclose(z, [4 * (0.6 + 0.8j), 0, 0], atol=1e-15)


def test_constraints_are_infinite_outside() -> None:
    assert NonNegative()(np.array([0.0, 1.0])) == 0 and NonNegative()({"a": np.array([-1e-9])}) == np.inf
    assert (
        Box(0, 1)(np.array([1.0])) == 0 and Box(0, 1)(np.array([1.1])) == np.inf and Box(None, 1)(np.array([-9.0])) == 0
    )


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


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Gaussian(np.zeros(3), np.array([1.0, -1, 1])), ValueError, "expected weights >= 0"),
        (lambda: Gaussian(np.zeros(3), np.ones(2)), ValueError, r"weights: expected shape \(3,\)"),
        (
            lambda: Gaussian(np.zeros(3))(np.zeros(3, "float32")),
            TypeError,
            "Gaussian: y: expected dtype float64, got float32",
        ),
        (lambda: Gaussian(np.zeros(3))(np.zeros(4)), ValueError, r"Gaussian: y: expected shape \(3,\), got \(4,\)"),
        (lambda: PoissonTransmission(np.ones(3, "uint16"), 1.0), TypeError, "counts: expected floating point"),
        (lambda: PoissonTransmission(np.array([-1.0]), 1.0), ValueError, "counts: expected numbers >= 0"),
        (lambda: PoissonTransmission(np.array([np.nan]), 1.0), ValueError, "counts: expected numbers >= 0"),
        (lambda: PoissonTransmission(np.ones(3), 0.0), ValueError, "incident: expected numbers > 0"),
        (lambda: PoissonTransmission(np.ones(3, "float32"), np.ones(3)), TypeError, "incident: expected float32"),
        (
            lambda: Gaussian(np.zeros(3, "float32"), np.ones(3)),
            TypeError,
            "weights: expected dtype float32, got float64",
        ),
        (lambda: Huber(np.zeros(3), 0.0), ValueError, "delta: expected a number > 0"),
        (lambda: Box(1, 0), ValueError, "low <= high"),
        (lambda: -1.0 * L2(), ValueError, "expected a factor >= 0"),
        (lambda: HuberTotalVariation(0.0), ValueError, "eps: expected a number > 0"),
        (lambda: TotalVariation((1.0, 1.0))(np.zeros((2, 2, 2))), ValueError, "spacing: expected 3 numbers > 0"),
        (lambda: TotalVariation(0.0)(np.zeros((2, 2, 2))), ValueError, "spacing: expected 3 numbers > 0"),
        (
            lambda: TotalVariation()(np.zeros((2, 2), int)),
            TypeError,
            "expected a C-contiguous float32 or float64 array",
        ),
        (lambda: TotalVariation()(np.zeros((2, 3)).T), TypeError, "not C-contiguous"),
        (lambda: TotalVariation().prox(np.zeros((2, 2)), -1.0), ValueError, "step: expected a number >= 0"),
        (lambda: L2()[0], TypeError, "L2 has no subsets of its data"),
    ],
)
def test_errors_say_what_was_expected(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_subsets_of_the_data_add_up(rng: np.random.Generator) -> None:
    A, x = dense(rng, (3,), (6, 2)), rng.standard_normal(3)
    counts = rng.poisson(30, (6, 2)).astype(float)
    per_pixel, per_view = rng.random(2) + 40, rng.random((6, 1)) + 40
    for f in (
        Gaussian(counts, rng.random((6, 2))),
        Gaussian(counts, 2.0),
        Huber(counts, 1.0),
        PoissonTransmission(counts, per_pixel),
        PoissonTransmission(counts, per_view, np.full((1, 2), 0.1)),
    ):
        whole = (f @ A).value_and_grad(x)
        parts = [(f @ A)[views].value_and_grad(x) for views in (slice(0, None, 2), np.array([1, 3, 5]))]
        assert sum(v for v, _ in parts) == pytest.approx(whole[0], rel=1e-12)
        np.testing.assert_allclose(sum(g for _, g in parts), whole[1], rtol=1e-10)


def test_dicts_of_data(rng: np.random.Generator) -> None:
    data = {"a": rng.standard_normal(3), "b": rng.standard_normal((2, 2))}
    f = Gaussian(data, {"a": np.full(3, 2.0), "b": np.full((2, 2), 0.5)}) + 0.1 * L2()
    origin = zeros(tmap(lambda d: Space(d.shape, "float64"), data))
    value, gradient = f.value_and_grad(origin)
    assert value == pytest.approx((data["a"] ** 2).sum() + 0.25 * (data["b"] ** 2).sum())
    np.testing.assert_allclose(gradient["a"], -2 * data["a"])
    assert NonNegative().prox(data, 1.0)["a"].min() >= 0


# ---- total variation -----------------------------------------------------------------------------------


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
