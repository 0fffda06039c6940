"""Particles of FREALIGN and cisTEM: .par files of three widths, and cisTEM's STAR.

    PSI THETA PHI  degrees; cisTEM hands them to RELION as psi, tilt, rot (RefinementPackage export).  Some programs
                   store the inverse rotation; `invert_eulers` then takes rot, tilt, psi = -PSI, -THETA, -PHI.
    SHX SHY        what moves the image to the centre of the projection, with the opposite sign of RELION's origin;
                   angstrom, in FREALIGN before version 9 pixels
    DF1 DF2 ANGAST angstrom and degrees, as in RELION
    PSHIFT         radians in cisTEM (which converts on import from RELION)

C counts the images of a stack from 1.  A .par does not name the stack, nor tell pixel size or microscope.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import ConfigError, DataError
from tomodiff.files.atomic import replacing
from tomodiff.files.cryoem.checks import check_boxes, check_header_pixel, check_pixels
from tomodiff.files.cryoem.locate import located
from tomodiff.files.cryoem.relion_columns import Given
from tomodiff.files.cryoem.stack import Stack, open_stack, stack_behind, stack_of
from tomodiff.files.cryoem.star import StarFile, StarTable, number_text, read_star_file, star_table, write_star_file
from tomodiff.geometry.poses import from_euler, to_euler
from tomodiff.particles import Optics, Particles

LEADING = ("C", "PSI", "THETA", "PHI", "SHX", "SHY", "MAG", "FILM", "DF1", "DF2", "ANGAST")
WIDTHS = {
    12: (*LEADING, "CCMAX"),
    13: (*LEADING, "PRESA", "DPRES"),
    16: (*LEADING, "OCC", "LogP", "SIGMA", "SCORE", "CHANGE"),
    17: (*LEADING, "PSHIFT", "OCC", "LogP", "SIGMA", "SCORE", "CHANGE"),
}
"""The columns by their number: FREALIGN 7 and 8 (two kinds of score), FREALIGN 9, FREALIGN 9.11 and cisTEM."""
IN_PIXELS = (12, 13)
CISTEM = {
    "C": "cisTEMPositionInStack", "PSI": "cisTEMAnglePsi", "THETA": "cisTEMAngleTheta", "PHI": "cisTEMAnglePhi",
    "SHX": "cisTEMXShift", "SHY": "cisTEMYShift", "DF1": "cisTEMDefocus1", "DF2": "cisTEMDefocus2",
    "ANGAST": "cisTEMDefocusAngle", "PSHIFT": "cisTEMPhaseShift",
}  # fmt: skip
"""Columns of cisTEM's STAR that say the same."""
MICROSCOPE = {
    "pixel": "cisTEMPixelSize", "voltage": "cisTEMMicroscopeVoltagekV", "cs": "cisTEMMicroscopeCsMM",
    "amplitude_contrast": "cisTEMAmplitudeContrast", "tilt_x": "cisTEMBeamTiltX", "tilt_y": "cisTEMBeamTiltY",
}  # fmt: skip
STACK, SUBSET, CLASS, DOSE = "cisTEMStackFilename", "cisTEMAssignedSubset", "cisTEMBest2DClass", "cisTEMPreExposure"
TOLD = {SUBSET: "half", CLASS: "klass", DOSE: "dose"}
"""What cisTEM's STAR tells of particles and a .par does not."""
HEADER = "C           PSI   THETA     PHI       SHX       SHY     MAG  INCLUDE   DF1      DF2  ANGAST  PSHIFT     OCC      LogP      SIGMA   SCORE  CHANGE"  # noqa: E501


@dataclass(frozen=True, eq=False)
class ParTable:
    """The `table` of particles that came from a .par or cisTEM's STAR, and how its angles were understood."""

    table: StarTable
    """Columns named as in .par, in the order of the file; in cisTEM's STAR by their labels."""
    in_pixels: bool
    invert_eulers: bool
    before: tuple[str, ...] = ()
    """Comment lines before the first particle, and `after` the last."""
    after: tuple[str, ...] = ()
    file: StarFile | None = None

    def __getitem__(self, index: Any) -> ParTable:
        return replace(self, table=self.table[index])

    def name(self, column: str) -> str:
        """What a column of .par is called here."""
        return CISTEM.get(column, column) if self.file is not None else column


