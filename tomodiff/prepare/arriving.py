"""The first steps of the preparation, done to views while those after them are still being read."""

from __future__ import annotations

import numpy as np

from tomodiff.prepare.defects import Defects, PixelSums, find_defects
from tomodiff.prepare.flat_field import Division
from tomodiff.result import Dataset


class Arriving:
    """Sums that tell defective pixels, and flat fields, of a few views at a time.

    Called with a scan and which of its views are there, in order; `read(watch=)` does so.  in_place: counts in float32
    give way to their transmission, so that no second array is needed.
    """

    def __init__(
        self, defects: bool = True, flat_model: str = "auto", threads: int = 1, in_place: bool = False
    ) -> None:
        self.wanted, self.flat_model, self.threads, self.in_place = defects, flat_model, threads, in_place
        self.sums: PixelSums | None = None
        self.division: Division | None = None
        self.result = np.empty((0, 0, 0), np.float32)

    def __call__(self, dataset: Dataset, views: slice) -> None:
        """Take in some views.  DataError where flats are missing or wrong."""
        if views.start == 0:
            self._begin(dataset)
        data = dataset.data[views]
        if self.sums is not None:
            self.sums.add(data)
        if self.division is not None:
            self.division.divide(data, views.start, self.result[views])

    def _begin(self, dataset: Dataset) -> None:
        if self.wanted:
            self.sums = PixelSums(dataset.data.shape[1:], self.threads)
        if dataset.kind == "counts":
            self.division = Division(dataset, self.flat_model, self.threads)
            reused = self.in_place and dataset.data.dtype == np.float32
            self.result = dataset.data if reused else np.empty(dataset.data.shape, np.float32)

    def finished(self, dataset: Dataset) -> tuple[Dataset, Defects | None]:
        """The scan, counts now being transmissions, and its defective pixels, once all views are there."""
        beam = None if self.division is None else (self.division.full, self.division.dark)
        found = None if self.sums is None else find_defects(dataset, self.sums, beam)
        return dataset if self.division is None else self.division.finished(dataset, self.result), found
