"""Frames without sample or beam, averaged without the values that stand out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tomodiff.prepare.medians import median_of
from tomodiff.prepare.threads import each, row_blocks

Floats = NDArray[np.float64]

ENOUGH_FOR_REJECTION = 5
"""Reference frames from which on outliers among them are left out."""

OUTLIER = 6.0
"""Robust standard deviations from a pixel's median beyond which a reference frame's value is left out (zingers)."""


def reference_frame(frames: NDArray[Any], threads: int = 1) -> Floats:
    """The mean (v, u) of reference frames (n, v, u); from 5 frames on without the values that stand out.

    A value stands out if it is more than 6 robust standard deviations from its pixel's median, with the deviation no
    smaller than the frame's typical one.  Where nothing stands out this is the mean, whose noise is less than the
    median's.  NaN where all values of a pixel are non-finite.
    """
    stack = np.asarray(frames)
    blocks, mean = row_blocks(stack.shape[1:]), np.empty(stack.shape[1:])
    if len(stack) < ENOUGH_FOR_REJECTION:
        each(lambda k: _mean(stack[:, blocks[k]], None, mean[blocks[k]]), len(blocks), threads)
        return mean
    middle, spread = np.empty(stack.shape[1:]), np.empty(stack.shape[1:])

    def statistics(k: int) -> None:
        part = _reals(stack[:, blocks[k]])
        here = median_of(list(np.nan_to_num(part, nan=0.0, posinf=0.0, neginf=0.0)))
        deviation = np.nan_to_num(np.abs(part - here), nan=0.0, posinf=0.0)
        middle[blocks[k]], spread[blocks[k]] = here, 1.4826 * median_of(list(deviation))

    each(statistics, len(blocks), threads)
    reach = OUTLIER * np.maximum(spread, np.median(spread))

    def average(k: int) -> None:
        part = stack[:, blocks[k]]
        _mean(part, np.abs(part - middle[blocks[k]]) <= reach[blocks[k]], mean[blocks[k]])

    each(average, len(blocks), threads)
    return mean


def _mean(stack: NDArray[Any], used: NDArray[np.bool_] | None, out: Floats) -> None:
    """The mean over the frames of the finite values that are used, NaN where there are none."""
    if stack.dtype.kind == "f":
        finite = np.isfinite(stack)
        used = finite if used is None else finite & used
    if used is None:
        stack.mean(axis=0, dtype=np.float64, out=out)
        return
    count = used.sum(axis=0)
    total = np.where(used, stack, stack.dtype.type(0)).sum(axis=0, dtype=np.float64)
    np.divide(total, count, out=out, where=count > 0)
    out[count == 0] = np.nan


def _reals(stack: NDArray[Any]) -> NDArray[Any]:
    """As floating-point numbers that hold the frames' own exactly."""
    return stack.astype(np.float32 if stack.dtype.itemsize <= 2 or stack.dtype == np.float32 else np.float64)
