"""Rotation angles from files: their unit, their number, and the traps that both hold."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import ConfigError, DataError
from tomodiff.files.hdf5 import inside
from tomodiff.files.source import RawAngles

MISLABEL_VIEWS = 20
MISLABEL_DEGREES = 7.0
"""At least so many views over less than so many degrees (a full turn is 6.28 rad) look like radians."""

MISLABEL_TURNS, MISLABEL_STEP = 20.0, 0.1
"""Radians over more than three turns, in steps of more than six degrees, look like degrees."""

SAME_ANGLE = 0.01
"""Two angles of a file are the same if they differ by less than this part of a usual step (encoders jitter)."""

HEADERS = ("angle", "theta", "rotation", "rot")
"""Words by which the column of angles is known in the first line of a table."""


def unit_name(unit: str | None, where: str) -> str | None:
    """The name "deg" or "rad", or None, for a unit as files spell it.  Raises DataError for any other unit."""
    name = (unit or "").strip().lower().rstrip(".")
    if name == "":
        return None
    if name in ("deg", "degs", "degree", "degrees", "\N{DEGREE SIGN}"):
        return "deg"
    if name in ("rad", "rads", "radian", "radians"):
        return "rad"
    raise DataError(where, "angle unit", "degrees or radians", repr(unit), "Name it with --angle-unit deg or rad.")


def in_radians(angles: RawAngles, angle_unit: str) -> tuple[np.ndarray, str]:
    """The angles in radians, and a line that says how they were understood.

    `angle_unit` "deg" or "rad" overrules the file; "auto" takes the file's unit, else degrees.  Raises DataError
    for values that are not finite, and for degrees that look like radians or the other way round.
    """
    if angle_unit not in ("auto", "deg", "rad"):
        raise ConfigError(f"angle_unit: expected auto, deg or rad, found {angle_unit!r}")
    values = np.asarray(angles.values, np.float64)
    if not np.all(np.isfinite(values)):
        bad = np.flatnonzero(~np.isfinite(values))
        raise DataError(angles.origin, "angles", "finite numbers", f"{len(bad)} that are not, the first at {bad[0]}")
    unit = angle_unit if angle_unit != "auto" else angles.unit or "deg"
    span = float(np.ptp(values)) if len(values) else 0.0
    if unit == "rad":
        step = float(np.median(np.abs(np.diff(values)))) if len(values) > 1 else 0.0
        if angle_unit == "auto" and len(values) >= MISLABEL_VIEWS and span > MISLABEL_TURNS and step > MISLABEL_STEP:
            raise DataError(
                angles.origin,
                "angles",
                "radians",
                f"a range of {span:.4g} in steps of {step:.3g}, as of degrees",
                "If they are degrees, say so: --angle-unit deg (angle_unit='deg'); else --angle-unit rad.",
            )
        return values, f"angles in radians from {angles.origin}"
    if angle_unit == "auto" and len(values) >= MISLABEL_VIEWS and span < MISLABEL_DEGREES:
        hint = (
            "If they are radians, say so: --angle-unit rad (angle_unit='rad'); "
            "for a scan that does cover so little: --angle-unit deg."
        )
        raise DataError(
            angles.origin,
            "angles",
            f"{len(values)} views over more than {MISLABEL_DEGREES:g} degrees",
            f"a range of {span:.4g}, as of radians",
            hint,
        )
    said = "degrees" if angles.unit or angle_unit != "auto" else "degrees (no unit given)"
    return np.deg2rad(values), f"angles in {said} from {angles.origin}"


def given_angles(angles: Any, what: str = "angles") -> RawAngles:
    """Angles that a user gives in place of the file's: an array, a text or table file, or "start:stop:n".

    Numbers are degrees unless `angle_unit` says otherwise.  "0:180:900" is 900 angles from 0 in steps of 0.2,
    the stop left out; "0:180:901:closed" includes it.
    """
    if isinstance(angles, str | Path):
        if (stored := inside(str(angles))) is not None:
            return RawAngles(_row(stored[0], str(angles)), unit_name(stored[1], str(angles)), str(angles))
        found = _parsed_range(str(angles), what)
        return found if found is not None else read_angles(Path(angles))
    return RawAngles(_row(angles, what), None, what)


def _row(angles: Any, what: str) -> np.ndarray:
    values = np.asarray(angles)
    if values.dtype.kind not in "iuf" or values.ndim != 1 or values.size == 0:
        raise ConfigError(
            f"{what}: expected a file, 'start:stop:n' or a row of numbers, "
            f"found {values.dtype} with shape {values.shape}"
        )
    return values.astype(np.float64)


def _parsed_range(text: str, what: str) -> RawAngles | None:
    parts = text.split(":")
    if len(parts) < 3 or Path(text).exists():
        return None
    try:
        start, stop, n = float(parts[0]), float(parts[1]), int(parts[2])
        closed = {(): False, ("closed",): True}[tuple(parts[3:])]
    except (ValueError, KeyError) as error:
        raise ConfigError(f"{what}: expected start:stop:n or start:stop:n:closed, found {text!r}") from error
    if n < 1:
        raise ConfigError(f"{what}: expected at least one angle in start:stop:n, found {text!r}")
    return RawAngles(np.linspace(start, stop, n, endpoint=closed), None, f"{what} {text}")


def read_angles(path: Path) -> RawAngles:
    """Angles from a text file, one in a line, or from the table column whose name speaks of an angle.

    A name such as `angle_rad` or `theta (deg)` gives the unit.  Two columns without names are number and angle.
    Lines that start with # are comments.  Raises DataError that names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(path, "angles", "a readable file", error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise DataError(path, "angles", "a text file", "bytes that are not text") from error
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1)]
    rows = [(n, _fields(line)) for n, line in lines if line and not line.startswith("#")]
    if not rows:
        raise DataError(path, "angles", "one angle in a line", "no lines")
    names = rows.pop(0)[1] if not _is_number(rows[0][1][0]) else None
    column = _column(path, names, rows)
    values = []
    for n, fields in rows:
        if len(fields) <= column or not _is_number(fields[column]):
            raise DataError(path, f"line {n}", f"a number in column {column + 1}", repr(" ".join(fields)))
        values.append(float(fields[column]))
    unit = None
    if names is not None:
        name = names[column] if len(rows[0][1]) > 1 else " ".join(names)  # "theta (deg)" over one column is one name
        if match := re.search(r"\b(?:\w+_)?(rad|deg)", name.lower()):
            unit = match[1]
    return RawAngles(np.array(values), unit, str(path))


