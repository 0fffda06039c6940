"""Text files beside images: where sun and camera stood, exposures, haze; as Ames Stereo Pipeline has them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tomodiff.errors import DataError
from tomodiff.files.atomic import replacing

KEYWORDS = (("SUN_AZIMUTH", "SUN_ELEVATION"), ("MEANSUNAZ", "MEANSUNEL"), ("SUNAZ", "SUNEL"))
"""Pairs of tags that tell the sun's azimuth (clockwise from north) and elevation, in degrees."""


@dataclass(frozen=True)
class Light:
    """Degrees, azimuths clockwise from true north, at the middle of the DEM; a camera in the zenith is the default."""

    sun_azimuth: float
    sun_elevation: float
    view_azimuth: float = 0.0
    view_elevation: float = 90.0


def read_lights(path: Path) -> dict[str, Light]:
    """name of the image -> Light, from lines `IMAGE AZIMUTH ELEVATION [VIEW_AZIMUTH VIEW_ELEVATION]` in degrees.

    This is `--sun-angles` of Ames Stereo Pipeline, and two more columns for cameras that do not look straight down.
    """
    made: dict[str, Light] = {}
    for where, words in _lines(path):
        if len(words) not in (3, 5):
            raise DataError(
                path, where, "IMAGE AZIMUTH ELEVATION, or these and VIEW_AZIMUTH VIEW_ELEVATION",
                f"{len(words)} words",
            )  # fmt: skip
        angles = _numbers(path, where, words[1:])
        if not -360 <= angles[0] <= 360:
            raise DataError(path, where, "an azimuth in degrees, -360 to 360", f"{angles[0]:g}")
        for name, elevation in zip(("sun", "camera"), angles[1::2], strict=False):
            if not -90 <= elevation <= 90:
                raise DataError(path, where, f"an elevation of the {name} in degrees, -90 to 90", f"{elevation:g}")
        made[Path(words[0]).name] = Light(*angles)
    if not made:
        raise DataError(path, "", "a line IMAGE AZIMUTH ELEVATION for each image", "no lines")
    return made


def read_directions(path: Path, names: Sequence[str] | None) -> dict[str, Light]:
    """name of the image -> Light, from lines `IMAGE X Y Z` or, in the order of the images, `X Y Z`: towards the light
    in the axes right, up, towards the camera; of any length.  names: of the images, None where lines must have them."""
    made: dict[str, Light] = {}
    lines = _lines(path)
    by_order = names if names is not None and all(len(words) == 3 for _, words in lines) else None
    if by_order is not None and len(lines) != len(by_order):
        raise DataError(path, "", f"a line X Y Z for each of {len(by_order)} images", f"{len(lines)} lines")
    for n, (where, words) in enumerate(lines):
        if len(words) != (4 if by_order is None else 3):
            raise DataError(path, where, "X Y Z, or IMAGE X Y Z in every line", f"{len(words)} words")
        x, y, z = _numbers(path, where, words[-3:])
        size = math.hypot(x, y, z)
        if not (math.isfinite(size) and size > 0):
            raise DataError(path, where, "a vector of some length", " ".join(words[-3:]))
        azimuth, elevation = math.degrees(math.atan2(x, y)), math.degrees(math.asin(z / size))
        made[Path(words[0]).name if by_order is None else by_order[n]] = Light(azimuth, elevation)
    return made


def light_of_tags(tags: Mapping[str, str]) -> Light | None:
    """The light that a file's own tags tell; None where they do not."""
    upper = {name.upper(): value for name, value in tags.items()}
    for azimuth, elevation in KEYWORDS:
        try:
            return Light(float(upper[azimuth]), float(upper[elevation]))
        except (KeyError, ValueError):
            continue
    return None


def read_exposures(path: Path) -> dict[str, list[float]]:
    """name of the image -> numbers, from lines `IMAGE NUMBER [NUMBER ...]`, as `-exposures.txt` and `-haze.txt`."""
    return {Path(words[0]).name: _numbers(path, where, words[1:]) for where, words in _lines(path) if len(words) > 1}


def write_numbers(path: Path, names: Sequence[str], values: Sequence[float]) -> None:
    """A line `IMAGE NUMBER` for each image; appears whole."""
    text = "".join(f"{name} {value:.10g}\n" for name, value in zip(names, values, strict=True))
    with replacing(path, len(text)) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _lines(path: Path) -> list[tuple[str, list[str]]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(path, "", "a text file", str(error)) from error
    split = ((f"line {n}", line.partition("#")[0].split()) for n, line in enumerate(text.splitlines(), 1))
    return [(where, words) for where, words in split if words]


def _numbers(path: Path, where: str, words: Sequence[str]) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise DataError(path, where, "numbers after the image's name", " ".join(words)) from error
