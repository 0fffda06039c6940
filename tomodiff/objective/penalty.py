"""Penalties without a stencil: squares, absolute values, lengths of groups, and singular values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tomodiff.array import Array, Element, inner, namespace, plain, tmap
from tomodiff.core import Functional
from tomodiff.core.curvature import Diagonal, Product
from tomodiff.objective.constraint import leaves


def like(step: Any, x: Element) -> Any:
    """A number as an element of numbers in the form of x; elements as they are."""
    if isinstance(x, Mapping) and not isinstance(step, Mapping):
        return {name: plain(step) for name in x}
    return tmap(plain, step)


def shrink(a: Array, step: Any) -> Array:
    """The entries with their modulus smaller by the step, or zero (soft threshold)."""
    if a.dtype.kind != "c":
        return a - a.clip(-step, step)
    return a * _share(abs(a), step)


def _share(modulus: Array, step: Any) -> Array:
    """(modulus - step) / modulus, 0 below."""
    return (modulus - step).clip(0, None) / namespace(modulus).where(modulus > 0, modulus, 1)


class L2(Functional):
    """1/2 |x - center|^2 (Tikhonov); `center` is None for zero, or an element."""

    separable = True

    def __init__(self, center: Element | None = None) -> None:
        self.center = center

    def value_and_grad(self, x: Element) -> tuple[float, Element]:
        gradient = tmap(lambda a: a.copy(), x) if self.center is None else tmap(lambda a, c: a - c, x, self.center)
        return 0.5 * inner(gradient, gradient), gradient

    def quadratic(self, x: Element) -> tuple[float, Element, Product]:
        return *self.value_and_grad(x), Diagonal(None, x)

    def prox(self, x: Element, step: Any) -> Element:
        steps = like(step, x)
        if self.center is None:
            return tmap(lambda a, s: a / (1 + s), x, steps)
        return tmap(lambda a, c, s: (a + s * c) / (1 + s), x, self.center, steps)


class L1(Functional):
    """sum |x|, of complex entries too; its prox shrinks the modulus by the step (soft threshold)."""

    separable = True

    def __call__(self, x: Element) -> float:
        return sum(float(abs(a).sum(dtype="float64")) for a in leaves(x))

    def prox(self, x: Element, step: Any) -> Element:
        return tmap(shrink, x, like(step, x))


class GroupL1(Functional):
    """sum over places of the length of the vector along `axes`: isotropic total variation of a gradient field, joint
    total variation of several channels, group sparsity.  With `eps` > 0 Huber's function of the length (differentiable,
    quadratic below eps): length^2 / (2 eps) within, length - eps / 2 beyond."""

    def __init__(self, axes: int | tuple[int, ...] = 0, eps: float = 0.0) -> None:
        if not eps >= 0:
            raise ValueError(f"GroupL1: eps: expected a number >= 0, got {eps}")
        self.axes, self.eps = axes, float(eps)

    def _length(self, x: Array) -> Array:
        return ((x * x.conj()).real.sum(self.axes, keepdims=True)) ** 0.5

    def __call__(self, x: Array) -> float:
        xp, length = namespace(x), self._length(x)
        if self.eps:
            near = length * length / (2 * self.eps)
            length = xp.where(length > self.eps, length - 0.5 * self.eps, near)
        return float(length.sum(dtype="float64"))

    def value_and_grad(self, x: Array) -> tuple[float, Array]:
        if not self.eps:
            return super().value_and_grad(x)
        return self(x), x / self._length(x).clip(self.eps, None)

    def quadratic(self, x: Array) -> tuple[float, Array, Product]:
        """The positive part of the curvature is that of the weighted squares which touch the lengths here."""
        value, gradient = self.value_and_grad(x)
        bend = 1 / self._length(x).clip(self.eps, None)
        return value, gradient, Diagonal(bend, x)

    def prox(self, x: Array, step: Any) -> Array:
        length, step = self._length(x), plain(step)
        if not self.eps:
            return x * _share(length, step)
        return x * (1 - step / namespace(x).maximum(length, self.eps + step))


class NuclearNorm(Functional):
    """The sum of the singular values of x as a matrix, its first axis (channels, times) against all others: low rank
    (Cai, Candes and Shen 2010).  From the eigenvalues of the small matrix x x': few channels, any number of voxels."""

    def _spectrum(self, x: Array) -> tuple[Array, Array]:
        """Left singular vectors and values."""
        xp, rows = namespace(x), x.reshape(x.shape[0], -1).astype("complex128" if x.dtype.kind == "c" else "float64")
        squares, vectors = xp.linalg.eigh(rows @ rows.conj().T)
        return vectors, squares.clip(0, None) ** 0.5

    def __call__(self, x: Array) -> float:
        return float(self._spectrum(x)[1].sum())

    def prox(self, x: Array, step: Any) -> Array:
        vectors, values = self._spectrum(x)
        mix = (vectors * _share(values, float(step))) @ vectors.conj().T
        return (mix.astype(x.dtype) @ x.reshape(x.shape[0], -1)).reshape(x.shape)