def _fields(line: str) -> list[str]:
    if "," in line or ";" in line:
        return [f.strip() for f in next(csv.reader([line], delimiter=";" if ";" in line else ","))]
    return line.split()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _column(path: Path, names: list[str] | None, rows: list[tuple[int, list[str]]]) -> int:
    """The column in which the angles are."""
    if not rows:
        raise DataError(path, "angles", "one angle in a line", f"only the line {names}")
    if names is not None:
        named = [i for i, name in enumerate(names) if any(word in name.lower() for word in HEADERS)]
        if len(named) == 1:
            return named[0]
        if len(names) == 1:
            return 0
        raise DataError(path, "columns", f"one column named {', '.join(HEADERS)}", f"{names}")
    width = len(rows[0][1])
    if width == 1:
        return 0
    first = [fields[0] for _, fields in rows]
    if width == 2 and first in ([str(i) for i in range(len(rows))], [str(i + 1) for i in range(len(rows))]):
        return 1
    raise DataError(path, "columns", "one angle in a line, or a table with a line of names", f"{width} columns")


def fitted(angles: np.ndarray, n_views: int, where: str, shape: tuple[int, ...] = ()) -> tuple[np.ndarray, str]:
    """As many angles as views, and a warning where some had to go ("" where not).

    Acquisition software may log an angle for each flat and dark field too, while the stage stands still before
    and after the scan.  Surplus angles are dropped only if runs of equal angles at the two ends explain all of
    them.  Raises DataError for any other difference in number, with a hint where another axis of `shape` fits.
    """
    if len(angles) == n_views:
        return angles, ""
    hint = "Give the right ones with angles=."
    if len(angles) in shape[1:]:
        hint = (
            f"Axis {shape.index(len(angles), 1)} of the projections {shape} has that length: "
            "their order seems to be another one than (view, row, column)."
        )
    if len(angles) > n_views > 1:
        lead, tail = _run(angles), _run(angles[::-1])
        if lead + tail - 2 == len(angles) - n_views and max(lead, tail) > 1:
            kept = angles[lead - 1 : len(angles) - tail + 1]
            return kept, (
                f"{where}: {len(angles)} angles for {n_views} views: the first is repeated "
                f"{lead - 1} times and the last {tail - 1} times (flat and dark fields?); "
                "the repetitions were dropped"
            )
    raise DataError(where, "angles", f"{n_views}, one for each view", str(len(angles)), hint)


def _run(angles: np.ndarray) -> int:
    """How many angles at the start are equal."""
    steps = np.abs(np.diff(angles))
    moving = steps[steps > 1e-6 * max(1e-300, float(np.ptp(angles)))]
    if moving.size == 0:
        return len(angles)
    differs = np.flatnonzero(np.abs(angles - angles[0]) > SAME_ANGLE * np.median(moving))
    return int(differs[0])
