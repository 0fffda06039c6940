"""Particles to RELION's STAR files.

A table that came from a STAR file is written as it was, text of numbers and unknown columns included, but for the
values that differ from what was read.  A file of RELION 3.0 stays one unless its optics changed, which 3.0 cannot tell.
Others become a file of RELION 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.files.cryoem.cryosparc import location_columns
from tomodiff.files.cryoem.locate import found_beside
from tomodiff.files.cryoem.relion import GROUP, GROUPED_BY, NAME, RelionTable
from tomodiff.files.cryoem.relion_columns import (
    BEAM_TILT,
    COUNTS,
    DEFOCUS,
    EULER,
    FLAGS,
    MAGNIFICATION,
    NUMBERS,
    OPTICS,
    ORIGIN,
    ORIGIN_PIXELS,
    ZERNIKE,
    optics_columns,
    particle_values,
    vector_text,
)
from tomodiff.files.cryoem.stack import stack_behind
from tomodiff.files.cryoem.star import StarFile, StarTable, number_text, precise_text, star_table, write_star_file
from tomodiff.geometry.poses import to_euler
from tomodiff.particles import Images, Optics, Particles

VERSION = "# version 30001\n"
SAME = 16
"""Values closer than so many steps of their precision are the same."""


def write_star(path: Path | str, particles: Particles, image_names: Sequence[str] | None = None) -> None:
    """Write a STAR file, whole or not at all; see `particles_to_star`.

    Stacks that are not found from the new file's folder by the name in the old file are named by their whole path.
    """
    path = Path(path)
    kept = particles.table
    if image_names is None and isinstance(kept, RelionTable):
        moved = {n: p.resolve() for n, p in kept.places.items() if not _same_file(found_beside(n, path), p)}
        names = kept.table[NAME].tolist()
        if any(name.partition("@")[2] in moved or name in moved for name in names):
            image_names = [_renamed(name, moved) for name in names]
    elif image_names is None:
        image_names = image_names_of(particles.images, path.parent).tolist()
    write_star_file(path, particles_to_star(particles, image_names))


def particles_to_star(particles: Particles, image_names: Sequence[str] | None = None) -> StarFile:
    """The particles as a STAR file; image_names (000001@stack.mrcs) in place of the names there are.

    ValueError where the images are not from files and no names are given.
    """
    kept = particles.table
    if not isinstance(kept, RelionTable):
        return _new(particles, image_names)
    if _regrouped(particles, kept):
        kept = _with_new_optics(particles, kept)
    elif kept.optics is not None:
        table = _optics_updated(kept.file.tables[kept.optics], kept, particles.optics)
        kept = replace(kept, file=kept.file.with_table(kept.optics, table))
    table = kept.table
    edits = _changed_columns(particles, table)
    if kept.groups:
        names = np.array(kept.groups, dtype=np.str_)[particles.group]
        if GROUP not in table or not np.array_equal(table[GROUP].astype(np.float64), names.astype(np.float64)):
            edits[GROUP] = names
    if image_names is not None:
        edits[NAME] = np.array(list(image_names), dtype=np.str_)
    return kept.file.with_table(kept.particles, table.replaced(edits) if edits else table)


def image_names_of(images: Images, folder: Path) -> np.ndarray:
    """RELION's names of images that are in files, relative to `folder` where they are inside it."""
    stack, index = stack_behind(images)
    return stack.names(folder)[index]


