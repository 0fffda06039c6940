"""Tilt series as scans: where points land, where ellipsoids cast their shadow, and which walk the projector takes."""

from __future__ import annotations

import numpy as np
import pytest

from tomodiff.geometry import Grid
from tomodiff.geometry.tilt import TURNED, TiltSeries, from_tomogram, to_tomogram
from tomodiff.projectors import XRay
from tomodiff.simulate import ellipsoid


def crooked(rng: np.random.Generator, n: int = 7) -> TiltSeries:
    """A series in which nothing is zero; odd and even sides."""
    return TiltSeries(
        np.deg2rad(np.linspace(-60, 60, n)),
        2.5,
        (33, 40),
        axis=rng.normal(0, 1, n),
        shift=rng.normal(0, 8, (n, 2)),
        x_tilt=rng.normal(0, 0.1, n),
        magnification=1 + 0.01 * rng.normal(size=n),
        volume_center=(3.0, 4.0, 5.0),
    )


def relion_matrix(series: TiltSeries, i: int, size: tuple[int, int, int]) -> np.ndarray:
    """P of RELION 5 (tomogram.cpp, setProjectionMatrix) as a product of 4 x 4 matrices; no magnification there."""

    def move(x: float, y: float, z: float) -> np.ndarray:
        m = np.eye(4)
        m[:3, 3] = x, y, z
        return m

    def turn(axis: int, angle: float) -> np.ndarray:
        m, (a, b) = np.eye(4), [(1, 2), (2, 0), (0, 1)][axis]
        m[a, a] = m[b, b] = np.cos(angle)
        m[b, a], m[a, b] = np.sin(angle), -np.sin(angle)
        return m

    d, h, w = size
    rows, columns = series.image_shape
    sx, sy = series.shift[i] / series.pixel
    rotation = turn(2, series.axis[i]) @ turn(1, series.tilt[i]) @ turn(0, series.x_tilt[i])
    return move(columns // 2, rows // 2, 0) @ move(sx, sy, 0) @ rotation @ move(-(w // 2), -(h // 2), -(d // 2))


def test_the_matrices_are_those_of_relion(rng: np.random.Generator) -> None:
    size = (12, 31, 22)
    series = crooked(rng).replace(magnification=np.ones(7), volume_center=(0.0, 0.0, 0.0))
    for i, P in enumerate(series.projection_matrices(size)):
        np.testing.assert_allclose(P, relion_matrix(series, i, size), atol=1e-12)


@pytest.mark.parametrize("turned", [False, True])
def test_points_land_where_the_matrices_say(rng: np.random.Generator, turned: bool) -> None:
    series, size = crooked(rng), (12, 31, 22)
    voxels = rng.uniform(-5, 30, (50, 3))
    grid = series.grid(size)
    points = voxels @ grid.world_from_index[:, :3].T + grid.world_from_index[:, 3]
    expected = (series.projection_matrices(size) @ np.column_stack([voxels, np.ones(50)]).T)[:, :2].transpose(0, 2, 1)
    found = series.scan(turned).project(points @ TURNED if turned else points)
    np.testing.assert_allclose(found[..., ::-1], expected, atol=1e-11)


def test_the_voxel_in_the_middle_is_the_specimens_origin(rng: np.random.Generator) -> None:
    for size in ((12, 31, 22), (13, 30, 21)):
        grid = TiltSeries(np.zeros(1), 2.5, (8, 8)).grid(size, spacing=5.0)
        middle = np.array(size[::-1]) // 2
        np.testing.assert_allclose(grid.world_from_index @ [*middle, 1], 0, atol=1e-12)


def test_the_shadow_of_an_ellipsoid_lies_where_the_matrices_say(rng: np.random.Generator) -> None:
    """Centroids of exact projections; 1 % of a pixel is what sampling an edge leaves."""
    series, size = crooked(rng).replace(shift=np.zeros((7, 2))), (12, 31, 22)
    voxel = np.array([12.0, 16.0, 7.0])
    grid = series.grid(size)
    center = grid.world_from_index @ [*voxel, 1]
    images = ellipsoid(tuple(center), (14.0, 11.0, 9.0), 1.0, (0.3, 0.5, 0.1)).project(series.scan(), oversample=4)
    expected = (series.projection_matrices(size) @ [*voxel, 1])[:, :2]
    v, u = np.indices(series.image_shape)
    mass = images.sum((1, 2))
    centroids = np.stack([(images * u).sum((1, 2)), (images * v).sum((1, 2))], 1) / mass[:, None]
    np.testing.assert_allclose(centroids, expected, atol=0.01)
    volume = 4 / 3 * np.pi * 14 * 11 * 9
    np.testing.assert_allclose(mass * (series.pixel / series.magnification) ** 2, volume, rtol=2e-3)


def test_turned_and_upright_grids_give_the_same_projections(rng: np.random.Generator) -> None:
    series, size = crooked(rng), (12, 31, 22)
    volume = rng.random(size)
    upright = XRay(series.grid(size), series.scan(), dtype="float64").forward(volume)
    turned = XRay(series.grid(size, turned=True), series.scan(turned=True), dtype="float64")
    np.testing.assert_allclose(turned.forward(np.ascontiguousarray(from_tomogram(volume))), upright, atol=1e-10)
    np.testing.assert_array_equal(to_tomogram(from_tomogram(volume)), volume)


def test_the_crooked_series_passes_the_dot_test(rng: np.random.Generator) -> None:
    series = crooked(rng)
    A = XRay(series.grid((9, 31, 22)), series.scan(), dtype="float64")
    x, y = rng.standard_normal(A.domain.shape), rng.standard_normal(A.range.shape)
    Ax = A.forward(x)
    assert abs((Ax * y).sum() - (x * A.adjoint(y)).sum()) <= 1e-12 * np.linalg.norm(Ax) * np.linalg.norm(y)


@pytest.mark.parametrize(("rows", "walk"), [(64, "rows"), (33, "slices")])
def test_a_single_axis_series_takes_the_fast_walk(rng: np.random.Generator, rows: int, walk: str) -> None:
    n = 9
    shift = np.column_stack([rng.normal(0, 5, n), np.zeros(n)])
    series = TiltSeries(np.deg2rad(np.linspace(-60, 60, n)), 3.1, (rows, 50), shift=shift)
    assert series.aligned
    grid = series.grid((20, rows, 50), turned=True)
    assert isinstance(grid, Grid)
    assert XRay(grid, series.scan(turned=True)).walk == walk
    assert not series.replace(axis=np.full(n, 0.1)).aligned


def test_a_part_of_a_series_keeps_count_of_what_it_left_out() -> None:
    series = TiltSeries(np.deg2rad([-6.0, -3, 0, 3]), 1.0, (8, 8), section=np.array([0, 1, 3, 4]), excluded=(2,))
    part = series[[1, 2]]
    assert part.excluded == (0, 2, 4)
    np.testing.assert_array_equal(part.section, [1, 3])
    np.testing.assert_allclose(np.rad2deg(part.tilt), [-3, 0])


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"tilt": [-60.0, 60.0]}, "tilt.*radians"),
        ({"tilt": [0.0, np.nan]}, "tilt"),
        ({"pixel": 0.0}, "pixel"),
        ({"shift": np.zeros((3, 2))}, "shift"),
        ({"magnification": [1.0, 0.0]}, "magnification"),
        ({"order": [0.5, 1.5]}, "order"),
        ({"paths": ("a", "b", "c")}, "paths"),
    ],
)
def test_a_series_that_does_not_fit_is_refused_by_name(arguments: dict[str, object], names: str) -> None:
    good: dict[str, object] = {"tilt": [0.0, 0.1], "pixel": 1.0, "image_shape": (8, 8)}
    with pytest.raises(ValueError, match=names):
        TiltSeries(**(good | arguments))  # type: ignore[arg-type]
