"""Alignments of tilt series by AreTomo: .aln files.

The columns ROT, TX, TY and TILT are the angle of the tilt axis in degrees, the shift in pixels and the tilt in degrees,
all as in `TiltSeries` (RELION 5, align_tiltseries_runner.cpp, readAreTomoResults, takes them over as they are).  SEC
counts the sections of the stack from 0 or from 1, depending on the version; "# DarkFrame = frame section tilt" names
those left out, so that with "# RawSize = x y n" all n are accounted for and tell which.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.cryoem.tilt_text import numbers, text_of
from tomodiff.geometry.tilt import TiltSeries

COLUMNS = "SEC ROT GMAG TX TY SMEAN SFIT SCALE BASE TILT"


def read_aln(
    path: Path | str, *, pixel: float, stack: Path | str | None = None, invert_tilt: bool = False
) -> TiltSeries:
    """The series that an .aln file aligns, without its dark frames.

    pixel: of the raw images in angstrom.  stack: the images; default NAME.mrc or .st beside it, if there.
    invert_tilt: see `read_imod`.  DataError names the line that is malformed.
    """
    path = Path(path)
    rows: list[list[float]] = []
    dark: list[int] = []
    raw: list[int] = []
    patches = 0
    for n, line in enumerate(text_of(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if line.startswith("# SEC"):
            if words[1:] != COLUMNS.split():
                raise DataError(path, f"line {n}", f"the columns {COLUMNS}", " ".join(words[1:]))
        elif not line.startswith("#"):
            rows.append(numbers(path, n, words, 10, COLUMNS))
        elif match := re.match(r"#\s*(\w+)\s*=\s*(.*)", line):
            if match[1] == "RawSize":
                raw = [int(v) for v in numbers(path, n, match[2].split(), 3, "RawSize: columns rows sections")]
            elif match[1] == "DarkFrame":
                dark.append(int(numbers(path, n, match[2].split(), 3, "DarkFrame: frame section tilt")[1]))
            elif match[1] == "NumPatches":
                patches = int(numbers(path, n, match[2].split(), 1, "NumPatches")[0])
        elif line.startswith("# Local"):
            break
    if not raw or not rows:
        raise DataError(path, "", "an .aln file of AreTomo (# RawSize, then lines of ten numbers)", "none of these")
    table = np.array(rows)
    section = _sections(path, table[:, 0].astype(np.int64), dark, raw[2])
    sign = -1.0 if invert_tilt else 1.0
    return TiltSeries(
        tilt=np.deg2rad(sign * table[:, 9]),
        pixel=pixel,
        image_shape=(raw[1], raw[0]),
        axis=np.deg2rad(table[:, 1]),
        shift=table[:, 3:5] * pixel,
        magnification=table[:, 2],
        section=section,
        excluded=tuple(sorted(set(range(raw[2])) - {int(s) for s in section})),
        paths=_stack(path, stack),
        warnings=(f"{path}: the local alignments of {patches} patches are left out",) if patches else (),
        meta={"program": "AreTomo"},
    )


def _sections(path: Path, named: np.ndarray, dark: list[int], n: int) -> np.ndarray:
    """The sections from 0; which of both counts the file has is told by its naming all of them."""
    everything = sorted([*named.tolist(), *dark])
    for first in (0, 1):
        if everything == list(range(first, n + first)):
            return named - first
    expected = f"all {n} sections of RawSize once, in the lines or as DarkFrame, counted from 0 or from 1"
    raise DataError(path, "SEC", expected, f"{len(everything)} from {everything[0]} to {everything[-1]}")


def _stack(path: Path, given: Path | str | None) -> tuple[str, ...]:
    if given is not None:
        return (str(given),)
    places = [path.with_suffix(suffix) for suffix in (".mrc", ".st", ".mrcs")]
    return next(((str(place),) for place in places if place.exists()), ())
