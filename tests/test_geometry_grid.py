"""Grids as values, which grid goes with which scan, and the drawing of both."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.scans import ANGLES, TIGHT, every_scan
from tomodiff.errors import ConfigError
from tomodiff.geometry import (
    ConeBeam,
    Grid,
    Helix,
    ParallelBeam,
    Scan,
    Vectors,
    check_pair,
    fit_grid,
)

# --- grids ----------------------------------------------------------------------------------------------------------

TURNED = Grid.from_rotvec((4, 3, 5), (0.3, -0.2, 0.9), (0.5, 0.7, 0.2), (10.0, -3.0, 2.0))


def test_voxel_centres_follow_the_definition() -> None:
    x, y, z = TURNED.coordinates()
    assert x.shape == (4, 3, 5)
    local = np.array([(4 - 2) * 0.2, (0 - 1) * 0.7, (3 - 1.5) * 0.5])
    expected = np.array([10.0, -3.0, 2.0]) + np.array(TURNED.rotation) @ local
    assert_allclose([x[3, 0, 4], y[3, 0, 4], z[3, 0, 4]], expected, rtol=0, atol=TIGHT)


def test_index_and_world_affines_are_inverse_and_match_the_coordinates() -> None:
    k, j, i = np.indices(TURNED.shape).reshape(3, -1)
    world = np.stack([c.ravel() for c in TURNED.coordinates()])
    index = np.stack([i, j, k, np.ones_like(i)])
    assert_allclose(TURNED.world_from_index @ index, world, rtol=0, atol=1e-12)
    assert_allclose(TURNED.index_from_world @ np.vstack([world, np.ones(60)]), index[:3], rtol=0, atol=1e-12)


def test_a_slab_holds_the_same_voxels() -> None:
    for index in (slice(1, 3), (slice(None), slice(2, None)), (slice(-2, None), slice(0, 2), slice(1, 4))):
        for mine, theirs in zip(TURNED[index].coordinates(), TURNED.coordinates(), strict=True):
            assert_allclose(mine, theirs[index], rtol=0, atol=1e-12)
    for bad in (slice(2, 2), slice(None, None, 2)):
        with pytest.raises(ValueError, match="slice of axis 0"):
            TURNED[bad]
    with pytest.raises(TypeError, match="slices"):
        TURNED[1]  # type: ignore[index]


def test_grids_are_values() -> None:
    for grid in (TURNED, Grid(5), Grid((1, 2, 3), 0.25, (1.0, 2.0, 3.0))):
        stored = Grid.from_dict(json.loads(json.dumps(grid.to_dict())))
        for again in (eval(repr(grid)), stored, pickle.loads(pickle.dumps(grid)), copy.deepcopy(grid)):
            assert again == grid and hash(again) == hash(grid)
    assert Grid(5) == Grid((5, 5, 5), (1, 1, 1), np.zeros(3), np.eye(3)) and Grid(5) != Grid(5, 2.0)
    assert Grid(5).rotation is None
    with pytest.raises(ValueError, match="colour"):
        Grid.from_dict({**Grid(5).to_dict(), "colour": 1})


def test_grid_sizes_and_corners() -> None:
    grid = Grid.from_size((4, 3, 5), (2.0, 2.1, 1.0), TURNED.center, TURNED.rotation)
    assert_allclose(grid.spacing, (0.5, 0.7, 0.2), rtol=0, atol=TIGHT)
    assert_allclose(grid.size, (2.0, 2.1, 1.0), rtol=0, atol=TIGHT)
    assert grid.voxel_volume == pytest.approx(0.07)
    assert_allclose(TURNED.refined(3).size, TURNED.size, rtol=0, atol=TIGHT)
    corners = TURNED.corners()
    assert_allclose(corners.mean(axis=0), TURNED.center, rtol=0, atol=TIGHT)
    index = TURNED.index_from_world @ np.column_stack([corners, np.ones(8)]).T
    assert_allclose(np.sort(index, axis=1)[:, [0, -1]], [[-0.5, 4.5], [-0.5, 2.5], [-0.5, 3.5]], rtol=0, atol=1e-12)
    inwards = TURNED.center + 0.999 * (corners - TURNED.center)
    outwards = TURNED.center + 1.001 * (corners - TURNED.center)
    assert TURNED.contains(inwards).all() and not TURNED.contains(outwards).any()


def test_rotations_come_from_scipy_or_matrices_and_must_be_rotations() -> None:
    rotation = pytest.importorskip("scipy.spatial.transform", reason="needs scipy").Rotation
    turned = Grid((4, 3, 5), rotation=rotation.from_rotvec([0.3, -0.2, 0.9]))
    assert_allclose(turned.matrix, TURNED.matrix, rtol=0, atol=TIGHT)
    for bad in (np.diag([1.0, 1.0, -1.0]), 2 * np.eye(3), np.eye(2), np.full((3, 3), np.nan)):
        with pytest.raises(ValueError, match="rotation"):
            Grid(5, rotation=bad)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((4, 3),), "shape.*3 values"),
        (((4, 3, 0),), r"shape\[2\]"),
        ((5, -1.0), r"spacing\[0\].*above 0"),
        ((5, (1.0, 0.0, 1.0)), r"spacing\[1\].*above 0"),
        ((5, 1.0, (0.0, np.nan, 0.0)), r"center\[1\].*finite"),
    ],
)
def test_impossible_grids_are_named(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Grid(*arguments)


# --- which grid for which scan --------------------------------------------------------------------------------------


def test_parallel_scans_get_a_slice_per_row() -> None:
    grid = fit_grid(ParallelBeam(ANGLES, (6, 9), (0.5, 0.4), detector_offset=(0.25, 0.0)))
    assert grid.shape == (6, 9, 9)
    assert_allclose(grid.spacing, (0.5, 0.4, 0.4), rtol=0, atol=TIGHT)
    assert_allclose(grid.center, (0.0, 0.0, 0.25), rtol=0, atol=TIGHT)
    rows = ParallelBeam(ANGLES, (6, 9), (0.5, 0.4), detector_offset=(0.25, 0.0)).pixels()[0, :, 0, 2]
    assert_allclose(grid.coordinates()[2][:, 0, 0], rows, rtol=0, atol=TIGHT)


def test_an_axis_off_the_middle_widens_the_field() -> None:
    scan = ParallelBeam(ANGLES, 640, 1.0).with_axis_column(296.0)
    assert fit_grid(scan).shape == (1, 687, 687)  # 2 * 343.5
    assert fit_grid(scan, seen="all").shape == (1, 593, 593)  # 2 * 296.5
    with pytest.raises(ConfigError, match="axis on the detector"):
        fit_grid(scan.with_axis_column(-3.0), seen="all")


@pytest.mark.parametrize("curved", [False, True])
def test_cone_scans_get_the_cylinder_that_the_fan_covers(curved: bool) -> None:
    scan = ConeBeam(ANGLES, 60.0, 120.0, (10, 200), 0.4, curved=curved)
    half_fan = 40 / 120 if curved else np.arctan(40 / 120)
    grid = fit_grid(scan)
    assert_allclose(grid.spacing, 0.2, rtol=0, atol=TIGHT)
    assert grid.shape == (10, *[round(2 * 60 * np.sin(half_fan) / 0.2)] * 2)
    assert fit_grid(scan, spacing=(1.0, 2.0, 4.0)).shape == (2, *[round(2 * 60 * np.sin(half_fan) / s) for s in (2, 4)])
    of_vectors = fit_grid(Vectors.of(scan))
    assert of_vectors.shape == grid.shape
    assert_allclose(of_vectors.spacing, grid.spacing, rtol=0, atol=TIGHT)


def test_helices_get_the_whole_travel() -> None:
    grid = fit_grid(Helix(np.linspace(0, 4 * np.pi, 50), 60.0, 120.0, (10, 20), 0.4, pitch=5.0, z_start=1.0))
    assert_allclose(grid.size[0], 10.0 + 2.0, rtol=0, atol=TIGHT)
    assert_allclose(grid.center, (0.0, 0.0, 6.0), rtol=0, atol=TIGHT)


@every_scan
def test_default_grids_pass_the_check(scan: Scan) -> None:
    check_pair(scan, fit_grid(scan))


def test_sources_inside_the_volume_are_refused() -> None:
    scan = ConeBeam(np.linspace(0, 2 * np.pi, 90, endpoint=False), 10.0, 110.0, (5, 8), 0.4)
    with pytest.raises(ConfigError, match=r"source outside the volume.*view 0"):
        check_pair(scan, Grid(21))
    with pytest.raises(ConfigError, match="orbit of radius 10 mm"):  # only the corners reach it, between the views
        check_pair(scan[[0, 30, 60]], Grid(16))
    check_pair(scan, Grid(14))
    check_pair(scan[:10], Grid((4, 2, 40)))  # a plate beside a short arc


def test_volumes_out_of_sight_are_refused() -> None:
    with pytest.raises(ConfigError, match="field of view"):
        check_pair(ParallelBeam(ANGLES, (5, 8)), Grid(4, center=(0.0, 0.0, 30.0)))
    check_pair(ParallelBeam(ANGLES, (5, 8)), Grid(4, center=(0.0, 0.0, 3.0)))


# --- drawing --------------------------------------------------------------------------------------------------------


@every_scan
def test_the_setup_can_be_drawn_in_mm(scan: Scan) -> None:
    pytest.importorskip("matplotlib", reason="drawings need matplotlib")
    from tomodiff.report.setup_drawing import draw, draw_top

    grid = fit_grid(scan)
    figure = draw(scan, grid)
    space, top = figure.axes
    labels = [space.get_xlabel(), space.get_ylabel(), space.get_zlabel(), top.get_xlabel(), top.get_ylabel()]
    assert labels == ["x (mm)", "y (mm)", "z (mm)", "x (mm)", "y (mm)"]
    low, high = top.get_xlim()
    assert low <= grid.corners()[:, 0].min() and grid.corners()[:, 0].max() <= high
    again = draw(scan, grid, views=[0], ax=space)
    assert again is figure
    assert draw_top(scan, grid, views=slice(0, 2)).axes[0].get_xlabel() == "x (mm)"