def read_par(
    path: Path | str,
    stack: Path | str,
    *,
    pixel: float | None,
    voltage: float | None,
    cs: float | None,
    amplitude_contrast: float | None,
    invert_eulers: bool = False,
) -> Particles:
    """The particles of a .par file with the images of `stack`, which stay on disk.

    pixel (angstrom), voltage (kV), cs (mm), amplitude_contrast: not in the file, ConfigError where one is missing.
    """
    given = Given(pixel, voltage, cs, amplitude_contrast)
    missing = [f for f in ("pixel", "voltage", "cs", "amplitude_contrast") if getattr(given, f) is None]
    if missing:
        raise ConfigError(f"{path}: a .par does not tell {', '.join(missing)}: expected them as arguments, found none")
    path = Path(path)
    kept = par_table(path, invert_eulers)
    images = _chosen(path, kept, stack_of(stack))
    optics = Optics(voltage or 0.0, cs or 0.0, amplitude_contrast or 0.0, pixel or 0.0)
    group = np.zeros(len(kept.table), np.int64)
    return _particles(path, kept, images, (optics,), group, "FREALIGN or cisTEM .par", True)


def read_cistem_star(
    path: Path | str,
    root: Path | str | None = None,
    *,
    stack: Path | str | None = None,
    pixel: float | None = None,
    voltage: float | None = None,
    cs: float | None = None,
    amplitude_contrast: float | None = None,
    invert_eulers: bool = False,
) -> Particles:
    """The particles of a STAR file of cisTEM; what it tells of stack and microscope can be given in its place."""
    path = Path(path)
    file = read_star_file(path)
    table = next((t for t in file.tables if CISTEM["C"] in t), None)
    if table is None or not len(table):
        raise DataError(path, "", f"a table with {CISTEM['C']} and rows", "none")
    kept = ParTable(table, False, invert_eulers, file=file)
    if stack is not None:
        images = _chosen(path, kept, stack_of(stack))
    elif STACK in table:
        different, which = np.unique(table[STACK], return_inverse=True)
        paths = [located(str(name), path, root) for name in different]
        images = open_stack(paths, which.reshape(-1), table.ints(CISTEM["C"]) - 1)
    else:
        raise ConfigError(f"{path}: the file does not name its stack: expected stack=, found none")
    given = {"pixel": pixel, "voltage": voltage, "cs": cs, "amplitude_contrast": amplitude_contrast}
    optics, group = _groups(path, table, given)
    return _particles(path, kept, images, optics, group, "cisTEM STAR", pixel is not None)


def write_par(path: Path | str, particles: Particles, invert_eulers: bool = False) -> None:
    """Write a .par, whole or not at all: that which was read, but for what changed, or cisTEM's of 17 columns.

    Images are counted by their place in the stack, which must be a single one (ValueError).
    """
    kept = particles.table
    if isinstance(kept, ParTable) and kept.file is None:
        table, before, after = _updated(particles, kept), kept.before, kept.after
    else:
        table, before, after = _new(particles, invert_eulers), (HEADER,), ()
    lines = [*before, *(line for line in table.text().split("\n")[table_head(table) :]), *after]
    data = ("\n".join(line for line in lines if line) + "\n").encode()
    with replacing(Path(path), len(data)) as temporary:
        temporary.write_bytes(data)


def write_cistem_star(path: Path | str, particles: Particles, invert_eulers: bool = False) -> None:
    """Write a STAR file of cisTEM, whole or not at all: that which was read, but for what changed, or a new one."""
    kept = particles.table
    if isinstance(kept, ParTable) and kept.file is not None:
        number = next(i for i, t in enumerate(kept.file.tables) if CISTEM["C"] in t)
        write_star_file(path, kept.file.with_table(number, _updated(particles, kept)))
        return
    par = _new(particles, invert_eulers)
    columns: dict[str, Any] = {label: par[name] for name, label in CISTEM.items()}
    optics = particles.optics
    values = {
        "pixel": [o.pixel for o in optics], "voltage": [o.voltage for o in optics], "cs": [o.cs for o in optics],
        "amplitude_contrast": [o.amplitude_contrast for o in optics],
        "tilt_x": [o.beam_tilt[0] for o in optics], "tilt_y": [o.beam_tilt[1] for o in optics],
    }  # fmt: skip
    columns |= {label: np.array(values[f])[particles.group] for f, label in MICROSCOPE.items()}
    columns["cisTEMOccupancy"] = np.full(len(particles), 100.0)
    columns |= {label: told for label, field in TOLD.items() if np.any(told := getattr(particles, field))}
    write_star_file(path, StarFile((star_table("", columns),)))


