"""Flat and dark field correction: from detector counts to the transmission of the sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tomodiff.errors import DataError
from tomodiff.prepare.record import expect_kind, record, source
from tomodiff.result import Dataset

Floats = NDArray[np.float64]

ENOUGH_FOR_REJECTION = 5
"""Reference frames from which on outliers among them are left out."""

OUTLIER = 6.0
"""Robust standard deviations from a pixel's median beyond which a reference frame's value is left out (zingers)."""

TOO_MANY_DEAD = 0.1
"""Share of pixels without response above which the flats, not the pixels, are taken to be wrong."""


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


def response(flats: NDArray[Any], darks: NDArray[Any] | None) -> tuple[Floats, Floats]:
    """What the full beam adds to each pixel (flat - dark), and the dark frame, both (v, u); no darks count as 0."""
    dark = np.zeros(flats.shape[1:]) if darks is None else reference_frame(darks)
    return reference_frame(flats) - dark, dark


def transmission(
    data: NDArray[Any], full: Floats, dark: Floats, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """(data - dark) / full as float32; NaN where a pixel has no response (full <= 0 or not finite)."""
    alive = np.isfinite(full) & (full > 0)
    scale = np.divide(1.0, full, out=np.full(full.shape, np.nan), where=alive)
    result = np.empty(data.shape, np.float32) if out is None else out
    for view in range(len(data)):
        result[view] = (data[view] - dark) * scale
    return result


def flat_field(dataset: Dataset) -> Dataset:
    """The transmission (kind "transmission", float32) of a scan of counts: (data - dark) / (flat - dark).

    Pixels in which the flats are not above the darks become NaN, to be repaired by `repair_pixels`.  DataError where
    there are no flats, where all are 0, or where more than a tenth of all pixels have no response.
    """
    expect_kind(dataset, "flat_field", "counts")
    if dataset.flats is None or len(dataset.flats) == 0:
        hint = "Give frames taken without the sample, or read the scan as transmission or line integrals"
        raise DataError(source(dataset), "flats", "at least one flat field", "none", hint)
    if not np.any(dataset.flats):
        raise DataError(source(dataset), "flats", "counts above 0", f"0 in all {dataset.flats[0].size} pixels")
    full, dark = response(dataset.flats, dataset.darks)
    dead = ~(np.isfinite(full) & (full > 0))
    if dead.mean() > TOO_MANY_DEAD:
        found = f"{dead.sum()} of {dead.size} pixels in which they are not"
        raise DataError(source(dataset), "flats", "flats above the darks", found, "Are flats and darks exchanged?")
    result = transmission(dataset.data, full, dark)
    n_darks = 0 if dataset.darks is None else len(dataset.darks)
    numbers = {
        "flats": len(dataset.flats),
        "darks": n_darks,
        "full_counts": float(np.median(full[~dead])),
        "dark_counts": float(np.nanmedian(dark)),
        "pixels_without_response": int(dead.sum()),
        "negative_values": int((result < 0).sum()),
        "nonfinite_counts": _count_nonfinite(dataset.data),
        "saturated_counts": _count_saturated(dataset.data),
    }
    line = f"(data - dark) / (flat - dark) with {len(dataset.flats)} flats, {n_darks} darks"
    changed = dataset.replace(data=result, kind="transmission", flats=None, darks=None)
    return record(changed, "flat_field", line, numbers, _warnings(numbers, dataset))


def _warnings(numbers: dict[str, Any], dataset: Dataset) -> list[str]:
    found = []
    if not numbers["darks"]:
        found.append("no dark fields: the detector's dark level is taken as 0")
    if numbers["pixels_without_response"]:
        found.append(f"{numbers['pixels_without_response']} pixels have no response and are NaN until repaired")
    if numbers["negative_values"] > 1e-3 * dataset.data.size:
        found.append(f"{numbers['negative_values']} values are below the dark level")
    if numbers["nonfinite_counts"]:
        found.append(f"{numbers['nonfinite_counts']} counts are NaN or infinite")
    if numbers["saturated_counts"] > 1e-4 * dataset.data.size:
        found.append(f"{numbers['saturated_counts']} counts have the largest value of {dataset.data.dtype}: saturated")
    return found


def _count_nonfinite(data: NDArray[Any]) -> int:
    if data.dtype.kind != "f":
        return 0
    return sum(int((~np.isfinite(view)).sum()) for view in data)


def _count_saturated(data: NDArray[Any]) -> int:
    if data.dtype.kind not in "iu":
        return 0
    return int((data == np.iinfo(data.dtype).max).sum())
