"""The bridge to JAX: values, gradients of any order of linear operators, jit, vmap, named inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.toys import Attenuated, dense
from tomodiff.geometry import Grid, ParallelBeam
from tomodiff.interop import as_jax
from tomodiff.projectors import XRay


@pytest.fixture
def jax() -> Any:
    found = pytest.importorskip("jax", reason="JAX is not installed (pip install jax)")
    found.config.update("jax_enable_x64", True)
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_values_gradients_jit_and_vmap(jax: Any, dtype: str, rng: np.random.Generator) -> None:
    A = dense(rng, (2, 3), (4, 2), dtype)
    M = A.matrix
    f = as_jax(A)
    x = rng.standard_normal((5, 2, 3)).astype(dtype)
    expected = (x.reshape(5, 6) @ M.T).reshape(5, 4, 2)
    near = {"rtol": 1e-5, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-13}
    np.testing.assert_allclose(f(x[0]), expected[0], **near)
    np.testing.assert_allclose(jax.jit(f)(x[1]), expected[1], **near)
    np.testing.assert_allclose(jax.vmap(jax.jit(f))(x), expected, **near)

    def misfit(v: Any, forward: Any) -> Any:
        return 0.5 * (abs(forward(v)) ** 2).sum()

    own = jax.grad(misfit)(jax.numpy.asarray(x[0]), f)
    native = jax.grad(misfit)(jax.numpy.asarray(x[0]), lambda v: (M @ v.reshape(-1)).reshape(4, 2))
    np.testing.assert_allclose(own, native, **near)
    assert own.dtype == dtype


def test_second_derivatives_of_linear_operators(jax: Any, rng: np.random.Generator) -> None:
    A = dense(rng, (3,), (5,))
    f = as_jax(A)
    hessian = jax.jacrev(jax.grad(lambda v: 0.5 * (f(v) ** 2).sum()))(np.zeros(3))
    np.testing.assert_allclose(hessian, A.matrix.T @ A.matrix, atol=1e-12)


def test_named_inputs_of_a_nonlinear_operator(jax: Any, rng: np.random.Generator) -> None:
    M = rng.random((5, 4))
    f = as_jax(Attenuated(M))
    x = {"x": rng.standard_normal(4), "depth": rng.standard_normal(5)}

    def native(v: Any) -> Any:
        return jax.numpy.exp(-v["depth"]) * (M @ v["x"])

    own, expected = (jax.jit(jax.grad(lambda v, g=g: (g(v) ** 3).sum()))(x) for g in (f, native))
    for name in x:
        np.testing.assert_allclose(own[name], expected[name], rtol=1e-10)


def test_projectors_in_jax(jax: Any, rng: np.random.Generator) -> None:
    A = XRay(Grid((4, 8, 8), 1.0), ParallelBeam(np.linspace(0, 3, 5), (4, 9), 1.0))
    f, data = as_jax(A), rng.random(A.range.shape).astype("float32")
    x = rng.random(A.domain.shape).astype("float32")
    gradient = jax.jit(jax.grad(lambda v: 0.5 * ((f(v) - data) ** 2).sum()))(x)
    np.testing.assert_allclose(gradient, A.adjoint(A.forward(x) - data), rtol=1e-5, atol=1e-5)
    with pytest.raises(TypeError, match="expected dtype float32, got float64"):
        f(x.astype("float64"))
    with pytest.raises(ValueError, match="expected shape"):
        f(x[:2])
