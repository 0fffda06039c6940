"""Frames without sample or beam, averaged without the values that stand out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tomodiff.prepare.threads import each, row_blocks

Floats = NDArray[np.float64]

ENOUGH_FOR_REJECTION = 5
"""Reference frames from which on outliers among them are left out."""

OUTLIER = 6.0
"""Robust standard deviations from a pixel's median beyond which a reference frame's value is left out (zingers)."""

SAMPLED = 50_000
"""Pixels, about, from which the typical deviation is taken."""


def reference_frame(frames: NDArray[Any], threads: int = 1) -> Floats:
    """The mean (v, u) of reference frames (n, v, u); from 5 frames on without the values that stand out.

    A value stands out if it is more than 6 robust standard deviations from its pixel's median, with the deviation no
    smaller than the frame's typical one.  Where nothing stands out this is the mean, whose noise is less than the
    median's.  NaN where all values of a pixel are non-finite.
    """
    stack = np.asarray(frames)
    blocks, mean = row_blocks(stack.shape[1:]), np.empty(stack.shape[1:])
    typical = _typical_spread(stack) if len(stack) >= ENOUGH_FOR_REJECTION else np.inf

    def average(k: int) -> None:
        part, out = stack[:, blocks[k]], mean[blocks[k]]
        _mean(part, None, out)
        # within half of the limit of the mean, all are within the limit of the median
        with np.errstate(invalid="ignore"):
            apart = np.maximum(part.max(axis=0) - out, out - part.min(axis=0))
            doubtful = ~(apart < OUTLIER / 2 * typical)
        if np.isfinite(typical) and doubtful.any():
            values = part[:, doubtful]
            middle, spread = _robust(values)
            used = np.abs(values - middle) <= OUTLIER * np.maximum(spread, typical)
            corrected = np.empty(values.shape[1])
            _mean(values, used, corrected)
            out[doubtful] = corrected

    each(average, len(blocks), threads)
    return mean


def _typical_spread(stack: NDArray[Any]) -> float:
    """The median over pixels, a regular selection of them, of the robust standard deviation among frames."""
    pixels = stack.reshape(len(stack), -1)
    return float(np.median(_robust(pixels[:, :: max(1, pixels.shape[1] // SAMPLED)])[1]))


def _robust(values: NDArray[Any]) -> tuple[Floats, Floats]:
    """Median and robust standard deviation of each pixel (n, pixel) among frames; what is not finite counts as 0."""
    real = values.astype(np.float64)
    middle = np.median(np.where(np.isfinite(real), real, 0.0), axis=0)
    deviation = np.where(np.isfinite(real), np.abs(real - middle), 0.0)
    return middle, 1.4826 * np.median(deviation, axis=0)


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
