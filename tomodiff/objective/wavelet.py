"""Sparsity in wavelets, by PyWavelets."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.array import Array, namespace, plain
from tomodiff.core import Functional
from tomodiff.extras import library
from tomodiff.objective.penalty import shrink


class Wavelet(Functional):
    """sum of the moduli of the detail coefficients of x in an orthogonal wavelet basis, periodic at the borders.

    name: an orthogonal wavelet of PyWavelets ("haar", "db4", "sym8"); levels: None for as many as the shape allows.
    Axes must be divisible by 2**levels, so that the transform is orthogonal and the prox exact: the soft threshold of
    the coefficients.  axes: those that are transformed, all by default.  Needs the extra `wavelets`; NumPy arrays.
    """

    def __init__(self, name: str = "db4", levels: int | None = None, axes: tuple[int, ...] | None = None) -> None:
        if not _pywt().Wavelet(name).orthogonal:
            raise ValueError(f"Wavelet: name: expected an orthogonal wavelet (haar, dbN, symN, coifN), got {name}")
        self.name, self.levels, self.axes = name, levels, axes

    def __call__(self, x: Array) -> float:
        return float(sum(abs(d).sum(dtype="float64") for level in self._analysed(x)[1:] for d in level.values()))

    def prox(self, x: Array, step: Any) -> Array:
        step = plain(step)
        coarse, *details = self._analysed(x)
        small = [{name: shrink(d, step) for name, d in level.items()} for level in details]
        made: Array = _pywt().waverecn([coarse, *small], self.name, "periodization", self._axes(x))
        return made.astype(x.dtype, copy=False)

    def _axes(self, x: Array) -> tuple[int, ...]:
        return tuple(range(x.ndim)) if self.axes is None else self.axes

    def _analysed(self, x: Array) -> Any:
        if namespace(x) is not np:
            raise TypeError("Wavelet: expected a NumPy array: PyWavelets computes on the CPU")
        sizes = [x.shape[a] for a in self._axes(x)]
        most = min((n & -n).bit_length() - 1 for n in sizes)
        levels = most if self.levels is None else self.levels
        if levels < 1 or levels > most:
            raise ValueError(f"Wavelet: {levels} levels: expected axes divisible by 2**levels, got sizes {sizes}")
        return _pywt().wavedecn(x, self.name, "periodization", levels, self._axes(x))


def _pywt() -> Any:
    return library("pywt", "wavelets", "wavelets need", "PyWavelets")
