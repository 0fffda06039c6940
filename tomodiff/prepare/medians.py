"""Medians by whole-array minima, maxima and sorts, which NumPy does with vector instructions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[Any]


def median_of(layers: Sequence[Reals]) -> Reals:
    """The median of arrays of one shape, place by place; of an even number the mean of the middle two.

    Of somewhat more than half of the values neither the least nor the largest can be the median: both are forgotten,
    the next value takes their place, until one or two are left.
    """
    start = min(len(layers), len(layers) // 2 + 2)
    pool, rest = [layer.copy() for layer in layers[:start]], list(layers[start:])
    spare = np.empty_like(pool[0])
    while len(pool) > 2:
        spare = _extremes_to_ends(pool, spare)
        pool = pool[1:-1]
        if rest:
            pool.append(rest.pop(0).copy())
    return pool[0] if len(pool) == 1 else (pool[0] + pool[1]) / 2


def last_axis_median(values: Reals) -> Reals:
    """The median over the last axis; where that is contiguous and short, faster than np.median."""
    n = values.shape[-1]
    ordered = np.sort(values, axis=-1)
    return np.asarray((ordered[..., (n - 1) // 2] + ordered[..., n // 2]) / 2)


def _extremes_to_ends(pool: list[Reals], spare: Reals) -> Reals:
    """Reorder the values of the arrays at each place: the least into the first array, the largest into the last.
    `spare` is an array to work in; returns the one to use next."""
    last = len(pool) - 1
    pairs = [(i, last - i) for i in range(len(pool) // 2)]
    pairs += [(0, i) for i in range(1, (last + 2) // 2)] + [(i, last) for i in range(last // 2 + last % 2, last)]
    for low, high in dict.fromkeys(pairs):
        if low == high:
            continue
        np.minimum(pool[low], pool[high], out=spare)
        np.maximum(pool[low], pool[high], out=pool[high])
        pool[low], spare = spare, pool[low]
    return spare
