"""The bridge to PyTorch: operators as differentiable functions of tensors, without copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tomodiff.core import LinearOperator, Operator
from tomodiff.interop.torch_ops import applied, names_of, tensors_of, torch_ops

if TYPE_CHECKING:
    import torch


def as_torch(A: Operator) -> Callable[..., Any]:
    """`A` as a function of tensors on the CPU or GPU, differentiable by torch.autograd.

    One tensor in and out, or for named inputs and outputs: tensors by keyword in, a dict out. Backward is the adjoint
    of the Jacobian. A linear operator is differentiable any number of times and forward (jvp) too; a non-linear one
    once. Tensors must have the dtype and shape that A takes; non-contiguous ones are made contiguous; torch.func.vmap
    takes the entries of a batch one by one through a linear operator, and refuses a non-linear one.  torch.compile sees
    the operators of `torch_ops`, which it does not look into; compiled, a non-linear operator is linearised again for
    its gradient.
    """
    inputs, outputs = names_of(A.domain), names_of(A.range)
    ops = torch_ops()
    number = ops.number(A)
    linear = isinstance(A, LinearOperator)
    eager = _transformable(A) if isinstance(A, LinearOperator) else _function(A)

    def call(*tensors: torch.Tensor, **named: torch.Tensor) -> Any:
        if inputs is not None and (tensors or set(named) != set(inputs)):
            raise TypeError(f"{type(A).__name__}: expected tensors by the names {inputs}, got {sorted(named)}")
        if inputs is None and (len(tensors) != 1 or named):
            raise TypeError(f"{type(A).__name__}: expected one tensor, got {len(tensors)} and names {sorted(named)}")
        given = list(tensors if inputs is None else (named[name] for name in inputs))
        if _compiling() or (linear and not _transformed()):
            made = ops.linear(given, number, False) if linear else ops.value(given, number)
            result = made[0] if outputs is None else made
        else:
            result = eager.apply(*given)
        return result if outputs is None else dict(zip(outputs, result, strict=True))

    call.operator = A  # type: ignore[attr-defined]  # the registry holds it no longer than somebody else does
    return call


def _compiling() -> bool:
    import torch

    return bool(torch.compiler.is_compiling())


def _transformed() -> bool:
    """Whether forward-mode gradients or a transform of torch.func are asked for, of which custom operators of several
    tensors know nothing."""
    import torch.autograd.forward_ad

    functorch = torch._C._functorch.peek_interpreter_stack()  # type: ignore[attr-defined]
    return functorch is not None or torch.autograd.forward_ad._current_level >= 0


def _transformable(A: LinearOperator) -> Any:
    """An autograd function for forward mode and the transforms of torch.func."""
    import torch

    class Linear(torch.autograd.Function):
        @staticmethod
        def forward(*tensors: Any) -> Any:
            return tensors_of(applied(A.forward, A.domain, tensors, f"{type(A).__name__} of a tensor"), A.range)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            """Nothing is saved: the Jacobian does not depend on the input."""

        @staticmethod
        def backward(ctx: Any, *cotangents: Any) -> Any:
            return _transformable(A.T).apply(*cotangents)

        @staticmethod
        def jvp(ctx: Any, *tangents: Any) -> Any:
            return _transformable(A).apply(*tangents)

        @staticmethod
        def vmap(info: Any, in_dims: Any, *tensors: Any) -> Any:
            def entry(i: int) -> Any:
                return _transformable(A).apply(
                    *(t if d is None else t.select(d, i) for t, d in zip(tensors, in_dims, strict=True))
                )

            entries = [entry(i) for i in range(info.batch_size)]
            if isinstance(entries[0], torch.Tensor):
                return torch.stack(entries), 0
            return tuple(torch.stack(group) for group in zip(*entries, strict=True)), (0,) * len(entries[0])

    return Linear


def _function(A: Operator) -> Any:
    import torch
    from torch.autograd.function import once_differentiable

    class NonLinear(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Any) -> Any:
            y, ctx.jacobian = applied(A.linearize, A.domain, tensors, f"{type(A).__name__} of a tensor")
            return tensors_of(y, A.range)

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, *cotangents: Any) -> Any:
            J = ctx.jacobian
            return tensors_of(applied(J.adjoint, A.range, cotangents, f"cotangent of {type(A).__name__}"), A.domain)

    return NonLinear
