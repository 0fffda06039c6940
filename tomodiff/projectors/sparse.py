"""Linear operators that are a sparse matrix: interpolation whose places stay."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.array import Array, namespace
from tomodiff.core import LinearOperator, Space, check_element
from tomodiff.core.operators import into


class Sparse(LinearOperator):
    """x -> matrix @ x, of the leading axes of x; those behind, as channels, are taken alike."""

    def __init__(self, matrix: Any, domain: tuple[int, ...], range: tuple[int, ...], dtype: str) -> None:
        self.domain, self.range = Space(domain, dtype), Space(range, dtype)
        self.matrix = matrix.tocsr().astype(dtype)

    def forward(self, x: Array, out: Array | None = None) -> Array:
        check_element(self.domain, x, f"{type(self).__name__}.forward: x")
        return into(out, self._product(self._on(x), x).reshape(self.range.shape))

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        check_element(self.range, y, f"{type(self).__name__}.adjoint: y")
        return into(out, self._product(self._on(y).T, y).reshape(self.domain.shape))

    def _product(self, matrix: Any, values: Array) -> Array:
        made: Array = matrix @ values.reshape(matrix.shape[1], -1)
        return made

    def _on(self, values: Array) -> Any:
        """The matrix where the values are."""
        if namespace(values) is np:
            return self.matrix
        from cupyx.scipy.sparse import csr_matrix

        return csr_matrix(self.matrix)


def bilinear(places: np.ndarray, shape: tuple[int, int], around: bool = False) -> Any:
    """The matrix (place, node) of bilinear interpolation at places (n, 2) in nodes (row, column), zero beyond them;
    around: the last column meets the first."""
    from scipy.sparse import coo_matrix

    first = np.floor(places).astype(int)
    part = places - first
    rows, columns, values = [], [], []
    for k, i in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = (part[:, 0] if k else 1 - part[:, 0]) * (part[:, 1] if i else 1 - part[:, 1])
        row, column = first[:, 0] + k, first[:, 1] + i
        column = column % shape[1] if around else column
        inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1]) & (weight != 0)
        rows.append(np.flatnonzero(inside))
        columns.append((row * shape[1] + column)[inside])
        values.append(weight[inside])
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return coo_matrix(entries, shape=(len(places), shape[0] * shape[1])).tocsr()
