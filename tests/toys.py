"""Operators small enough to be written out as matrices, for tests of what is built on operators."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from tomodiff.array import Array, Element, namespace
from tomodiff.core import Linear, LinearOperator, Operator, Space, check_element


class Dense(LinearOperator):
    """A matrix as an operator between arrays of any shape; its views are rows of the first axis of the range."""

    def __init__(self, matrix: np.ndarray, domain: tuple[int, ...], range: tuple[int, ...]) -> None:
        self.matrix = matrix
        self.domain, self.range = Space(domain, matrix.dtype.name), Space(range, matrix.dtype.name)

    def forward(self, x: Array, out: Array | None = None) -> Array:
        check_element(self.domain, x, "Dense.forward: x")
        return self._write(namespace(x).asarray(self.matrix) @ x.reshape(-1), self.range, out)

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        check_element(self.range, y, "Dense.adjoint: y")
        return self._write(namespace(y).asarray(self.matrix).conj().T @ y.reshape(-1), self.domain, out)

    @staticmethod
    def _write(value: Array, space: Space, out: Array | None) -> Array:
        if out is None:
            return value.reshape(space.shape)
        out[...] = value.reshape(space.shape)
        return out

    def __getitem__(self, views: Any) -> Dense:
        rows = np.arange(self.range.size).reshape(self.range.shape)[views]
        return Dense(self.matrix[rows.reshape(-1)], self.domain.shape, rows.shape)


def dense(rng: np.random.Generator, domain: tuple[int, ...], range: tuple[int, ...], dtype: str = "float64") -> Dense:
    """A random Dense operator, complex where the dtype is."""
    matrix = rng.standard_normal((int(np.prod(range)), int(np.prod(domain))))
    if np.dtype(dtype).kind == "c":
        matrix = matrix + 1j * rng.standard_normal(matrix.shape)
    return Dense(matrix.astype(dtype), domain, range)


def matrix_of(A: LinearOperator) -> np.ndarray:
    """A linear operator between arrays, written out."""
    units = np.eye(A.domain.size, dtype=A.domain.dtype).reshape(-1, *A.domain.shape)
    return np.stack([A.forward(np.ascontiguousarray(e)).reshape(-1) for e in units], axis=1)


class Attenuated(Operator):
    """{"x", "depth"} -> exp(-depth) * (M x): linear in x alone."""

    linear_in = frozenset({"x"})

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix = matrix
        n_out, n_in = matrix.shape
        self.domain, self.range = (
            {"x": Space((n_in,), "float64"), "depth": Space((n_out,), "float64")},
            Space((n_out,), "float64"),
        )

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        check_element(self.domain, x, "Attenuated: x")
        xp = namespace(x)
        M, left = xp.asarray(self.matrix), xp.exp(-x["depth"])
        y = left * (M @ x["x"])
        return y, Linear(
            self.domain,
            self.range,
            lambda d: left * (M @ d["x"]) - y * d["depth"],
            lambda g: {"x": M.T @ (left * g), "depth": -y * g},
        )


def subclasses(of: type, package: str) -> Iterator[type]:
    """The classes below `of` that are defined in `package`, at any depth."""
    children: list[type] = of.__subclasses__()
    for child in children:
        if child.__module__.startswith(package):
            yield child
        yield from subclasses(child, package)


def exact_slope(errors: list[float], floor: float = 1e-8) -> None:
    """What `check_gradient` found is a right derivative: at most 1e-6 off, and with every tenth of the step the error
    of the central difference falls a hundredfold, down to rounding."""
    assert min(errors) <= 1e-6, errors
    for large, small in itertools.pairwise(errors):
        assert small < large / 50 or small < floor, errors
