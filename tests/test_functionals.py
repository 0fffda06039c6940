"""Likelihoods and priors: gradients by differences, proxes against independent minimisation, total variation."""

from __future__ import annotations

import contextlib
import itertools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tomodiff.objective
from tests.toys import dense, subclasses
from tomodiff.array import tmap
from tomodiff.core import Functional, Space, check_gradient, zeros
from tomodiff.objective import (
    L1,
    L2,
    Box,
    Cauchy,
    Centred,
    Correlated,
    Differences,
    Gaussian,
    GroupL1,
    Huber,
    HuberTotalVariation,
    NonNegative,
    NuclearNorm,
    Of,
    PlugAndPlay,
    Poisson,
    PoissonGaussian,
    PoissonTransmission,
    Red,
    ScoreDistillation,
    Simplex,
    Tilted,
    TotalGeneralizedVariation,
    TotalVariation,
    Wavelet,
    Wiener,
    student_t,
)

SHAPE = (2, 3, 2)
GRADIENT = ["Gaussian", "Gaussian weighted", "Huber", "PoissonTransmission", "Poisson with scatter", "L2", "L2 centred"]
GRADIENT += ["HuberTotalVariation", "sum", "scaled", "pulled", "Cauchy", "Correlated", "Huber weighted", "student_t"]
GRADIENT += ["Poisson", "PoissonGaussian", "GroupL1 rounded", "Centred", "Red", "Tilted"]
SEPARABLE = ["Gaussian", "Gaussian weighted", "Huber", "Huber weighted", "L2", "L2 centred", "L1", "NonNegative", "Box"]
SEPARABLE += ["Poisson", "scaled", "Centred"]
PROX = [*SEPARABLE, "TotalVariation", "TotalVariation in a box", "Simplex", "GroupL1", "GroupL1 rounded", "NuclearNorm"]
PROX += ["Wavelet"]
CONVEX = ["L1", "NonNegative", "Box", "L2", "Huber", "Huber weighted", "Gaussian", "Poisson", "Simplex", "GroupL1"]
CONVEX += ["GroupL1 rounded", "NuclearNorm", "Wavelet"]
ELSEWHERE = {
    "Of": "takes dicts: test_functionals_of_parts",
    "PlugAndPlay": "has no value: test_denoisers.py",
    "ScoreDistillation": "its gradient is that of a value with the denoiser held still: test_denoisers.py",
    "TotalGeneralizedVariation": "its value is a minimum of its own: test_tgv.py",
    "_Distilled": "likewise",
    "Restricted": "takes parts of dicts: test_functionals_of_parts",
}
"""Functionals outside of this battery, and why."""


