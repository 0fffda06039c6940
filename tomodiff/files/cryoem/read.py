"""Particles from and to files of any dialect: RELION's STAR, cryoSPARC's .cs, FREALIGN's .par, cisTEM's STAR."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import ConfigError, DataError
from tomodiff.files.cryoem.cryosparc import fields, read_cs
from tomodiff.files.cryoem.cryosparc_writer import write_cs
from tomodiff.files.cryoem.frealign import ParTable, read_cistem_star, read_par, write_cistem_star, write_par
from tomodiff.files.cryoem.relion import GROUP, GROUPED_BY, NAME, RelionTable, read_star
from tomodiff.files.cryoem.relion_columns import COUNTS, DEFOCUS, EULER, NUMBERS, ORIGIN, ORIGIN_PIXELS
from tomodiff.files.cryoem.relion_writer import write_star
from tomodiff.files.cryoem.stack import Stack, batches, stack_behind, stack_of, write_stack
from tomodiff.particles import Particles

SNIFFED = 1 << 16
"""Bytes of a file that tell its dialect."""
BATCH = 256
"""Images that are in memory at a time while a stack is written."""
CARRIED = {NAME, GROUP, *GROUPED_BY, *EULER, *ORIGIN, *ORIGIN_PIXELS, *DEFOCUS, *COUNTS.values()} | {
    column for column, _ in NUMBERS.values()
}
"""RELION's columns that another dialect can tell."""
LACKS = {".par": {"half": "half sets", "klass": "classes", "dose": "doses"}, ".cs": {"dose": "doses"}}
"""What particles have for which a format has no place, by its suffix."""


def read_particles(
    path: Path | str,
    *,
    root: Path | str | None = None,
    passthrough: Sequence[Path | str] = (),
    stack: Path | str | None = None,
    pixel: float | None = None,
    voltage: float | None = None,
    cs: float | None = None,
    amplitude_contrast: float | None = None,
    invert_eulers: bool = False,
) -> Particles:
    """The particles of a file, images left on disk; the dialect is told by what is in the file.

    root: a folder in which to look for stacks.  passthrough: .cs files that complete a .cs (see `read_cs`).  stack: the
    images, in place of those that the file names; a .par needs it.  pixel (angstrom), voltage (kV), cs (mm),
    amplitude_contrast: in place of what the file tells; a .par needs all four.  invert_eulers: see `frealign`.
    Raises DataError for what is wrong in the files, ConfigError for what is missing in the request.
    """
    path = Path(path)
    kind = dialect(path)
    given: dict[str, Any] = {"pixel": pixel, "voltage": voltage, "cs": cs, "amplitude_contrast": amplitude_contrast}
    for name, value in given.items():
        if value is not None and not (
            np.isfinite(value) and (value > 0 or (name == "amplitude_contrast" and value == 0))
        ):
            raise ConfigError(f"{name}: expected a number above 0, found {value}")
    if passthrough and kind != "cryosparc":
        raise ConfigError(f"passthrough: expected none for {path}, which is no .cs file, found {len(passthrough)}")
    if invert_eulers and kind not in ("frealign", "cistem"):
        raise ConfigError(f"invert_eulers: expected False for {path}, which is no .par or STAR of cisTEM, found True")
    if kind == "cryosparc":
        return read_cs(path, root, passthrough=passthrough, stack=stack, **given)
    if kind == "frealign":
        if stack is None:
            raise ConfigError(f"{path}: a .par does not name its images: expected stack=, found none")
        return read_par(path, stack, invert_eulers=invert_eulers, **given)
    if kind == "cistem":
        return read_cistem_star(path, root, stack=stack, invert_eulers=invert_eulers, **given)
    return read_star(path, root, stack=stack, **given)


def dialect(path: Path) -> str:
    """Which of relion, cryosparc, frealign and cistem a file is of.  DataError for what is none."""
    try:
        with path.open("rb") as file:
            start = file.read(SNIFFED)
    except OSError as error:
        raise DataError(path, "", "a readable file", error.strerror or str(error)) from error
    if start.startswith(b"\x93NUMPY"):
        return "cryosparc"
    if start[:1] == b"\x80":
        raise DataError(path, "", "a .star, .cs or .par file", "Python objects (pickled), which are not read")
    lines = [line.strip() for line in start.split(b"\n")]
    if any(line.lower().startswith(b"data_") for line in lines):
        return "cistem" if any(line.startswith(b"_cisTEM") for line in lines) else "relion"
    first = next((line.split() for line in lines if line), [])
    if first and b"\0" not in start and (first[0] == b"C" or (len(first) > 10 and first[0].isdigit())):
        return "frealign"
    found = "an empty file" if not start.strip() else f"{start[:24]!r}"
    raise DataError(path, "", "particles: a .star, .cs or .par file", found)


