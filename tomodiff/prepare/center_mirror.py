"""The rotation axis of a parallel-beam scan, from views that mirror each other about it.

With P(t, k) the Fourier transform along u, moving the axis to column 0 multiplies it by e^{ikc}, and mirroring
conjugates. Every criterion here is the energy of A e^{ikc} + B e^{-ikc}, where A combines direct and B mirrored views:
a trigonometric polynomial in c whose coefficients are computed once, so its minimum is found over the whole detector
and to any fraction of a pixel without shifting an image.

* "opposite": A - B of views measured from both sides (scans beyond 180 degrees).
* "wedge": what lies outside the double wedge |n| > R|k| in the 2-D Fourier plane of the full circle that direct and
  mirrored views make up together (Vo et al. 2014, Optics Express 22, 19078; the wedge: Edholm, Lewitt & Lindholm 1986).
* "seam": third differences across the place where direct views end and mirrored ones begin (for objects that leave the
  field of view, where no double wedge exists).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from tomodiff.prepare.mirror_maps import Circle, Opposite, Seam, angle_step, circle, opposite, seams

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]

HIGHEST = 0.6 * np.pi
"""Spatial frequency, radians per pixel, at which the criteria's raised-cosine low pass reaches zero."""

LOWEST_CYCLES = 2
"""Cycles per window below which frequencies are left out: there flux errors and the window live."""

WEDGE_MARGIN = 4
"""Angular harmonics by which a finite window may smear the double wedge."""


MOST_VALUES = 3_000_000
"""Values of the sinograms above which only some of the rows take part until the final polish."""


