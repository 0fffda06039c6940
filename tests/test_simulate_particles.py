"""Simulated particles: contrast, phantom, noise, states; against closed forms and the package's own operator."""

from __future__ import annotations

import numpy as np
import pytest

from tomodiff.geometry import poses
from tomodiff.geometry.symmetry import point_group
from tomodiff.particles import Optics
from tomodiff.projectors import fourier_slice
from tomodiff.simulate.blobs import HEAD, Mixture, macromolecule
from tomodiff.simulate.contrast import contrast, electron_wavelength, frequencies
from tomodiff.simulate.particles import Imaging, noiseless, perturbed, simulate_particles

CLEAN = Imaging(snr=np.inf)
MODELS = "data/cryoem/volumes-models"


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


class TestContrast:
    def test_known_numbers(self) -> None:
        """Wavelengths of 200 and 300 kV (Williams and Carter, table 1.2); +Q at k = 0: white protein."""
        assert electron_wavelength(300) == pytest.approx(0.0197, abs=5e-5)
        assert electron_wavelength(200) == pytest.approx(0.0251, abs=5e-5)
        made = contrast(16, Optics(300, 2.7, 0.07, 2.0), np.array([1e4, 1e4, 0.0]))
        assert made[0, 0] == pytest.approx(0.07)

    def test_zeros_of_pure_defocus(self) -> None:
        """Without Cs and amplitude contrast the zeros are where lambda U k^2 is a whole number."""
        lam, U = electron_wavelength(300), 1.2e4
        pixel = 64 and np.sqrt(lam * U / 4) * 8 / 64  # the second zero falls on frequency 8 / (64 pixel) squared...
        k = 8 / (64 * pixel)
        order = lam * U * k**2
        made = contrast(64, Optics(300, 0.0, 0.0, pixel), np.array([U, U, 0.3]))
        assert made[0, 8] == pytest.approx(np.sin(np.pi * order), abs=1e-12)
        assert made[8, 0] == pytest.approx(np.sin(np.pi * order), abs=1e-12)

    def test_astigmatism_is_along_its_angle(self) -> None:
        optics, angle = Optics(300, 0.0, 0.0, 3.0), 0.6
        lam = electron_wavelength(300)
        made = contrast(64, optics, np.array([2e4, 1e4, angle]))
        kx, ky = frequencies(64, 3.0)
        along = np.abs(np.arctan2(ky, kx) - angle) < 0.01
        k2 = (kx**2 + ky**2)[along]
        assert along.any()
        assert np.abs(made[along].real - np.sin(np.pi * lam * 2e4 * k2)).max() < 0.05

    def test_dose_and_b_factor(self) -> None:
        k = 5 / (32 * 2.0)
        args = (32, Optics(300, 2.7, 0.1, 2.0), np.array([1e4, 1e4, 0.0]))
        plain = contrast(*args)
        assert contrast(*args, b_factor=80.0)[0, 5] / plain[0, 5] == pytest.approx(np.exp(-80 / 4 * k**2))
        critical = 0.245 * k**-1.665 + 2.81
        assert contrast(*args, dose=critical)[0, 5] / plain[0, 5] == pytest.approx(np.exp(-0.5))
        assert contrast(*args, dose=critical)[0, 0] == plain[0, 0]
        assert contrast(*args, scale=0.7)[3, 4] == pytest.approx(0.7 * plain[3, 4])


