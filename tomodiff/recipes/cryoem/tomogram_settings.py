"""The settings of a tomogram: a tilt series and how its volume is found."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from tomodiff.recipes import fields
from tomodiff.recipes.cryoem.setting_kinds import Angstrom, Kilovolts, Views
from tomodiff.recipes.cryoem.settings import MapOutput
from tomodiff.recipes.section import Job, MethodSection, Section

ITERATIVE = ("sirt", "cgls", "fista-tv")
METHOD_DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "wbp": {"weighting": "ramp", "filter": "ram-lak", "sirt_filter": None},
        "sirt": {"iterations": 50, "relaxation": 1.0, "non_negative": False},
        "cgls": {"iterations": 15},
        "fista-tv": {"iterations": 50, "tv_weight": "auto", "non_negative": False},
    }
)
"""The settings that each method has beside the common ones, with their defaults."""


class TiltInput(Section):
    """The tilt series."""

    path: fields.File = Field(description="alignment: IMOD .xf, AreTomo .aln, RELION 5 .star, Warp .tomostar, .mdoc")
    stack: fields.File | None = Field(default=None, description="the images, where the file does not name them")
    doses: fields.File | None = Field(default=None, description="an .mdoc with the doses")
    series: fields.Text | None = Field(default=None, description="which series of a STAR file")
    pixel_a: Angstrom | None = Field(default=None, description="pixel of the images in angstrom, where no file tells")
    exclude: Views | None = Field(default=None, description="views to leave out, from 1, separated by commas")
    invert_tilt: fields.Switch = Field(default=False, description="turn the sign of the tilts, that is the hand")
    bin: fields.Count = Field(default=1, description="average squares of n x n pixels")


class TiltReconstruction(MethodSection):
    """How the tomogram is found."""

    METHODS = METHOD_DEFAULTS

    method: Literal["wbp", "sirt", "cgls", "fista-tv"] = Field(
        default="wbp", description="wbp (weighted back-projection), sirt, cgls or fista-tv"
    )
    thickness_a: Angstrom | None = Field(default=None, description="of the tomogram in angstrom, where no file tells")
    weighting: Literal["ramp", "exact"] | None = Field(default=None, description="filter: ramp or exact (wbp)")
    filter: Literal["ram-lak", "shepp-logan", "cosine", "hamming", "hann"] | None = Field(
        default=None, description="window of the filter (wbp)"
    )
    sirt_filter: fields.Count | None = Field(default=None, description="filter like this many SIRT iterations (wbp)")
    normalise: Literal["mean", "mean-variance", "none"] = Field(
        default="mean-variance", description="what all views are brought to share: mean, mean-variance or none"
    )
    dose_weighting: fields.Switch = Field(default=False, description="filter each view by its dose")
    voltage_kv: Kilovolts = Field(default=300.0, description="for the dose filter, kV")
    taper: Annotated[int, Field(ge=0), fields.expected("a number of pixels")] = Field(
        default=16, description="pixels over which edges of images fade"
    )
    iterations: fields.Count | None = Field(default=None, description="of sirt, cgls, fista-tv")
    relaxation: fields.Relaxation | None = Field(default=None, description="step of sirt, between 0 and 2")
    tv_weight: fields.AutoWeight | None = Field(default=None, description="weight of total variation: auto or a number")
    non_negative: fields.Switch | None = Field(default=None, description="no density below zero (sirt, fista-tv)")
    dtype: Literal["float32", "float64"] = Field(default="float32", description="precision of the computation")
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="cpu, or cuda for an NVIDIA GPU")


class TomogramSettings(Job):
    """A tilt series to a tomogram."""

    PATHS: ClassVar[tuple[tuple[str, str], ...]] = (
        ("input", "path"), ("input", "stack"), ("input", "doses"), ("output", "path"),
    )  # fmt: skip
    INPUTS = MappingProxyType({"path": "alignment", "stack": "images", "doses": "doses"})

    job: Literal["cryoem-tomogram"] = Field(default="cryoem-tomogram", description="the kind of job")
    input: TiltInput
    reconstruction: TiltReconstruction = Field(default_factory=TiltReconstruction)
    output: MapOutput = Field(default_factory=MapOutput)
