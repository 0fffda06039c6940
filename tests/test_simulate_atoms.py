"""Potentials of atoms: physical constants, X-ray tables, closed forms of one atom, and files that gemmi writes."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import constants

from tomodiff.errors import ConfigError, DataError
from tomodiff.simulate.atoms import VOLT, gaussians_of_atoms, potential_map, read_atoms
from tomodiff.simulate.particle_set import ParticleSet, write_set

gemmi = pytest.importorskip("gemmi", reason="gemmi is not installed")

CARBON = (0.0893, 0.2563, 0.7570, 1.0487, 0.3575), (0.2465, 1.7100, 6.4094, 18.6113, 50.2523)
"""a (angstrom) and b (angstrom^2) of Peng et al. 1996, table 1."""
ATOMS = (
    ("N", "N", (1.25, -2.5, 3.125), 20.0, 1.0),
    ("CA", "C", (5.0, 6.5, 7.75), 35.5, 0.5),
    ("FE", "Fe", (-4.5, 0.5, 2.0), 12.25, 1.0),
)


def structure_of(*atoms: tuple[str, str, tuple[float, float, float], float, float]) -> Any:
    """A model of one residue: name, element, position, B factor and occupancy of each atom."""
    model, chain, residue = gemmi.Model(1) if gemmi.__version__ >= "0.7" else gemmi.Model("1"), None, gemmi.Residue()
    residue.name, residue.seqid = "GLY", gemmi.SeqId("1")
    for name, element, position, b, occupancy in atoms:
        atom = gemmi.Atom()
        atom.name, atom.element, atom.pos = name, gemmi.Element(element), gemmi.Position(*position)
        atom.b_iso, atom.occ = b, occupancy
        residue.add_atom(atom)
    chain = gemmi.Chain("A")
    chain.add_residue(residue)
    model.add_chain(chain)
    made = gemmi.Structure()
    made.add_model(model)
    made.setup_entities()
    return made


def written(path: Path, *atoms: Any) -> Path:
    """A file of these atoms, in the format that its name tells."""
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    made = structure_of(*atoms)
    if plain.suffix == ".cif":
        made.make_mmcif_document().write_file(str(plain))
    else:
        made.write_pdb(str(plain))
    if plain != path:
        path.write_bytes(gzip.compress(plain.read_bytes()))
    return path


@pytest.mark.parametrize("name", ["m.pdb", "m.cif", "m.pdb.gz", "m.cif.gz"])
def test_both_formats_tell_the_same(name: str, tmp_path: Path) -> None:
    atoms = read_atoms(written(tmp_path / name, *ATOMS))
    assert atoms.element.tolist() == ["N", "C", "Fe"] and atoms.chain.tolist() == ["A"] * 3
    np.testing.assert_allclose(atoms.position, [a[2] for a in ATOMS], atol=1e-9)
    np.testing.assert_allclose(atoms.b_factor, [a[3] for a in ATOMS], atol=1e-6)
    np.testing.assert_allclose(atoms.occupancy, [a[4] for a in ATOMS], atol=1e-9)


def test_the_constant_is_that_of_physics() -> None:
    h, m, e = constants.h, constants.electron_mass, constants.e
    assert pytest.approx(1e20 * h**2 / (2 * np.pi * m * e), rel=1e-6) == VOLT


@pytest.mark.parametrize("element", ["H", "C", "N", "O", "P", "S", "Zn"])
def test_scattering_factors_follow_from_those_of_x_rays(element: str, tmp_path: Path) -> None:
    """Mott and Bethe: f_e = m e^2 / (2 pi h^2 eps0) (Z - f_x) / k^2 at frequency k, with f_x from another table.

    The first Born approximation (Peng 1999, Micron 30, 625).  That of hydrogen, whose table is of bonded atoms, is of
    the 1s orbital.  From 0.3 to 1.5 per angstrom, where Z - f_x is no small difference, the fits agree within 3 %.
    """
    name = written(tmp_path / "one.pdb", (element.upper(), element, (0.0, 0.0, 0.0), 0.0, 1.0))
    F = gaussians_of_atoms(read_atoms(name)).slices(np.eye(3)[None], 64, 0.25)[0, 0].real
    k = np.fft.rfftfreq(64, 0.25)
    shown = (k > 0.3) & (k < 1.5)
    known = gemmi.Element(element)
    if element == "H":
        x_rays = (1 + (np.pi * 1e10 * constants.value("Bohr radius") * k) ** 2) ** -2
    else:
        x_rays = np.array([known.it92.calculate_sf(stol2) for stol2 in (k / 2) ** 2])
    scale = constants.electron_mass * constants.e**2 / (2 * np.pi * constants.h**2 * constants.epsilon_0) * 1e-10
    wanted = scale * (known.atomic_number - x_rays[shown]) / k[shown] ** 2
    np.testing.assert_allclose(F[shown] / VOLT, wanted, rtol=0.03)


def test_the_radial_profile_of_an_atom(tmp_path: Path) -> None:
    """Sampled density: sum of VOLT a (4 pi / (b + B))^(3/2) exp(-4 pi^2 r^2 / (b + B)), times a voxel's volume."""
    B, box, pixel = 30.0, 24, 0.5
    mixture = gaussians_of_atoms(read_atoms(written(tmp_path / "one.cif", ("C", "C", (3.0, 4.0, 5.0), B, 1.0))))
    made = mixture.volume(box, pixel, band_limited=False)
    line = (np.arange(box) - box // 2) * pixel
    r2 = line[:, None, None] ** 2 + line[:, None] ** 2 + line**2
    wanted = sum(
        VOLT * a * (4 * np.pi / (b + B)) ** 1.5 * np.exp(-4 * np.pi**2 * r2 / (b + B))
        for a, b in zip(*CARBON, strict=True)
    )
    np.testing.assert_allclose(made, wanted * pixel**3, rtol=1e-4, atol=1e-5 * made.max())
    assert np.argmax(made) == np.ravel_multi_index((box // 2,) * 3, made.shape)


def test_the_integral_does_not_depend_on_pixel_blur_or_b(tmp_path: Path) -> None:
    total = VOLT * sum(CARBON[0])
    atoms = read_atoms(written(tmp_path / "one.pdb", ("C", "C", (0.0, 0.0, 0.0), 10.0, 1.0)))
    for pixel, blur, b in ((1.0, 0.0, None), (0.5, 3.0, None), (2.0, 6.0, 80.0)):
        volume = potential_map(gaussians_of_atoms(atoms, resolution=blur, b_factor=b), 32, pixel)
        assert volume.sum() == pytest.approx(total, rel=1e-6)


def test_b_factors_and_occupancies_are_of_each_atom(tmp_path: Path) -> None:
    """Two carbons, seen along the line between them: the transform is the sum of both."""
    path = written(tmp_path / "two.cif", ("C", "C", (0.0, 0.0, 0.0), 5.0, 1.0), ("CA", "C", (0.0, 0.0, 4.0), 90.0, 0.5))
    k = np.fft.rfftfreq(48, 0.5)
    F = gaussians_of_atoms(read_atoms(path)).slices(np.eye(3)[None], 48, 0.5)[0, 0]
    factor = VOLT * sum(a * np.exp(-b * k**2 / 4) for a, b in zip(*CARBON, strict=True))
    wanted = factor * (np.exp(-5 * k**2 / 4) + 0.5 * np.exp(-90 * k**2 / 4))
    np.testing.assert_allclose(F, wanted, atol=1e-6 * wanted[0])


def test_the_centre_is_that_of_scattering(tmp_path: Path) -> None:
    """Wherever the file has the molecule, its potential's first moment is at voxel box // 2; no rounding to voxels."""
    volumes = []
    for number, by in enumerate((0.0, 123.456)):
        moved = [(n, e, tuple(x + by for x in p), b, o) for n, e, p, b, o in ATOMS]
        mixture = gaussians_of_atoms(read_atoms(written(tmp_path / f"{number}.pdb", *moved)), resolution=4.0)
        volumes.append(potential_map(mixture, 40, 1.0))
    place = np.arange(40) - 20
    for axis in range(3):
        line = volumes[0].sum(tuple(a for a in range(3) if a != axis))
        assert abs((line * place).sum() / line.sum()) < 1e-3
    np.testing.assert_allclose(volumes[1], volumes[0], atol=2e-3 * volumes[0].max())  # .pdb tells 0.001 angstrom


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    one = ("C", "C", (0.0, 0.0, 0.0), 10.0, 1.0)
    no_table = read_atoms(written(tmp_path / "es.cif", ("ES", "Es", (0.0, 0.0, 0.0), 1.0, 1.0)))
    with pytest.raises(ConfigError, match="element Es: expected one with a tabulated scattering factor"):
        gaussians_of_atoms(no_table)
    for name, atoms, says in (
        ("x.cif", [one, ("X1", "X", (1.0, 0.0, 0.0), 1.0, 1.0)], "atom 2: expected a known element"),
        ("empty.cif", [], "atoms"),
        (
            "absent.pdb",
            [("C", "C", (0.0, 0.0, 0.0), 10.0, 0.0)],
            "model 0: expected atoms with coordinates, found none",
        ),
    ):
        with pytest.raises(DataError, match=says) as refusal:
            read_atoms(written(tmp_path / name, *atoms))
        assert str(tmp_path / name) in str(refusal.value)
    path = written(tmp_path / "b.pdb", one)
    for b, error, says in (
        ("   nan", DataError, "B factors: expected finite"),
        ("-99.00", ConfigError, "B -99 of atom"),
    ):
        path.write_text(path.read_text().replace(" 10.00", b).replace("   nan", b))
        with pytest.raises(error, match=rf"b\.pdb: .*{says}"):
            write_set(tmp_path / "p.star", ParticleSet(structure=path, particles=1, box=16, pixel=1.0))
    assert not list(tmp_path.glob("p*.*"))
