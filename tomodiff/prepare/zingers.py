"""Zingers: pixels that are far too bright in one view, where scattered or cosmic photons hit the sensor itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tomodiff.prepare.medians import median_of
from tomodiff.prepare.record import expect_kind, record
from tomodiff.prepare.threads import each
from tomodiff.result import Dataset

SIGMAS, LEAST = 8.0, 0.05
"""A zinger is brighter than its surroundings by this many robust standard deviations, and by this transmission."""

TOO_MANY = 1e-3
"""Share of values beyond which bright ones are more likely to be the sample's, or noise."""


def remove_zingers(dataset: Dataset, threads: int = 1) -> Dataset:
    """Transmissions (view, v, u) in which values that stand out as bright give way to the median around them.

    A value must stand out from both the 3 x 3 pixels around it and the views before and after: sharp edges do not
    in both ways.  Dark values are left alone.
    """
    expect_kind(dataset, "remove_zingers", "transmission")
    data = dataset.data
    result = np.array(data, np.float32)
    found = np.zeros(len(data), int)

    def view(i: int) -> None:
        around = _median_around(data[i])
        excess = data[i] - around
        # the noise of a bright pixel: the median of the size of what differs from the surroundings
        sigma = 1.4826 * float(np.median(np.abs(excess[:: 1 + excess.shape[0] // 64])))
        bright = excess > max(SIGMAS * sigma, LEAST)
        if bright.any():
            for other in (i - 1, i + 1):
                if 0 <= other < len(data):
                    bright &= data[i] - data[other] > max(SIGMAS * sigma, LEAST)
            result[i][bright] = around[bright]
            found[i] = bright.sum()

    each(view, len(data), threads)
    total = int(found.sum())
    share = total / max(1, data.size)
    warnings = [f"{share:.2%} of all values stand out as zingers: more than one expects"] if share > TOO_MANY else []
    numbers = {"zingers": total, "views_with_zingers": int(np.count_nonzero(found))}
    return record(dataset.replace(data=result), "remove_zingers", f"{total} values replaced", numbers, warnings)


def _median_around(image: NDArray[Any]) -> NDArray[Any]:
    """The median of 3 x 3 pixels; at the rim the outermost pixels count twice."""
    wide = np.pad(image, 1, mode="edge")
    nv, nu = image.shape
    return median_of([wide[a : a + nv, b : b + nu] for a in range(3) for b in range(3)])
