"""Grids of orientations: how many, how dense, how they divide; how evenly views cover directions."""

from __future__ import annotations

import numpy as np
import pytest

from tomodiff.geometry.orientations import (
    angular_step,
    cell_radius,
    children,
    direction_counts,
    directions,
    fourier_sampling,
    grid_size,
    index_of,
    neighbours,
    pixel_radius,
    rotation_of,
    sampling_compensation,
    so3_grid,
    spread_directions,
)
from tomodiff.geometry.poses import angle_between, from_euler, random_rotations
from tomodiff.geometry.symmetry import asymmetric_unit, nearest_equivalent, point_group

pytest.importorskip("astropy_healpix")


def test_numbers_and_steps_are_those_of_relion() -> None:
    # RELION's table of --healpix_order: 7.5 degrees and 36864 orientations at order 3.
    assert [grid_size(k) for k in range(4)] == [72, 576, 4608, 36864]
    assert np.degrees(angular_step(3)) == pytest.approx(7.5)
    assert so3_grid(1).shape == (576, 3, 3)
    assert directions(2).shape == (192, 3)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_grid_is_even(order: int, rng: np.random.Generator) -> None:
    grid = so3_grid(order)
    assert np.abs(grid @ np.swapaxes(grid, 1, 2) - np.eye(3)).max() < 1e-12
    # Equal areas and equal steps: integrals of low harmonics over SO(3) vanish.
    assert np.abs(grid.mean(0)).max() < 1e-12
    # Distances to the nearest: no pose is further than a cell's radius, up to the area of a pixel (holonomy).
    some = random_rotations(300, rng)
    trace = np.einsum("nij,mij->nm", some, grid)
    nearest = np.arccos(np.clip((trace.max(1) - 1) / 2, -1, 1))
    assert nearest.max() < cell_radius(order)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_pixel_radius_bounds_the_distance_to_the_middle(order: int, rng: np.random.Generator) -> None:
    d = rng.normal(size=(20000, 3))
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    rotations = from_euler(np.arctan2(d[:, 1], d[:, 0]), np.arccos(d[:, 2]), np.zeros(len(d)))
    middle = rotation_of(index_of(rotations, order), order)[:, 2]
    furthest = np.arccos(np.clip((d * middle).sum(1), -1, 1)).max()
    assert 0.9 * pixel_radius(order) < furthest <= pixel_radius(order) + 1e-12


def test_every_pose_has_the_cell_that_it_came_from() -> None:
    for order in (0, 1, 2):
        index = np.arange(grid_size(order))
        assert np.array_equal(index_of(rotation_of(index, order), order), index)


def test_cells_divide_the_poses_evenly(rng: np.random.Generator) -> None:
    n = 100_000
    counts = np.bincount(index_of(random_rotations(n, rng), 0), minlength=72)
    # Chi squared with 71 degrees of freedom: mean 71, deviation 11.9.
    assert abs(((counts - n / 72) ** 2 / (n / 72)).sum() - 71) < 5 * 11.9


def test_children_surround_their_parent_everywhere() -> None:
    for order in (0, 1, 2):
        index = np.arange(grid_size(order))
        below = children(index, order)
        assert np.array_equal(np.sort(below.ravel()), np.arange(grid_size(order + 1)))
        away = angle_between(rotation_of(index, order)[:, None], rotation_of(below, order + 1))
        assert away.max() < cell_radius(order)


def test_neighbours_are_in_the_cell_and_close(rng: np.random.Generator) -> None:
    A = random_rotations(200, rng)
    found = neighbours(A, 2, 4)
    assert found.shape == (200, 64, 3, 3)
    assert np.array_equal(index_of(found, 2), np.repeat(index_of(A, 2)[:, None], 64, 1))
    closest = angle_between(A[:, None], found).min(1)
    assert closest.max() < cell_radius(4)
    assert neighbours(A, 1, 1).shape == (200, 1, 3, 3)
    with pytest.raises(ValueError, match="order_to"):
        neighbours(A, 2, 1)


@pytest.mark.parametrize("name", ["C4", "D2", "O", "I"])
def test_with_symmetry_every_pose_is_equivalent_to_one_near_by(name: str, rng: np.random.Generator) -> None:
    group = point_group(name)
    grid = so3_grid(2, group, rng)
    fine = directions(5)
    kept = asymmetric_unit(fine, group, pixel_radius(5)).mean()
    assert 1 < kept * len(group) < 1.5  # the margin costs little where pixels are small beside the unit
    some = random_rotations(60, rng)
    turned = nearest_equivalent(grid[None], np.repeat(some[:, None], len(grid), 1), group)
    trace = np.einsum("nmij,mij->nm", turned, grid)
    assert np.arccos(np.clip((trace.max(1) - 1) / 2, -1, 1)).max() < cell_radius(2)


def test_random_turns_keep_the_grid_even(rng: np.random.Generator) -> None:
    turned = so3_grid(1, rng=rng)
    assert np.abs(turned - so3_grid(1)).max() > 0.1
    assert np.abs(turned.mean(0)).max() < 1e-12


def test_direction_counts(rng: np.random.Generator) -> None:
    counts = direction_counts(so3_grid(1), 1)
    assert (counts == 12).all()
    one = np.repeat(random_rotations(1, rng), 7, axis=0)
    assert sorted(direction_counts(one, 3))[-2:] == [0, 7]


def test_sampling_of_even_and_of_side_views(rng: np.random.Generator) -> None:
    n = 40_000
    even = random_rotations(n, rng)
    # One less than 1 by the mean of 1 / Poisson counts of about n / (2 shell) = 1000.
    assert sampling_compensation(even) == pytest.approx(1, abs=5e-3)
    psi, rot = rng.uniform(-np.pi, np.pi, (2, n))
    side = from_euler(rot, np.full(n, np.pi / 2), psi)
    # Slices through the z axis sample the direction at angle t from it in proportion to 1 / sin t.
    assert sampling_compensation(side) == pytest.approx(8 / np.pi**2, abs=5e-3)
    along = spread_directions(500)
    sine = np.hypot(along[:, 0], along[:, 1])
    off_axis = sine > 0.3
    sampled = fourier_sampling(side, along, 20.0)
    assert sampled[off_axis] == pytest.approx(2 / (np.pi * sine[off_axis]), rel=0.15)
    # Views along z alone never sample the z axis.
    top = from_euler(rot, np.zeros(n), psi)
    assert sampling_compensation(top) == 0
