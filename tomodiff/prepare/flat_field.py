"""Flat and dark field correction: from detector counts to the transmission of the sample."""

from __future__ import annotations

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

_COUNTED = ("negative_values", "nonfinite_counts", "saturated_counts")

TOO_MANY_DEAD = 0.1
"""Share of pixels without response above which the flats, not the pixels, are taken to be wrong."""


def response(flats: NDArray[Any], darks: NDArray[Any] | None, threads: int = 1) -> tuple[Floats, Floats]:
    """What the full beam adds to each pixel (flat - dark), and the dark frame, both (v, u); no darks count as 0."""
    dark = np.zeros(flats.shape[1:]) if darks is None else reference_frame(darks, threads)
    return reference_frame(flats, threads) - dark, dark


def transmission(data: NDArray[Any], full: Floats, dark: Floats) -> NDArray[np.float32]:
    """(data - dark) / full as float32; NaN where a pixel has no response (full <= 0 or not finite)."""
    factors = _factors(full, dark, data.dtype)
    result = np.empty(data.shape, np.float32)
    for view, made in zip(data, result, strict=True):
        _divide(view, *factors, made)
    return result


def _factors(full: Floats, dark: Floats, dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The dark frame and 1 / full, as precise as numbers of this type are worth."""
    alive = np.isfinite(full) & (full > 0)
    scale = np.divide(1.0, full, out=np.full(full.shape, np.nan), where=alive)
    # what is exact, or rounded already, in float32 loses no more than 1e-7 of the full beam there
    precise = np.float32 if dtype.itemsize <= 2 or dtype == np.float32 else np.float64
    return dark.astype(precise), scale.astype(precise)


def _divide(view: NDArray[Any], dark: NDArray[Any], scale: NDArray[Any], out: NDArray[np.float32]) -> None:
    """(view - dark) * scale into `out`, which may be `view`."""
    for rows in row_blocks(view.shape):
        difference = np.subtract(view[rows], dark[rows], dtype=dark.dtype)
        np.multiply(difference, scale[rows], out=out[rows], casting="same_kind")


class Division:
    """(data - dark) / (flat - dark) of a scan of counts, a few views at a time; see `flat_field`."""

    def __init__(self, dataset: Dataset, model: str = "auto", threads: int = 1) -> None:
        expect_kind(dataset, "flat_field", "counts")
        if dataset.flats is None or len(dataset.flats) == 0:
            hint = "Give frames taken without the sample, or read the scan as transmission or line integrals"
            raise DataError(source(dataset), "flats", "at least one flat field", "none", hint)
        if not np.any(dataset.flats):
            raise DataError(source(dataset), "flats", "counts above 0", f"0 in all {dataset.flats[0].size} pixels")
        self.threads, self.dtype = threads, dataset.data.dtype
        self.full, self.dark = response(dataset.flats, dataset.darks, threads)
        self.dead = ~(np.isfinite(self.full) & (self.full > 0))
        if self.dead.mean() > TOO_MANY_DEAD:
            found = f"{self.dead.sum()} of {self.dead.size} pixels in which they are not"
            raise DataError(source(dataset), "flats", "flats above the darks", found, "Are flats and darks exchanged?")
        self.full_at, self.about, self.warnings = flat_models.full_beam(dataset, self.full, self.dark, model)
        self.factors = _factors(self.full, self.dark, self.dtype)
        self.counts = np.zeros((len(dataset.data), len(_COUNTED)), np.int64)

    def divide(self, data: NDArray[Any], first: int, out: NDArray[np.float32]) -> None:
        """The transmission of some views (view, v, u), of which `first` is the number of the first, into `out`, which
        may be `data` itself."""

        def view(i: int) -> None:
            counts = self.counts[first + i]
            counts[1], counts[2] = _nonfinite(data[i]), _saturated(data[i])
            factors = self.factors
            if self.full_at is not None:
                factors = _factors(self.full_at(first + i), self.dark, self.dtype)
            _divide(data[i], *factors, out[i])
            counts[0] = np.count_nonzero(out[i] < 0)

        each(view, len(data), self.threads)

    def finished(self, dataset: Dataset, result: NDArray[np.float32]) -> Dataset:
        """The dataset with the transmission of all views in place of its counts, and what was seen on the way."""
        n_flats, n_darks = (0 if frames is None else len(frames) for frames in (dataset.flats, dataset.darks))
        numbers = {
            "flats": n_flats,
            "darks": n_darks,
            "full_counts": float(np.median(self.full[~self.dead])),
            "dark_counts": float(np.nanmedian(self.dark)),
            "pixels_without_response": int(self.dead.sum()),
            **dict(zip(_COUNTED, self.counts.sum(axis=0).tolist(), strict=True)),
            **self.about,
        }
        line = f"(data - dark) / (flat - dark) with {n_flats} flats, {n_darks} darks"
        line += "" if self.about["model"] == "mean" else f", {self.about['model']}"
        changed = dataset.replace(data=result, kind="transmission", flats=None, darks=None)
        return record(changed, "flat_field", line, numbers, [*_warnings(numbers, self), *self.warnings])


def flat_field(dataset: Dataset, model: str = "auto", threads: int = 1) -> Dataset:
    """The transmission (kind "transmission", float32) of a scan of counts: (data - dark) / (flat - dark).

    model: how the beam changes through the scan: "mean" (not at all), "interpolated" between the times at which flats
    were taken, "eigen" (the modes in which flats differ, fitted to each view), or "auto": interpolated where the file
    says that they were taken at several times.
    Pixels in which the flats are not above the darks become NaN, to be repaired by `repair_pixels`.  DataError where
    there are no flats, where all are 0, or where more than a tenth of all pixels have no response.
    """
    division = Division(dataset, model, threads)
    result = np.empty(dataset.data.shape, np.float32)
    division.divide(dataset.data, 0, result)
    return division.finished(dataset, result)


def _warnings(numbers: dict[str, Any], division: Division) -> list[str]:
    found, size = [], len(division.counts) * division.full.size
    if not numbers["darks"]:
        found.append("no dark fields: the detector's dark level is taken as 0")
    if numbers["pixels_without_response"]:
        found.append(f"{numbers['pixels_without_response']} pixels have no response and are NaN until repaired")
    if numbers["negative_values"] > 1e-3 * size:
        found.append(f"{numbers['negative_values']} values are below the dark level")
    if numbers["nonfinite_counts"]:
        found.append(f"{numbers['nonfinite_counts']} counts are NaN or infinite")
    if numbers["saturated_counts"] > 1e-4 * size:
        found.append(f"{numbers['saturated_counts']} counts have the largest value of {division.dtype}: saturated")
    return found


def _nonfinite(image: NDArray[Any]) -> int:
    return int(image.size - np.count_nonzero(np.isfinite(image))) if image.dtype.kind == "f" else 0


def _saturated(image: NDArray[Any]) -> int:
    return int(np.count_nonzero(image == np.iinfo(image.dtype).max)) if image.dtype.kind in "iu" else 0
