"""Particle images against closed forms: Gaussians have exact transforms, and any volume a (slow) exact sum."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest

from tests.conftest import Measured
from tests.reference import dft, particle_slice
from tomodiff.files.cryoem import read_particles
from tomodiff.geometry import poses
from tomodiff.projectors.fourier_slice import FourierSlice
from tomodiff.projectors.records import NAMES

BOX, PIXEL = 32, 2.0
SMOOTH = 1e-3
"""What the wide kernel may miss, padded twice, where a volume keeps to the inner 60 % of its box along each axis: there
its transform, with the 4 taps' shape (beta = 10.2), is aliased by at most 5e-4 along each of the three axes."""
TRILINEAR = {"none": 5.9e-2, "radial": 2.57e-2, "separable": 2.56e-2}
"""What a prototype in C, apart from this package, missed of the exact projection of a ribosome: padded twice."""


class Blobs:
    """Gaussians at (m, 3) x, y, z angstrom, about as narrow as a voxel, so that every frequency holds something."""

    def __init__(self, rng: np.random.Generator, count: int = 12, sigma: float = 2.4, radius: float = 14.0) -> None:
        place = rng.normal(size=(count, 3))
        self.place = place * (radius * rng.random((count, 1)) ** (1 / 3) / np.linalg.norm(place, axis=1)[:, None])
        self.mass, self.sigma = rng.uniform(0.5, 1.5, count), sigma

    def transform(self, k: np.ndarray) -> np.ndarray:
        """At k (..., 3), 1/angstrom."""
        size = np.exp(-2 * np.pi**2 * self.sigma**2 * (k**2).sum(-1))
        return size * (np.exp(-2j * np.pi * (k @ self.place.T)) @ self.mass)

    def volume(self, n: int, voxel: float, dtype: str = "float64") -> np.ndarray:
        """(z, y, x) whose transform this is at the frequencies of the grid."""
        line = np.fft.fftfreq(n, voxel)
        k = np.stack(np.meshgrid(line, line, line, indexing="ij")[::-1], -1)
        return np.fft.fftshift(np.fft.ifftn(self.transform(k)).real).astype(dtype)


