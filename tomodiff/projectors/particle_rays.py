"""Particle images by line integrals in real space: what `FourierSlice` models, without a spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.array import Array, fft_of, namespace
from tomodiff.core import LinearOperator, Space, check_element
from tomodiff.core.operators import into
from tomodiff.geometry import Grid, Vectors
from tomodiff.projectors.fourier_slice import FourierSlice
from tomodiff.projectors.phase_polynomials import EVEN_DEGREES, ODD_DEGREES
from tomodiff.projectors.records import DOSE, EVEN, FORM, NAMES, ODD, SCALE, UNIT
from tomodiff.projectors.spectrum import fft_workers
from tomodiff.projectors.xray import XRay


class RealSlice(LinearOperator):
    """Volume (size, size, size) -> transforms of the images (n, box, box // 2 + 1) of a `FourierSlice` without an Ewald
    sphere, at fixed `values` of all its other inputs.

    Rays run along the third rows of the rotations and are sums over voxels by `XRay` (Joseph 1982), so that the error
    of interpolation is another than that of a slice; CTF and shift act on the images' transforms.  Far slower.
    Raises ValueError for a model with an Ewald sphere, which has no line integrals.
    """

    def __init__(self, model: FourierSlice, **values: np.ndarray) -> None:
        if model.ewald:
            raise ValueError(f"model: expected a FourierSlice with ewald=0, found ewald={model.ewald}")
        if set(values) != set(NAMES):
            raise ValueError(f"values: expected {', '.join(NAMES)}, found {', '.join(values)}")
        self.box, self.dtype = model.box, model.dtype
        self.domain, self.range = Space((model.size,) * 3, model.dtype), model.range
        records = model.records
        self.rays = XRay(*beams(model.size, model.box, records.pixel / model.voxel, **values), dtype=model.dtype)
        area = (records.pixel / model.voxel) ** 2 / np.abs(np.linalg.det(values["magnification"]))
        self._factor = (area[:, None, None] * factors(model, values)).astype(model.range.dtype)

    def forward(self, x: Array, out: Array | None = None) -> Array:
        """The transforms of the images."""
        check_element(self.domain, x, "RealSlice.forward: x")
        xp = namespace(x)
        fft = fft_of(xp)
        seen = xp.fft.ifftshift(self.rays.forward(x), (1, 2))
        return into(out, fft.rfft2(seen, **fft_workers(xp)) * xp.asarray(self._factor))

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        """The transpose: a volume."""
        check_element(self.range, y, "RealSlice.adjoint: y")
        xp = namespace(y)
        g = y * xp.asarray(self._factor.conj())
        g[:, :, 1 : self.box // 2] *= 0.5  # irfft2 counts these columns twice
        seen = fft_of(xp).irfft2(g, (self.box, self.box), norm="forward", **fft_workers(xp))
        return into(out, self.rays.adjoint(xp.ascontiguousarray(xp.fft.fftshift(seen, (1, 2)))))


def beams(
    size: int, box: int, pixel: np.ndarray, rotation: np.ndarray, magnification: np.ndarray, **_: Any
) -> tuple[Grid, Vectors]:
    """A volume of unit voxels about voxel size // 2, and one parallel beam per particle about pixel box // 2.

    pixel: (n,) in voxels.  A frequency k of the image is M k of the specimen, so a place x in the image is M'^-1 x.
    """
    grid = Grid((size,) * 3, 1.0, ((size - 1) / 2 - size // 2,) * 3)
    inverse = np.linalg.inv(magnification)  # rows of M^-1 are columns of M'^-1
    steps = pixel[:, None, None] * np.einsum("nij,njc->nic", inverse, rotation[:, :2])
    middle = ((box - 1) / 2 - box // 2) * steps.sum(1)
    frames = np.concatenate([rotation[:, 2], middle, steps[:, 0], steps[:, 1]], 1)
    return grid, Vectors(frames, (box, box), "parallel")


def factors(model: FourierSlice, values: dict[str, np.ndarray]) -> np.ndarray:
    """(n, box, box // 2 + 1) what the microscope multiplies transforms with; zero where the model is zero."""
    kx, ky = np.arange(model.box // 2 + 1), np.fft.fftfreq(model.box, 1 / model.box)[:, None]
    u, v, radius = 2 * kx / model.box, 2 * ky / model.box, np.hypot(kx, ky)
    made = np.zeros((len(model.records), *radius.shape), np.complex128)
    for one, r in zip(made, model.records(values), strict=True):
        frequency = np.maximum(r[UNIT] * radius, 1e-6)
        loss = 0.5 / (0.245 * frequency**-1.665 + 2.81)  # Grant and Grigorieff 2015, eq. 3
        size = r[SCALE] * np.exp(polynomial(r[FORM], (2,), u, v) - r[DOSE] * loss)
        contrast = -np.sin(2 * np.pi * polynomial(r[EVEN], EVEN_DEGREES, u, v))
        contrast = {"ctf": contrast, "phase-flipped": np.abs(contrast), "none": np.ones_like(contrast)}[model.ctf]
        one[...] = (
            size * contrast * np.exp(2j * np.pi * polynomial(r[ODD], ODD_DEGREES, u, v)) * (radius <= model.r_max)
        )
    return made


def polynomial(p: np.ndarray, degrees: tuple[int, ...], u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Homogeneous polynomials of these degrees, coefficients one after another, at (u, v)."""
    total, at = np.zeros(np.broadcast_shapes(u.shape, v.shape)), 0
    for degree in degrees:
        for power in range(degree + 1):
            total += p[at + power] * u ** (degree - power) * v**power
        at += degree + 1
    return total
