"""Textures: values at places between the pixels of a picture that is wrapped around a body, and their exact
transpose."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.array import Array, namespace
from tomodiff.core import LinearOperator, Space, check_element
from tomodiff.core.operators import into


class Texture(LinearOperator):
    """Texture (row, column, channel) -> values (n, channel) at places (n, 2), bilinear between the middles of pixels.

    places (row, column), from 0 to 1 across the texture, whose first pixel's middle is half a pixel inside.  around:
    the last column meets the first, as longitudes do; else, and for rows, what is beyond the middle of the outermost
    pixel has its value.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        places: np.ndarray,
        channels: int = 1,
        around: bool = False,
        dtype: str = "float32",
    ) -> None:
        places = np.asarray(places, np.float64)
        if len(shape) != 2 or min(shape) < 2 or places.ndim != 2 or places.shape[1] != 2:
            raise ValueError(
                f"Texture: expected two sizes of at least 2, and places (n, 2), got {shape}, {places.shape}"
            )
        if not np.isfinite(places).all():
            raise ValueError("Texture: places: expected finite numbers")
        self.domain, self.range = Space((*shape, channels), dtype), Space((len(places), channels), dtype)
        self._matrix = _bilinear(shape, places, around).astype(dtype)

    @property
    def weight(self) -> np.ndarray:
        """(row, column) what each pixel counts in all places."""
        made: np.ndarray = np.asarray(self._matrix.sum(axis=0)).reshape(self.domain.shape[:2])
        return made

    def forward(self, x: Array, out: Array | None = None) -> Array:
        check_element(self.domain, x, "Texture.forward: x")
        return into(out, self._on(x) @ x.reshape(-1, x.shape[2]))

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        check_element(self.range, y, "Texture.adjoint: y")
        return into(out, (self._on(y).T @ y).reshape(self.domain.shape))

    def _on(self, values: Array) -> Any:
        """The matrix where the values are."""
        if namespace(values) is np:
            return self._matrix
        from cupyx.scipy.sparse import csr_matrix

        return csr_matrix(self._matrix)


def _bilinear(shape: tuple[int, int], places: np.ndarray, around: bool) -> Any:
    """The matrix (place, pixel)."""
    from scipy.sparse import coo_matrix

    at = places * shape - 0.5
    at[:, 0] = at[:, 0].clip(0, shape[0] - 1)
    if not around:
        at[:, 1] = at[:, 1].clip(0, shape[1] - 1)
    first = np.floor(at).astype(int)
    first[:, 0] = first[:, 0].clip(0, shape[0] - 2)
    if not around:
        first[:, 1] = first[:, 1].clip(0, shape[1] - 2)
    part = at - first
    rows, columns, values = [], [], []
    for k, i in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = (part[:, 0] if k else 1 - part[:, 0]) * (part[:, 1] if i else 1 - part[:, 1])
        rows.append(np.arange(len(places)))
        columns.append((first[:, 0] + k) * shape[1] + (first[:, 1] + i) % shape[1])
        values.append(weight)
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return coo_matrix(entries, shape=(len(places), shape[0] * shape[1])).tocsr()
