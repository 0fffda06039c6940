"""What `tomodiff optical emission` reads: images of light, and what is sought."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tomodiff.errors import ConfigError
from tomodiff.recipes import fields
from tomodiff.recipes.config_file import settings_in
from tomodiff.recipes.section import Section

Number = Annotated[float, Field(allow_inf_nan=False), fields.expected("a number")]
Three = Annotated[tuple[Number, Number, Number], fields.expected("three numbers")]
Box = Annotated[
    tuple[Number, Number, Number, Number, Number, Number], fields.expected("xmin, xmax, ymin, ymax, zmin, zmax")
]
Factors = Annotated[
    tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...],
    Field(min_length=1),
    fields.expected("a list of numbers of at least 0"),
]
Place = Annotated[tuple[Number, Number], fields.expected("right ascension and declination in degrees")]


class Images(Section):
    """One of photographs, scan and sky."""

    photographs: fields.File | None = Field(default=None, description="transforms.json, or COLMAP's folder")
    scan: fields.File | None = Field(default=None, description="a parallel scan: SPECT, a detector that turns")
    sky: tuple[fields.File, ...] | None = Field(default=None, description="FITS images with celestial coordinates")
    channel: Literal["mean", "red", "green", "blue", "all"] = Field(
        default="mean", description="of photographs; all: a map of emission for each"
    )
    bin: fields.Count = Field(default=1, description="average so many pixels of photographs along rows and columns")
    centre_deg: Place | None = Field(default=None, description="of the object in the sky; none for the first image's")


class Bands(Section):
    """How images of the sky differ."""

    emission: Factors | None = Field(default=None, description="of each image, over what is sought; none for ones")
    extinction: Factors | None = Field(default=None, description="the same of absorption")
    separate: fields.Switch = Field(default=False, description="a map of emission for each image")


class Axis(Section):
    """An axis all around which the object is the same."""

    direction: Three | None = Field(default=None, description="x, y, z of the world")
    position_angle_deg: Number | None = Field(default=None, description="on the sky, from north through east")
    tilt_deg: Number = Field(default=0.0, description="of the end at the position angle, away from us")
    through: Three = Field(default=(0.0, 0.0, 0.0), description="a point on it, where height is zero")
    mirror: fields.Switch = Field(default=False, description="the same above and below that point")


class Fit(Section):
    """How it is sought."""

    smooth: fields.AutoWeight = Field(
        default="auto", description="weight of differences between neighbours; auto: by the noise of the images"
    )
    iterations: fields.Count = Field(default=200, description="of L-BFGS-B, at most")


class EmissionSettings(Section):
    """Light from volumes."""

    images: Images = Field(default_factory=Images)
    bands: Bands = Field(default_factory=Bands)
    box: Box | None = Field(default=None, description="xmin, xmax, ymin, ymax, zmin, zmax; none for what is seen")
    voxels: Annotated[int, Field(ge=4, le=1024), fields.expected("a whole number from 4 to 1024")] = Field(
        default=64, description="along the longest side of the box"
    )
    axis: Axis | None = Field(default=None)
    absorption: Annotated[Literal["none", "fit"] | Path, fields.expected("none, fit, or a volume file in 1/mm")] = (
        Field(default="none", description="none, fit, or a volume in one over the unit of length")
    )
    fit: Fit = Field(default_factory=Fit)


def read_emission_settings(path: Path) -> EmissionSettings:
    """The settings in a YAML file, whose own folder is where its paths begin.  ConfigError that lists every mistake."""
    made = settings_in(path, EmissionSettings)
    given = [name for name in ("photographs", "scan", "sky") if getattr(made.images, name)]
    if len(given) != 1:
        found = ", ".join(given) or "none"
        raise ConfigError(f"{path}: images: expected one of photographs, scan and sky, got {found}")
    if made.axis is not None and (made.axis.direction is None) == (made.axis.position_angle_deg is None):
        raise ConfigError(f"{path}: axis: expected either direction or position_angle_deg")
    return made
