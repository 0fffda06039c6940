"""Operators: adjoints, algebra, named inputs, and errors that say what was expected."""

from __future__ import annotations

import pickle
from types import ModuleType

import numpy as np
import pytest

import tomodiff.core
from tests.toys import Attenuated, Dense, dense, exact_slope, subclasses
from tomodiff.array import block_mean, tmap, to_numpy
from tomodiff.core import (
    Batched,
    Linear,
    LinearOperator,
    Operator,
    Space,
    Stack,
    check_adjoint,
    check_element,
    check_gradient,
    operator_norm,
    random_element,
    zeros,
)

EXACT = 1e-13


def _examples() -> dict[str, LinearOperator]:
    rng = np.random.default_rng(1)
    A, B, C = dense(rng, (3, 4), (5, 2)), dense(rng, (3, 4), (5, 2)), dense(rng, (6,), (3, 4))
    return {
        "Linear": Linear(Space((3,), "float64"), Space((3,), "float64"), _reverse, _reverse),
        "Transposed": A.T,
        "LinearChain": A @ C,
        "LinearScaled": -2.5 * A,
        "LinearSum": A + B - 0.5 * A,
        "Stack": Stack({"a": A, "b": 2 * B}),
        "Batched": Batched(A, 3),
        "Gram": A.gram(np.full((5, 2), 3.0)),
        "FixedLinear": Attenuated(rng.standard_normal((5, 4))).fix(depth=rng.standard_normal(5)),
        "Dense complex": dense(rng, (4,), (3,), "complex128"),
        "Transposed Stack": Stack({"a": A, "b": 2 * B}).T,
    }


def _reverse(x: np.ndarray) -> np.ndarray:
    return x[::-1]


EXAMPLES = _examples()


def test_every_linear_operator_of_core_is_tested() -> None:
    defined = {c.__name__ for c in subclasses(LinearOperator, "tomodiff.core")}
    assert defined <= set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_adjoint_is_exact(name: str, rng: np.random.Generator, xp: ModuleType) -> None:
    A = EXAMPLES[name]
    if xp is not np and name == "FixedLinear":
        pytest.skip("its fixed value is in host memory")
    if xp is not np and name == "Gram":
        pytest.skip("its weights are in host memory")
    assert check_adjoint(A, rng, xp=xp) < EXACT
    assert check_adjoint(A.T, rng, xp=xp) < EXACT


@pytest.mark.parametrize("name", EXAMPLES)
def test_linear_operator_contract(name: str, rng: np.random.Generator) -> None:
    A = EXAMPLES[name]
    x, y = random_element(A.domain, rng), random_element(A.range, rng)
    for apply, e, space in ((A.forward, x, A.range), (A.adjoint, y, A.domain)):
        before = tmap(np.copy, e)
        result = apply(e)
        tmap(np.testing.assert_array_equal, e, before)
        check_element(space, result, name)
        out = tmap(lambda a: np.full_like(a, np.nan), result)
        assert_same(apply(e, out), result)
        assert_same(out, result)
        tmap(lambda r: r.fill(np.nan), result)  # results are arrays of their own ...
        tmap(np.testing.assert_array_equal, e, before)  # ... not views of the input
    assert A.T.T is A or name.startswith("Transposed")
    assert_same(A.T.T(x), A(x))
    assert_same(A @ x, A(x))
    assert_same(A.linearize(x)[0], A(x))
    assert_same(pickle.loads(pickle.dumps(A))(x), A(x))
    assert check_adjoint(A.gram(), rng) < EXACT


def assert_same(a: object, b: object) -> None:
    tmap(np.testing.assert_array_equal, a, b)


def test_a_wrong_adjoint_is_found(rng: np.random.Generator) -> None:
    A = dense(rng, (4,), (4,))
    wrong = Linear(A.domain, A.range, A.forward, lambda y: 1.001 * A.adjoint(y))
    assert check_adjoint(wrong, rng) > 1e-5


def test_algebra_is_that_of_matrices(rng: np.random.Generator) -> None:
    A, B, C = dense(rng, (3,), (4,)), dense(rng, (3,), (4,)), dense(rng, (2,), (3,))
    a, b, c = A.matrix, B.matrix, C.matrix
    x, w = rng.standard_normal(2), rng.random(4)
    np.testing.assert_allclose((2 * (A - B) @ C)(x), 2 * (a - b) @ c @ x, rtol=1e-12)
    np.testing.assert_allclose((A @ C).T(a @ c @ x), c.T @ a.T @ a @ c @ x, rtol=1e-12)
    np.testing.assert_allclose((A @ C).gram(w)(x), (a @ c).T @ (w * (a @ c @ x)), rtol=1e-12)
    np.testing.assert_allclose((np.float64(2) * A)(c @ x), 2 * a @ c @ x, rtol=1e-12)
    np.testing.assert_allclose((A @ C)[1:3](x), (a @ c)[1:3] @ x, rtol=1e-12)
    stacked = Stack({"a": A, "b": B})
    np.testing.assert_allclose(stacked.T({"a": w, "b": 2 * w}), (a + 2 * b).T @ w, rtol=1e-12)


