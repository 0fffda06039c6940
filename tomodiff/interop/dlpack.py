"""Arrays of other libraries: the same memory as ours, and results of the kind that was given."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tomodiff.array import Array


def from_dlpack(x: Any) -> Array:
    """A NumPy (host) or CuPy (GPU) array over the memory of `x`: a tensor of PyTorch, JAX, CuPy, ... or an array.

    Nothing is copied: writing into one writes into the other. TypeError for what has no __dlpack__.
    """
    loaded = sys.modules.get("cupy")
    if isinstance(x, np.ndarray) or (loaded is not None and isinstance(x, loaded.ndarray)):
        return x
    if not hasattr(x, "__dlpack__"):
        raise TypeError(f"from_dlpack: expected an array or tensor with __dlpack__, got {type(x).__name__}")
    if _library(x) == "torch":
        x = x.detach().resolve_conj().resolve_neg()
    if x.__dlpack_device__()[0] in (1, 3):  # DLPack's kDLCPU and kDLCUDAHost
        return np.from_dlpack(x)
    import cupy

    return cupy.from_dlpack(x)


def any_kind(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f` of NumPy or CuPy arrays as a function of whatever speaks DLPack, which returns arrays of the kind given.

    Arrays among the arguments, and in dicts among them, become NumPy or CuPy arrays over the same memory; arrays among
    the results (one, or a dict, list or tuple of them) become what the first array given was: tensors of PyTorch,
    arrays of JAX, of any library of the array API standard.  For operators and for whole reconstructions; no gradients
    (see `as_torch`, `as_jax`).  With none of theirs among the arguments, `f` as it is.
    """

    @functools.wraps(f, updated=())
    def called(*args: Any, **named: Any) -> Any:
        first = next((a for a in _leaves([args, named]) if _foreign(a)), None)
        if first is None:
            return f(*args, **named)
        made = f(*_mapped(_own, args), **_mapped(_own, named))
        return _mapped(lambda a: _as(first, a) if _array(a) else a, made)

    return called


def _library(x: Any) -> str:
    return type(x).__module__.partition(".")[0]


def _array(x: Any) -> bool:
    return isinstance(x, np.ndarray) or (_library(x) == "cupy" and hasattr(x, "__dlpack__"))


def _foreign(x: Any) -> bool:
    return hasattr(x, "__dlpack__") and not _array(x) and not isinstance(x, np.generic)


def _own(x: Any) -> Any:
    return from_dlpack(x) if _foreign(x) else x


def _as(like: Any, made: Array) -> Any:
    """An array of ours as one of the library of `like`."""
    if isinstance(made, np.ndarray) and not made.flags.writeable:
        made = made.copy()  # DLPack hands out no memory that is only to be read
    if _library(like) == "torch":
        import torch

        return torch.from_dlpack(made)
    return like.__array_namespace__().from_dlpack(made)


def _leaves(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        tree = tree.values()
    elif not isinstance(tree, list | tuple):
        yield tree
        return
    for branch in tree:
        yield from _leaves(branch)


def _mapped(f: Callable[[Any], Any], tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {name: _mapped(f, branch) for name, branch in tree.items()}
    if isinstance(tree, list | tuple) and not hasattr(tree, "_fields"):
        return type(tree)(_mapped(f, branch) for branch in tree)
    return f(tree)