def table_head(table: StarTable) -> int:
    """How many lines of a table's text come before its rows."""
    return table.text().count("\n") - len(table)


def par_table(path: Path, invert_eulers: bool) -> ParTable:
    """The rows of a .par, with the names of the columns for their number."""
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError as error:
        raise DataError(path, "", "a readable file", error.strerror or str(error)) from error
    numbered = [(n, line) for n, line in enumerate(lines, 1) if line.strip()]
    rows = [(n, line) for n, line in numbered if not line.lstrip().startswith("C")]
    if not rows:
        raise DataError(path, "", "particles", "no rows")
    width = len(rows[0][1].split())
    if width not in WIDTHS:
        known = ", ".join(map(str, WIDTHS))
        raise DataError(path, f"line {rows[0][0]}", f"{known} columns of a .par", f"{width}")
    for n, line in rows:
        if len(line.split()) != width:
            found = f"{len(line.split())}: {line.strip()[:60]!r}"
            raise DataError(path, f"line {n}", f"{width} columns as in the first row", found)
    names = WIDTHS[width]
    table = StarTable("", names, [line for _, line in rows], path=str(path), shown=names, head="")
    first, last = rows[0][0], rows[-1][0]
    before = tuple(line for n, line in numbered if n < first)
    after = tuple(line for n, line in numbered if n > last)
    return ParTable(table, width in IN_PIXELS, invert_eulers, before, after)


def _chosen(path: Path, kept: ParTable, stack: Stack) -> Stack:
    """The images of a stack that the particles are, by number."""
    index = kept.table.ints(kept.name("C")) - 1
    return open_stack(list(stack.paths), np.zeros(len(index), np.int64), index)


def _particles(
    path: Path, kept: ParTable, images: Stack, optics: tuple[Optics, ...], group: np.ndarray, format: str, given: bool
) -> Particles:
    """given: whether the caller named the pixel size, which then stands whatever the images' header says."""
    check_pixels(path, optics)
    warnings = [] if given else check_header_pixel(path, optics[0], images)
    check_boxes(path, images)
    warnings.append(f"{path}: the file does not tell whether protein is bright; taken as bright")
    return Particles(
        images=images,
        optics=optics,
        group=group,
        table=kept,
        meta={"format": format, "path": str(path)},
        warnings=tuple(warnings),
        **_values(kept, np.array([o.pixel for o in optics])[group]),
    )


