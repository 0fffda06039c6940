"""Meshes of things in photographs, in the unit of their cameras, and what rays meet of them; through trimesh."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import ConfigError, DataError
from tomodiff.extras import library

SUFFIXES = (".obj", ".ply", ".stl")


@dataclass(frozen=True, eq=False)
class Body:
    """vertices (n, 3), faces (k, 3) of their numbers, counterclockwise from outside; uv (n, 2) of a texture, or
    None."""

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray | None
    path: Path

    def first(self, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of rays (n, 3) that meet something: where, which ray, which face.  ConfigError without what traces rays."""
        try:
            found = self._mesh.ray.intersects_location(origins, directions, multiple_hits=False)
        except ImportError as error:
            raise ConfigError("rays to meshes need rtree: pip install 'tomodiff[meshes]'") from error
        places, ray, face = (np.asarray(a) for a in found)
        return places, ray, face

    def met(self, origins: np.ndarray, directions: np.ndarray) -> Hits:
        """What rays (n, 3) meet first."""
        mesh, (places, ray, face) = self._mesh, self.first(origins, directions)
        trimesh = library("trimesh", "meshes", f"{self.path.name}: meshes need")
        corners = np.asarray(trimesh.triangles.points_to_barycentric(mesh.triangles[face], places))
        normals = np.einsum("nc,nca->na", corners, np.asarray(mesh.vertex_normals)[self.faces[face]])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        uv = None if self.uv is None else np.einsum("nc,nca->na", corners, self.uv[self.faces[face]])
        return Hits(ray, places, normals, uv)

    def hidden(self, places: np.ndarray, normals: np.ndarray, towards: np.ndarray) -> np.ndarray:
        """(n,) whether something stands between places and a light far away."""
        off = 1e-4 * float(np.ptp(self.vertices, axis=0).max())
        made: np.ndarray = np.asarray(
            self._mesh.ray.intersects_any(places + off * normals, np.broadcast_to(towards, places.shape).copy())
        )
        return made

    @cached_property
    def _mesh(self) -> Any:
        """What traces rays; the tree of its faces is built once."""
        trimesh = library("trimesh", "meshes", f"{self.path.name}: meshes need")
        return trimesh.Trimesh(self.vertices, self.faces, process=False)


@dataclass(frozen=True, eq=False)
class Hits:
    """Of rays that met something: their numbers (m,), places and normals (m, 3), texture coordinates (m, 2) or None."""

    ray: np.ndarray
    places: np.ndarray
    normals: np.ndarray
    uv: np.ndarray | None


def read_body(path: Path) -> Body:
    """A mesh as the file has it, with its texture coordinates if there are any.  DataError for what is none."""
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(path, "name", f"one that ends in {', '.join(SUFFIXES)}", path.suffix or "none")
    if not path.exists():
        raise DataError(path, "", "a mesh", "no file of that name")
    trimesh = library("trimesh", "meshes", f"{path.name}: meshes need")
    try:
        found = trimesh.load(path, force="mesh", process=False)
    except Exception as error:
        raise DataError(path, "", "a mesh that trimesh reads", f"{type(error).__name__}: {error}") from error
    vertices = np.asarray(getattr(found, "vertices", np.zeros((0, 3))), np.float64)
    faces = np.asarray(getattr(found, "faces", np.zeros((0, 3))), np.int64).reshape(-1, 3)
    if not len(faces):
        raise DataError(path, "faces", "triangles", "none")
    if not np.isfinite(vertices).all():
        raise DataError(path, "vertices", "finite numbers", "NaN or infinities")
    uv = getattr(getattr(found, "visual", None), "uv", None)
    if uv is not None and (np.shape(uv) != (len(vertices), 2) or not np.isfinite(uv).all()):
        uv = None
    return Body(vertices, faces, None if uv is None else np.asarray(uv, np.float64), path)
