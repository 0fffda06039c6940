"""Sets of particles as files, with their truth beside them."""

from __future__ import annotations

import shutil
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy.stats import kstest

from tests.cryoem_golden import relion
from tests.cryoem_toys import ball
from tomodiff.errors import ConfigError, DataError
from tomodiff.files.cryoem import read_map, read_particles
from tomodiff.geometry import poses
from tomodiff.simulate.blobs import Mixture
from tomodiff.simulate.particle_set import ParticleSet, write_set
from tomodiff.simulate.particles import Imaging, simulate_particles

CLEAN = Imaging(snr=np.inf)


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
            ({"pixel": np.inf}, "pixel: expected a size above 0"),
            ({"cs": np.nan}, "cs: expected a number"),
            ({"beam_tilt": (np.nan, 0.0)}, "beam_tilt: expected two numbers"),
            ({"voltage": np.inf}, "voltage: expected kilovolts"),
            ({"pose_error": 181.0}, "pose_error: expected degrees from 0 to 180"),
            ({"shift_error": np.inf}, "shift_error: expected"),
            ({"seed": -1}, "seed: expected a whole number"),
            ({"symmetry": "Q3"}, "symmetry: expected C1"),
            ({"structure": Path("a.txt")}, "expected a map or an atomic model"),
            ({"structure": Path("a.mrc"), "motion": True}, "phantom's"),
        ],
    )
    def test_errors(self, wrong: dict[str, object], says: str) -> None:
        with pytest.raises(ConfigError, match=says):
            ParticleSet(**wrong)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"box": 8, "symmetry": "I"}, "phantom: radius: expected at least"),
            ({"symmetry": "C400"}, "phantom: count: expected at least 12 blobs"),
            ({"imaging": Imaging(snr=1e-300)}, "images that 32 bits can hold"),
            ({"imaging": Imaging(b_factor=-1e6)}, "images that 32 bits can hold"),
        ],
    )
    def test_what_shows_only_when_it_is_made(self, wrong: dict[str, object], says: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=says):
            write_set(tmp_path / "p.star", ParticleSet(**{"particles": 2, "box": 16, **wrong}))  # type: ignore[arg-type]
        assert not list(tmp_path.iterdir())


class TestWhatIsDrawn:
    def test_the_ratio_of_variances_is_that_of_the_files(self, tmp_path: Path) -> None:
        """The same seed without noise tells the signal: var(signal, whole boxes) / var(noise), of what was written.

        60 images of 1024 pixels know a variance of white noise to 0.6 %; the bound is five times that.
        """
        what = ParticleSet(particles=60, box=32, pixel=4.0, imaging=Imaging(snr=0.1), seed=7)
        clean = ParticleSet(particles=60, box=32, pixel=4.0, imaging=CLEAN, seed=7)
        noisy, signal = (mrcfile.read(write_set(tmp_path / f"{i}.star", w)[1]) for i, w in enumerate((what, clean)))
        noise = (noisy - signal).astype(np.float64)
        assert signal.var(axis=(1, 2)).mean() / noise.var() == pytest.approx(0.1, rel=0.03)
        assert abs(noise.mean()) < 5 * noise.std() / np.sqrt(noise.size)
        power = (np.abs(np.fft.rfft2(noise)) ** 2).mean(0)[:, 1:16]  # each of 60 images: 13 % of standard error
        assert np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1] < 0.02
        assert power.max() < 2 * power.mean() and power.min() > 0.4 * power.mean()

    def test_seeds(self, tmp_path: Path) -> None:
        made = {}
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            (tmp_path / name).mkdir()
            files = write_set(tmp_path / name / "p.star", ParticleSet(particles=3, box=16, pixel=4.0, seed=seed))
            made[name] = [path.read_bytes() for path in files if path.suffix == ".star"]
            made[name] += [mrcfile.read(path).tobytes() for path in files if path.suffix != ".star"]
        assert made["a"] == made["b"]
        assert all(one != other for one, other in zip(made["a"], made["c"], strict=True))

    def test_distributions(self) -> None:
        """Directions and angles are uniform on the sphere and SO(3), shifts normal, defoci uniform: Kolmogorov and
        Smirnov would see so large a deviation once in a thousand draws; this draw is always the same."""
        blob = Mixture(np.zeros((1, 3)), np.ones(1), np.full(1, 6.0))
        imaging = Imaging((9e3, 1.5e4), 600.0, 2.5, np.inf)
        made, _ = simulate_particles(blob, 2000, 8, 4.0, np.random.default_rng(11), imaging=imaging)
        euler, U, V = poses.to_euler(made.rotation), made.defocus[:, 0], made.defocus[:, 1]
        angle = poses.angle_between(np.broadcast_to(np.eye(3), made.rotation.shape), made.rotation)
        for values, known in (
            (euler[:, 0] % (2 * np.pi) / (2 * np.pi), "uniform"),
            ((1 - np.cos(euler[:, 1])) / 2, "uniform"),
            (euler[:, 2] % (2 * np.pi) / (2 * np.pi), "uniform"),
            ((angle - np.sin(angle)) / np.pi, "uniform"),
            (made.shift.ravel() / 2.5, "norm"),
            (((U + V) / 2 - 9e3) / 6e3, "uniform"),
            ((U - V) / 600, "uniform"),
            (made.defocus[:, 2] / np.pi + 0.5, "uniform"),
        ):
            assert kstest(values, known).pvalue > 1e-3
        assert abs(np.corrcoef(made.shift.T)[0, 1]) < 0.08  # 3.5 standard errors


