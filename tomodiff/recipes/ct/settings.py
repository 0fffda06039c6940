"""All settings of an X-ray CT job, as they stand in its YAML file.

Unknown names are refused.  A setting that the chosen method does not have is refused too, so nothing is silently
ignored; what a method has and is not given gets the default of `METHOD_DEFAULTS`.
`tomodiff.recipes.config_file` turns all that is wrong into one message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field

from tomodiff.recipes import fields
from tomodiff.recipes.ct.settings_prepare import Prepare
from tomodiff.recipes.fields import as_slice
from tomodiff.recipes.output import Output
from tomodiff.recipes.section import Job, MethodSection, Section

METHOD_DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "auto": {"filter": "ram-lak"},
        "fbp": {"filter": "ram-lak"},
        "fdk": {"filter": "ram-lak"},
        "gridding": {"filter": "ram-lak"},
        "sirt": {"iterations": 100, "relaxation": 1.0, "non_negative": True, "tolerance": 1e-4},
        "cgls": {"iterations": 30, "tolerance": 1e-4},
        "lsmr": {"iterations": 30, "tolerance": 1e-4},
        "os-sart": {"iterations": 8, "subsets": 10, "relaxation": 1.0, "non_negative": True, "tolerance": 1e-4},
        "osem": {"iterations": 3, "subsets": 10, "tolerance": 1e-4},
        "mlem": {"iterations": 30, "tolerance": 1e-4},
        "pwls": {
            "iterations": 12,
            "subsets": 10,
            "tv_weight": "auto",
            "edge": "auto",
            "non_negative": True,
            "tolerance": 1e-4,
        },
        "fista-tv": {"iterations": 100, "tv_weight": "auto", "non_negative": True, "tolerance": 1e-4},
    }
)
"""The settings that each method has, with their defaults; one of another method is an error."""


class Input(Section):
    """The scan, and what its file does not say."""

    path: fields.File = Field(description="scan: HDF5, TIFFs, Nikon, Zeiss, RTK, EDF, DICOM, MRC ... (docs/files.md)")
    data_path: fields.Text | None = Field(default=None, description="path of the projections inside the HDF5 file")
    kind: Literal["counts", "transmission", "line_integrals"] | None = Field(
        default=None, description="what the numbers are: counts, transmission or line_integrals"
    )
    angles: fields.Text | None = Field(
        default=None, description='angles: a text file, "start:stop:n", or file.h5:/path'
    )
    angle_unit: Literal["auto", "deg", "rad"] = Field(
        default="auto", description="unit of the angles: auto, deg or rad"
    )
    flats: fields.Text | None = Field(
        default=None, description="frames without sample: TIFF file, folder, or file.h5:/path"
    )
    darks: fields.Text | None = Field(
        default=None, description="frames without beam: TIFF file, folder, or file.h5:/path"
    )
    rows: fields.Span | None = Field(default=None, description="detector rows a:b to use, counted from 0, b excluded")
    views: fields.Span | None = Field(default=None, description="projections from:to or from:to:step to use")
    bin: fields.Count = Field(default=1, description="average squares of n x n pixels")
    pixel_mm: fields.Pixel | None = Field(default=None, description="size of a detector pixel in mm, or a pair v, u")
    source_axis_mm: fields.Length | None = Field(
        default=None, description="cone beam: distance from source to rotation axis"
    )
    source_detector_mm: fields.Length | None = Field(
        default=None, description="cone beam: distance from source to detector"
    )

    geometry: fields.File | None = Field(
        default=None, description="scan geometry in place of the file's: what ct calibrate found"
    )

    @classmethod
    def conflicts(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        near, far = given.get("source_axis_mm"), given.get("source_detector_mm")
        if (near is None) != (far is None):
            alone = "source_axis_mm" if far is None else "source_detector_mm"
            yield alone, "source_axis_mm and source_detector_mm go together; only this one is given"
        elif isinstance(near, int | float) and isinstance(far, int | float) and far <= near:
            yield "source_detector_mm", f"expected more than source_axis_mm ({near}), got {far}"
        rows = given.get("rows")
        if isinstance(rows, str) and rows.count(":") == 2:
            yield "rows", f"expected a:b without a step, got {rows!r}"

    def setup(self) -> dict[str, Any]:
        """What `files.probe` and `files.read` are told in place of, or beyond, what the file says."""
        return {
            "data_path": self.data_path,
            "kind": self.kind,
            "angles": self.angles,
            "angle_unit": self.angle_unit,
            "flats": self.flats,
            "darks": self.darks,
            "pixel_mm": self.pixel_mm,
            "source_axis": self.source_axis_mm,
            "source_detector": self.source_detector_mm,
        }

    def selection(self) -> dict[str, Any]:
        """Which part `files.read` reads: rows and views as slices, bin."""
        return {"rows": as_slice(self.rows), "views": as_slice(self.views), "bin": self.bin}


class Reconstruction(MethodSection):
    """How the volume is found."""

    METHODS = METHOD_DEFAULTS

    method: fields.Method = Field(
        default="auto",
        description="auto (fbp for parallel beam, fdk for cone beam), fbp, fdk, gridding, sirt, cgls, lsmr, os-sart, "
        "osem, mlem, pwls or fista-tv",
    )
    filter: Literal["ram-lak", "shepp-logan", "cosine", "hamming", "hann"] | None = Field(
        default=None, description="ramp filter's window (fbp, fdk, gridding)"
    )
    iterations: fields.Count | None = Field(default=None, description="most iterations, each through all views")
    tolerance: fields.Fraction | None = Field(
        default=None, description="stop when an iteration changes the volume by less than this fraction (0: never)"
    )
    subsets: fields.Count | None = Field(
        default=None, description="parts of the views that take turns in an iteration (os-sart, osem, pwls)"
    )
    relaxation: fields.Relaxation | None = Field(default=None, description="step of sirt, os-sart, between 0 and 2")
    tv_weight: fields.AutoWeight | None = Field(
        default=None, description="weight of the total variation: auto or a number"
    )
    edge: fields.AutoWeight | None = Field(
        default=None, description="gradient in 1/mm per mm from which on it is an edge: auto or a number (pwls)"
    )
    start: fields.Text | None = Field(
        default=None, description="volume file of the same grid from which an iterative method starts"
    )
    mask: fields.Text | None = Field(
        default=None, description="where the volume may be other than 0: circle (what all views see), or a volume file"
    )
    metal: fields.Positive | None = Field(
        default=None, description="attenuation in 1/mm above which it is metal, whose shadows are bridged"
    )
    non_negative: fields.Switch | None = Field(
        default=None, description="no attenuation below zero (sirt, os-sart, pwls, fista-tv)"
    )
    water: fields.Water | None = Field(
        default=None, description="give CT numbers (HU), against this attenuation of water in 1/mm, or the file's: file"
    )
    voxel_mm: fields.Length | None = Field(
        default=None, description="voxel size in mm (default: a pixel, seen at the axis)"
    )
    model: Literal["joseph", "footprint"] = Field(default="joseph", description="projector: joseph or footprint")
    dtype: Literal["float32", "float64"] = Field(default="float32", description="precision of the computation")
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="cpu, or cuda for an NVIDIA GPU")
    across_ranks: Literal["auto", "views", "rows", "slabs"] = Field(
        default="auto",
        description="what several ranks share out: views (the volume whole on each), slabs of the volume as well, or "
        "rows (each with its slices, fbp); auto: rows where that can be, slabs where the volume does not fit",
    )
    memory_gb: fields.Gigabytes | None = Field(
        default=None, description="most memory to take; what needs more goes through the disk (default: what is free)"
    )

    @classmethod
    def conflicts(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        method = cls._method_of(given)
        if given.get("start") is not None and method in ("auto", "fbp", "fdk", "gridding"):
            yield "start", f"method {method} does not iterate; remove it or choose an iterative method"
        yield from super().conflicts(given)

    @property
    def window(self) -> str:
        """The window of the ramp filter."""
        return self.filter or "ram-lak"

    def method_for(self, kind: str) -> str:
        """The method that runs for a scan of kind "parallel" or "cone": `method`, or what auto stands for."""
        if self.method != "auto":
            return self.method
        return "fbp" if kind == "parallel" else "fdk"


class ScanJob(Job):
    """What all jobs that begin with a scan have: where it is and how it is corrected."""

    PATHS = (*(("input", name) for name in ("path", "angles", "flats", "darks", "geometry")), ("output", "path"))
    INPUTS = MappingProxyType({name: name for name in ("angles", "flats", "darks", "geometry")} | {"path": "scan"})

    input: Input
    prepare: Prepare = Field(default_factory=Prepare)
    output: Output = Field(default_factory=Output)


class CtSettings(ScanJob):
    """A whole CT job: scan in, volume out."""

    PATHS = (*ScanJob.PATHS, ("reconstruction", "start"), ("reconstruction", "mask"))
    NO_PATHS = ("circle",)

    job: Literal["ct"] = Field(default="ct", description="the kind of job")
    reconstruction: Reconstruction = Field(default_factory=Reconstruction)
    preview: fields.Switch = Field(default=False, description="only a few slices, in seconds")

    @property
    def method(self) -> str:
        """The method of reconstruction."""
        return self.reconstruction.method
