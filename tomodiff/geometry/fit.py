"""Which grid goes with which scan: the default one, and the pairs that cannot be."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from tomodiff.errors import ConfigError
from tomodiff.geometry.checks import Array, refuse
from tomodiff.geometry.frames import rays
from tomodiff.geometry.grid import Grid
from tomodiff.geometry.scan import Scan

PARALLEL = 1e-6
"""Sine of the angle between a ray and the axis below which they count as parallel."""

SAME = 1e-6
"""Relative difference of lengths that counts as rounding."""


def fit_grid(scan: Scan, spacing: Any = None, seen: Literal["any", "all"] = "any") -> Grid:
    """The upright grid about the z axis that holds the scan's field of view.

    spacing: voxel size (dz, dy, dx) or one number in mm; default: the detector's pixel seen at the axis, pixel /
        magnification.
    seen: "any": as wide as the cylinder of points that at least some views see at the axis' height, so that an axis off
        the detector's middle widens it; "all": only those that every view sees.
    Along z it spans the piece of the axis that some view sees. Lengths are rounded to whole voxels.
    ConfigError where the detector never sees the axis, or the axis lies along a ray.
    """
    if seen not in ("any", "all"):
        raise refuse("seen", "'any' or 'all'", seen)
    if spacing is None:
        (dv, du), zoom = scan.pixel, scan.magnification
        dz, dy, dx = dv / zoom, du / zoom, du / zoom
    else:
        dz, dy, dx = Grid(1, spacing).spacing
    low, high = _seen_of_axis(scan)
    radius = _seen_radius(scan, seen)
    lengths = ((high - low, dz), (2 * radius, dy), (2 * radius, dx))
    shape = [max(1, int(np.floor(length / step + 0.5))) for length, step in lengths]
    return Grid(shape, (dz, dy, dx), (0.0, 0.0, (low + high) / 2))


def _seen_of_axis(scan: Scan) -> tuple[float, float]:
    """Lowest and highest z in mm at which rays from the detector's lower and upper edge pass the z axis."""
    nv, nu = scan.detector_shape
    columns = np.clip(scan.project((0.0, 0.0, 0.0))[:, 1], -0.5, nu - 0.5)
    if np.isnan(columns).any():
        raise ConfigError(f"scan: expected the origin in front of every source, found it behind that of {scan!s}")
    edges = np.array([-0.5, nv - 0.5])
    origin, direction = rays(scan.frames(), scan.kind, scan.detector_shape, scan.radius, edges, columns[:, None])
    across = np.sum(direction[..., :2] ** 2, axis=-1)
    if (across < PARALLEL**2).any():
        raise ConfigError(f"scan: expected rays across the z axis, found some along it in {scan!s}; give a grid")
    nearest = -np.sum(origin[..., :2] * direction[..., :2], axis=-1) / across
    heights = origin[..., 2] + nearest * direction[..., 2]
    return float(heights.min()), float(heights.max())


def _seen_radius(scan: Scan, seen: str) -> float:
    """How far from the z axis points are seen by some views, or by all: from the rays of the outermost pixel edges."""
    nv, nu = scan.detector_shape
    origin, direction = scan.rays(v=(nv - 1) / 2, u=(-0.5, nu - 0.5))
    o, d = origin[..., :2], direction[..., :2]
    # signed distance of each ray from the axis: the two edges have opposite signs where the axis lies between them
    miss = (o[..., 0] * d[..., 1] - o[..., 1] * d[..., 0]) / np.linalg.norm(d, axis=-1)
    edges = miss.reshape(len(scan), 2)
    if seen == "any":
        return float(np.abs(edges).max())
    if (edges[:, 0] * edges[:, 1] >= 0).any():
        view = int(np.argmax(edges[:, 0] * edges[:, 1] >= 0))
        raise ConfigError(
            f"scan: expected the rotation axis on the detector in every view, found it beside in view {view}"
        )
    return float(np.abs(edges).min())


def check_pair(scan: Scan, grid: Grid) -> None:
    """Refuse a volume that the scan cannot have been taken of, with a ConfigError that says what to change.

    Impossible are a source inside the volume's box, and a box outside the field of view of every view.
    """
    table = scan.frames()
    if scan.kind == "cone":
        inside = grid.contains(table[:, 0:3])
        if inside.any():
            view = int(np.argmax(inside))
            where = ", ".join(f"{x:.6g}" for x in table[view, 0:3])
            raise ConfigError(
                f"grid: expected every source outside the volume, found that of view {view} at ({where}) mm inside the "
                f"{grid!s}. Is source_axis in mm, and the voxel size pixel / magnification?"
            )
        _check_orbit(table[:, 0:3], grid)
    if not _overlaps(scan, grid).any():
        raise ConfigError(
            f"grid: expected a volume in the field of view of {scan!s}, found {grid!s} around {grid.center} mm, beside "
            "it in all views. Are spacing and center in mm?"
        )


def _check_orbit(sources: Array, grid: Grid) -> None:
    """Refuse a full circle of sources about z that passes through the volume between two views."""
    radius = np.hypot(sources[:, 0], sources[:, 1])
    if max(np.ptp(radius), np.ptp(sources[:, 2])) > SAME * radius.max():
        return
    phi = np.sort(np.arctan2(sources[:, 1], sources[:, 0]))
    gaps = np.diff(np.append(phi, phi[0] + 2 * np.pi))
    if gaps.max() > np.pi:  # an arc of less than half a turn: the volume may legitimately lie beside it
        return
    phi = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    circle = np.stack([np.cos(phi), np.sin(phi), np.zeros_like(phi)], axis=1) * radius[0]
    circle[:, 2] = sources[0, 2]
    if grid.contains(circle).any():
        raise ConfigError(
            f"grid: expected the volume inside the source's orbit of radius {radius[0]:.6g} mm, found that it crosses "
            f"the {grid!s}. Use a smaller grid, or check source_axis"
        )


def _overlaps(scan: Scan, grid: Grid) -> np.ndarray:
    """Per view, whether the shadow of the box may meet the detector; true where part of it is behind the source."""
    shadow = scan.project(grid.corners())
    nv, nu = scan.detector_shape
    behind = np.isnan(shadow).any(axis=(1, 2))
    low, high = shadow.min(axis=1), shadow.max(axis=1)
    meets: np.ndarray = behind | ((high >= -0.5) & (low <= (nv - 0.5, nu - 0.5))).all(axis=1)
    return meets
