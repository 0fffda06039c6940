"""What is simulated from: maps and atoms, against direct sums, tables, RELION's projections and gemmi's densities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tomodiff.errors import ConfigError, DataError
from tomodiff.files.cryoem import read_map, read_particles
from tomodiff.geometry import poses
from tomodiff.simulate.atoms import (
    VOLT,
    box_needed,
    gaussians_of_atoms,
    potential_map,
    read_atoms,
)
from tomodiff.simulate.blobs import macromolecule
from tomodiff.simulate.contrast import contrast, frequencies
from tomodiff.simulate.density import DensityMap
from tomodiff.simulate.particles import Imaging

CLEAN = Imaging(snr=np.inf)
MODELS = "data/cryoem/volumes-models"


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


class TestDensityMap:
    def test_it_is_the_direct_sum(self, rng: np.random.Generator) -> None:
        """White noise, the hardest map there is: within 1e-5 of the sum over voxels, at every frequency of an image."""
        volume = rng.normal(size=(12, 12, 12))
        rotation = poses.random_rotations(3, rng)
        made = DensityMap(volume, 2.0).slices(rotation, 20, 2.0)
        u, v = np.meshgrid(np.fft.rfftfreq(20), np.fft.fftfreq(20))
        place = np.stack(np.meshgrid(*[np.arange(12) - 6] * 3, indexing="ij"), -1).reshape(-1, 3)[:, ::-1]
        for image, A in zip(made, rotation, strict=True):
            k = u[..., None] * A[0] + v[..., None] * A[1]
            wanted = np.exp(-2j * np.pi * (k.reshape(-1, 3) @ place.T)) @ volume.ravel()
            wanted = np.where(np.hypot(u, v) < 0.5, wanted.reshape(u.shape), 0)
            assert np.linalg.norm(image - wanted) <= 1e-5 * np.linalg.norm(wanted)

    def test_it_sees_what_the_gaussians_are(self, rng: np.random.Generator) -> None:
        """Magnified too.  Blobs of 1.4 pixels: 6e-5 of one is beyond the Nyquist frequency of the map."""
        molecule = macromolecule(1, 60.0, 12.0, count=200)
        density = DensityMap(molecule.volume(40, 3.0), 3.0)
        M = np.array([[1.01, 0.02], [0.01, 0.98]])
        rotation = poses.random_rotations(3, rng)
        made, wanted = (s.slices(rotation, 48, 3.0, M) for s in (density, molecule))
        assert np.linalg.norm(made - wanted) <= 1e-3 * np.linalg.norm(wanted)

    def test_boxes(self) -> None:
        volume = np.arange(64.0).reshape(4, 4, 4)
        density = DensityMap(volume, 2.0)
        assert density.volume(8, 2.0)[4, 4, 4] == density.volume(2, 2.0)[1, 1, 1] == volume[2, 2, 2]
        with pytest.raises(ValueError, match="expected a cube"):
            DensityMap(np.zeros((2, 3, 3)), 1.0)
        with pytest.raises(ValueError, match="pixel: expected the map's 2 angstrom"):
            density.volume(8, 3.0)

    @pytest.mark.real
    def test_relion_sees_the_same(self, shared: Callable[[str], Path]) -> None:
        """RELION 3.1's projections of a ribosome: two optics groups, astigmatism, phase plate, shifts.

        Its linear interpolation with padding 2 is off by 2.6 % (field notes), so correlations are above 0.9985;
        a wrong hand, sign of the shift, angle or contrast gives less than 0.9.
        """
        folder = shared("data/cryoem/relion313-golden")
        particles = read_particles(folder / "proj_notilt.star")
        volume, voxel, _ = read_map(folder / "vol70S_64.mrc")
        density = DensityMap(volume, voxel)
        kx, ky = frequencies(64, particles.pixel)
        for i in range(0, len(particles), 4):
            F = density.slices(particles.rotation[i : i + 1], 64, particles.pixel)[0]
            x, y = particles.shift[i]
            optics = particles.optics[particles.group[i]]
            F = F * contrast(64, optics, particles.defocus[i], phase_shift=float(particles.phase_shift[i]))
            F *= np.exp(2j * np.pi * (kx * x + ky * y))
            image = np.fft.fftshift(np.fft.irfft2(F, s=(64, 64)))
            assert correlation(image, particles.images[i : i + 1]) > 0.9985, i


PDB = """ATOM      1  N   GLY A   1    {x:8.3f}   2.000   3.000  1.00 20.00           N
ATOM      2  CA  GLY A   1       5.000   6.000   7.000  0.50 30.00           C
HETATM    3  O   HOH A   2       9.000   9.000   9.000  1.00 30.00           O
ATOM      4  H   GLY A   1       1.500   2.500   3.500  1.00 20.00           H
END
"""


class TestAtoms:
    def test_what_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "two.pdb"
        path.write_text(PDB.format(x=1.0))
        atoms = read_atoms(path)
        assert atoms.element.tolist() == ["N", "C", "H"]
        np.testing.assert_allclose(atoms.position[1], [5, 6, 7])
        assert atoms.occupancy.tolist() == [1.0, 0.5, 1.0] and atoms.b_factor.tolist() == [20, 30, 20]
        assert len(read_atoms(path, waters=True)) == 4 and len(read_atoms(path, hydrogens=False)) == 2

    def test_one_atom_is_its_five_gaussians(self, tmp_path: Path) -> None:
        """The transform of carbon is its scattering factor (Peng et al. 1996) times the B factor's envelope."""
        path = tmp_path / "one.pdb"
        path.write_text("ATOM      1  C   GLY A   1       1.000   2.000   3.000  1.00 10.00           C\nEND\n")
        carbon = gaussians_of_atoms(read_atoms(path))
        a, b = (0.0893, 0.2563, 0.7570, 1.0487, 0.3575), (0.2465, 1.7100, 6.4094, 18.6113, 50.2523)
        F = carbon.slices(np.eye(3)[None], 64, 0.5)[0]
        k = np.fft.rfftfreq(64, 0.5)
        wanted = VOLT * sum(p * np.exp(-q * k**2 / 4) for p, q in zip(a, b, strict=True)) * np.exp(-10 * k**2 / 4)
        np.testing.assert_allclose(F[0].real, wanted, rtol=1e-5)
        single = gaussians_of_atoms(read_atoms(path), scattering="single", resolution=4.0, b_factor=0.0)
        assert len(single) == 1 and single.amplitude.sum() == pytest.approx(carbon.amplitude.sum())
        at = single.slices(np.eye(3)[None], 64, 0.5)[0, 0, 8]
        assert abs(at) / single.amplitude[0] == pytest.approx(np.exp(-1), rel=2e-3)  # 8 / (64 * 0.5) = 1/4

    @pytest.mark.real
    def test_gemmi_makes_the_same_density(self, shared: Callable[[str], Path]) -> None:
        """Another program's potential of chignolin, on the same grid, in its own cell."""
        gemmi = pytest.importorskip("gemmi", reason="gemmi is not installed")
        path = shared(f"{MODELS}/1uao.pdb")
        atoms = read_atoms(path, model=0)
        structure = gemmi.read_structure(str(path))
        mixture = gaussians_of_atoms(atoms, b_factor=20.0)
        middle = mixture.position[0] - atoms.position[0]
        box, pixel = 48, 0.75
        structure.cell = gemmi.UnitCell(*[box * pixel] * 3, 90, 90, 90)
        structure.spacegroup_hm = "P 1"
        for chain in structure[0]:
            for residue in chain:
                for atom in residue:
                    atom.b_iso = 20.0
                    atom.pos = gemmi.Position(*(np.array(atom.pos.tolist()) + middle + box // 2 * pixel))
        calculator = gemmi.DensityCalculatorE()
        calculator.cutoff = 1e-7
        calculator.grid.set_unit_cell(structure.cell)
        calculator.grid.spacegroup = gemmi.SpaceGroup("P 1")
        calculator.grid.set_size(box, box, box)
        calculator.put_model_density_on_grid(structure[0])
        other = np.array(calculator.grid, copy=True).transpose(2, 1, 0) * VOLT * pixel**3
        own = mixture.volume(box, pixel, band_limited=False)
        assert np.abs(own - other).max() <= 1e-4 * own.max()

    def test_boxes(self, tmp_path: Path) -> None:
        path = tmp_path / "two.pdb"
        path.write_text(PDB.format(x=100.0))
        mixture = gaussians_of_atoms(read_atoms(path), scattering="single", resolution=5.0)
        needed = box_needed(mixture, 2.0)
        with pytest.raises(ConfigError, match=f"box: expected at least {needed} pixels of 2 angstrom"):
            potential_map(mixture, needed - 2, 2.0)
        volume = potential_map(mixture, needed, 2.0)
        assert volume.sum() == pytest.approx(mixture.amplitude.sum())

    def test_errors(self, tmp_path: Path) -> None:
        for name, text in {
            "none.pdb": "END\n",
            "a.cif": "",
            "b.cif": "hello",
            "c.xyz": "1\n",
            "d.pdb": "\0" * 99,
        }.items():
            (tmp_path / name).write_text(text)
            with pytest.raises(DataError, match=name):
                read_atoms(tmp_path / name)
        with pytest.raises(DataError, match="no such file"):
            read_atoms(tmp_path / "missing.pdb")
        path = tmp_path / "two.pdb"
        path.write_text(PDB.format(x=1.0))
        with pytest.raises(DataError, match=r"a model number 3 \(from 0\), found 1 models"):
            read_atoms(path, model=3)
        with pytest.raises(ValueError, match="scattering: expected one of peng, single"):
            gaussians_of_atoms(read_atoms(path), scattering="xray")
        with pytest.raises(ValueError, match="b_factor: expected a width above 0"):
            gaussians_of_atoms(read_atoms(path), scattering="single", b_factor=0.0)
        path.write_text(PDB.format(x=1.0).replace("           N\n", "           X\n"))
        with pytest.raises(DataError, match="a known element"):
            read_atoms(path)
