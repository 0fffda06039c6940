"""The record of a particle: how its pose and optics become the vectors and polynomials that the slice kernels take.

A record holds, in the order of cuda_kernels/slice.cuh, the three axes of the image in the spectrum, the even and the
odd polynomial of the phase (turns), scale, envelope, dose and the unit of frequency.  Push and pull are exact.
Formulas and signs: RELION (src/ctf.h, src/ctf.cpp, src/jaz/single_particle/obs_model.cpp); see docs/conventions.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomodiff.geometry.units import ANGSTROM_PER_MM
from tomodiff.projectors.phase_polynomials import (
    EVEN_DEGREES,
    ODD_DEGREES,
    beam_tilt_table,
    substitution,
    zernike_table,
)

RECORD = 48
AXES, EVEN, ODD, SCALE, FORM, DOSE, UNIT = slice(0, 9), slice(9, 25), slice(25, 37), 37, slice(38, 41), 41, 42

Values = Mapping[str, np.ndarray]

NAMES: Mapping[str, tuple[int, ...]] = {
    "rotation": (3, 3),
    "shift": (2,),
    "defocus": (3,),
    "cs": (),
    "phase_shift": (),
    "amplitude_contrast": (),
    "b_factor": (),
    "scale": (),
    "beam_tilt": (2,),
    "odd_zernike": (12,),
    "even_zernike": (16,),
    "magnification": (2, 2),
}
"""Every parameter with a gradient, and the shape that one particle has of it.

