"""Sets of particles as files, with their truth beside them."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tomodiff.errors import ConfigError
from tomodiff.files.cryoem import read_map, read_particles
from tomodiff.geometry import poses
from tomodiff.simulate.particle_set import ParticleSet, write_set
from tomodiff.simulate.particles import Imaging

CLEAN = Imaging(snr=np.inf)
MODELS = "data/cryoem/volumes-models"


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


PDB = """ATOM      1  N   GLY A   1    {x:8.3f}   2.000   3.000  1.00 20.00           N
ATOM      2  CA  GLY A   1       5.000   6.000   7.000  0.50 30.00           C
HETATM    3  O   HOH A   2       9.000   9.000   9.000  1.00 30.00           O
ATOM      4  H   GLY A   1       1.500   2.500   3.500  1.00 20.00           H
END
"""


class TestFiles:
    def test_a_set(self, tmp_path: Path) -> None:
        what = ParticleSet(
            particles=6, box=32, pixel=4.0, conformations=2, half=True, pose_error=4.0, shift_error=2.0, seed=3,
            imaging=Imaging(snr=1.0),
        )  # fmt: skip
        star, stack, truth, first, second = write_set(tmp_path / "set.star", what)
        told, true = read_particles(star), read_particles(truth)
        np.testing.assert_allclose(np.rad2deg(poses.angle_between(told.rotation, true.rotation)), 4.0, rtol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(told.shift - true.shift, axis=1), 2.0, rtol=1e-4)
        assert set(true.klass) <= {1, 2} and not told.klass.any()
        with mrcfile.mmap(stack) as file:
            assert file.header.mode == 12
        np.testing.assert_array_equal(told.images[:], true.images[:])
        assert set(told.half) == {1, 2}
        assert correlation(read_map(first)[0], read_map(second)[0]) < 0.98
        with pytest.raises(ConfigError, match=r"ends in \.star"):
            write_set(tmp_path / "set.mrc", what)

    def test_motion(self, tmp_path: Path) -> None:
        what = ParticleSet(particles=5, box=16, pixel=4.0, motion=True)
        files = write_set(tmp_path / "set.star", what)
        assert len(files) == 6
        latent = read_particles(files[2]).table.table["tomodiffLatent"].astype(float)
        assert latent.min() >= 0 and latent.max() <= 1 and len(set(latent)) == 5

    def test_a_map_and_a_model(self, tmp_path: Path) -> None:
        truth = write_set(tmp_path / "a.star", ParticleSet(particles=2, box=16, pixel=4.0))[-1]
        files = write_set(tmp_path / "b.star", ParticleSet(structure=truth, particles=3, box=20, pixel=4.0))
        np.testing.assert_allclose(read_map(files[-1])[0][2:18, 2:18, 2:18], read_map(truth)[0], atol=1e-6)
        with pytest.raises(ConfigError, match="pixel: expected 4 angstrom"):
            write_set(tmp_path / "c.star", ParticleSet(structure=truth, particles=3, box=16, pixel=3.0))
        model = tmp_path / "two.pdb"
        model.write_text(PDB.format(x=1.0))
        write_set(tmp_path / "d.star", ParticleSet(structure=model, particles=2, box=32, pixel=1.0, resolution=3.0))
        with pytest.raises(ConfigError, match="box: expected at least"):
            write_set(tmp_path / "d.star", ParticleSet(structure=model, particles=2, box=8, pixel=1.0, resolution=3.0))

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"box": 15}, "box: expected an even"),
            ({"particles": 0}, "particles: expected at least 1"),
            ({"conformations": 3}, "conformations: expected 1 or 2, found 3"),
            ({"conformations": 2, "motion": True}, "one of motion and two"),
            ({"symmetry": "Q3"}, "symmetry: expected C1"),
            ({"structure": Path("a.txt")}, "expected a map or an atomic model"),
            ({"structure": Path("a.mrc"), "motion": True}, "phantom's"),
        ],
    )
    def test_errors(self, wrong: dict[str, object], says: str) -> None:
        with pytest.raises(ConfigError, match=says):
            ParticleSet(**wrong)  # type: ignore[arg-type]