def test_spaces_must_match(rng: np.random.Generator) -> None:
    A = dense(rng, (3,), (4,))
    with pytest.raises(ValueError, match=r"Dense @ Dense: Dense takes Space\(shape=\(3,\)"):
        A @ A
    with pytest.raises(ValueError, match="sum of operators"):
        A + A.T
    with pytest.raises(ValueError, match="Stack: b must map"):
        Stack({"a": A, "b": A.T})
    with pytest.raises(TypeError):
        1j * A
    with pytest.raises(TypeError):
        A + 1  # type: ignore[operator]


def test_elements_are_checked_by_name() -> None:
    space = {"volume": Space((2, 3)), "frames": Space((4, 12), "float64")}
    good = zeros(space)
    check_element(space, good, "here")
    check_element(Space((2, 3)), np.zeros((7, 2, 3), "float32"), "here", batched=True)
    for change, error, message in (
        (
            {"volume": np.zeros((3, 2), "float32")},
            ValueError,
            r"here\['volume'\]: expected shape \(2, 3\), got \(3, 2\)",
        ),
        ({"volume": np.zeros((2, 3))}, TypeError, r"here\['volume'\]: expected dtype float32, got float64"),
        ({"volume": [[0.0]]}, TypeError, r"expected a float32 array of shape \(2, 3\), got list"),
        ({"extra": np.zeros(1)}, ValueError, r"expected the names \['frames', 'volume'\]"),
    ):
        with pytest.raises(error, match=message):
            check_element(space, {**good, **change}, "here")
    with pytest.raises(TypeError, match="expected a dict of arrays"):
        check_element(space, good["volume"], "here")
    with pytest.raises(ValueError, match=r"expected shape \('...', 2, 3\)"):
        check_element(Space((2, 3)), np.zeros(3, "float32"), "here", batched=True)


def test_fix_names(rng: np.random.Generator) -> None:
    A = Attenuated(rng.standard_normal((5, 4)))
    x, depth = rng.standard_normal(4), rng.standard_normal(5)
    with pytest.raises(
        ValueError, match=r"Attenuated.fix: expected some but not all of \['depth', 'x'\], got \['height'\]"
    ):
        A.fix(height=depth)
    with pytest.raises(ValueError, match="some but not all"):
        A.fix(x=x, depth=depth)
    with pytest.raises(ValueError, match=r"Attenuated.fix: depth: expected shape \(5,\)"):
        A.fix(depth=x)
    linear, bent = A.fix(depth=depth), A.fix(x=x)
    assert isinstance(linear, LinearOperator) and not isinstance(bent, LinearOperator)
    assert linear.domain == Space((4,), "float64") and bent.domain == Space((5,), "float64")
    np.testing.assert_array_equal(linear(x), A({"x": x, "depth": depth}))
    np.testing.assert_array_equal(bent(depth), A({"x": x, "depth": depth}))


def test_fixed_operators_have_the_gradient_of_what_is_left(rng: np.random.Generator) -> None:
    A = Attenuated(rng.standard_normal((5, 4)))
    x, depth, data = rng.standard_normal(4), rng.standard_normal(5), rng.standard_normal(5)
    _, g = A.residual_grad({"x": x, "depth": depth}, data)
    np.testing.assert_allclose(A.fix(x=x).residual_grad(depth, data)[1], g["depth"], rtol=1e-12)
    np.testing.assert_allclose(A.fix(depth=depth).residual_grad(x, data)[1], g["x"], rtol=1e-12)
    falls_quadratically(check_gradient(A.fix(x=x), depth, rng))
    assert check_adjoint(A.fix(x=x).linearize(depth)[1], rng) < EXACT


def falls_quadratically(errors: list[float]) -> None:
    """`exact_slope`, of a function that is curved, so that there is something to fall."""
    assert errors[0] > 1e-9, "the function is too straight for this test"
    exact_slope(errors, 3e-10)


