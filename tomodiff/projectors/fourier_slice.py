"""Images of particles as central slices of their volume's Fourier transform, differentiable in everything."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

import numpy as np

from tomodiff.array import Array, Element, namespace, to_numpy
from tomodiff.core import Linear, LinearOperator, Operator, Space, check_element
from tomodiff.core.operators import into
from tomodiff.particles import Particles
from tomodiff.projectors.records import NAMES, Records, wavelength
from tomodiff.projectors.slicer import CTF_MODES, Slicer
from tomodiff.projectors.spectrum import Spectrum

EDGE = 1.0
"""Steps below the Nyquist frequency up to which slices are modelled, where coefficients are not real by themselves."""


class FourierSlice(Operator):
    """Volume, poses and optics -> the Fourier transforms of particle images (n, box, box // 2 + 1), complex.

    Inputs (a dict): "volume" (size, size, size), real, centre at voxel size // 2; one array per particle of each name
    in `records.NAMES`, in float64 whatever the dtype of the volume.  `inputs(particles, volume)` makes them.  Linear in
    the volume: `A.fix(**others)` is a LinearOperator.  Image i is rfft2(ifftshift(image)), origin at pixel box // 2,
    CTF applied and moved by -shift; an image is the plain sum of voxels along the beam.

    kernel: "linear" or "kaiser-bessel"; padding, gridding: see `Spectrum`.  RELION's projector is kernel="linear",
    padding=2, gridding="radial", r_max=box/2.  ctf: "ctf", "phase-flipped" (its absolute value) or "none".  ewald: 0
    for a flat slice, +1 or -1 for the two curvatures of the Ewald sphere.  r_max: the largest frequency modelled, in
    steps of the image's transform; zero beyond.  voxel: angstrom, the images' pixel by default.

    Not differentiable where a linear kernel has its kinks, and in the angle of a defocus without astigmatism.
    Raises TypeError or ValueError for arrays of another dtype or shape.
    """

    linear_in = frozenset({"volume"})

    def __init__(
        self, size: int, box: int, pixel: np.ndarray, voltage: np.ndarray, *, kernel: str = "linear",
        padding: float = 2.0, gridding: str = "separable", ctf: str = "ctf", ewald: int = 0, r_max: float | None = None,
        voxel: float | None = None, dose: np.ndarray | None = None, dtype: str = "float32",
    ) -> None:  # fmt: skip
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtype: expected float32 or float64, found {dtype!r}")
        if ctf not in CTF_MODES:
            raise ValueError(f"ctf: expected one of {', '.join(CTF_MODES)}, found {ctf!r}")
        if ewald not in (-1, 0, 1):
            raise ValueError(f"ewald: expected -1, 0 or 1, found {ewald!r}")
        pixel = np.asarray(pixel, np.float64)
        if pixel.ndim != 1 or not (pixel > 0).all():
            raise ValueError(f"pixel: expected one size above 0 angstrom per particle, found {pixel!r}")
        self.box, self.size, self.dtype, self.ctf, self.ewald = box, size, dtype, ctf, ewald
        self.voxel = float(pixel[0]) if voxel is None else float(voxel)
        self.r_max = box / 2 - EDGE if r_max is None else float(r_max)
        stretch = size * self.voxel / (box * pixel)
        curve = abs(ewald) * wavelength(voltage) * self.r_max / (2 * box * pixel)
        reach = 1 + 1.02 * self.r_max * float((stretch * np.sqrt(1 + curve**2)).max()) * (
            2 * round(padding * size / 2) / size
        )
        self.spectrum = Spectrum(size, kernel, padding, ceil(reach + 1e-6), gridding, dtype)
        self.records = Records(
            box, pixel, np.broadcast_to(np.asarray(voltage, np.float64), pixel.shape), stretch * self.spectrum.padding,
            np.zeros_like(pixel) if dose is None else np.asarray(dose, np.float64), ewald, ctf != "none",
        )  # fmt: skip
        self.slicer = Slicer(self.spectrum, box, self.r_max, ctf, bool(ewald))
        n = len(pixel)
        self.domain = {"volume": self.spectrum.domain} | {k: Space((n, *s), "float64") for k, s in NAMES.items()}
        self.range = Space((n, box, box // 2 + 1), self.slicer.complex)

    @classmethod
    def of(cls, particles: Particles, size: int | None = None, **options: Any) -> FourierSlice:
        """The operator for some particles: their pixel, voltage and dose, and the CTF that their file calls for."""
        optics, group = particles.optics, particles.group
        flipped = any(o.phase_flipped for o in optics)
        options.setdefault("ctf", "none" if not particles.has_ctf else "phase-flipped" if flipped else "ctf")
        pixel = np.array([o.pixel for o in optics])[group]
        voltage = np.array([o.voltage for o in optics])[group]
        return cls(size or particles.box, particles.box, pixel, voltage, dose=particles.dose, **options)

    def inputs(self, particles: Particles, volume: Array) -> dict[str, Array]:
        """The operator's inputs for particles and a volume, on the volume's device."""
        xp = namespace(volume)
        return {"volume": volume} | {k: xp.asarray(v) for k, v in parameters(particles).items()}

    def __call__(self, x: Element) -> Array:
        spectrum, records, _ = self._prepared(x)
        return self.slicer.images(spectrum, records)

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        spectrum, records, values = self._prepared(x)
        xp = namespace(spectrum)

        def push(d: Element) -> Array:
            made = self.slicer.images(self.spectrum.forward(d["volume"]), records)
            tangents = {name: to_numpy(d[name]) for name in NAMES}
            made += self.slicer.push(spectrum, records, self._on(xp, self.records.push(values, tangents)))
            return made

        def pull(g: Array) -> Element:
            g = xp.ascontiguousarray(g)
            volume = self.spectrum.adjoint(self.slicer.adjoint(g, records))
            return {"volume": volume} | self._back(xp, values, self.slicer.pull(spectrum, records, g))

        value = self.slicer.images(spectrum, records)
        return value, Linear(self.domain, self.range, push, pull, "Jacobian of FourierSlice")

    def residual_grad(self, x: Element, data: Element, weights: Any = None) -> tuple[float, Element]:
        """Fused: no slice is stored.  `weights` is None, a number, or shells (s,) or (groups = n, s) by |k| rounded."""
        if weights is not None and getattr(weights, "shape", ()) == tuple(self.range.shape):
            return super().residual_grad(x, data, weights)
        spectrum, records, values = self._prepared(x)
        value, g_volume, g_records = self.misfit(spectrum, records, data, weights)
        return value, {"volume": g_volume} | self._back(namespace(spectrum), values, g_records)

    def misfit(
        self, spectrum: Array, records: Array, data: Array, weights: Any, params: bool = True
    ) -> tuple[float, Array, Array | None]:
        """The misfit of a volume's spectrum, its gradient in the volume and, if asked for, in the records."""
        check_element(self.range, data, "FourierSlice.residual_grad: data")
        xp, n = namespace(spectrum), len(records)
        table = xp.asarray(np.ones(1) if weights is None else weights, self.dtype)
        if table.size == 1:
            table = xp.full(self.box, float(table.reshape(-1)[0]), self.dtype)
        table = xp.ascontiguousarray(table.reshape(-1, table.shape[-1]))
        if len(table) not in (1, n):
            raise ValueError(f"FourierSlice.residual_grad: weights: expected 1 or {n} rows of shells, got {len(table)}")
        groups = xp.arange(n, dtype="int32") if len(table) > 1 else None
        g_spectrum = xp.zeros(self.spectrum.range.shape, self.slicer.complex)
        misfit, g_records = self.slicer.residual(spectrum, data, records, table, groups, None, g_spectrum, params)
        return float(misfit.sum()) + self._unmodelled(data, table), self.spectrum.adjoint(g_spectrum), g_records

    def _unmodelled(self, data: Array, table: Array) -> float:
        """The misfit of the points beyond r_max, where the model is zero."""
        xp = namespace(data)
        y, x = xp.fft.fftfreq(self.box, 1 / self.box)[:, None], xp.arange(self.box // 2 + 1)[None]
        radius = xp.sqrt(x * x + y * y)
        outside = radius > self.r_max
        shell = (radius[outside] + 0.5).astype("int64")
        weights = xp.where(shell < table.shape[1], table[:, xp.minimum(shell, table.shape[1] - 1)], 0)
        return 0.5 * float((weights * xp.abs(data[:, outside]) ** 2).sum(dtype="float64"))

    def fix(self, **values: Array) -> Operator:
        if set(values) == set(NAMES):
            for name, value in values.items():
                check_element(self.domain[name], value, f"FourierSlice.fix: {name}")
            return KnownSlices(self, {name: to_numpy(value) for name, value in values.items()})
        return super().fix(**values)

    def __getitem__(self, views: Any) -> FourierSlice:
        """The operator of some particles."""
        r, s = self.records, self.spectrum
        return FourierSlice(
            self.size, self.box, r.pixel[views], r.voltage[views], kernel=s.taps.name, padding=s.padding,
            gridding=s.gridding, ctf=self.ctf, ewald=self.ewald, r_max=self.r_max, voxel=self.voxel,
            dose=r.dose[views], dtype=self.dtype,
        )  # fmt: skip

    def _prepared(self, x: Element) -> tuple[Array, Array, dict[str, np.ndarray]]:
        check_element(self.domain, x, "FourierSlice: x")
        values = {name: to_numpy(x[name]) for name in NAMES}
        xp = namespace(x["volume"])
        return self.spectrum.forward(x["volume"]), self._on(xp, self.records(values)), values

    def _on(self, xp: Any, table: np.ndarray) -> Array:
        return xp.asarray(np.ascontiguousarray(table, self.dtype))

    def _back(self, xp: Any, values: Mapping[str, np.ndarray], g_records: Array | None) -> dict[str, Array]:
        assert g_records is not None
        return {k: xp.asarray(g) for k, g in self.records.pull(values, to_numpy(g_records)).items()}


class KnownSlices(LinearOperator):
    """Volume -> transforms of particle images whose poses and optics are known: worked out once, not differentiated."""

    def __init__(self, of: FourierSlice, values: Mapping[str, np.ndarray]) -> None:
        self.of, self.values = of, values
        self.domain, self.range = of.domain["volume"], of.range
        self._table = np.ascontiguousarray(of.records(values), of.dtype)

    def forward(self, x: Array, out: Array | None = None) -> Array:
        check_element(self.domain, x, "FourierSlice.forward: x")
        return into(out, self.of.slicer.images(self.of.spectrum.forward(x), self._records(x)))

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        check_element(self.range, y, "FourierSlice.adjoint: y")
        grown = self.of.slicer.adjoint(namespace(y).ascontiguousarray(y), self._records(y))
        return into(out, self.of.spectrum.adjoint(grown))

    def residual_grad(self, x: Element, data: Element, weights: Any = None) -> tuple[float, Element]:
        if weights is not None and getattr(weights, "shape", ()) == tuple(self.range.shape):
            return super().residual_grad(x, data, weights)
        check_element(self.domain, x, "FourierSlice: x")
        value, g_volume, _ = self.of.misfit(self.of.spectrum.forward(x), self._records(x), data, weights, params=False)
        return value, g_volume

    def __getitem__(self, views: Any) -> KnownSlices:
        return KnownSlices(self.of[views], {name: value[views] for name, value in self.values.items()})

    def _records(self, like: Array) -> Array:
        made: Array = namespace(like).asarray(self._table)
        return made


def parameters(particles: Particles) -> dict[str, np.ndarray]:
    """One float64 array per name of `records.NAMES`, for every particle."""
    optics, group = particles.optics, particles.group

    def of_group(values: list[Any]) -> np.ndarray:
        return np.array(values, np.float64)[group]

    def padded(coefficients: tuple[float, ...], name: str) -> list[float]:
        size = NAMES[name][0]
        if len(coefficients) > size:
            raise ValueError(f"{name}: expected at most {size} coefficients, found {len(coefficients)}")
        return [*coefficients, *[0.0] * (size - len(coefficients))]

    own = {name: np.array(getattr(particles, name), np.float64) for name in OWN}
    return own | {
        "cs": of_group([o.cs for o in optics]),
        "amplitude_contrast": of_group([o.amplitude_contrast for o in optics]),
        "beam_tilt": of_group([o.beam_tilt for o in optics]),
        "odd_zernike": of_group([padded(o.odd_zernike, "odd_zernike") for o in optics]),
        "even_zernike": of_group([padded(o.even_zernike, "even_zernike") for o in optics]),
        "magnification": of_group([o.magnification for o in optics]),
    }


OWN = ("rotation", "shift", "defocus", "phase_shift", "b_factor", "scale")
"""Parameters that each particle has of its own; the others belong to its optics group."""
