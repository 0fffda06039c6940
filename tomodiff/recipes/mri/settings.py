"""The settings of an MRI reconstruction: raw data of a scanner and how the image is found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from tomodiff.recipes import fields
from tomodiff.recipes.output import Output
from tomodiff.recipes.section import MethodSection, Section, TrialJob

METHOD_DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "gridding": {},
        "cg-sense": {"iterations": 10, "damping": 0.0},
        "l1-wavelet": {"iterations": 60, "weight": 0.003, "wavelet": "db4"},
        "tv": {"iterations": 150, "weight": 0.003},
        "low-rank": {"iterations": 100, "weight": 0.05},
    }
)
"""The settings that each method has beside the common ones, with their defaults."""

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False), fields.expected("a number of at least 0")]
Index = Annotated[int, Field(ge=0), fields.expected("a whole number of at least 0")]
Accuracy = Annotated[float, Field(ge=1e-12, le=0.1), fields.expected("a number from 1e-12 to 0.1")]


class KSpaceInput(Section):
    """The raw data."""

    path: fields.File = Field(description="ISMRMRD (.h5, .mrd) or BART (.cfl beside .hdr)")
    trajectory: fields.File | None = Field(default=None, description="trajectory of BART (.cfl), in cycles per FOV")
    slice: Index = Field(default=0, description="which slice of an ISMRMRD file, from 0")
    trajectory_unit: Literal["auto", "pixel", "fov", "radian"] = Field(
        default="auto", description="of ISMRMRD: cycles per pixel, per fov, or radian per pixel; auto: by its size"
    )
    field_map: fields.File | None = Field(default=None, description="how far the field is off, in Hz: a volume file")
    delays: Literal["auto", "off"] = Field(
        default="off", description="auto: find the delays of the gradients from the data, and undo them"
    )


class MriReconstruction(MethodSection):
    """How the image is found."""

    METHODS = METHOD_DEFAULTS

    method: Literal["gridding", "cg-sense", "l1-wavelet", "tv", "low-rank"] = Field(
        default="cg-sense", description="gridding, cg-sense, l1-wavelet, tv, or low-rank (series)"
    )
    maps: fields.File | None = Field(default=None, description="coil sensitivities of BART (.cfl); else from the data")
    iterations: fields.Count | None = Field(default=None, description="of all methods but gridding")
    damping: Weight | None = Field(default=None, description="of the image's square, of the largest eigenvalue")
    weight: Weight | None = Field(default=None, description="of the penalty, of the brightest pixel of A' y")
    wavelet: fields.Text | None = Field(default=None, description="an orthogonal wavelet of PyWavelets (l1-wavelet)")
    accuracy: Accuracy = Field(default=1e-5, description="of the non-uniform Fourier transform")
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="cpu, or cuda for an NVIDIA GPU")


class ImageOutput(Output):
    """Where results go."""

    path: fields.File = Field(
        default=Path("image"), description="image file, or (without suffix) the folder of the whole run"
    )
    name: ClassVar[str] = "image"


class MriSettings(TrialJob):
    """Raw data of a scanner to an image, or a series of them."""

    TRIAL = MappingProxyType({"reconstruction.iterations": 5})

    PATHS: ClassVar[tuple[tuple[str, str], ...]] = (
        ("input", "path"), ("input", "trajectory"), ("input", "field_map"), ("reconstruction", "maps"),
        ("output", "path"),
    )  # fmt: skip
    INPUTS = MappingProxyType({"path": "k-space", "trajectory": "trajectory", "field_map": "field map"})

    job: Literal["mri-reconstruct"] = Field(default="mri-reconstruct", description="the kind of job")
    input: KSpaceInput
    reconstruction: MriReconstruction = Field(default_factory=MriReconstruction)
    output: ImageOutput = Field(default_factory=ImageOutput)

    @classmethod
    def trial(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Gridding has no iterations, and is quick as it is."""
        chosen = given.get("reconstruction")
        return {} if isinstance(chosen, dict) and chosen.get("method") == "gridding" else cls.TRIAL

    @property
    def method(self) -> str:
        return self.reconstruction.method
