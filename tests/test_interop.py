"""Bridges: other frameworks see the same numbers and gradients, and the same memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import linalg

from tests.toys import dense
from tomodiff.array import inner
from tomodiff.core import Space, Stack, check_adjoint
from tomodiff.interop import FromPylops, FromPyproximal, any_kind, as_pylops, as_pyproximal, as_scipy, from_dlpack
from tomodiff.objective import L1, L2, Gaussian
from tomodiff.objective.tv import TotalVariation
from tomodiff.solvers import Cgls, solve


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")


# ---- SciPy ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_scipy_sees_the_matrix(dtype: str, rng: np.random.Generator) -> None:
    A = dense(rng, (2, 3), (4, 2), dtype)
    S = as_scipy(A)
    assert S.shape == (8, 6) and S.dtype == dtype
    np.testing.assert_allclose(S @ np.eye(6), A.matrix, rtol=1e-6)
    np.testing.assert_allclose(S.H @ np.eye(8), A.matrix.conj().T, rtol=1e-6)
    x = rng.standard_normal(6)
    before = x.copy()
    S @ x
    np.testing.assert_array_equal(x, before)


def test_lsqr_agrees_with_cgls(rng: np.random.Generator) -> None:
    A, data = dense(rng, (2, 3), (4, 5)), rng.standard_normal((4, 5))
    theirs = linalg.lsqr(as_scipy(A), data.reshape(-1), atol=1e-14, btol=1e-14)[0]
    ours = solve(Cgls(), Gaussian(data) @ A, np.zeros((2, 3)), 6).x
    np.testing.assert_allclose(ours.reshape(-1), theirs, atol=1e-10)


def test_scipy_refuses_named_arrays(rng: np.random.Generator) -> None:
    with pytest.raises(TypeError, match=r"as_scipy: Stack: expected one array as range, got names \['a'\]"):
        as_scipy(Stack({"a": dense(rng, (2,), (3,))}))


# ---- DLPack ---------------------------------------------------------------------------------------------


def test_dlpack(torch: Any) -> None:
    array = np.arange(3.0)
    assert from_dlpack(array) is array
    tensor = torch.arange(3.0, requires_grad=True)
    assert from_dlpack(tensor).ctypes.data == tensor.data_ptr()
    conjugated = torch.tensor([1 + 2j]).conj()
    np.testing.assert_array_equal(from_dlpack(conjugated), [1 - 2j])
    with pytest.raises(TypeError, match="from_dlpack: expected an array or tensor with __dlpack__, got list"):
        from_dlpack([1.0])


@pytest.mark.parametrize("library", ["torch", "jax.numpy", "array_api_strict", "numpy"])
def test_any_kind_of_array_comes_back(library: str, rng: np.random.Generator) -> None:
    theirs = pytest.importorskip(library, reason=f"{library} is not installed")
    if library == "jax.numpy":
        pytest.importorskip("jax").config.update("jax_enable_x64", True)
    A = dense(rng, (3,), (5,))
    data = A(np.array([1.0, 2.0, 3.0]))

    def reconstructed(measured: np.ndarray, *, start: np.ndarray) -> dict[str, Any]:
        state = solve(Cgls(), Gaussian(measured) @ A, start, 6)
        return {"volume": state.x, "steps": state.iteration, "parts": [A(state.x)]}

    given = theirs.asarray(data)
    made = any_kind(reconstructed)(given, start=theirs.zeros(3, dtype=theirs.float64))
    assert type(made["volume"]) is type(given) and type(made["parts"][0]) is type(given) and made["steps"] == 6
    np.testing.assert_allclose(np.from_dlpack(made["volume"]), [1, 2, 3], rtol=1e-9)
    assert type(any_kind(A)(theirs.zeros(3, dtype=theirs.float64))) is type(given)


# ---- PyLops and PyProximal ------------------------------------------------------------------------------


def test_pylops_solves_with_our_operator_and_we_with_theirs(rng: np.random.Generator) -> None:
    pylops = pytest.importorskip("pylops", reason="PyLops is not installed (pip install pylops)")
    A = dense(rng, (2, 3), (4, 5))
    theirs = as_pylops(A)
    assert (theirs.dims, theirs.dimsd, theirs.name) == ((2, 3), (4, 5), "Dense")
    assert pylops.utils.dottest(theirs)
    x = rng.standard_normal((2, 3))
    found = pylops.optimization.basic.cgls(theirs, A(x).reshape(-1), niter=8, tol=0)[0]
    np.testing.assert_allclose(found.reshape(2, 3), x, atol=1e-8)
    ours = FromPylops(pylops.SecondDerivative((6, 5), axis=0))
    assert check_adjoint(ours, rng) < 1e-12 and ours.domain.shape == (6, 5)
    np.testing.assert_allclose(ours(x6 := rng.standard_normal((6, 5)))[1:-1], np.diff(x6, 2, axis=0), atol=1e-12)
    with pytest.raises(ValueError, match="expected shape"):
        ours(np.zeros((5, 6)))


def test_pyproximal_takes_our_prox_and_we_theirs(rng: np.random.Generator) -> None:
    pyproximal = pytest.importorskip("pyproximal", reason="PyProximal is not installed (pip install pyproximal)")
    x = rng.standard_normal((4, 5))
    tv = as_pyproximal(TotalVariation(iterations=500, accuracy=1e-9), Space((4, 5), "float64"))
    assert tv(x.reshape(-1)) == pytest.approx(TotalVariation()(x)) and not tv.hasgrad
    exact = TotalVariation(iterations=500, accuracy=1e-9).prox(x, 0.3)
    np.testing.assert_allclose(tv.prox(x.reshape(-1), 0.3), exact.reshape(-1))
    smooth = as_pyproximal(L2(), Space((4, 5), "float64"))
    assert smooth.hasgrad and inner(smooth.grad(x.reshape(-1)), x.reshape(-1)) == pytest.approx(inner(x, x))
    found = pyproximal.optimization.primal.ProximalGradient(
        as_pyproximal(Gaussian(x), Space((4, 5), "float64")),
        tv,
        np.zeros(20),
        tau=1.0,
        epsg=0.3,
        niter=60,
        acceleration="fista",
    )
    np.testing.assert_allclose(np.asarray(found).reshape(-1)[:20], exact.reshape(-1), atol=1e-5)
    theirs = FromPyproximal(pyproximal.L1())
    np.testing.assert_allclose(theirs.prox(x, 0.4), L1().prox(x, 0.4))
    assert theirs(x) == pytest.approx(L1()(x))
    box = FromPyproximal(pyproximal.Box(-1.0, 1.0))
    assert box(x / 100) == 0 and box(100 * x) == float("inf")
    with pytest.raises(NotImplementedError, match="no gradient"):
        theirs.value_and_grad(x)
    value, gradient = FromPyproximal(pyproximal.L2()).value_and_grad(x)
    assert (value, gradient) == (pytest.approx(L2()(x)), pytest.approx(x))
