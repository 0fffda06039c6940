"""Cone-beam data as another detector, or another orbit, would have measured them: what Feldkamp's inverse can take."""

from __future__ import annotations

import numpy as np
import scipy.ndimage

from tomodiff.analytic.fbp import Progress, chosen_views, fdk
from tomodiff.analytic.orbit import TOLERANCE, Orbit
from tomodiff.array import Array, namespace, to_numpy
from tomodiff.errors import ConfigError
from tomodiff.geometry import ConeBeam, Grid, Scan

SLICES = 16
"""Slices whose rays are sought at a time."""

MARGIN = np.deg2rad(2.0)
"""What the views of a slice reach further than half a turn and the fan."""

ROUND = 0.03
"""How much, relative to the radius, the distance of sources from the axis may differ (flying focal spots): rays through
the point of a fan's ray nearest to the axis then differ from it by as much of the sine of the fan, in radians."""

WAVER = 0.05
"""How far, relative to all of its rise, a source may fall back on its way (flying focal spots)."""

ROWS_BEYOND = 0.5
"""Rows by which a ray may miss the detector."""


def flat_twin(scan: Scan) -> ConeBeam:
    """The circular cone beam of the same sources, at z = 0, with an upright flat detector that faces the axis, as wide
    as the scan's (curved, tilted or rolled) one reaches.  ConfigError where the sources do not circle the z axis."""
    frames = scan.frames()
    angles, radius = _circle(frames)
    distance = float(np.linalg.norm((frames[0, 3:6] - frames[0, :3])[:2]))
    nv, nu = scan.detector_shape
    middle = scan.pixels(views=[0], v=(nv - 1) / 2)[0, 0] - frames[0, :3]
    towards, across = _axes(angles[0])
    u = distance * (middle[:, :2] @ across) / (middle[:, :2] @ towards)
    steps = np.linalg.norm(frames[0, 6:12].reshape(2, 3), axis=1)
    width = float(steps[0])
    columns = int(np.ceil((u.max() - u.min()) / width - 1e-6)) + 1
    centre = scan.pixels(views=[0], v=(nv - 1) / 2, u=(nu - 1) / 2)[0, 0, 0]
    centre = centre - frames[0, :3]
    height = float(centre[2] * distance / (centre[:2] @ towards))
    offset = (height, float(u.max() + u.min()) / 2)
    pixel = (float(steps[1]), width)
    return ConeBeam(angles, radius, distance, (nv, columns), pixel, detector_offset=offset)


def feldkamp(
    data: Array,
    scan: Scan,
    grid: Grid,
    window: str = "ram-lak",
    padding: str = "zero",
    progress: Progress | None = None,
    views: slice | np.ndarray | None = None,
    at_a_time: int | None = None,
) -> Array:
    """`fdk` of any scan that can be made one: flat detectors as they are, curved, tilted and rolled ones by their
    `flat_twin`, helices by `helical` (with all views at once).  ConfigError for the others."""
    if is_helix(scan):
        if len(chosen_views(scan, views)) < len(scan):
            raise ConfigError("fdk: a helix is done by one process, in memory; sirt and cgls take it in parts")
        return helical(data, scan, grid, window, padding, progress)
    twin = twin_for_fdk(scan)
    if twin is not None:
        chosen = chosen_views(scan, views)
        data, scan = flattened(data, scan[chosen], twin[chosen]), twin
    return fdk(data, scan, grid, window, padding, progress, views, at_a_time)


def twin_for_fdk(scan: Scan) -> ConeBeam | None:
    """What `fdk` can take in place of the scan; None if it takes the scan itself.  ConfigError where nothing fits."""
    try:
        Orbit.of(scan)
    except ConfigError:
        if scan.kind != "cone" or not _level(scan):
            raise
        return flat_twin(scan)
    return None


def flattened(data: Array, scan: Scan, twin: ConeBeam) -> Array:
    """Line integrals (view, v, u) of `scan` along the rays of `twin`, by cubic splines; what twin's detector has beyond
    the scan's counts as its outermost pixels."""
    measured = to_numpy(data)
    made = np.empty((len(twin), *twin.detector_shape), measured.dtype)
    for view in range(len(twin)):
        where = scan[view : view + 1].project(twin.pixels(view)[0])[0]
        made[view] = scipy.ndimage.map_coordinates(measured[view], where.transpose(2, 0, 1), order=3, mode="nearest")
    return namespace(data).asarray(made)


