"""Simulated particles are what their parameters say, by a formula of the tests' own; so is the shipped sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datasets.make_cryoem_sample import SAMPLE as SET
from tests.cryoem_toys import Blobs, contrast
from tests.kernel_folder import REPOSITORY
from tomodiff.files.cryoem import read_map, read_particles
from tomodiff.geometry import poses
from tomodiff.particles import Optics
from tomodiff.simulate.blobs import macromolecule
from tomodiff.simulate.particle_set import FILL, FINEST, write_set
from tomodiff.simulate.particles import Imaging, simulate_particles

SAMPLE = REPOSITORY / "datasets" / "cryoem_sample.star"


def test_images_are_slices_with_ctf_and_shift(rng: np.random.Generator) -> None:
    """Noiseless images against the tests' own closed form, in a box twice as large."""
    box, pixel = 32, 3.5
    molecule = macromolecule(1, 0.3 * box * pixel, 2.5 * pixel, count=200)
    optics = Optics(300.0, 2.7, 0.1, pixel, beam_tilt=(1.0, -2.0))
    made, _ = simulate_particles(molecule, 4, box, pixel, rng, optics=optics, imaging=Imaging(snr=np.inf))
    shape = Blobs(molecule.position, molecule.amplitude, molecule.sigma)
    kx, ky = np.fft.rfftfreq(2 * box, pixel), np.fft.fftfreq(2 * box, pixel)[:, None]
    for i in range(4):
        F = shape.slices(made.rotation[i : i + 1], 2 * box, pixel)[0] * contrast(
            2 * box, pixel, made.defocus[i], optics
        )
        F = F * np.exp(2j * np.pi * (kx * made.shift[i, 0] + ky * made.shift[i, 1]))
        image = np.fft.fftshift(np.fft.irfft2(F, s=(2 * box,) * 2))[box // 2 : -(box // 2), box // 2 : -(box // 2)]
        assert np.linalg.norm(image - made.images[i : i + 1][0]) < 5e-3 * np.linalg.norm(image)


def test_the_signal_to_noise_ratio_is_that_of_variances(rng: np.random.Generator) -> None:
    molecule = macromolecule(2, 30.0, 8.0, count=100)
    made, truth = simulate_particles(molecule, 50, 32, 3.5, rng, imaging=Imaging(snr=0.25))
    assert truth["signal"].mean() / truth["noise"] ** 2 == pytest.approx(0.25, rel=1e-6)
    assert made.images[:].var() == pytest.approx(1.25 * truth["noise"] ** 2, rel=0.05)


def test_the_shipped_sample_is_whole() -> None:
    told, true = read_particles(SAMPLE), read_particles(SAMPLE.with_name("cryoem_sample_truth.star"))
    truth, pixel, _ = read_map(Path(str(SAMPLE).replace(".star", "_truth.mrc")))
    assert len(told) == len(true) == 500 and told.box == 64 and truth.shape == (64, 64, 64)
    assert told.pixel == true.pixel == pytest.approx(pixel)
    assert np.rad2deg(np.median(poses.angle_between(told.rotation, true.rotation))) == pytest.approx(4.0, abs=0.1)
    assert np.isfinite(told.images[:]).all()


def test_the_shipped_truth_is_what_its_script_makes() -> None:
    shipped, _, _ = read_map(Path(str(SAMPLE).replace(".star", "_truth.mrc")))
    radius, detail = FILL * SET.box * SET.pixel / 2, FINEST * SET.pixel
    made = macromolecule(SET.seed, radius, detail).volume(SET.box, SET.pixel)
    np.testing.assert_allclose(shipped, made, atol=1e-6 * made.max())


@pytest.mark.slow
def test_the_shipped_particles_are_what_their_script_makes(tmp_path: Path) -> None:
    """Poses to the last digit of the text; images to their 16 bits."""
    write_set(tmp_path / "cryoem_sample.star", SET)
    for name in ("cryoem_sample.star", "cryoem_sample_truth.star"):
        made, shipped = read_particles(tmp_path / name), read_particles(SAMPLE.with_name(name))
        np.testing.assert_allclose(made.rotation, shipped.rotation, atol=1e-6)
        np.testing.assert_allclose(made.shift, shipped.shift, atol=1e-4)
        np.testing.assert_allclose(made.images[:], shipped.images[:], atol=2e-3 * shipped.images[:].std())
