"""Geometry from and to the dicts of the ASTRA toolbox, which itself is not needed. ASTRA's unit of length counts as mm.

Conventions of ASTRA (van Aarle et al. 2016, Opt. Express 24, 25129, and its documentation of geometries): 3-D vectors
are ours, except that a parallel beam's direction points towards the source. In 2-D, y points up while image rows are
stored from the top down, so that y falls with the row j of an array. We keep arrays as they are, y rising with j, and
mirror y in the vectors instead: an image and a sinogram can then be handed over untouched. The mirror turns a circular
fan into one whose columns run the other way, hence fans are converted as vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from tomodiff.geometry import frames as frame_table
from tomodiff.geometry.checks import Array, refuse, table
from tomodiff.geometry.circular import ConeBeam, ParallelBeam
from tomodiff.geometry.grid import Grid
from tomodiff.geometry.scan import Scan
from tomodiff.geometry.vectors import Vectors

IN_PLANE = [0, 1, 3, 4, 6, 7]
"""Places in a frame of the x and y of source, detector centre and column step: a row of ASTRA's 2-D vectors."""

MIRROR_Y = np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])


def to_astra(scan: Scan, grid: Grid, dimensions: Literal[2, 3] = 3) -> tuple[dict[str, Any], dict[str, Any]]:
    """(vol_geom, proj_geom) for ASTRA, the latter as vectors, one row per view.

    dimensions: 3, or 2 for one detector row and one slice in the plane z = 0 (ASTRA's CPU code is 2-D).
    ASTRA's volumes are upright: for a rotated grid, the scan is turned into the grid's own frame instead.
    ASTRA orders 3-D projections (v, view, u): swap the first two axes of ours. Volumes have the same order.
    """
    frames = scan.frames()
    if grid.rotation is not None:
        back, center = grid.matrix.T, np.array(grid.center)
        frames = frame_table.move(frames, scan.kind, back, center - back @ center)
    if scan.kind == "parallel":
        frames = frames * np.where(np.arange(12) < 3, -1.0, 1.0)
    if dimensions == 2:
        return astra_volume(grid, 2), _planar(scan, frames)
    if dimensions != 3:
        raise refuse("dimensions", "2 or 3", dimensions)
    nv, nu = scan.detector_shape
    name = "parallel3d_vec" if scan.kind == "parallel" else "cone_vec"
    if scan.radius is not None:
        name, frames = "cyl_cone_vec", np.column_stack([frames, np.full(len(frames), scan.radius)])
    detector = {"DetectorRowCount": nv, "DetectorColCount": nu}
    return astra_volume(grid, 3), {"type": name, **detector, "Vectors": frames + 0.0}


def _planar(scan: Scan, frames: Array) -> dict[str, Any]:
    if scan.detector_shape[0] != 1 or scan.radius is not None:
        raise refuse("scan", "one row of a flat detector for ASTRA in 2-D", str(scan))
    if np.abs(frames[:, [2, 5, 8]]).max() > 0:
        raise refuse("scan", "rays and detector in the plane z = 0 for ASTRA in 2-D", "vectors with z components")
    name = "parallel_vec" if scan.kind == "parallel" else "fanflat_vec"
    return {"type": name, "DetectorCount": scan.detector_shape[1], "Vectors": frames[:, IN_PLANE] * MIRROR_Y + 0.0}


def astra_volume(grid: Grid, dimensions: Literal[2, 3] = 3) -> dict[str, Any]:
    """ASTRA's vol_geom of the grid's box; its rotation is left out (`to_astra` turns the scan instead)."""
    (nz, ny, nx), (sz, sy, sx), (cx, cy, cz) = grid.shape, grid.size, grid.center
    volume: dict[str, Any] = {"GridRowCount": ny, "GridColCount": nx}
    if dimensions == 2:
        if nz != 1:
            raise refuse("grid.shape", "a single slice (1, ny, nx) for ASTRA in 2-D", grid.shape)
        cy = -cy
    else:
        volume["GridSliceCount"] = nz
    ranges = [("X", cx, sx), ("Y", cy, sy)] + ([("Z", cz, sz)] if dimensions == 3 else [])
    volume["option"] = {}
    for axis, middle, size in ranges:
        volume["option"] |= {f"WindowMin{axis}": middle - size / 2, f"WindowMax{axis}": middle + size / 2}
    return volume