def write_particles(
    path: Path | str,
    particles: Particles,
    *,
    stack: Path | str | None = None,
    invert_eulers: bool = False,
    cistem: bool = False,
) -> tuple[str, ...]:
    """Write particles in the dialect of the suffix (.star, .cs, .par), each file whole or not at all; gives warnings.

    In the dialect they were read from, unknown columns and the text of unchanged numbers are kept.
    stack: also write the images, bright protein, to this .mrcs, and refer to it.  Images that are in no file are
    written beside `path`.  cistem: a .star for cisTEM; otherwise it is one for RELION, unless read from cisTEM's.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".star", ".cs", ".par"):
        raise ConfigError(f"{path}: expected a name that ends in .star, .cs or .par, found {suffix or 'no suffix'}")
    to_cistem = cistem or (isinstance(particles.table, ParTable) and particles.table.file is not None)
    same = _same_dialect(suffix, to_cistem, particles.table)
    if stack is None and not same and not _in_files(particles):
        stack = path.with_suffix(".mrcs")
    warnings = [] if same else _left_out(particles.table, suffix)
    lost = [name for field, name in LACKS.get(suffix, {}).items() if np.any(getattr(particles, field))]
    warnings += [f"a {suffix} does not hold {', '.join(lost)}"] if lost else []
    names = None
    if stack is not None:
        particles = _with_stack(Path(stack), particles)
        names = stack_behind(particles.images)[0].names(path.parent).tolist()
        particles = particles if suffix == ".star" and not to_cistem else particles.replace(table=None)
    elif suffix != ".cs" and not same and _any_dark(particles):
        warnings.append(f"{path}: protein is dark in the images, which a {suffix} does not tell; stack= turns them")
    if suffix == ".cs":
        write_cs(path, particles)
    elif suffix == ".par":
        write_par(path, particles, invert_eulers)
    elif to_cistem:
        write_cistem_star(path, particles, invert_eulers)
    else:
        write_star(path, particles, names)
    return tuple(warnings)


def convert(source: Path | str, target: Path | str, *, images: Path | str | None = None, **how: Any) -> tuple[str, ...]:
    """Translate particles from one dialect to another, or within one; gives the warnings of reading and writing.

    images: write the images too, to this .mrcs.  how: arguments of `read_particles`.
    """
    particles = read_particles(source, **how)
    return (*particles.warnings, *write_particles(target, particles, stack=images))


def _same_dialect(suffix: str, to_cistem: bool, table: Any) -> bool:
    """Whether the table that was read is what will be written."""
    if suffix == ".cs":
        return isinstance(table, np.ndarray)
    if suffix == ".par" or to_cistem:
        return isinstance(table, ParTable) and (table.file is not None) == to_cistem
    return isinstance(table, RelionTable)


def _in_files(particles: Particles) -> bool:
    try:
        stack_behind(particles.images)
    except ValueError:
        return False
    return True


def _any_dark(particles: Particles) -> bool:
    stack, index = stack_behind(particles.images)
    return stack.sign is not None and bool((stack.sign[index] < 0).any())


def _with_stack(path: Path, particles: Particles) -> Particles:
    """The particles with their images in a stack of their own, in their order."""
    parts = (images for _, images in batches(particles.images, BATCH))
    write_stack(path, parts, len(particles), particles.box, particles.pixel)
    images: Stack = stack_of(path)
    return particles.replace(images=images)


def _left_out(table: Any, suffix: str) -> list[str]:
    """A warning of the columns that a file of another dialect does not hold."""
    if isinstance(table, RelionTable):
        lost = [column for column in table.table.columns if column not in CARRIED]
    elif isinstance(table, np.ndarray):
        known = ("uid", "blob/", "ctf/", "location/")
        ends = ("/pose", "/shift", "/split", "/class", "/psize_A", "/class_posterior")
        lost = [name for name in fields(table) if not name.startswith(known) and not name.endswith(ends)]
    else:
        lost = []
    return [f"a {suffix} does not hold {', '.join(lost)}"] if lost else []
