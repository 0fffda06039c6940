"""LSMR: least squares with a residual of the normal equations that falls at every step."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot
from time import perf_counter

from tomodiff.array import Element, tmap, zeros_like
from tomodiff.core import Functional, weigh
from tomodiff.solvers.iterate import require
from tomodiff.solvers.linear import least_squares
from tomodiff.solvers.measures import change, unit
from tomodiff.solvers.state import State


@dataclass(frozen=True)
class Lsmr:
    """min 1/2 sum w (A x - data)^2 + damping/2 |x - x0|^2, x0 the start (Fong and Saunders 2011, section 2.8).

    In exact arithmetic MINRES on the normal equations: the gradient falls steadily, where that of CGLS swings.
    Measures, at the new x: "value", "residual_norm" (|A x - data| weighted by w), "gradient_norm", as the recurrences
    give them.  Memory: x, u (as the data), v, h, hbar, and the new x.
    """

    damping: float = 0.0

    def __post_init__(self) -> None:
        if not self.damping >= 0:
            raise ValueError(f"Lsmr: damping: expected a number >= 0, got {self.damping}")

    def start(self, f: Functional, x: Element) -> State:
        """The state before the first step."""
        A, data, weights = least_squares(f, "Lsmr")
        root = None if weights is None else tmap(lambda w: w**0.5, weights)
        u = weigh(tmap(lambda d, a: d - a, data, A.forward(x)), root)
        beta, u = unit(u)
        alpha, v = unit(A.adjoint(weigh(u, root)))
        memory = {
            "u": u, "v": v, "h": v, "hbar": zeros_like(v), "alpha": alpha,
            "zetabar": alpha * beta, "alphabar": alpha, "rho": 1.0, "rhobar": 1.0, "cbar": 1.0, "sbar": 0.0,
            "betadd": beta, "betad": 0.0, "rhodold": 1.0, "tautildeold": 0.0, "thetatilde": 0.0, "zeta": 0.0, "d": 0.0,
        }  # fmt: skip
        return State("Lsmr", x, memory=memory)

    def step(self, f: Functional, state: State) -> State:
        """One more step of the bidiagonalisation of Golub and Kahan."""
        require(state, "Lsmr")
        began, (A, _, weights), m = perf_counter(), least_squares(f, "Lsmr"), dict(state.memory)
        root = None if weights is None else tmap(lambda w: w**0.5, weights)
        damp = self.damping**0.5
        beta, u = unit(tmap(lambda a, b: a - m["alpha"] * b, weigh(A.forward(m["v"]), root), m["u"]))
        alpha, v = unit(tmap(lambda a, b: a - beta * b, A.adjoint(weigh(u, root)), m["v"]))
        alphahat = hypot(m["alphabar"], damp)
        chat, shat = _turn(m["alphabar"], damp, alphahat)
        rho_old, rho = m["rho"], hypot(alphahat, beta)
        c, s = _turn(alphahat, beta, rho)
        theta, alphabar = s * alpha, c * alpha
        rhobar_old, zeta_old = m["rhobar"], m["zeta"]
        thetabar, rhotemp = m["sbar"] * rho, m["cbar"] * rho
        rhobar = hypot(rhotemp, theta)
        cbar, sbar = _turn(rhotemp, theta, rhobar)
        zeta, zetabar = cbar * m["zetabar"], -sbar * m["zetabar"]
        back = thetabar * rho / (rho_old * rhobar_old) if rho_old * rhobar_old else 0.0
        hbar = tmap(lambda h, b: h - back * b, m["h"], m["hbar"])
        length = zeta / (rho * rhobar) if rho * rhobar else 0.0
        x = tmap(lambda a, b: a + length * b, state.x, hbar)
        h = tmap(lambda a, b: a - (theta / rho if rho else 0.0) * b, v, m["h"])
        # the norm of the residual (section 5.1)
        betaacute, betacheck = chat * m["betadd"], -shat * m["betadd"]
        betahat, betadd = c * betaacute, -s * betaacute
        thetatilde_old = m["thetatilde"]
        rhotilde_old = hypot(m["rhodold"], thetabar)
        ctilde, stilde = _turn(m["rhodold"], thetabar, rhotilde_old)
        thetatilde, rhodold = stilde * rhobar, ctilde * rhobar
        betad = -stilde * m["betad"] + ctilde * betahat
        tautilde = (zeta_old - thetatilde_old * m["tautildeold"]) / rhotilde_old if rhotilde_old else 0.0
        taud = (zeta - thetatilde * tautilde) / rhodold if rhodold else 0.0
        d = m["d"] + betacheck**2
        squared = d + (betad - taud) ** 2 + betadd**2
        memory = {
            "u": u, "v": v, "h": h, "hbar": hbar, "alpha": alpha, "zetabar": zetabar, "alphabar": alphabar, "rho": rho,
            "rhobar": rhobar, "cbar": cbar, "sbar": sbar, "betadd": betadd, "betad": betad, "rhodold": rhodold,
            "tautildeold": tautilde, "thetatilde": thetatilde, "zeta": zeta, "d": d,
        }  # fmt: skip
        return state.advance(
            x, memory, value=0.5 * squared, residual_norm=squared**0.5, gradient_norm=abs(zetabar),
            relative_change=change(x, state.x), seconds=perf_counter() - began,
        )  # fmt: skip


def _turn(a: float, b: float, length: float) -> tuple[float, float]:
    """Cosine and sine of the rotation that sends (a, b) to (length, 0)."""
    return (a / length, b / length) if length else (1.0, 0.0)
