"""Work on views or rows, shared out over threads: NumPy lets go of the interpreter while it computes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 1 << 18
"""Bytes of float32 that are worked on at a time, so that what one step leaves is still in the cache for the next."""


def each(work: Callable[[int], None], count: int, threads: int) -> None:
    """work(0) ... work(count - 1), in threads; the first error is raised."""
    if threads <= 1:
        for i in range(count):
            work(i)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, range(count)):
            pass


def written_to(data: NDArray[Any], reuse: bool) -> NDArray[np.float32]:
    """An array of float32 of the data's shape for a step's result: the data's own where it may be written over."""
    if reuse and data.dtype == np.float32 and data.flags.writeable:
        return data
    return np.empty(data.shape, np.float32)


def row_blocks(shape: tuple[int, ...]) -> list[slice]:
    """Runs of rows of an image (v, u) that fit into the cache."""
    rows = max(1, BLOCK_BYTES // (4 * shape[1]))
    return [slice(int(a), min(int(a) + rows, shape[0])) for a in np.arange(0, shape[0], rows)]
