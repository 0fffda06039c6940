"""Tilt series of RELION 5 (tomograms.star with one STAR file, or one table, for each series) and Warp's .tomostar.

RELION: rlnTomoXTilt, rlnTomoYTilt, rlnTomoZRot in degrees and rlnTomoXShiftAngst, rlnTomoYShiftAngst are those of
`TiltSeries`; where rlnTomoProjX, Y, Z, W give the matrix instead, RELION prefers it (tomogram_set.cpp),
and so do we: the angles and the shift are read off it.  Warp: wrpAngleTilt and wrpAxisAngle in degrees,
wrpAxisOffsetX and Y in angstrom, wrpDose in electrons per square angstrom; tilts carry the sign of the stage, which
does not tell the hand of the specimen (`invert_tilt`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.cryoem.star import StarTable, read_star_file
from tomodiff.files.cryoem.tilt_text import stack_shape
from tomodiff.geometry.tilt import TiltSeries

ANGLES = ("rlnTomoYTilt", "rlnTomoZRot", "rlnTomoXShiftAngst", "rlnTomoYShiftAngst")
MATRIX = ("rlnTomoProjX", "rlnTomoProjY", "rlnTomoProjZ", "rlnTomoProjW")
DEFOCUS = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")

ROUNDING = 1e-4
"""Largest entry of R R' - 1 of a matrix that passes for a rotation written with few digits."""


@dataclass(frozen=True)
class _Place:
    """A table of tilts, the file it is in, and the row of the global table that speaks of it."""

    path: Path
    tilts: StarTable
    facts: dict[str, str]


def read_tomograms_star(
    path: Path | str,
    name: str | None = None,
    *,
    pixel: float | None = None,
    image_shape: tuple[int, int] | None = None,
    root: Path | str | None = None,
    invert_tilt: bool = False,
) -> TiltSeries:
    """The series `name` (rlnTomoName; none is needed where there is but one) of a tomograms.star or tilt_series.star.

    A STAR file with the tilts of a single series alone is read too, with `pixel` (angstrom) given.  image_shape (rows,
    columns) comes from the images' own headers if not given.  Paths are looked for beside the file, in the folders
    above it (a RELION project) and in `root`.  DataError names the column that is missing.
    """
    path = Path(path)
    place = _find(path, name, root)
    tilts, facts = place.tilts, place.facts
    size = _fact(path, facts, "rlnTomoTiltSeriesPixelSize", pixel)
    files = [str(f) for f in tilts["rlnMicrographName"]] if "rlnMicrographName" in tilts.columns else []
    section, paths = _images(files, place.path, root)
    shape = image_shape or _shape(place.path, paths)
    volume = _volume(path, facts)
    if all(column in tilts.columns for column in MATRIX):
        x, y, z, shift = _from_matrices(place.path, tilts, volume, shape, size)
    else:
        missing = [column for column in ANGLES if column not in tilts.columns]
        if missing:
            raise DataError(place.path, "columns", " ".join(ANGLES), f"none named {', '.join(missing)}")
        y, z = (np.deg2rad(tilts.floats(c)) for c in ANGLES[:2])
        x = np.deg2rad(tilts.floats("rlnTomoXTilt")) if "rlnTomoXTilt" in tilts.columns else np.zeros(len(y))
        shift = np.column_stack([tilts.floats(c) for c in ANGLES[2:]])
    dose = tilts.floats("rlnMicrographPreExposure") if "rlnMicrographPreExposure" in tilts.columns else None
    dosed = "rlnTomoImportFractionalDose"
    each = _number(path, facts, dosed) if dosed in facts else None
    defocus = None
    if all(column in tilts.columns for column in DEFOCUS):
        u, v, angle = (tilts.floats(c) for c in DEFOCUS)
        defocus = np.column_stack([u, v, np.deg2rad(angle)])
    return TiltSeries(
        tilt=-y if invert_tilt else y,
        pixel=size,
        image_shape=shape,
        axis=z,
        shift=shift,
        x_tilt=x,
        dose=dose,  # type: ignore[arg-type]
        exposure=None if each is None else np.full(len(y), each),  # type: ignore[arg-type]
        order=None if dose is None else np.argsort(np.argsort(dose, kind="stable"), kind="stable"),  # type: ignore[arg-type]
        section=section,  # type: ignore[arg-type]
        paths=paths,
        defocus=defocus,
        volume_shape=volume,
        meta={"program": "RELION", "facts": facts},
    )