def _groups(path: Path, table: StarTable, given: dict[str, float | None]) -> tuple[tuple[Optics, ...], np.ndarray]:
    """Optics groups of the particles whose microscope is the same."""
    columns = []
    for field, label in MICROSCOPE.items():
        own = given.get(field)
        if own is not None:
            columns.append(np.full(len(table), own))
        elif label in table:
            columns.append(table.floats(label))
        elif field in given:
            raise DataError(path, f"data_{table.name}", f"a column {label}", "none", f"Give it with {field}=.")
        else:
            columns.append(np.zeros(len(table)))
    values, first, inverse = np.unique(np.column_stack(columns), axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    optics = tuple(
        Optics(kv, cs, w, pixel, f"opticsGroup{n + 1}", (x, y))
        for n, (pixel, kv, cs, w, x, y) in enumerate(values[order].tolist())
    )
    return optics, np.argsort(order)[inverse.reshape(-1)].astype(np.int64)


def _values(kept: ParTable, pixel: np.ndarray) -> dict[str, Any]:
    """The arrays of `Particles` that the table tells."""
    table, n = kept.table, len(kept.table)
    table.load([c for c in map(kept.name, (*LEADING, "PSHIFT")) if c in table])

    def of(column: str) -> np.ndarray:
        name = kept.name(column)
        return table.floats(name) if name in table else np.zeros(n)

    psi, theta, phi = (np.deg2rad(of(column)) for column in ("PSI", "THETA", "PHI"))
    shift = -np.column_stack([of("SHX"), of("SHY")])
    zero = np.zeros(n, np.int64)
    return {
        "rotation": from_euler(-psi, -theta, -phi) if kept.invert_eulers else from_euler(phi, theta, psi),
        "shift": shift * pixel[:, None] if kept.in_pixels else shift,
        "defocus": np.column_stack([of("DF1"), of("DF2"), np.deg2rad(of("ANGAST"))]),
        "phase_shift": of("PSHIFT"),
        "b_factor": np.zeros(n),
        "scale": np.ones(n),
        "dose": of(DOSE),
        "half": table.ints(SUBSET) if SUBSET in table else zero,
        "klass": table.ints(CLASS) if CLASS in table else zero,
    }


def _columns(particles: Particles, in_pixels: bool, invert_eulers: bool) -> dict[str, np.ndarray]:
    """The numbers that the columns of a .par hold."""
    rot, tilt, psi = np.rad2deg(to_euler(particles.rotation)).T
    pixel = np.array([o.pixel for o in particles.optics])[particles.group]
    shift = -particles.shift / (pixel[:, None] if in_pixels else 1.0)
    angles = (-rot, -tilt, -psi) if invert_eulers else (psi, tilt, rot)
    return dict(zip(("PSI", "THETA", "PHI"), angles, strict=True)) | {
        "SHX": shift[:, 0], "SHY": shift[:, 1], "DF1": particles.defocus[:, 0], "DF2": particles.defocus[:, 1],
        "ANGAST": np.rad2deg(particles.defocus[:, 2]), "PSHIFT": particles.phase_shift,
    }  # fmt: skip


def _updated(particles: Particles, kept: ParTable) -> StarTable:
    """The table that was read with the cells that changed."""
    pixel = np.array([o.pixel for o in particles.optics])[particles.group]
    old = _values(kept, pixel)
    new = _columns(particles, kept.in_pixels, kept.invert_eulers)
    changed = {
        ("PSI", "THETA", "PHI"): _changed(particles.rotation, old["rotation"]),
        ("SHX", "SHY"): _changed(particles.shift, old["shift"]),
        ("DF1", "DF2", "ANGAST"): _changed(particles.defocus, old["defocus"]),
        ("PSHIFT",): _changed(particles.phase_shift, old["phase_shift"]),
    }
    edits = {}
    for columns, rows in changed.items():
        for column in columns if rows.any() else ():
            name = kept.name(column)
            if name not in kept.table:
                raise ConfigError(f"{column}: expected a file with such a column to write to, found {kept.table.path}")
            text = kept.table[name].astype(object)
            text[rows] = number_text(new[column][rows])
            edits[name] = text.astype(np.str_)
    for label, field in TOLD.items() if kept.file is not None else ():
        new_values = getattr(particles, field)
        if _changed(new_values, old[field]).any():
            edits[label] = number_text(new_values)
    return kept.table.replaced(edits) if edits else kept.table


def _new(particles: Particles, invert_eulers: bool) -> StarTable:
    """cisTEM's 17 columns."""
    images, index = stack_behind(particles.images)
    if len(np.unique(images.file[index])) > 1:
        raise ValueError("images: expected images of one stack, which a .par does not name, got several")
    n = len(particles)
    values = _columns(particles, False, invert_eulers)
    values |= {"C": images.index[index] + 1, "MAG": np.zeros(n, np.int64), "FILM": np.ones(n, np.int64)}
    values |= {"OCC": np.full(n, 100.0), "LogP": np.zeros(n, np.int64), "SIGMA": np.ones(n)}
    values |= {"SCORE": np.zeros(n), "CHANGE": np.zeros(n)}
    return star_table("", {column: values[column] for column in WIDTHS[17]})


def _changed(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """(n,) whether any value of a particle is another one."""
    differs = np.abs(np.asarray(new, np.float64) - old) > 1e-12 * np.maximum(np.abs(old), 1.0)
    return np.asarray(differs.reshape(len(new), -1).any(1))