class TestMolecule:
    def test_it_is_the_same_for_a_seed(self) -> None:
        a, b = macromolecule(3), macromolecule(3)
        np.testing.assert_array_equal(a.position, b.position)
        assert np.abs(a.position - macromolecule(4).position).max() > 5

    def test_it_is_made_in_the_smallest_box(self) -> None:
        """Rods are wider than the parts that they fill: they are narrowed, not looked for for ever."""
        assert len(macromolecule(0, 0.62 * 16 * 4.0 / 2, 10.0, count=60).position) == 60
        with pytest.raises(ValueError, match="count: expected at least 12 blobs for each of 24 copies, got 240"):
            macromolecule(0, 60.0, 9.0, count=240, symmetry="O")

    def test_it_has_a_hand_and_no_symmetry(self) -> None:
        """No rotation brings its mirror image, nor itself turned by more than 30 degrees, into place (524 tried)."""
        volume = macromolecule(1, 60.0, 15.0, count=400).volume(24, 8.0)
        here, rng = np.fft.rfftn(volume), np.random.default_rng(0)
        turns = np.concatenate([point_group("O"), poses.random_rotations(500, rng)])
        far = poses.angle_between(np.broadcast_to(np.eye(3), turns.shape), turns) > np.pi / 6
        shape = macromolecule(1, 60.0, 15.0, count=400)
        for mirror, tried in ((1.0, turns[far]), (-1.0, turns)):
            best = -1.0
            for R in tried:
                other = shape.moved(mirror * R).volume(24, 8.0)
                cross = np.fft.irfftn(
                    here * np.fft.rfftn(other).conj(), volume.shape, (0, 1, 2)
                )  # over all displacements
                best = max(best, float(cross.max() / (volume**2).sum()))
            assert best < 0.9, mirror

    @pytest.mark.parametrize("symmetry", ["C3", "D2", "T", "O", "I"])
    def test_symmetry(self, symmetry: str) -> None:
        group = point_group(symmetry)
        molecule = macromolecule(2, 60.0, 9.0, count=12 * len(group), symmetry=symmetry)
        k = poses.random_rotations(1, np.random.default_rng(1))
        image = molecule.slices(k, 24, 6.0)
        for S in group:
            np.testing.assert_allclose(molecule.slices(k @ S, 24, 6.0), image, atol=1e-9 * np.abs(image).max())
        assert molecule.radius <= 60.0

    def test_only_the_head_moves(self) -> None:
        straight, bent = macromolecule(1), macromolecule(1, bend=0.5)
        moved = np.linalg.norm(straight.position - bent.position, axis=1) > 1e-9
        np.testing.assert_array_equal(moved, straight.part == HEAD)
        a, b = straight.position[moved], bent.position[moved]
        np.testing.assert_allclose(np.linalg.norm(a - a[0], axis=1), np.linalg.norm(b - b[0], axis=1), atol=1e-9)
        lacking = macromolecule(1, missing=HEAD)
        np.testing.assert_array_equal(lacking.position, straight.position[~moved])

    def test_it_fits(self) -> None:
        assert macromolecule(5, 80.0, 6.0, bend=1.0).radius <= 80.0
        with pytest.raises(ValueError, match="radius: expected at least 18 angstrom"):
            macromolecule(1, 15.0, 10.0)
        with pytest.raises(ValueError, match=r"part: expected shape \(2,\)"):
            Mixture(np.zeros((2, 3)), np.ones(2), np.ones(2), np.zeros(3))


