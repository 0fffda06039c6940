"""Particle images against those of RELION: the golden set's, and what its programs make of a phantom of our own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tests.conftest import Measured
from tests.cryoem_golden import relion
from tests.cryoem_toys import blobs
from tomodiff.files.cryoem import read_particles, write_particles
from tomodiff.geometry import poses
from tomodiff.particles import Optics, Particles, particles_of
from tomodiff.projectors.fourier_slice import FourierSlice

FOLDER = "data/cryoem/relion313-golden"
SAME = 1e-5
"""Relative difference of an image's transform below its Nyquist frequency (there RELION's programs do as the Fourier
transform of an even box happens to make them): files hold single precision, and angles to 1e-6 degrees."""
needs_relion = pytest.mark.skipif(shutil.which("relion_project") is None, reason="RELION is not installed")


def errors(particles: Particles, volume: np.ndarray, truth: np.ndarray, **options: object) -> np.ndarray:
    """Of each particle's image, with RELION's interpolation."""
    A = FourierSlice.of(particles, kernel="linear", gridding="radial", dtype="float64", **options)
    made = A(A.inputs(particles, volume.astype(np.float64)))
    n = particles.box
    there = np.fft.rfft2(np.fft.ifftshift(truth.astype(np.float64), (1, 2)))
    there *= np.hypot(*np.meshgrid(np.arange(n // 2 + 1), np.fft.fftfreq(n, 1 / n))) <= A.r_max
    return np.asarray(np.linalg.norm(made - there, axis=(1, 2)) / np.linalg.norm(there, axis=(1, 2)))


@pytest.mark.real
def test_golden_projections(shared: Callable[[str], Path], measured: Measured) -> None:
    """Shifts, astigmatism, a phase plate on some, two microscopes."""
    folder = shared(FOLDER)
    particles, volume = read_particles(folder / "proj_notilt.star"), mrcfile.read(folder / "vol70S_64.mrc")
    truth = particles.images[:]
    worst = errors(particles, volume, truth).max()
    measured("golden projections of RELION", "<= 1.5e-3", error=worst)
    assert worst < SAME
    wrong = {
        "shift": particles.replace(shift=-particles.shift),
        "rotation": particles.replace(rotation=np.swapaxes(particles.rotation, 1, 2)),
        "sense of the astigmatism": particles.replace(defocus=particles.defocus * np.array([1, 1, -1])),
        "phase plate": particles.replace(phase_shift=0 * particles.phase_shift),
    }
    for name, other in wrong.items():
        assert errors(other, volume, truth).max() > 1000 * SAME, name
    assert errors(particles, np.roll(volume[:, :, ::-1], 1, 2), truth).min() > 0.1  # voxel n // 2 stays


def phantom(n: int, pixel: float) -> np.ndarray:
    """A chain of blobs without symmetry, of either hand different."""
    return blobs(7, 60, 0.33 * n * pixel, (0.9 * pixel, 1.6 * pixel)).volume(n, pixel)


def views(n: int, count: int, pixel: float, rng: np.random.Generator) -> Particles:
    """Particles with everything that relion_project models; their images are of no use."""
    U = rng.uniform(8e3, 2e4, count)
    optics = tuple(Optics(kv, cs, w, pixel, f"opticsGroup{i}") for i, (kv, cs, w) in enumerate(MICROSCOPES, 1))
    return particles_of(
        np.zeros((count, n, n), np.float32), poses.random_rotations(count, rng), optics,
        rng.normal(0, 4, (count, 2)), np.stack([U, U - rng.uniform(0, 1500, count), rng.uniform(-1.5, 1.5, count)], 1),
        group=np.arange(count) % len(optics), phase_shift=np.where(np.arange(count) % 3, 0.0, 1.2),
        b_factor=rng.uniform(0, 40, count), scale=rng.uniform(0.8, 1.2, count), half=np.arange(count) % 2 + 1,
    )  # fmt: skip


MICROSCOPES = ((300.0, 2.7, 0.1), (200.0, 1.4, 0.07), (100.0, 2.0, 0.2))


@pytest.mark.relion
@needs_relion
@pytest.mark.parametrize(("n", "padding"), [(48, 2.0), (40, 1.0), (32, 3.0)])
def test_relion_projects_a_phantom_alike(n: int, padding: float, tmp_path: Path, rng: np.random.Generator) -> None:
    pixel = 2.8
    volume, particles = phantom(n, pixel), views(n, 12, pixel, rng)
    mrcfile.write(tmp_path / "map.mrc", volume, voxel_size=pixel)
    write_particles(tmp_path / "in.star", particles, stack=tmp_path / "in.mrcs")
    command = ["relion_project", "--i", "map.mrc", "--ang", "in.star", "--o", "out", "--ctf"]
    relion(tmp_path, *command, "--pad", int(padding), "--angpix", pixel)
    made = mrcfile.read(tmp_path / "out.mrcs")
    told = read_particles(tmp_path / "in.star")  # angles as the file rounds them
    assert errors(told, volume, made, padding=padding).max() < SAME
    assert errors(told, np.roll(volume[:, :, ::-1], 1, 2), made, padding=padding).min() > 0.1  # voxel n // 2 stays
