"""Arrays of NumPy and CuPy alike: the module they belong to, leaf-wise maps, inner products.

An *element* is one array or a flat dict of named arrays.  Inner products are the plain real part of
<a, b>, accumulated in double precision whatever the arrays hold.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from types import ModuleType
from typing import Any

import numpy as np

Array = Any
"""A numpy.ndarray or cupy.ndarray."""

Element = Any
"""An Array, or a flat mapping of names to Arrays."""


class Parts(dict[str, Any]):
    """An element in parts that belong together, such as those that several processes hold: what is made of its parts is
    of its kind, and sums over its parts are completed by it."""

    def made_of(self, parts: Iterable[tuple[str, Any]]) -> Parts:
        """An element of this kind from other parts of the same names."""
        raise NotImplementedError

    def total(self, value: float) -> float:
        """The sum over all parts, from that over those that are at hand."""
        raise NotImplementedError


def namespace(x: Element) -> ModuleType:
    """The array module, numpy or cupy, that `x` (an array or a dict of arrays) belongs to."""
    leaf = next(iter(x.values())) if isinstance(x, Mapping) else x
    if isinstance(leaf, np.ndarray | np.generic):
        return np
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(leaf, cupy.ndarray):
        return cupy
    raise TypeError(f"expected a NumPy or CuPy array, got {type(leaf).__module__}.{type(leaf).__name__}")


def tmap(f: Callable[..., Any], *elements: Element) -> Element:
    """Apply `f` leaf by leaf to elements of one structure."""
    first = elements[0]
    if isinstance(first, Mapping):
        made = ((name, f(*(e[name] for e in elements))) for name in first)
        return first.made_of(made) if isinstance(first, Parts) else dict(made)
    return f(*elements)


def summed(a: Element, terms: Iterable[float]) -> float:
    """The sum of one number for each named array of `a`."""
    value = sum(terms)
    return a.total(value) if isinstance(a, Parts) else value


def zeros_like(x: Element) -> Element:
    """The zero of the space of x."""
    return tmap(lambda a: namespace(a).zeros_like(a), x)


def inner(a: Element, b: Element) -> float:
    """The real inner product Re<a, b>, summed in double precision."""
    if isinstance(a, Mapping):
        return summed(a, (inner(a[name], b[name]) for name in a))
    xp = namespace(a)
    a, b = a.reshape(-1), b.reshape(-1)
    total, block = 0.0, block_of(xp)
    wide = xp.complex128 if a.dtype.kind == "c" or b.dtype.kind == "c" else xp.float64
    for start in range(0, a.size, block):
        p, q = a[start : start + block].astype(wide, copy=False), b[start : start + block].astype(wide, copy=False)
        total += float(xp.vdot(p, q).real) if xp is np else float((p.conj() * q).sum().real)
    return total


def block_of(xp: ModuleType) -> int:
    """How many entries are taken at once, so that temporaries in double precision are small: on a CPU they stay in its
    cache, on a GPU launches are few."""
    return 1 << 16 if xp is np else 1 << 22


def norm(a: Element) -> float:
    """The Euclidean norm of an element."""
    return inner(a, a) ** 0.5


def plain(value: Any) -> Any:
    """Numbers as Python's, since a NumPy double would widen float32 arrays; all else as it is."""
    return float(value) if isinstance(value, Real) else value


def to_numpy(x: Array) -> np.ndarray:
    """`x` in host memory: itself if it is a NumPy array, else a copy."""
    return x if isinstance(x, np.ndarray) else x.get()


def fft_of(xp: ModuleType) -> ModuleType:
    """The Fourier transforms for arrays of `xp`, which keep single precision: scipy.fft or cupyx.scipy.fft."""
    if xp is np:
        import scipy.fft

        return scipy.fft
    import cupyx.scipy.fft

    return cupyx.scipy.fft


def block_mean(values: Array, factor: int | Sequence[int], axes: Sequence[int] = (-2, -1), dtype: Any = None) -> Array:
    """Means over blocks of `factor` entries along some axes, taken in `dtype`; what does not fill a block at their end
    is left out."""
    factors = [factor] * len(axes) if isinstance(factor, int) else list(factor)
    wanted = {axis % values.ndim: n for axis, n in zip(axes, factors, strict=True)}
    whole, shape, inner = [slice(None)] * values.ndim, [], []
    for axis, size in enumerate(values.shape):
        shape.append(size)
        if axis in wanted:
            n = wanted[axis]
            whole[axis], shape[-1:] = slice(size // n * n), [size // n, n]
            inner.append(len(shape) - 1)
    return values[tuple(whole)].reshape(shape).mean(axis=tuple(inner), dtype=dtype)
