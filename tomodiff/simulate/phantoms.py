"""Test objects made of ellipsoids, in mm and 1/mm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tomodiff.errors import ConfigError
from tomodiff.geometry.rotation import about_y, about_z
from tomodiff.simulate.ellipsoids import Ellipsoids

# One row per ellipsoid of the head of Shepp & Logan (1974) as Kak & Slaney (1988, Table 3.1) extend it to three
# dimensions: semi-axes a b c, centre x y z (head radius 1 along y), rotation about z in degrees.
_HEAD = np.array(
    [
        [0.6900, 0.920, 0.810, 0.00, 0.0000, 0.00, 0.0],
        [0.6624, 0.874, 0.780, 0.00, -0.0184, 0.00, 0.0],
        [0.1100, 0.310, 0.220, 0.22, 0.0000, 0.00, -18.0],
        [0.1600, 0.410, 0.280, -0.22, 0.0000, 0.00, 18.0],
        [0.2100, 0.250, 0.410, 0.00, 0.3500, -0.15, 0.0],
        [0.0460, 0.046, 0.050, 0.00, 0.1000, 0.25, 0.0],
        [0.0460, 0.046, 0.050, 0.00, -0.1000, 0.25, 0.0],
        [0.0460, 0.023, 0.050, -0.08, -0.6050, 0.00, 0.0],
        [0.0230, 0.023, 0.020, 0.00, -0.6060, 0.00, 0.0],
        [0.0230, 0.046, 0.020, 0.06, -0.6050, 0.00, 0.0],
    ]
)
_CONTRASTS = {
    "modified": (1.0, -0.8, -0.2, -0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1),  # Toft (1996): visible on a screen
    "original": (2.0, -0.98, -0.02, -0.02, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01),
}


def ellipsoid(
    center: tuple[float, float, float],
    semi_axes: tuple[float, float, float],
    density: float,
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Ellipsoids:
    """One ellipsoid: centre and semi-axes (x, y, z) mm, attenuation 1/mm, `turn` = Euler angles z, y, z in radians."""
    return Ellipsoids(np.array([center]), np.array([semi_axes]), _euler(*turn)[None], np.array([density]))


def sphere(center: tuple[float, float, float], radius: float, density: float) -> Ellipsoids:
    """One ball of `radius` mm."""
    return ellipsoid(center, (radius, radius, radius), density)


def shepp_logan_3d(radius: float = 10.0, density: float = 0.02, contrast: str = "modified") -> Ellipsoids:
    """The head of Shepp & Logan in three dimensions; `radius` mm is its long half axis (y, 0.92 of it is bone).

    `density` 1/mm is the attenuation of value 1 of the table (0.02 is water at 70 keV); contrast "modified" or
    "original".
    """
    if contrast not in _CONTRASTS:
        raise ConfigError(f"contrast: expected one of {sorted(_CONTRASTS)}, got {contrast!r}")
    rotations = np.stack([_euler(np.deg2rad(row[6]), 0.0, 0.0) for row in _HEAD])
    head = Ellipsoids(_HEAD[:, 3:6], _HEAD[:, :3], rotations, np.array(_CONTRASTS[contrast]))
    return head.scaled(radius, density)


def rod(radius: float, half_height: float, density: float, x: float = 0.0, y: float = 0.0) -> Ellipsoids:
    """A tall ellipsoid along z: near its middle as good as a cylinder of `radius` mm."""
    return ellipsoid((x, y, 0.0), (radius, radius, half_height), density)


def bead_pack(
    rng: np.random.Generator,
    radius: float = 10.0,
    height: float = 10.0,
    beads: int = 60,
    bead_radius: tuple[float, float] = (0.6, 1.8),
    density: float = 0.05,
    spread: float = 0.5,
) -> Ellipsoids:
    """Balls that do not overlap, thrown at random into a cylinder of `radius` and `height` mm about the z axis.

    Radii are uniform in `bead_radius` mm, attenuations uniform in density * (1 -+ spread) 1/mm.  Fewer than `beads`
    balls come back where no more fit after 200 throws each.
    """
    centers, radii = _throw(rng, radius, height, beads, bead_radius)
    densities = density * (1 + spread * rng.uniform(-1, 1, len(radii)))
    return _balls(centers, radii, densities)


def foam(
    rng: np.random.Generator,
    radius: float = 10.0,
    height: float = 10.0,
    bubbles: int = 60,
    bubble_radius: tuple[float, float] = (0.5, 2.0),
    density: float = 0.03,
) -> Ellipsoids:
    """A tall solid body of `radius` mm with empty bubbles that do not overlap, in its middle `height` mm."""
    body = rod(radius, 6.0 * max(radius, height), density)
    centers, radii = _throw(rng, 0.9 * radius, height, bubbles, bubble_radius)
    return body + _balls(centers, radii, np.full(len(radii), -density))


def sample(rng: np.random.Generator, radius: float = 5.0, density: float = 0.08) -> Ellipsoids:
    """A specimen for demonstrations: a tooth-like body of `radius` mm with a bright shell, a canal, a crack, pores and
    grains, off the rotation axis and without symmetry."""
    r = radius
    parts = [
        ellipsoid((0.06 * r, -0.04 * r, 0.0), (0.80 * r, 0.62 * r, 0.95 * r), 1.5 * density, (0.4, 0.0, 0.0)),
        ellipsoid((0.06 * r, -0.04 * r, -0.05 * r), (0.70 * r, 0.53 * r, 0.88 * r), -0.5 * density, (0.4, 0.0, 0.0)),
        ellipsoid((0.15 * r, 0.02 * r, -0.1 * r), (0.13 * r, 0.20 * r, 0.70 * r), -density, (0.9, 0.12, 0.0)),
        ellipsoid((-0.28 * r, -0.10 * r, 0.1 * r), (0.008 * r, 0.22 * r, 0.35 * r), -density, (0.5, 0.2, 0.0)),
    ]
    centers, radii = _throw(rng, 0.42 * r, 1.1 * r, 30, (0.015 * r, 0.06 * r))
    inside_voids = np.zeros(len(radii), dtype=bool)
    for void in parts[2:]:
        local = (centers - void.centers[0]) @ void.rotations[0]
        inside_voids |= np.linalg.norm(local / (void.semi_axes[0] + 1.2 * radii[:, None]), axis=1) < 1
    centers, radii = centers[~inside_voids], radii[~inside_voids]
    filling = np.where(rng.random(len(radii)) < 0.5, -0.8, 1.5) * density
    body = parts[0]
    for part in parts[1:]:
        body = body + part
    return body + _balls(centers, radii, filling)


def _balls(centers: NDArray[np.float64], radii: NDArray[np.float64], densities: NDArray[np.float64]) -> Ellipsoids:
    n = len(radii)
    axes = np.broadcast_to(radii[:, None], (n, 3))
    return Ellipsoids(centers.reshape(n, 3), axes, np.broadcast_to(np.eye(3), (n, 3, 3)), densities)


def _throw(
    rng: np.random.Generator, radius: float, height: float, wanted: int, sizes: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres (n, 3) and radii (n,) of balls placed one after another where they touch nothing."""
    if not 0 < sizes[0] <= sizes[1] < radius:
        raise ConfigError(f"ball radii: expected 0 < smallest <= largest < {radius:g} mm, got {sizes}")
    centers, radii = np.empty((0, 3)), np.empty(0)
    for size in np.sort(rng.uniform(*sizes, wanted))[::-1]:
        for _ in range(200):
            angle, distance = rng.uniform(0, 2 * np.pi), (radius - size) * np.sqrt(rng.uniform())
            center = np.array([distance * np.cos(angle), distance * np.sin(angle), rng.uniform(-0.5, 0.5) * height])
            if (np.linalg.norm(centers - center, axis=1) > radii + size).all():
                centers, radii = np.vstack([centers, center]), np.append(radii, size)
                break
    return centers, radii


def _euler(first: float, second: float, third: float) -> NDArray[np.float64]:
    """Rotation about z by `first`, then about y by `second`, then about z by `third`, all about fixed axes."""
    return np.asarray(about_z(third) @ about_y(second) @ about_z(first))