def read_tomostar(
    path: Path | str, *, pixel: float, image_shape: tuple[int, int] | None = None, invert_tilt: bool = False
) -> TiltSeries:
    """The series of a .tomostar of Warp; pixel (angstrom) is that of the images to reconstruct from."""
    path = Path(path)
    tables = read_star_file(path).tables
    table = next((t for t in tables if "wrpAngleTilt" in t.columns), None)
    if table is None:
        raise DataError(path, "columns", "wrpAngleTilt of a .tomostar", "no table with it")
    tilt = np.deg2rad(table.floats("wrpAngleTilt"))
    n = len(tilt)

    def of(column: str) -> np.ndarray:
        return table.floats(column) if column in table.columns else np.zeros(n)

    names = [str(f) for f in table["wrpMovieName"]] if "wrpMovieName" in table.columns else []
    dose = of("wrpDose")
    found = tuple(str((path.parent / file).resolve()) for file in names)
    return TiltSeries(
        tilt=-tilt if invert_tilt else tilt,
        pixel=pixel,
        image_shape=image_shape or _shape(path, found),
        axis=np.deg2rad(of("wrpAxisAngle")),
        shift=np.column_stack([of("wrpAxisOffsetX"), of("wrpAxisOffsetY")]),
        dose=dose,
        order=np.argsort(np.argsort(dose, kind="stable"), kind="stable"),
        section=np.zeros(n, np.int64) if found else np.arange(n),
        paths=found,
        meta={"program": "Warp"},
    )


def angles_of(rotation: np.ndarray) -> tuple[float, float, float]:
    """x_tilt, tilt, axis of Rz(axis) Ry(tilt) Rx(x_tilt); at tilt = +-pi/2 x_tilt is 0."""
    tilt = float(np.arctan2(-rotation[2, 0], np.hypot(rotation[2, 1], rotation[2, 2])))
    if np.hypot(rotation[2, 1], rotation[2, 2]) < 1e-9:
        return 0.0, tilt, float(np.arctan2(-rotation[0, 1], rotation[1, 1]))
    return float(np.arctan2(rotation[2, 1], rotation[2, 2])), tilt, float(np.arctan2(rotation[1, 0], rotation[0, 0]))


def _find(path: Path, name: str | None, root: Path | str | None) -> _Place:
    tables = read_star_file(path).tables
    listed = next((t for t in tables if "rlnTomoName" in t.columns and t.name in ("global", "")), None)
    if listed is None:
        own = next((t for t in tables if "rlnTomoYTilt" in t.columns or "rlnTomoProjX" in t.columns), None)
        if own is None:
            raise DataError(path, "tables", "data_global with rlnTomoName, or the tilts of a series", "neither")
        return _Place(path, own, {})
    names = [str(n) for n in listed["rlnTomoName"]]
    if name is None and len(names) == 1:
        name = names[0]
    if name not in names:
        asked = "the name of one" if name is None else repr(name)
        raise DataError(
            path, "rlnTomoName", f"{asked} of {', '.join(names[:8])}", "none" if name is None else "no such"
        )
    row = names.index(name)
    facts = {column: str(listed[column][row]) for column in listed.columns}
    if "rlnTomoTiltSeriesStarFile" in facts:
        file = _located(facts["rlnTomoTiltSeriesStarFile"], path, root)
        if file is None:
            raise DataError(
                path, "rlnTomoTiltSeriesStarFile", "a file", f"none at {facts['rlnTomoTiltSeriesStarFile']}"
            )
        inner = read_star_file(file).tables
        table = next((t for t in inner if t.name == name), inner[0])
        return _Place(file, table, facts)
    table = next((t for t in tables if t.name == name), None)  # type: ignore[assignment]
    if table is None:
        raise DataError(path, "tables", f"rlnTomoTiltSeriesStarFile, or a table data_{name}", "neither")
    return _Place(path, table, facts)