def _examples() -> dict[str, Functional]:
    rng = np.random.default_rng(2)
    data, weights, counts = rng.standard_normal(SHAPE), rng.random(SHAPE), rng.poisson(20, SHAPE).astype(float)
    counts[0, 0, 0] = 0
    return {
        "Gaussian": Gaussian(data),
        "Gaussian weighted": Gaussian(data, weights),
        "Huber": Huber(data, 0.8),
        "Huber weighted": Huber(data, 0.8, weights),
        "Cauchy": Cauchy(data, 0.8, weights),
        "student_t": student_t(data, 3.0, weights),
        "Correlated": Correlated(data, dense(rng, SHAPE, (5,))),
        "Poisson": Poisson(counts, 10 * weights + 5),
        "PoissonGaussian": PoissonGaussian(counts + data, 0.7, 10 * weights + 5),
        "Simplex": Simplex(1.5, axis=1, tolerance=1e-13),
        "GroupL1": GroupL1((0, 2)),
        "GroupL1 rounded": GroupL1((0, 2), eps=0.4),
        "NuclearNorm": NuclearNorm(),
        "Wavelet": Wavelet("haar", 1, axes=(0, 2)),
        "Centred": Centred(Huber(data, 0.8), data),
        "Tilted": Tilted(Huber(data, 0.8), data),
        "Red": Red(Wiener(2.0), 0.5),
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
    named = {n: getattr(tomodiff.objective, n) for n in tomodiff.objective.__all__}
    public = {n for n, made in named.items() if isinstance(made, type) and issubclass(made, Functional)}
    tested = {type(f).__name__ for f in EXAMPLES.values()} | set(ELSEWHERE)
    assert public <= tested
    assert {c.__name__ for c in subclasses(Functional, "tomodiff.objective")} <= tested
    assert {c.__name__ for c in subclasses(Functional, "tomodiff.core")} <= tested
    for listed, method in ((GRADIENT, "value_and_grad"), (PROX, "prox")):
        has = {type(f).__name__ for f in EXAMPLES.values() if method in vars(type(f))}
        assert has <= {type(EXAMPLES[name]).__name__ for name in listed}


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
        with pytest.raises(NotImplementedError, match=f"{type(getattr(f, 'f', f)).__name__} has no gradient"):
            f.value_and_grad(x)
    if name in PROX:
        z = f.prox(x, 0.3)
        assert z.shape == x.shape and z.dtype == x.dtype and not np.shares_memory(z, x)
        assert np.abs(f.prox(z, 0.0) - z).max() < 1e-15  # only the constraint is left, and z fulfils it
    else:
        with pytest.raises(
            NotImplementedError, match=f"{type(getattr(f, 'f', f) if name == 'student_t' else f).__name__} has no prox"
        ):
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
        Correlated(x, 2.0 * Differences(SHAPE)),
        student_t(x, number, number),
        Poisson(x, number),
        PoissonGaussian(x, number, number),
        Simplex(number),
        GroupL1(0),
        GroupL1(0, number),
        NuclearNorm(),
        TotalGeneralizedVariation(number, number, 3),
        Wavelet("haar", 1, (0, 2)),
        Centred(L1(), x),
        Red(Wiener(number), number),
        PlugAndPlay(Wiener(np.full(SHAPE, number)), number),
        ScoreDistillation(Wiener(number), (number,)),
    ):
        results = []
        for method in (lambda f: f.value_and_grad(x)[1], lambda f: f.prox(x, number)):
            with contextlib.suppress(NotImplementedError):
                results.append(method(f))
        assert results and all(r.dtype == "float32" for r in results)


@pytest.mark.parametrize("name", SEPARABLE)
def test_separable_functionals_take_a_step_for_each_entry(name: str, rng: np.random.Generator) -> None:
    f, x, steps = EXAMPLES[name], rng.standard_normal(SHAPE), rng.random(SHAPE)
    made = f.prox(x, steps)
    for place in np.ndindex(SHAPE):
        assert made[place] == f.prox(x, steps[place])[place]


def test_what_is_separable_says_so() -> None:
    for name in PROX:
        assert EXAMPLES[name].separable == (name in SEPARABLE), name


@pytest.mark.parametrize("name", CONVEX)
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


def test_functionals_of_parts(rng: np.random.Generator) -> None:
    x = {name: rng.standard_normal(3) for name in "abc"}
    f = Of("a", L2()) + Gaussian({name: np.zeros(3) for name in "abc"}) + 2.0 * Of("b", Huber(np.ones(3), 0.1))
    value, gradient = f.value_and_grad(x)
    alone, pair = f.restrict(x, ["b"]), f.restrict(x, ["a", "c"])
    assert alone(x["b"]) == pytest.approx(value) == pytest.approx(pair({"a": x["a"], "c": x["c"]}))
    np.testing.assert_allclose(alone.value_and_grad(x["b"])[1], gradient["b"])
    np.testing.assert_allclose(pair.value_and_grad({"a": x["a"], "c": x["c"]})[1]["c"], gradient["c"])
    np.testing.assert_allclose(alone.quadratic(x["b"])[1], gradient["b"])
    product = alone.quadratic(x["b"])[2](np.ones(3))
    far = np.abs(x["b"] - 1)
    np.testing.assert_allclose(product, 1 + 2 * 0.1 / np.maximum(far, 0.1))
