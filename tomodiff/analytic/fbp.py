"""Filtered back projection: parallel beam (FBP) and circular cone or fan beam (FDK)."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np

from tomodiff.analytic.orbit import NEARLY_CENTRED, Orbit, overlap_weights, short_scan_weights
from tomodiff.analytic.ramp import filter_rows
from tomodiff.array import Array, namespace
from tomodiff.errors import ConfigError
from tomodiff.geometry import Grid, Scan
from tomodiff.kernels import kernel
from tomodiff.projectors.layout import PAD, SLACK, Columns, as_table, gather, lane_launch, scatter
from tomodiff.projectors.ray_tables import projection_matrices

CHUNK_BYTES = 64 << 20
"""Projections that are filtered and back projected at a time."""

FULL_TURN = 2 * np.pi - 1e-6

Progress = Callable[[int, int], None]


def fbp(
    data: Array,
    scan: Scan,
    grid: Grid,
    window: str = "ram-lak",
    padding: str = "zero",
    progress: Progress | None = None,
    views: slice | np.ndarray | None = None,
    at_a_time: int | None = None,
) -> Array:
    """Filtered back projection of parallel-beam line integrals (view, v, u): attenuation (z, y, x) in 1/mm.

    Views may cover half a turn or more, at any angles; each counts for the range of directions it stands for.  Of a
    full turn the axis may lie anywhere on the detector (half acquisition).  Directions that a shorter scan leaves out
    count as zero, so that its values are too low.
    window: see `ramp_response`; padding: see `filter_rows`.  progress(done, views) is called after each chunk.
    Rays that rise (`axis_tilt`, laminography) need a full turn: the part of the spectrum that they see, all but a
    double cone about the axis whose half angle is the tilt, is weighted right; the rest is lost.
    views: those that `data` holds, of all that the scan has: what they give, of the sum over all.
    at_a_time: views that are filtered together, which takes some 16 times their memory; by default as many as go fast.
    ConfigError for a cone beam, or a tilt without a full turn.  Kak & Slaney 1988, ch. 3.3; the weight of a tilt:
    Helfen et al. 2011, Rev. Sci. Instrum. 82, 063702.
    """
    if scan.kind != "parallel":
        raise ConfigError(f"fbp takes a parallel beam, found a {scan.kind} beam (use fdk)")
    orbit = Orbit.of(scan)
    weights = parallel_weights(scan, orbit)
    return _inverse(
        data, scan, grid, orbit, lambda chosen: weights[chosen], window, padding, progress, views, at_a_time
    )


def fdk(
    data: Array,
    scan: Scan,
    grid: Grid,
    window: str = "ram-lak",
    padding: str = "zero",
    progress: Progress | None = None,
    views: slice | np.ndarray | None = None,
    at_a_time: int | None = None,
) -> Array:
    """Feldkamp's inverse of circular cone-beam (or fan-beam) line integrals (view, v, u): attenuation in 1/mm.

    Exact in the plane of the orbit; away from it the values drop with the cone angle, by about its square for a
    sphere or ellipsoid and more at flat faces that lie along the orbit's plane (measured in docs/accuracy.md).
    A full turn counts every line twice (once beyond the nearer edge of an offset detector); a shorter scan of at least
    half a turn plus the fan gets Parker's weights.
    views, at_a_time: as for fbp.
    ConfigError for helices, tilted or curved detectors, and too short scans.  Feldkamp, Davis & Kress 1984, eq. 28.
    """
    if scan.kind != "cone":
        raise ConfigError(f"fdk takes a cone beam, found a {scan.kind} beam (use fbp)")
    orbit = Orbit.of(scan)
    share = orbit.view_weights(2 * np.pi)[:, None, None]
    full = orbit.coverage > FULL_TURN
    if not full and orbit.coverage < np.pi + 2 * orbit.fan - 1e-6:
        raise ConfigError(
            f"fdk needs half a turn plus the fan, {np.rad2deg(np.pi + 2 * orbit.fan):.1f} degrees, found views over "
            f"{np.rad2deg(orbit.coverage):.1f}; the iterative methods (sirt, cgls, fista-tv) take any range"
        )
    redundancy = overlap_weights(_from_axis(scan))[None].repeat(len(scan), 0) if full else _parker(scan, orbit)

    def weights(chosen: np.ndarray) -> np.ndarray:
        part = scan[chosen]
        frames = part.frames()
        normal = np.cross(frames[:, 6:9], frames[:, 9:12])
        normal /= np.linalg.norm(normal, axis=1)[:, None]
        weight = share[chosen] * redundancy[chosen][:, None, :].repeat(scan.detector_shape[0], 1)
        for view, image in enumerate(weight):
            rays = part.pixels(view)[0] - frames[view, :3]
            image *= np.abs(rays @ normal[view]) / np.linalg.norm(rays, axis=-1)
        return weight

    return _inverse(data, scan, grid, orbit, weights, window, padding, progress, views, at_a_time)


def parallel_weights(scan: Scan, orbit: Orbit) -> np.ndarray:
    """The share of each view of a parallel beam, by column where opposite views overlap in part: (view, 1, 1 or u)."""
    if orbit.tilt:
        if orbit.coverage <= FULL_TURN:
            raise ConfigError(
                f"laminography needs a full turn, found views over {np.rad2deg(orbit.coverage):.1f} degrees; the "
                "iterative methods (sirt, cgls, fista-tv) take any range"
            )
        return np.cos(orbit.tilt) * orbit.view_weights(2 * np.pi)[:, None, None] / 2
    if orbit.coverage > FULL_TURN:
        return orbit.view_weights(2 * np.pi)[:, None, None] * overlap_weights(_from_axis(scan))
    return orbit.view_weights(np.pi)[:, None, None]


def _from_axis(scan: Scan) -> np.ndarray:
    """How many columns each column lies from that of the axis."""
    return np.asarray(np.arange(scan.detector_shape[1]) - scan.project((0.0, 0.0, 0.0))[0, 1])


def symmetric_margin(scan: Scan) -> tuple[int, int]:
    """Columns to add left and right of the detector so that the axis lies in its middle."""
    columns = _from_axis(scan)
    wider = float(columns[0] + columns[-1])
    if abs(wider) <= NEARLY_CENTRED:
        return 0, 0
    return max(0, int(np.ceil(wider))), max(0, int(np.ceil(-wider)))


def _parker(scan: Scan, orbit: Orbit) -> np.ndarray:
    """Parker's weights (view, u): the scan starts after its widest gap, and turns either way."""
    frames = scan.frames()
    ends = scan.pixels(views=[0], v=(scan.detector_shape[0] - 1) / 2)[0, 0] - frames[0, :3]
    to_axis = -frames[0, :2]
    gamma = np.arctan2(to_axis[0] * ends[:, 1] - to_axis[1] * ends[:, 0], ends[:, :2] @ to_axis)
    angles = orbit.angles % (2 * np.pi)
    ordered = np.sort(angles)
    gaps = np.diff(ordered, append=ordered[0] + 2 * np.pi)
    start = ordered[(int(gaps.argmax()) + 1) % len(ordered)]
    half_step = (orbit.coverage - (2 * np.pi - gaps.max())) / 2
    beta = (angles - start) % (2 * np.pi) + half_step
    return short_scan_weights(beta, gamma, orbit.coverage)


