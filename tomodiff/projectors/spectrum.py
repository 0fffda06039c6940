"""The Fourier volume that slices are cut from: padded, corrected for interpolation, with neighbours at its faces."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor
from types import ModuleType
from typing import Any

import numpy as np

from tomodiff.array import Array, fft_of, namespace
from tomodiff.core import LinearOperator, Space, check_element
from tomodiff.projectors.slice_taps import Taps, taps

GRIDDINGS = ("separable", "radial", "none")


class Spectrum(LinearOperator):
    """Real volume (n, n, n), centre at voxel n // 2 -> half of its padded Fourier transform, as slice kernels read it.

    Entry [z + offset, y + offset, x + skirt] of the (nz, nz, nx) complex result is frequency (x, y, z) in units of
    1 / (padding * n * voxel), for all |frequency| <= reach and the neighbours that interpolation needs; entries that
    repeat others by Hermitian symmetry or periodicity are filled in.
    padding: >= 1, padding * n is rounded to an even number.  gridding: "separable" divides the volume by the transform
    of the interpolation kernel along each axis (consistent with the kernel), "radial" by the same as a function of the
    radius (RELION 3's correction), "none" not at all.
    """

    def __init__(
        self, n: int, kernel: str = "linear", padding: float = 2.0, reach: float | None = None,
        gridding: str = "separable", dtype: str = "float32",
    ) -> None:  # fmt: skip
        if not 1 <= padding <= 8:
            raise ValueError(f"padding: expected a number between 1 and 8, found {padding!r}")
        if gridding not in GRIDDINGS:
            raise ValueError(f"gridding: expected one of {', '.join(GRIDDINGS)}, found {gridding!r}")
        if n < 2:
            raise ValueError(f"n: expected a volume of at least 2 voxels a side, found {n}")
        self.n, self.size = n, 2 * round(padding * n / 2)
        self.padding = self.size / n
        self.taps: Taps = taps(kernel, float(padding))
        self.gridding, self.dtype = gridding, dtype
        half = self.taps.width // 2
        inner = floor(self.size / 2 if reach is None else reach)
        if inner + half >= self.size:
            raise ValueError(f"reach: expected less than {self.size - half} steps of the transform, found {reach}")
        self.offset, self.skirt = inner + half, half - 1
        self.nz, self.nx = 2 * self.offset + 1, self.skirt + inner + half + 1
        self.domain = Space((n, n, n), dtype)
        self.range = Space((self.nz, self.nz, self.nx), "complex64" if dtype == "float32" else "complex128")
        self._correction: dict[str, Array] = {}

    def correction(self, xp: ModuleType = np) -> Array:
        """(n, n, n) what the volume is multiplied with before its transform."""
        if xp.__name__ not in self._correction:
            index = np.arange(self.n) - self.n // 2
            if self.gridding == "none":
                made = np.ones((1, 1, 1))
            elif self.gridding == "separable":
                line = 1 / self.taps.transform(index / self.size)
                made = line[:, None, None] * line[:, None] * line
            else:
                square = index**2
                square = square[:, None, None] + square[:, None] + square
                made = (1 / self.taps.transform(np.sqrt(np.arange(square.max() + 1)) / self.size))[square]
            self._correction[xp.__name__] = xp.asarray(made.astype(self.dtype))
        return self._correction[xp.__name__]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_correction": {}}

    def forward(self, x: Array, out: Array | None = None) -> Array:
        """The spectrum of a volume."""
        check_element(self.domain, x, "Spectrum.forward: x")
        xp, m = namespace(x), self.size
        padded = xp.zeros((m, m, m), self.dtype)
        corrected = x * self.correction(xp)
        for (az, fz), (ay, fy), (ax, fx) in _triples(self._places()):
            padded[fz, fy, fx] = corrected[az, ay, ax]
        full = fft_of(xp).rfftn(padded, **fft_workers(xp))
        made = xp.zeros(self.range.shape, self.range.dtype) if out is None else out
        columns = min(self.nx - self.skirt, m // 2 + 1)
        for az, fz in self._runs():
            for ay, fy in self._runs():
                made[az, ay, self.skirt : self.skirt + columns] = full[fz, fy, :columns]
        for target, source in self._mirrored():
            made[:, :, target] = made[::-1, ::-1, source].conj()
        return made

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        """The transpose: a volume from a gradient in the spectrum."""
        check_element(self.range, y, "Spectrum.adjoint: y")
        xp, m = namespace(y), self.size
        folded = y.copy()
        for target, source in reversed(self._mirrored()):
            folded[:, :, source] += folded[::-1, ::-1, target].conj()
        full = xp.zeros((m, m, m // 2 + 1), self.range.dtype)
        columns = min(self.nx - self.skirt, m // 2 + 1)
        for az, fz in self._runs():
            for ay, fy in self._runs():
                full[fz, fy, :columns] += folded[az, ay, self.skirt : self.skirt + columns]
        full[:, :, 1 : m // 2] *= 0.5  # irfftn counts these columns twice
        padded = fft_of(xp).irfftn(full, (m, m, m), norm="forward", **fft_workers(xp))
        made = self._cropped(padded)
        if out is None:
            return made
        out[...] = made
        return out

    def folded(self, sums: Array, out: Array | None = None) -> Array:
        """Sums over points of the half transform with what fell beside its faces, and each point's conjugate, added:
        what sums over the whole transform would hold.  Real or complex (nz, nz, nx); `out` may be the sums."""
        made = sums.copy() if out is None else out
        if out is not None and out is not sums:
            out[...] = sums
        for target, source in reversed(self._mirrored()):
            made[:, :, source] += made[::-1, ::-1, target].conj()
        made[:, :, self.skirt] += made[::-1, ::-1, self.skirt].conj()
        return made

    def inverse(self, y: Array) -> Array:
        """The volume whose padded transform is `y`, cut to its size and corrected for interpolation: the inverse of
        `forward` where the spectrum reaches the corners of the transform."""
        xp, m = namespace(y), self.size
        full = xp.zeros((m, m, m // 2 + 1), self.range.dtype)
        columns = min(self.nx - self.skirt, m // 2 + 1)
        for az, fz in self._runs():
            for ay, fy in self._runs():
                full[fz, fy, :columns] = y[az, ay, self.skirt : self.skirt + columns]
        padded = fft_of(xp).irfftn(full, (m, m, m), **fft_workers(xp))
        return self._cropped(padded)

    def _cropped(self, padded: Array) -> Array:
        """The volume within a padded one, times the correction."""
        xp = namespace(padded)
        made = xp.empty(self.domain.shape, self.dtype)
        for (az, fz), (ay, fy), (ax, fx) in _triples(self._places()):
            made[az, ay, ax] = padded[fz, fy, fx]
        made *= self.correction(xp)
        return made

    def _places(self) -> list[tuple[slice, slice]]:
        """Where voxels of one axis go in the padded one, whose origin is the centre voxel."""
        centre = self.n // 2
        start, end = slice(0, self.n - centre), slice(self.size - centre, self.size)
        return [(slice(centre, self.n), start), (slice(0, centre), end)]

    def _runs(self) -> Iterator[tuple[slice, slice]]:
        """Consecutive entries of a y or z axis, and the frequencies of the transform that they hold."""
        start = 0
        while start < self.nz:
            place = (start - self.offset) % self.size
            count = min(self.nz - start, self.size - place)
            yield slice(start, start + count), slice(place, place + count)
            start += count

    def _mirrored(self) -> list[tuple[int, int]]:
        """Columns x that hold the conjugates of the opposite points, and the columns that these are in."""
        pairs = [(self.skirt + x, self.skirt - x) for x in range(-self.skirt, 0)]
        return pairs + [
            (self.skirt + x, self.skirt + self.size - x) for x in range(self.size // 2 + 1, self.nx - self.skirt)
        ]


def _triples(places: list[tuple[slice, slice]]) -> Iterator[tuple[tuple[slice, slice], ...]]:
    for z in places:
        for y in places:
            for x in places:
                yield z, y, x


def fft_workers(xp: ModuleType) -> dict[str, int]:
    """How many threads a Fourier transform on the CPU takes."""
    from tomodiff.kernels import host_threads

    return {"workers": host_threads()} if xp is np else {}