rotation: A; shift, angstrom; defocus: U, V in angstrom, angle in radians; cs, mm; phase_shift, radians;
amplitude_contrast; b_factor, angstrom^2; scale; beam_tilt, mrad; Zernike coefficients in RELION's order (odd up to
n = 5, even up to n = 6), radians; magnification M.
"""


def wavelength(voltage: np.ndarray) -> np.ndarray:
    """Angstrom, of electrons accelerated by `voltage` kV (RELION's constants)."""
    volts = 1e3 * np.asarray(voltage, np.float64)
    return np.asarray(12.2643247 / np.sqrt(volts * (1 + 0.978466e-6 * volts)))


@dataclass(frozen=True, eq=False)
class Records:
    """Records of n particles whose images have `box` pixels of `pixel` (n,) angstrom.

    voltage (n,) kV, dose (n,) electrons per square angstrom: constants.  stretch: steps of the spectrum for one step of
    an image's transform.  ewald: 0, or the sign of the Ewald sphere's curvature.  ctf: whether defocus and the like
    have an effect.
    """

    box: int
    pixel: np.ndarray
    voltage: np.ndarray
    stretch: np.ndarray
    dose: np.ndarray
    ewald: int = 0
    ctf: bool = True

    def __len__(self) -> int:
        return len(self.pixel)

    def __getitem__(self, which: Any) -> Records:
        """The records of some particles."""
        pixel, voltage, stretch, dose = (a[which] for a in (self.pixel, self.voltage, self.stretch, self.dose))
        return Records(self.box, pixel, voltage, stretch, dose, self.ewald, self.ctf)

    # ---- values

    def __call__(self, values: Values) -> np.ndarray:
        """(n, 48) float64."""
        made = np.zeros((len(self), RECORD))
        M = values["magnification"]
        made[:, AXES] = self._axes(values["rotation"], M)
        odd = self._odd(values)
        made[:, ODD] = _substituted(odd, M, ODD_DEGREES)
        made[:, ODD.start : ODD.start + 2] += values["shift"] / (2 * self.pixel[:, None])
        if self.ctf:
            made[:, EVEN] = _substituted(self._even(values), M, EVEN_DEGREES)
        made[:, SCALE] = values["scale"]
        made[:, FORM] = np.einsum("nij,nj->ni", substitution(M, 2)[0], self._form(values["b_factor"]))
        made[:, DOSE] = self.dose
        made[:, UNIT] = 1 / (self.box * self.pixel)
        return made

    def _curvature(self) -> np.ndarray:
        """Height of the Ewald sphere over the plane, in steps of the spectrum, at one step of the image's transform."""
        return self.ewald * self.stretch * wavelength(self.voltage) / (2 * self.box * self.pixel)

    def _axes(self, A: np.ndarray, M: np.ndarray) -> np.ndarray:
        """X, Y = rows of (M' A[:2]), Z = the curved third row."""
        plane = self.stretch[:, None, None] * np.einsum("nji,njc->nic", M, A[:, :2])
        return np.concatenate([plane.reshape(-1, 6), self._curvature()[:, None] * A[:, 2]], 1)

    def unit(self, degree: int) -> np.ndarray:
        """k^degree in 1/angstrom for (u, v) = 1, as turns per radian."""
        return (1 / (2 * self.pixel)) ** degree / (2 * np.pi)

    def _quadratic(self, defocus: np.ndarray) -> np.ndarray:
        """(n, 3) Axx, 2 Axy, Ayy."""
        U, V, (c, s) = defocus[:, 0], defocus[:, 1], (np.cos(defocus[:, 2]), np.sin(defocus[:, 2]))
        return -np.stack([U * c * c + V * s * s, 2 * (U - V) * s * c, U * s * s + V * c * c], 1)

    def _even(self, values: Values) -> np.ndarray:
        """The even polynomial before the magnification."""
        lam, made = wavelength(self.voltage), np.zeros((len(self), 16))
        made[:, 0] = -(values["phase_shift"] + np.arcsin(values["amplitude_contrast"])) / (2 * np.pi)
        made[:, 1:4] = (np.pi * lam * self.unit(2))[:, None] * self._quadratic(values["defocus"])
        fourth = np.pi / 2 * ANGSTROM_PER_MM * values["cs"] * lam**3 * self.unit(4)
        made[:, 4:9] += fourth[:, None] * np.array([1.0, 0, 2, 0, 1])
        return made + values["even_zernike"] @ zernike_table("even") * self._units(EVEN_DEGREES)

    def _odd(self, values: Values) -> np.ndarray:
        """The odd polynomial before the magnification, without the shift."""
        tilt = np.einsum("n,nt,tc->nc", self._tilt_unit() * values["cs"], values["beam_tilt"], beam_tilt_table())
        return (values["odd_zernike"] @ zernike_table("odd")) * self._units(ODD_DEGREES) + tilt

    def _tilt_unit(self) -> np.ndarray:
        """Turns of -Cs lambda^2 |k|^2 (tilt . k) at (u, v) = 1, per mm and mrad."""
        return -1e-3 * ANGSTROM_PER_MM * wavelength(self.voltage) ** 2 * 2 * np.pi * self.unit(3)

    def _units(self, degrees: tuple[int, ...]) -> np.ndarray:
        return np.concatenate([np.repeat(self.unit(d)[:, None], d + 1, 1) for d in degrees], 1)

    def _form(self, b: np.ndarray) -> np.ndarray:
        quarter = -b / 4 * (1 / (2 * self.pixel)) ** 2
        return np.stack([quarter, 0 * quarter, quarter], 1)

    # ---- derivatives

    def push(self, values: Values, tangents: Values) -> np.ndarray:
        """The derivative of the records along tangents of some of the parameters."""
        made = np.zeros((len(self), RECORD))
        for name, d in tangents.items():
            if not d.any():
                continue
            made += getattr(self, f"_push_{name}")(values, d)
        return made

    def pull(self, values: Values, g: np.ndarray, names: tuple[str, ...] = tuple(NAMES)) -> dict[str, np.ndarray]:
        """The gradient in the named parameters of a function whose gradient in the records is `g` (n, 48)."""
        return {name: getattr(self, f"_pull_{name}")(values, np.asarray(g, np.float64)) for name in names}

    def _push_rotation(self, values: Values, d: np.ndarray) -> np.ndarray:
        return _in(AXES, self._axes(d, values["magnification"]))

    def _pull_rotation(self, values: Values, g: np.ndarray) -> np.ndarray:
        plane = self.stretch[:, None, None] * (values["magnification"] @ g[:, 0:6].reshape(-1, 2, 3))
        return np.concatenate([plane, (self._curvature()[:, None] * g[:, 6:9])[:, None]], 1)

    def _push_shift(self, values: Values, d: np.ndarray) -> np.ndarray:
        return _in(slice(ODD.start, ODD.start + 2), d / (2 * self.pixel[:, None]))

    def _pull_shift(self, values: Values, g: np.ndarray) -> np.ndarray:
        return g[:, ODD.start : ODD.start + 2] / (2 * self.pixel[:, None])

    def _push_scale(self, values: Values, d: np.ndarray) -> np.ndarray:
        return _in(slice(SCALE, SCALE + 1), d[:, None])

    def _pull_scale(self, values: Values, g: np.ndarray) -> np.ndarray:
        return g[:, SCALE]

    def _push_b_factor(self, values: Values, d: np.ndarray) -> np.ndarray:
        return _in(FORM, np.einsum("nij,nj->ni", substitution(values["magnification"], 2)[0], self._form(d)))

    def _pull_b_factor(self, values: Values, g: np.ndarray) -> np.ndarray:
        back = np.einsum("nij,ni->nj", substitution(values["magnification"], 2)[0], g[:, FORM])
        return np.einsum("nj,nj->n", back, self._form(np.ones(len(self))))

    # Parameters of the even polynomial: each is a Jacobian (n, 16, ...) of `_even`, then the magnification.

    def _even_jacobian(self, name: str, values: Values) -> np.ndarray:
        n, lam = len(self), wavelength(self.voltage)
        if name == "even_zernike":
            return np.swapaxes(zernike_table("even")[None] * self._units(EVEN_DEGREES)[:, None], 1, 2)
        made = np.zeros((n, 16, 3 if name == "defocus" else 1))
        if name == "defocus":
            U, V, (c, s) = values["defocus"][:, 0], values["defocus"][:, 1], _circle(values["defocus"][:, 2])
            columns = (
                np.stack([c * c, 2 * s * c, s * s], 1),
                np.stack([s * s, -2 * s * c, c * c], 1),
                (U - V)[:, None] * np.stack([-2 * s * c, 2 * (c * c - s * s), 2 * s * c], 1),
            )
            made[:, 1:4] = -(np.pi * lam * self.unit(2))[:, None, None] * np.stack(columns, 2)
        elif name == "cs":
            fourth = np.pi / 2 * ANGSTROM_PER_MM * lam**3 * self.unit(4)
            made[:, 4:9, 0] = fourth[:, None] * np.array([1.0, 0, 2, 0, 1])
        elif name == "phase_shift":
            made[:, 0, 0] = -1 / (2 * np.pi)
        else:
            made[:, 0, 0] = -1 / (2 * np.pi * np.sqrt(1 - values["amplitude_contrast"] ** 2))
        return made

    def _odd_jacobian(self, name: str, values: Values) -> np.ndarray:
        if name == "odd_zernike":
            return np.swapaxes(zernike_table("odd")[None] * self._units(ODD_DEGREES)[:, None], 1, 2)
        if name == "beam_tilt":
            return (self._tilt_unit() * values["cs"])[:, None, None] * beam_tilt_table().T[None]
        return np.einsum("n,nt,tc->nc", self._tilt_unit(), values["beam_tilt"], beam_tilt_table())[:, :, None]  # cs

    def _push_phase(self, name: str, values: Values, d: np.ndarray) -> np.ndarray:
        made, M, column = np.zeros((len(self), RECORD)), values["magnification"], d.reshape(len(self), -1)
        if name in EVEN_NAMES and self.ctf:
            step = np.einsum("npc,nc->np", self._even_jacobian(name, values), column)
            made[:, EVEN] = _substituted(step, M, EVEN_DEGREES)
        if name in ODD_NAMES:
            step = np.einsum("npc,nc->np", self._odd_jacobian(name, values), column)
            made[:, ODD] += _substituted(step, M, ODD_DEGREES)
        return made

    def _pull_phase(self, name: str, values: Values, g: np.ndarray) -> np.ndarray:
        M = values["magnification"]
        total = np.zeros((len(self), int(np.prod(NAMES[name], dtype=int))))
        if name in EVEN_NAMES and self.ctf:
            back = _substituted(g[:, EVEN], M, EVEN_DEGREES, transposed=True)
            total += np.einsum("npc,np->nc", self._even_jacobian(name, values), back)
        if name in ODD_NAMES:
            back = _substituted(g[:, ODD], M, ODD_DEGREES, transposed=True)
            total += np.einsum("npc,np->nc", self._odd_jacobian(name, values), back)
        return total.reshape(len(self), *NAMES[name])

    def _magnified(self, values: Values) -> list[tuple[int, int, np.ndarray]]:
        """Degree, place in the record, and coefficients of every polynomial that the magnification acts on."""
        parts = [(2, FORM.start, self._form(values["b_factor"]))]
        parts += _homogeneous(self._odd(values), ODD_DEGREES, ODD.start)
        return parts + (_homogeneous(self._even(values), EVEN_DEGREES, EVEN.start) if self.ctf else [])

    def _push_magnification(self, values: Values, d: np.ndarray) -> np.ndarray:
        made = _in(AXES, self._axes(values["rotation"], d))
        made[:, 6:9] = 0
        for degree, start, p in self._magnified(values):
            slopes = substitution(values["magnification"], degree)[1]
            made[:, start : start + degree + 1] += np.einsum("nabij,nj,nab->ni", slopes, p, d)
        return made

    def _pull_magnification(self, values: Values, g: np.ndarray) -> np.ndarray:
        plane = self.stretch[:, None, None] * np.einsum(
            "njc,nic->nji", values["rotation"][:, :2], g[:, 0:6].reshape(-1, 2, 3)
        )
        for degree, start, p in self._magnified(values):
            slopes = substitution(values["magnification"], degree)[1]
            plane = plane + np.einsum("nabij,nj,ni->nab", slopes, p, g[:, start : start + degree + 1])
        return plane


EVEN_NAMES = ("defocus", "cs", "phase_shift", "amplitude_contrast", "even_zernike")
ODD_NAMES = ("cs", "beam_tilt", "odd_zernike")


def _bind(name: str) -> None:
    def push(self: Records, values: Values, d: np.ndarray) -> np.ndarray:
        return self._push_phase(name, values, d)

    def pull(self: Records, values: Values, g: np.ndarray) -> np.ndarray:
        return self._pull_phase(name, values, g)

    setattr(Records, f"_push_{name}", push)
    setattr(Records, f"_pull_{name}", pull)


for _name in dict.fromkeys((*EVEN_NAMES, *ODD_NAMES)):
    _bind(_name)


def _circle(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.cos(angle), np.sin(angle)


def _in(place: slice, part: np.ndarray) -> np.ndarray:
    made = np.zeros((len(part), RECORD))
    made[:, place] = part
    return made


def _homogeneous(p: np.ndarray, degrees: tuple[int, ...], start: int) -> list[tuple[int, int, np.ndarray]]:
    parts, at = [], 0
    for degree in degrees:
        parts.append((degree, start + at, p[:, at : at + degree + 1]))
        at += degree + 1
    return parts


def _substituted(p: np.ndarray, M: np.ndarray, degrees: tuple[int, ...], transposed: bool = False) -> np.ndarray:
    """The polynomials k -> p(M k), or the transpose of that map of coefficients."""
    if (np.eye(2) == M).all():
        return p
    subscripts = "nji,nj->ni" if transposed else "nij,nj->ni"
    parts = [np.einsum(subscripts, substitution(M, d)[0], q) for d, _, q in _homogeneous(p, degrees, 0)]
    return np.concatenate(parts, 1)
