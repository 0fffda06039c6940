"""Exhaustive search of poses at low resolution: all orientations of a grid, all shifts, as matrix products.

The log-likelihood of an image y under pose r and shift s is, but for a constant,
sum over points of w Re(conj(f_s) y conj(P_r)) - w |f|^2 |P_r|^2 / 2, f_s the image's CTF and phases and P_r the plain
slice of the map: one product of matrices for the first term, one for the second.  Slices are shared by all images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tomodiff.array import Array, namespace, to_numpy
from tomodiff.projectors.fourier_slice import FourierSlice
from tomodiff.projectors.slicer import Slicer
from tomodiff.recipes.cryoem.data import ParticleData

SCORES_BYTES = 512 << 20
"""Of the scores that are worked on at a time."""
TEMPLATE_BATCH = 2048


@dataclass(frozen=True, eq=False)
class Points:
    """The points of half transforms that a search looks at: 0 < |k| <= r, each pair k, -k once.

    kx, ky: (c,) whole frequencies; row, column: where they stand in a transform of `box` pixels.
    """

    box: int
    kx: np.ndarray
    ky: np.ndarray

    @classmethod
    def within(cls, box: int, r: float) -> Points:
        """All points up to radius r."""
        top = int(r)
        ky, kx = np.mgrid[-top : top + 1, 0 : top + 1]
        square = kx * kx + ky * ky
        kept = (square <= r * r) & (square > 0) & ~((kx == 0) & (ky < 0))
        return cls(box, kx[kept], ky[kept])

    def take(self, F: Array) -> Array:
        """(n, c) the points of transforms (n, b, b // 2 + 1) of any box b."""
        return namespace(F).ascontiguousarray(F[:, self.ky % F.shape[-2], self.kx])

    @property
    def shell(self) -> np.ndarray:
        """(c,) rounded radius."""
        return np.floor(np.hypot(self.kx, self.ky) + 0.5).astype(int)


def shift_grid(reach: float, step: float) -> np.ndarray:
    """(s, 2) shifts in a disc of radius `reach`, `step` apart, in angstrom; the nearest to zero first."""
    count = int(np.floor(reach / step + 1e-9))
    line = np.arange(-count, count + 1) * step
    y, x = np.meshgrid(line, line, indexing="ij")
    kept = np.hypot(x, y) <= reach + 1e-9
    made = np.stack([x[kept], y[kept]], 1)
    return made[np.argsort(np.hypot(*made.T), kind="stable")]


class Templates:
    """Plain slices of maps at every rotation of a grid, at the points of a search: (m, r, 2 c) and their powers."""

    def __init__(self, data: ParticleData, rotations: np.ndarray, points: Points, limit: float = 0.0) -> None:
        """limit: the largest frequency that the layout of the spectrum has to hold, if the points do not reach it."""
        self.data, self.rotations, self.points = data, rotations, points
        s = data.operator.spectrum
        small = 2 * (int(max(points.kx.max(), np.abs(points.ky).max(), limit)) + 2)
        pixel = data.operator.records.pixel[:1] * data.box / small  # the same steps of frequency in a smaller image
        self.model = FourierSlice(
            s.n, small, pixel, np.array([300.0]), kernel=s.taps.name, padding=s.padding, gridding=s.gridding,
            ctf="none", r_max=small / 2 - 1, voxel=data.operator.voxel, dtype=s.dtype,
        )  # fmt: skip

    def slices(self, volume: np.ndarray) -> Array:
        """(r, c) complex."""
        view = self.data.view
        spectrum = self.model.spectrum.forward(view.device(np.ascontiguousarray(volume, view.dtype)))
        parts = []
        for start in range(0, len(self.rotations), TEMPLATE_BATCH):
            records = plain_records(self.model, self.rotations[start : start + TEMPLATE_BATCH])
            images = self.model.slicer.images(spectrum, view.device(records.astype(view.dtype)))
            parts.append(self.points.take(images))
        return namespace(spectrum).concatenate(parts)


def plain_records(model: FourierSlice, rotation: np.ndarray) -> np.ndarray:
    """Records of slices without CTF, centred, at these rotations."""
    made = np.zeros((len(rotation), 48))
    stretch = float(model.records.stretch[0])
    made[:, :6] = stretch * rotation[:, :2].reshape(-1, 6)
    made[:, 37] = 1
    made[:, 42] = 1 / (model.box * float(model.records.pixel[0]))
    return made


def factors(data: ParticleData, values: dict[str, np.ndarray], index: np.ndarray, points: Points) -> Array:
    """(m, c) f of some particles: what multiplies the slice, at the points; CTF, envelope, aberrations, shift."""
    xp = namespace(data.view.device(np.zeros(1)))
    slicer = Slicer(data.operator.spectrum, data.box, float(np.hypot(points.kx, points.ky).max()), data.operator.ctf)
    ones = xp.ones(data.operator.spectrum.range.shape, slicer.complex)
    return points.take(slicer.images(ones, data.records(values, index)))


def as_reals(z: Array) -> Array:
    """Complex (..., c) as reals (..., 2 c)."""
    return z.view(z.real.dtype)


@dataclass(frozen=True, eq=False)
class Batch:
    """The likelihood of some images at all poses: `scores` = left @ templates', less `power` @ |templates|^2' / 2.

    left: (m, s, 2 c) weighted conj(f_s) y; power: (m, c) weighted |f|^2; number: which particles.
    """

    number: np.ndarray
    left: Array
    power: Array


def batches(
    data: ParticleData, values: dict[str, np.ndarray], index: np.ndarray, points: Points, shifts: np.ndarray,
    noise: np.ndarray, n_rotations: int,
) -> Iterator[Batch]:  # fmt: skip
    """The particles `index`, few enough at a time for their scores; shifts (s, 2) are added to those in `values`."""
    dtype = data.view.dtype
    item = np.dtype(dtype).itemsize
    size = int(max(1, SCORES_BYTES // (item * len(shifts) * n_rotations)))
    pixel = data.operator.records.pixel
    table = 2 / noise[:, np.minimum(points.shell, noise.shape[1] - 1)]
    for start in range(0, len(index), size):
        part = index[start : start + size]
        F = data.transforms(part)
        xp = namespace(F)
        y, f = points.take(F), factors(data, values, part, points)
        w = xp.asarray(table[data.particles.group[part]].astype(dtype))
        k = (points.kx[None] * shifts[:, :1] + points.ky[None] * shifts[:, 1:]) / (data.box * pixel[part[0]])
        ramp = xp.asarray(np.exp(-2j * np.pi * k).astype(data.slicer.complex))
        left = (w * f.conj() * y)[:, None] * ramp
        yield Batch(part, as_reals(xp.ascontiguousarray(left)), w * (f.real**2 + f.imag**2))


def likelihoods(batch: Batch, templates: Array, powers: Array) -> Array:
    """(m, s, r) log-likelihoods but for a constant of each image; templates (r, 2 c), powers (r, c)."""
    m, s, c = batch.left.shape
    scores = (batch.left.reshape(m * s, c) @ templates.T).reshape(m, s, -1)
    scores -= 0.5 * (batch.power @ powers.T)[:, None]
    return scores


def correlations(batch: Batch, templates: Array, powers: Array) -> Array:
    """(m, s, r) the best log-likelihood over the unknown scale of the map: score^2 / (2 norm), zero if negative."""
    xp = namespace(templates)
    m, s, c = batch.left.shape
    scores = xp.maximum((batch.left.reshape(m * s, c) @ templates.T).reshape(m, s, -1), 0)
    norm = batch.power @ powers.T
    scores *= scores
    scores /= 2 * xp.maximum(norm, 1e-30 * norm.max())[:, None]
    return scores


@dataclass(frozen=True, eq=False)
class Found:
    """The best poses of m particles: rotations (m, k) as indices into the grid, shifts (m, k, 2), scores (m, k)."""

    rotation: np.ndarray
    shift: np.ndarray
    score: np.ndarray


def search(
    data: ParticleData, volume: np.ndarray, values: dict[str, np.ndarray], index: np.ndarray, noise: np.ndarray,
    rotations: np.ndarray, shifts: np.ndarray, r: float, keep: int = 8, scale_free: bool = False,
    advance: object = None,
) -> Found:  # fmt: skip
    """The `keep` best rotations of each particle with their best shifts, by likelihood up to frequency r.

    scale_free: by correlation, for a map whose scale is not that of the data.
    """
    points = Points.within(data.box, r)
    made = Templates(data, rotations, points).slices(volume)
    powers = made.real**2 + made.imag**2
    templates = as_reals(made)
    measure = correlations if scale_free else likelihoods
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for batch in batches(data, values, index, points, shifts, noise, len(rotations)):
        scores = measure(batch, templates, powers)
        best_shift = scores.argmax(1)
        best = scores.max(1)
        top = (-best).argpartition(min(keep, best.shape[1] - 1), axis=1)[:, :keep]
        xp = namespace(best)
        score = xp.take_along_axis(best, top, 1)
        order = (-score).argsort(1)
        top = xp.take_along_axis(top, order, 1)
        chosen = xp.take_along_axis(best_shift, top, 1)
        rows.append((to_numpy(top), shifts[to_numpy(chosen)], to_numpy(xp.take_along_axis(score, order, 1))))
        if callable(advance):
            advance(len(batch.number))
    tops, moved, scored = (np.concatenate(part) for part in zip(*rows, strict=True))
    return Found(tops, moved, scored)