class TestParticles:
    def test_the_operator_sees_the_same(self, rng: np.random.Generator) -> None:
        """Two implementations of projection, contrast, aberrations, magnification, envelope, dose and shift.

        Images fade out well within their box, so that nothing is carried around: 1e-3, the accuracy of the operator's
        Kaiser-Bessel kernel and of the shells next to the Nyquist frequency, which it leaves out.
        """
        optics = (
            Optics(300, 2.7, 0.1, 3.0, beam_tilt=(1.0, -0.6), odd_zernike=(0, 0, 8.0, -5.0, 3.0, 2.0)),
            Optics(
                200, 1.4, 0.07, 3.0, even_zernike=(0.1, 2.0, -3.0, 1.0, 4.0), magnification=((1.01, 0.01), (0.0, 0.99))
            ),
        )
        molecule = macromolecule(1, 40.0, 12.0, count=200)
        imaging = Imaging((3e3, 6e3), 800.0, 3.0, np.inf, None, 60.0, 5.0, 40.0, 0.1)
        particles, _ = simulate_particles(molecule, 6, 64, 3.0, rng, optics=optics, imaging=imaging)
        A = fourier_slice.FourierSlice.of(particles, kernel="kaiser-bessel", dtype="float64")
        made = A(A.inputs(particles, molecule.volume(64, 3.0)))
        images = np.fft.fftshift(np.fft.irfft2(made, s=(64, 64)), axes=(1, 2))
        off = np.linalg.norm(images - particles.images, axis=(1, 2)) / np.linalg.norm(particles.images, axis=(1, 2))
        assert off.max() <= 1e-3

    def test_nothing_comes_in_on_the_other_side(self) -> None:
        """At a large defocus a particle's fringes leave the image: a box twice as large, cropped, shows the same."""
        molecule, rng = macromolecule(1, 60.0, 9.0, count=200), np.random.default_rng(5)
        imaging = Imaging((2e4, 2e4), 0.0, 0.0, np.inf)
        rotation = poses.random_rotations(2, rng)
        small, _ = simulate_particles(molecule, 2, 48, 3.0, rng, imaging=imaging, rotation=rotation)
        large, _ = simulate_particles(molecule, 2, 96, 3.0, rng, imaging=imaging, rotation=rotation)
        wrapped = np.fft.irfft2(
            molecule.slices(rotation, 48, 3.0) * contrast(48, small.optics[0], small.defocus[0]), s=(48, 48)
        )
        wrapped = np.fft.fftshift(wrapped, axes=(1, 2))
        cropped = large.images[:, 24:72, 24:72]
        scale = np.linalg.norm(cropped)
        off = np.linalg.norm(small.images - cropped) / scale
        assert off < 0.2 * np.linalg.norm(wrapped - cropped) / scale

    def test_signal_to_noise(self) -> None:
        """snr is var(signal) / var(noise); 8 % is three standard errors of a variance of 2048 pixels in 60 images."""
        molecule = macromolecule(1, 60.0, 12.0, count=100)
        args = (molecule, 60, 32, 5.0)
        noisy, truth = simulate_particles(*args, np.random.default_rng(2), imaging=Imaging(snr=0.2))
        clean, _ = simulate_particles(*args, np.random.default_rng(2), imaging=CLEAN)
        difference = noisy.images - clean.images
        assert difference.var() == pytest.approx(truth["noise"] ** 2, rel=0.03)
        assert clean.images.var(axis=(1, 2)).mean() / truth["noise"] ** 2 == pytest.approx(0.2, rel=1e-5)
        np.testing.assert_allclose(truth["signal"], clean.images.var(axis=(1, 2)), rtol=1e-4)

    def test_coloured_noise(self) -> None:
        molecule = macromolecule(1, 60.0, 12.0, count=100)
        spectrum = tuple(np.linspace(4.0, 1.0, 17))
        imaging = Imaging(snr=1e-6, noise_spectrum=spectrum)
        particles, truth = simulate_particles(molecule, 100, 32, 5.0, np.random.default_rng(3), imaging=imaging)
        assert particles.images.var() == pytest.approx(truth["noise"] ** 2, rel=0.03)
        power = (np.abs(np.fft.fft2(particles.images)) ** 2).mean(0)
        y = np.fft.fftfreq(32, 1 / 32)
        shell = np.rint(np.hypot(y[:, None], y)).astype(int)
        low, high = power[shell == 3].mean(), power[shell == 12].mean()
        assert low / high == pytest.approx(spectrum[3] / spectrum[12], rel=0.15)

    def test_classes_motion_halves_and_groups(self) -> None:
        rng = np.random.default_rng(1)
        two = [macromolecule(1, 40.0, 12.0, count=60, bend=b) for b in (0.0, 1.0)]
        optics = (Optics(300, 2.7, 0.1, 4.0), Optics(200, 1.4, 0.1, 4.0, name="other"))
        args = (200, 16, 4.0, rng)
        particles, truth = simulate_particles(two, *args, optics=optics, imaging=CLEAN, shares=(1, 3))
        assert (particles.klass == truth["klass"]).all() and set(truth["klass"]) == {1, 2}
        assert (particles.klass == 2).mean() == pytest.approx(0.75, abs=0.1)
        assert (np.bincount(particles.group) == 100).all()
        assert (np.bincount(particles.half * 2 + particles.group)[2:] == 50).all()
        first = int(np.flatnonzero(particles.klass == 2)[0])
        one, _ = simulate_particles(
            lambda t: two[round(t)], *args, imaging=CLEAN, optics=optics, latent=(truth["klass"] - 1).astype(float)
        )
        again = next(noiseless(two[1], particles[first : first + 1], np.ones(1, int), np.zeros(1)))
        np.testing.assert_allclose(particles.images[first], again, rtol=1e-5, atol=1e-5)
        assert one.klass.max() == 0

    def test_perturbed(self) -> None:
        rng = np.random.default_rng(4)
        molecule = macromolecule(1, 40.0, 12.0, count=60)
        particles, _ = simulate_particles(molecule, 30, 16, 4.0, rng, imaging=CLEAN)
        off = perturbed(particles, 5.0, 3.0, rng)
        np.testing.assert_allclose(np.rad2deg(poses.angle_between(particles.rotation, off.rotation)), 5.0)
        np.testing.assert_allclose(np.linalg.norm(particles.shift - off.shift, axis=1), 3.0)

    def test_errors(self) -> None:
        molecule, rng = macromolecule(1, 40.0, 12.0, count=60), np.random.default_rng(0)
        with pytest.raises(ValueError, match="even box"):
            simulate_particles(molecule, 2, 17, 4.0, rng)
        with pytest.raises(ValueError, match="expected a pixel of 4 angstrom, got 3"):
            simulate_particles(molecule, 2, 16, 4.0, rng, optics=Optics(300, 2.7, 0.1, 3.0))
        with pytest.raises(ValueError, match="not corrected for a CTF"):
            simulate_particles(molecule, 2, 16, 4.0, rng, optics=Optics(300, 2.7, 0.1, 4.0, premultiplied=True))
        with pytest.raises(ValueError, match=r"rotation: expected shape \(2, 3, 3\)"):
            simulate_particles(molecule, 2, 16, 4.0, rng, rotation=np.eye(3)[None])
        with pytest.raises(ValueError, match="shares: expected 2 weights"):
            simulate_particles([molecule] * 2, 2, 16, 4.0, rng, shares=(1,))
        for wrong in ({"snr": 0.0}, {"defocus": (2.0, 1.0)}, {"shift": -1.0}, {"noise_spectrum": (0.0,)}):
            with pytest.raises(ValueError, match=f"^{next(iter(wrong))}: expected"):
                Imaging(**wrong)  # type: ignore[arg-type]
