"""Point groups of particles, in RELION's settings, and what they do to poses, directions and maps.

A map of symmetry G has V(S x) = V(x) for every S in G, so the poses A and A S show the same image. A group holds the
inverse of each of its members: as a set it does not depend on whether rotations are meant to turn frames or objects.
"""

from __future__ import annotations

import re

import numpy as np

from tomodiff.errors import ConfigError
from tomodiff.geometry.checks import Array
from tomodiff.geometry.poses import exp

PHI = (1 + 5**0.5) / 2
AXES: dict[str, tuple[tuple[int, tuple[float, float, float]], ...]] = {
    "T": ((3, (0, 0, 1)), (2, (0, 2**0.5, 1))),
    "O": ((3, (1, 1, 1)), (4, (0, 0, 1))),
    "I1": ((2, (1, 0, 0)), (5, (PHI, 0, -1)), (3, (PHI**2, 1, 0))),
    "I2": ((2, (0, 0, 1)), (5, (1, 0, PHI)), (3, (0, 1, PHI**2))),
    "I3": ((5, (0, 0, 1)), (2, (-1, 0, PHI))),
    "I4": ((5, (2, 0, 1)), (2, (1, 0, PHI))),
}
"""Generators: order and axis (RELION 3.1, src/symmetries.cpp, fill_symmetry_class), with the exact directions."""
MIRRORED = re.compile(r"(C\d+[VH]|D\d+[VH]|S\d+|CI|CS|T[DH]|OH|I\d?H)")
GENERIC = np.array([0.4837, 0.2719, 0.8320])
"""A direction on no symmetry axis: what is nearest to it, of all equivalents, is the representative."""


def point_group(name: str) -> Array:
    """(m, 3, 3) rotations of a point group, the identity first: Cn, Dn (twofold along x), T, O, I = I2, I1 to I4.

    Raises ConfigError for an unknown name, and for groups with mirrors, which no chiral molecule has.
    """
    wanted = name.strip().upper()
    if wanted == "I":
        wanted = "I2"
    cyclic = re.fullmatch(r"([CD])([1-9]\d{0,3})", wanted)
    if cyclic:
        turns = _about((0, 0, 1), int(cyclic[2]))
        return turns if cyclic[1] == "C" else np.concatenate([turns, turns @ np.diag([1.0, -1.0, -1.0])])
    if wanted in AXES:
        return _closure(np.concatenate([_about(axis, order) for order, axis in AXES[wanted]]))
    if MIRRORED.fullmatch(wanted):
        raise ConfigError(
            f"symmetry {name!r}: expected a group of rotations, found one with mirrors or inversions, which no "
            "molecule made of chiral parts has (C, D, T, O and I groups are possible)"
        )
    raise ConfigError(f"symmetry: expected C1, C2, ..., D2, D3, ..., T, O, I, I1, I2, I3 or I4, found {name!r}")


def equivalent(rotation: Array, group: Array) -> Array:
    """(n, m, 3, 3) all poses A S that show what the poses A (n, 3, 3) show; the first is A itself."""
    return np.asarray(rotation)[..., None, :, :] @ group


def nearest_equivalent(a: Array, b: Array, group: Array) -> Array:
    """(n, 3, 3) of all equivalents of each pose b, the one at the smallest angle from a."""
    candidates = equivalent(b, group)
    # The trace of a^T b grows as the angle between a and b falls.
    trace = np.einsum("...ij,...mij->...m", a, candidates)
    best = np.argmax(trace, -1)
    return np.take_along_axis(candidates, best[..., None, None, None], -3)[..., 0, :, :]


def asymmetric_unit(directions: Array, group: Array, margin: float = 0.0) -> Array:
    """Whether each direction (n, 3) is the representative of its equivalents; true for exactly one of each.

    The representatives are the directions nearer to a generic one than to any equivalent of it (Dirichlet's domain).
    With a margin in radians, directions no further than that from the domain are in as well, and perhaps a few more.
    """
    rounding = 1e-12
    angles = np.arccos(np.clip(np.asarray(directions) @ (group @ (GENERIC / np.linalg.norm(GENERIC))).T, -1, 1))
    return np.asarray(angles[..., 0] <= angles.min(-1) + 2 * margin + rounding)


def symmetrise_map(volume: Array, group: Array) -> Array:
    """The mean of a cubic map (z, y, x) over its rotations about voxel n // 2, by cubic splines; zero outside.

    For maps that are symmetric already, up to noise; to impose a symmetry in a reconstruction, insert every image in
    all its equivalent poses, which interpolates nothing.
    """
    from scipy import ndimage

    if volume.ndim != 3 or len(set(volume.shape)) != 1:
        raise ValueError(f"volume: expected a cubic map, found shape {volume.shape}")
    coefficients = ndimage.spline_filter(volume.astype(np.float64), order=3, mode="mirror")
    centre = np.full(3, volume.shape[0] // 2, np.float64)
    total = np.zeros(volume.shape)
    for turn in group:
        zyx = turn[::-1, ::-1]
        total += ndimage.affine_transform(coefficients, zyx, centre - zyx @ centre, order=3, prefilter=False)
    return np.asarray(total / len(group), volume.dtype)


def _about(axis: tuple[float, float, float], order: int) -> Array:
    """All rotations about an axis of this order, the identity first."""
    unit = np.asarray(axis, np.float64) / np.linalg.norm(axis)
    angles = 2 * np.pi / order * np.arange(order, dtype=np.float64)
    return exp(np.outer(angles, unit))


def _closure(generators: Array) -> Array:
    """All products of the generators, the identity first."""
    members = [np.eye(3)]
    k = 0
    while k < len(members):
        for g in generators:
            product = members[k] @ g
            if not any(np.abs(product - m).max() < 1e-6 for m in members):
                members.append(product)
        k += 1
    return np.stack(members)
