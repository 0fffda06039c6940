"""What files hold: a measured scan with its geometry (`Dataset`), a reconstructed volume with its grid (`Result`)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodiff.array import Array, to_numpy
from tomodiff.errors import DataError
from tomodiff.html import card, lengths

if TYPE_CHECKING:
    from tomodiff.geometry import Grid, Scan

KINDS = ("counts", "transmission", "line_integrals")
"""counts: what the detector read; transmission: I/I0 after flat and dark fields; line_integrals: -log(I/I0)."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A scan: its projections, where they were taken, and what has been done to them so far.

    `data` (view, v, u) in the unit that `kind` says; `flats`, `darks` (n, v, u) are frames without sample and
    without beam, in the order in which they were taken; `weights` (view, v, u) is the inverse variance of each
    pixel up to a common factor.  `meta` is plain (JSON) values: source file, energy_kev, sample, warnings.
    `history` has one line per step.  Raises DataError if shapes, number types or kind do not agree.
    """

    data: Array
    scan: Scan
    kind: str
    flats: Array | None = None
    darks: Array | None = None
    weights: Array | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    history: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "history", tuple(self.history))
        if self.kind not in KINDS:
            raise DataError("dataset", "kind", " or ".join(KINDS), repr(self.kind))
        _expect_frames("data", self.data, (len(self.scan), *self.scan.detector_shape), "the scan has")
        for name in ("flats", "darks"):
            frames = getattr(self, name)
            if frames is not None:
                _expect_frames(name, frames, (None, *self.data.shape[1:]), "the projections have")
        if self.weights is not None:
            _expect_frames("weights", self.weights, tuple(self.data.shape), "the projections have")

    def replace(self, **changes: Any) -> Dataset:
        """A dataset that differs in the named fields and shares the others."""
        return dataclasses.replace(self, **changes)

    def _repr_html_(self) -> str:
        """For notebooks: what it holds, and its middle view."""
        facts = {
            "projections": f"{lengths(self.data.shape)} (view, v, u), {self.data.dtype}",
            "numbers are": self.kind.replace("_", " "),
            "flat fields": None if self.flats is None else len(self.flats),
            "dark fields": None if self.darks is None else len(self.darks),
            "weights": None if self.weights is None else "yes",
            "scan": str(self.scan),
            "done so far": "; ".join(self.history) or None,
        }
        view = len(self.data) // 2
        return card("Dataset", facts, [(f"view {view}", to_numpy(self.data[view]))])

    def noted(self, line: str) -> Dataset:
        """The same dataset with one more line of history."""
        return dataclasses.replace(self, history=(*self.history, line))


@dataclass(frozen=True, eq=False)
class Result:
    """A reconstruction: the volume (z, y, x), the grid it lives on, and how it came about.

    `quantity` in `unit` is what a voxel holds, "attenuation" in "1/mm" by default.  `history` has the metrics of
    each iteration, `meta` is the provenance in plain (JSON) values.  Raises DataError where shapes do not agree.
    """

    volume: Array
    grid: Grid
    quantity: str = "attenuation"
    unit: str = "1/mm"
    history: list[dict[str, Any]] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "warnings", tuple(self.warnings))
        if np.dtype(self.volume.dtype).kind not in "iuf":
            raise DataError("result", "volume", "real numbers", str(self.volume.dtype))
        if tuple(self.volume.shape) != tuple(self.grid.shape):
            raise DataError("result", "volume", f"the grid's shape {tuple(self.grid.shape)}", str(self.volume.shape))

    def replace(self, **changes: Any) -> Result:
        """A result that differs in the named fields and shares the others."""
        return dataclasses.replace(self, **changes)

    def _repr_html_(self) -> str:
        """For notebooks: what it is, and three slices through its middle."""
        z, y, x = (n // 2 for n in self.volume.shape)
        facts = {
            "voxels (z, y, x)": f"{lengths(self.volume.shape)}, {self.volume.dtype}",
            "voxel size (z, y, x)": f"{lengths(self.grid.spacing)} mm",
            "values": f"{self.quantity} in {self.unit}",
            "iterations": len(self.history) or None,
            "warnings": "; ".join(self.warnings) or None,
        }
        slices = (f"z = {z}", self.volume[z]), (f"y = {y}", self.volume[:, y]), (f"x = {x}", self.volume[:, :, x])
        return card("Result", facts, [(caption, to_numpy(image)) for caption, image in slices])


def _expect_frames(name: str, frames: Array, shape: tuple[int | None, ...], whose: str) -> None:
    """Raise DataError unless `frames` are real numbers of this (n, v, u) shape; None stands for any number."""
    if frames.ndim != 3:
        raise DataError("dataset", name, "3 axes (view, v, u)", f"{frames.ndim} axes {tuple(frames.shape)}")
    if np.dtype(frames.dtype).kind not in "iuf":
        raise DataError("dataset", name, "real numbers", str(frames.dtype))
    if any(want is not None and want != got for want, got in zip(shape, frames.shape, strict=True)):
        wanted = tuple("any" if n is None else n for n in shape)
        raise DataError("dataset", name, f"the shape {wanted} that {whose}", str(tuple(frames.shape)))
