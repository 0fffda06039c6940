"""Particles to cryoSPARC's .cs files: the table that was read with what changed, or a new one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.files.atomic import replacing
from tomodiff.files.cryoem.cryosparc import alignment, fields, particle_values
from tomodiff.files.cryoem.stack import stack_behind
from tomodiff.geometry.poses import log, to_euler
from tomodiff.geometry.units import ANGSTROM_PER_MM
from tomodiff.particles import Particles

SAME = 1e-6
"""Relative difference below which a single-precision field keeps the number that it has."""

SCALARS = {"phase_shift": "ctf/phase_shift_rad", "b_factor": "ctf/bfactor", "scale": "ctf/scale"}


def write_cs(path: Path | str, particles: Particles) -> None:
    """Write a .cs file, whole or not at all.

    Particles that came from a .cs file keep all its fields, and in them the numbers that did not change.  ValueError
    where the images are not from files.
    """
    table = cs_table(particles)
    with replacing(Path(path), table.nbytes) as temporary, temporary.open("wb") as file:
        np.save(file, table, allow_pickle=False)


def cs_table(particles: Particles) -> np.ndarray:
    """The structured array that `write_cs` writes."""
    kept = particles.table
    if isinstance(kept, np.ndarray) and kept.dtype.names:
        return _updated(particles, kept)
    return _filled(particles, _blank(particles))


def _updated(particles: Particles, kept: np.ndarray) -> np.ndarray:
    """The table that was read, with the fields of particles that differ from it."""
    table = kept.copy()
    where = alignment(table)
    if where is None or (where == "alignments2D" and particles.has_poses):
        table = _with_fields(table, _blank(particles), [n for n in _blank(particles).dtype.names or () if "3D/" in n])
    if particles.has_ctf and "ctf/df1_A" not in fields(table):
        table = _with_fields(table, _blank(particles), [n for n in _blank(particles).dtype.names or () if "ctf/" in n])
    return _filled(particles, table, kept)


def _filled(particles: Particles, table: np.ndarray, kept: np.ndarray | None = None) -> np.ndarray:
    """The table with the particles' values, where they are not those that `kept` tells."""
    old: dict[str, Any] = {}
    if kept is not None:
        old = particle_values("particles", kept, particles.optics, particles.group)
    where = alignment(table)
    pixel = np.array([o.pixel for o in particles.optics])[particles.group]
    turned = _changed(particles.rotation, old.get("rotation"), 1.0)
    moved = _changed(particles.shift, old.get("shift"), 1.0)
    if where is not None:
        _put_poses(particles, table, where, turned, moved, pixel)
    for i, name in enumerate(("ctf/df1_A", "ctf/df2_A", "ctf/df_angle_rad")):
        if name in fields(table):
            before = old["defocus"][:, i] if old else None
            rows = _changed(particles.defocus[:, i], before, 1e-6)
            table[name][rows] = particles.defocus[rows, i]
    for field, name in SCALARS.items():
        if name in fields(table):
            rows = _changed(getattr(particles, field), old.get(field), 1e-6)
            table[name][rows] = getattr(particles, field)[rows]
    _put_optics(particles, table)
    return table


def _put_poses(
    particles: Particles, table: np.ndarray, where: str, turned: np.ndarray, moved: np.ndarray, pixel: np.ndarray
) -> None:
    """Poses, shifts, half sets and classes, in the fields where the table has them."""
    size = np.asarray(table[f"{where}/psize_A"], np.float64) if f"{where}/psize_A" in fields(table) else pixel
    shift = particles.shift / (size[:, None] if size.ndim == 1 else size[:, :1])
    if where == "alignments2D":
        pose = to_euler(particles.rotation)[:, 2]
    else:
        pose = log(np.swapaxes(particles.rotation, -1, -2))
    best: tuple[Any, ...] = ()
    if where == "alignments3D_multi":
        best = (np.argmax(table[f"{where}/class_posterior"], axis=1),)
    for name, value, rows in (("pose", pose, turned), ("shift", shift, moved)):
        if f"{where}/{name}" in fields(table):
            place = (np.flatnonzero(rows), *(b[rows] for b in best))
            table[f"{where}/{name}"][place] = value[rows]
    if f"{where}/split" in fields(table) and particles.half.all() and where != "alignments2D":
        table[f"{where}/split"] = particles.half - 1
    if f"{where}/class" in fields(table) and particles.klass.all() and table[f"{where}/class"].ndim == 1:
        table[f"{where}/class"] = particles.klass - 1


