"""FBP and FDK against closed forms: absolute scale for every orbit they take, filters, back projection, refusals."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests import reference
from tomodiff.analytic import fbp, fdk, filter_rows, ramp_response
from tomodiff.analytic.orbit import Orbit, overlap_weights
from tomodiff.analytic.ramp import WINDOWS
from tomodiff.array import to_numpy
from tomodiff.errors import ConfigError
from tomodiff.geometry import ConeBeam, FanBeam, Grid, Helix, ParallelBeam, Scan, Vectors
from tomodiff.simulate import Ellipsoids, ellipsoid, sphere

SCALE = 0.01
"""Bound on the error of the mean of a uniform region, relative to the densest one (the project's requirement)."""

PIXEL = 0.2
GRID = Grid((1, 96, 96), PIXEL)
RODS = (
    ellipsoid((0.5, -0.3, 0), (8.5, 7.5, 60), 0.02)
    + ellipsoid((-2, 1.5, 0), (2.5, 2.5, 60), 0.03)
    + ellipsoid((3.2, -2, 0), (2, 2, 60), -0.02)
)
"""Long rods (at z = 0 as good as cylinders): a body, a dense rod and a hole in it, off the axis."""

UNIFORM = {(-2.0, 1.5): 0.05, (3.2, -2.0): 0.0, (2.2, 4.2): 0.02, (-3.0, -4.0): 0.02}
"""Where discs of 1.2 mm radius are uniform, and their attenuation."""

DEGREE = np.pi / 180
HALF, FULL = np.arange(0, 180, 1.0) * DEGREE, np.arange(0, 360, 1.5) * DEGREE
GOLDEN = np.arange(240) * (np.sqrt(5) - 1) / 2 % 1 * np.pi
STEPS = np.linspace(0, 1, 240, endpoint=False)


def measured(scan: Scan, phantom: Ellipsoids = RODS, across: int = 4, along: int = 1) -> np.ndarray:
    """Line integrals averaged over each pixel, from `along` x `across` (rows x columns) parts of it."""
    (nv, nu), (dv, du) = scan.detector_shape, scan.pixel
    fine = dataclasses.replace(scan, detector_shape=(nv * along, nu * across), pixel=(dv / along, du / across))  # type: ignore[type-var]
    return phantom.project(fine).reshape(len(scan), nv, along, nu, across).mean(axis=(2, 4))


def scale_error(volume: np.ndarray, grid: Grid) -> float:
    """The largest error of the mean over a uniform region, relative to the densest."""
    x, y, _ = grid.coordinates()
    means = {at: volume[np.hypot(x - at[0], y - at[1]) < 1.2].mean() for at in UNIFORM}
    return max(abs(means[at] - value) for at, value in UNIFORM.items()) / max(UNIFORM.values())


def parallel(angles: np.ndarray, columns: int = 96, **mounting: Any) -> ParallelBeam:
    return ParallelBeam(angles, (1, columns), PIXEL, **mounting)


def fan(angles: np.ndarray, columns: int = 96, **mounting: Any) -> ConeBeam:
    return FanBeam(angles, 60.0, 96.0, columns, PIXEL * 1.6, **mounting)


# ---- absolute scale


@pytest.mark.parametrize(
    "angles",
    [HALF, HALF + 1.234, -2.2 - HALF, np.append(HALF, np.pi), FULL, np.linspace(0, 4 * np.pi, 720, endpoint=False),
     GOLDEN, GOLDEN * 2, np.pi * (STEPS + 0.1 * np.sin(2 * np.pi * STEPS)),
     np.random.default_rng(1).uniform(0, np.pi, 400)],
    ids=["180", "180 from 71", "180 backwards", "180 with both ends", "360", "two turns", "golden", "golden over 360",
         "uneven steps", "random"],
)  # fmt: skip
def test_fbp_scale(angles: np.ndarray) -> None:
    scan = parallel(angles)
    assert scale_error(fbp(measured(scan), scan, GRID), GRID) < SCALE


@pytest.mark.parametrize(("angles", "columns", "shift"), [(HALF, 104, 0.7), (FULL, 104, -0.55), (FULL, 96, 0.25)])
def test_fbp_scale_beside_the_middle(angles: np.ndarray, columns: int, shift: float) -> None:
    for mounting in ({"axis_offset": shift}, {"detector_offset": (0.0, shift)}):
        scan = parallel(angles, columns, **mounting)
        assert scale_error(fbp(measured(scan), scan, GRID), GRID) < SCALE


@pytest.mark.parametrize(
    "angles",
    [FULL, -FULL, np.append(FULL, 2 * np.pi), np.linspace(0, 4 * np.pi, 480, endpoint=False),
     GOLDEN * 2, np.random.default_rng(2).uniform(0, 2 * np.pi, 600)],
    ids=["360", "backwards", "both ends", "two turns", "golden", "random"],
)  # fmt: skip
def test_fan_scale_of_a_full_turn(angles: np.ndarray) -> None:
    scan = fan(angles)
    assert scale_error(fdk(measured(scan), scan, GRID), GRID) < SCALE


@pytest.mark.parametrize("degrees", [201, 230, 300])
@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("shift", [0.0, 1.1, -1.1])
def test_fan_scale_of_a_short_scan(degrees: int, direction: int, shift: float) -> None:
    scan = fan(0.4 + direction * np.arange(degrees) * DEGREE, 104 if shift else 96, axis_offset=shift)
    assert Orbit.of(scan).coverage == pytest.approx(degrees * DEGREE)
    assert scale_error(fdk(measured(scan), scan, GRID), GRID) < SCALE


@pytest.mark.parametrize("shift", [-5.4, -2.0, 2.0, 5.4])
def test_scale_where_the_detector_sees_little_more_than_half(shift: float) -> None:
    # 76 columns: 15.2 mm for an object of 18 mm, so that no single view holds it
    for scan in (parallel(FULL, 76, axis_offset=shift), fan(FULL, 76, axis_offset=1.6 * shift)):
        inverse = fbp if scan.kind == "parallel" else fdk
        data = measured(scan)
        assert (data[..., 0].max() > 0.1) or (data[..., -1].max() > 0.1)
        assert scale_error(inverse(data, scan, GRID), GRID) < SCALE


def test_weights_of_opposite_columns_sum_to_one() -> None:
    for axis in (0.5, 9.0, 24.7, 31.5, 40.2, 63.0):
        columns = np.arange(64) - axis
        weights = overlap_weights(columns)
        opposite = np.interp(-columns, columns, weights, left=0.0, right=0.0)
        inside = np.abs(columns) < min(axis, 63 - axis)
        np.testing.assert_allclose((weights + opposite)[inside], 1.0, atol=0.02)  # between columns
        assert (weights >= 0).all() and (weights <= 1).all()


BALL = sphere((1.0, -0.8, 0.3), 4.0, 0.05)


@pytest.mark.parametrize(
    ("grid", "orbit"),
    [(Grid((40, 48, 48), 0.25), FULL), (Grid((20, 60, 40), (0.5, 0.2, 0.3)), FULL),
     (Grid((24, 26, 28), 0.25, (1.5, -1.0, 1.0)), FULL), (Grid((40, 48, 48), 0.25), 0.3 - np.arange(220) * DEGREE)],
    ids=["cube", "anisotropic voxels", "off centre", "short scan"],
)  # fmt: skip
def test_cone_scale_up_to_five_degrees(grid: Grid, orbit: np.ndarray) -> None:
    # rays through the ball rise by up to 4.3 mm in 48: 5.1 degrees
    scan = ConeBeam(orbit, 48.0, 72.0, (44, 52), 0.375, axis_offset=0.2, detector_offset=(0.1, -0.3))
    volume = fdk(measured(scan, BALL, 2, 2).astype(np.float32), scan, grid)
    x, y, z = grid.coordinates()
    inside = np.sqrt((x - 1.0) ** 2 + (y + 0.8) ** 2 + (z - 0.3) ** 2) < 3.2
    assert inside.sum() > 1000
    assert volume[inside].mean() == pytest.approx(0.05, rel=SCALE)
    for height in np.unique(z[inside]):  # and slice by slice
        level = inside & (z == height)
        if level.sum() > 50:
            assert volume[level].mean() == pytest.approx(0.05, rel=SCALE)


def test_3d_parallel_scale_on_awkward_grids() -> None:
    for grid in (
        Grid((20, 60, 40), (0.5, 0.2, 0.3)),
        Grid.from_rotvec((24, 26, 28), (0.3, -0.2, 0.5), 0.3, (0.9, -1, 0)),
    ):
        scan = ParallelBeam(HALF[::2], (40, 64), (0.3, 0.25), axis_offset=0.4, detector_tilt=(0.0, 0.2, 0.0))
        volume = fbp(measured(scan, BALL, 2, 2), scan, grid)
        x, y, z = grid.coordinates()
        inside = np.sqrt((x - 1.0) ** 2 + (y + 0.8) ** 2 + (z - 0.3) ** 2) < 3.2
        assert volume[inside].mean() == pytest.approx(0.05, rel=SCALE)


def test_errors_shrink_with_voxels_and_pixels() -> None:
    errors = []
    for n in (32, 64, 128):
        h = 19.2 / n
        scan = ParallelBeam(np.linspace(0, np.pi, 2 * n, endpoint=False), (1, n), h)
        grid = Grid((1, n, n), h)
        x, y, _ = grid.coordinates()
        error = np.abs(fbp(measured(scan), scan, grid) - RODS.voxelise(grid))
        errors.append(error[np.hypot(x, y) < 9.4].mean())
    # the error sits at edges, whose share of the area is of order h, and rings out from there
    assert errors[0] / errors[1] > np.sqrt(2) and errors[1] / errors[2] > np.sqrt(2)


# ---- filters


@pytest.mark.parametrize("window", WINDOWS)
def test_filter_response(window: str) -> None:
    n, pixel = 256, 0.3
    response, f = ramp_response(n, pixel, window), np.arange(129) / 256 / 0.3
    assert response.shape == (129,) and (response >= 0).all() and response[0] > 0
    low = slice(8, 16)  # far above frequency zero, far below the pixel's
    np.testing.assert_allclose(response[low], f[low], rtol=0.05)
    assert response[0] < f[1]
    # the Nyquist frequency relative to the ramp: what each window is defined to leave there
    left = {"ram-lak": 1.0, "shepp-logan": 2 / np.pi, "cosine": 0.0, "hamming": 0.08, "hann": 0.0}[window]
    assert response[-1] / f[-1] == pytest.approx(left, abs=2e-3)
    assert (response <= ramp_response(n, pixel)).all()


def test_ramp_of_a_disc_is_flat_inside() -> None:
    """Every view of a centred disc of density 1 contributes the same everywhere inside, 1/pi: together, over pi, 1."""
    u = (np.arange(4000) - 1999.5) * 0.01
    chord = 2 * np.sqrt(np.maximum(100 - u**2, 0.0))
    filtered = filter_rows(chord, 0.01)
    inside = np.abs(u) < 8
    np.testing.assert_allclose(np.pi * filtered[inside], 1.0, atol=0.01)
    scaled = filter_rows(chord / 10, 0.001)  # the same disc in cm
    np.testing.assert_allclose(scaled, filtered, atol=1e-9)


def test_filter_is_a_convolution_that_does_not_wrap(rng: np.random.Generator) -> None:
    row = rng.standard_normal((3, 2, 37))
    k = np.arange(-36, 37)
    kernel = np.where(k % 2 == 0, 0.0, -1 / (np.pi * np.where(k == 0, 1, k) * 0.7) ** 2)
    kernel[36] = 1 / (4 * 0.7**2)
    expected = np.apply_along_axis(lambda r: np.convolve(r, kernel)[36:73] * 0.7, 2, row)
    np.testing.assert_allclose(filter_rows(row, 0.7), expected, atol=1e-12)


def test_windows_smooth_noise_and_keep_the_scale(rng: np.random.Generator) -> None:
    scan = parallel(FULL[::2])
    clean, noise = measured(scan), rng.standard_normal((120, 1, 96))
    spread = {}
    for window in WINDOWS:
        assert scale_error(fbp(clean, scan, GRID, window), GRID) < SCALE
        spread[window] = fbp(noise, scan, GRID, window).std()
    assert spread["ram-lak"] > spread["shepp-logan"] > spread["cosine"] > spread["hamming"] > spread["hann"]


def test_edge_padding_helps_an_object_that_leaves_the_view() -> None:
    scan = parallel(HALF, 40)  # 8 mm of an object of 17
    data, grid = measured(scan), Grid((1, 40, 40), PIXEL)
    x, y, _ = grid.coordinates()
    seen = np.hypot(x, y) < 3.6
    errors = {p: (fbp(data, scan, grid, padding=p) - RODS.voxelise(grid))[seen] for p in ("zero", "edge")}
    assert abs(errors["edge"].mean()) < 0.5 * abs(errors["zero"].mean())
    assert errors["edge"].std() < 0.5 * errors["zero"].std()  # cupping
    whole = parallel(HALF)
    inside = measured(whole)
    np.testing.assert_allclose(fbp(inside, whole, GRID, padding="edge"), fbp(inside, whole, GRID), atol=1e-12)


# ---- back projection, precision, arguments

SKEWED = {
    "rows": (Grid((5, 9, 21), (0.9, 1.0, 1.1), (0.3, -0.4, 0.2)), ParallelBeam(FULL[::20], (6, 17), (0.8, 0.9))),
    "parallel, turned grid": (Grid.from_rotvec((7, 9, 6), (0.2, 0.3, 0.1), 1.0), ParallelBeam(FULL[::20], (9, 11))),
    "cone": (Grid((33, 7, 6), (0.5, 1, 1), (0.5, 0, 1)), ConeBeam(FULL[::20], 30.0, 50.0, (13, 12), 1.5)),
    "cone, turned grid": (
        Grid.from_rotvec((9, 8, 7), (0.4, 0.1, -0.3)),
        ConeBeam(FULL[::20], 30.0, 50.0, (11, 12), 1.6),
    ),
    "fan": (Grid((1, 12, 13), 0.9), FanBeam(FULL[::20], 30.0, 50.0, 15, 1.5)),
}


@pytest.mark.parametrize("case", SKEWED)
def test_back_projection_is_the_plain_one(case: str, xp: ModuleType, rng: np.random.Generator) -> None:
    grid, scan = SKEWED[case]
    data = rng.standard_normal((len(scan), *scan.detector_shape))
    inverse, pixel, weighted = fbp, scan.pixel[1], data * np.pi / len(scan)
    if isinstance(scan, ConeBeam):
        inverse, pixel = fdk, scan.pixel[1] / scan.magnification
        at = scan.pixels(0)[0] - scan.frames()[0, :3]  # (v, u, 3): the cosine of each ray with the central one
        weighted = weighted * (scan.source_detector / np.linalg.norm(at, axis=-1))
    expected = reference.backproject(filter_rows(weighted, pixel), grid, scan)
    for dtype, bound in (("float64", 1e-12), ("float32", 3e-6)):
        found = inverse(xp.asarray(data, dtype), scan, grid)
        assert found.dtype == dtype
        np.testing.assert_allclose(to_numpy(found), expected, atol=bound * np.abs(expected).max(), rtol=0)


def test_nothing_is_changed_and_progress_counts_views(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid, scan = SKEWED["cone"]
    data = rng.standard_normal((len(scan), *scan.detector_shape)).astype(np.float32)
    before = data.copy()
    whole = fdk(data, scan, grid)
    np.testing.assert_array_equal(data, before)
    monkeypatch.setattr(import_module("tomodiff.analytic.fbp"), "CHUNK_BYTES", 2500)
    seen: list[tuple[int, int]] = []
    chunks = fdk(data, scan, grid, progress=lambda done, total: seen.append((done, total)))
    assert len(seen) > 3 and seen[-1] == (12, 12) and [d for d, _ in seen] == sorted(d for d, _ in seen)
    np.testing.assert_allclose(chunks, whole, atol=1e-6 * np.abs(whole).max())


def test_views_in_any_order_and_any_description_of_the_same_scan(rng: np.random.Generator) -> None:
    for name, inverse in (("rows", fbp), ("cone", fdk)):
        grid, scan = SKEWED[name]
        data = rng.standard_normal((len(scan), *scan.detector_shape))
        expected = inverse(data, scan, grid)
        mixed = rng.permutation(len(scan))
        close = {"atol": 1e-12 * np.abs(expected).max(), "rtol": 0.0}
        np.testing.assert_allclose(inverse(data[mixed], scan[mixed], grid), expected, **close)
        np.testing.assert_allclose(inverse(data, Vectors.of(scan), grid), expected, **close)
        np.testing.assert_allclose(inverse(2 * data, scan, grid), 2 * expected, **close)


def sheared(scan: Scan) -> Vectors:
    frames = scan.frames().copy()
    frames[:, 9:12] += 0.3 * frames[:, 6:9]
    return Vectors(frames, scan.detector_shape, scan.kind)


SIZE = (40.0, 70.0, (5, 8), 1.0)


@pytest.mark.parametrize(
    ("inverse", "scan", "said"),
    [
        (fbp, ConeBeam(FULL, *SIZE), "use fdk"),
        (fdk, ParallelBeam(HALF, (5, 8)), "use fbp"),
        (fbp, ParallelBeam(HALF, (5, 8), axis_tilt=0.1), "full turn"),
        (fbp, ParallelBeam(HALF, (5, 8), detector_tilt=(0.3, 0, 0)), "roll"),
        (fbp, sheared(ParallelBeam(HALF, (5, 8))), "columns along the axis"),
        (fdk, ConeBeam(HALF, *SIZE), "half a turn plus the fan"),
        (fdk, Helix(FULL * 2, *SIZE, 5.0, 0.0), "no helix"),
        (fdk, ConeBeam(FULL, *SIZE, curved=True), "flat detector"),
        (fdk, ConeBeam(FULL, *SIZE, axis_tilt=0.2), "tilts"),
        (fdk, ConeBeam(FULL, *SIZE, detector_tilt=(0.3, 0, 0)), "roll"),
        (fdk, ConeBeam(FULL, *SIZE, detector_tilt=(0, 0.1, 0)), "tilts"),
        (fdk, ConeBeam(FULL, *SIZE, detector_tilt=(0, 0, 0.1)), "tilts"),
        (fdk, sheared(ConeBeam(FULL, *SIZE)), "columns along the axis"),
    ],
)
def test_what_has_no_closed_form_is_refused(inverse: Any, scan: Scan, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        inverse(np.zeros((len(scan), *scan.detector_shape)), scan, Grid(4))


def test_what_a_scan_leaves_out_is_known() -> None:
    assert Orbit.of(parallel(HALF)).left_out(np.pi) == pytest.approx(0, abs=1e-12)
    assert Orbit.of(parallel(HALF[:120])).left_out(np.pi) == pytest.approx(60 * DEGREE)
    assert Orbit.of(parallel(HALF[:170:10])).left_out(np.pi) == pytest.approx(10 * DEGREE, abs=10.001 * DEGREE)
    assert Orbit.of(fan(FULL)).coverage == 2 * np.pi
    assert Orbit.of(fan(FULL[:1])).coverage == 0


def test_wrong_arguments_are_named() -> None:
    scan = parallel(HALF)
    with pytest.raises(ValueError, match=r"data: expected line integrals of shape \(180, 1, 96\)"):
        fbp(np.zeros((96, 1, 180)), scan, GRID)
    with pytest.raises(TypeError, match="data: expected float32 or float64, got int64"):
        fbp(np.zeros((180, 1, 96), np.int64), scan, GRID)
    with pytest.raises(ValueError, match="window: expected one of ram-lak"):
        fbp(np.zeros((180, 1, 96)), scan, GRID, window="hanning")
    with pytest.raises(ValueError, match="padding: expected zero or edge"):
        fbp(np.zeros((180, 1, 96)), scan, GRID, padding="reflect")
