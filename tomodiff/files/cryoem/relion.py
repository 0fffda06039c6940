"""Particles from RELION's STAR files: 3.0 (one table) and 3.1 to 5 (optics groups and particles)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.cryoem.checks import check_boxes, check_header_pixel, check_pixels
from tomodiff.files.cryoem.locate import located
from tomodiff.files.cryoem.relion_columns import OPTICS, Given, doubts, optics_of, particle_values
from tomodiff.files.cryoem.stack import Stack, open_stack
from tomodiff.files.cryoem.star import StarFile, StarTable, read_star_file
from tomodiff.particles import Optics, Particles

NAME = "rlnImageName"
GROUP = "rlnOpticsGroup"
GROUPED_BY = (
    "rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast", "rlnMagnification", "rlnDetectorPixelSize",
    "rlnPixelSize", "rlnImagePixelSize", "rlnBeamTiltX", "rlnBeamTiltY", GROUP,
)  # fmt: skip
"""Columns of particles whose different values make different optics groups, before RELION 3.1."""


@dataclass(frozen=True, eq=False)
class RelionTable:
    """The `table` of particles that came from a STAR file: the file, and which of its tables are what."""

    file: StarFile
    particles: int
    """Which table of the file is that of the particles."""
    optics: int | None
    """Which is that of the optics groups; None before RELION 3.1."""
    rows: tuple[int, ...]
    """The row of each `Optics` in the table of optics groups, or of its first particle before RELION 3.1."""
    groups: tuple[str, ...] = ()
    """What each of them is called in rlnOpticsGroup."""
    as_read: tuple[Optics, ...] = ()
    """As the file tells them; what the user gave in their place is not in it."""
    places: Mapping[str, Path] = field(default_factory=dict)
    """Where the stacks were found that rlnImageName names."""

    @property
    def table(self) -> StarTable:
        """The table of the particles."""
        return self.file.tables[self.particles]

    def __getitem__(self, index: Any) -> RelionTable:
        return replace(self, file=self.file.with_table(self.particles, self.table[index]))


def read_star(
    path: Path | str,
    root: Path | str | None = None,
    *,
    stack: Path | str | None = None,
    pixel: float | None = None,
    voltage: float | None = None,
    cs: float | None = None,
    amplitude_contrast: float | None = None,
) -> Particles:
    """The particles of a STAR file, images left on disk.

    root: where else to look for stacks (see `located`).  stack: one file in place of all that are named.  pixel
    (angstrom), voltage (kV), cs (mm), amplitude_contrast: in place of the file's.  A file without angles or defocus
    gives `has_poses` or `has_ctf` False.  DataError names table, column and row of what is wrong.
    """
    path = Path(path)
    given = Given(pixel, voltage, cs, amplitude_contrast)
    file = read_star_file(path)
    number = particle_table(file)
    table = file.tables[number]
    images, places = _images(path, table, root, stack)
    groups_at = next((i for i, t in enumerate(file.tables) if GROUP in t and NAME not in t), None)
    warnings = [*file.warnings, *doubts(table)]
    has_ctf = "rlnDefocusU" in table
    if groups_at is not None:
        found = _grouped(file.tables[groups_at], table, given, has_ctf, images, warnings)
    else:
        found = _ungrouped(table, given, has_ctf, images, warnings)
    check_pixels(path, found.optics)
    if given.pixel is None:
        warnings += check_header_pixel(path, found.optics[0], images)
    check_boxes(path, images)
    if not has_ctf and any(getattr(given, f) is None and c not in found.source for f, c in OPTICS.items()):
        warnings.append(f"{path}: neither a CTF nor a whole microscope is told")
    pixels = np.array([o.pixel for o in found.optics])[found.group]
    kept = RelionTable(file, number, groups_at, found.rows, found.names, found.as_read, places)
    return Particles(
        images=images,
        optics=found.optics,
        group=found.group,
        table=kept,
        meta={"format": "RELION STAR, " + ("3.1 or later" if groups_at is not None else "3.0"), "path": str(path)},
        warnings=tuple(warnings),
        **particle_values(table, pixels),
    )


def particle_table(file: StarFile) -> int:
    """Which table of a file is that of the particles.  DataError says what is there instead."""
    found = [i for i, t in enumerate(file.tables) if NAME in t and t.loop]
    if len(found) > 1:
        names = ", ".join(f"data_{file.tables[i].name}" for i in found)
        raise DataError(file.path, NAME, "one table of particles", f"{len(found)}: {names}")
    if not found:
        there = "; ".join(f"data_{t.name}: {' '.join(t.columns[:6])} ..." for t in file.tables[:6])
        raise DataError(file.path, "", f"a table of particles with a column {NAME}", there)
    table = file.tables[found[0]]
    if not len(table):
        raise DataError(file.path, f"data_{table.name}", "particles", "a table without rows")
    if "rlnTomoVisibleFrames" in table:
        hint = "Extract single tilt images with an export of RELION 4 or of Warp."
        raise DataError(file.path, "rlnTomoVisibleFrames", "one image per particle", "stacks of tilt images", hint)
    return found[0]


@dataclass(frozen=True)
class _Groups:
    """Optics groups in use, and which each particle belongs to."""

    optics: tuple[Optics, ...]
    group: np.ndarray
    rows: tuple[int, ...]
    names: tuple[str, ...]
    as_read: tuple[Optics, ...]
    source: StarTable


def _grouped(
    optics: StarTable, table: StarTable, given: Given, has_ctf: bool, images: Stack, warnings: list[str]
) -> _Groups:
    """The groups of a table of optics groups that particles refer to."""
    path = table.path
    if not len(optics):
        raise DataError(path, f"data_{optics.name}", "at least one optics group", "a table without rows")
    numbers = optics.ints(GROUP)
    if len(set(numbers.tolist())) != len(numbers):
        raise DataError(path, f"data_{optics.name}, {GROUP}", "a number once for each group", f"{numbers.tolist()}")
    if GROUP in table:
        wanted = table.ints(GROUP)
    elif len(numbers) == 1:
        wanted = np.full(len(table), numbers[0])
        warnings.append(f"{path}: particles name no optics group; there is but one")
    else:
        raise DataError(path, f"data_{table.name}", f"a column {GROUP}", f"none, and {len(numbers)} optics groups")
    used = np.unique(wanted)
    unknown = [n for n in used.tolist() if n not in numbers]
    if unknown:
        row = int(np.flatnonzero(wanted == unknown[0])[0]) + 1
        expected = f"optics groups {', '.join(map(str, numbers))}"
        raise DataError(path, f"{GROUP}, row {row} of data_{table.name}", expected, f"group {unknown[0]}")
    idle = [n for n in numbers.tolist() if n not in used]
    if idle:
        warnings.append(f"{path}: no particle is of optics group {', '.join(map(str, idle))}")
    rows = tuple(i for i, n in enumerate(numbers) if n in used)
    place = {int(numbers[row]): i for i, row in enumerate(rows)}
    group = np.array([place[n] for n in used.tolist()])[np.searchsorted(used, wanted)]
    names = [str(optics["rlnOpticsGroupName"][r]) if "rlnOpticsGroupName" in optics else f"{numbers[r]}" for r in rows]
    for row, name in zip(rows, names, strict=True):
        _check_sizes(path, optics, row, name, images)
    made = tuple(optics_of(optics, r, n, given, has_ctf) for r, n in zip(rows, names, strict=True))
    as_read = tuple(_as_told(optics, r, o, given) for r, o in zip(rows, made, strict=True))
    return _Groups(made, group, rows, tuple(str(optics[GROUP][r]) for r in rows), as_read, optics)


def _ungrouped(table: StarTable, given: Given, has_ctf: bool, images: Stack, warnings: list[str]) -> _Groups:
    """The groups that particles make which tell their optics themselves."""
    if GROUP in table and not any(c in table for c in GROUPED_BY[:7]):
        needed = (given.pixel, *((given.voltage, given.cs, given.amplitude_contrast) if has_ctf else ()))
        if None in needed:
            hint = "Give pixel=, and with a CTF voltage=, cs= and amplitude_contrast=."
            found = f"rlnOpticsGroup in data_{table.name} but no such table"
            raise DataError(table.path, "data_optics", "a table of optics groups", found, hint)
    columns = [column for column in GROUPED_BY if column in table]
    if columns:
        table.load(columns)
        values = np.column_stack([table.floats(column) for column in columns])
        _, first, inverse = np.unique(values, axis=0, return_index=True, return_inverse=True)
        order = np.argsort(first)
        group, rows = np.argsort(order)[inverse.reshape(-1)], tuple(int(r) for r in first[order])
    else:
        group, rows = np.zeros(len(table), np.int64), (0,)
    fallback = images.pixel
    names = [f"opticsGroup{i + 1}" for i in range(len(rows))]
    made = tuple(optics_of(table, r, n, given, has_ctf, fallback) for r, n in zip(rows, names, strict=True))
    if given.pixel is None and not any("PixelSize" in column for column in columns):
        warnings.append(f"{table.path}: the pixel size, {fallback:g} angstrom, is that of the stack's header")
    as_read = tuple(_as_told(table, r, o, given) for r, o in zip(rows, made, strict=True))
    return _Groups(made, group.astype(np.int64), rows, (), as_read, table)


def _as_told(table: StarTable, row: int, made: Optics, given: Given) -> Optics:
    """The optics without what the user gave: as the file tells it, or NaN, which differs from whatever is known now."""
    silent = {f: None if c in table else np.nan for f, c in OPTICS.items()}
    told = optics_of(table, row, made.name, Given(**silent), False, fallback=np.inf)  # type: ignore[arg-type]
    changed = [f for f in ("pixel", *OPTICS) if getattr(given, f) is not None]
    return replace(made, **{f: getattr(told, f) for f in changed})


def _check_sizes(path: str, optics: StarTable, row: int, name: str, images: Stack) -> None:
    """DataError where a group says images are of another size than they are."""
    if "rlnImageDimensionality" in optics and optics.ints("rlnImageDimensionality")[row] != 2:
        found = f"{optics['rlnImageDimensionality'][row]}"
        raise DataError(path, f"rlnImageDimensionality of optics group {name}", "2 (images)", found)
    if "rlnImageSize" in optics and (size := int(optics.ints("rlnImageSize")[row])) != images.shape[1]:
        expected = f"{images.shape[1]} pixels as in {images.paths[0]}"
        raise DataError(path, f"rlnImageSize of optics group {name}", expected, f"{size}")


def _images(
    path: Path, table: StarTable, root: Path | str | None, stack: Path | str | None
) -> tuple[Stack, dict[str, Path]]:
    """The images that rlnImageName names, and where each file was found."""
    index, names = image_numbers(table)
    different, file = np.unique(names, return_inverse=True)
    found = {str(n): Path(stack) if stack is not None else located(str(n), path, root) for n in different}
    return open_stack(list(found.values()), file.reshape(-1), index), found


def image_numbers(table: StarTable) -> tuple[np.ndarray, np.ndarray]:
    """Index from 0 and file of each rlnImageName: 000007@stack.mrcs, or image.mrc for a single one."""
    index, names = np.zeros(len(table), np.int64), []
    for row, text in enumerate(table[NAME].tolist()):
        number, at, name = text.partition("@")
        if not at:
            names.append(text)
            continue
        if not number.strip().isdigit() or int(number) < 1 or not name:
            where = f"{NAME}, row {row + 1} of data_{table.name}"
            raise DataError(table.path, where, "NUMBER@FILE, counted from 1", repr(text))
        index[row] = int(number) - 1
        names.append(name)
    return index, np.array(names, dtype=np.str_)
