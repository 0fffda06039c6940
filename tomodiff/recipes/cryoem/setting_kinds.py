"""Kinds of value in the settings of cryo-EM jobs, each with one sentence for whoever typed something else."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from tomodiff.errors import ConfigError
from tomodiff.recipes.fields import File, expected


def _known(name: str) -> str:
    from tomodiff.geometry.symmetry import point_group

    try:
        point_group(name)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return name


def separated(value: object) -> object:
    """A text with commas as a list; anything else as it is."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Angstrom = Annotated[_Positive, expected("a length in angstrom above 0")]
Pixels = Annotated[_Positive, expected("a number of pixels above 0")]
Angle = Annotated[_Positive, expected("an angle in degrees above 0")]
Fraction = Annotated[_Positive, expected("a number above 0")]
Kilovolts = Annotated[_Positive, expected("kilovolts above 0")]
Aberration = Annotated[_Positive, expected("a spherical aberration in mm above 0")]
Share = Annotated[float, Field(ge=0, le=1), expected("a number between 0 and 1")]
Padding = Annotated[float, Field(ge=1, le=4), expected("a number between 1 and 4")]
Order = Annotated[int, Field(ge=1, le=4), expected("a whole number between 1 and 4")]
Files = Annotated[tuple[File, ...], BeforeValidator(separated), expected("files, separated by commas")]
Views = Annotated[
    tuple[Annotated[int, Field(ge=1)], ...],
    BeforeValidator(separated),
    expected("numbers of views counted from 1, separated by commas"),
]
Symmetry = Annotated[
    str, AfterValidator(_known), expected("a point group without mirrors: C1, Cn, Dn, T, O, I, I1 to I4")
]
Sharpening = Annotated[
    Literal["auto", "off"] | Annotated[float, Field(allow_inf_nan=False)],
    expected("auto, off or a B factor in angstrom^2 (negative sharpens)"),
]
