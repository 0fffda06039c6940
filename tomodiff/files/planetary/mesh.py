"""Shape models of small bodies: OBJ, PLY and STL through trimesh, NAIF's DSK through CSPICE."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tomodiff.errors import ConfigError, DataError
from tomodiff.extras import library
from tomodiff.files.body_mesh import SUFFIXES as SURFACES
from tomodiff.files.body_mesh import Body, read_body

DSK = (".bds", ".dsk")
UNITS = {"km": 1000.0, "m": 1.0}
OUTSIDE = 1.01
"""Where rays towards a body begin, over its largest radius."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """vertices (n, 3), body-fixed, metres; faces (k, 3) of their numbers, counterclockwise seen from outside."""

    vertices: np.ndarray
    faces: np.ndarray
    path: Path

    @property
    def radius(self) -> float:
        """The mean distance of the vertices from the body's centre, metres."""
        return float(np.linalg.norm(self.vertices, axis=1).mean())

    def heights(self, places: np.ndarray, up: np.ndarray) -> np.ndarray:
        """(...) how far above `places` (3, ...) along unit vectors `up` the surface is met first from outside, metres;
        NaN where it is not."""
        shape, flat, directions = places.shape[1:], places.reshape(3, -1).T, up.reshape(3, -1).T
        far = OUTSIDE * float(np.linalg.norm(self.vertices, axis=1).max()) + float(np.linalg.norm(flat, axis=1).max())
        body = Body(self.vertices, self.faces, None, self.path)
        met, ray, _ = body.first(flat + far * directions, -directions)
        made = np.full(len(flat), np.nan)
        made[ray] = ((met - flat[ray]) * directions[ray]).sum(1)
        return made.reshape(shape)


def read_mesh(path: Path, unit: str = "km") -> Mesh:
    """A shape model; `unit` of OBJ, PLY and STL, which do not tell theirs (DSK are in km).

    Raises DataError where the file cannot be read, holds no triangles, or numbers that are none.
    """
    if unit not in UNITS:
        raise ConfigError(f"unit: expected {' or '.join(UNITS)}, got {unit!r}")
    if not path.exists():
        raise DataError(path, "", "a shape model", "no file of that name")
    suffix = path.suffix.lower()
    if suffix in DSK:
        vertices, faces = _read_dsk(path)
        unit = "km"
    elif suffix in SURFACES:
        body = read_body(path)
        vertices, faces = body.vertices, body.faces
    else:
        raise DataError(path, "name", f"one that ends in {', '.join((*SURFACES, *DSK))}", suffix or "none")
    if len(faces) == 0:
        raise DataError(path, "faces", "triangles", "none")
    if not np.isfinite(vertices).all():
        raise DataError(path, "vertices", "finite numbers", "NaN or infinities")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise DataError(path, "faces", f"numbers of {len(vertices)} vertices", f"{faces.min()} to {faces.max()}")
    return Mesh(vertices * UNITS[unit], faces.astype(np.int64), path)


def _read_dsk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The first segment of plates."""
    spiceypy = library("spiceypy", "meshes", "DSK shape models need")
    handle = None
    try:
        handle = spiceypy.dasopr(str(path))
        segment = spiceypy.dlabfs(handle)
        count, plates = spiceypy.dskz02(handle, segment)
        vertices = np.asarray(spiceypy.dskv02(handle, segment, 1, count), np.float64)
        faces = np.asarray(spiceypy.dskp02(handle, segment, 1, plates), np.int64) - 1
    except Exception as error:
        told = " ".join(str(error).split())[:300]
        raise DataError(path, "", "a DSK with a segment of type 2 (plates)", told) from error
    finally:
        if handle is not None:
            spiceypy.dascls(handle)
    return vertices, faces