class MirrorViews:
    """Line integrals (view, row, u) of a few detector rows of a parallel-beam scan, ready to be compared."""

    def __init__(self, rows: Floats, angles: Floats) -> None:
        self.rows, self.angles = rows, angles
        self.width = rows.shape[2]
        self.step = angle_step(angles)
        self.circle: Circle = circle(angles)
        self.opposite: Opposite = opposite(angles)
        self.seams: list[Seam] = seams(angles)

    def criterion(self, kind: str, middle: float, half: float) -> Criterion:
        """The criterion named `kind` from the columns within `half` of column `middle`."""
        low, high = max(0, int(np.ceil(middle - half))), min(self.width, int(np.floor(middle + half)) + 1)
        k, gain, length = _band(high - low)
        window = _taper((np.arange(low, high) - middle) / half)
        edge = max(2, (high - low) // 50)
        slope = np.linspace(0, 1, high - low)
        cross, energy = np.zeros(len(k), dtype=np.complex128), 0.0
        for row in range(self.rows.shape[1]):
            p = np.array(self.rows[:, row, low:high], dtype=np.float64)
            first, last = p[:, :edge].mean(axis=1, keepdims=True), p[:, -edge:].mean(axis=1, keepdims=True)
            p = (p - first - (last - first) * slope) * window
            spectrum = scipy.fft.rfft(p, length, axis=1)[:, gain > 0] * (np.exp(-1j * k * low) * gain[gain > 0])
            for a, b in self._pairs(kind, spectrum, k, half):
                cross += (a * b.conj()).sum(axis=0)
                energy += float((np.abs(a) ** 2).sum() + (np.abs(b) ** 2).sum())
        return Criterion(k, cross, energy)

    def _pairs(self, kind: str, spectrum: Complexes, k: Floats, half: float) -> list[tuple[Complexes, Complexes]]:
        """The (A, B) of each comparison, from spectra (view, k) of one row."""
        if kind == "opposite":
            return [(spectrum[self.opposite.views], -(self.opposite.seen @ spectrum).conj())]
        if kind == "wedge":
            m = self.circle.direct.shape[0]
            harmonic = np.abs(np.fft.fftfreq(m, 1 / m))
            outside = harmonic[:, None] > WEDGE_MARGIN + half * k
            both = (self.circle.direct @ spectrum, self.circle.mirrored @ spectrum.conj())
            a, b = (scipy.fft.fft(part, axis=0) * outside for part in both)
            return [(a, b)]
        # beyond one radian of phase per step at the window's rim, views do not predict their neighbours
        smooth = 1 / np.sqrt(1 + (k * half * self.step) ** 6)
        return [
            (
                (seam.direct_weights @ spectrum[seam.direct] * smooth)[None],
                (seam.mirrored_weights @ spectrum[seam.mirrored].conj() * smooth)[None],
            )
            for seam in self.seams
        ]

    def leaves_the_view(self) -> bool:
        """Whether parts of the object move in and out at the detector's sides, beyond what noise explains."""
        side = max(2, self.width // 40)
        whole = self.width // side * side
        blocks = self.rows[:, :, :whole].reshape(*self.rows.shape[:2], -1, side).mean(axis=3, dtype=np.float64)
        noise = 0.5 * np.diff(blocks, axis=0).var(axis=0)
        movement = np.maximum(blocks.var(axis=0) - noise, 0).mean(axis=0)
        return bool(max(movement[0], movement[-1]) > 0.01 * np.percentile(movement, 90))


class Criterion(NamedTuple):
    """The energy of A e^{ikc} + B e^{-ikc} over that of A and B alone: 0 where they cancel, about 1 at wrong axes."""

    k: Floats
    cross: Complexes
    energy: float

    def __call__(self, column: Floats | float) -> Floats:
        """The value at axis columns `column`."""
        c = np.atleast_1d(np.asarray(column, dtype=np.float64))
        if self.energy == 0:
            return np.ones(len(c))
        wave = np.empty(len(c))
        for start in range(0, len(c), 256):
            wave[start : start + 256] = (np.exp(2j * np.outer(c[start : start + 256], self.k)) @ self.cross).real
        return 1 + 2 * wave / self.energy

    def minimum_near(self, column: float, reach: float) -> tuple[float, float]:
        """(column, value) of the lowest value within `reach` columns, to 1e-3 of a column or better."""
        while reach > 5e-4:
            columns = np.linspace(column - reach, column + reach, 33)
            values = self(columns)
            column, reach = float(columns[np.argmin(values)]), reach / 8
        return column, float(self(column)[0])


class Located(NamedTuple):
    """An axis column, the criterion's value there and at the best rival, and the curve (columns, values) searched."""

    column: float
    value: float
    rival: float
    columns: Floats
    values: Floats


def locate(views: MirrorViews, kind: str, search: tuple[float, float], final: str | None = None) -> Located:
    """The axis column within `search` that makes the criterion `kind` smallest, polished with criterion `final`.

    The whole detector serves for the overview; then each of the deepest minima is judged in the largest window that is
    symmetric about it, so that only columns which are seen from both sides take part.
    """
    width = views.width
    few = MirrorViews(views.rows[:, :: -(-views.rows.size // MOST_VALUES)], views.angles)
    overview = few.criterion(kind, (width - 1) / 2, width / 2)
    columns = np.arange(search[0], search[1] + 0.125, 0.25)
    values = overview(columns)
    inner = np.flatnonzero((values[1:-1] < values[:-2]) & (values[1:-1] <= values[2:])) + 1
    deepest = inner[np.argsort(values[inner])][:8] if inner.size else np.array([int(np.argmin(values))])
    judged = []
    for start in columns[deepest]:
        criterion = few.criterion(kind, start, _half(start, width))
        column, value = criterion.minimum_near(start, 1.0)
        judged.append((value, float(np.clip(column, *search))))
    judged.sort()
    value, column = judged[0]
    rivals = [v for v, c in judged[1:] if abs(c - column) > 2]
    rival = min([*rivals, float(np.median(values))])
    column = polish(views, final or kind, column, search)
    return Located(column, value, rival, columns, values)


def polish(views: MirrorViews, kind: str, column: float, search: tuple[float, float]) -> float:
    """The minimum of criterion `kind` near `column`, its window following."""
    for reach in (2.5, *(1.0,) * 9):
        criterion = views.criterion(kind, column, _half(column, views.width))
        moved = float(np.clip(criterion.minimum_near(column, reach)[0], *search))
        if abs(moved - column) < 2e-3:
            return moved
        column = moved
    return column


def _half(column: float, width: int) -> float:
    """Half the largest window that is symmetric about `column`."""
    return max(min(column, width - 1 - column), 2.0) + 0.5


def _taper(x: Floats) -> Floats:
    """1 in the middle of -1 < x < 1, falling to 0 as sin^2 over the outer 15 %."""
    return np.asarray(np.sin(np.pi / 2 * np.clip((1 - np.abs(x)) / 0.15, 0, 1)) ** 2)


def _band(columns: int) -> tuple[Floats, Floats, int]:
    """Frequencies used (radians per pixel), the gain of all rfft frequencies (0: unused) and the padded length."""
    length = scipy.fft.next_fast_len(2 * columns, real=True)
    k = 2 * np.pi * np.fft.rfftfreq(length)
    used = (k >= 2 * np.pi * LOWEST_CYCLES / columns) & (k < HIGHEST)
    gain = np.where(used, np.cos(np.pi / 2 * k / HIGHEST), 0.0)
    return np.asarray(k[gain > 0], np.float64), np.asarray(gain, np.float64), int(length)
