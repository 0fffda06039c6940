"""Textures: values at places between the pixels of a picture that is wrapped around a body, and their exact
transpose."""

from __future__ import annotations

import numpy as np

from tomodiff.projectors.sparse import Sparse, bilinear


class Texture(Sparse):
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
        at = places * shape - 0.5
        for axis in (0,) if around else (0, 1):
            at[:, axis] = at[:, axis].clip(0, shape[axis] - 1)
        super().__init__(bilinear(at, shape, around), (*shape, channels), (len(places), channels), dtype)

    @property
    def weight(self) -> np.ndarray:
        """(row, column) what each pixel counts in all places."""
        made: np.ndarray = np.asarray(self.matrix.sum(axis=0)).reshape(self.domain.shape[:2])
        return made
