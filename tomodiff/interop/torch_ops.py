"""Our operators as operators of PyTorch: three for all of them, told apart by a number."""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from tomodiff.array import tmap
from tomodiff.core import LinearOperator, Operator, Space, check_element
from tomodiff.extras import library
from tomodiff.interop.dlpack import from_dlpack

_OPERATORS: weakref.WeakValueDictionary[int, Operator] = weakref.WeakValueDictionary()
_NUMBERS = itertools.count()


class TorchOps:
    """`linear(tensors, number, transposed)`, `value(tensors, number)` and `pull(tensors, cotangents, number)`, the last
    the adjoint of the Jacobian: torch.library operators `tomodiff::...`, which torch.compile calls without looking
    into."""

    def __init__(self, linear: Any, value: Any, pull: Any) -> None:
        self.linear, self.value, self.pull = linear, value, pull

    @staticmethod
    def number(A: Operator) -> int:
        """The number of A, which holds as long as A does."""
        for number, known in _OPERATORS.items():
            if known is A:
                return number
        number = next(_NUMBERS)
        _OPERATORS[number] = A
        return number


@functools.cache
def torch_ops() -> TorchOps:
    """The operators, registered once.  ConfigError names the extra where PyTorch is missing."""
    torch = library("torch", "torch", "as_torch needs", "PyTorch")

    def made(map_: Callable[[Any], Any], given: Any, returned: Any, tensors: Sequence[Any], where: str) -> list[Any]:
        """Tensors of their own memory: a torch operator must not return what it was given."""
        result = tensors_of(applied(map_, given, tuple(tensors), where), returned)
        own = [result] if isinstance(returned, Space) else list(result)
        given_memory = {t.untyped_storage().data_ptr() for t in tensors}
        return [t.clone() if t.untyped_storage().data_ptr() in given_memory else t for t in own]

    def empty(space: Any, like: Any) -> list[Any]:
        spaces = [space] if isinstance(space, Space) else list(space.values())
        return [like.new_empty(s.shape, dtype=getattr(torch, s.dtype)) for s in spaces]

    def linear_of(number: int) -> LinearOperator:
        A = _OPERATORS[number]
        assert isinstance(A, LinearOperator)
        return A

    def linear(x: list[Any], number: int, transposed: bool) -> list[Any]:
        A = linear_of(number)
        map_, given, back = (A.adjoint, A.range, A.domain) if transposed else (A.forward, A.domain, A.range)
        return made(map_, given, back, x, f"{type(A).__name__} of a tensor")

    def value(x: list[Any], number: int) -> list[Any]:
        A = _OPERATORS[number]
        return made(A, A.domain, A.range, x, f"{type(A).__name__} of a tensor")

    def pull(x: list[Any], g: list[Any], number: int) -> list[Any]:
        A = _OPERATORS[number]
        J = applied(lambda e: A.linearize(e)[1], A.domain, tuple(x), f"{type(A).__name__} of a tensor")
        return made(J.adjoint, A.range, A.domain, g, f"cotangent of {type(A).__name__}")

    def op(name: str, schema: str, f: Any, fake: Any) -> Any:
        defined = torch.library.custom_op(f"tomodiff::{name}", f, mutates_args=(), schema=schema)
        defined.register_fake(fake)
        return defined

    linear_op = op(
        "linear", "(Tensor[] x, int number, bool transposed) -> Tensor[]", linear,
        lambda x, number, transposed: empty(
            _OPERATORS[number].domain if transposed else _OPERATORS[number].range, x[0]
        ),
    )  # fmt: skip
    value_op = op(
        "value", "(Tensor[] x, int number) -> Tensor[]", value, lambda x, number: empty(_OPERATORS[number].range, x[0])
    )
    pull_op = op(
        "pull", "(Tensor[] x, Tensor[] g, int number) -> Tensor[]", pull,
        lambda x, g, number: empty(_OPERATORS[number].domain, x[0]),
    )  # fmt: skip

    def remember_linear(ctx: Any, inputs: Any, output: Any) -> None:
        _, ctx.number, ctx.transposed = inputs

    def linear_backward(ctx: Any, g: Any) -> Any:
        return linear_op(filled(ctx.number, g, ctx.transposed), ctx.number, not ctx.transposed), None, None

    def filled(number: int, g: Sequence[Any], transposed: bool = False) -> list[Any]:
        """Cotangents, zero where an output was not used."""
        A = _OPERATORS[number]
        like = next(t for t in g if t is not None)
        zeros = empty(A.domain if transposed else A.range, like)
        return [z.zero_() if t is None else t for t, z in zip(g, zeros, strict=True)]

    def remember(ctx: Any, inputs: Any, output: Any) -> None:
        x, ctx.number = inputs
        ctx.save_for_backward(*x)

    def value_backward(ctx: Any, g: Any) -> Any:
        return pull_op(list(ctx.saved_tensors), filled(ctx.number, g), ctx.number), None

    linear_op.register_autograd(linear_backward, setup_context=remember_linear)
    value_op.register_autograd(value_backward, setup_context=remember)
    return TorchOps(linear_op, value_op, pull_op)


def names_of(space: Any) -> list[str] | None:
    """The names of a space of several arrays, None for one array."""
    return None if isinstance(space, Space) else list(space)


def applied(map_: Callable[[Any], Any], space: Any, tensors: tuple[Any, ...], where: str) -> Any:
    """`map_` of tensors that make up an element of `space`, on the stream on which torch runs."""
    names = names_of(space)
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


def tensors_of(element: Any, space: Any) -> Any:
    """Tensors over the memory of an element: one, or a tuple in the order of the names."""
    import torch

    made = tmap(torch.from_dlpack, element)
    names = names_of(space)
    return made if names is None else tuple(made[name] for name in names)