class TestMaps:
    def test_a_map_without_a_voxel_size_takes_the_given_one(self, tmp_path: Path) -> None:
        truth = write_set(tmp_path / "a.star", ParticleSet(particles=1, box=16, pixel=4.0))[-1]
        mrcfile.write(tmp_path / "bare.mrc", mrcfile.read(truth))
        files = write_set(
            tmp_path / "b.star", ParticleSet(structure=tmp_path / "bare.mrc", particles=2, box=16, pixel=2.0)
        )
        assert read_particles(files[0]).pixel == pytest.approx(2.0)
        np.testing.assert_array_equal(read_map(files[-1])[0], read_map(truth)[0])

    def test_maps_that_cannot_be_imaged(self, tmp_path: Path) -> None:
        for name, data, pixel, says in (
            ("flat", np.zeros((16, 16, 16)), (2.0,) * 3, "without any contrast"),
            ("brick", np.ones((16, 12, 16)), (2.0,) * 3, "expected a cube"),
            ("oblong", np.ones((16, 16, 16)), (2.0, 3.0, 2.0), "voxels that are cubes"),
            ("large", np.ones((36, 36, 36)), (2.0,) * 3, "box: expected at least 18"),
        ):
            path = tmp_path / f"{name}.mrc"
            with mrcfile.new(path, data.astype(np.float32)) as file:
                file.voxel_size = pixel
            with pytest.raises((ConfigError, DataError), match=says):
                write_set(tmp_path / "p.star", ParticleSet(structure=path, particles=2, box=16, pixel=2.0))
        assert not list(tmp_path.glob("p*"))


@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_reconstruct") is None, reason="RELION is not installed")
def test_relion_reads_the_files_and_finds_the_truth(tmp_path: Path) -> None:
    """Names, poses, shifts, CTF and contrast in RELION's own terms.  It finds the mirror image, or the map of inverted
    contrast, where one of them is wrong: those correlate with the truth by less than what is asked for here."""
    what = ParticleSet(particles=500, box=32, pixel=4.0, imaging=Imaging(snr=2.0), seed=4)
    write_set(tmp_path / "set.star", what)
    relion(tmp_path, "relion_reconstruct", "--i", "set.star", "--o", "theirs.mrc", "--ctf", "--angpix", what.pixel)
    made, truth = read_map(tmp_path / "theirs.mrc")[0], read_map(tmp_path / "set_truth.mrc")[0]
    within = ball(what.box, 0.8) > 0.5
    print(correlation(made[within], truth[within]), correlation(made[:, :, ::-1][within], truth[within]))
    assert correlation(made[within], truth[within]) > 0.9
    assert correlation(truth[:, :, ::-1][within], truth[within]) < 0.85
