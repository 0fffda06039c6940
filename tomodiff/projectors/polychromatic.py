"""What a beam of many energies leaves of materials: the forward model behind beam hardening and dual energy."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.array import Array, namespace
from tomodiff.core import Linear, LinearOperator, Operator, Space, check_element

NEGLIGIBLE = 1e-9
"""Energies that make less than this share of a beam's strongest are left out."""


class Polychromatic(Operator):
    """Line integrals of m materials (m, *shape) -> -log of the beam's share that is detected (c, *shape), c beams:

        y_c = -log sum_E s_cE exp(-sum_m mu_mE p_m)        (Alvarez and Macovski 1976, eq. 2)

    spectra (c, E): what the detector makes of each energy of the unattenuated beam, any scale; attenuation (m, E): of
    the materials, such that mu p has no unit (1/mm with lengths in mm, or mm^2/g with g/mm^2).  Exact derivatives.
    Computed energy by energy: memory for c (m + 1) arrays of `shape`.
    """

    def __init__(self, shape: tuple[int, ...], spectra: Any, attenuation: Any, dtype: str = "float32") -> None:
        s, mu = (np.atleast_2d(np.asarray(a, np.float64)) for a in (spectra, attenuation))
        if s.shape[1] != mu.shape[1]:
            sizes = f"{s.shape[1]} and {mu.shape[1]}"
            raise ValueError(f"Polychromatic: expected spectra and attenuation at the same energies, got {sizes}")
        if not (np.isfinite(s).all() and (s >= 0).all() and (s.sum(1) > 0).all()):
            raise ValueError("Polychromatic: spectra: expected numbers >= 0, some of each beam above")
        if not (np.isfinite(mu).all() and (mu >= 0).all()):
            raise ValueError("Polychromatic: attenuation: expected numbers >= 0")
        s = np.where(s < NEGLIGIBLE * s.max(1, keepdims=True), 0, s)
        self.spectra, self.attenuation, self.dtype = s / s.sum(1, keepdims=True), mu, dtype
        self.domain, self.range = Space((len(mu), *shape), dtype), Space((len(s), *shape), dtype)

    def __call__(self, x: Array) -> Array:
        return self._sums(x, False)[0]

    def linearize(self, x: Array) -> tuple[Array, LinearOperator]:
        y, slopes = self._sums(x, True)

        def push(d: Array) -> Array:
            return (slopes * d).sum(1)

        def pull(g: Array) -> Array:
            return (slopes * g[:, None]).sum(0)

        return y, Linear(self.domain, self.range, push, pull, "Jacobian of Polychromatic")

    def _sums(self, x: Array, derivatives: bool) -> tuple[Array, Array]:
        """y, and dy_c/dp_m (c, m, *shape): the attenuation averaged over the beam that is left.

        The exponents are taken about the least of them, so that thick objects do not underflow.
        """
        check_element(self.domain, x, "Polychromatic: x")
        xp, m = namespace(x), len(self.attenuation)

        def exponent(e: int) -> Array:
            return sum(float(self.attenuation[i, e]) * x[i] for i in range(m))

        y = xp.empty(self.range.shape, self.dtype)
        mean = xp.zeros((len(self.spectra), *self.domain.shape) if derivatives else (0,), self.dtype)
        for k, spectrum in enumerate(self.spectra):
            seen = np.flatnonzero(spectrum)
            least = exponent(int(seen[0]))
            for e in seen[1:]:
                least = xp.minimum(least, exponent(int(e)))
            total = xp.zeros_like(least)
            for e in seen:
                share = float(spectrum[e]) * xp.exp(least - exponent(int(e)))
                total += share
                if derivatives:
                    for i in range(m):
                        mean[k, i] += float(self.attenuation[i, e]) * share
            y[k] = least - xp.log(total)
            if derivatives:
                mean[k] /= total
        return y, mean

    def effective(self) -> np.ndarray:
        """(c, m) the attenuation of each material that thin objects show in each beam."""
        made: np.ndarray = self.spectra @ self.attenuation.T
        return made


class Fractions(LinearOperator):
    """A volume -> (m, *shape): its part of each material, by fixed fractions (m, *shape)."""

    def __init__(self, fractions: Array) -> None:
        if fractions.ndim < 2 or not bool((fractions >= 0).all()):
            raise ValueError("Fractions: fractions: expected an array (material, ...) of numbers >= 0")
        self.fractions = fractions
        self.domain = Space(fractions.shape[1:], fractions.dtype.name)
        self.range = Space(fractions.shape, fractions.dtype.name)

    def forward(self, x: Array, out: Array | None = None) -> Array:
        check_element(self.domain, x, "Fractions.forward: x")
        made: Array = namespace(x).multiply(self.fractions, x[None], out=out)
        return made

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        check_element(self.range, y, "Fractions.adjoint: y")
        made: Array = (self.fractions * y).sum(0, out=out)
        return made
