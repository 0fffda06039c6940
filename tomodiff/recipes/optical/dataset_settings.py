"""What `tomodiff simulate dataset` draws: each pair of numbers is a range from which one is drawn for each picture."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tomodiff.recipes import fields
from tomodiff.recipes.section import Section


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[1] < ends[0]:
        raise ValueError("reversed")
    return ends


_Least = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Any = Annotated[float, Field(allow_inf_nan=False)]
Range = Annotated[
    tuple[_Least, _Least], AfterValidator(_ordered), fields.expected("two numbers of at least 0: [least, most]")
]
Angles = Annotated[tuple[_Any, _Any], AfterValidator(_ordered), fields.expected("two angles: [least, most]")]
Lengths = Annotated[
    tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], Annotated[float, Field(gt=0, allow_inf_nan=False)]],
    AfterValidator(_ordered),
    fields.expected("two lengths above 0: [least, most]"),
]
Counts = Annotated[
    tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]],
    AfterValidator(_ordered),
    fields.expected("two whole numbers of at least 1: [least, most]"),
]
Share = Annotated[float, Field(ge=0, le=1), fields.expected("a number from 0 to 1")]
Shares = Annotated[
    tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]],
    AfterValidator(_ordered),
    fields.expected("two numbers from 0 to 1: [least, most]"),
]
Pixels = Annotated[
    tuple[Annotated[int, Field(ge=8, le=8192)], Annotated[int, Field(ge=8, le=8192)]],
    fields.expected("rows and columns from 8 to 8192: [rows, columns]"),
]


class Things(Section):
    """What is seen."""

    things: Counts = Field(default=(2, 5), description="how many")
    kinds: tuple[Literal["ellipsoid", "box", "cylinder", "capsule"], ...] = Field(
        default=("ellipsoid", "box", "cylinder", "capsule"), min_length=1, description="which"
    )
    size: Lengths = Field(default=(0.3, 0.8), description="lengths along their axes, in units of the scene")
    spread: fields.Length = Field(default=0.5, description="how far from the middle, along each axis")
    albedo: Shares = Field(default=(0.1, 0.9), description="of each colour")
    checkered: Share = Field(default=0.5, description="the share of things with a checkered surface")
    ground: fields.Switch = Field(default=True, description="whether they are over a checkered ground")


class Cameras(Section):
    """From where."""

    pixels: Pixels = Field(default=(96, 128), description="rows and columns")
    focal_px: Lengths = Field(default=(130.0, 180.0), description="focal length in pixels")
    distance: Lengths = Field(default=(3.0, 4.5), description="from the middle")
    elevation_deg: Angles = Field(default=(10.0, 70.0), description="above the ground")
    azimuth_deg: Angles = Field(default=(0.0, 360.0), description="around")


class Lighting(Section):
    """By which light."""

    lights: Counts = Field(default=(1, 3), description="how many parallel lights")
    strength: Range = Field(default=(0.2, 0.8), description="of each")
    ambient: Range = Field(default=(0.1, 0.4), description="light from everywhere")


class Reading(Section):
    """What the camera makes of it."""

    gain: Range = Field(default=(0.8, 1.2), description="exposure")
    black: Range = Field(default=(0.0, 0.03), description="level of black")
    blur: Range = Field(default=(0.0, 1.0), description="deviation of the point spread in pixels")
    photons: Range = Field(default=(500.0, 5000.0), description="of white at gain 1; 0 for none")
    read_noise: Range = Field(default=(0.0, 0.01), description="deviation, of white")
    dead: Shares = Field(default=(0.0, 0.001), description="share of dead pixels")


class DatasetSettings(Section):
    """A set of labelled pictures."""

    pictures: fields.Count = Field(default=20, description="how many")
    seed: fields.Seed = Field(default=0, description="start of all random numbers")
    formats: tuple[Literal["hdf5", "bop", "coco"], ...] = Field(
        default=("hdf5", "bop", "coco"), min_length=1, description="hdf5, bop, coco"
    )
    unit_mm: fields.Length = Field(default=100.0, description="a unit of the scene in mm, for BOP")
    scene: Things = Field(default_factory=Things)
    camera: Cameras = Field(default_factory=Cameras)
    light: Lighting = Field(default_factory=Lighting)
    sensor: Reading = Field(default_factory=Reading)
