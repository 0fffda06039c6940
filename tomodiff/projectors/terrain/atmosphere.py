"""Scattering and transmission of a plane atmosphere above a planet's surface, in the form that ISIS uses.

    I = path + rho (Ah mu0 total / (1 - rho Ab sky) + (R - Ah mu0) direct)

R is the reflectance of the surface, rho its albedo beside that assumed in R, Ah and Ab its hemispheric and Bond albedo.
Solutions with X and Y functions in the first and second approximation: Chandrasekhar 1960, Radiative Transfer, chapters
8 and 9; as `Isotropic1`, `Isotropic2`, `Anisotropic1`, `Anisotropic2`, `HapkeAtm1` and `HapkeAtm2` of USGS ISIS
(photomet) apply them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.array import Array, Element
from tomodiff.core import LinearOperator, Operator, Space, check_element
from tomodiff.core.operators import Linear
from tomodiff.projectors.terrain.atmosphere_series import Depth
from tomodiff.projectors.terrain.forward_scattering import phase_function, sky_albedo, transmitted

TERMS = ("path", "total", "direct", "sky")
"""Radiance of the air; transmission with and without scattered light; albedo of the sky as the ground sees it."""
KINDS = {
    "isotropic": ("tau", "wha"), "isotropic_2": ("tau", "wha"), "anisotropic": ("tau", "wha", "bha"),
    "anisotropic_2": ("tau", "wha", "bha"), "hapke": ("tau", "wha", "hga"), "hapke_2": ("tau", "wha", "hga"),
}  # fmt: skip
"""Kind -> its inputs; _2: in the second approximation."""
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
    """{"tau", "wha"[, "bha" or "hga"]} (m,) each -> the four `TERMS` (m, 4) of each of m geometries.

    tau: optical depth towards the zenith; wha: single scattering albedo, below 1; bha: of the anisotropic kinds, where
    light is scattered by 1 + bha cos(angle); hga: of the Hapke kinds, -1 to 1, the asymmetry of a Henyey-Greenstein
    phase function for what is scattered once.  mu0, mu, cos_phase (m,): cosines of incidence, emission and phase on
    level ground.  scale_height: of the air over the radius of the planet.  Values are I/F, as those of `photometry`;
    exact derivatives.  The path radiance of the anisotropic kind does not vanish with the depth, as that of ISIS does
    not; at a depth of exactly 0 there is no air.  ValueError for depths below 0 and albedos outside 0 to 1.
    """

    def __init__(
        self, mu0: Any, mu: Any, cos_phase: Any, kind: str = "isotropic", scale_height: float = SCALE_HEIGHT
    ) -> None:  # fmt: skip
        if kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
        if not scale_height > 0:
            raise ValueError(f"scale_height: expected a number above 0, got {scale_height:g}")
        given = np.broadcast_arrays(*(np.atleast_1d(np.asarray(a, np.float64)) for a in (mu0, mu, cos_phase)))
        self.mu0, self.mu, self.cos_phase = given
        self.kind, self.scale_height = kind, float(scale_height)
        self.domain = {name: Space(self.mu0.shape, "float64") for name in KINDS[kind]}
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
        if "hga" in x and not (np.abs(x["hga"]) < 1).all():
            raise ValueError(f"hga: expected between -1 and 1, got {x['hga'].min():g} to {x['hga'].max():g}")

    def _terms(self, x: Element) -> np.ndarray:
        """With the complex step of `x`, if it has one; no air at all where the depth is exactly 0."""
        tau = np.asarray(x["tau"], np.complex128)
        air = Depth(np.where(tau.real > THINNEST, tau, THINNEST + 1j * tau.imag), 2 if self.kind.endswith("_2") else 1)
        if self.kind.startswith("anisotropic"):
            made = np.stack(self._anisotropic(air, x["wha"] + 0j, x["bha"] + 0j), -1)
        else:
            made = np.stack(self._isotropic(air, x["wha"] + 0j, x["hga"] + 0j if "hga" in x else None), -1)
        return np.where((tau.real == 0)[..., None], CLEAR + 1j * made.imag, made)

    def _beam(self, mu: np.ndarray, tau: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The cosine that a curved atmosphere's path has, at least `LEAST` depths, and what passes along it."""
        thick = self.scale_height
        curved = (np.sqrt(thick * (2 + thick) + mu**2) + mu) / (2 + thick)  # thick / (sqrt(..) - mu)
        slant = np.where(curved > tau.real * LEAST, curved, tau * LEAST)
        return slant, np.exp(-tau / slant)

    def _isotropic(self, air: Depth, w: np.ndarray, g: np.ndarray | None) -> tuple[np.ndarray, ...]:
        """Isotropic scattering; with an asymmetry g, what is scattered once goes by its phase function."""
        half, (_, _, e2, e3, e4, _), G, H = w / 2, air.e, air.g, air.gp
        x0, y0 = half * (1 + half * G["12"]), half * (e2 + half * H["12"])
        delta = (1 - (x0 + y0) - (1 - w) / (1 - (x0 - y0))) / (w * (0.5 - e3))
        zeroth, first = delta * (0.5 - e3), delta * (1 / 3 - e4)
        alpha0, alpha1 = 1 + half * G["12"] + zeroth, 0.5 + half * G["13"] + first
        beta0, beta1 = e2 + half * H["12"] + zeroth, e3 + half * H["13"] + first
        sky = 1 - ((2 - w * alpha0) * alpha1 + w * beta0 * beta1)
        (m0, down), (m, up) = self._beam(self.mu0, air.tau), self._beam(self.mu, air.tau)

        def functions(mu: np.ndarray, through: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            f1, _, f1m, _ = air.seen(mu, through)
            more = delta * mu * (1 - through)
            return 1 + half * f1m + more, through * (1 + half * f1) + more

        (xs, ys), (xv, yv) = functions(m0, down), functions(m, up)
        of_x, of_y = half * beta0, 1 - half * alpha0
        towards, away, scattered, beam = of_x * xs + of_y * ys, of_x * xv + of_y * yv, xs * xv - ys * yv, down
        if g is not None:
            sun, glow = transmitted(air.tau, w, g, self.mu0)
            towards, away, beam = towards + sun, away + transmitted(air.tau, w, g, self.mu)[0], down + glow
            scattered = scattered + (phase_function(self.cos_phase, g) - 1) * (1 - up * down)
            sky = sky + sky_albedo(air.tau, w, g)
        return w / 4 * m0 / (m0 + m) * scattered, towards * away, beam * up, sky

    def _anisotropic(self, air: Depth, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
        """The part of scattered light that does not depend on azimuth, and that which goes with its cosine."""
        half, (_, _, e2, e3, e4, e5), G, H = w / 2, air.e, air.g, air.gp
        lost = 1 - w
        c = b * lost
        x0 = half * (1 + c / 3 + half * (G["12"] + c * (G["14"] + G["32"]) + c**2 * G["34"]))
        y0 = half * (e2 + c * e4 + half * (H["12"] + c * (H["14"] + H["32"]) + c**2 * H["34"]))
        even = (1 - (x0 + y0) - (1 - w * (1 + c / 3)) / (1 - (x0 - y0))) / (w * (0.5 - e3 + c * (0.25 - e5)))
        zeroth, first = even * (0.5 - e3), even * (1 / 3 - e4)
        alpha0 = 1 + half * (G["12"] + c * G["32"]) + zeroth
        alpha1 = 0.5 + half * (G["13"] + c * G["33"]) + first
        beta0 = e2 + half * (H["12"] + c * H["32"]) + zeroth
        beta1 = e3 + half * (H["13"] + c * H["33"]) + first
        f = 2 - w * alpha0
        under = f**2 - (w * beta0) ** 2
        q0 = c * w * (f * alpha1 - w * beta0 * beta1) / under
        p0 = c * w * (-f * beta1 - w * beta0 * alpha1) / under
        q1, p1 = 2 * lost * f / under, 2 * lost * w * beta0 / under
        sky = 1 - 2 * (q1 * alpha1 + p1 * beta1)
        quarter = w * b / 4
        x1 = quarter * (2 / 3 + quarter * (G["12"] - (G["14"] + G["32"]) + G["34"]))
        y1 = quarter * (e2 - e4 + quarter * (H["12"] - (H["14"] + H["32"]) + H["34"]))
        odd = (1 - (x1 + y1) - (1 - w * b / 3) / (1 - (x1 - y1))) / (half * b * (0.25 - (e3 - e5)))
        (m0, down), (m, up) = self._beam(self.mu0, air.tau), self._beam(self.mu, air.tau)

        def functions(mu: np.ndarray, through: np.ndarray) -> tuple[np.ndarray, ...]:
            f1, f3, f1m, f3m = air.seen(mu, through)
            more = mu * (1 - through)
            return (
                1 + half * (f1m + c * f3m) + even * more, through * (1 + half * (f1 + c * f3)) + even * more,
                1 + quarter * (f1m - f3m) + odd * more, through * (1 + quarter * (f1 - f3)) + odd * more,
            )  # fmt: skip

        (xs, ys, xs1, ys1), (xv, yv, xv1, yv1) = functions(m0, down), functions(m, up)
        total = (p1 * xs + q1 * ys) * (p1 * xv + q1 * yv)
        both, product = self.mu0 + self.mu, self.mu0 * self.mu
        square = (q0**2 - p0**2 - b * (q1**2 - p1**2)) * product
        scattered = (
            (1 - q0 * both + square) * xs * xv - (1 + q0 * both + square) * ys * yv
            - p0 * both * (xv * ys + yv * xs) + (self.cos_phase - product) * b * (xv1 * xs1 - yv1 * ys1)
        )  # fmt: skip
        return w / 4 * m0 / (m0 + m) * scattered, total, down * up, sky
