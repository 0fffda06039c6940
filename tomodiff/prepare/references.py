"""Frames without sample or beam, averaged without the values that stand out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ENOUGH_FOR_REJECTION = 5
"""Reference frames from which on outliers among them are left out."""

OUTLIER = 6.0
"""Robust standard deviations from a pixel's median beyond which a reference frame's value is left out (zingers)."""


def reference_frame(frames: NDArray[Any]) -> Floats:
    """The mean (v, u) of reference frames (n, v, u); from 5 frames on without the values that stand out.

    A value stands out if it is more than 6 robust standard deviations from its pixel's median, with the deviation no
    smaller than the frame's typical one.  Where nothing stands out this is the mean, whose noise is less than the
    median's.  NaN where all values of a pixel are non-finite.
    """
    stack = np.asarray(frames, dtype=np.float64)
    used = np.isfinite(stack)
    if len(stack) >= ENOUGH_FOR_REJECTION:
        middle = np.median(np.where(used, stack, 0.0), axis=0)
        used &= np.abs(stack - middle) <= OUTLIER * _spread(stack, middle)
    count = used.sum(axis=0)
    total = np.where(used, stack, 0.0).sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


def _spread(stack: Floats, middle: Floats) -> Floats:
    """Robust standard deviation of each pixel among frames, at least that of the typical pixel."""
    deviation = np.where(np.isfinite(stack), np.abs(stack - middle), 0.0)
    own = 1.4826 * np.median(deviation, axis=0)
    return np.asarray(np.maximum(own, np.median(own)))
