"""The one table every scan boils down to: per view, the source and the detector in space.

A row of `frames` (n_view, 12), float64, in mm, each triple as (x, y, z):
    [source position (cone) or ray direction (parallel) | detector centre D | step U per column | step V per row].
The centre of pixel (v, u) of a flat detector of shape (nv, nu) is D + (u - (nu-1)/2) U + (v - (nv-1)/2) V.

A cylindrical (equiangular) detector has its axis through the source S, parallel to V. With e1 the unit vector along the
part of D - S that is perpendicular to V, e2 = U/|U| and g = (u - (nu-1)/2) |U| / radius,
    pixel (v, u) = D + radius ((cos g - 1) e1 + sin g e2) + (v - (nv-1)/2) V.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tomodiff.geometry.checks import Array, refuse

CYLINDER_TOLERANCE = 1e-6
"""Relative misfit of given vectors to a cylinder about the source that passes for rounding of a file."""

GRAZING = 1e-9
"""Sine of the angle between ray and detector below which a detector counts as seen edge-on."""


class Frames(NamedTuple):
    """The four columns of a frame table, each (n_view, 3)."""

    source: Array
    centre: Array
    u: Array
    v: Array


def split(frames: Array) -> Frames:
    """Views (no copies) of the four vectors of each frame."""
    return Frames(frames[:, 0:3], frames[:, 3:6], frames[:, 6:9], frames[:, 9:12])


def unit(vectors: Array) -> Array:
    """The vectors (..., 3) at length one."""
    scaled: Array = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return scaled


def dot(a: Array, b: Array) -> Array:
    """Inner products over the last axis."""
    product: Array = np.einsum("...i,...i->...", a, b)
    return product


def cylinder_basis(frames: Array) -> tuple[Array, Array, Array]:
    """Unit vectors (e1 away from the source, e2 along columns, e3 along rows) of a cylindrical detector, per view."""
    f = split(frames)
    e3 = unit(f.v)
    out = f.centre - f.source
    return unit(out - dot(out, e3)[:, None] * e3), unit(f.u), e3


def check_frames(frames: Array, kind: str, radius: float | None) -> None:
    """Refuse vectors that make no detector, or no cylinder of that radius about the source."""
    f = split(frames)
    normal = np.cross(f.u, f.v)
    area = np.linalg.norm(normal, axis=1)
    flat = area <= GRAZING * np.linalg.norm(f.u, axis=1) * np.linalg.norm(f.v, axis=1)
    _refuse_views(flat, "two independent detector steps U and V", frames[:, 6:12])
    ray = f.centre - f.source if kind == "cone" else f.source
    length = np.linalg.norm(ray, axis=1)
    edge_on = np.abs(dot(ray, normal)) <= GRAZING * length * area
    _refuse_views(edge_on, "rays that meet the detector, not along its surface", frames[:, 0:6])
    if radius is not None:
        e1, e2, e3 = cylinder_basis(frames)
        reach = dot(f.centre - f.source, e1)
        misfit = np.abs(dot(e1, e2)) + np.abs(dot(e2, e3)) + np.abs(reach / radius - 1)
        expected = f"U, V, D - S perpendicular and D {radius:g} mm (radius) from the line along V through the source"
        _refuse_views(misfit > CYLINDER_TOLERANCE, expected, frames)


def _refuse_views(bad: np.ndarray, expected: str, values: Array) -> None:
    if bad.any():
        view = int(np.argmax(bad))
        raise refuse(f"frames[{view}]", expected, values[view].tolist())


def pixel_positions(frames: Array, shape: tuple[int, int], radius: float | None, v: Array, u: Array) -> Array:
    """Where the pixels of rows `v` (n,) and columns `u` (m,) or (n_view, m) lie: (n_view, n, m, 3) in mm.

    Indices may be fractional and outside the detector.
    """
    f = split(frames)
    rows = (v - (shape[0] - 1) / 2)[:, None] * f.v[:, None, :]
    offset = u - (shape[1] - 1) / 2
    if radius is None:
        columns = offset[..., None] * f.u[:, None, :]
    else:
        e1, e2, _ = cylinder_basis(frames)
        g = (offset * np.linalg.norm(f.u, axis=1)[:, None] / radius)[..., None]
        # cos g - 1 as -2 sin^2(g/2): no cancellation at small fan angles
        columns = radius * (-2 * np.sin(g / 2) ** 2 * e1[:, None, :] + np.sin(g) * e2[:, None, :])
    positions: Array = f.centre[:, None, None, :] + rows[:, :, None, :] + columns[:, None, :, :]
    return positions


def rays(
    frames: Array, kind: str, shape: tuple[int, int], radius: float | None, v: Array, u: Array
) -> tuple[Array, Array]:
    """Origins and unit directions, each (n_view, n, m, 3), of the rays to those pixels; see `Scan.rays`."""
    positions = pixel_positions(frames, shape, radius, v, u)
    source = np.broadcast_to(frames[:, None, None, 0:3], positions.shape)
    if kind == "parallel":
        return positions, unit(source)
    return source.copy(), unit(positions - source)


def project(frames: Array, kind: str, shape: tuple[int, int], radius: float | None, points: Array) -> Array:
    """Pixel indices (n_view, ..., 2) as (v, u), fractional, that the rays through `points` (..., 3) meet.

    Independent of the detector's extent. NaN where a point lies at or behind the source, or its ray misses the
    detector's surface.
    """
    f = split(frames)
    flat = points.reshape(-1, 3)[None]
    if radius is not None:
        v, u = _project_cylinder(frames, flat, radius)
    else:
        v, u = _project_plane(f, kind, flat)
    centre = (np.array(shape) - 1) / 2
    pixels: Array = (np.stack([v, u], axis=-1) + centre).reshape(len(frames), *points.shape[:-1], 2)
    return pixels


def _project_plane(f: Frames, kind: str, points: Array) -> tuple[Array, Array]:
    normal = np.cross(f.u, f.v)
    if kind == "cone":
        ray = points - f.source[:, None]
        depth = dot(ray, normal[:, None]) / dot(f.centre - f.source, normal)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            hit = np.where(depth > 0, 1 / depth, np.nan)[..., None] * ray - (f.centre - f.source)[:, None]
    else:
        away = points - f.centre[:, None]
        along = dot(away, normal[:, None]) / dot(f.source, normal)[:, None]
        hit = away - along[..., None] * f.source[:, None]
    area2 = dot(normal, normal)[:, None]
    # the dual basis of (U, V) in the detector's plane counts steps even where U and V are not perpendicular
    return dot(hit, np.cross(normal, f.u)[:, None]) / area2, dot(hit, np.cross(f.v, normal)[:, None]) / area2


def _project_cylinder(frames: Array, points: Array, radius: float) -> tuple[Array, Array]:
    f = split(frames)
    e1, e2, e3 = cylinder_basis(frames)
    ray = points - f.source[:, None]
    a, b, c = (dot(ray, e[:, None]) for e in (e1, e2, e3))
    reach = np.hypot(a, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        height = np.where(reach > 0, radius / reach, np.nan) * c - dot(f.centre - f.source, e3)[:, None]
    u = np.where(reach > 0, np.arctan2(b, a), np.nan) * radius / np.linalg.norm(f.u, axis=1)[:, None]
    return height / np.linalg.norm(f.v, axis=1)[:, None], u


def shift_detector(frames: Array, radius: float | None, rows: float, columns: float) -> Array:
    """The frames with the detector's centre moved by so many pixels within its own surface (if curved, on the arc)."""
    f = split(frames)
    moved = frames.copy()
    if radius is None:
        moved[:, 3:6] += rows * f.v + columns * f.u
        return moved
    e1, e2, _ = cylinder_basis(frames)
    step = np.linalg.norm(f.u, axis=1)[:, None]
    g = columns * step / radius
    moved[:, 3:6] += rows * f.v + radius * (np.sin(g) * e2 - 2 * np.sin(g / 2) ** 2 * e1)
    moved[:, 6:9] = step * (np.cos(g) * e2 - np.sin(g) * e1)
    return moved


def move(frames: Array, kind: str, rotation: Array, shift: Array) -> Array:
    """The frames after every point p of source and detector went to R p + shift.

    rotation: (3, 3) or one per view (n_view, 3, 3); shift: (3,) or (n_view, 3) in mm.
    """
    turned: Array = np.einsum("...ij,...kj->...ki", rotation, frames.reshape(-1, 4, 3))
    points = [0, 1] if kind == "cone" else [1]  # steps, and the direction of a parallel beam, only turn
    turned[:, points] += np.broadcast_to(shift, (len(frames), 3))[:, None, :]
    return turned.reshape(-1, 12)
