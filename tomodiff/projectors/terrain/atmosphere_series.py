"""Functions of an optical depth with a complex step: exponential integrals, and the F and G functions of the second
approximation to X and Y (van de Hulst 1948; Chandrasekhar 1960, Radiative Transfer, appendix I)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import exp1, expi

EULER = 0.5772156649015329
TERMS = 60
"""Of the series of G'11; enough for depths up to ten."""
ALIKE = 1e-10
"""Difference of a cosine from 1 below which it is 1."""


def e1(x: np.ndarray) -> np.ndarray:
    """E1 with a complex step."""
    return exp1(x.real) - 1j * x.imag * np.exp(-x.real) / x.real


def ei(x: np.ndarray) -> np.ndarray:
    """Ei with a complex step."""
    return expi(x.real) + 1j * x.imag * np.exp(x.real) / x.real


@dataclass(frozen=True, eq=False)
class Depth:
    """A depth tau (m,), complex, and what is made of it; order: 1 or 2, of the approximation, whose F and G are 0
    in the first."""

    tau: np.ndarray
    order: int = 1

    @cached_property
    def e(self) -> tuple[np.ndarray, ...]:
        """E0 to E5, by their recurrence."""
        dying = np.exp(-self.tau)
        found = [dying / self.tau, e1(self.tau)]
        for n in range(1, 5):
            found.append((dying - self.tau * found[-1]) / n)
        return tuple(found)

    @cached_property
    def g(self) -> dict[str, np.ndarray]:
        """G12 to G34, of which G34 is ISIS's, with a product of F3 and F4 where the others have sums."""
        names = ("12", "13", "14", "32", "33", "34")
        if self.order == 1:
            return dict.fromkeys(names, np.zeros_like(self.tau))
        none = np.zeros_like(self.tau)
        f = (none, *self._downwards(np.ones_like(self.tau), np.exp(-self.tau)))
        made = {}
        for name in names:
            i, k = int(name[0]), int(name[1])
            both = f[i] * f[k] if name == "34" else f[i] + f[k]
            made[name] = (self.tau * self.e[i] * self.e[k] + both) / (i + k - 1)
        return made

    @cached_property
    def gp(self) -> dict[str, np.ndarray]:
        """G'12 to G'34."""
        if self.order == 1:
            return dict.fromkeys(("12", "13", "14", "32", "33", "34"), np.zeros_like(self.tau))
        one = np.ones_like(self.tau)
        tau, e, f = self.tau, self.e, (0 * one, *self.upwards(one, np.exp(-self.tau)))
        dying, log = np.exp(-tau), np.log(tau) + EULER
        series, term = np.zeros_like(tau), np.ones_like(tau)
        for k in range(1, TERMS):
            term = term * -tau / k
            series = series + term / k**2
        g = {"11": 2 * (e[1] + log * e[2] - tau * (series + np.pi**2 / 12 + 0.5 * log**2))}
        for k in (2, 3, 4):
            g[f"1{k}"] = (tau * (e[1] / (k - 1) - g[f"1{k - 1}"]) + dying * (f[1] + f[k])) / (k + 2)
        g["32"] = (tau * (e[1] - g["13"]) + dying * (f[3] + f[2])) / 6
        g["33"] = (tau * (e[1] / 2 - g["32"]) + dying * 2 * f[3]) / 7
        g["34"] = (tau * (e[1] / 3 - g["33"]) + dying * (f[3] + f[4])) / 8
        return g

    def upwards(self, mu: np.ndarray, through: np.ndarray) -> tuple[np.ndarray, ...]:
        """F1 to F4 of a cosine, along which `through` passes."""
        level = np.abs(mu - 1) < ALIKE
        slant = np.where(level, 0.5, mu)
        first = mu * (np.log(slant / (1 - slant)) + self.e[1] / through + ei(self.tau * (1 / slant - 1)))
        f = [np.where(level, EULER + np.log(self.tau) + self.e[1] / through, first)]
        for k in (1, 2, 3):
            f.append(mu * (f[-1] + self.e[k + 1] / through - 1 / k))
        return tuple(f)

    def _downwards(self, mu: np.ndarray, through: np.ndarray) -> tuple[np.ndarray, ...]:
        """F1 to F4 of a cosine below the horizon."""
        f = [mu * (np.log(1 + 1 / mu) - self.e[1] * through + e1(self.tau * (1 + 1 / mu)))]
        for k in (1, 2, 3):
            f.append(-mu * (f[-1] + self.e[k + 1] * through - 1 / k))
        return tuple(f)

    def seen(self, mu: np.ndarray, through: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """F1 and F3 of a cosine, and those of its opposite."""
        if self.order == 1:
            none = np.zeros_like(self.tau)
            return none, none, none, none
        up, down = self.upwards(mu, through), self._downwards(mu, through)
        return up[0], up[2], down[0], down[2]
