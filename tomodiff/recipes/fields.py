"""The kinds of value that settings hold, each with one sentence for whoever typed something else.

Pydantic reports every member of a union separately ("not 'auto'", "not a number"); here a field says once what it
expects and what came.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

_SPAN = re.compile(r"^\s*(-?\d*)\s*:\s*(-?\d*)\s*(?::\s*(-?\d*)\s*)?$")


def expected(what: str) -> WrapValidator:
    """A validator whose only message is "expected `what`, got ..."."""

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            shown = repr(value) if len(repr(value)) < 60 else repr(value)[:57] + "..."
            raise PydanticCustomError(
                "expected", "expected {what}, got {shown}", dict(what=what, shown=shown)
            ) from None

    return WrapValidator(check)


def as_slice(span: str | None) -> slice | None:
    """The slice that a span such as "10:20", ":50" or "0:180:2" stands for; None stays None."""
    if span is None:
        return None
    match = _SPAN.match(span)
    if match is None:
        raise ValueError(f"expected a:b or a:b:step, got {span!r}")
    start, stop, step = (int(part) if part else None for part in match.groups())
    if step is not None and step < 1:
        raise ValueError(f"expected a step of at least 1, got {span!r}")
    if start is not None and stop is not None and (start < 0) == (stop < 0) and stop <= start:
        raise ValueError(f"expected a non-empty range, got {span!r}")
    return slice(start, stop, step)


def _span(value: Any, handler: ValidatorFunctionWrapHandler) -> str:
    if isinstance(value, list | tuple) and len(value) == 2 and all(type(v) is int for v in value):
        value = f"{value[0]}:{value[1]}"
    if not isinstance(value, str):
        raise PydanticCustomError("expected", "expected a range a:b, got {shown}", dict(shown=repr(value)))
    try:
        as_slice(value)
    except ValueError as error:
        raise PydanticCustomError("expected", "{message}", dict(message=str(error))) from None
    return str(value).replace(" ", "")


def _ordered(ends: tuple[int, int]) -> tuple[int, int]:
    if ends[1] <= ends[0]:
        raise ValueError("empty")
    return ends


Span = Annotated[str, WrapValidator(_span)]
"""A range of rows or views, a:b or a:b:step, counted from 0, the end excluded (Python's rule)."""

File = Annotated[Path, expected("the path of a file or folder")]
Text = Annotated[str, Field(min_length=1), expected("a text")]
Length = Annotated[float, Field(gt=0, allow_inf_nan=False), expected("a length in mm above 0")]
_Size = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Pixel = Annotated[_Size | tuple[_Size, _Size], expected("a length in mm above 0, or two: [v, u]")]
Fraction = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False), expected("a number between 0 and 1")]
Relaxation = Annotated[float, Field(gt=0, lt=2, allow_inf_nan=False), expected("a number between 0 and 2")]
Gigabytes = Annotated[float, Field(gt=0, allow_inf_nan=False), expected("a number of GB above 0")]
Duration = Annotated[float, Field(gt=0, allow_inf_nan=False), expected("a number of seconds above 0")]
Count = Annotated[int, Field(ge=1), expected("a whole number of at least 1")]
Seed = Annotated[int, Field(ge=0), expected("a whole number of at least 0")]
Switch = Annotated[bool, expected("true or false")]

Flag = Annotated[Literal["auto", "off"], expected("auto or off")]
Format = Annotated[
    Literal["h5", "tiff", "tiffs", "mrc", "nii", "nii.gz", "mha", "nrrd", "npy", "zarr", "dcm"],
    expected("h5, tiff, tiffs, mrc, nii, nii.gz, mha, nrrd, npy, zarr or dcm"),
]
Method = Literal[
    "auto", "fbp", "fdk", "gridding", "sirt", "cgls", "lsmr", "os-sart", "osem", "mlem", "pwls", "fista-tv",
]  # fmt: skip
AutoWeight = Annotated[
    Literal["auto"] | Annotated[float, Field(ge=0, allow_inf_nan=False)], expected("auto or a number of at least 0")
]
Center = Annotated[
    Literal["auto", "keep"] | Annotated[float, Field(allow_inf_nan=False)],
    expected("auto, keep, or the detector column (pixels, from 0) of the rotation axis"),
]


def _couples(value: object) -> object:
    """Couples given as text, a:b,c:d, as lists of texts; anything else as it is."""
    if isinstance(value, str) and all(part.count(":") == 1 for part in value.split(",")):
        return [[end.strip() for end in part.split(":")] for part in value.split(",")]
    return value


def _couple(value: object) -> object:
    """One couple given as text, a:b."""
    made = _couples(value)
    return made[0] if isinstance(made, list) and isinstance(value, str) and len(made) == 1 else value


def _mapping(value: object) -> object:
    """A table given as text, a:b,c:d."""
    made = _couples(value)
    return dict(made) if isinstance(made, list) and isinstance(value, str) else value


def _list(value: object) -> object:
    """Numbers given as text, a,b,c, or one by itself."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else value


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), expected("a number above 0")]
Water = Annotated[Literal["file"] | Positive, expected("file, or the attenuation of water in 1/mm, above 0")]
Kernel = Annotated[
    tuple[Positive, Positive], BeforeValidator(_couple), expected("amplitude:width in mm, both above 0, as 0.05:40")
]
Pairs = Annotated[
    tuple[tuple[Positive, Positive], ...],
    Field(min_length=1),
    BeforeValidator(_couples),
    expected("pairs share:views, all above 0, as 0.02:5,0.01:60"),
]
Filters = Annotated[
    dict[str, Positive], Field(min_length=1), BeforeValidator(_mapping), expected("filters in mm, as Al:2,Cu:0.1")
]
Numbers = Annotated[
    tuple[Annotated[float, Field(allow_inf_nan=False)], ...],
    Field(min_length=1),
    BeforeValidator(_list),
    expected("numbers a,b,..."),
]


def _columns(value: object) -> object:
    """The two ends of a range of columns given as text, a:b or a,b; anything else as it is."""
    if isinstance(value, str) and (match := re.fullmatch(r"\s*\[?\s*(\d+)\s*[:,]\s*(\d+)\s*\]?\s*", value)):
        return [int(match[1]), int(match[2])]
    return value


_Range = Annotated[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]], AfterValidator(_ordered)]
Columns = Annotated[_Range, BeforeValidator(_columns), expected("a:b or [a, b]: detector columns, a below b")]
Flux = Annotated[
    Literal["auto", "off"] | _Range,
    BeforeValidator(_columns),
    expected("auto, off or [a, b]: columns a to b-1 of the detector, which see only air"),
]
