"""Particles of Gaussian blobs in closed form, made without any of the package's projectors: the truth of cryo-EM tests.

A blob's Fourier transform is known, so a slice needs no interpolation; the CTF is written out here once more, and acts
in a box twice as large, so that what it moves out of the image is lost as in a microscope.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tomodiff.geometry import poses
from tomodiff.particles import Optics, Particles, particles_of


@dataclass(frozen=True, eq=False)
class Blobs:
    """Gaussians at positions (m, 3) angstrom x, y, z, with integrals `mass` (m,) and widths `sigma` (m,) angstrom."""

    position: np.ndarray
    mass: np.ndarray
    sigma: np.ndarray

    def volume(self, n: int, pixel: float) -> np.ndarray:
        """(n, n, n) density integrated over a voxel (by its value in the middle)."""
        line = (np.arange(n) - n // 2) * pixel
        parts = []
        for axis in range(3):
            away = line - self.position[:, axis, None]
            spread = (
                np.exp(-(away**2) / (2 * self.sigma[:, None] ** 2)) * pixel / (self.sigma[:, None] * (2 * np.pi) ** 0.5)
            )
            parts.append(spread)
        return np.einsum("m,mz,my,mx->zyx", self.mass, parts[2], parts[1], parts[0], optimize=True).astype(np.float32)

    def slices(self, rotation: np.ndarray, n: int, pixel: float) -> np.ndarray:
        """(p, n, n // 2 + 1) transforms of the projections, origin in the centre pixel."""
        kx, ky = np.fft.rfftfreq(n, pixel), np.fft.fftfreq(n, pixel)
        widths, group = np.unique(np.round(self.sigma, 2), return_inverse=True)
        made = np.zeros((len(rotation), n, n // 2 + 1), complex)
        for i, A in enumerate(rotation):
            x, y, _ = (self.position @ A.T).T
            along = self.mass[:, None] * np.exp(-2j * np.pi * np.outer(x, kx))
            across = np.exp(-2j * np.pi * np.outer(y, ky))
            for g, width in enumerate(widths):
                envelope = np.exp(-2 * np.pi**2 * width**2 * (kx**2 + ky[:, None] ** 2))
                made[i] += envelope * (across[group == g].T @ along[group == g])
        return made


def blobs(seed: int, count: int = 300, radius: float = 75.0, sigma: tuple[float, float] = (3.5, 6.0)) -> Blobs:
    """An irregular chain of blobs without any symmetry."""
    rng = np.random.default_rng(seed)
    chain = [np.zeros(3)]
    while len(chain) < count:
        step = chain[rng.integers(max(0, len(chain) - 40), len(chain))] + rng.normal(0, 0.12 * radius, 3)
        if np.linalg.norm(step) < radius:
            chain.append(step)
    position = np.array(chain)
    return Blobs(position - position.mean(0), rng.uniform(0.5, 1.5, count), rng.uniform(*sigma, count))


def contrast(n: int, pixel: float, defocus: np.ndarray, optics: Optics) -> np.ndarray:
    """(n, n // 2 + 1) the CTF of RELION, from its formula (field convention: white protein)."""
    kx, ky = np.fft.rfftfreq(n, pixel), np.fft.fftfreq(n, pixel)[:, None]
    volts = 1e3 * optics.voltage
    lam = 12.2643247 / np.sqrt(volts * (1 + volts * 0.978466e-6))
    U, V, angle = defocus
    c, s, square = np.cos(angle), np.sin(angle), kx**2 + ky**2
    bend = (U * c * c + V * s * s) * kx**2 + 2 * (U - V) * s * c * kx * ky + (U * s * s + V * c * c) * ky**2
    gamma = -np.pi * lam * bend + np.pi / 2 * optics.cs * 1e7 * lam**3 * square**2
    tilt = optics.beam_tilt[0] * kx + optics.beam_tilt[1] * ky
    phase = np.exp(-2j * np.pi * 1e-3 * optics.cs * 1e7 * lam**2 * square * tilt)
    return np.asarray(-np.sin(gamma - np.arcsin(optics.amplitude_contrast)) * phase)


def particles(
    shape: Blobs, count: int, rng: np.random.Generator, *, box: int = 64, pixel: float = 3.5, snr: float = 0.1,
    shift: float = 3.0, optics: Optics | None = None, rotation: np.ndarray | None = None,
    defocus: tuple[float, float] = (8e3, 2e4),
) -> tuple[Particles, float]:  # fmt: skip
    """Particles in random poses, halves in turn, and the standard deviation of their noise.

    snr: variance of the signal after the CTF over the whole box, over that of the noise; shift: angstrom.
    """
    optics = optics or Optics(300.0, 2.7, 0.1, pixel)
    rotation = poses.random_rotations(count, rng) if rotation is None else rotation
    U = rng.uniform(*defocus, count)
    told = np.stack([U, U - rng.uniform(0, 400, count), rng.uniform(-1.5, 1.5, count)], 1)
    moved = rng.normal(0, shift, (count, 2)) if shift else np.zeros((count, 2))
    large, cut = 2 * box, slice(box // 2, box // 2 + box)
    kx, ky = np.fft.rfftfreq(large, pixel), np.fft.fftfreq(large, pixel)[:, None]
    images = np.empty((count, box, box), np.float32)
    for i in range(count):
        F = shape.slices(rotation[i : i + 1], large, pixel)[0] * contrast(large, pixel, told[i], optics)
        F = F * np.exp(2j * np.pi * (kx * moved[i, 0] + ky * moved[i, 1]))
        images[i] = np.fft.fftshift(np.fft.irfft2(F, s=(large, large)))[cut, cut]
    noise = float(np.sqrt(images.var(axis=(1, 2)).mean() / snr)) if np.isfinite(snr) else 0.0
    images += rng.normal(0, noise, images.shape).astype(np.float32) if noise else 0
    made = particles_of(images, rotation, optics, shift=moved, defocus=told, half=np.arange(count) % 2 + 1)
    return made, noise


def perturbed(truth: Particles, degrees: float, angstrom: float, rng: np.random.Generator) -> Particles:
    """The same particles, poses turned by `degrees` about random axes and moved by `angstrom` in random directions."""
    n = len(truth)
    axis = rng.normal(size=(n, 3))
    axis *= np.deg2rad(degrees) / np.linalg.norm(axis, axis=1)[:, None]
    phi = rng.uniform(0, 2 * np.pi, n)
    moved = truth.shift + angstrom * np.stack([np.cos(phi), np.sin(phi)], 1)
    return truth.replace(rotation=truth.rotation @ poses.exp(axis), shift=moved)


def errors(values: dict[str, np.ndarray], truth: Particles) -> tuple[np.ndarray, np.ndarray]:
    """Angle in degrees and distance in angstrom by which each particle is off."""
    angle = np.rad2deg(poses.angle_between(values["rotation"], truth.rotation))
    return angle, np.linalg.norm(values["shift"] - truth.shift, axis=1)


def ball(n: int, part: float = 0.8) -> np.ndarray:
    """A sphere of this part of the box, with an edge of four voxels."""
    line = np.arange(n) - n // 2
    r = np.sqrt(line[:, None, None] ** 2 + line[:, None] ** 2 + line**2)
    return np.clip((part * n / 2 - r) / 4 + 0.5, 0, 1).astype(np.float32)
