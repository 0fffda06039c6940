"""Rotations of space as 3 x 3 matrices R that act on column vectors (x, y, z): right-handed, det R = +1."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.geometry.checks import Array, refuse, vector

Matrix = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

ORTHONORMAL_TOLERANCE = 1e-6
"""Largest entry of R R' - 1 that passes for rounding, e.g. of a matrix read from a float32 file."""


def about_x(angle: float) -> Array:
    """Right-handed rotation about x: turns +y towards +z."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def about_y(angle: float) -> Array:
    """Right-handed rotation about y: turns +z towards +x."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def about_z(angle: float) -> Array:
    """Right-handed rotation about z: turns +x towards +y."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def from_rotvec(rotvec: object) -> Array:
    """The rotation by |rotvec| radians about the direction of `rotvec`, right-handed (Rodrigues 1840)."""
    w = np.array(vector("rotvec", rotvec))
    angle = float(np.linalg.norm(w))
    if angle == 0.0:
        return np.eye(3)
    x, y, z = w / angle
    k = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * k + 2.0 * np.sin(angle / 2) ** 2 * (k @ k)


def as_rotation(name: str, value: Any) -> Array:
    """A 3 x 3 rotation matrix from a nested sequence, an array or a `scipy.spatial.transform.Rotation`."""
    if hasattr(value, "as_matrix"):
        value = value.as_matrix()
    matrix = np.asarray(value)
    if matrix.shape != (3, 3) or matrix.dtype.kind not in "fiu" or not np.isfinite(matrix).all():
        raise refuse(name, "a 3 x 3 rotation matrix of finite numbers", value)
    matrix = matrix.astype(np.float64) + 0.0
    if np.abs(matrix @ matrix.T - np.eye(3)).max() > ORTHONORMAL_TOLERANCE or np.linalg.det(matrix) < 0:
        raise refuse(name, "a right-handed rotation (R R' = 1, det R = +1)", matrix.tolist())
    return matrix


def as_tuples(matrix: Array) -> Matrix:
    """The matrix as nested tuples of floats, which compare, hash and print by value."""
    a, b, c = ((float(r[0]), float(r[1]), float(r[2])) for r in matrix)
    return a, b, c
