"""Where rays run: closed-form positions and tracks, offsets and tilts, slices, crops and bins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.scans import ANGLES, TIGHT, TILTS, every_scan, every_turning_scan
from tomodiff.geometry import (
    ConeBeam,
    Helix,
    Laminography,
    ParallelBeam,
    Scan,
    TurningScan,
)


def distance_from_rays(points: np.ndarray, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
    away = points - origin
    return np.linalg.norm(np.cross(away, direction), axis=-1)


# --- closed forms ---------------------------------------------------------------------------------------------------


def test_cone_frames_are_the_documented_circle() -> None:
    frames = ConeBeam(ANGLES, 60.0, 110.0, (5, 8), (0.5, 0.4)).frames()
    s, c, zero = np.sin(ANGLES), np.cos(ANGLES), np.zeros_like(ANGLES)
    assert frames.shape == (7, 12) and frames.dtype == np.float64
    assert_allclose(frames[:, 0:3], 60 * np.stack([s, -c, zero], 1), rtol=0, atol=TIGHT)
    assert_allclose(frames[:, 3:6], 50 * np.stack([-s, c, zero], 1), rtol=0, atol=TIGHT)
    assert_allclose(frames[:, 6:9], 0.4 * np.stack([c, s, zero], 1), rtol=0, atol=TIGHT)
    assert_allclose(frames[:, 9:12], np.broadcast_to([0, 0, 0.5], (7, 3)), rtol=0, atol=TIGHT)


def test_parallel_rays_travel_from_source_to_detector() -> None:
    scan = ParallelBeam(ANGLES, (5, 8), (0.5, 0.4))
    _, direction = scan.rays()
    expected = np.stack([-np.sin(ANGLES), np.cos(ANGLES), np.zeros_like(ANGLES)], 1)
    assert_allclose(direction, np.broadcast_to(expected[:, None, None], (7, 5, 8, 3)), rtol=0, atol=TIGHT)
    cone = ConeBeam(ANGLES, 60.0, 110.0, (5, 9), (0.5, 0.4))
    assert_allclose(cone.rays(v=2, u=4)[1][:, 0, 0], expected, rtol=0, atol=TIGHT)


def test_a_point_of_a_parallel_scan_draws_the_closed_form_sinogram() -> None:
    x, y, z, offset = 3.0, -5.0, 0.8, 1.3
    scan = ParallelBeam(ANGLES, (6, 9), (0.5, 0.4), axis_offset=offset, detector_offset=(0.25, 0.0))
    track = scan.project((x, y, z))
    assert_allclose(track[:, 1], 4.0 + (x * np.cos(ANGLES) + y * np.sin(ANGLES) + offset) / 0.4, rtol=0, atol=TIGHT)
    assert_allclose(track[:, 0], 2.5 + (z - 0.25) / 0.5, rtol=0, atol=TIGHT)


@pytest.mark.parametrize("curved", [False, True])
def test_a_point_of_a_cone_scan_draws_the_closed_form_track(curved: bool) -> None:
    x, y, z, offset = 3.0, -5.0, 0.8, 1.3
    scan = ConeBeam(ANGLES, 60.0, 110.0, (6, 9), (0.5, 0.4), axis_offset=offset, curved=curved)
    across = x * np.cos(ANGLES) + y * np.sin(ANGLES)
    depth = 60 - x * np.sin(ANGLES) + y * np.cos(ANGLES)  # from the source along the central ray
    track = scan.project((x, y, z))
    # flat (Feldkamp 1984): similar triangles; curved: the fan angle, and the height at the cylinder
    on_u = 110 * (np.arctan2(across, depth) if curved else across / depth)
    on_v = 110 * z / (np.hypot(across, depth) if curved else depth)
    assert_allclose(track[:, 1], 4.0 + (on_u + offset) / 0.4, rtol=0, atol=1e-11)
    assert_allclose(track[:, 0], 2.5 + on_v / 0.5, rtol=0, atol=1e-11)


def test_all_pixels_of_a_curved_detector_are_equally_far_and_equally_spaced_in_angle() -> None:
    scan = ConeBeam(ANGLES, 60.0, 110.0, (3, 41), (2.0, 1.5), curved=True, axis_offset=4.0)
    positions = scan.pixels(v=1)[:, 0]
    source = scan.frames()[:, None, :3]
    assert_allclose(np.linalg.norm(positions - source, axis=-1), 110.0, rtol=0, atol=TIGHT)
    _, direction = scan.rays(v=1)
    cosines = np.sum(direction[:, 0, 1:] * direction[:, 0, :-1], axis=-1)
    assert_allclose(cosines, np.cos(1.5 / 110), rtol=0, atol=TIGHT)
    assert scan.radius == 110.0 and ConeBeam(ANGLES, 60.0, 110.0, (3, 41), 2.0).radius is None


def test_helix_climbs_by_pitch_per_turn_from_z_start_at_angle_zero() -> None:
    angles = np.array([0.0, np.pi, 2 * np.pi, 5 * np.pi])
    scan = Helix(angles, 60.0, 110.0, (4, 6), 0.5, pitch=8.0, z_start=-3.0)
    assert_allclose(scan.heights(), [-3.0, 1.0, 5.0, 17.0], rtol=0, atol=TIGHT)
    frames, flat = scan.frames(), ConeBeam(angles % (2 * np.pi), 60.0, 110.0, (4, 6), 0.5).frames()
    flat[:, [2, 5]] += scan.heights()[:, None]
    assert_allclose(frames, flat, rtol=0, atol=1e-12)
    assert scan[2:] == Helix(angles[2:], 60.0, 110.0, (4, 6), 0.5, pitch=8.0, z_start=-3.0)
    assert np.array_equal(scan[2:].frames(), frames[2:])


# --- axis offset, tilts ---------------------------------------------------------------------------------------------


@every_turning_scan
def test_the_axis_projects_onto_axis_column(scan: TurningScan) -> None:
    origin = np.zeros((len(scan), 3))
    if isinstance(scan, Helix):
        origin[:, 2] = scan.heights()
    shadows = np.array([scan[i].project(p)[0] for i, p in enumerate(origin)])
    assert_allclose(shadows[:, 1], scan.axis_column, rtol=0, atol=1e-10)


def test_axis_column_inverts_and_has_the_sign_of_the_offset() -> None:
    scan = ParallelBeam(ANGLES, (2, 640), 0.01).with_axis_column(296.0)
    assert scan.axis_column == pytest.approx(296.0, abs=1e-9)
    assert scan.axis_offset == pytest.approx((296.0 - 319.5) * 0.01, abs=1e-12)
    assert scan.with_axis_offset(0.02).axis_column == pytest.approx(321.5, abs=1e-9)
    moved = ConeBeam(ANGLES, 60.0, 110.0, (5, 8), 0.4, detector_offset=(0.0, 1.1)).with_axis_column(2.25)
    assert moved.axis_column == pytest.approx(2.25, abs=1e-12)


@pytest.mark.parametrize(
    ("tilt", "edge", "towards"),
    [
        ((0.1, 0.0, 0.0), "top", (1.0, 0.0, 0.0)),  # roll: the top edge goes towards +u, which is +x at angle 0
        ((0.0, 0.1, 0.0), "top", (0.0, -1.0, 0.0)),  # pitch: the top edge comes towards the source at -y
        ((0.0, 0.0, 0.1), "right", (0.0, 1.0, 0.0)),  # yaw: the +u edge leaves the source
    ],
)
def test_detector_tilts_have_the_documented_signs(tilt: tuple, edge: str, towards: tuple) -> None:
    def edge_middle(scan: ConeBeam) -> np.ndarray:
        return scan.pixels(v=4 if edge == "top" else 2, u=8 if edge == "right" else 4)[0, 0, 0]

    straight = ConeBeam([0.0], 60.0, 110.0, (5, 9), 0.5)
    leant = ConeBeam([0.0], 60.0, 110.0, (5, 9), 0.5, detector_tilt=tilt)
    arm = 0.5 * (2 if edge == "top" else 4)
    moved = edge_middle(leant) - edge_middle(straight)
    assert_allclose(moved @ np.array(towards), arm * np.sin(0.1), rtol=0, atol=TIGHT)
    assert_allclose(np.linalg.norm(moved), 2 * arm * np.sin(0.05), rtol=0, atol=TIGHT)
    assert_allclose(leant.project((0.0, 0.0, 0.0)), straight.project((0.0, 0.0, 0.0)), rtol=0, atol=1e-12)


def test_tilts_apply_roll_then_pitch_then_yaw_about_fixed_directions() -> None:
    rotation = pytest.importorskip("scipy.spatial.transform", reason="needs scipy").Rotation
    u, v = ConeBeam([0.0], 60.0, 110.0, (5, 9), 1.0, detector_tilt=TILTS).frames()[0, 6:].reshape(2, 3)
    roll, pitch, yaw = TILTS
    turn = rotation.from_euler("yxz", [roll, pitch, yaw]).as_matrix()  # beam = y, u = x, v = z at angle 0
    assert_allclose(u, turn @ [1.0, 0.0, 0.0], rtol=0, atol=TIGHT)
    assert_allclose(v, turn @ [0.0, 0.0, 1.0], rtol=0, atol=TIGHT)


@pytest.mark.parametrize("distances", [{}, {"source_axis": 60.0, "source_detector": 110.0}])
def test_laminography_leans_the_beam_by_the_tilt(distances: dict[str, float]) -> None:
    scan = Laminography(ANGLES, 0.5, (5, 9), 0.4, **distances)
    direction = scan.rays(v=2, u=4)[1][:, 0, 0]
    assert_allclose(direction[:, 2], np.sin(0.5), rtol=0, atol=TIGHT)
    assert_allclose(np.hypot(direction[:, 0], direction[:, 1]), np.cos(0.5), rtol=0, atol=TIGHT)
    rows = scan.frames()[:, 9:]
    assert_allclose(np.sum(rows * direction, axis=1), 0.0, rtol=0, atol=TIGHT)
    assert scan.kind == ("cone" if distances else "parallel")
    upright = Laminography(ANGLES, 0.0, (5, 9), 0.4, **distances)
    assert upright == (ConeBeam(ANGLES, 60.0, 110.0, (5, 9), 0.4) if distances else ParallelBeam(ANGLES, (5, 9), 0.4))


def test_a_tilted_axis_is_a_rotation_of_the_sample_before_it_turns() -> None:
    """A point on an axis leaning by a towards the detector, seen in the laboratory by an upright scanner at angle 0."""
    tilt, height = 0.3, 4.0
    in_laboratory = height * np.array([0.0, np.sin(tilt), np.cos(tilt)])
    upright = ConeBeam([0.0], 60.0, 110.0, (5, 9), 0.4).project(in_laboratory)
    leaning = ConeBeam([0.0], 60.0, 110.0, (5, 9), 0.4, axis_tilt=tilt).project((0.0, 0.0, height))
    assert_allclose(leaning, upright, rtol=0, atol=1e-12)


# --- rays, projections, slices, crops, bins -------------------------------------------------------------------------


@every_scan
def test_projection_inverts_rays(scan: Scan, rng: np.random.Generator) -> None:
    nv, nu = scan.detector_shape
    v, u = rng.uniform(-1, nv, 4), rng.uniform(-1, nu, 5)
    origin, direction = scan.rays(v=v, u=u)
    assert_allclose(np.linalg.norm(direction, axis=-1), 1.0, rtol=0, atol=TIGHT)
    points = origin + rng.uniform(5, 90, origin.shape[:-1])[..., None] * direction
    for view in range(len(scan)):
        found = scan[view].project(points[view])[0]
        assert_allclose(found[..., 0], np.broadcast_to(v[:, None], (4, 5)), rtol=0, atol=1e-9)
        assert_allclose(found[..., 1], np.broadcast_to(u, (4, 5)), rtol=0, atol=1e-9)
    assert distance_from_rays(scan.pixels(v=v, u=u), origin, direction).max() < 1e-11


def test_points_at_or_behind_the_source_cast_no_shadow() -> None:
    scan = ConeBeam([0.0], 60.0, 110.0, (5, 9), 0.4)
    assert np.isnan(scan.project([(0.0, -60.0, 0.0), (1.0, -70.0, 0.0)])).all()
    assert np.isnan(ConeBeam([0.0], 60.0, 110.0, (5, 9), 0.4, curved=True).project((0.0, -60.0, 1.0))).all()


@every_scan
@pytest.mark.parametrize(
    "views",
    [slice(1, 6, 2), slice(None, None, -1), [3, 0, 3], np.array([-1, 2], dtype=np.int32), np.arange(7) % 3 == 1, 4],
    ids=["slice", "reversed", "list", "negative", "mask", "one"],
)
def test_slices_by_view_are_scans_of_these_views(scan: Scan, views: Any) -> None:
    part = scan[views]
    expected = scan.frames()[np.atleast_1d(views) if not isinstance(views, slice) else views]
    assert type(part) is type(scan) and len(part) == len(expected)
    assert_allclose(part.frames(), expected, rtol=0, atol=1e-13)
    assert part.detector_shape == scan.detector_shape and part.kind == scan.kind and part.radius == scan.radius


def test_a_slice_equals_the_scan_made_of_these_angles() -> None:
    scan = ConeBeam(ANGLES, 60.0, 110.0, (5, 8), 0.4, axis_offset=0.3)
    assert scan[::2] == ConeBeam(ANGLES[::2], 60.0, 110.0, (5, 8), 0.4, axis_offset=0.3)
    assert scan[::2] != scan[1::2] and scan[2] == scan[[2]]


@pytest.mark.parametrize(
    ("views", "error"),
    [(slice(3, 3), ValueError), ([], ValueError), (7, IndexError), (-8, IndexError), ([0.5], TypeError)],
)
def test_views_that_are_not_there_are_refused(views: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="views"):
        ParallelBeam(ANGLES, 8)[views]


def test_a_mask_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="mask of 7 views"):
        ParallelBeam(ANGLES, 8)[np.ones(6, dtype=bool)]


@every_scan
def test_rows_keep_their_rays(scan: Scan) -> None:
    if scan.detector_shape[0] == 1:
        assert_allclose(scan.rows(0, 1).frames(), scan.frames(), rtol=0, atol=TIGHT)
        return
    part = scan.rows(1, 4)
    assert part.detector_shape == (3, 8)
    for mine, theirs in zip(part.rays(), scan.rays(v=[1, 2, 3]), strict=True):
        assert_allclose(mine, theirs, rtol=0, atol=1e-11)
    assert_allclose(part.pixels(), scan.pixels()[:, 1:4], rtol=0, atol=1e-11)


@every_scan
def test_bins_stand_where_their_pixels_stood(scan: Scan) -> None:
    factors = (2, 3) if scan.detector_shape[0] > 1 else (1, 3)
    part = scan.bin(factors)
    assert part.detector_shape == (scan.detector_shape[0] // factors[0], 2)
    assert_allclose(part.pixel, np.array(scan.pixel) * factors, rtol=0, atol=TIGHT)
    rows = (np.arange(part.detector_shape[0]) + 0.5) * factors[0] - 0.5  # middles of the merged pixels
    columns = (np.arange(part.detector_shape[1]) + 0.5) * factors[1] - 0.5
    assert_allclose(part.pixels(), scan.pixels(v=rows, u=columns), rtol=0, atol=1e-11)


def test_bins_and_rows_that_leave_nothing_are_refused() -> None:
    scan = ParallelBeam(ANGLES, (5, 8))
    with pytest.raises(ValueError, match="bin: expected at most"):
        scan.bin(6)
    with pytest.raises(ValueError, match=r"binned by \(1, n\)"):
        ParallelBeam(ANGLES, 8).bin(2)
    for rows in ((2, 2), (-1, 3), (0, 6)):
        with pytest.raises(ValueError, match="rows"):
            scan.rows(*rows)
