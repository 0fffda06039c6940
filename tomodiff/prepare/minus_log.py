"""Beer-Lambert: from transmission to line integrals of the attenuation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tomodiff.errors import ConfigError, DataError
from tomodiff.prepare.record import expect_kind, record, source
from tomodiff.prepare.threads import each, row_blocks, written_to
from tomodiff.result import Dataset

LOWEST_FLOOR, HIGHEST_FLOOR = 1e-5, 0.02
"""Limits of the automatic floor: -log gives 11.5 and 3.9."""
MOST_VIEWS = 64
"""Views of a long scan, evenly over it, from whose rows the noise is sampled."""


def noise_floor(transmission: NDArray[Any], sample: int = 400_000) -> float:
    """The standard deviation of the noise where the sample is darkest: below it a transmission says nothing more.

    From differences of neighbouring columns in the darkest hundredth of a regular sample of the data (MAD, robust),
    held between 1e-5 and 0.02.
    """
    if transmission.shape[2] < 2:
        return LOWEST_FLOOR
    stride = max(1, transmission.size // sample)
    of_views = min(stride, max(1, len(transmission) // MOST_VIEWS))
    views = transmission[::of_views, :: min(transmission.shape[1], stride // of_views)]
    left, right = views[:, :, :-1].ravel(), views[:, :, 1:].ravel()
    level = 0.5 * (left.astype(np.float64) + right)
    level = np.where(np.isfinite(level), level, np.inf)
    darkest = np.argpartition(level, max(0, level.size // 100 - 1))[: max(10, level.size // 100)]
    difference = np.subtract(left[darkest], right[darkest], dtype=np.float64)
    difference = difference[np.isfinite(difference)]
    if difference.size == 0:
        return LOWEST_FLOOR
    sigma = 1.4826 * float(np.median(np.abs(difference - np.median(difference)))) / np.sqrt(2)
    return float(np.clip(sigma, LOWEST_FLOOR, HIGHEST_FLOOR))


def line_integrals(
    transmission: NDArray[Any], floor: float, threads: int = 1, reuse: bool = False
) -> tuple[NDArray[np.float32], int]:
    """-log of the transmission as float32 and how many values were raised to `floor`; NaN stays NaN."""
    result = written_to(transmission, reuse)
    clipped = np.zeros(len(transmission), np.int64)
    least, blocks = np.float32(floor), row_blocks(transmission.shape[1:])

    def view(i: int) -> None:
        for rows in blocks:
            image, made = transmission[i, rows], result[i, rows]
            clipped[i] += np.count_nonzero(image <= floor)
            np.maximum(image, least, out=made, casting="same_kind")
            np.log(made, out=made)
            np.negative(made, out=made)

    each(view, len(transmission), threads)
    return result, int(clipped.sum())


def minus_log(dataset: Dataset, floor: float | None = None, threads: int = 1, reuse: bool = False) -> Dataset:
    """The line integrals (kind "line_integrals", float32) of a scan of transmissions.

    Values at or below `floor` are taken as the floor, and counted; None takes the noise where the sample is darkest
    (`noise_floor`).  Values above 1, negative line integrals, are noise of the air and stay.  DataError if values are
    not finite: repair_pixels comes first.  reuse: the result may take the place of the dataset's data in memory.
    """
    expect_kind(dataset, "minus_log", "transmission")
    if floor is not None and not 0 < floor < 1:
        raise ConfigError(f"floor: expected a transmission between 0 and 1, got {floor}")
    data = dataset.data
    bad, negative = np.zeros(len(data), np.int64), np.zeros(len(data), np.int64)

    def view(i: int) -> None:
        bad[i] = data[i].size - np.count_nonzero(np.isfinite(data[i]))
        negative[i] = np.count_nonzero(data[i] < 0)

    each(view, len(data), threads)
    if bad.any():
        raise DataError(
            source(dataset),
            "transmission",
            "finite values",
            f"{bad.sum()} others",
            "Run repair_pixels first (--dead-pixels auto)",
        )
    level = noise_floor(dataset.data) if floor is None else floor
    data, clipped = line_integrals(dataset.data, level, threads, reuse)
    numbers = {
        "floor": level,
        "clipped_values": clipped,
        "negative_values": int(negative.sum()),
        "largest": float(data.max()),
    }
    share = clipped / dataset.data.size
    warnings = [f"{clipped} values ({share:.2%}) at or below the floor of {level:.2g}"] if share > 1e-3 else []
    line = f"-log of the transmission, {clipped} values raised to {level:.3g}"
    return record(dataset.replace(data=data, kind="line_integrals"), "minus_log", line, numbers, warnings)
