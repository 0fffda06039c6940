"""Scattering and transmission of a plane atmosphere above a planet's surface, in the form that ISIS uses.

    I = path + rho (Ah mu0 total / (1 - rho Ab sky) + (R - Ah mu0) direct)

R is the reflectance of the surface, rho its albedo beside that assumed in R, Ah and Ab its hemispheric and Bond albedo.
First-order solutions with X and Y functions: Chandrasekhar 1960, Radiative Transfer, chapters 8 and 9; as `Isotropic1`
and `Anisotropic1` of USGS ISIS (photomet) apply them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import exp1

from tomodiff.array import Array, Element
from tomodiff.core import LinearOperator, Operator, Space, check_element
from tomodiff.core.operators import Linear

TERMS = ("path", "total", "direct", "sky")
"""Radiance of the air; transmission with and without scattered light; albedo of the sky as the ground sees it."""
KINDS = ("isotropic", "anisotropic")
SCALE_HEIGHT = 0.003
"""Of an atmosphere over the radius of its planet, by which slant paths near the horizon are shortened."""
CLEAR = np.array([0.0, 1.0, 1.0, 0.0])
"""The terms without air."""
THINNEST = 1e-9
"""Depth below which the formulas, which divide by it, are not evaluated."""
LEAST = 1 / 69
"""Of a cosine over the optical depth: paths are no longer than 69 depths."""
STEP = 1e-30
"""Of the complex step, which has no rounding to balance (Squire and Trapp 1998, SIAM Review 40, 110)."""


class Atmosphere(Operator):
    """{"tau", "wha"[, "bha"]} (m,) each -> the four `TERMS` (m, 4) of each of m geometries.

    tau: optical depth towards the zenith; wha: single scattering albedo, below 1; bha: of kind "anisotropic", where
    light is scattered by 1 + bha cos(angle).  mu0, mu, cos_phase (m,): cosines of incidence, emission and phase on
    level ground.  scale_height: of the air over the radius of the planet.  Values are I/F, as those of `photometry`;
    exact derivatives.  The path radiance of the anisotropic kind does not vanish with the depth, as that of ISIS does
    not; at a depth of exactly 0 there is no air.  ValueError for depths below 0 and albedos outside 0 to 1.
    """

    def __init__(
        self, mu0: Any, mu: Any, cos_phase: Any, kind: str = "isotropic", scale_height: float = SCALE_HEIGHT
    ) -> None:  # fmt: skip
        if kind not in KINDS:
            raise ValueError(f"kind: expected {' or '.join(KINDS)}, got {kind!r}")
        if not scale_height > 0:
            raise ValueError(f"scale_height: expected a number above 0, got {scale_height:g}")
        given = np.broadcast_arrays(*(np.atleast_1d(np.asarray(a, np.float64)) for a in (mu0, mu, cos_phase)))
        self.mu0, self.mu, self.cos_phase = given
        self.kind, self.scale_height = kind, float(scale_height)
        names = ("tau", "wha", "bha") if kind == "anisotropic" else ("tau", "wha")
        self.domain = {name: Space(self.mu0.shape, "float64") for name in names}
        self.range = Space((*self.mu0.shape, len(TERMS)), "float64")

    def __call__(self, x: Element) -> Array:
        self._check(x)
        return self._terms(x).real

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        value = self(x)
        slopes = {name: self._terms(x | {name: x[name] + 1j * STEP}).imag / STEP for name in self.domain}

        def push(d: Element) -> Array:
            return sum(slopes[name] * d[name][:, None] for name in self.domain)

        def pull(g: Array) -> Element:
            return {name: (slopes[name] * g).sum(1) for name in self.domain}

        return value, Linear(self.domain, self.range, push, pull, "Jacobian of Atmosphere")

    def _check(self, x: Element) -> None:
        check_element(self.domain, x, "Atmosphere: x")
        if not (x["tau"] >= 0).all():
            raise ValueError(f"tau: expected optical depths of at least 0, got {x['tau'].min():g}")
        if not ((x["wha"] > 0) & (x["wha"] < 1)).all():
            raise ValueError(f"wha: expected albedos above 0 and below 1, got {x['wha'].min():g} to {x['wha'].max():g}")
        if "bha" in x and not ((x["bha"] > 0) & (x["bha"] <= 1)).all():
            raise ValueError(f"bha: expected above 0 and at most 1, got {x['bha'].min():g} to {x['bha'].max():g}")

    def _terms(self, x: Element) -> np.ndarray:
        """With the complex step of `x`, if it has one; no air at all where the depth is exactly 0."""
        tau = np.asarray(x["tau"], np.complex128)
        air = np.where(tau.real > THINNEST, tau, THINNEST + 1j * tau.imag)
        if self.kind == "isotropic":
            made = np.stack(self._isotropic(air, x["wha"] + 0j), -1)
        else:
            made = np.stack(self._anisotropic(air, x["wha"] + 0j, x["bha"] + 0j), -1)
        return np.where((tau.real == 0)[..., None], CLEAR + 1j * made.imag, made)

    def _beam(self, mu: np.ndarray, tau: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The cosine that a curved atmosphere's path has, at least `LEAST` depths, and what passes along it."""
        thick = self.scale_height
        curved = (np.sqrt(thick * (2 + thick) + mu**2) + mu) / (2 + thick)  # thick / (sqrt(..) - mu)
        slant = np.where(curved > tau.real * LEAST, curved, tau * LEAST)
        return slant, np.exp(-tau / slant)

    def _isotropic(self, tau: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, ...]:
        e2, e3, e4, _ = _exponential_integrals(tau)
        x0, y0 = w / 2, w / 2 * e2
        delta = (1 - (x0 + y0) - (1 - w) / (1 - (x0 - y0))) / (w * (0.5 - e3))
        alpha0, alpha1, beta0, beta1 = _moments(delta, e2, e3, e4)
        sky = 1 - ((2 - w * alpha0) * alpha1 + w * beta0 * beta1)
        (m0, down), (m, up) = self._beam(self.mu0, tau), self._beam(self.mu, tau)
        (xs, ys), (xv, yv) = _corrected(delta, m0, down), _corrected(delta, m, up)
        of_x, of_y = w / 2 * beta0, 1 - w / 2 * alpha0
        total = (of_x * xs + of_y * ys) * (of_x * xv + of_y * yv)
        path = w / 4 * m0 / (m0 + m) * (xs * xv - ys * yv)
        return path, total, down * up, sky

    def _anisotropic(self, tau: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
        """The part of scattered light that does not depend on azimuth, and that which goes with its cosine."""
        e2, e3, e4, e5 = _exponential_integrals(tau)
        lost = 1 - w
        x0, y0 = w / 2 * (1 + b * lost / 3), w / 2 * (e2 + b * lost * e4)
        even = (1 - (x0 + y0) - (1 - w * (1 + b * lost / 3)) / (1 - (x0 - y0))) / (
            w * (0.5 - e3 + b * lost * (0.25 - e5))
        )
        alpha0, alpha1, beta0, beta1 = _moments(even, e2, e3, e4)
        f = 2 - w * alpha0
        under = f**2 - (w * beta0) ** 2
        q0 = b * w * lost * (f * alpha1 - w * beta0 * beta1) / under
        p0 = b * w * lost * (-f * beta1 - w * beta0 * alpha1) / under
        q1, p1 = 2 * lost * f / under, 2 * lost * w * beta0 / under
        sky = 1 - 2 * (q1 * alpha1 + p1 * beta1)
        x1, y1 = w * b / 6, w * b / 4 * (e2 - e4)
        odd = (1 - (x1 + y1) - (1 - w * b / 3) / (1 - (x1 - y1))) / (w / 2 * b * (0.25 - (e3 - e5)))
        (m0, down), (m, up) = self._beam(self.mu0, tau), self._beam(self.mu, tau)
        (xs, ys), (xv, yv) = _corrected(even, m0, down), _corrected(even, m, up)
        (xs1, ys1), (xv1, yv1) = _corrected(odd, m0, down), _corrected(odd, m, up)
        total = (p1 * xs + q1 * ys) * (p1 * xv + q1 * yv)
        both, product = self.mu0 + self.mu, self.mu0 * self.mu
        square = (q0**2 - p0**2 - b * (q1**2 - p1**2)) * product
        scattered = (
            (1 - q0 * both + square) * xs * xv - (1 + q0 * both + square) * ys * yv
            - p0 * both * (xv * ys + yv * xs) + (self.cos_phase - product) * b * (xv1 * xs1 - yv1 * ys1)
        )  # fmt: skip
        return w / 4 * m0 / (m0 + m) * scattered, total, down * up, sky


def _moments(delta: np.ndarray, e2: np.ndarray, e3: np.ndarray, e4: np.ndarray) -> tuple[np.ndarray, ...]:
    """Moments 0 and 1 of the corrected X and Y functions: alpha0, alpha1, beta0, beta1."""
    zeroth, first = delta * (0.5 - e3), delta * (1 / 3 - e4)
    return 1 + zeroth, 0.5 + first, e2 + zeroth, e3 + first


def _corrected(delta: np.ndarray, mu: np.ndarray, through: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First approximations of the X and Y functions, with the correction that conserves flux."""
    more = delta * mu * (1 - through)
    return 1 + more, through + more


def _exponential_integrals(tau: np.ndarray) -> tuple[np.ndarray, ...]:
    """E2 to E5 of a depth with a complex step, by their recurrence."""
    dying = np.exp(-tau)
    e = exp1(tau.real) - 1j * tau.imag * np.exp(-tau.real) / tau.real  # E1' = -exp(-x) / x
    found = []
    for n in range(1, 5):
        e = (dying - tau * e) / n
        found.append(e)
    return tuple(found)