def _inverse(
    data: Array,
    scan: Scan,
    grid: Grid,
    orbit: Orbit,
    weights: Callable[[np.ndarray], np.ndarray],
    window: str,
    padding: str,
    progress: Progress | None,
    views: slice | np.ndarray | None,
    at_a_time: int | None,
) -> Array:
    numbers = views_of(data, scan, views)
    shape, xp, dtype = data.shape, namespace(data), data.dtype.name
    matrices = projection_matrices(grid, scan)
    target = RowVolume(grid, xp, dtype) if upright_parallel(scan, matrices) else ColumnVolume(grid, xp, dtype)
    # what the filter spreads over the nearer edge of an offset detector belongs to the lines seen from opposite
    margin = symmetric_margin(scan) if orbit.coverage > FULL_TURN else (0, 0)
    matrices[:, :4] += margin[0] * matrices[:, 8:]
    step = at_a_time or max(1, CHUNK_BYTES // (8 * shape[1] * (shape[2] + sum(margin))))
    for start in range(0, shape[0], step):
        chosen = numbers[start : start + step]
        chunk = data[start : start + step] * xp.asarray(weights(chosen), dtype)
        wide = xp.pad(chunk, ((0, 0), (0, 0), margin)) if any(margin) else chunk
        target.add(filter_rows(wide, orbit.pixel, window, padding), matrices[chosen])
        if progress is not None:
            progress(start + len(chosen), shape[0])
    return target.volume()


def chosen_views(scan: Scan, views: slice | np.ndarray | None) -> np.ndarray:
    """The numbers of the chosen views of a scan, of all by default."""
    numbers = np.arange(len(scan))
    return numbers if views is None else numbers[views]


def views_of(data: Array, scan: Scan, views: slice | np.ndarray | None) -> np.ndarray:
    """The numbers of the views that `data` holds.  ValueError, TypeError where these are not their line integrals."""
    numbers = chosen_views(scan, views)
    shape, dtype = (len(numbers), *scan.detector_shape), data.dtype.name
    if data.shape != shape:
        raise ValueError(f"data: expected line integrals of shape {shape} (view, v, u), got {data.shape}")
    if dtype not in ("float32", "float64"):
        raise TypeError(f"data: expected float32 or float64, got {dtype}")
    return numbers


def upright_parallel(scan: Scan, matrices: np.ndarray) -> bool:
    """Whether u does not depend on z, nor v on x and y."""
    largest = np.abs(matrices[:, :3]).max()
    return scan.kind == "parallel" and bool((np.abs(matrices[:, [2, 4, 5]]) <= 1e-9 * largest).all())


class RowVolume:
    """A volume that collects an upright parallel beam, row of voxels by row."""

    def __init__(self, grid: Grid, xp: ModuleType, dtype: str) -> None:
        self.xp, self.sum = xp, xp.zeros(grid.shape, dtype)

    def add(self, filtered: Array, matrices: np.ndarray) -> None:
        """Add the views."""
        xp, dtype = self.xp, self.sum.dtype.name
        n, nv, nu = filtered.shape
        nz, ny, nx = self.sum.shape
        wide = nu + 2 * PAD
        rows = xp.zeros(n * nv * wide + SLACK, dtype)
        rows[:-SLACK].reshape(n, nv, wide)[:, :, PAD : PAD + nu] = filtered
        arrays = (self.sum, rows, as_table(matrices, xp, dtype))
        kernel("backproject_rows", xp, dtype)(*lane_launch(xp, nx, ny, nz), (*arrays, nx, ny, nz, nu, nv, n, wide))

    def volume(self) -> Array:
        """The volume (z, y, x)."""
        return self.sum


class ColumnVolume:
    """A volume that collects any other beam, column of voxels by column."""

    def __init__(self, grid: Grid, xp: ModuleType, dtype: str) -> None:
        nz, ny, nx = grid.shape
        self.xp, self.shape, self.dtype = xp, grid.shape, dtype
        self.columns = Columns.of(ny, nx, nz, 0, 1)
        self.sum = self.columns.empty(xp, dtype, zero=True)

    def add(self, filtered: Array, matrices: np.ndarray) -> None:
        """Add the views."""
        xp, dtype = self.xp, self.dtype
        n, nv, nu = filtered.shape
        nz, ny, nx = self.shape
        stack = Columns.of(n, nu, nv, PAD)
        upright = (np.abs(matrices[:, [2, 10]]) <= 1e-9 * np.abs(matrices[:, [0, 8]]).max()).all()
        arrays = (self.sum, gather(filtered, stack, xp, True), as_table(matrices, xp, dtype))
        launch = lane_launch(xp, nz, nx, ny)
        sizes = (nx, ny, nz, nu, nv, n, stack.width, self.columns.plane_step)
        kernel("backproject_columns" if upright else "backproject", xp, dtype)(*launch, (*arrays, *sizes))

    def volume(self) -> Array:
        """The volume (z, y, x)."""
        return scatter(self.sum, self.columns, self.xp.empty(self.shape, self.dtype), self.xp, False)
