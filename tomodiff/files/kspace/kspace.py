"""Samples of k-space and where they lie, whatever file they came from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tomodiff.errors import DataError


@dataclass(frozen=True, eq=False)
class KSpace:
    """What the coils of a scanner measured of one image, or of several one after the other.

    `data` (coil, sample), complex; `points` (sample, axis) in cycles per pixel of an image of `shape`, axes as the
    image's, (y, x) or (z, y, x); `readout`: samples that were taken in one go, which stand together; `frame` (sample):
    the number of the image in time that each belongs to; `pixel_mm` per axis; `times` (sample): seconds from the
    beginning of the readout, None where unknown.
    `meta` is plain (JSON) values, `history` one line per step.  DataError where shapes do not agree.
    """

    data: np.ndarray
    points: np.ndarray
    shape: tuple[int, ...]
    readout: int = 1
    frame: np.ndarray | None = None
    pixel_mm: tuple[float, ...] = ()
    times: np.ndarray | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    history: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        source = self.source
        if self.data.ndim != 2 or self.data.dtype.kind != "c" or 0 in self.data.shape:
            raise DataError(
                source, "k-space", "complex (coil, sample)", f"{self.data.dtype} of shape {self.data.shape}"
            )
        wanted = (self.data.shape[1], len(self.shape))
        if self.points.shape != wanted:
            raise DataError(source, "trajectory", f"points (sample, axis) of shape {wanted}", str(self.points.shape))
        for name, values in (("k-space", self.data), ("trajectory", self.points)):
            if not np.isfinite(values).all():
                raise DataError(source, name, "finite numbers", f"{np.count_nonzero(~np.isfinite(values))} others")
        if not np.any(self.data):
            raise DataError(source, "k-space", "a signal", f"0 in all {self.data.size} samples")
        object.__setattr__(self, "history", tuple(self.history))

    @property
    def source(self) -> str:
        """What errors call the data."""
        return str(self.meta.get("source", "k-space"))

    @property
    def frames(self) -> int:
        """How many images in time there are."""
        return 1 if self.frame is None else int(self.frame.max()) + 1

    def of_frame(self, number: int) -> KSpace:
        """The samples of one image in time."""
        if self.frame is None:
            return self
        chosen = self.frame == number
        times = None if self.times is None else self.times[chosen]
        return self.replace(data=self.data[:, chosen], points=self.points[chosen], frame=None, times=times)

    def replace(self, **changes: Any) -> KSpace:
        """The same with some fields changed."""
        return dataclasses.replace(self, **changes)
