"""The tables of ray geometry that the X-ray kernels read, computed from a grid and a scan in double precision.

All coordinates are voxel indices (i along x, j along y, k along z) of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tomodiff.geometry import Grid, Scan

TOLERANCE = 1e-9
"""How far, relative to its length, a step may stray and still count as parallel to an axis."""

STEEPEST = 1.0
"""Slices crossed per grid plane up to which x or y is a ray's major axis, as in the general walk."""

WIDEST_PITCH = 500.0
"""Slices between neighbouring rows that the padding of columns allows (half of what resample.cuh states)."""


@dataclass(frozen=True)
class IndexRays:
    """All rays of a scan in voxel units: `first[w, u]` is the pixel of row 0, `step[w]` leads to the next row.

    `origin[w]` is the source of a cone or the direction of a parallel beam; `across[w, u]` is d(first)/du.
    """

    cone: bool
    origin: np.ndarray
    first: np.ndarray
    step: np.ndarray
    across: np.ndarray
    n_rows: int
    middle: np.ndarray

    @classmethod
    def of(cls, grid: Grid, scan: Scan) -> IndexRays:
        """The rays of `scan` as `grid` sees them."""
        affine = grid.index_from_world
        linear, shift = affine[:, :3], affine[:, 3]
        frames = scan.frames()
        cone = scan.kind == "cone"
        nu = scan.detector_shape[1]
        columns = np.arange(nu, dtype=np.float64)
        first = scan.pixels(v=0)[:, 0] @ linear.T + shift
        across = (scan.pixels(v=0, u=columns + 0.5)[:, 0] - scan.pixels(v=0, u=columns - 0.5)[:, 0]) @ linear.T
        origin = frames[:, :3] @ linear.T + (shift if cone else 0.0)
        middle = (np.array(grid.shape[::-1]) - 1) / 2
        return cls(cone, origin, first, frames[:, 9:12] @ linear.T, across, scan.detector_shape[0], middle)

    def lines(self) -> np.ndarray:
        """(view, u, 6): directions and moments of the rays of row 0, as in ray.cuh."""
        at, out = self.first - self.middle, self.origin[:, None]
        direction = self.first - out if self.cone else np.broadcast_to(out, at.shape)
        return np.concatenate([direction, np.cross(out - self.middle if self.cone else at, direction)], axis=-1)

    def line_steps(self, pixel_steps: np.ndarray) -> np.ndarray:
        """(..., 6): how much those change where the pixel moves by `pixel_steps` (view, ..., 3)."""
        out = self.origin.reshape(-1, *(1,) * (pixel_steps.ndim - 2), 3)
        if self.cone:
            return np.concatenate([pixel_steps, np.cross(out - self.middle, pixel_steps)], axis=-1)
        return np.concatenate([np.zeros_like(pixel_steps), np.cross(pixel_steps, out)], axis=-1)

    def views(self) -> np.ndarray:
        """(view, 9): the change of a ray's direction and moment from one row to the next; the source, or zeros."""
        return np.concatenate([self.line_steps(self.step), self.origin * self.cone], axis=1)


@dataclass(frozen=True)
class ColumnTable:
    """Records of detector columns whose rays share a path in the slice plane; see cuda_kernels/column.cuh."""

    spans: np.ndarray
    columns: np.ndarray
    locators: np.ndarray


def column_table(grid: Grid, scan: Scan, rays: IndexRays) -> ColumnTable | None:
    """The column records, or None where detector columns do not share a path or rays are too steep."""
    _, ny, nx = grid.shape
    middle = (np.array([nx, ny]) - 1) / 2
    climb = _climb(rays)
    if climb is None:
        return None
    if rays.cone:
        direction = rays.first - rays.origin[:, None]
        anchor = np.broadcast_to(rays.origin[:, None], direction.shape)
    else:
        direction = np.broadcast_to(rays.origin[:, None], rays.first.shape)
        anchor = rays.first
    axis = (np.abs(direction[..., 1]) > np.abs(direction[..., 0])).astype(np.int64)
    along, aside = _component(direction, axis), _component(direction, 1 - axis)
    with np.errstate(divide="ignore", invalid="ignore"):
        to_middle = (middle[axis] - _component(anchor, axis)) / along
        gb, gz = aside / along, direction[..., 2] / along
    if not np.isfinite(to_middle).all():
        return None
    bc = _component(anchor, 1 - axis) + to_middle * aside
    zc = anchor[..., 2] + to_middle * direction[..., 2]
    sc = to_middle * climb[:, None] if rays.cone else np.broadcast_to(climb[:, None], bc.shape)
    gs = climb[:, None] / along if rays.cone else np.zeros_like(bc)
    planes = np.where(axis == 1, ny, nx)
    half = (planes - 1) / 2
    last_row = rays.n_rows - 1
    slopes = np.maximum(np.abs(gz), np.abs(gz + last_row * gs))
    pitches = np.abs(sc) + np.abs(gs) * half
    lowest = np.abs(sc) - np.abs(gs) * half  # an almost vanishing pitch happens next to the source alone
    if (
        slopes.max() > STEEPEST + TOLERANCE
        or pitches.max() > WIDEST_PITCH
        or lowest.min() <= 1e-6 * np.abs(climb).max()
    ):
        return None
    first, last = _planes_inside(bc, gb, planes, np.where(axis == 1, nx, ny))
    if rays.cone:  # the source is not between the planes, so all of them may lie behind it
        first = np.where(to_middle > 0, first, planes)
    spans = np.stack([axis, first, last], axis=-1)
    columns = np.stack([bc, gb, zc, gz, sc, gs], axis=-1)
    return ColumnTable(spans, columns, _locators(grid, scan, rays))


