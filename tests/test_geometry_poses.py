"""Poses of particles: RELION's Euler angles, small turns, angles between rotations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tomodiff.geometry import poses


def test_euler_angles_are_intrinsic_zyz_of_frames(rng: np.random.Generator) -> None:
    """SciPy's rotations are active, so its matrix is the transpose."""
    angles = rng.uniform(-3, 3, (50, 3))
    assert np.allclose(poses.from_euler(*angles.T), Rotation.from_euler("ZYZ", angles).as_matrix().transpose(0, 2, 1))


def test_euler_angles_come_back(rng: np.random.Generator) -> None:
    angles = np.stack([rng.uniform(-np.pi, np.pi, 50), rng.uniform(0.01, 3.1, 50), rng.uniform(-np.pi, np.pi, 50)], 1)
    assert np.allclose(poses.to_euler(poses.from_euler(*angles.T)), angles)


@pytest.mark.parametrize("tilt", [0.0, np.pi])
def test_at_a_pole_rot_is_zero_and_the_rotation_is_kept(tilt: float) -> None:
    A = poses.from_euler(0.4, tilt, 1.1)
    found = poses.to_euler(A)
    assert found[0] == 0 and np.allclose(poses.from_euler(*found), A)


def test_exp_and_log_are_inverse_and_exact_near_zero(rng: np.random.Generator) -> None:
    directions = rng.normal(size=(20, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    for angle in (0.0, 1e-12, 1e-6, 0.1, 3.0):
        w = angle * directions
        R = poses.exp(w)
        assert np.allclose(R, Rotation.from_rotvec(w).as_matrix(), atol=1e-15)
        assert np.allclose(poses.log(R), w, atol=1e-15 + 1e-9 * angle)
    assert np.array_equal(poses.exp(np.zeros((1, 3)))[0], np.eye(3))


def test_angles_between_rotations(rng: np.random.Generator) -> None:
    A = poses.random_rotations(10, rng)
    w = rng.normal(size=(10, 3)) * 1e-7
    assert np.allclose(poses.angle_between(A, A @ poses.exp(w)), np.linalg.norm(w, axis=1), rtol=1e-6)


def test_random_rotations_are_uniform(rng: np.random.Generator) -> None:
    """The mean of every entry is 0 and of its square 1/3, within five standard errors."""
    A = poses.random_rotations(20000, rng)
    assert np.allclose(np.einsum("nij,nkj->nik", A, A), np.eye(3), atol=1e-12)
    assert np.abs(A.mean(0)).max() < 5 * (1 / 3 / 20000) ** 0.5
    assert np.abs((A**2).mean(0) - 1 / 3).max() < 5 * 0.3 / 20000**0.5
