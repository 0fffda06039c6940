"""Simulated particles: exact projections through a microscope, with noise, and the truth about each.

Projections are closed forms of Gaussians or a nonuniform transform of a map, and the contrast is plain NumPy, in a box
twice as large as the images, so that what defocus carries out of an image is lost and does not come in again on the
other side.  No projector or kernel of the package takes part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tomodiff.geometry import poses
from tomodiff.particles import Optics, Particles, particles_of
from tomodiff.simulate.contrast import contrast, frequencies

LARGER = 2
"""Boxes in which images are formed, over those that are kept."""


class Source(Protocol):
    """What has central slices: a `Mixture` or a `DensityMap`."""

    def slices(
        self, rotation: np.ndarray, box: int, pixel: float, magnification: np.ndarray | None = None
    ) -> np.ndarray:
        """(views, box, box // 2 + 1) transforms of projections, origin at the image's centre."""


Sources = Source | Sequence[Source] | Callable[[float], Source]


@dataclass(frozen=True)
class Imaging:
    """How particles are imaged.

    defocus: the range in angstrom of the mean of U and V, uniform; None: no CTF, and white protein.  astigmatism: the
    largest U - V, angstrom.  shift: standard deviation of each coordinate, angstrom.  snr: variance of the signal after
    the CTF over the whole box, over that of the noise, both averaged over all images; infinite: no noise.
    noise_spectrum: the noise's relative power in each shell of an image's transform (the last one goes for those
    beyond); None: white.  b_factor, angstrom^2; dose, electrons per square angstrom; phase_shift of a phase plate,
    degrees; scale_spread: standard deviation of the particles' scales about 1.
    """

    defocus: tuple[float, float] | None = (8e3, 2.2e4)
    astigmatism: float = 400.0
    shift: float = 3.0
    snr: float = 0.1
    noise_spectrum: tuple[float, ...] | None = None
    b_factor: float = 0.0
    dose: float = 0.0
    phase_shift: float = 0.0
    scale_spread: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.defocus or (0.0, 0.0)
        if not -np.inf < low <= high < np.inf:
            raise ValueError(f"defocus: expected a range (low, high) in angstrom, got {self.defocus}")
        for name in ("astigmatism", "shift", "scale_spread", "dose"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name}: expected a finite number not below 0, got {getattr(self, name)}")
        for name in ("b_factor", "phase_shift"):
            if not np.isfinite(getattr(self, name)):
                raise ValueError(f"{name}: expected a finite number, got {getattr(self, name)}")
        if not self.snr > 0:
            raise ValueError(f"snr: expected a number above 0, got {self.snr}")
        spectrum = self.noise_spectrum
        if spectrum is not None and (not len(spectrum) or min(spectrum) < 0 or max(spectrum) == 0):
            raise ValueError("noise_spectrum: expected powers not below 0, not all of them 0")


def simulate_particles(
    source: Sources,
    n: int,
    box: int,
    pixel: float,
    rng: np.random.Generator,
    *,
    optics: Optics | tuple[Optics, ...] | None = None,
    imaging: Imaging | None = None,
    rotation: np.ndarray | None = None,
    shares: Sequence[float] | None = None,
    latent: np.ndarray | None = None,
) -> tuple[Particles, dict[str, Any]]:
    """`n` particles with their true poses, defoci and half sets (in turn), in memory; and what else is true.

    source: one structure; several (classes, in `shares`, equal by default); or a function of a latent variable t, drawn
    uniformly from 0 to 1 unless `latent` (n,) is given.  optics: whose groups take turns; 300 kV, 2.7 mm and 10 %
    amplitude contrast by default.  rotation: (n, 3, 3), uniform on SO(3) by default.  The truth is a dict of "noise"
    (its standard deviation), "signal" (n,) the variance of each image without noise, "klass" (n,) from 1 and "latent"
    (n,), zero where there is none.
    """
    imaging = imaging or Imaging()
    groups = _optics(optics, pixel)
    if n < 1 or box < 2 or box % 2:
        raise ValueError(f"n, box: expected at least one image of an even box, got {n} of {box}")
    rotation = poses.random_rotations(n, rng) if rotation is None else np.asarray(rotation, np.float64)
    if rotation.shape != (n, 3, 3):
        raise ValueError(f"rotation: expected shape {(n, 3, 3)}, got {rotation.shape}")
    klass, latent = _states(source, n, rng, shares, latent)
    values = _draw(n, imaging, rng) | {"group": np.arange(n) % len(groups), "half": np.arange(n) // len(groups) % 2 + 1}
    values["klass"] = klass if isinstance(source, Sequence) else np.zeros(n, np.int64)
    images = np.empty((n, box, box), np.float32)
    made = particles_of(images, rotation, groups, has_ctf=imaging.defocus is not None, **values)
    with np.errstate(over="ignore", invalid="ignore"):
        for i, image in enumerate(noiseless(source, made, klass, latent)):
            images[i] = image
        signal = images.var(axis=(1, 2), dtype=np.float64)
        if not signal.any():
            raise ValueError("source: expected a structure that is seen, got images without any contrast")
        noise = float(np.sqrt(signal.mean() / imaging.snr))
        if noise:
            for image in images:
                image += noise * _noise(box, imaging.noise_spectrum, rng)
    if not np.isfinite(images).all():
        raise ValueError("imaging: expected images that 32 bits can hold, got infinite ones; see snr and b_factor")
    return made, {"noise": noise, "signal": signal, "klass": values["klass"], "latent": latent}


def noiseless(source: Sources, particles: Particles, klass: np.ndarray, latent: np.ndarray) -> Iterator[np.ndarray]:
    """Each particle's image without noise, (box, box) float64: projected, through the CTF, moved by -shift, cropped."""
    box, large = particles.box, LARGER * particles.box
    cut = slice(large // 2 - box // 2, large // 2 - box // 2 + box)
    for i in range(len(particles)):
        optics = particles.optics[particles.group[i]]
        magnification = np.array(optics.magnification)
        state = source(float(latent[i])) if callable(source) else source
        structure = state[klass[i] - 1] if isinstance(state, Sequence) else state
        plain = None if np.array_equal(magnification, np.eye(2)) else magnification
        F = structure.slices(particles.rotation[i : i + 1], large, optics.pixel, plain)[0]
        if particles.has_ctf:
            own = {name: float(getattr(particles, name)[i]) for name in ("phase_shift", "b_factor", "scale", "dose")}
            F = F * contrast(large, optics, particles.defocus[i], **own)
        kx, ky = frequencies(large, optics.pixel)
        x, y = particles.shift[i]
        F = F * np.exp(2j * np.pi * (kx * x + ky * y))
        F[large // 2], F[:, large // 2] = 0, 0  # the Nyquist frequency cannot be moved by part of a pixel
        yield np.fft.fftshift(np.fft.irfft2(F, s=(large, large)))[cut, cut]


def perturbed(particles: Particles, degrees: float, angstrom: float, rng: np.random.Generator) -> Particles:
    """The particles with poses turned by exactly `degrees` about random axes, and moved by `angstrom` in random
    directions."""
    n = len(particles)
    axis = rng.normal(size=(n, 3))
    axis *= np.deg2rad(degrees) / np.linalg.norm(axis, axis=1)[:, None]
    angle = rng.uniform(0, 2 * np.pi, n)
    shift = particles.shift + angstrom * np.stack([np.cos(angle), np.sin(angle)], 1)
    return particles.replace(rotation=particles.rotation @ poses.exp(axis), shift=shift)


def _optics(optics: Optics | tuple[Optics, ...] | None, pixel: float) -> tuple[Optics, ...]:
    """The groups, checked."""
    if optics is None:
        return (Optics(300.0, 2.7, 0.1, pixel),)
    groups = optics if isinstance(optics, tuple) else (optics,)
    for o in groups:
        if o.pixel != pixel:
            raise ValueError(f"optics {o.name}: expected a pixel of {pixel:g} angstrom, got {o.pixel:g}")
        if o.premultiplied or o.phase_flipped:
            raise ValueError(
                f"optics {o.name}: images are simulated as a microscope takes them, not corrected for a CTF"
            )
    return groups


def _states(
    source: Sources, n: int, rng: np.random.Generator, shares: Sequence[float] | None, latent: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) class, from 1, and (n,) latent variable of each particle."""
    klass, none = np.ones(n, np.int64), np.zeros(n)
    if isinstance(source, Sequence):
        weight = np.ones(len(source)) if shares is None else np.asarray(shares, np.float64)
        if weight.shape != (len(source),) or not weight.sum() > 0 or weight.min() < 0:
            raise ValueError(f"shares: expected {len(source)} weights not below 0, got {shares}")
        return rng.choice(len(source), n, p=weight / weight.sum()) + 1, none
    if not callable(source):
        return klass, none
    latent = rng.uniform(0, 1, n) if latent is None else np.asarray(latent, np.float64)
    if latent.shape != (n,):
        raise ValueError(f"latent: expected shape {(n,)}, got {latent.shape}")
    return klass, latent


def _draw(n: int, imaging: Imaging, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Shifts and what the CTF has of each particle's own."""
    values = {"shift": rng.normal(0, 1, (n, 2)) * imaging.shift}
    low, high = imaging.defocus or (0.0, 0.0)
    middle, half = rng.uniform(low, high, n), rng.uniform(0, 1, n) * imaging.astigmatism / 2
    angle, scale = rng.uniform(-np.pi / 2, np.pi / 2, n), 1 + imaging.scale_spread * rng.normal(size=n)
    if imaging.defocus is not None:
        values |= {"defocus": np.stack([middle + half, middle - half, angle], 1), "scale": scale}
        same = {"b_factor": imaging.b_factor, "dose": imaging.dose, "phase_shift": np.deg2rad(imaging.phase_shift)}
        values |= {name: np.full(n, value) for name, value in same.items()}
    return values


def _noise(box: int, spectrum: tuple[float, ...] | None, rng: np.random.Generator) -> np.ndarray:
    """(box, box) noise of variance 1, white or with the given power in each shell."""
    white = rng.normal(0, 1, (box, box))
    if spectrum is None:
        return white
    y, x = np.fft.fftfreq(box, 1 / box)[:, None], np.fft.rfftfreq(box, 1 / box)
    power = np.array(spectrum)[np.minimum(np.rint(np.hypot(x, y)).astype(int), len(spectrum) - 1)]
    twice = np.where((x > 0) & (x < box // 2), 2.0, 1.0)
    mean = (twice * power).sum() / box**2
    return np.asarray(np.fft.irfft2(np.fft.rfft2(white) * np.sqrt(power / mean), s=(box, box)))
