"""Poses of particles: RELION's Euler angles, rotation vectors, and small turns, for many particles at once.

A rotation A (n, 3, 3) maps the volume's frame to the image's: A = Rz(psi) Ry(tilt) Rz(rot) of frame (passive)
rotations, intrinsic ZYZ (RELION, src/euler.cpp, Euler_angles2matrix).
"""

from __future__ import annotations

import numpy as np

from tomodiff.geometry.checks import Array


def from_euler(rot: Array, tilt: Array, psi: Array) -> Array:
    """(n, 3, 3) rotations A of Euler angles in radians."""
    (ca, sa), (cb, sb), (cg, sg) = ((np.cos(a), np.sin(a)) for a in np.broadcast_arrays(rot, tilt, psi))
    rows = [
        [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
        [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
        [sb * ca, sb * sa, cb],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def to_euler(rotation: Array) -> Array:
    """(n, 3) rot, tilt, psi in radians, tilt in [0, pi]; rot is 0 at the poles (RELION, Euler_matrix2angles)."""
    A = np.asarray(rotation, np.float64)
    sin_tilt = np.hypot(A[..., 2, 0], A[..., 2, 1])
    regular = sin_tilt > 16 * np.finfo(np.float64).eps
    tilt = np.arctan2(sin_tilt, A[..., 2, 2])
    rot = np.where(regular, np.arctan2(A[..., 2, 1], A[..., 2, 0]), 0.0)
    # At a pole A = Rz(psi +- rot), seen from above or below.
    at_pole = np.where(
        A[..., 2, 2] > 0, np.arctan2(-A[..., 1, 0], A[..., 0, 0]), np.arctan2(A[..., 1, 0], -A[..., 0, 0])
    )
    psi = np.where(regular, np.arctan2(A[..., 1, 2], -A[..., 0, 2]), at_pole)
    return np.stack([rot, tilt, psi], -1)


def exp(turns: Array) -> Array:
    """(n, 3, 3) right-handed rotations by |w| radians about w (n, 3) (Rodrigues), exact at and near zero."""
    w = np.asarray(turns, np.float64)
    squared = np.sum(w * w, -1)[..., None, None]
    angle = np.sqrt(squared)
    first = np.sinc(angle / np.pi)
    second = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    k = cross_matrix(w)
    return np.eye(3) + first * k + second * (k @ k)


def log(rotation: Array) -> Array:
    """(n, 3) the rotation vector of each rotation, |w| in [0, pi]."""
    from scipy.spatial.transform import Rotation

    A = np.asarray(rotation, np.float64)
    return np.asarray(Rotation.from_matrix(A.reshape(-1, 3, 3)).as_rotvec()).reshape(*A.shape[:-2], 3)


def cross_matrix(w: Array) -> Array:
    """(n, 3, 3) K with K v = w x v."""
    x, y, z = w[..., 0], w[..., 1], w[..., 2]
    zero = np.zeros_like(x)
    return np.stack([np.stack([zero, -z, y], -1), np.stack([z, zero, -x], -1), np.stack([-y, x, zero], -1)], -2)


def angle_between(a: Array, b: Array) -> Array:
    """(n,) the angle of the rotation from a to b, radians; accurate for small angles."""
    return np.linalg.norm(log(np.swapaxes(a, -1, -2) @ b), axis=-1)


def random_rotations(n: int, rng: np.random.Generator) -> Array:
    """(n, 3, 3) uniform on SO(3)."""
    rot, psi = rng.uniform(-np.pi, np.pi, (2, n))
    return from_euler(rot, np.arccos(rng.uniform(-1, 1, n)), psi)