def _located(file: str, beside: Path, root: Path | str | None) -> Path | None:
    """The file where it is: absolute, beside the STAR, in a folder above it, in `root`."""
    folders = [*beside.resolve().parents, Path.cwd(), *([Path(root)] if root is not None else [])]
    return next((folder / file for folder in folders if (folder / file).exists()), None)


def _images(files: list[str], beside: Path, root: Path | str | None) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Sections (from 0) and paths of names such as 000003@stack.mrcs or image.mrc; as named where nothing is found."""
    if not files:
        return None, ()
    section, paths = [], []
    for file in files:
        number, _, name = file.rpartition("@")
        if number and (not number.isdigit() or int(number) < 1):
            raise DataError(beside, "rlnMicrographName", "NUMBER@FILE, counted from 1, or FILE", repr(file))
        section.append(int(number) - 1 if number else 0)
        paths.append(str(_located(name, beside, root) or name))
    return np.array(section), tuple(paths)


def _shape(path: Path, images: tuple[str, ...]) -> tuple[int, int]:
    found = next((p for p in images if Path(p).suffix in (".mrc", ".mrcs", ".st") and Path(p).exists()), None)
    if found is None:
        hint = "Give image_shape=(rows, columns)."
        raise DataError(path, "image shape", "images whose header tells it", "none of them found", hint)
    return stack_shape(Path(found))[1:]


def _fact(path: Path, facts: dict[str, str], column: str, given: float | None) -> float:
    if given is not None:
        return given
    if column not in facts:
        raise DataError(path, column, "the pixel size in angstrom", "no such column", "Give it with pixel=.")
    return _number(path, facts, column)


def _number(path: Path, facts: dict[str, str], column: str) -> float:
    try:
        value = float(facts[column])
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise DataError(path, column, "a number", repr(facts[column]))
    return value


def _volume(path: Path, facts: dict[str, str]) -> tuple[int, int, int] | None:
    names = ("rlnTomoSizeZ", "rlnTomoSizeY", "rlnTomoSizeX")
    if not all(name in facts for name in names):
        return None
    z, y, x = (int(_number(path, facts, name)) for name in names)
    return z, y, x


def _from_matrices(
    path: Path, tilts: StarTable, volume: tuple[int, int, int] | None, shape: tuple[int, int], pixel: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x_tilt, tilt, axis (n,) and shift (n, 2) in angstrom of the matrices, each row of which is a column of text."""
    if volume is None:
        raise DataError(path, "rlnTomoSizeX, Y, Z", "the size of the tomogram, to which matrices refer", "none")
    P = np.array([[_vector(path, str(tilts[c][i])) for c in MATRIX] for i in range(len(tilts[MATRIX[0]]))])
    for i, matrix in enumerate(P):
        R = matrix[:3, :3]
        if np.abs(R @ R.T - np.eye(3)).max() > ROUNDING or np.linalg.det(R) < 0:
            raise DataError(path, f"rlnTomoProjX, Y, Z of tilt {i + 1}", "a right-handed rotation", f"{R.tolist()}")
    x, y, z = np.array([angles_of(matrix[:3, :3]) for matrix in P]).T
    middle = np.array(volume[::-1]) // 2
    shift = (P[:, :3, :3] @ middle + P[:, :3, 3])[:, :2] - np.array(shape[::-1]) // 2
    return x, y, z, shift * pixel


def _vector(path: Path, text: str) -> list[float]:
    try:
        values = [float(word) for word in text.strip("[]\"' ").split(",")]
    except ValueError:
        values = []
    if len(values) != 4 or not np.isfinite(values).all():
        raise DataError(path, "rlnTomoProj", "four numbers such as [1,0,0,-20]", repr(text))
    return values
