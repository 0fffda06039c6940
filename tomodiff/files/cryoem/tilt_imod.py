"""Alignments of tilt series by IMOD: .tlt or .rawtlt, .xf, .xtilt, and what tilt.com adds.

A line of an .xf file, A11 A12 A21 A22 DX DY, takes the raw image to the aligned one about their middles, in pixels;
in the aligned one the tilt axis is vertical (IMOD, man pages of tiltxcorr, xf, tilt).  An image is the inverse:
    axis = angle of A, shift = -inverse(A) (DX, DY), magnification = 1 / scale of A
(RELION 5, align_tiltseries_runner.cpp, readIMODResults, which takes axis and shift alike).  IMOD turns about the middle
of the image, (n - 1) / 2 from 0, and not about pixel n // 2, which for even n is half a pixel more in `shift`.
tilt.com: OFFSET is added to the tilt angles; XAXISTILT is taken off those of the .xtilt file (IMOD, tilt.f90); SHIFT
moves the tomogram's middle; EXCLUDELIST names views from 1, with ranges.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.cryoem.tilt_text import number_rows, numbers, stack_shape, text_of, view_list
from tomodiff.geometry.tilt import TiltSeries

SHEAR = 0.01
"""Part of an .xf that is neither rotation nor scale above which a warning says that it is left out."""


@dataclass(frozen=True)
class TiltCom:
    """What a tilt.com says of the geometry; lengths in unbinned pixels, angles in degrees, views counted from 1."""

    excluded: tuple[int, ...] = ()
    offset: float = 0.0
    x_axis_tilt: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    full_image: tuple[int, int] | None = None
    thickness: int | None = None
    files: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_imod(
    xf: Path | str,
    tilts: Path | str | None = None,
    *,
    pixel: float,
    x_tilts: Path | str | None = None,
    tilt_com: Path | str | None = None,
    stack: Path | str | None = None,
    image_shape: tuple[int, int] | None = None,
    invert_tilt: bool = False,
) -> TiltSeries:
    """The series that an .xf file and its tilt angles (.tlt, .rawtlt) align.

    What is not given is looked for beside the .xf: NAME.tlt or NAME.rawtlt, NAME.xtilt, tilt.com, and the raw stack
    NAME.st, .mrc or .mrcs, whose header tells the image's shape (rows, columns) unless `image_shape` does.
    pixel: of the raw images in angstrom.  invert_tilt: turn the sign of all tilts, which mirrors the tomogram (a series
    cannot tell its hand).  DataError names what is missing or malformed.
    """
    xf = Path(xf)
    tilts, stack = _beside(xf, tilts, (".tlt", ".rawtlt")), _beside(xf, stack, (".st", ".mrc", ".mrcs"))
    x_tilts = _beside(xf, x_tilts, (".xtilt",))
    com_path = Path(tilt_com) if tilt_com is not None else xf.with_name("tilt.com")
    if tilts is None:
        raise DataError(xf, "tilt angles", f"{xf.with_suffix('.tlt').name} or .rawtlt beside it", "neither")
    transforms = number_rows(xf, 6, "A11 A12 A21 A22 DX DY")
    n = len(transforms)
    com = read_tilt_com(com_path, n) if tilt_com is not None or com_path.exists() else TiltCom()
    shape = _image_shape(xf, stack, image_shape, com, n)
    angles = _per_view(tilts, n, "a tilt angle in degrees", xf)
    x_angles = np.zeros(n) if x_tilts is None else _per_view(x_tilts, n, "an x-axis tilt in degrees", xf)
    axis, magnification, shift, sheared = invert_transforms(xf, transforms, shape)
    sign = -1.0 if invert_tilt else 1.0
    said = [*com.warnings]
    if sheared > SHEAR:
        said.append(f"{xf}: a stretch of up to {sheared:.3g} beside rotation and scale was left out")
    series = TiltSeries(
        tilt=np.deg2rad(sign * (angles + com.offset)),
        pixel=pixel,
        image_shape=shape,
        axis=axis,
        shift=shift * pixel,
        x_tilt=np.deg2rad(x_angles - com.x_axis_tilt),
        magnification=magnification,
        paths=() if stack is None else (str(stack),),
        volume_shape=None if com.thickness is None else (com.thickness, *_volume_sides(shape, com)),
        volume_center=(-com.shift[0] * pixel, 0.0, com.shift[1] * pixel),
        warnings=tuple(said),
        meta={"program": "IMOD"},
    )
    if not com.excluded:
        return series
    return series[np.setdiff1d(np.arange(n), np.array(com.excluded) - 1)]


def invert_transforms(
    path: Path, transforms: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Axis (n,), magnification (n,) shift (n, 2) in pixels of .xf lines (n, 6), and the largest stretch left out."""
    A = transforms[:, :4].reshape(-1, 2, 2)
    determinant = np.linalg.det(A)
    if (determinant <= 0).any():
        line = int(np.argmax(determinant <= 0)) + 1
        raise DataError(path, f"line {line}", "a transformation without mirror", f"{transforms[line - 1, :4].tolist()}")
    axis = np.arctan2(A[:, 0, 1] - A[:, 1, 0], A[:, 0, 0] + A[:, 1, 1])
    scale = np.sqrt(determinant)
    c, s = np.cos(axis), np.sin(axis)
    rigid = scale[:, None, None] * np.array([[c, s], [-s, c]]).transpose(2, 0, 1)
    half = np.array([(n - 1) / 2 - n // 2 for n in shape[::-1]])
    shift = half - np.linalg.solve(A, transforms[:, 4:, None])[:, :, 0]
    return axis, 1 / scale, shift, float(np.abs(A - rigid).max())


def read_tilt_com(path: Path, n_views: int | None = None) -> TiltCom:
    """The geometry in a command file of IMOD's tilt.  DataError names the line of a value that is none."""
    found: dict[str, Any] = {"files": {}}
    excluded: set[int] = set()
    said = []
    for n, line in enumerate(text_of(path).splitlines(), 1):
        words = line.split()
        if not words or words[0][0] in "#$":
            continue
        key, values = words[0].upper(), [w for w in re.split(r"[\s,]+", line.strip())[1:] if w]
        if key in ("EXCLUDELIST", "EXCLUDELIST2", "EXCLUDE"):
            excluded.update(view_list(path, n, line.split(None, 1)[1] if len(words) > 1 else "", n_views))
        elif key == "OFFSET":
            found["offset"] = numbers(path, n, values[:1], 1, key)[0]
            if len(values) > 1 and numbers(path, n, values[1:2], 1, key)[0] != 0:
                raise DataError(
                    path, f"line {n}", "a tilt axis in the middle of the image", f"OFFSET {values[1]} pixels"
                )
        elif key == "XAXISTILT":
            found["x_axis_tilt"] = numbers(path, n, values, 1, key)[0]
        elif key == "SHIFT":
            x, z = numbers(path, n, [*values, "0"][:2], 2, key)
            found["shift"] = (x, z)
        elif key == "FULLIMAGE":
            columns, rows = (int(v) for v in numbers(path, n, values, 2, key))
            found["full_image"] = (rows, columns)
        elif key == "THICKNESS":
            found["thickness"] = int(numbers(path, n, values, 1, key)[0])
        elif key == "LOCALFILE":
            said.append(f"{path}: the local alignments of {values[0] if values else 'LOCALFILE'} are left out")
        elif key in ("TILTFILE", "XTILTFILE", "INPUTPROJECTIONS") and values:
            found["files"][key] = words[1]
    return TiltCom(excluded=tuple(sorted(excluded)), warnings=tuple(said), **found)


def _beside(xf: Path, given: Path | str | None, suffixes: tuple[str, ...]) -> Path | None:
    if given is not None:
        return Path(given)
    places = [xf.with_suffix(suffix) for suffix in suffixes]
    return next((place for place in places if place.exists()), None)


def _per_view(path: Path | str, n: int, what: str, xf: Path) -> np.ndarray:
    values = number_rows(Path(path), 1, what)[:, 0]
    if len(values) != n:
        raise DataError(path, "lines", f"{n}, as in {xf.name}", str(len(values)))
    return values


def _image_shape(
    xf: Path, stack: Path | str | None, given: tuple[int, int] | None, com: TiltCom, n: int
) -> tuple[int, int]:
    if given is not None:
        return given
    if stack is not None:
        sections, rows, columns = stack_shape(Path(stack))
        if sections != n:
            raise DataError(stack, "sections", f"{n}, as {xf.name} has lines", str(sections))
        return rows, columns
    if com.full_image is not None:
        return com.full_image
    hint = "Name the stack, or give image_shape=(rows, columns)."
    raise DataError(xf, "image shape", "the raw stack beside it, or FULLIMAGE in tilt.com", "neither", hint)


def _volume_sides(shape: tuple[int, int], com: TiltCom) -> tuple[int, int]:
    return shape if com.full_image is None else com.full_image
