"""Small rigid motions of cameras, about a place."""

from __future__ import annotations

import numpy as np

from tomodiff.geometry.poses import exp


def moved(pose: np.ndarray, twist: np.ndarray, about: np.ndarray) -> np.ndarray:
    """A pose (3, 4), camera to world, turned by twist[:3] (radians, in the world) about a place, then shifted by
    twist[3:]."""
    turn = exp(np.asarray(twist[:3], np.float64))
    return np.column_stack([turn @ pose[:, :3], turn @ (pose[:, 3] - about) + about + twist[3:]])


def twist_rows(
    origins: np.ndarray, directions: np.ndarray, d_origins: np.ndarray, d_directions: np.ndarray, about: np.ndarray
) -> np.ndarray:
    """How values change with the twist of `moved` (..., ray, 6), from their slopes in origins and directions
    (..., ray, 3) of rays (ray, 3)."""
    turning = np.cross(origins - about, d_origins) + np.cross(directions, d_directions)
    return np.concatenate([turning, d_origins], axis=-1)