def _new(particles: Particles, image_names: Sequence[str] | None) -> StarFile:
    """A file of RELION 3.1 with the columns that say something."""
    names = image_names_of(particles.images, Path.cwd()) if image_names is None else np.array(list(image_names))
    columns: dict[str, Any] = {NAME: names}
    if isinstance(particles.table, np.ndarray):
        columns |= location_columns(particles.table)
    euler = np.rad2deg(to_euler(particles.rotation))
    if particles.has_poses or euler.any():
        columns |= {label: euler[:, i] for i, label in enumerate(EULER)}
    columns |= {label: particles.shift[:, i] for i, label in enumerate(ORIGIN)}
    if particles.has_ctf:
        values = (*particles.defocus.T[:2], np.rad2deg(particles.defocus[:, 2]))
        columns |= dict(zip(DEFOCUS, values, strict=True))
    for field, (label, missing) in NUMBERS.items():
        value = getattr(particles, field)
        if np.any(value != missing):
            columns[label] = np.rad2deg(value) if field == "phase_shift" else value
    columns[GROUP] = particles.group + 1
    for field, label in COUNTS.items():
        if np.any(getattr(particles, field)):
            columns[label] = getattr(particles, field)
    optics = replace(star_table("optics", optics_columns(particles.optics, particles.box)), comments="\n" + VERSION)
    return StarFile((optics, replace(star_table("particles", columns), comments="\n" + VERSION)), tail="\n")


def _regrouped(particles: Particles, kept: RelionTable) -> bool:
    """Whether the table's own way to tell optics does not do any more."""
    if len(particles.optics) != len(kept.as_read):
        return True
    if kept.optics is not None:
        return False
    return any(not _same_optics(a, b) for a, b in zip(particles.optics, kept.as_read, strict=True))


def _with_new_optics(particles: Particles, kept: RelionTable) -> RelionTable:
    """The file with a table of optics groups made anew, and particles that refer to it."""
    old = kept.table if kept.optics is None else kept.file.tables[kept.optics]
    columns = optics_columns(particles.optics, particles.box)
    optics = replace(star_table("optics", columns), comments=old.comments or "\n" + VERSION)
    others = [t for i, t in enumerate(kept.file.tables) if i not in (kept.particles, kept.optics)]
    table = kept.table.without([c for c in GROUPED_BY if c != GROUP] if kept.optics is None else [])
    table = replace(table, name="particles", head=None, comments="\n" + VERSION)
    if ORIGIN[0] not in table and ORIGIN_PIXELS[0] in table:
        table = table.without(ORIGIN_PIXELS)
        table = table.replaced({label: number_text(particles.shift[:, i]) for i, label in enumerate(ORIGIN)})
    file = replace(kept.file, tables=(optics, table, *others))
    groups = tuple(number_text(np.arange(1, len(particles.optics) + 1)).tolist())
    return replace(kept, file=file, particles=1, optics=0, groups=groups)


def _optics_updated(table: StarTable, kept: RelionTable, optics: tuple[Optics, ...]) -> StarTable:
    """The table of optics groups with the cells of what changed."""
    for row, new, old in zip(kept.rows, optics, kept.as_read, strict=True):
        cells: dict[str, str] = {}
        for field, column in {**OPTICS, "pixel": "rlnImagePixelSize"}.items():
            if not _close(getattr(new, field), getattr(old, field)):
                cells[column] = str(precise_text(getattr(new, field))[0])
        if not _close(new.beam_tilt, old.beam_tilt):
            cells |= {c: str(precise_text(v)[0]) for c, v in zip(BEAM_TILT, new.beam_tilt, strict=True)}
        for field, column in ZERNIKE.items():
            if not _close(getattr(new, field), getattr(old, field)):
                cells[column] = vector_text(getattr(new, field))
        if not _close(new.magnification, old.magnification):
            flat = np.ravel(new.magnification)
            cells |= {c: str(precise_text(v)[0]) for c, v in zip(MAGNIFICATION, flat, strict=True)}
        for field, column in FLAGS.items():
            if getattr(new, field) != getattr(old, field):
                cells[column] = str(int(getattr(new, field)))
        if new.name != old.name:
            cells["rlnOpticsGroupName"] = new.name
        for column, text in cells.items():
            table = _with_cell(table, column, row, text)
    return table


