"""Bridges: other frameworks see the same numbers and gradients, and the same memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import linalg

from tests.toys import Attenuated, dense
from tomodiff.core import LinearOperator, Space, Stack
from tomodiff.interop import as_scipy, as_torch, from_dlpack
from tomodiff.objective import Gaussian
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


# ---- PyTorch --------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's own forward mode
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_torch_gradients_of_a_linear_operator(torch: Any, dtype: str, rng: np.random.Generator) -> None:
    A = dense(rng, (2, 3), (4, 2), dtype)
    f = as_torch(A)
    x = torch.from_numpy(rng.standard_normal((2, 3)).astype(dtype)).requires_grad_()
    np.testing.assert_array_equal(f(x).detach().numpy(), A(x.detach().numpy()))
    assert torch.autograd.gradcheck(f, x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda x: f(x).abs() ** 2, x)


def test_torch_hessian_of_least_squares(torch: Any, rng: np.random.Generator) -> None:
    A, data = dense(rng, (3,), (5,)), torch.from_numpy(rng.standard_normal(5))
    f = as_torch(A)
    hessian = torch.autograd.functional.hessian(
        lambda x: 0.5 * ((f(x) - data) ** 2).sum(), torch.zeros(3, dtype=torch.float64)
    )
    np.testing.assert_allclose(hessian.numpy(), A.matrix.T @ A.matrix, rtol=1e-12)


def test_torch_gradients_of_named_inputs(torch: Any, rng: np.random.Generator) -> None:
    A = Attenuated(rng.standard_normal((5, 4)))
    f = as_torch(A)
    x, depth = (torch.from_numpy(rng.standard_normal(n)).requires_grad_() for n in (4, 5))
    assert torch.autograd.gradcheck(lambda x, depth: f(x=x, depth=depth), (x, depth))
    assert torch.autograd.gradcheck(lambda depth: f(x=x.detach(), depth=depth), (depth,))
    (f(x=x, depth=depth) ** 2).sum().backward()
    _, g = A.residual_grad({"x": x.detach().numpy(), "depth": depth.detach().numpy()}, np.zeros(5))
    np.testing.assert_allclose(x.grad.numpy(), 2 * g["x"], rtol=1e-12)
    np.testing.assert_allclose(depth.grad.numpy(), 2 * g["depth"], rtol=1e-12)


def test_torch_gradients_of_named_outputs(torch: Any, rng: np.random.Generator) -> None:
    A = Stack({"a": dense(rng, (3,), (4,)), "b": dense(rng, (3,), (2, 2))})
    f, x = as_torch(A), torch.from_numpy(rng.standard_normal(3)).requires_grad_()
    result = f(x)
    assert list(result) == ["a", "b"] and result["b"].shape == (2, 2)
    assert torch.autograd.gradcheck(lambda x: tuple(f(x).values()), x)
    assert torch.autograd.gradcheck(lambda x: f(x)["b"], x), "an output that is not used has a zero cotangent"
    back = as_torch(A.T)
    a, b = (torch.from_numpy(rng.standard_normal(s)).requires_grad_() for s in (4, (2, 2)))
    assert torch.autograd.gradgradcheck(lambda a, b: back(a=a, b=b) ** 2, (a, b))


def test_torch_trains_through_an_operator(torch: Any, rng: np.random.Generator) -> None:
    A = dense(rng, (3,), (6,))
    data = torch.from_numpy(A(np.ones(3)))
    x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([x], max_iter=50, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimiser.zero_grad()
        loss = ((as_torch(A)(x) - data) ** 2).sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    np.testing.assert_allclose(x.detach().numpy(), 1, atol=1e-5)


def test_torch_tensors_of_any_strides(torch: Any, rng: np.random.Generator) -> None:
    A = dense(rng, (2, 3), (4,))
    x = torch.from_numpy(rng.standard_normal((3, 2))).T
    assert not x.is_contiguous()
    np.testing.assert_array_equal(as_torch(A)(x).numpy(), A(np.ascontiguousarray(x.numpy())))
    expanded = torch.ones(1, dtype=torch.float64).expand(4).requires_grad_()
    as_torch(A.T)(expanded).sum().backward()  # the cotangent of a sum has strides of zero


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda t: t.zeros(3), TypeError, "Dense of a tensor: expected dtype float64, got float32"),
        (lambda t: t.zeros(4, dtype=t.float64), ValueError, r"Dense of a tensor: expected shape \(3,\), got \(4,\)"),
    ],
)
def test_torch_errors_name_the_operator(
    torch: Any, make: Any, error: Any, message: str, rng: np.random.Generator
) -> None:
    with pytest.raises(error, match=message):
        as_torch(dense(rng, (3,), (5,)))(make(torch))


def test_torch_calls_are_checked(torch: Any, rng: np.random.Generator) -> None:
    x = torch.zeros(4, dtype=torch.float64)
    with pytest.raises(TypeError, match=r"Attenuated: expected tensors by the names \['x', 'depth'\], got \['x'\]"):
        as_torch(Attenuated(rng.standard_normal((5, 4))))(x=x)
    with pytest.raises(TypeError, match="Dense: expected one tensor, got 2"):
        as_torch(dense(rng, (4,), (5,)))(x, x)


def test_memory_is_shared_with_torch(torch: Any) -> None:
    class Same(LinearOperator):
        """Keeps what it is given, to compare addresses."""

        domain = range = Space((4,), "float64")

        def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
            self.given, self.made = x, 2 * x
            return self.made

    tensor, A = torch.arange(4, dtype=torch.float64), Same()
    result = as_torch(A)(tensor)
    assert A.given.ctypes.data == tensor.data_ptr() and A.made.ctypes.data == result.data_ptr()


def test_dlpack(torch: Any) -> None:
    array = np.arange(3.0)
    assert from_dlpack(array) is array
    tensor = torch.arange(3.0, requires_grad=True)
    assert from_dlpack(tensor).ctypes.data == tensor.data_ptr()
    conjugated = torch.tensor([1 + 2j]).conj()
    np.testing.assert_array_equal(from_dlpack(conjugated), [1 - 2j])
    with pytest.raises(TypeError, match="from_dlpack: expected an array or tensor with __dlpack__, got list"):
        from_dlpack([1.0])


def test_torch_on_the_gpu_stays_on_the_gpu(torch: Any, rng: np.random.Generator) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU that PyTorch can use")
    pytest.importorskip("cupy", reason="CuPy is not installed")
    A = dense(rng, (3,), (5,))
    x = torch.from_numpy(rng.standard_normal(3)).cuda().requires_grad_()
    f = as_torch(A)
    assert f(x).is_cuda and torch.autograd.gradcheck(f, x) and torch.autograd.gradgradcheck(lambda x: f(x) ** 2, x)
