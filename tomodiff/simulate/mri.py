"""Raw data of magnetic resonance: ellipses seen by coils around them, along spokes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tomodiff.files.kspace import KSpace
from tomodiff.projectors.mri.nufft import Nufft

FINER = 4
"""Pixels of the simulation for one of the image, along each axis."""
GOLDEN = np.pi * (3 - np.sqrt(5))
"""Angle between spokes that never repeat and are spread evenly whenever one stops."""

BODY = (
    (0.00, 0.00, 0.42, 0.34, 0.0, 0.55), (0.00, 0.00, 0.39, 0.31, 0.0, -0.20), (-0.06, -0.13, 0.13, 0.15, 0.2, -0.25),
    (-0.06, 0.16, 0.12, 0.10, -0.3, -0.22), (0.13, 0.02, 0.11, 0.09, 0.1, 0.60), (0.13, 0.02, 0.06, 0.05, 0.1, -0.25),
    (0.24, -0.12, 0.05, 0.07, 0.0, 0.35), (-0.25, 0.03, 0.03, 0.05, 0.4, 0.45), (-0.24, -0.09, 0.012, 0.012, 0.0, 0.4),
    (-0.24, -0.05, 0.008, 0.008, 0.0, 0.4), (-0.24, 0.11, 0.006, 0.016, 0.0, 0.4),
)  # fmt: skip
"""Ellipses of a chest, drawn by us: middle (y, x), half axes, turn, added signal; lengths in fields of view."""


@dataclass(frozen=True)
class Spokes:
    """A radial scan: pixels of the image along each axis, coils, spokes, images in time; noise: standard deviation in
    parts of the largest sample; delays: of the gradients along (y, x) in samples."""

    size: int = 128
    coils: int = 8
    spokes: int = 40
    frames: int = 1
    noise: float = 2e-4
    delays: tuple[float, float] = (0.0, 0.0)
    seed: int = 0


def spokes_of(size: int, count: int, first: int = 0) -> np.ndarray:
    """Points (sample, axis) in cycles per pixel on spokes through the middle, a golden angle apart."""
    angles = GOLDEN * (first + np.arange(count))
    along = (np.arange(size) - size // 2) / size
    return np.stack([np.outer(np.sin(angles), along).ravel(), np.outer(np.cos(angles), along).ravel()], axis=1)


def chest(size: int, beat: float = 0.0) -> np.ndarray:
    """The magnetisation (y, x), complex, of `size` pixels; beat: by how much the heart is wider."""
    y, x = np.mgrid[:size, :size]
    y, x = (y + 0.5) / size - 0.5, (x + 0.5) / size - 0.5
    made = np.zeros((size, size))
    for i, (cy, cx, b, a, turn, value) in enumerate(BODY):
        wider = 1 + beat if i in (4, 5) else 1.0
        along = np.cos(turn) * (x - cx) + np.sin(turn) * (y - cy)
        across = np.cos(turn) * (y - cy) - np.sin(turn) * (x - cx)
        made += value * ((along / (a * wider)) ** 2 + (across / (b * wider)) ** 2 < 1)
    return made * np.exp(1j * (0.6 + 1.5 * x - 0.8 * y * y))


def coil_fields(size: int, coils: int) -> np.ndarray:
    """Sensitivities (coil, y, x), complex: loops around the body, by the falling field of each."""
    y, x = np.mgrid[:size, :size]
    y, x = (y + 0.5) / size - 0.5, (x + 0.5) / size - 0.5
    made = np.empty((coils, size, size), np.complex128)
    for i in range(coils):
        angle = 2 * np.pi * i / coils
        dy, dx = y - 0.62 * np.sin(angle), x - 0.62 * np.cos(angle)
        away = dy * dy + dx * dx + 0.05
        made[i] = np.exp(1j * (angle + 0.8 * np.arctan2(dy * np.cos(angle) - dx * np.sin(angle), 0.6))) / away**1.25
    return made / np.abs(made).max()


def simulate_kspace(scan: Spokes) -> tuple[KSpace, np.ndarray]:
    """Raw data of a beating chest, and the true modulus (time, y, x), the mean over each pixel.

    Object and coils are sampled four times finer than the image, and their spectrum is summed there: no image of the
    size that is reconstructed takes part.
    """
    rng, n, fine = np.random.default_rng(scan.seed), scan.size, scan.size * FINER
    fields = coil_fields(fine, scan.coils)
    each = scan.spokes // scan.frames
    data, points, frame, truth = [], [], [], []
    # the fine pixel that counts as the middle lies before the middle of the image's middle pixel
    shift = 0.5 * (FINER - 1)
    for number in range(scan.frames):
        body = chest(fine, 0.25 * np.sin(np.pi * number / scan.frames) ** 2)
        ideal = spokes_of(n, each, number * each)
        moved = np.gradient(ideal.reshape(each, n, 2), axis=1).reshape(-1, 2)
        at = (ideal - np.array(scan.delays) * moved) / FINER
        spectrum = Nufft((fine, fine), at, (scan.coils,), 1e-6, "complex128")(fields * body)
        data.append(spectrum * np.exp(2j * np.pi * at.sum(axis=1) * shift) / FINER**2)
        points.append(ideal)
        frame.append(np.full(len(ideal), number))
        combined = body * np.sqrt((np.abs(fields) ** 2).sum(axis=0))
        truth.append(np.abs(combined.reshape(n, FINER, n, FINER).mean(axis=(1, 3))))
    values = np.concatenate(data, axis=1)
    sigma = scan.noise * np.abs(values).max() / np.sqrt(2)
    values = values + sigma * (rng.standard_normal(values.shape) + 1j * rng.standard_normal(values.shape))
    kspace = KSpace(
        values.astype(np.complex64),
        np.concatenate(points),
        (n, n),
        n,
        np.concatenate(frame) if scan.frames > 1 else None,
        (320.0 / n, 320.0 / n),
        meta={"source": "simulated", "trajectory": "radial"},
        history=("simulated by tomodiff.simulate.mri",),
    )
    return kspace, np.stack(truth)