def _with_cell(table: StarTable, column: str, row: int, text: str) -> StarTable:
    """The table with one cell changed; in a column that was not there other rows get what means nothing."""
    idle = "[]" if text.startswith("[") else "1.000000" if column in (MAGNIFICATION[0], MAGNIFICATION[3]) else "0"
    values = table[column].tolist() if column in table else [idle] * len(table)
    values[row] = text
    return table.replaced({column: values})


def _changed_columns(particles: Particles, table: StarTable) -> dict[str, np.ndarray]:
    """Columns of text with the cells of those particles that differ from what the table says."""
    pixel = np.array([o.pixel for o in particles.optics])[particles.group]
    old = particle_values(table, pixel)
    edits: dict[str, np.ndarray] = {}
    turned = _differs(particles.rotation, old["rotation"], 1.0).any((1, 2))
    if turned.any():
        euler = np.rad2deg(to_euler(particles.rotation))
        _edit(edits, table, turned, {label: euler[:, i] for i, label in enumerate(EULER)})
    moved = _differs(particles.shift, old["shift"], pixel[:, None]).any(1)
    if ORIGIN[0] in table or ORIGIN_PIXELS[0] not in table:
        _edit(edits, table, moved, {label: particles.shift[:, i] for i, label in enumerate(ORIGIN)})
    if ORIGIN_PIXELS[0] in table:
        _edit(edits, table, moved, {label: particles.shift[:, i] / pixel for i, label in enumerate(ORIGIN_PIXELS)})
    if particles.has_ctf:
        unlike = _differs(particles.defocus, old["defocus"], 1.0)
        values = (*particles.defocus.T[:2], np.rad2deg(particles.defocus[:, 2]))
        for i, (label, value) in enumerate(zip(DEFOCUS, values, strict=True)):
            _edit(edits, table, unlike[:, i], {label: value})
    for field, (label, _) in NUMBERS.items():
        value = getattr(particles, field)
        text = np.rad2deg(value) if field == "phase_shift" else value
        _edit(edits, table, _differs(value, old[field], 1.0), {label: text})
    for field, label in COUNTS.items():
        value = getattr(particles, field)
        _edit(edits, table, value != old[field], {label: value})
    return edits


def _edit(edits: dict[str, np.ndarray], table: StarTable, rows: Any, columns: dict[str, np.ndarray]) -> None:
    """Put the new text of some rows into `edits`; a column that is not there is filled whole."""
    if not rows.any():
        return
    for label, values in columns.items():
        if label not in table:
            edits[label] = number_text(values)
            continue
        text = table[label].astype(object)
        text[rows] = number_text(values[rows])
        edits[label] = text.astype(np.str_)


def _differs(new: np.ndarray, old: np.ndarray, scale: float | np.ndarray) -> Any:
    """Where values are not the same within rounding of the coarser of the two."""
    coarse = np.finfo(np.float32 if np.asarray(new).dtype == np.float32 else np.float64).eps
    return np.abs(np.asarray(new, np.float64) - old) > SAME * coarse * np.maximum(np.abs(old), scale)


def _close(a: Any, b: Any) -> bool:
    new, old = np.ravel(np.asarray(a, np.float64)), np.ravel(np.asarray(b, np.float64))
    return new.shape == old.shape and not bool(np.any(~(np.abs(new - old) <= 1e-12 * np.abs(old))))


def _same_optics(a: Optics, b: Optics) -> bool:
    numbers = ("voltage", "cs", "amplitude_contrast", "pixel", "beam_tilt", "magnification", *ZERNIKE)
    return all(_close(getattr(a, f), getattr(b, f)) for f in numbers) and all(
        getattr(a, f) == getattr(b, f) for f in FLAGS
    )


def _renamed(name: str, moved: dict[str, Path]) -> str:
    """A name with the whole path of its stack where that is not found otherwise."""
    number, at, file = name.partition("@")
    file = file if at else name
    return f"{number}@{moved[file]}" if at and file in moved else str(moved.get(file, Path(file))) if not at else name


def _same_file(a: Path | None, b: Path) -> bool:
    return a is not None and a.resolve() == b.resolve()