def test_slope_test_passes_right_and_fails_wrong_gradients(rng: np.random.Generator) -> None:
    A = Attenuated(rng.standard_normal((5, 4)))
    at = {"x": rng.standard_normal(4), "depth": 0.5 * rng.standard_normal(5)}
    falls_quadratically(check_gradient(A, at, rng))
    chain = dense(rng, (5,), (3,)) @ A
    assert not isinstance(chain, LinearOperator)
    falls_quadratically(check_gradient(chain, at, rng))
    assert check_adjoint(chain.linearize(at)[1], rng) < EXACT

    class Wrong(Attenuated):
        def linearize(self, x):  # type: ignore[no-untyped-def]
            y, J = super().linearize(x)
            return y, Linear(self.domain, self.range, J.forward, lambda g: tmap(lambda a: 1.001 * a, J.adjoint(g)))

    assert check_gradient(Wrong(A.matrix), at, rng)[-1] > 1e-6


def test_residual_grad_is_that_of_weighted_least_squares(rng: np.random.Generator) -> None:
    A, x, d, w = dense(rng, (3,), (4, 2)), rng.standard_normal(3), rng.standard_normal((4, 2)), rng.random((4, 2))
    for weights in (None, 2.0, w):
        value, gradient = A.residual_grad(x, d, weights)
        full = np.broadcast_to(1.0 if weights is None else weights, d.shape).reshape(-1)
        r = A.matrix @ x - d.reshape(-1)
        assert value == pytest.approx(0.5 * np.sum(full * r * r), rel=1e-12)
        np.testing.assert_allclose(gradient, A.matrix.T @ (full * r), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_operator_norm_is_the_largest_singular_value(dtype: str, rng: np.random.Generator) -> None:
    A = dense(rng, (6,), (8,), dtype)
    assert operator_norm(A, rng, 300) == pytest.approx(np.linalg.norm(A.matrix, 2), rel=1e-6)
    assert operator_norm(0 * A, rng) == 0


def test_operators_resist_numpy_and_misuse(rng: np.random.Generator) -> None:
    A = dense(rng, (3,), (4,))
    with pytest.raises(TypeError):
        np.ones(4) @ A  # would otherwise become an array of objects
    with pytest.raises(TypeError):
        list(A)
    with pytest.raises(TypeError, match=r"Gram has no subsets of its data"):
        A.gram()[0]
    with pytest.raises(NotImplementedError, match="Jacobian has no adjoint"):
        Linear(A.domain, A.range, A.forward, name="Jacobian").adjoint(np.zeros(4))
    with pytest.raises(TypeError, match=r"Dense.fix: the operator has one unnamed input"):
        A.fix(x=np.zeros(3))


def test_complex_gradient_is_the_real_and_imaginary_slope(rng: np.random.Generator) -> None:
    A = dense(rng, (3,), (4,), "complex128")
    x, d = (random_element(s, rng) for s in (A.domain, A.range))
    _, g = A.residual_grad(x, d)
    for step in (1e-6, 1e-6j):
        up, down = (A.residual_grad(x + s * np.eye(3)[0], d)[0] for s in (step, -step))
        part = g[0].real if step.real else g[0].imag
        assert (up - down) / 2e-6 == pytest.approx(part, rel=1e-7)


def test_random_elements_repeat_with_the_seed_and_have_unit_spread(xp: ModuleType) -> None:
    space = {"a": Space((200, 50)), "b": Space((100,), "complex64")}
    first, second = (random_element(space, np.random.default_rng(3), xp) for _ in range(2))
    tmap(lambda a, b: np.testing.assert_array_equal(to_numpy(a), to_numpy(b)), first, second)
    assert to_numpy(first["a"]).std() == pytest.approx(1, abs=0.05) and first["b"].dtype == "complex64"
    assert to_numpy(random_element(space, np.random.default_rng(3), xp, nonnegative=True)["a"]).min() >= 0


def test_public_names_exist() -> None:
    assert all(hasattr(tomodiff.core, name) for name in tomodiff.core.__all__)
    assert {c.__name__ for c in subclasses(Operator, "tomodiff.core")} >= {"Chain", "Fixed"}
    assert isinstance(Dense(np.eye(2), (2,), (2,)), LinearOperator)


def test_means_of_blocks(rng: np.random.Generator, xp: ModuleType) -> None:
    """Of each block its mean, along any axes; what does not fill one is left out."""
    values = xp.asarray(rng.standard_normal((3, 7, 11)))
    found = to_numpy(block_mean(values, (2, 3)))
    assert found.shape == (3, 3, 3)
    for k, i, j in np.ndindex(found.shape):
        part = to_numpy(values)[k, 2 * i : 2 * i + 2, 3 * j : 3 * j + 3]
        assert found[k, i, j] == pytest.approx(part.mean())
    assert to_numpy(block_mean(values, 2, (0, 1))).shape == (1, 3, 11)
    assert np.array_equal(to_numpy(block_mean(values, 1)), to_numpy(values))
    big = xp.full((1, 1 << 14), 1 + 2**-20, "float32")
    assert block_mean(big, (1, 1 << 14), dtype="float64").item() == float(big[0, 0])