def _component(vectors: np.ndarray, axis: np.ndarray) -> np.ndarray:
    return np.where(axis == 1, vectors[..., 1], vectors[..., 0])


def _climb(rays: IndexRays) -> np.ndarray | None:
    """How many slices a ray rises from one detector row to the next (cone: at the detector), if rows do no more."""
    step = rays.step
    length = np.linalg.norm(step, axis=1)
    if rays.cone:
        return step[:, 2] if (np.hypot(step[:, 0], step[:, 1]) <= TOLERANCE * length).all() else None
    r = rays.origin
    flat = np.hypot(r[:, 0], r[:, 1])
    if (flat <= TOLERANCE * np.linalg.norm(r, axis=1)).any():
        return None
    across = (step[:, 0] * r[:, 1] - step[:, 1] * r[:, 0]) / flat
    if (np.abs(across) > TOLERANCE * length).any():
        return None
    return step[:, 2] - (step[:, 0] * r[:, 0] + step[:, 1] * r[:, 1]) / flat**2 * r[:, 2]


def _planes_inside(
    bc: np.ndarray, gb: np.ndarray, planes: np.ndarray, across: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """First and last plane on which a path is less than a voxel outside (generous by one plane)."""
    half = (planes - 1) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack([(-1.0 - bc) / gb, (across - bc) / gb])
    level = np.abs(gb) < 1e-12
    inside = (bc > -1) & (bc < across)
    low = np.where(level, np.where(inside, -half, half + 1), ends.min(axis=0, initial=np.inf, where=~np.isnan(ends)))
    high = np.where(level, np.where(inside, half, -half - 1), ends.max(axis=0, initial=-np.inf, where=~np.isnan(ends)))
    first = np.clip(np.floor(low + half) - 1, 0, planes)
    last = np.clip(np.ceil(high + half) + 1, -1, planes - 1)
    return first, last


def _locators(grid: Grid, scan: Scan, rays: IndexRays) -> np.ndarray:
    """(view, 7): where a point of the slice plane lands on the detector, as a column number; see xray_column.cu."""
    nu = scan.detector_shape[1]
    table = np.zeros((len(scan), 7))
    if scan.radius is not None:
        frames = scan.frames()
        u_step, v_step = frames[:, 6:9], frames[:, 9:12]
        e2 = u_step / np.linalg.norm(u_step, axis=1)[:, None]
        along = v_step / np.linalg.norm(v_step, axis=1)[:, None]
        out = frames[:, 3:6] - frames[:, :3]
        out -= (out * along).sum(axis=1)[:, None] * along
        e1 = out / np.linalg.norm(out, axis=1)[:, None]
        world = grid.world_from_index[:, :2]
        turn = (nu - 1) / 2 * np.linalg.norm(u_step, axis=1) / scan.radius
        start = np.cos(turn)[:, None] * e2 + np.sin(turn)[:, None] * e1  # measured from column 0, which is at -turn
        ahead = np.cos(turn)[:, None] * e1 - np.sin(turn)[:, None] * e2
        table[:, 0] = scan.radius / np.linalg.norm(u_step, axis=1)
        for place, direction in ((1, start), (4, ahead)):
            table[:, place : place + 2] = direction @ world
            table[:, place + 2] = -(table[:, place : place + 2] * rays.origin[:, :2]).sum(axis=1)
        return table
    base, step, s = rays.first[:, 0, :2], rays.across[:, 0, :2], rays.origin[:, :2]
    if rays.cone:  # cross(X - s, base + u*step - s) = 0
        numerator, point = base - s, s
        table[:, 4], table[:, 5] = step[:, 1], -step[:, 0]
        table[:, 6] = -(step[:, 1] * s[:, 0] - step[:, 0] * s[:, 1])
    else:  # cross(X - base - u*step, s) = 0
        numerator, point = s, base
        table[:, 6] = step[:, 0] * s[:, 1] - step[:, 1] * s[:, 0]
    sign = -1.0 if rays.cone else 1.0
    table[:, 1], table[:, 2] = sign * numerator[:, 1], -sign * numerator[:, 0]
    table[:, 3] = -(table[:, 1] * point[:, 0] + table[:, 2] * point[:, 1])
    middle = (np.array(grid.shape[:0:-1]) - 1) / 2  # the denominator is positive in the middle of the slice
    flip = np.where(table[:, 4] * middle[0] + table[:, 5] * middle[1] + table[:, 6] < 0, -1.0, 1.0)
    table[:, 1:] *= flip[:, None]
    return table


@dataclass(frozen=True)
class RowTable:
    """Records of a parallel beam whose rows are slices; row v lies in slice v + shift.  See xray_rows.cu."""

    axes: np.ndarray
    lines: np.ndarray
    shift: int


def row_table(grid: Grid, scan: Scan, rays: IndexRays) -> RowTable | None:
    """The row records, or None where detector rows are not the slices of the grid."""
    if rays.cone or scan.radius is not None:
        return None
    heights = rays.first[..., 2]
    shift = np.rint(heights[0, 0])
    reach = max(grid.shape[0], rays.n_rows)
    level = np.abs(rays.origin[:, 2]) <= TOLERANCE * np.linalg.norm(rays.origin, axis=1) / max(grid.shape)
    stray = 0.0 if rays.n_rows == 1 else np.abs(rays.step - np.array([0.0, 0.0, 1.0])).max()
    if not (level.all() and stray <= TOLERANCE / reach and np.abs(heights - shift).max() <= 1e-7):
        return None
    direction, step, base = rays.origin, rays.across[:, 0], rays.first[:, 0]
    axis = (np.abs(direction[:, 1]) > np.abs(direction[:, 0])).astype(np.int64)
    gb = _component(direction, 1 - axis) / _component(direction, axis)
    middle = (np.array(grid.shape[:0:-1]) - 1) / 2
    b0 = _component(base, 1 - axis) + (middle[axis] - _component(base, axis)) * gb
    dbu = _component(step, 1 - axis) - _component(step, axis) * gb
    if (np.abs(dbu) < 1e-6).any():
        return None
    spacing = np.array(grid.spacing[:0:-1])
    length = np.hypot(spacing[axis], gb * spacing[1 - axis])
    return RowTable(axis, np.stack([b0, dbu, gb, length, 1 / dbu], axis=-1), int(shift))


def projection_matrices(grid: Grid, scan: Scan) -> np.ndarray:
    """(view, 12): rows of the matrix that takes (i, j, k, 1) to (u, v, 1) times depth, for flat detectors.

    Depth is the distance from the source along the detector's normal, 1 at the origin of space for a cone (where that
    lies in the plane of the source: at the detector) and everywhere for a parallel beam.
    """
    frames = scan.frames().reshape(-1, 4, 3)
    s, d, u, v = frames.transpose(1, 0, 2)
    nv, nu = scan.detector_shape
    corner = d - (nu - 1) / 2 * u - (nv - 1) / 2 * v
    world = np.zeros((len(frames), 3, 4))
    if scan.kind == "cone":  # X - s = t*(corner - s + a*u + b*v)  =>  (t*a, t*b, t) = inverse([u v corner-s]) (X - s)
        world[:, :, :3] = np.linalg.inv(np.stack([u, v, corner - s], axis=-1))
        world[:, :, 3] = -np.einsum("nij,nj->ni", world[:, :, :3], s)
        depth = np.abs(world[:, 2:3, 3:4])
        world /= np.where(depth > TOLERANCE, depth, 1.0)  # a source at the origin has no depth to measure by
    else:  # X = corner + a*u + b*v + t*direction
        inverse = np.linalg.inv(np.stack([u, v, s], axis=-1))
        world[:, :2, :3] = inverse[:, :2]
        world[:, :2, 3] = -np.einsum("nij,nj->ni", inverse[:, :2], corner)
        world[:, 2, 3] = 1.0
    to_world = np.vstack([grid.world_from_index, [0.0, 0.0, 0.0, 1.0]])
    return (world @ to_world).reshape(len(frames), 12)
