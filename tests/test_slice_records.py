"""Records of particles: RELION's wavelengths and beam tilts, polynomials, and what a file's optics become."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.reference import zernike
from tests.slice_problems import parameters as random_parameters
from tomodiff.geometry import poses
from tomodiff.particles import Optics, Particles, particles_of
from tomodiff.projectors.fourier_slice import FourierSlice, parameters
from tomodiff.projectors.phase_polynomials import EVEN_DEGREES, ODD_DEGREES, substitution, zernike_table
from tomodiff.projectors.records import EVEN, NAMES, ODD, RECORD, Records, wavelength


def records(n: int, **options: object) -> Records:
    kind = {"pixel": np.full(n, 1.5), "voltage": np.full(n, 300.0), "stretch": np.full(n, 2.0), "dose": np.zeros(n)}
    return Records(**{"box": 16, **kind, **options})  # type: ignore[arg-type]


def test_wavelengths() -> None:
    """Relativistic wavelengths of electrons (Reimer and Kohl 2008, table 2.1)."""
    assert wavelength(np.array([100.0, 200.0, 300.0])) == pytest.approx([0.03701, 0.02508, 0.01969], abs=1e-5)


def test_a_beam_tilt_is_the_zernike_coefficients_that_relion_makes_of_it(rng: np.random.Generator) -> None:
    """RELION, src/jaz/single_particle/ctf/tilt_helper.cpp: Z3 = -Cs 2e4 pi lambda^2 tilt / 3 goes to coefficient 3 or 4
    once, to 0 or 1 twice."""
    x = random_parameters(1, rng) | {"odd_zernike": np.zeros((1, 12))}
    told = records(1)(x)[0, ODD]
    third = -x["cs"][0] * 2e4 * np.pi * wavelength(np.array(300.0)) ** 2 * x["beam_tilt"][0] / 3
    coefficients = np.zeros((1, 12))
    coefficients[0, [1, 0]], coefficients[0, [4, 3]] = 2 * third, third
    made = records(1)(x | {"beam_tilt": np.zeros((1, 2)), "odd_zernike": coefficients})[0, ODD]
    assert np.allclose(told, made, rtol=1e-12, atol=1e-12 * np.abs(told).max())


@pytest.mark.parametrize(("parity", "degrees"), [("even", EVEN_DEGREES), ("odd", ODD_DEGREES)])
def test_polynomials_are_those_of_the_polar_form(
    parity: str, degrees: tuple[int, ...], rng: np.random.Generator
) -> None:
    u, v = rng.uniform(-0.7, 0.7, (2, 40))
    monomials = np.stack([u ** (d - j) * v**j for d in degrees for j in range(d + 1)])
    for i, row in enumerate(zernike_table(parity)):
        polar = zernike(parity, i, np.hypot(u, v), np.arctan2(v, u))
        assert np.allclose(row @ monomials, polar, rtol=0, atol=1e-12), i


@pytest.mark.parametrize("degree", range(1, 7))
def test_substitution_is_a_change_of_variables(degree: int, rng: np.random.Generator) -> None:
    M, p, (u, v) = rng.normal(size=(3, 2, 2)), rng.normal(size=degree + 1), rng.normal(size=(2, 20))
    T, slopes = substitution(M, degree)

    def value(q: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray(sum(c * x ** (degree - j) * y**j for j, c in enumerate(q)))

    for i in range(3):
        x, y = M[i] @ np.stack([u, v])
        assert np.allclose(value(T[i] @ p, u, v), value(p, x, y), rtol=1e-10, atol=1e-10)
    d, h = rng.normal(size=(3, 2, 2)), 1e-5
    numeric = (substitution(M + h * d, degree)[0] - substitution(M - h * d, degree)[0]) / (2 * h)
    assert np.allclose(np.einsum("nabij,nab->nij", slopes, d), numeric, rtol=1e-6, atol=1e-6 * np.abs(numeric).max())


@pytest.mark.parametrize("name", NAMES)
def test_pull_is_the_transpose_of_push(name: str, rng: np.random.Generator) -> None:
    for ewald, ctf in ((0, True), (1, True), (0, False)):
        R, x = records(4, ewald=ewald, ctf=ctf), random_parameters(4, rng)
        d, g = rng.normal(size=x[name].shape), rng.normal(size=(4, RECORD))
        pushed, pulled = R.push(x, {name: d}), R.pull(x, g, (name,))[name]
        size = np.linalg.norm(pushed) * np.linalg.norm(g) or 1.0
        assert abs((pushed * g).sum() - (d * pulled).sum()) <= 1e-13 * size
        assert ctf or not pushed[:, EVEN].any()


def two_groups(n: int, rng: np.random.Generator, **changes: object) -> Particles:
    near = Optics(300.0, 2.7, 0.1, 1.5, odd_zernike=(0.0, 1.0), beam_tilt=(0.3, -0.2))
    far = Optics(200.0, 1.4, 0.07, 1.5, "far", even_zernike=(0.2,), magnification=((1.01, 0.0), (0.002, 0.99)))
    made = particles_of(
        np.zeros((n, 16, 16), np.float32), poses.random_rotations(n, rng), (near, far), rng.normal(size=(n, 2)),
        rng.uniform(1e4, 2e4, (n, 3)), group=np.arange(n) % 2,
    )  # fmt: skip
    return made.replace(**changes)


def test_optics_groups_become_parameters_of_each_particle(rng: np.random.Generator) -> None:
    told = parameters(two_groups(3, rng))
    assert told["cs"].tolist() == [2.7, 1.4, 2.7] and told["amplitude_contrast"].tolist() == [0.1, 0.07, 0.1]
    assert told["beam_tilt"].tolist() == [[0.3, -0.2], [0.0, 0.0], [0.3, -0.2]]
    assert told["odd_zernike"][:, :3].tolist() == [[0, 1, 0], [0, 0, 0], [0, 1, 0]]
    assert told["even_zernike"][:, 0].tolist() == [0.0, 0.2, 0.0]
    assert told["magnification"][1].tolist() == [[1.01, 0.0], [0.002, 0.99]]
    assert {name: a.shape for name, a in told.items()} == {name: (3, *shape) for name, shape in NAMES.items()}
    many = Optics(300.0, 2.7, 0.1, 1.5, odd_zernike=(0.0,) * 13)
    with pytest.raises(ValueError, match="odd_zernike: expected at most 12 coefficients, found 13"):
        parameters(two_groups(3, rng, optics=(many, many)))


def test_the_contrast_is_what_the_file_calls_for(rng: np.random.Generator) -> None:
    particles = two_groups(2, rng)
    assert FourierSlice.of(particles).ctf == "ctf"
    assert FourierSlice.of(particles.replace(has_ctf=False)).ctf == "none"
    flipped = tuple(dataclasses.replace(o, phase_flipped=True) for o in particles.optics)
    assert FourierSlice.of(particles.replace(optics=flipped)).ctf == "phase-flipped"
    assert FourierSlice.of(particles, ctf="none").ctf == "none"
