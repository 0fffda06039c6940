"""What constructors of geometry accept: each function returns the plain value or names the argument that is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def refuse(name: str, expected: str, found: object) -> ValueError:
    """The error to raise for argument `name`: what was expected, what came."""
    return ValueError(f"{name}: expected {expected}, found {found!r}")


def number(name: str, value: object) -> float:
    """A finite real number; booleans and strings are refused, not converted."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise refuse(name, "a finite number", value)
    return float(value) + 0.0  # turns -0.0 into 0.0, so that equal values have equal hashes and reprs


def positive(name: str, value: object) -> float:
    """A finite number above zero."""
    if number(name, value) <= 0:
        raise refuse(name, "a length above 0 mm", value)
    return number(name, value)


def count(name: str, value: object) -> int:
    """A whole number of at least one."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise refuse(name, "a whole number of at least 1", value)
    return int(value)


def items(name: str, value: object, length: int) -> list[object]:
    """The `length` entries of a sequence or 1-D array."""
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray) or len(value) != length:
        raise refuse(name, f"{length} values", value)
    return list(value)


def vector(name: str, value: object) -> tuple[float, float, float]:
    """Three finite numbers, in the order the argument's documentation gives."""
    a, b, c = (number(f"{name}[{i}]", v) for i, v in enumerate(items(name, value, 3)))
    return a, b, c


def pair(name: str, value: object) -> tuple[float, float]:
    """Two finite numbers in the order (v, u)."""
    v, u = (number(f"{name}[{i}]", x) for i, x in enumerate(items(name, value, 2)))
    return v, u


def detector_shape(value: object) -> tuple[int, int]:
    """(rows, columns) of the detector; a single number means one row of so many columns."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return 1, count("detector_shape", value)
    v, u = (count(f"detector_shape[{i}]", x) for i, x in enumerate(items("detector_shape", value, 2)))
    return v, u


def pixel(value: object) -> tuple[float, float]:
    """(row pitch, column pitch) of the detector in mm; a single number means square pixels."""
    if isinstance(value, Real) and not isinstance(value, bool):
        return positive("pixel", value), positive("pixel", value)
    v, u = (positive(f"pixel[{i}]", x) for i, x in enumerate(items("pixel", value, 2)))
    return v, u


def table(name: str, value: object, shape: tuple[int | None, ...]) -> Array:
    """A read-only float64 copy of an array of finite numbers; None in `shape` leaves that length free."""
    wanted = "(" + ", ".join("n" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
    try:
        array = np.asarray(value)
    except ValueError:  # a ragged nested list
        raise refuse(name, f"an array of shape {wanted}", value) from None
    if array.dtype.kind not in "fiu" and array.size:
        raise refuse(name, "real numbers", array.dtype.name)
    if array.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
        raise refuse(name, f"an array of shape {wanted}", array.shape)
    if array.shape[0] == 0:
        raise refuse(name, "at least one view", array.shape)
    copy = np.array(array, dtype=np.float64) + 0.0
    if not np.isfinite(copy).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(copy))[0])
        raise refuse(f"{name}{list(where)}", "a finite number", float(copy[where]))
    copy.setflags(write=False)
    return copy


def angles(value: object, *, turns: float | None = 2.0) -> Array:
    """View angles in radians, refused where they span more than `turns` turns and so look like degrees."""
    array = table("angles", value, (None,))
    span = float(np.ptp(array))
    if turns is not None and span > 2 * np.pi * turns + 1e-9:
        raise ValueError(
            f"angles: expected radians over at most {turns:g} turns ({2 * np.pi * turns:.2f} rad), found a span of "
            f"{span:g}. If these are degrees use numpy.deg2rad(angles); if the sample did turn that often, "
            "use angles % (2 * numpy.pi)"
        )
    return array
