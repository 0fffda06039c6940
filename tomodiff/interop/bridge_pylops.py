"""The bridges to PyLops and PyProximal: operators and proximal maps of either side in algorithms of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tomodiff.array import Array
from tomodiff.core import Functional, LinearOperator, Space, check_element
from tomodiff.core.operators import into
from tomodiff.extras import library
from tomodiff.interop.bridge_scipy import as_scipy

if TYPE_CHECKING:
    import pylops
    from pyproximal import ProxOperator


def as_pylops(A: LinearOperator) -> pylops.LinearOperator:
    """`A` as a pylops.LinearOperator on flattened NumPy arrays, with the shapes of A as `dims` and `dimsd`."""
    pylops = library("pylops", "pylops", "this bridge needs")
    made = pylops.LinearOperator(as_scipy(A), dims=A.domain.shape, dimsd=A.range.shape)
    made.name = type(A).__name__
    return made


class FromPylops(LinearOperator):
    """A pylops.LinearOperator as one of ours, from arrays of its `dims` to arrays of its `dimsd`."""

    def __init__(self, operator: pylops.LinearOperator) -> None:
        self.operator = operator
        self.domain = Space(tuple(operator.dims), operator.dtype)
        self.range = Space(tuple(operator.dimsd), operator.dtype)

    def forward(self, x: Array, out: Array | None = None) -> Array:
        check_element(self.domain, x, f"{type(self.operator).__name__}.forward: x")
        return into(out, _shaped(self.operator.matvec(x.reshape(-1)), self.range))

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        check_element(self.range, y, f"{type(self.operator).__name__}.adjoint: y")
        return into(out, _shaped(self.operator.rmatvec(y.reshape(-1)), self.domain))


def _shaped(flat: Array, space: Space) -> Array:
    """A copy, since some operators return what they were given."""
    made: Array = flat.reshape(space.shape).astype(space.dtype)
    return made


def as_pyproximal(f: Functional, space: Space) -> ProxOperator:
    """`f`, of arrays in `space`, as a pyproximal.ProxOperator of flattened arrays: its value, and its prox and gradient
    where it has them."""
    pyproximal = library("pyproximal", "pylops", "this bridge needs")
    smooth = type(f).value_and_grad is not Functional.value_and_grad

    def shaped(x: Array) -> Array:
        return x.reshape(space.shape).astype(space.dtype, copy=False)

    class Proximal(pyproximal.ProxOperator):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(None, smooth)

        def __call__(self, x: Array) -> float:
            return float(f(shaped(x)))

        def prox(self, x: Array, tau: float, **_: Any) -> Array:
            return f.prox(shaped(x), tau).reshape(-1)

        def grad(self, x: Array) -> Array:
            return f.value_and_grad(shaped(x))[1].reshape(-1) if smooth else super().grad(x)

    return Proximal()


class FromPyproximal(Functional):
    """A pyproximal.ProxOperator as a functional with its value and prox, and its gradient where `hasgrad` says so."""

    def __init__(self, operator: ProxOperator) -> None:
        self.operator = operator

    def __call__(self, x: Array) -> float:
        value = self.operator(x.reshape(-1))
        return (0.0 if value else float("inf")) if isinstance(value, bool | np.bool_) else float(value)  # a constraint

    def value_and_grad(self, x: Array) -> tuple[float, Array]:
        if not self.operator.hasgrad:
            return super().value_and_grad(x)
        return self(x), self.operator.grad(x.reshape(-1)).reshape(x.shape).astype(x.dtype)

    def prox(self, x: Array, step: Any) -> Array:
        return self.operator.prox(x.reshape(-1), step).reshape(x.shape).astype(x.dtype)
