"""Volumes from particle images by weighted back-projection in Fourier space, and their Wiener or MAP division.

Sums over images: data += w conj(f) F, weight += w |f|^2 (f: CTF, shift; w: inverse noise variance per shell); the
volume's transform is data / (weight + 1 / tau^2) (Scheres 2012, J. Struct. Biol. 180, 519, eqs. 2 and 3; RELION,
src/backprojector.cpp).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tomodiff.array import Array, namespace, to_numpy
from tomodiff.projectors.slicer import Slicer
from tomodiff.projectors.spectrum import Spectrum

FLOOR = 1e-3
"""Without a prior, weights are raised to this part of their mean at the same radius (RELION)."""

SLAB = 1 << 17
"""Entries of a spectrum that are gone through at a time, so that they stay in the cache."""


class BackProjection:
    """The sums over images that a volume is made from; add batches in any number, then `volume`.

    group: (m, 3, 3) rotations of a point group, by default the identity alone: every image is inserted in all its
    equivalent poses.
    """

    def __init__(self, slicer: Slicer, group: np.ndarray | None = None, xp: Any = np) -> None:
        self.slicer, self.group = slicer, np.eye(3)[None] if group is None else group
        self.sums = xp.zeros((*slicer.spectrum.range.shape, 4), slicer.dtype)
        self.count = 0

    def add(self, images: Array, records: Array, groups: Array | None = None, weights: Array | None = None) -> None:
        """Insert transforms of images (n, box, box // 2 + 1) with their records (n, 48).

        weights: (groups, shells), groups: (n,) row of each image; None for ones.
        """
        xp = namespace(images)
        for S in self.group:
            turned = records
            if not (np.eye(3) == S).all():
                turned = records.copy()
                axes = records[:, :9].reshape(-1, 3, 3)
                turned[:, :9] = (axes @ xp.asarray(S, records.dtype)).reshape(-1, 9)
            self.slicer.insert(self.sums, images, turned, groups, weights)
        self.count += len(records)

    def folded(self) -> Folded:
        """Data and weights of the half transform, each pair k, -k added up."""
        sums, s = self.sums, self.slicer.spectrum
        made = namespace(sums).empty(s.range.shape, s.range.dtype)
        made.real, made.imag = sums[..., 0], sums[..., 1]
        return Folded(s, s.folded(made, made), s.folded(sums[..., 2]))

    def volume(self, inverse_tau2: Array | None = None) -> Array:
        """The volume (n, n, n); see `Folded.volume`."""
        return self.folded().volume(inverse_tau2)

    def mean_weight(self) -> np.ndarray:
        """(n // 2 + 1,) mean weight in each shell of the volume's own transform."""
        return self.folded().mean_weight()

    def __iadd__(self, other: BackProjection) -> BackProjection:
        self.sums += other.sums
        self.count += other.count
        return self


@dataclass(frozen=True, eq=False)
class Folded:
    """Sums over images as functions of the half transform, with the layout of a spectrum: data complex, weight real."""

    spectrum: Spectrum
    data: Array
    weight: Array

    def __add__(self, other: Folded) -> Folded:
        return Folded(self.spectrum, self.data + other.data, self.weight + other.weight)

    def mean_weight(self) -> np.ndarray:
        """(n // 2 + 1,) mean weight in each shell of the volume's own transform."""
        return shell_means(self.weight, self.spectrum)

    def volume(self, inverse_tau2: Array | None = None) -> Array:
        """The volume (n, n, n).  inverse_tau2: (shells,) by radius in steps of the volume's own transform, the inverse
        power of the signal in the units of the weights; None floors the weights instead."""
        return divided(self.spectrum, self.data, self.weight, inverse_tau2)


def divided(spectrum: Spectrum, data: Array, weight: Array, inverse_tau2: Array | None = None) -> Array:
    """The volume of data / weight, regularised."""
    xp, fine = namespace(weight), inverse_tau2 is None
    table = FLOOR * shell_means(weight, spectrum, fine) if inverse_tau2 is None else inverse_tau2
    combine = xp.maximum if fine else xp.add
    made = xp.empty(spectrum.range.shape, spectrum.range.dtype)
    for planes, own in by_shell(spectrum, xp.asarray(table, weight.dtype), fine):
        total = combine(weight[planes], own)
        there = total > 0
        made[planes] = xp.where(there, data[planes] / xp.where(there, total, 1), 0)
    return spectrum.inverse(made)


# ---- shells: spheres of a rounded radius, in steps of the volume's own transform or of the padded one ("fine")


def shell_means(values: Array, spectrum: Spectrum, fine: bool = False) -> np.ndarray:
    """The mean of real `values` (nz, nz, nx) in each shell of the whole transform: (n // 2 + 1,), or (offset + 1,) of
    fine ones."""
    xp, count = namespace(values), _count(spectrum, fine)
    total = xp.zeros(count + 1)
    for planes, shell in _shells(spectrum, xp, fine):
        total += _sums(shell, values[planes, :, spectrum.skirt :], count, xp)
    number = _numbers(spectrum.nz, spectrum.nx, spectrum.skirt, spectrum.n, spectrum.size, fine)
    return to_numpy(total[:count]) / np.maximum(number, 1)


def by_shell(spectrum: Spectrum, table: Array, fine: bool = False) -> Iterator[tuple[slice, Array]]:
    """Some planes of the spectrum at a time, and the table's number for each of their entries, of its last shell
    beyond."""
    xp, last = namespace(table), len(table) - 1
    index = _radii(spectrum, fine)
    own = table[xp.asarray(np.minimum(index, last))]
    for planes, squares in _squares(spectrum, xp, -spectrum.skirt):
        yield planes, own[squares]


def _sums(shell: Array, values: Array | None, count: int, xp: Any) -> Array:
    """Sums over shells of entries x >= 0, all of which the whole transform holds twice but those at x = 0."""
    edge = shell[:, :, 0]
    parts = (None, None) if values is None else (values.reshape(-1), values[:, :, 0].reshape(-1))
    made = 2.0 * xp.bincount(shell.reshape(-1), parts[0], count + 1)
    return made - xp.bincount(edge.reshape(-1), parts[1], count + 1)


@lru_cache(maxsize=16)
def _numbers(nz: int, nx: int, skirt: int, n: int, size: int, fine: bool) -> np.ndarray:
    """How many entries of the whole transform are in each shell."""
    spectrum = _Layout(nz, nx, skirt, n, size)
    count = _count(spectrum, fine)
    return np.asarray(sum(_sums(shell, None, count, np) for _, shell in _shells(spectrum, np, fine)))[:count]


@dataclass(frozen=True)
class _Layout:
    """The sizes of a `Spectrum`."""

    nz: int
    nx: int
    skirt: int
    n: int
    size: int

    @property
    def offset(self) -> int:
        return self.nz // 2


def _count(spectrum: Spectrum | _Layout, fine: bool) -> int:
    return spectrum.offset + 1 if fine else spectrum.n // 2 + 1


def _shells(spectrum: Spectrum | _Layout, xp: Any, fine: bool) -> Iterator[tuple[slice, Array]]:
    """Some planes at a time, and the shells of their entries x >= 0, those beyond the last one in one of their own."""
    index = xp.asarray(np.minimum(_radii(spectrum, fine), _count(spectrum, fine)))
    for planes, squares in _squares(spectrum, xp, 0):
        yield planes, index[squares]


def _radii(spectrum: Spectrum | _Layout, fine: bool) -> np.ndarray:
    """The rounded radius that belongs to each squared radius in steps of the padded transform."""
    farthest = 2 * spectrum.offset**2 + max(spectrum.nx, spectrum.offset) ** 2
    step = 1.0 if fine else spectrum.size / spectrum.n
    return np.floor(np.sqrt(np.arange(farthest + 1)) / step + 0.5).astype(np.intp)


def _squares(spectrum: Spectrum | _Layout, xp: Any, first: int) -> Iterator[tuple[slice, Array]]:
    """Some planes at a time, and the squared radii of their entries x >= first."""
    line, x = xp.arange(spectrum.nz) - spectrum.offset, xp.arange(first, spectrum.nx - spectrum.skirt)
    plane = line[:, None] ** 2 + x**2
    each = max(1, SLAB // plane.size)
    for start in range(0, spectrum.nz, each):
        planes = slice(start, min(start + each, spectrum.nz))
        yield planes, line[planes, None, None] ** 2 + plane
