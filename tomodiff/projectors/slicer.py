"""Launches of the slice kernels: models of particles' images from a spectrum and one record per particle, and back."""

from __future__ import annotations

from math import ceil
from types import ModuleType
from typing import Any

import numpy as np

from tomodiff.array import Array, namespace
from tomodiff.kernels import kernel, lanes
from tomodiff.projectors.records import RECORD
from tomodiff.projectors.spectrum import Spectrum

CTF_MODES = {"none": 0, "ctf": 1, "phase-flipped": 2}
SLABS = 16
"""Parts of the spectrum that CPU threads own in turn; a fixed number, so that sums do not depend on the threads."""
POSE_COLUMNS, CTF_COLUMNS = 5, 4


class Slicer:
    """Particle images (n, box, box // 2 + 1) and a `Spectrum`, on whichever device the arrays are.

    r_max: largest frequency that is modelled, in steps of the image's transform; what lies beyond is zero.
    unique: count each pair of points k and -k once, as sums over real images must.
    """

    def __init__(
        self, spectrum: Spectrum, box: int, r_max: float, ctf: str = "none", ewald: bool = False, unique: bool = False
    ) -> None:
        if ctf not in CTF_MODES:
            raise ValueError(f"ctf: expected one of {', '.join(CTF_MODES)}, found {ctf!r}")
        if ewald and ctf != "ctf":
            raise ValueError(f"ewald: expected ctf='ctf', whose phase an Ewald sphere splits, found {ctf!r}")
        if box % 2:
            raise ValueError(f"box: expected an even number of pixels, found {box}")
        self.spectrum, self.box, self.r_max = spectrum, box, float(r_max)
        self.ctf, self.ewald, self.unique = CTF_MODES[ctf], bool(ewald), bool(unique)
        self.dtype = spectrum.dtype
        self._taper: dict[str, Array] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_taper": {}}

    @property
    def complex(self) -> str:
        """The dtype of images and spectra."""
        return str(self.spectrum.range.dtype)

    def images(self, spectrum: Array, records: Array, out: Array | None = None) -> Array:
        """The model of every particle, (n, box, box // 2 + 1)."""
        return self._write("forward", spectrum, records, (), out)

    def push(self, spectrum: Array, records: Array, d_records: Array) -> Array:
        """The model's derivative along a tangent of the records."""
        return self._write("push", spectrum, records, (d_records,), None)

    def _write(self, name: str, spectrum: Array, records: Array, more: tuple[Array, ...], out: Array | None) -> Array:
        xp, n = namespace(spectrum), len(records)
        made = xp.empty((n, self.box, self.box // 2 + 1), self.complex) if out is None else out
        across = ceil((self.box // 2 + 1) / lanes(xp))
        self._launch(name, (_real(spectrum), _real(made), records, *more), n, xp, across=across)
        return made

    def pull(self, spectrum: Array, records: Array, g_images: Array) -> Array:
        """The transpose of `push`: (n, 48)."""
        xp, n = namespace(spectrum), len(records)
        sums = xp.zeros((self._groups(xp), n, RECORD), self.dtype)
        self._launch("pull", (_real(spectrum), _real(g_images), records, sums), n, xp)
        return sums.sum(0)

    def adjoint(self, g_images: Array, records: Array, out: Array | None = None) -> Array:
        """The transpose of `images` in the spectrum; adds to `out` if that is given."""
        xp = namespace(g_images)
        made = xp.zeros(self.spectrum.range.shape, self.complex) if out is None else out
        self._launch(
            self._growing("adjoint", xp), (_real(made), _real(g_images), records), len(records), xp, grows=True
        )
        return made

    def insert(self, sums: Array, images: Array, records: Array, groups: Array | None, weights: Array | None) -> None:
        """Add w conj(f) image and w |f|^2 of every point to `sums` (nz, nz, nx, 4): re, im, weight, unused."""
        xp = namespace(images)
        arrays = (sums, _real(images), records, groups, weights)
        self._launch(self._growing("insert", xp), arrays, len(records), xp, grows=True, shells=_shells(weights))

    def residual(
        self, spectrum: Array, images: Array | None, records: Array, weights: Array, groups: Array | None = None,
        image_of: Array | None = None, g_spectrum: Array | None = None, params: bool = True,
    ) -> tuple[Array, Array | None]:  # fmt: skip
        """sum of w |model - image|^2 / 2 of each particle, and its gradient in the records (n, 48) if `params`.

        The gradient in the spectrum is added to `g_spectrum`; no model is ever stored.  weights: (groups, shells)
        inverse variances by |k|, rounded; zero beyond.  image_of: which image belongs to each record.  Without images
        the data are zero: the gradient in the spectrum is then A' W A applied to it.
        """
        xp, n = namespace(spectrum), len(records)
        grows = g_spectrum is not None
        name = self._growing("residual", xp) if grows else "residual"
        parts = self._slabs(xp) if grows else 1
        values = xp.zeros((parts, self._groups(xp), n), self.dtype)
        g_records = xp.zeros((parts, self._groups(xp), n, RECORD), self.dtype) if params else None
        grown = (_real(g_spectrum),) if grows else ()
        arrays = (_real(spectrum), *grown, _real(images), records, image_of, groups, weights, values, g_records)
        self._launch(name, arrays, n, xp, grows=grows, shells=_shells(weights))
        return values.astype("float64").sum((0, 1)), None if g_records is None else g_records.sum((0, 1))

    def normal(
        self, spectrum: Array, images: Array, records: Array, weights: Array, groups: Array | None = None,
        image_of: Array | None = None, ctf: bool = False,
    ) -> tuple[Array, Array, Array]:  # fmt: skip
        """Value (n,), gradient (n, q) and Gauss-Newton matrix (n, q, q) of each particle's misfit.

        Columns: turns w of the pose (A -> A exp(w)', in the volume's frame), and the two linear coefficients of the odd
        phase; with `ctf` the three quadratic coefficients of the even phase, and the scale.
        """
        xp, n = namespace(spectrum), len(records)
        q = CTF_COLUMNS if ctf else POSE_COLUMNS
        sums = xp.zeros((self._groups(xp), n, 1 + q + q * (q + 1) // 2), self.dtype)
        arrays = (_real(spectrum), _real(images), records, image_of, groups, weights, sums)
        self._launch("normal_ctf" if ctf else "normal", arrays, n, xp, shells=_shells(weights))
        total = sums.astype("float64").sum(0)
        matrix = xp.zeros((n, q, q))
        low = np.tril_indices(q)
        matrix[:, low[0], low[1]] = total[:, 1 + q :]
        matrix[:, low[1], low[0]] = total[:, 1 + q :]
        return total[:, 0], total[:, 1 : 1 + q], matrix

    # ---- launches

    def _groups(self, xp: ModuleType) -> int:
        """Row groups whose sums are kept apart: on a GPU every row has a thread."""
        return self.box if lanes(xp) == 1 else 1

    def _slabs(self, xp: ModuleType) -> int:
        return 1 if lanes(xp) == 1 else SLABS

    @staticmethod
    def _growing(name: str, xp: ModuleType) -> str:
        return f"{name}_atomic" if lanes(xp) == 1 else f"{name}_planes"

    def _launch(
        self, name: str, arrays: tuple[Any, ...], n: int, xp: ModuleType, across: int = 1, grows: bool = False,
        shells: int = 0,
    ) -> None:  # fmt: skip
        gpu = lanes(xp) == 1
        each = n if grows and not gpu else 1
        rows_each = 1 if gpu else self.box
        slabs = self._slabs(xp) if grows else 1
        planes = ceil(self.spectrum.nz / slabs)
        shares = ceil(n / each) * across if n else 0
        grid = (ceil(shares / 128) if gpu else shares, ceil(self.box / rows_each), slabs)
        family = "linear" if self.spectrum.taps.width == 2 else "wide"
        s = self.spectrum
        sizes = (n, self.box, shells, self.ctf, int(self.ewald), int(self.unique), each, rows_each, across, planes)
        layout = (s.nx, s.nz, s.offset, s.skirt, s.taps.degree, self.r_max)
        arguments = (*arrays, self._table(xp), *sizes, *layout)
        kernel(f"slice_{family}_{name}", xp, self.dtype)(grid, (128 if gpu else 1,), arguments)

    def _table(self, xp: ModuleType) -> Array:
        if xp.__name__ not in self._taper:
            self._taper[xp.__name__] = xp.asarray(np.ascontiguousarray(self.spectrum.taps.taper, self.dtype))
        return self._taper[xp.__name__]


def _real(x: Array | None) -> Array | None:
    """A complex array as the pairs of numbers that it is."""
    return None if x is None else x.view(x.real.dtype)


def _shells(weights: Array | None) -> int:
    return 0 if weights is None else int(weights.shape[-1])
