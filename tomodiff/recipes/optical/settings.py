"""The settings of a reconstruction from photographs."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from tomodiff.recipes import fields
from tomodiff.recipes.output import Output
from tomodiff.recipes.section import Section, TrialJob

Voxels = Annotated[int, Field(ge=16, le=1024), fields.expected("a whole number from 16 to 1024")]
Degree = Annotated[int, Field(ge=0, le=2), fields.expected("0, 1 or 2")]
HeldOut = Annotated[int, Field(ge=2), fields.expected("a whole number of at least 2")]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False), fields.expected("a number above 0")]


def _six(ends: tuple[float, ...]) -> tuple[float, ...]:
    if any(high <= low for low, high in zip(ends[::2], ends[1::2], strict=True)):
        raise ValueError("empty")
    return ends


_Number = Annotated[float, Field(allow_inf_nan=False)]
Box = Annotated[
    tuple[_Number, _Number, _Number, _Number, _Number, _Number],
    AfterValidator(_six),
    fields.expected("six numbers, the lower before the upper: [x0, x1, y0, y1, z0, z1]"),
]


class PhotographsInput(Section):
    """The photographs and their cameras."""

    path: fields.File = Field(description="transforms.json, or the folder of COLMAP's text files")
    test: fields.File | None = Field(default=None, description="others, on which the result is measured")
    holdout: HeldOut | None = Field(default=None, description="keep every so-manieth photograph to measure on")
    bin: fields.Count = Field(default=1, description="average so many pixels along rows and columns")
    background: Literal["auto", "white", "black", "learn"] = Field(
        default="auto", description="white, black, or learn; auto: white behind transparent pixels, else learn"
    )
    box: Box | None = Field(
        default=None, description="of the scene, in its unit; else from the cameras and silhouettes"
    )


class SceneFit(Section):
    """How the scene is found."""

    voxels: Voxels = Field(default=128, description="along the longest side of the box")
    degree: Degree = Field(default=1, description="of the spherical harmonics of colours: 0, 1 or 2")
    iterations: fields.Count = Field(default=2500, description="steps of Adam, each on other rays")
    rays: fields.Count = Field(default=8000, description="rays of a step")
    density_rate: Rate = Field(default=3.9, description="of a step, in optical depths of the box")
    colour_rate: Rate = Field(default=0.03, description="of a step, in coefficients of colours")
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="cpu, or cuda for an NVIDIA GPU")


class SceneOutput(Output):
    """Where results go."""

    path: fields.File = Field(
        default=Path("scene"), description="file of the density, or (without suffix) the folder of the whole run"
    )
    name: ClassVar[str] = "density"


class OpticalSettings(TrialJob):
    """Photographs with known cameras to a scene that can be looked at from anywhere."""

    TRIAL = MappingProxyType({"fit.iterations": 300, "fit.voxels": 48})

    PATHS: ClassVar[tuple[tuple[str, str], ...]] = (("input", "path"), ("input", "test"), ("output", "path"))
    INPUTS = MappingProxyType({"path": "photographs", "test": "test photographs"})

    job: Literal["optical-reconstruct"] = Field(default="optical-reconstruct", description="the kind of job")
    input: PhotographsInput
    fit: SceneFit = Field(default_factory=SceneFit)
    output: SceneOutput = Field(default_factory=SceneOutput)

    @property
    def method(self) -> str:
        return "radiance-field"
