"""Atomic models (PDB, mmCIF) as mixtures of Gaussians: electrostatic potentials for simulation and fitting.

Scattering factors of electrons by neutral atoms are sums of five Gaussians (Peng, Ren, Dudarev and Whelan 1996, Acta
Cryst. A52, 257; International Tables C, 4.3.2.2), f(k) = sum a exp(-b k^2 / 4); a term has sigma^2 = b / (8 pi^2), and
its integral is the potential's: h^2 / (2 pi m e) a.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import ConfigError, DataError
from tomodiff.extras import library
from tomodiff.simulate.blobs import Mixture

NEEDED = "atomic models need"
VOLT = 47.87765
"""h^2 / (2 pi m e), volt square angstrom: from a scattering factor in angstrom to the integral of the potential."""
RESOLUTION_WIDTH = 0.225
"""Sigma over resolution: a Gaussian whose transform falls to 1/e at 1/resolution has 2^(1/2) / (2 pi) = 0.225."""
B_TO_SQUARE = 8 * np.pi**2
SCATTERING = ("peng", "single")
WATER = {"HOH", "DOD", "WAT"}


@dataclass(frozen=True, eq=False)
class Atoms:
    """Atoms of a model: position (n, 3) angstrom x, y, z; element (n,) symbols; b_factor (n,) angstrom^2, isotropic;
    occupancy (n,); chain (n,) names."""

    position: np.ndarray
    element: np.ndarray
    b_factor: np.ndarray
    occupancy: np.ndarray
    chain: np.ndarray

    def __len__(self) -> int:
        return len(self.position)

    def __getitem__(self, which: np.ndarray | slice) -> Atoms:
        """Some of the atoms."""
        return Atoms(*(getattr(self, f)[which] for f in ("position", "element", "b_factor", "occupancy", "chain")))


def read_atoms(path: Path | str, *, model: int = 0, hydrogens: bool = True, waters: bool = False) -> Atoms:
    """The atoms of a model in a PDB or mmCIF file (also .gz), alternative conformations by their occupancies.

    model: which one, from 0.  DataError for what is no coordinate file, has no such model or no atoms, and for atoms of
    unknown elements, positions or B factors that are not finite; ConfigError where gemmi is not installed.
    """
    path, structure = Path(path), _read(Path(path))
    if not 0 <= model < len(structure):
        raise DataError(path, "models", f"a model number {model} (from 0)", f"{len(structure)} models")
    rows = [
        (*atom.pos.tolist(), atom.element.name, atom.b_iso, atom.occ, chain.name)
        for chain in structure[model]
        for residue in chain
        if waters or residue.name not in WATER
        for atom in residue
        if atom.occ > 0 and (hydrogens or not atom.element.is_hydrogen)
    ]
    if not rows:
        raise DataError(path, f"model {model}", "atoms with coordinates", "none")
    x, y, z, element, b, occupancy, chain = zip(*rows, strict=True)
    atoms = Atoms(
        np.stack([x, y, z], 1).astype(np.float64), np.array(element), np.array(b, np.float64),
        np.array(occupancy, np.float64), np.array(chain),
    )  # fmt: skip
    unknown = np.flatnonzero(atoms.element == "X")
    if unknown.size:
        raise DataError(path, f"atom {unknown[0] + 1}", "a known element", "X", f"So have {unknown.size} atoms.")
    if not np.isfinite(atoms.position).all():
        raise DataError(path, "coordinates", "finite numbers", "NaN or infinite ones")
    if not np.isfinite(atoms.b_factor).all():
        raise DataError(path, "B factors", "finite numbers", "NaN or infinite ones")
    return atoms


def gaussians_of_atoms(
    atoms: Atoms, *, scattering: str = "peng", resolution: float = 0.0, b_factor: float | None = None
) -> Mixture:
    """The potential of atoms as Gaussians, centred on the scattering mass; integrals in volt cubic angstrom.

    scattering: "peng", five Gaussians for each atom; "single", one, with the integral of all five, narrow but for
    resolution and B: for models of which no detail of a bond's length matters.  resolution: angstrom, at which 1/e of
    the amplitude is left by blurring (0: none).  b_factor: angstrom^2 of all atoms, in place of their own.  Gaussians
    of the same atom stay together; `part` counts the chains.  ValueError where a Gaussian would have no width.
    """
    if scattering not in SCATTERING:
        raise ValueError(f"scattering: expected one of {', '.join(SCATTERING)}, got {scattering!r}")
    if not resolution >= 0:
        raise ValueError(f"resolution: expected a number of angstrom not below 0, got {resolution}")
    names, which = np.unique(atoms.element, return_inverse=True)
    a, b = (np.array(table) for table in zip(*map(_peng, names.tolist()), strict=True))
    if scattering == "single":
        a, b = a.sum(1, keepdims=True), np.zeros((len(a), 1))
    a, b = a[which], b[which]
    own = atoms.b_factor if b_factor is None else np.full(len(atoms), float(b_factor))
    square = (b + own[:, None]) / B_TO_SQUARE + (RESOLUTION_WIDTH * resolution) ** 2
    if not (square > 0).all():
        atom = int(np.argwhere(~(square > 0))[0, 0])
        raise ValueError(
            f"b_factor: expected a width above 0, got B {own[atom]:g} of atom {atom + 1}; give resolution= or b_factor="
        )
    amplitude = VOLT * a * atoms.occupancy[:, None]
    centre = np.average(atoms.position, axis=0, weights=np.maximum(amplitude.sum(1), 0) + 1e-12)
    terms = a.shape[1]
    position = np.repeat(atoms.position - centre, terms, axis=0)
    part = np.repeat(np.unique(atoms.chain, return_inverse=True)[1], terms)
    return Mixture(position, amplitude.ravel(), np.sqrt(square).ravel(), part)


def potential_map(mixture: Mixture, box: int, pixel: float) -> np.ndarray:
    """(box, box, box) z, y, x: the potential's integral over each voxel, band-limited, centre at voxel box // 2.

    ConfigError where the molecule does not fit: it names the box that it needs.
    """
    check_box(mixture, box, pixel)
    return mixture.volume(box, pixel)


def check_box(mixture: Mixture, box: int, pixel: float) -> None:
    """ConfigError where the Gaussians reach beyond the box: it names the size needed."""
    needed = box_needed(mixture, pixel)
    if box < needed:
        raise ConfigError(
            f"box: expected at least {needed} pixels of {pixel:g} angstrom for a molecule that reaches "
            f"{mixture.radius:.1f} angstrom from its centre, got {box}"
        )


def box_needed(mixture: Mixture, pixel: float) -> int:
    """The smallest even box that holds the Gaussians in every orientation, with their tails."""
    return 2 * ceil(mixture.radius / pixel + 0.5)


def _peng(element: str) -> tuple[list[float], list[float]]:
    """a (angstrom) and b (angstrom^2) of the five Gaussians."""
    coefficients = library("gemmi", "cryoem", NEEDED).Element(element).c4322
    if coefficients is None or not any(coefficients.a):
        raise ConfigError(f"element {element}: expected one with a tabulated scattering factor, found none")
    return list(coefficients.a), list(coefficients.b)


def _read(path: Path) -> Any:
    gemmi = library("gemmi", "cryoem", NEEDED)
    if not path.is_file():
        raise DataError(path, "", "a PDB or mmCIF file", "no such file")
    try:
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, IndexError, UnicodeDecodeError) as error:
        raise DataError(path, "", "a PDB or mmCIF file", " ".join(str(error).split())) from error
    if not len(structure):
        raise DataError(path, "", "a model with atoms", "a file without any")
    return structure
