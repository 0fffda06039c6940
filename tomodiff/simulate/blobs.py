"""Mixtures of Gaussians in space, and a phantom macromolecule made of them, with symmetry, conformations and motion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from tomodiff.geometry import poses
from tomodiff.geometry.symmetry import point_group
from tomodiff.projectors.gaussians import slices_of_gaussians, volume_of_gaussians

WIDTH = 0.36
"""Sigma of a blob over the finest detail: of detail d, at frequency 1/d, exp(-2 pi^2 0.36^2) = 8 % is left."""
TAIL = 3.0
"""Sigmas beyond its middle to which a blob is said to reach."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """Gaussians: position (n, 3) angstrom x, y, z; amplitude (n,), the integral; sigma (n,) angstrom.

    part: (n,) the number of the part of the molecule that each belongs to.
    """

    position: np.ndarray
    amplitude: np.ndarray
    sigma: np.ndarray
    part: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.position)
        part = np.zeros(n, np.int64) if self.part is None else np.asarray(self.part)
        object.__setattr__(self, "part", part)
        shapes = {"position": (n, 3), "amplitude": (n,), "sigma": (n,), "part": (n,)}
        for name, shape in shapes.items():
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(f"{name}: expected shape {shape}, got {found}")

    def __len__(self) -> int:
        return len(self.position)

    def __add__(self, other: Mixture) -> Mixture:
        """Both in one place."""
        return Mixture(*(np.concatenate([getattr(self, f), getattr(other, f)]) for f in FIELDS))

    def __getitem__(self, which: np.ndarray | slice) -> Mixture:
        """Some of the Gaussians."""
        return Mixture(*(getattr(self, f)[which] for f in FIELDS))

    def moved(self, rotation: np.ndarray, shift: np.ndarray | float = 0.0) -> Mixture:
        """Every position p at R p + shift."""
        return replace(self, position=self.position @ np.asarray(rotation).T + shift)

    def without(self, part: int) -> Mixture:
        """The molecule that lacks a part."""
        return self[np.flatnonzero(self.part != part)]

    def copies(self, symmetry: str) -> Mixture:
        """The molecule and its images under the rotations of a point group (RELION's settings)."""
        group = point_group(symmetry)
        position = np.concatenate([self.position @ S.T for S in group])
        return Mixture(position, *(np.tile(getattr(self, f), len(group)) for f in FIELDS[1:]))

    @property
    def radius(self) -> float:
        """Angstrom from the origin to the farthest tail."""
        return float((np.linalg.norm(self.position, axis=1) + TAIL * self.sigma).max(initial=0.0))

    def slices(
        self, rotation: np.ndarray, box: int, pixel: float, magnification: np.ndarray | None = None
    ) -> np.ndarray:
        """(views, box, box // 2 + 1) exact transforms of projections; see `slices_of_gaussians`."""
        return slices_of_gaussians(self.position, self.amplitude, self.sigma, rotation, box, pixel, magnification)

    def volume(self, box: int, pixel: float, band_limited: bool = True) -> np.ndarray:
        """(box, box, box) density (z, y, x) times a voxel's volume; see `volume_of_gaussians`."""
        return volume_of_gaussians(self.position, self.amplitude, self.sigma, box, pixel, band_limited)


FEWEST = 12
"""Blobs of a molecule, so that every part has one."""
FIELDS = ("position", "amplitude", "sigma", "part")

BODY, HEAD, ARM, KNOB = range(4)
DOMAINS: tuple[tuple[tuple[float, float, float], tuple[float, float, float], float], ...] = (
    ((-0.16, -0.06, -0.05), (0.60, 0.40, 0.34), 0.56),
    ((0.52, 0.22, 0.26), (0.30, 0.26, 0.24), 0.22),
    ((0.02, -0.44, 0.42), (0.14, 0.18, 0.40), 0.13),
    ((-0.46, 0.40, -0.36), (0.20, 0.18, 0.18), 0.09),
)
"""Centre, half axes (of the molecule's radius) and share of the mass of body, head, arm and knob.  The four centres
span no plane and no two domains are alike: no rotation or mirror maps the molecule onto itself."""
HINGE, HINGE_AXIS = (0.26, 0.10, 0.12), (0.36, -0.80, 0.48)
"""Where the head is attached, and the axis about which it turns."""


def macromolecule(
    seed: int,
    radius: float = 60.0,
    detail: float = 7.5,
    *,
    count: int = 2000,
    symmetry: str = "C1",
    bend: float = 0.0,
    missing: int | None = None,
) -> Mixture:
    """A phantom of `count` blobs that reaches `radius` angstrom: a body, a head, an arm and a knob of coiled rods.

    detail: the finest detail, angstrom; sigmas are `WIDTH` times it, so with a pixel of detail / 2.5 they are 0.9
    pixels.  symmetry: copies of a smaller molecule about the axes of a point group.  bend: radians by which the head
    is turned about its hinge.  missing: a part (BODY, HEAD, ARM, KNOB) that is left out.  The same seed makes the same
    molecule in whatever conformation.  ValueError where the blobs are too wide for the radius, or too few.
    """
    sigma, group = WIDTH * detail, point_group(symmetry)
    reach = radius - TAIL * sigma
    if reach < 2 * sigma:
        raise ValueError(
            f"radius: expected at least {(TAIL + 2) * sigma:g} angstrom for detail={detail:g}, got {radius:g}"
        )
    if count < FEWEST * len(group):
        raise ValueError(f"count: expected at least {FEWEST} blobs for each of {len(group)} copies, got {count}")
    own = reach if len(group) == 1 else reach / (1 + len(group) ** (1 / 3)) * 1.4
    made = _straight(seed, own, sigma, count / len(group))
    if bend:
        made = bent(made, bend, own)
    if missing is not None:
        made = made.without(missing)
    if len(group) > 1:  # beside the axes
        place = np.array([0.76, 0.28, 0.59])
        made = made.moved(np.eye(3), (reach - own) * place / np.linalg.norm(place)).copies(symmetry)
        made = made.moved(np.eye(3) * min(1.0, reach / np.linalg.norm(made.position, axis=1).max()))
    return made


@lru_cache(maxsize=4)
def _straight(seed: int, radius: float, sigma: float, count: float) -> Mixture:
    """One copy at rest; kept, as each particle of a motion asks for it."""
    rng = np.random.default_rng(seed)
    parts = [_domain(i, radius, sigma, round(count * DOMAINS[i][2]), rng) for i in range(len(DOMAINS))]
    made = Mixture(*(np.concatenate([getattr(p, f) for p in parts]) for f in FIELDS))
    made = made.moved(np.eye(3), -np.average(made.position, axis=0, weights=made.amplitude))
    return made.moved(np.eye(3) * min(1.0, radius / np.linalg.norm(made.position, axis=1).max()))


def bent(molecule: Mixture, angle: float, radius: float, part: int = HEAD) -> Mixture:
    """The molecule with one part turned by `angle` radians about the hinge."""
    hinge, axis = radius * np.array(HINGE), np.array(HINGE_AXIS)
    turn = poses.exp(angle * axis / np.linalg.norm(axis))
    position, own = molecule.position.copy(), molecule.part == part
    position[own] = (position[own] - hinge) @ turn.T + hinge
    return replace(molecule, position=position)


def _domain(number: int, radius: float, sigma: float, count: int, rng: np.random.Generator) -> Mixture:
    """Right-handed coils in random directions, cut to an ellipsoid."""
    centre, half, _ = DOMAINS[number]
    semi = np.array(half) * radius
    found: list[np.ndarray] = [np.zeros((0, 3))]
    while sum(map(len, found)) < count:
        start = semi * rng.uniform(-1, 1, 3)
        turn = poses.random_rotations(1, rng)[0]
        coil = start + _coil(sigma, min(1.3 * sigma, 0.6 * semi.min()), 1.2 * semi.max()) @ turn.T
        found.append(coil[np.sum((coil / semi) ** 2, axis=1) <= 1])
    position = np.concatenate(found)[:count] + radius * np.array(centre)
    amplitude = rng.uniform(0.6, 1.4, len(position))
    return Mixture(position, amplitude, np.full(len(position), sigma), np.full(len(position), number))


def _coil(sigma: float, radius: float, length: float) -> np.ndarray:
    """(n, 3) beads on a right-handed helix along z."""
    z = np.arange(0, length, 0.45 * sigma) - length / 2
    turn = 2 * np.pi * z / (4.5 * sigma)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), z], 1)
