"""The bridge to PyTorch: operators as differentiable functions of tensors, without copies."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodiff.array import Array, tmap
from tomodiff.core import LinearOperator, Operator, Space, check_element

if TYPE_CHECKING:
    import torch


def from_dlpack(x: Any) -> Array:
    """A NumPy (host) or CuPy (GPU) array over the memory of `x`: a tensor of PyTorch, JAX, CuPy, ... or an array.

    Nothing is copied: writing into one writes into the other. TypeError for what has no __dlpack__.
    """
    loaded = sys.modules.get("cupy")
    if isinstance(x, np.ndarray) or (loaded is not None and isinstance(x, loaded.ndarray)):
        return x
    if not hasattr(x, "__dlpack__"):
        raise TypeError(f"from_dlpack: expected an array or tensor with __dlpack__, got {type(x).__name__}")
    if type(x).__module__.partition(".")[0] == "torch":
        x = x.detach().resolve_conj().resolve_neg()
    if x.__dlpack_device__()[0] in (1, 3):  # DLPack's kDLCPU and kDLCUDAHost
        return np.from_dlpack(x)
    import cupy

    return cupy.from_dlpack(x)


def as_torch(A: Operator) -> Callable[..., Any]:
    """`A` as a function of tensors on the CPU or GPU, differentiable by torch.autograd.

    One tensor in and out, or for named inputs and outputs: tensors by keyword in, a dict out. Backward is the adjoint
    of the Jacobian. A linear operator is differentiable any number of times and forward (jvp) too; a non-linear one
    once. Tensors must have the dtype and shape that A takes; non-contiguous ones are made contiguous.
    """
    function = _linear_function(A) if isinstance(A, LinearOperator) else _function(A)
    inputs, outputs = _names(A.domain), _names(A.range)

    def call(*tensors: torch.Tensor, **named: torch.Tensor) -> Any:
        if inputs is not None and (tensors or set(named) != set(inputs)):
            raise TypeError(f"{type(A).__name__}: expected tensors by the names {inputs}, got {sorted(named)}")
        if inputs is None and (len(tensors) != 1 or named):
            raise TypeError(f"{type(A).__name__}: expected one tensor, got {len(tensors)} and names {sorted(named)}")
        result = function.apply(*(tensors if inputs is None else (named[name] for name in inputs)))
        return result if outputs is None else dict(zip(outputs, result, strict=True))

    return call


def _names(space: Any) -> list[str] | None:
    return None if isinstance(space, Space) else list(space)


def _apply(map_: Callable[[Any], Any], space: Any, tensors: tuple[Any, ...], where: str) -> Any:
    """`map_` of tensors that make up an element of `space`, on the stream on which torch runs."""
    names = _names(space)
    for tensor, s in zip(tensors, [space] if names is None else space.values(), strict=True):
        check_element(s, _Described(tensor), where)
    with _stream_of(tensors[0]):
        arrays = [from_dlpack(t.contiguous()) for t in tensors]
        return map_(arrays[0] if names is None else dict(zip(names, arrays, strict=True)))


class _Described:
    """A tensor's shape and dtype in NumPy's words."""

    def __init__(self, tensor: Any) -> None:
        self.shape, self.ndim = tuple(tensor.shape), tensor.ndim
        self.dtype = np.dtype(str(tensor.dtype).removeprefix("torch."))


def _stream_of(tensor: Any) -> Any:
    """CuPy runs on the stream that torch is using now, so that no synchronisation is needed."""
    if not tensor.is_cuda:
        return nullcontext()
    import cupy
    import torch

    return cupy.cuda.ExternalStream(torch.cuda.current_stream(tensor.device).cuda_stream)


def _tensors(element: Any, space: Any) -> Any:
    """Tensors over the memory of an element: one, or a tuple in the order of the names."""
    import torch

    made = tmap(torch.from_dlpack, element)
    names = _names(space)
    return made if names is None else tuple(made[name] for name in names)


def _linear_function(A: LinearOperator) -> Any:
    """An autograd function whose backward is the autograd function of the adjoint, and so on without end."""
    import torch

    class Linear(torch.autograd.Function):
        @staticmethod
        def forward(*tensors: Any) -> Any:
            return _tensors(_apply(A.forward, A.domain, tensors, f"{type(A).__name__} of a tensor"), A.range)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            """Nothing is saved: the Jacobian does not depend on the input."""

        @staticmethod
        def backward(ctx: Any, *cotangents: Any) -> Any:
            return _linear_function(A.T).apply(*cotangents)

        @staticmethod
        def jvp(ctx: Any, *tangents: Any) -> Any:
            return _linear_function(A).apply(*tangents)

    return Linear


def _function(A: Operator) -> Any:
    import torch
    from torch.autograd.function import once_differentiable

    class NonLinear(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Any) -> Any:
            y, ctx.jacobian = _apply(A.linearize, A.domain, tensors, f"{type(A).__name__} of a tensor")
            return _tensors(y, A.range)

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, *cotangents: Any) -> Any:
            J = ctx.jacobian
            return _tensors(_apply(J.adjoint, A.range, cotangents, f"cotangent of {type(A).__name__}"), A.domain)

    return NonLinear
