"""The bridge to PyTorch: gradients of all orders and modes, compiled functions, networks trained through projectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.toys import Attenuated, dense
from tomodiff.core import LinearOperator, Space, Stack
from tomodiff.geometry import Grid, ParallelBeam
from tomodiff.interop import as_torch
from tomodiff.interop.torch_ops import torch_ops
from tomodiff.projectors import XRay
from tomodiff.simulate.phantoms import rod


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own forward mode
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


def test_torch_on_the_gpu_stays_on_the_gpu(torch: Any, rng: np.random.Generator) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU that PyTorch can use")
    pytest.importorskip("cupy", reason="CuPy is not installed")
    A = dense(rng, (3,), (5,))
    x = torch.from_numpy(rng.standard_normal(3)).cuda().requires_grad_()
    f = as_torch(A)
    assert f(x).is_cuda and torch.autograd.gradcheck(f, x) and torch.autograd.gradgradcheck(lambda x: f(x) ** 2, x)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # read by opcheck itself
def test_the_operators_of_torch_are_well_formed(torch: Any, rng: np.random.Generator) -> None:
    """torch.library.opcheck: schema, fake tensors, autograd and tracing agree with what runs."""
    ops, A, B = torch_ops(), dense(rng, (3,), (4,)), Attenuated(rng.standard_normal((5, 4)))
    x = torch.from_numpy(rng.standard_normal(3)).requires_grad_()
    y = torch.from_numpy(rng.standard_normal(4)).requires_grad_()
    torch.library.opcheck(ops.linear, ([x], ops.number(A), False))
    torch.library.opcheck(ops.linear, ([y], ops.number(A), True))
    depth = torch.from_numpy(rng.standard_normal(5)).requires_grad_()
    torch.library.opcheck(ops.value, ([y, depth], ops.number(B)))
    g = torch.from_numpy(rng.standard_normal(5))
    torch.library.opcheck(ops.pull, ([y.detach(), depth.detach()], [g], ops.number(B)))


def test_numbers_live_as_long_as_operators(torch: Any, rng: np.random.Generator) -> None:
    ops, A = torch_ops(), dense(rng, (3,), (4,))
    assert ops.number(A) == ops.number(A) != ops.number(dense(rng, (3,), (4,)))
    f = as_torch(A)
    del A
    assert f(torch.zeros(3, dtype=torch.float64)).shape == (4,)


def test_compiled_functions(torch: Any, rng: np.random.Generator) -> None:
    """torch.compile takes a function with operators in it whole, and its gradients are the same."""
    A, B = dense(rng, (3,), (4,)), Attenuated(rng.standard_normal((5, 4)))
    f, g = as_torch(A), as_torch(B)

    def loss(x: Any, depth: Any) -> Any:
        return (g(x=torch.relu(f(x)), depth=depth) ** 2).sum()

    x, depth = (torch.from_numpy(rng.standard_normal(n)).requires_grad_() for n in (3, 5))
    plain = torch.autograd.grad(loss(x, depth), (x, depth))
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    made = torch.autograd.grad(compiled(x, depth), (x, depth))
    for a, b in zip(plain, made, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)


def test_batches_by_vmap(torch: Any, rng: np.random.Generator) -> None:
    A = dense(rng, (3,), (4,))
    x = torch.from_numpy(rng.standard_normal((5, 3)))
    np.testing.assert_allclose(torch.func.vmap(as_torch(A))(x).numpy(), x.numpy() @ A.matrix.T, rtol=1e-12)
    jacobian = torch.func.jacrev(as_torch(A))(x[0])
    np.testing.assert_allclose(jacobian.numpy(), A.matrix, rtol=1e-12)


def test_an_unrolled_network_is_trained_through_the_projector(torch: Any, rng: np.random.Generator) -> None:
    """Five steps of gradient descent with learned filters and steps (Adler and Oktem 2018, in small): trained on some
    objects, they reconstruct others better than as many steps without what was learned."""
    grid, scan = Grid((1, 24, 24)), ParallelBeam(np.linspace(0, np.pi, 12, endpoint=False), (1, 34), 1.0)
    A = XRay(grid, scan)
    forward, back = as_torch(A), as_torch(A.T)

    def example() -> tuple[Any, Any]:
        body = rod(*rng.uniform((6, 3), (9, 4)), 1.0, *rng.uniform(-2, 2, 2))
        body = body + rod(rng.uniform(1.5, 3), 4.0, rng.uniform(-0.8, 0.8), *rng.uniform(-3, 3, 2))
        data = body.project(scan, 2) + 0.3 * rng.standard_normal(A.range.shape)
        return torch.from_numpy(body.voxelise(grid).astype("float32")), torch.from_numpy(data.astype("float32"))

    class Unrolled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.steps = torch.nn.Parameter(torch.full((5,), 1e-3))
            self.filters = torch.nn.ModuleList(
                torch.nn.Sequential(
                    torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 1, 3, padding=1)
                )
                for _ in range(5)
            )
            for f in self.filters:
                torch.nn.init.zeros_(f[2].weight)
                torch.nn.init.zeros_(f[2].bias)

        def forward(self, data: Any) -> Any:
            x = torch.zeros(grid.shape)
            for step, f in zip(self.steps, self.filters, strict=True):
                x = x - step * back(forward(x) - data)
                x = x + f(x[None])[0]
            return x

    torch.manual_seed(1)
    network, training, others = Unrolled(), [example() for _ in range(12)], [example() for _ in range(6)]

    def error() -> float:
        with torch.no_grad():
            return float(sum(((network(d) - x) ** 2).mean() for x, d in others) / len(others))

    before = error()
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(25):
        for x, d in training:
            optimiser.zero_grad()
            ((network(d) - x) ** 2).mean().backward()
            optimiser.step()
    assert error() < 0.5 * before