def _put_optics(particles: Particles, table: np.ndarray) -> None:
    """The microscope of each particle's group."""
    optics = particles.optics
    values = {
        "ctf/accel_kv": [o.voltage for o in optics],
        "ctf/cs_mm": [o.cs for o in optics],
        "ctf/amp_contrast": [o.amplitude_contrast for o in optics],
        "blob/psize_A": [o.pixel for o in optics],
        "ctf/tilt_A": [np.sin(np.array(o.beam_tilt) * 1e-3) * o.cs * ANGSTROM_PER_MM for o in optics],
        "ctf/anisomag": [(np.array(o.magnification) - np.eye(2)).ravel() for o in optics],
    }
    for name, value in values.items():
        if name in fields(table):
            new = np.array(value)[particles.group]
            rows = np.abs(new - table[name]) > SAME * np.maximum(np.abs(new), 1e-6)
            table[name][rows] = new[rows]


def _blank(particles: Particles) -> np.ndarray:
    """A table with the fields that cryoSPARC imports, the images named, and everything else zero."""
    images, index = stack_behind(particles.images)
    paths = np.array([str(p.resolve()).encode() for p in images.paths])
    n, box = len(particles), particles.box
    scalars = ("accel_kv", "cs_mm", "amp_contrast", "df1_A", "df2_A", "df_angle_rad", "phase_shift_rad", "scale",
               "scale_const", "bfactor")  # fmt: skip
    dtype: list[Any] = [("uid", "<u8"), ("blob/path", paths.dtype), ("blob/idx", "<u4"), ("blob/shape", "<u4", (2,))]
    dtype += [("blob/psize_A", "<f4"), ("blob/sign", "<f4")]
    if particles.has_ctf:
        dtype += [("ctf/type", "S9"), ("ctf/exp_group_id", "<u4"), *((f"ctf/{name}", "<f4") for name in scalars)]
        dtype += [(f"ctf/{name}", "<f4", (k,)) for name, k in (("tilt_A", 2), ("anisomag", 4))]
    if particles.has_poses:
        dtype += [
            ("alignments3D/split", "<u4"),
            ("alignments3D/shift", "<f4", (2,)),
            ("alignments3D/pose", "<f4", (3,)),
        ]
        dtype += [("alignments3D/psize_A", "<f4"), ("alignments3D/class", "<u4"), ("alignments3D/alpha", "<f4")]
    table = np.zeros(n, np.dtype(dtype))
    table["blob/path"], table["blob/idx"] = paths[images.file[index]], images.index[index]
    table["blob/shape"] = box
    table["blob/sign"] = 1 if images.sign is None else images.sign[index]
    pixel = np.array([o.pixel for o in particles.optics])[particles.group]
    table["blob/psize_A"] = pixel
    pairs = zip(table["blob/path"].tolist(), table["blob/idx"].tolist(), strict=True)
    table["uid"] = np.array([_uid(path, number) for path, number in pairs], np.uint64)
    if particles.has_ctf:
        table["ctf/type"], table["ctf/exp_group_id"], table["ctf/scale"] = b"imported", particles.group, 1
    if particles.has_poses:
        table["alignments3D/psize_A"], table["alignments3D/alpha"] = pixel, 1
    return table


def _with_fields(table: np.ndarray, source: np.ndarray, names: list[str]) -> np.ndarray:
    """The table with more fields, those of `source`."""
    names = [name for name in names if name not in fields(table)]
    kinds = [(name, table.dtype[name]) for name in fields(table)] + [(name, source.dtype[name]) for name in names]
    out = np.zeros(len(table), np.dtype(kinds))
    for name in fields(table):
        out[name] = table[name]
    for name in names:
        out[name] = source[name]
    return out


def _uid(path: bytes, index: int) -> int:
    """A number that is the same whenever the same image is written."""
    return int.from_bytes(hashlib.blake2b(path + b"%d" % index, digest_size=8).digest(), "little")


def _changed(new: np.ndarray, old: np.ndarray | None, scale: float) -> np.ndarray:
    """(n,) whether any value of a particle differs by more than the rounding of single precision."""
    if old is None:
        return np.ones(len(new), bool)
    differs = np.abs(new - old) > SAME * np.maximum(np.abs(old), scale)
    return np.asarray(differs.reshape(len(new), -1).any(1))