def plain(n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Particles in random poses, and nothing else that would change an image but a strong defocus."""
    x = {name: np.zeros((n, *shape)) for name, shape in NAMES.items()}
    x |= {
        "rotation": poses.random_rotations(n, rng),
        "scale": np.ones(n),
        "magnification": np.tile(np.eye(2), (n, 1, 1)),
    }
    return x | {
        "cs": np.full(n, 2.7),
        "defocus": np.tile([6e3, 6e3, 0.0], (n, 1)),
        "amplitude_contrast": np.full(n, 0.1),
    }


CHANGES: dict[str, list[Any]] = {
    "shift": [[5.0, -3.0], [0.0, 4.0]],
    "defocus": [[1.1e4, 7e3, 0.4], [-4e3, 3e3, -1.2]],
    "cs": [15.0, -8.0],
    "phase_shift": [1.2, -0.7],
    "amplitude_contrast": [0.3, 0.9],
    "b_factor": [60.0, -60.0],
    "scale": [0.5, -2.0],
    "beam_tilt": [[2.0, -1.0], [0.0, 3.0]],
    "odd_zernike": [[0, 0, 300, -200, 150, 100, 900, 0, 0, 500, 0, 800], [3, -2, 0, 0, 0, 0, 0, 900, 0, 0, 700, 0]],
    "even_zernike": [
        np.r_[0.3, 20, 5, -30, 90 * np.arange(-2, 3), np.zeros(7)],
        np.r_[np.zeros(9), 900 * np.arange(7)],
    ],
    "magnification": [[[1.05, 0.02], [-0.03, 0.96]], [[0.9, 0.0], [0.1, 1.1]]],
}
"""Two values of each parameter, large enough to change an image well beyond the error of interpolation."""


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def expected(transform: Callable[[np.ndarray], np.ndarray], A: FourierSlice, x: dict[str, np.ndarray]) -> np.ndarray:
    """The exact images of an operator's particles, where it models them."""
    r = A.records
    ctf = {0: "none", 1: "ctf", 2: "phase-flipped"}[A.slicer.ctf]
    images = [
        particle_slice(
            transform, {name: x[name][i] for name in NAMES}, A.box, r.pixel[i], r.voltage[i], r.dose[i], ctf, A.ewald
        )
        for i in range(len(r))
    ]
    index = np.hypot(*np.meshgrid(np.arange(A.box // 2 + 1), np.fft.fftfreq(A.box, 1 / A.box)))
    return np.stack(images) * (index <= A.r_max)


def operator(n: int = 2, **options: Any) -> FourierSlice:
    options = {"size": BOX, "box": BOX, "pixel": np.full(n, PIXEL), "voltage": np.full(n, 300.0)} | options
    return FourierSlice(**{"kernel": "kaiser-bessel", "dtype": "float64"} | options)


@pytest.mark.parametrize("name", CHANGES)
def test_every_parameter_acts_as_its_formula_says(name: str, rng: np.random.Generator) -> None:
    """And one that is left out, or has the other sign, is seen."""
    blobs, A, x = Blobs(rng), operator(), plain(2, rng)
    volume = blobs.volume(BOX, PIXEL)
    before = A({"volume": volume} | x)
    x[name] = np.array(CHANGES[name], np.float64)
    truth = expected(blobs.transform, A, x)
    assert error(A({"volume": volume} | x), truth) < SMOOTH
    for image, old in zip(truth, before, strict=True):
        assert error(old, image) > 30 * SMOOTH
    if name in ("shift", "beam_tilt", "odd_zernike", "even_zernike", "phase_shift", "b_factor"):
        assert error(A({"volume": volume} | x | {name: -x[name]}), truth) > 30 * SMOOTH


@pytest.mark.parametrize("ctf", ["none", "ctf", "phase-flipped"])
def test_dose_and_contrast(ctf: str, rng: np.random.Generator) -> None:
    blobs, x = Blobs(rng), plain(3, rng)
    A = operator(3, ctf=ctf, dose=np.array([0.0, 8.0, 40.0]), voltage=np.array([300.0, 200.0, 100.0]))
    truth = expected(blobs.transform, A, x)
    assert error(A({"volume": blobs.volume(BOX, PIXEL)} | x), truth) < SMOOTH
    assert (np.abs(truth[:, 0, 0]) > 0).all()  # the zero frequency, where the critical exposure has no limit


@pytest.mark.parametrize(("size", "voxel", "pixel"), [(33, 2.0, 2.0), (40, 1.7, 2.0), (30, 2.2, 2.6), (48, 2.0, 2.4)])
@pytest.mark.parametrize("padding", [1.5, 2.0])
def test_volumes_of_other_size_and_voxel(
    size: int, voxel: float, pixel: float, padding: float, rng: np.random.Generator
) -> None:
    """An image's transform is the volume's, whatever the pixels: no factor between them.  With less padding, aliasing
    is up to 2e-3 along an axis."""
    blobs, x = Blobs(rng, sigma=2.8), plain(2, rng)
    A = operator(size=size, voxel=voxel, pixel=np.array([pixel, 1.1 * pixel]), padding=padding)
    assert error(A({"volume": blobs.volume(size, voxel)} | x), expected(blobs.transform, A, x)) < 3.5 * SMOOTH


@pytest.mark.parametrize("side", [-1, 1])
def test_the_ewald_sphere_is_a_defocus_of_its_own_for_every_depth(side: int, rng: np.random.Generator) -> None:
    """The two sheets together image a point at depth z along the beam like a plane does with `side` z more defocus; a
    Gaussian besides loses exp(-2 pi^2 sigma^2 h^2) at height h = lambda k^2 / 2, DeRosier's sphere.  100 kV and
    exaggerated depths, so that the sheets part by more than the error."""
    n, depth = 2, np.array([25.0, -40.0])
    blobs, x = Blobs(rng, count=1), plain(n, rng)
    A, flat = (operator(n, size=96, ewald=e, voltage=np.full(n, 100.0)) for e in (side, 0))
    x["shift"], x["beam_tilt"] = np.array([[3.0, 1.0], [0.0, -2.0]]), np.array([[0.5, 0.2], [-0.4, 0.0]])
    for i in range(n):
        one = {name: a[i : i + 1] for name, a in x.items()}
        blobs.place = depth[i] * one["rotation"][0, 2:]
        curved = A[i : i + 1]({"volume": blobs.volume(96, PIXEL)} | one)
        told = one | {"defocus": one["defocus"] + side * depth[i] * np.array([1.0, 1.0, 0.0])}
        square = np.fft.rfftfreq(BOX, PIXEL) ** 2 + np.fft.fftfreq(BOX, PIXEL)[:, None] ** 2
        lam = 0.0370144  # angstrom at 100 kV
        fade = np.exp(-2 * np.pi**2 * blobs.sigma**2 * (lam * square / 2) ** 2)
        truth = expected(blobs.transform, flat[i : i + 1], told) * fade
        assert error(curved, truth) < SMOOTH
        assert error(curved, expected(blobs.transform, flat[i : i + 1], one)) > 10 * SMOOTH
        assert error(expected(blobs.transform, A[i : i + 1], one), truth) < 1e-4  # so does the formula itself


@pytest.mark.parametrize("side", [-1, 1])
def test_the_ewald_sphere_with_everything_else(side: int, rng: np.random.Generator) -> None:
    blobs, x = Blobs(rng), plain(2, rng) | {name: np.array(v, np.float64) for name, v in CHANGES.items()}
    A = operator(ewald=side, voltage=np.array([3.0, 8.0]), dose=np.array([3.0, 0.0]))
    truth = expected(blobs.transform, A, x)
    assert error(A({"volume": blobs.volume(BOX, PIXEL)} | x), truth) < SMOOTH
    flat = operator(voltage=np.array([3.0, 8.0]), dose=np.array([3.0, 0.0]))
    assert error(expected(blobs.transform, flat, x), truth) > 10 * SMOOTH


def test_a_projection_is_the_sum_along_the_beam(rng: np.random.Generator) -> None:
    """Through the identity pose: voxels summed along z, in place and with their hand; a shift moves by minus itself."""
    volume = Blobs(rng, sigma=3.2).volume(BOX, PIXEL)  # which holds nothing beyond r_max
    A = operator(1, ctf="none")
    x = plain(1, rng) | {"volume": volume, "rotation": np.eye(3)[None]}
    made = np.fft.fftshift(np.fft.irfft2(A(x)[0], (BOX, BOX)))
    assert error(made, volume.sum(0)) < SMOOTH
    moved = np.fft.fftshift(np.fft.irfft2(A(x | {"shift": np.array([[3 * PIXEL, -PIXEL]])})[0], (BOX, BOX)))
    assert error(moved, np.roll(made, (1, -3), (0, 1))) < 1e-12
    for other in (volume.sum(0)[::-1], volume.sum(0)[:, ::-1], volume.sum(0).T):
        assert error(made, other) > 0.3


def test_the_view_of_a_pose_is_its_third_row(rng: np.random.Generator) -> None:
    """Two quarter turns whose projections are sums along x and y, by the definition A (x, y, z)' = image frame."""
    volume = Blobs(rng, sigma=3.2).volume(BOX, PIXEL)[1:, 1:, 1:]  # odd, so that reversing an axis keeps the centre
    A = operator(2, size=BOX - 1, ctf="none")
    along_x, along_y = [[0, 1, 0], [0, 0, 1], [1, 0, 0]], [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    x = plain(2, rng) | {"volume": np.ascontiguousarray(volume), "rotation": np.array([along_x, along_y], np.float64)}
    images = np.fft.fftshift(np.fft.irfft2(A(x), (BOX, BOX)), (1, 2))[:, 1:, 1:]
    assert error(images[0], volume.sum(2)) < SMOOTH  # rows of the image are z, columns y
    assert error(images[1], volume.sum(1).T) < SMOOTH  # rows x, columns z


@pytest.mark.real
@pytest.mark.parametrize("kernel", ["linear", "kaiser-bessel"])
@pytest.mark.parametrize("gridding", ["separable", "radial", "none"])
def test_a_ribosome_against_the_exact_sum(
    shared: Callable[[str], Path], kernel: str, gridding: str, measured: Measured
) -> None:
    """64^3 voxels that fill their box, in the first pose of the golden set: linear interpolation misses what the
    prototype's does; the other kernel is far better, if the volume is corrected for it."""
    folder = shared("data/cryoem/relion313-golden")
    volume = mrcfile.read(folder / "vol70S_64.mrc").astype(np.float64)
    x = plain(1, np.random.default_rng(0)) | {"rotation": read_particles(folder / "proj_beamtilt.star").rotation[:1]}
    A = operator(1, size=64, box=64, pixel=np.full(1, 5.0), kernel=kernel, gridding=gridding, ctf="none", r_max=32.0)
    found = error(A({"volume": volume} | x), expected(dft(volume, 5.0), A, x))
    measured(f"slices against the exact sum, {kernel}, gridding {gridding}", "Kaiser-Bessel <= 1e-3", error=found)
    if kernel == "linear":
        assert found == pytest.approx(TRILINEAR[gridding], rel=1e-2)
    elif gridding == "none":
        assert found > 30 * SMOOTH
    else:  # the kernel is so close to a Gaussian that its correction hardly depends on the direction
        assert found < SMOOTH
