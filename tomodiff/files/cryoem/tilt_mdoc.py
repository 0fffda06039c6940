"""What SerialEM noted of each tilt: .mdoc files (SerialEM, "The .mdoc file", hosted with IMOD's autodoc format).

Sections [ZValue = n] hold TiltAngle and RotationAngle in degrees, ExposureDose and PriorRecordDose in electrons per
square angstrom, DateTime and SubFramePath.  An mdoc may hold one tilt or many.  It is a record of the stage, not an
alignment: shifts are zero.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path, PureWindowsPath

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.cryoem.tilt_text import numbers, text_of
from tomodiff.geometry.tilt import TiltSeries

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""English, as SerialEM writes them whatever the reader's language."""

Section = dict[str, tuple[int, str]]
"""Values by key, each with the number of its line."""


def read_mdoc(
    path: Path | str,
    *,
    pixel: float | None = None,
    stack: Path | str | None = None,
    image_shape: tuple[int, int] | None = None,
    invert_tilt: bool = False,
) -> TiltSeries:
    """The tilts of an .mdoc in the order of ZValue, with doses and the order of exposure.

    The dose before an image is PriorRecordDose where all sections have it, else the sum of the ExposureDose of those
    taken earlier (by DateTime, else in the order of ZValue).  pixel (angstrom) and image_shape (rows, columns) overrule
    PixelSpacing and ImageSize.  invert_tilt: see `read_imod`.
    """
    path = Path(path)
    header, sections = parse_mdoc(path)
    sections = sorted(sections, key=lambda s: int(s["ZValue"][1]))
    z = [int(s["ZValue"][1]) for s in sections]
    if len(set(z)) != len(z):
        twice = next(v for v in z if z.count(v) > 1)
        raise DataError(path, "ZValue", "each section once", f"{twice} twice")
    exposure = _column(path, sections, "ExposureDose")
    prior = _column(path, sections, "PriorRecordDose")
    order = _order(path, sections)
    said = []
    if prior is None and exposure is not None:
        prior = np.empty(len(order))
        in_time = np.argsort(order)
        prior[in_time] = np.cumsum(exposure[in_time]) - exposure[in_time]
        said.append(
            f"{path}: no PriorRecordDose in all sections: the dose before each tilt is the sum of those earlier"
        )
    if exposure is None:
        said.append(f"{path}: no ExposureDose in all sections: the dose is unknown")
    tilt = _column(path, sections, "TiltAngle")
    if tilt is None:
        missing = next(s for s in sections if "TiltAngle" not in s)
        raise DataError(path, f"ZValue {missing['ZValue'][1]}", "TiltAngle", "none")
    axis = _column(path, sections, "RotationAngle")
    frames = [s.get("SubFramePath", (0, ""))[1] for s in sections]
    sign = -1.0 if invert_tilt else 1.0
    return TiltSeries(
        tilt=np.deg2rad(sign * tilt),
        pixel=_pixel(path, header, sections) if pixel is None else pixel,
        image_shape=image_shape or _image_size(path, header, sections),
        axis=None if axis is None else np.deg2rad(axis),  # type: ignore[arg-type]
        dose=prior,  # type: ignore[arg-type]
        exposure=exposure,  # type: ignore[arg-type]
        order=order,
        section=np.array(z),
        paths=(str(stack),) if stack is not None else tuple(frames) if all(frames) else (),
        warnings=tuple(said),
        meta={"program": "SerialEM", "frames": [PureWindowsPath(f).name for f in frames]},
    )


def parse_mdoc(path: Path) -> tuple[Section, list[Section]]:
    """The values before the first section, and those of each [ZValue = n]."""
    header: Section = {}
    current = header
    sections: list[Section] = []
    for n, line in enumerate(text_of(path).splitlines(), 1):
        line = line.strip()
        if not line or line.startswith(("#", "[T")):
            continue
        if match := re.fullmatch(r"\[\s*(\w+)\s*=\s*(.*?)\s*\]", line):
            if match[1] != "ZValue":
                raise DataError(path, f"line {n}", "[ZValue = number]", repr(line))
            if not match[2].isdecimal():
                raise DataError(path, f"line {n}", "a section number", repr(match[2]))
            current = {"ZValue": (n, match[2])}
            sections.append(current)
        elif "=" in line:
            key, value = line.split("=", 1)
            current[key.strip()] = (n, value.strip())
        else:
            raise DataError(path, f"line {n}", "KEY = VALUE or [ZValue = number]", repr(line))
    if not sections:
        raise DataError(path, "", "sections [ZValue = number] of an .mdoc", "none")
    return header, sections


def _column(path: Path, sections: list[Section], key: str) -> np.ndarray | None:
    """A number of every section; None where one has none."""
    if not all(key in s for s in sections):
        return None
    return np.array([numbers(path, s[key][0], s[key][1].split(), 1, key)[0] for s in sections])


def _order(path: Path, sections: list[Section]) -> np.ndarray:
    """The rank in time of each section: by DateTime where all have one, else as they are numbered."""
    if not all("DateTime" in s for s in sections):
        return np.arange(len(sections))
    times = [_time(path, *s["DateTime"]) for s in sections]
    order = np.empty(len(times), np.int64)
    order[sorted(range(len(times)), key=lambda i: times[i])] = np.arange(len(times))
    return order


def _time(path: Path, line: int, text: str) -> datetime:
    """A DateTime such as "05-Nov-15  15:21:38", with a year of two or four digits."""
    match = re.fullmatch(r"(\d{1,2})-([A-Za-z]{3})-(\d{2}|\d{4})\s+(\d{1,2}):(\d{2}):(\d{2})", text)
    if match is None or match[2].title() not in MONTHS:
        raise DataError(path, f"line {line}", "a DateTime such as 05-Nov-15  15:21:38", repr(text))
    year = int(match[3]) + (2000 if len(match[3]) == 2 else 0)
    month = MONTHS.index(match[2].title()) + 1
    try:
        return datetime(year, month, int(match[1]), int(match[4]), int(match[5]), int(match[6]))
    except ValueError as error:
        raise DataError(path, f"line {line}", "a date that exists", repr(text)) from error


def _find(header: Section, sections: list[Section], key: str) -> tuple[int, str] | None:
    return header.get(key) or sections[0].get(key)


def _pixel(path: Path, header: Section, sections: list[Section]) -> float:
    found = _find(header, sections, "PixelSpacing")
    if found is None:
        raise DataError(path, "PixelSpacing", "the pixel size in angstrom", "none", "Give it with pixel=.")
    return numbers(path, found[0], found[1].split(), 1, "PixelSpacing")[0]


def _image_size(path: Path, header: Section, sections: list[Section]) -> tuple[int, int]:
    found = _find(header, sections, "ImageSize")
    if found is None:
        raise DataError(path, "ImageSize", "columns and rows of an image", "none", "Give image_shape=(rows, columns).")
    columns, rows = numbers(path, found[0], found[1].split(), 2, "ImageSize: columns rows")
    return int(rows), int(columns)
