"""Particles of cryoSPARC: NumPy structured arrays (.cs), of which several may describe the same particles (uid).

cryoSPARC's documentation names the fields but not all conventions; these are the ones that pyem and cryoDRGN found:
`pose` is a rotation vector w with A = R(w)', R right-handed; `shift` is RELION's origin in pixels of `psize_A`;
`df_angle_rad` is RELION's; `tilt_A` is Cs sin(beam tilt); blob/sign -1 marks images in which protein is dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.cryoem.checks import check_boxes, check_header_pixel, check_pixels
from tomodiff.files.cryoem.locate import located
from tomodiff.files.cryoem.relion_columns import UNKNOWN, Given
from tomodiff.files.cryoem.stack import Stack, open_stack
from tomodiff.geometry.poses import exp, from_euler
from tomodiff.geometry.units import ANGSTROM_PER_MM
from tomodiff.particles import Optics, Particles

CTF = ("ctf/accel_kv", "ctf/cs_mm", "ctf/amp_contrast", "ctf/df1_A", "ctf/df2_A", "ctf/df_angle_rad")
GROUPED_BY = ("ctf/exp_group_id", *CTF[:3], "blob/psize_A", "ctf/tilt_A", "ctf/anisomag")
UNREAD = ("ctf/trefoil_A", "ctf/tetra_A")
"""Aberrations whose definition is not public."""


def read_cs(
    path: Path | str,
    root: Path | str | None = None,
    *,
    passthrough: Sequence[Path | str] = (),
    stack: Path | str | None = None,
    pixel: float | None = None,
    voltage: float | None = None,
    cs: float | None = None,
    amplitude_contrast: float | None = None,
) -> Particles:
    """The particles of a .cs file, images left on disk.

    passthrough: other .cs files, whose fields complete those of `path`; particles are matched by uid.  The rest as in
    `read_star`.  Poses are those of alignments3D; of alignments3D_multi, for the class of highest posterior;
    alignments2D gives the in-plane angle, and `has_poses` False.  DataError names the field that is missing.
    """
    path = Path(path)
    given = Given(pixel, voltage, cs, amplitude_contrast)
    table = read_table(path)
    for other in passthrough:
        table = joined(path, table, Path(other), read_table(Path(other)))
    if not len(table):
        raise DataError(path, "", "particles", "a table without rows")
    images = _images(path, table, root, stack)
    has_ctf = "ctf/df1_A" in fields(table)
    optics, group = optics_groups(path, table, given, has_ctf)
    check_pixels(path, optics)
    warnings = check_header_pixel(path, optics[0], images) if pixel is None else []
    check_boxes(path, images)
    warnings += _doubts(path, table)
    return Particles(
        images=images,
        optics=optics,
        group=group,
        table=table,
        meta={"format": "cryoSPARC", "path": str(path)},
        warnings=tuple(warnings),
        **particle_values(path, table, optics, group),
    )


def read_table(path: Path) -> np.ndarray:
    """The structured array of a .cs file.  DataError for what is none; nothing in it is executed."""
    try:
        table = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        pickled = "allow_pickle" in str(error) or "pickle" in str(error).lower()
        found = "Python objects (pickled)" if pickled else " ".join(str(error).split())
        raise DataError(path, "", "a .cs file (a NumPy structured array)", found) from error
    if not isinstance(table, np.ndarray) or not table.dtype.names:
        raise DataError(path, "", "a NumPy structured array", "an array without named fields")
    return table


def joined(path: Path, table: np.ndarray, other_path: Path, other: np.ndarray) -> np.ndarray:
    """The table with the fields that only `other` has, of the same particles.

    DataError where either has no uid, a uid twice, or where `other` lacks particles.
    """
    for where, one in ((path, table), (other_path, other)):
        if "uid" not in fields(one):
            raise DataError(where, "fields", "uid", " ".join(fields(one)[:8]))
        if len(np.unique(one["uid"])) != len(one):
            raise DataError(where, "uid", "each uid once", f"{len(one) - len(np.unique(one['uid']))} repeated")
    order = np.argsort(other["uid"])
    place = np.clip(np.searchsorted(other["uid"], table["uid"], sorter=order), 0, len(other) - 1)
    match = order[place]
    missing = np.flatnonzero(other["uid"][match] != table["uid"])
    if missing.size:
        expected = f"the {len(table)} particles of {path}"
        raise DataError(
            other_path, "uid", expected, f"{missing.size} of them missing, first {table['uid'][missing[0]]}"
        )
    added = [name for name in fields(other) if name not in fields(table)]
    kinds = [(name, table.dtype[name]) for name in fields(table)] + [(name, other.dtype[name]) for name in added]
    out = np.empty(len(table), np.dtype(kinds))
    for name in fields(table):
        out[name] = table[name]
    for name in added:
        out[name] = other[name][match]
    return out


def fields(table: np.ndarray) -> tuple[str, ...]:
    """The names of the fields."""
    return tuple(table.dtype.names or ())


def optics_groups(
    path: Path | str, table: np.ndarray, given: Given, has_ctf: bool
) -> tuple[tuple[Optics, ...], np.ndarray]:
    """The optics of particles whose experiment, microscope and aberrations are the same, and (n,) which is whose."""
    for name in CTF if has_ctf else ():
        told = {CTF[0]: given.voltage, CTF[1]: given.cs, CTF[2]: given.amplitude_contrast}.get(name)
        if name not in fields(table) and told is None:
            raise DataError(path, "fields", name, f"ctf/df1_A without it; there are {' '.join(fields(table)[:12])}")
    if given.pixel is None and "blob/psize_A" not in fields(table):
        raise DataError(path, "fields", "blob/psize_A", "none", "Give pixel=, or the passthrough file that has it.")
    names = [name for name in GROUPED_BY if name in fields(table)]
    if not names:
        return (_optics(table[:1], given, "opticsGroup1"),), np.zeros(len(table), np.int64)
    values = np.column_stack([table[name].reshape(len(table), -1).astype(np.float64) for name in names])
    _, first, inverse = np.unique(values, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    optics = tuple(_optics(table[first[i] : first[i] + 1], given, f"opticsGroup{n + 1}") for n, i in enumerate(order))
    return optics, np.argsort(order)[inverse.reshape(-1)].astype(np.int64)


def _optics(one: np.ndarray, given: Given, name: str) -> Optics:
    """The optics of one particle."""

    def of(field: str, own: float | None, missing: float) -> float:
        return own if own is not None else decimal(one[field][0]) if field in fields(one) else missing

    cs = of("ctf/cs_mm", given.cs, UNKNOWN["cs"])
    tilt = np.asarray(one["ctf/tilt_A"][0], np.float64) if "ctf/tilt_A" in fields(one) else np.zeros(2)
    mrad = 1e3 * np.arcsin(tilt / (cs * ANGSTROM_PER_MM)) if cs > 0 else np.zeros(2)
    deviation = np.asarray(one["ctf/anisomag"][0], np.float64) if "ctf/anisomag" in fields(one) else np.zeros(4)
    M = np.eye(2) + deviation.reshape(2, 2)
    return Optics(
        voltage=of("ctf/accel_kv", given.voltage, UNKNOWN["voltage"]),
        cs=cs,
        amplitude_contrast=of("ctf/amp_contrast", given.amplitude_contrast, UNKNOWN["amplitude_contrast"]),
        pixel=of("blob/psize_A", given.pixel, 0.0),
        name=name,
        beam_tilt=(float(mrad[0]), float(mrad[1])),
        magnification=((float(M[0, 0]), float(M[0, 1])), (float(M[1, 0]), float(M[1, 1]))),
    )


def decimal(value: Any) -> float:
    """The shortest decimal number that a single-precision number stands for: 1.34500003 was 1.345."""
    return float(str(np.float32(value)))


def particle_values(
    path: Path | str, table: np.ndarray, optics: tuple[Optics, ...], group: np.ndarray
) -> dict[str, Any]:
    """The arrays of `Particles` that a table tells, with `has_poses` and `has_ctf`."""
    n = len(table)
    pixel = np.array([o.pixel for o in optics])[group]

    def of(name: str, missing: float = 0.0) -> np.ndarray:
        return table[name].astype(np.float64) if name in fields(table) else np.full(n, missing)

    values: dict[str, Any] = dict(pose_values(table, pixel))
    values["defocus"] = np.column_stack([of(name) for name in CTF[3:]])
    values["has_ctf"] = "ctf/df1_A" in fields(table)
    values["phase_shift"] = of("ctf/phase_shift_rad")
    values["b_factor"] = of("ctf/bfactor")
    values["scale"] = of("ctf/scale", 1.0)
    values["dose"] = np.zeros(n)
    if not all(np.isfinite(v).all() for v in values.values() if isinstance(v, np.ndarray)):
        name = next(k for k, v in values.items() if isinstance(v, np.ndarray) and not np.isfinite(v).all())
        raise DataError(path, name, "finite numbers", "NaN or infinite ones")
    return values


def alignment(table: np.ndarray) -> str | None:
    """Which fields the poses are in."""
    found = fields(table)
    return next((a for a in ("alignments3D", "alignments3D_multi", "alignments2D") if f"{a}/pose" in found), None)


def pose_values(table: np.ndarray, pixel: np.ndarray) -> dict[str, Any]:
    """Rotations, shifts in angstrom, half sets and classes."""
    n, where = len(table), alignment(table)
    none = {"half": np.zeros(n, np.int64), "klass": np.zeros(n, np.int64)}
    if where is None:
        return {"rotation": np.tile(np.eye(3), (n, 1, 1)), "shift": np.zeros((n, 2)), "has_poses": False, **none}

    def of(name: str, missing: Any) -> np.ndarray:
        return table[f"{where}/{name}"] if f"{where}/{name}" in fields(table) else missing

    pose, shift = of("pose", None), of("shift", np.zeros((n, 2)))
    klass = of("class", None)
    if where == "alignments3D_multi":
        best = np.argmax(of("class_posterior", np.ones((n, pose.shape[1]))), axis=1)
        rows = np.arange(n)
        pose, shift = pose[rows, best], shift[rows, best]
        klass = klass[rows, best] if klass is not None and klass.ndim == 2 else best
    if where == "alignments2D":
        zero = np.zeros(n)
        rotation = from_euler(zero, zero, pose.astype(np.float64))
    else:
        rotation = np.swapaxes(exp(pose), -1, -2)
    size = np.asarray(of("psize_A", pixel), np.float64)
    size = np.where(np.isclose(size, pixel, rtol=1e-6, atol=0), pixel, size)  # the same number in single precision
    half = none["half"] if where == "alignments2D" else np.asarray(of("split", none["half"] - 1), np.int64) + 1
    return {
        "rotation": rotation,
        "shift": np.asarray(shift, np.float64) * (size[:, None] if size.ndim == 1 else size[:, :1]),
        "has_poses": where != "alignments2D",
        "half": half,
        "klass": none["klass"] if klass is None else klass.astype(np.int64) + 1,
    }


def location_columns(table: np.ndarray) -> dict[str, Any]:
    """RELION's micrograph and coordinates (pixels from the upper left) of particles that know theirs.

    cryoSPARC counts fractions from the lower left; the shape is (y, x).
    """
    names = ("micrograph_path", "micrograph_shape", "center_x_frac", "center_y_frac")
    if not all(f"location/{name}" in fields(table) for name in names):
        return {}
    paths, shape, x, y = (table[f"location/{name}"] for name in names)
    return {
        "rlnMicrographName": np.array([p.decode().removeprefix(">") for p in paths.tolist()]),
        "rlnCoordinateX": x.astype(np.float64) * shape[:, 1],
        "rlnCoordinateY": (1.0 - y.astype(np.float64)) * shape[:, 0],
    }


def _images(path: Path, table: np.ndarray, root: Path | str | None, stack: Path | str | None) -> Stack:
    """The images that blob/path and blob/idx name."""
    for name in ("blob/path", "blob/idx"):
        if name not in fields(table):
            hint = "Name the passthrough file of the same job."
            raise DataError(path, "fields", name, " ".join(fields(table)[:12]), hint)
    different, file = np.unique(table["blob/path"], return_inverse=True)
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in different.tolist()]
    found = [Path(stack) if stack is not None else located(name.removeprefix(">"), path, root) for name in names]
    sign = None
    if "blob/sign" in fields(table):
        sign = np.where(table["blob/sign"] < 0, -1.0, 1.0).astype(np.float32)
        sign = sign if (sign < 0).any() else None
    images = open_stack(found, file.reshape(-1), table["blob/idx"].astype(np.int64), sign)
    if "blob/shape" in fields(table):
        bad = np.flatnonzero((table["blob/shape"] != np.array(images.shape[1:])).any(1))
        if bad.size:
            told = " x ".join(map(str, table["blob/shape"][bad[0]].tolist()))
            where = f"blob/shape of particle {bad[0] + 1}"
            raise DataError(path, where, f"{images.shape[1]} x {images.shape[2]} as in {images.paths[0]}", told)
    return images


def _doubts(path: Path, table: np.ndarray) -> list[str]:
    """What of the file was not, or not surely, understood."""
    said = []
    unread = [name for name in UNREAD if name in fields(table) and np.any(table[name])]
    if unread:
        said.append(f"{path}: {' and '.join(unread)} have no published definition and are left out")
    if "ctf/anisomag" in fields(table) and np.any(table["ctf/anisomag"]):
        said.append(f"{path}: ctf/anisomag is taken as the rows of M - 1, which is not documented")
    return said