def helical(
    data: Array,
    scan: Scan,
    grid: Grid,
    window: str = "ram-lak",
    padding: str = "zero",
    progress: Progress | None = None,
) -> Array:
    """Helical cone-beam line integrals (view, v, u) to attenuation (z, y, x) in 1/mm, slice by slice.

    Each slice is a fan beam's: of each source within half a turn and the fan about the slice's height, the ray whose
    shadow is the fan's ray and that crosses the slice where it passes nearest to the axis, shortened by its slope
    (single-slice rebinning; Noo, Defrise & Clackdoyle 1999, Phys. Med. Biol. 44, 561), with Parker's weights.  Exact
    for objects that do not change along z; else wrong by about the square of the angle at which rays rise, like FDK.
    Flat and curved detectors, any offsets, a source that rises in any way.  Slices that not all of these views see
    stay 0.  ConfigError for sources off a circle about z, scans that cover no slice, and pitches at which rays of a
    slice miss the detector.
    """
    frames = scan.frames()
    angles, radius = _circle(frames)
    turned = np.unwrap(angles)
    if turned[-1] < turned[0]:
        turned = -turned
    heights = frames[:, 2]
    twin = flat_twin(scan)
    u = (np.arange(twin.detector_shape[1]) - (twin.detector_shape[1] - 1) / 2) * twin.pixel[1] + twin.detector_offset[1]
    fan = float(np.arctan(np.abs(u).max() / twin.source_detector))
    half = np.pi / 2 + fan + MARGIN
    at = grid.center[2] + (np.arange(grid.shape[0]) - (grid.shape[0] - 1) / 2) * grid.spacing[0]
    rises = heights[-1] >= heights[0]
    up = _rising(heights if rises else heights[::-1])
    over = np.interp(at, up, turned if rises else turned[::-1])
    seen = (over - half >= turned[0] - 1e-9) & (over + half <= turned[-1] + 1e-9) & (at >= up[0]) & (at <= up[-1])
    if not seen.any():
        raise ConfigError(f"helical: no slice between z = {at[0]:.4g} and {at[-1]:.4g} mm is seen from half a turn and "
                          f"the fan ({np.rad2deg(2 * half):.0f} degrees of views)")  # fmt: skip
    xp, measured = namespace(data), to_numpy(data)
    volume = np.zeros(grid.shape, measured.dtype)
    covered = np.flatnonzero(seen)
    done = 0
    for start in range(0, len(covered), SLICES):
        chosen = covered[start : start + SLICES]
        fans, views = _fans(
            measured, scan, frames, turned, angles, u, radius, twin.source_detector, over[chosen], at[chosen], half
        )
        for k, fan_data, of in zip(chosen, fans, views, strict=True):
            flat = ConeBeam(angles[of], radius, twin.source_detector, (1, len(u)), twin.pixel,
                            detector_offset=(0.0, twin.detector_offset[1]))  # fmt: skip
            plane = Grid((1, *grid.shape[1:]), grid.spacing, (*grid.center[:2], 0.0))
            volume[k] = to_numpy(fdk(xp.asarray(fan_data[:, None]), flat, plane, window, padding))[0]
            done += 1
            if progress is not None:
                progress(done, len(covered))
    return xp.asarray(volume)


def _rising(heights: np.ndarray) -> np.ndarray:
    """Heights that never fall, half way between the highest before and the lowest after each: the same where they never
    do.  ConfigError where that is not nearly so."""
    up = (np.maximum.accumulate(heights) + np.minimum.accumulate(heights[::-1])[::-1]) / 2
    if up[-1] <= up[0] or np.abs(up - heights).max() > WAVER * (up[-1] - up[0]):
        raise ConfigError("helical: expected sources that rise (or sink) from view to view")
    return np.asarray(up)


def _fans(
    data: np.ndarray,
    scan: Scan,
    frames: np.ndarray,
    turned: np.ndarray,
    angles: np.ndarray,
    u: np.ndarray,
    radius: float,
    distance: float,
    over: np.ndarray,
    at: np.ndarray,
    half: float,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Fan-beam line integrals (view, u) of some slices, and the views that they are of."""
    views = [np.flatnonzero(np.abs(turned - middle) <= half) for middle in over]
    fans = [np.empty((len(of), len(u)), data.dtype) for of in views]
    place = [{int(view): i for i, view in enumerate(of)} for of in views]
    outside = total = 0
    for view in np.unique(np.concatenate(views)):
        slices = [n for n in range(len(at)) if int(view) in place[n]]
        source = frames[view, :3]
        towards, across = _axes(angles[view])
        rays = distance * towards + u[:, None] * across
        rays /= np.linalg.norm(rays, axis=1)[:, None]
        nearest = radius * (rays @ towards)[:, None] * rays - radius * towards  # on rays from the circle itself
        length = np.linalg.norm(nearest - source[:2], axis=1)
        points = np.empty((len(slices), len(u), 3))
        points[..., :2], points[..., 2] = nearest, at[slices][:, None]
        where = scan[view : view + 1].project(points)[0]
        value = scipy.ndimage.map_coordinates(data[view], where.transpose(2, 0, 1), order=1, mode="nearest")
        value = value * (length / np.hypot(length, at[slices][:, None] - source[2]))
        beyond = np.maximum(-where[..., 0], where[..., 0] - (data.shape[1] - 1)) > ROWS_BEYOND
        outside, total = outside + int(beyond.sum()), total + beyond.size
        for n, row in zip(slices, value, strict=True):
            fans[n][place[n][int(view)]] = row
    if outside > 0.01 * total:
        raise ConfigError(
            f"helical: {outside / total:.0%} of the rays that slices need miss the {data.shape[1]} detector rows: the "
            "pitch is too large for this method; cgls and fista-tv take it"
        )
    return fans, views


def is_helix(scan: Scan) -> bool:
    """Whether the sources circle the z axis and change their height on the way."""
    frames = scan.frames()
    radii = np.hypot(frames[:, 0], frames[:, 1])
    rises = np.ptp(frames[:, 2]) > 1e-3 * radii.mean()
    return scan.kind == "cone" and bool(rises and np.ptp(radii) < ROUND * radii.mean())


def _level(scan: Scan) -> bool:
    """Whether the sources lie at z = 0."""
    sources = scan.frames()[:, :3]
    return bool(np.abs(sources[:, 2]).max() <= TOLERANCE * np.linalg.norm(sources, axis=1).max())


def _circle(frames: np.ndarray) -> tuple[np.ndarray, float]:
    """Angles (view,) and radius of sources about the z axis."""
    radii = np.hypot(frames[:, 0], frames[:, 1])
    radius = float(radii.mean())
    if not radius > 0 or np.ptp(radii) > ROUND * radius:
        raise ConfigError("rebinning: expected sources at one distance from the z axis")
    return np.arctan2(frames[:, 0], -frames[:, 1]), radius


def _axes(angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (x, y) from the source at this angle to the axis, and across, as columns grow."""
    return np.array([-np.sin(angle), np.cos(angle)]), np.array([np.cos(angle), np.sin(angle)])
