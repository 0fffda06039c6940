"""RELION's columns in the units of `Particles`: what a table of particles or of optics groups says.

RELION's own definitions are in src/metadata_label.h; angles there are in degrees, lengths in angstrom, origins before
version 3.1 in pixels.  An origin is what centres the image (see docs/conventions.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.cryoem.star import StarTable, precise_text
from tomodiff.geometry.poses import from_euler
from tomodiff.particles import Optics

EULER = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
ORIGIN = ("rlnOriginXAngst", "rlnOriginYAngst")
ORIGIN_PIXELS = ("rlnOriginX", "rlnOriginY")
DEFOCUS = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
NUMBERS = {
    "phase_shift": ("rlnPhaseShift", 0.0),
    "b_factor": ("rlnCtfBfactor", 0.0),
    "scale": ("rlnCtfScalefactor", 1.0),
    "dose": ("rlnMicrographPreExposure", 0.0),
}
"""Fields of one number per particle, their columns, and what they are where the column is missing."""
COUNTS = {"half": "rlnRandomSubset", "klass": "rlnClassNumber"}
MAGNIFICATION = ("rlnMagMat00", "rlnMagMat01", "rlnMagMat10", "rlnMagMat11")
OPTICS = {"voltage": "rlnVoltage", "cs": "rlnSphericalAberration", "amplitude_contrast": "rlnAmplitudeContrast"}
BEAM_TILT = ("rlnBeamTiltX", "rlnBeamTiltY")
ZERNIKE = {"odd_zernike": "rlnOddZernike", "even_zernike": "rlnEvenZernike"}
FLAGS = {"premultiplied": "rlnCtfDataAreCtfPremultiplied", "phase_flipped": "rlnCtfDataArePhaseFlipped"}
UNKNOWN = {"voltage": 300.0, "cs": 2.7, "amplitude_contrast": 0.1}
"""What stands for the microscope where no CTF is told, so that nothing depends on it."""


@dataclass(frozen=True)
class Given:
    """What the user says in place of the file; None: as the file says."""

    pixel: float | None = None
    voltage: float | None = None
    cs: float | None = None
    amplitude_contrast: float | None = None


def particle_values(table: StarTable, pixel: np.ndarray) -> dict[str, Any]:
    """The arrays of `Particles` that a table tells, with `has_poses` and `has_ctf`; pixel (n,) in angstrom."""
    n = len(table)
    known = (*EULER, *ORIGIN, *ORIGIN_PIXELS, *DEFOCUS, *(c for c, _ in NUMBERS.values()), *COUNTS.values())
    table.load([column for column in known if column in table])

    def of(column: str, missing: float = 0.0) -> np.ndarray:
        return table.floats(column) if column in table else np.full(n, missing)

    rot, tilt, psi = (np.deg2rad(of(column)) for column in EULER)
    values: dict[str, Any] = {"rotation": from_euler(rot, tilt, psi)}
    values["has_poses"] = EULER[0] in table and EULER[1] in table
    if ORIGIN[0] in table:
        values["shift"] = np.column_stack([of(column) for column in ORIGIN])
    else:
        values["shift"] = np.column_stack([of(column) * pixel for column in ORIGIN_PIXELS])
    u, v, angle = (of(column) for column in DEFOCUS)
    if DEFOCUS[0] in table and DEFOCUS[1] not in table:
        v = u
    values["defocus"] = np.column_stack([u, v, np.deg2rad(angle)])
    values["has_ctf"] = DEFOCUS[0] in table
    for name, (column, missing) in NUMBERS.items():
        values[name] = of(column, missing)
    values["phase_shift"] = np.deg2rad(values["phase_shift"])
    for name, column in COUNTS.items():
        values[name] = table.ints(column) if column in table else np.zeros(n, np.int64)
    return values


def doubts(table: StarTable) -> list[str]:
    """Warnings about a table of particles."""
    said = []
    if ORIGIN[0] in table and ORIGIN_PIXELS[0] in table:
        said.append(f"{table.path}: origins in pixels and in angstrom: those in angstrom are used (rlnOriginXAngst)")
    if DEFOCUS[0] in table and DEFOCUS[1] not in table:
        said.append(f"{table.path}: no column rlnDefocusV: no astigmatism")
    return said


def optics_of(table: StarTable, row: int, name: str, given: Given, has_ctf: bool, fallback: float = 0.0) -> Optics:
    """The optics that row `row` tells (of a table of groups, or of one of particles before RELION 3.1).

    fallback: the pixel size where neither the table nor the user tells it.  DataError names what is missing.
    """
    one = table[np.array([row])]

    def of(column: str) -> float | None:
        return float(one.floats(column)[0]) if column in one else None

    fields: dict[str, Any] = {}
    for field, column in OPTICS.items():
        own = getattr(given, field)
        told = of(column) if own is None else own
        if told is None and has_ctf:
            raise DataError(table.path, f"data_{table.name}", f"a column {column}", "none", f"Give it with {field}=.")
        fields[field] = UNKNOWN[field] if told is None else told
    pixel = given.pixel or _pixel(one, name) or fallback
    if not pixel > 0:
        column = "rlnImagePixelSize, or rlnDetectorPixelSize and rlnMagnification"
        raise DataError(table.path, f"data_{table.name}, {name}", f"a pixel size: {column}", "none", "Give pixel=.")
    for field, column in ZERNIKE.items():
        fields[field] = _vector(one, column, name) if column in one else ()
    for field, column in FLAGS.items():
        fields[field] = bool(of(column) or 0)
    if all(column in table for column in MAGNIFICATION):
        a, b, c, d = (of(column) or 0.0 for column in MAGNIFICATION)
        fields["magnification"] = ((a, b), (c, d))
    tilt = (of(BEAM_TILT[0]) or 0.0, of(BEAM_TILT[1]) or 0.0)
    return Optics(pixel=pixel, name=name, beam_tilt=tilt, **fields)


def _pixel(one: StarTable, name: str) -> float:
    """Angstrom: as such, or detector pixel (micrometre) over magnification; 0 where not told."""
    for column in ("rlnImagePixelSize", "rlnPixelSize"):
        if column in one:
            return float(one.floats(column)[0])
    if "rlnDetectorPixelSize" in one and "rlnMagnification" in one:
        magnification = float(one.floats("rlnMagnification")[0])
        if magnification == 0:
            raise DataError(one.path, f"rlnMagnification of {name}", "a number other than 0", "0")
        return float(one.floats("rlnDetectorPixelSize")[0]) * 1e4 / magnification
    return 0.0


def _vector(one: StarTable, column: str, name: str) -> tuple[float, ...]:
    """A value such as [0.1,-2,3]."""
    text = str(one[column][0])
    try:
        inner = text.strip().removeprefix("[").removesuffix("]")
        values = tuple(float(word) for word in inner.split(",") if word.strip())
    except ValueError:
        values = (float("nan"),)
    if not np.isfinite(values).all():
        where = f"{column} of optics group {name}"
        raise DataError(one.path, where, "numbers such as [0.1,-2,3]", repr(text[:60]))
    return values


def vector_text(values: tuple[float, ...]) -> str:
    """Coefficients as RELION writes them."""
    return "[" + ",".join(f"{value:.12g}" for value in values) + "]"


def optics_columns(optics: tuple[Optics, ...], box: int) -> dict[str, Any]:
    """The columns of a table of optics groups, numbered from 1; aberrations where a group has any."""
    n = len(optics)
    columns: dict[str, Any] = {
        "rlnOpticsGroup": np.arange(1, n + 1),
        "rlnOpticsGroupName": np.array([o.name for o in optics]),
        "rlnVoltage": precise_text([o.voltage for o in optics]),
        "rlnSphericalAberration": precise_text([o.cs for o in optics]),
        "rlnAmplitudeContrast": precise_text([o.amplitude_contrast for o in optics]),
        "rlnImagePixelSize": precise_text([o.pixel for o in optics]),
        "rlnImageSize": np.full(n, box),
        "rlnImageDimensionality": np.full(n, 2),
    }
    return columns | aberration_columns(optics)


def aberration_columns(optics: tuple[Optics, ...]) -> dict[str, Any]:
    """Those columns that a group needs only where it differs from an ideal microscope."""
    columns: dict[str, Any] = {}
    if any(any(o.beam_tilt) for o in optics):
        columns |= {c: precise_text([o.beam_tilt[i] for o in optics]) for i, c in enumerate(BEAM_TILT)}
    for field, column in ZERNIKE.items():
        if any(getattr(o, field) for o in optics):
            columns[column] = np.array([vector_text(getattr(o, field)) for o in optics])
    if any(o.magnification != ((1.0, 0.0), (0.0, 1.0)) for o in optics):
        for i, column in enumerate(MAGNIFICATION):
            columns[column] = precise_text([o.magnification[i // 2][i % 2] for o in optics])
    for field, column in FLAGS.items():
        if any(getattr(o, field) for o in optics):
            columns[column] = np.array([int(getattr(o, field)) for o in optics])
    return columns
