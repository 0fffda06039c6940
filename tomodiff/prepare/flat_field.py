"""Flat and dark field correction: from detector counts to the transmission of the sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tomodiff.errors import DataError
from tomodiff.prepare import flat_models
from tomodiff.prepare.record import expect_kind, record, source
from tomodiff.prepare.references import reference_frame
from tomodiff.prepare.threads import each, row_blocks
from tomodiff.result import Dataset

Floats = NDArray[np.float64]

TOO_MANY_DEAD = 0.1
"""Share of pixels without response above which the flats, not the pixels, are taken to be wrong."""


def response(flats: NDArray[Any], darks: NDArray[Any] | None, threads: int = 1) -> tuple[Floats, Floats]:
    """What the full beam adds to each pixel (flat - dark), and the dark frame, both (v, u); no darks count as 0."""
    dark = np.zeros(flats.shape[1:]) if darks is None else reference_frame(darks, threads)
    return reference_frame(flats, threads) - dark, dark


def transmission(
    data: NDArray[Any], full: Floats, dark: Floats, out: NDArray[np.float32] | None = None, threads: int = 1
) -> NDArray[np.float32]:
    """(data - dark) / full as float32; NaN where a pixel has no response (full <= 0 or not finite)."""
    alive = np.isfinite(full) & (full > 0)
    scale = np.divide(1.0, full, out=np.full(full.shape, np.nan), where=alive)
    result = np.empty(data.shape, np.float32) if out is None else out
    # counts of 16 bits, and differences from their means to a hundredth of one, have room in float32
    precise = np.float32 if data.dtype.itemsize <= 2 else np.float64
    dark, scale = dark.astype(precise), scale.astype(precise)
    blocks = row_blocks(data.shape[1:])

    def view(i: int) -> None:
        for rows in blocks:
            difference = np.subtract(data[i, rows], dark[rows], dtype=precise)
            np.multiply(difference, scale[rows], out=result[i, rows], casting="same_kind")

    each(view, len(data), threads)
    return result


def flat_field(dataset: Dataset, model: str = "auto", threads: int = 1) -> Dataset:
    """The transmission (kind "transmission", float32) of a scan of counts: (data - dark) / (flat - dark).

    model: how the beam changes through the scan: "mean" (not at all), "interpolated" between the times at which flats
    were taken, "eigen" (the modes in which flats differ, fitted to each view), or "auto": interpolated where the file
    says that they were taken at several times.
    Pixels in which the flats are not above the darks become NaN, to be repaired by `repair_pixels`.  DataError where
    there are no flats, where all are 0, or where more than a tenth of all pixels have no response.
    """
    expect_kind(dataset, "flat_field", "counts")
    if dataset.flats is None or len(dataset.flats) == 0:
        hint = "Give frames taken without the sample, or read the scan as transmission or line integrals"
        raise DataError(source(dataset), "flats", "at least one flat field", "none", hint)
    if not np.any(dataset.flats):
        raise DataError(source(dataset), "flats", "counts above 0", f"0 in all {dataset.flats[0].size} pixels")
    full, dark = response(dataset.flats, dataset.darks, threads)
    dead = ~(np.isfinite(full) & (full > 0))
    if dead.mean() > TOO_MANY_DEAD:
        found = f"{dead.sum()} of {dead.size} pixels in which they are not"
        raise DataError(source(dataset), "flats", "flats above the darks", found, "Are flats and darks exchanged?")
    full_at, about, warnings = flat_models.full_beam(dataset, full, dark, model)
    if full_at is None:
        result = transmission(dataset.data, full, dark, threads=threads)
    else:
        result = np.empty(dataset.data.shape, np.float32)

        def view(i: int) -> None:
            transmission(dataset.data[i : i + 1], full_at(i), dark, result[i : i + 1])

        each(view, len(result), threads)
    n_darks = 0 if dataset.darks is None else len(dataset.darks)
    numbers = {
        "flats": len(dataset.flats),
        "darks": n_darks,
        "full_counts": float(np.median(full[~dead])),
        "dark_counts": float(np.nanmedian(dark)),
        "pixels_without_response": int(dead.sum()),
        "negative_values": _count(lambda image: image < 0, result, threads),
        "nonfinite_counts": _count_nonfinite(dataset.data, threads),
        "saturated_counts": _count_saturated(dataset.data, threads),
        **about,
    }
    line = f"(data - dark) / (flat - dark) with {len(dataset.flats)} flats, {n_darks} darks"
    line += "" if about["model"] == "mean" else f", {about['model']}"
    changed = dataset.replace(data=result, kind="transmission", flats=None, darks=None)
    return record(changed, "flat_field", line, numbers, [*_warnings(numbers, dataset), *warnings])


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


def _count_nonfinite(data: NDArray[Any], threads: int) -> int:
    return _count(lambda image: ~np.isfinite(image), data, threads) if data.dtype.kind == "f" else 0


def _count_saturated(data: NDArray[Any], threads: int) -> int:
    if data.dtype.kind not in "iu":
        return 0
    largest = np.iinfo(data.dtype).max
    return _count(lambda image: image == largest, data, threads)


def _count(test: Callable[[NDArray[Any]], NDArray[np.bool_]], data: NDArray[Any], threads: int) -> int:
    """How many values pass a test, view by view."""
    found = np.zeros(len(data), np.int64)

    def view(i: int) -> None:
        found[i] = np.count_nonzero(test(data[i]))

    each(view, len(data), threads)
    return int(found.sum())
