"""Volumes from particle images by weighted back-projection in Fourier space, and their Wiener or MAP division.

Sums over images: data += w conj(f) F, weight += w |f|^2 (f: CTF, shift; w: inverse noise variance per shell); the
volume's transform is data / (weight + 1 / tau^2) (Scheres 2012, J. Struct. Biol. 180, 519, eqs. 2 and 3; RELION,
src/backprojector.cpp).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.array import Array, namespace
from tomodiff.projectors.slicer import Slicer
from tomodiff.projectors.spectrum import Spectrum

FLOOR = 1e-3
"""Without a prior, weights are raised to this part of their mean at the same radius (RELION)."""


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

    def folded(self) -> tuple[Array, Array]:
        """Data (complex) and weights of the half transform, each pair k, -k added up, with the layout of a spectrum."""
        sums, s = self.sums, self.slicer.spectrum
        data, weight = sums[..., 0] + 1j * sums[..., 1], sums[..., 2].copy()
        return s.folded(data), s.folded(weight)

    def volume(self, inverse_tau2: Array | None = None) -> Array:
        """The volume (n, n, n).  inverse_tau2: (shells,) by radius in steps of the volume's own transform, the inverse
        power of the signal in the units of the weights; None floors the weights instead."""
        return divided(self.slicer.spectrum, *self.folded(), inverse_tau2)

    def mean_weight(self) -> np.ndarray:
        """(n // 2 + 1,) mean weight in each shell of the volume's own transform."""
        _, weight = self.folded()
        shell, times = shells_of(self.slicer.spectrum, namespace(weight))
        return shell_means(weight, shell, times, self.slicer.spectrum.n // 2 + 1)

    def __iadd__(self, other: BackProjection) -> BackProjection:
        self.sums += other.sums
        self.count += other.count
        return self


def divided(spectrum: Spectrum, data: Array, weight: Array, inverse_tau2: Array | None = None) -> Array:
    """The volume of data / weight, regularised."""
    xp = namespace(weight)
    shell, times = shells_of(spectrum, xp)
    if inverse_tau2 is None:
        fine, count = fine_shells(spectrum, xp)
        mean = shell_means(weight, fine, times, count)
        floor = xp.asarray(FLOOR * mean, weight.dtype)[xp.minimum(fine, count - 1)]
        denominator = xp.maximum(weight, floor)
    else:
        table = xp.asarray(inverse_tau2, weight.dtype)
        denominator = weight + table[xp.minimum(shell, len(table) - 1)]
    filled = xp.where(denominator > 0, data / xp.where(denominator > 0, denominator, 1), 0)
    return spectrum.inverse(filled.astype(spectrum.range.dtype))


def coordinates(spectrum: Spectrum, xp: Any = np) -> tuple[Array, Array, Array]:
    """z, y, x of every entry in steps of the padded transform, to be broadcast."""
    line = xp.arange(spectrum.nz) - spectrum.offset
    return line[:, None, None], line[:, None], xp.arange(spectrum.nx) - spectrum.skirt


def fine_shells(spectrum: Spectrum, xp: Any = np) -> tuple[Array, int]:
    """The rounded radius of every entry in steps of the padded transform, and how many there are."""
    z, y, x = coordinates(spectrum, xp)
    made = xp.floor(xp.sqrt(z * z + y * y + x * x) + 0.5).astype("int32")
    return made, spectrum.offset + 1


def shells_of(spectrum: Spectrum, xp: Any = np) -> tuple[Array, Array]:
    """The rounded radius of every entry in steps of the volume's own transform, and how often the whole transform holds
    it: 0 for the repeated columns at the edges."""
    z, y, x = coordinates(spectrum, xp)
    made = xp.floor(xp.sqrt(z * z + y * y + x * x) / spectrum.padding + 0.5).astype("int32")
    times = xp.where(x < 0, 0.0, xp.where(x == 0, 1.0, 2.0))
    return made, xp.broadcast_to(times, made.shape)


def shell_means(values: Array, shell: Array, times: Array, count: int) -> np.ndarray:
    """The mean of `values` in each of `count` shells."""
    xp = namespace(values)
    flat = xp.minimum(shell, count).reshape(-1)
    total = xp.bincount(flat, (values * times).reshape(-1), count + 1)[:count]
    number = xp.bincount(flat, times.reshape(-1), count + 1)[:count]
    made = total / xp.maximum(number, 1)
    return made if isinstance(made, np.ndarray) else made.get()