def grid_from_astra(vol_geom: Mapping[str, Any]) -> Grid:
    """The grid of ASTRA's vol_geom. A 2-D one becomes a single slice at z = 0, as high as its columns are wide."""
    window = _need(vol_geom, "option")
    ny, nx = _need(vol_geom, "GridRowCount"), _need(vol_geom, "GridColCount")
    low, high = (np.array([_need(window, f"Window{end}{a}") for a in "XY"], dtype=np.float64) for end in ("Min", "Max"))
    (sx, sy), (cx, cy) = high - low, (low + high) / 2
    if "GridSliceCount" not in vol_geom:
        return Grid((1, ny, nx), (sx / nx, sy / ny, sx / nx), (cx, -cy, 0.0))
    nz = vol_geom["GridSliceCount"]
    bottom, top = float(_need(window, "WindowMinZ")), float(_need(window, "WindowMaxZ"))
    return Grid((nz, ny, nx), ((top - bottom) / nz, sy / ny, sx / nx), (cx, cy, (bottom + top) / 2))


def from_astra(proj_geom: Mapping[str, Any]) -> Scan:
    """The scan of ASTRA's proj_geom: by angle where ASTRA's is and our class can say it, else as `Vectors`.

    Knows parallel, parallel_vec, fanflat, fanflat_vec, parallel3d, parallel3d_vec, cone, cone_vec and cyl_cone_vec.
    Images and sinograms of the 2-D kinds need no flip (see the module). ValueError names what is missing or unknown.
    """
    name = _need(proj_geom, "type")
    if name == "parallel":
        # mirroring y turns angle t into -t
        width = _need(proj_geom, "DetectorWidth")
        angles = -np.asarray(_need(proj_geom, "ProjectionAngles"), dtype=np.float64)
        return ParallelBeam(angles, _need(proj_geom, "DetectorCount"), width)
    if name == "fanflat":
        return _from_planar(_fan_vectors(proj_geom), _need(proj_geom, "DetectorCount"), "cone")
    if name in ("parallel_vec", "fanflat_vec"):
        kind = "parallel" if name == "parallel_vec" else "cone"
        vectors = table("Vectors", _need(proj_geom, "Vectors"), (None, 6))
        return _from_planar(vectors, _need(proj_geom, "DetectorCount"), kind)
    if name in ("parallel3d", "cone", "parallel3d_vec", "cone_vec", "cyl_cone_vec"):
        return _from_3d(name, proj_geom)
    raise refuse("type", "a parallel, fanflat, parallel3d, cone or vector geometry of ASTRA", name)


def _from_3d(name: str, proj_geom: Mapping[str, Any]) -> Scan:
    shape = (_need(proj_geom, "DetectorRowCount"), _need(proj_geom, "DetectorColCount"))
    if name.endswith("_vec"):
        vectors = table("Vectors", _need(proj_geom, "Vectors"), (None, 13 if name == "cyl_cone_vec" else 12))
        if name == "parallel3d_vec":
            return Vectors(vectors * np.where(np.arange(12) < 3, -1.0, 1.0), shape, "parallel")
        if name == "cone_vec":
            return Vectors(vectors, shape, "cone")
        if np.ptp(vectors[:, 12]) > 0:
            raise refuse("Vectors[:, 12]", "one radius for all views", vectors[:, 12].tolist())
        return Vectors(vectors[:, :12], shape, "cone", float(vectors[0, 12]))
    pixel = (_need(proj_geom, "DetectorSpacingY"), _need(proj_geom, "DetectorSpacingX"))
    angles = _need(proj_geom, "ProjectionAngles")
    if name == "parallel3d":
        return ParallelBeam(angles, shape, pixel)
    near, beyond = _need(proj_geom, "DistanceOriginSource"), _need(proj_geom, "DistanceOriginDetector")
    return ConeBeam(angles, near, near + beyond, shape, pixel)


def _fan_vectors(proj_geom: Mapping[str, Any]) -> Array:
    angles = table("ProjectionAngles", _need(proj_geom, "ProjectionAngles"), (None,))
    c, s, width = np.cos(angles), np.sin(angles), _need(proj_geom, "DetectorWidth")
    near, beyond = _need(proj_geom, "DistanceOriginSource"), _need(proj_geom, "DistanceOriginDetector")
    return np.stack([s * near, -c * near, -s * beyond, c * beyond, c * width, s * width], axis=1)


def _from_planar(vectors: Array, columns: int, kind: str) -> Vectors:
    """2-D vectors with y mirrored, in the plane z = 0, on a detector row as high as its first pixel is wide."""
    frames = np.zeros((len(vectors), 12))
    frames[:, IN_PLANE] = vectors * MIRROR_Y
    frames[:, 11] = np.linalg.norm(frames[0, 6:9])
    if kind == "parallel":
        frames[:, 0:3] *= -1
    return Vectors(frames, (1, columns), kind)


def _need(geometry: Mapping[str, Any], key: str) -> Any:
    if key not in geometry:
        raise refuse("ASTRA geometry", f"the entry {key!r}", sorted(geometry))
    return geometry[key]
