"""Settings of a calibration: which errors of the geometry are sought."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from tomodiff.recipes import fields
from tomodiff.recipes.calibration.names import ERRORS
from tomodiff.recipes.ct.settings import ScanJob
from tomodiff.recipes.fields import expected
from tomodiff.recipes.section import Section


def _names(value: object) -> object:
    """A text with commas as a list without empty entries; anything else as it is."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _known(name: str) -> str:
    if name not in ERRORS:
        raise ValueError("unknown")
    return name


Errors = Annotated[
    tuple[Annotated[str, AfterValidator(_known)], ...],
    BeforeValidator(_names),
    expected(f"names, separated by commas, among {', '.join(ERRORS)}"),
]


class Calibration(Section):
    """What is sought, and how thoroughly."""

    once: Errors = Field(
        default="detector_u,detector_roll,axis_tilt",  # type: ignore[arg-type]
        description="errors that are one number for the scan: names of `ct calibrate --help`, separated by commas",
    )
    each: Errors = Field(default="", description="errors that every view has its own of: drift, vibration")  # type: ignore[arg-type]
    steps: fields.Count = Field(default=8, description="Gauss-Newton steps at each size of pixels, at most")
    products: fields.Count = Field(default=25, description="conjugate-gradient products in each step")
    voxel_mm: fields.Length | None = Field(
        default=None, description="voxel size in mm (default: a pixel, seen at the axis)"
    )
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="cpu, or cuda for an NVIDIA GPU")

    @classmethod
    def conflicts(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        if given.get("once") in ("", [], ()) and not given.get("each"):
            yield "once", "expected some errors to seek, in once or in each"


class CalibrateSettings(ScanJob):
    """A calibration: scan in, geometry out."""

    job: Literal["ct-calibrate"] = Field(default="ct-calibrate", description="the kind of job")
    calibration: Calibration = Field(default_factory=Calibration)
