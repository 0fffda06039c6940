"""Images in the angles of the sun, which stay those of a unit vector whatever a solver does to them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from tomodiff.array import Array, Element, namespace, to_numpy
from tomodiff.core import LinearOperator, Operator, Space, check_element
from tomodiff.core.operators import Linear
from tomodiff.projectors.terrain.reflectance import direction


class OfSunAngles(Operator):
    """A of {"sun" (m, 3), ...} as an operator of {"angles" (m, 2), ...}: azimuths clockwise from the grid's north and
    elevations, radians, float64."""

    def __init__(self, A: Operator) -> None:
        self.A, self.images = A, A.domain["sun"].shape[0]
        self.domain = {n: s for n, s in A.domain.items() if n != "sun"} | {"angles": Space((self.images, 2), "float64")}
        self.range = A.range

    def __call__(self, x: Element) -> Array:
        check_element(self.domain, x, "OfSunAngles: x")
        return self.A(self._inner(x))

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        return self.linearize_in(x, self.domain)

    def linearize_in(self, x: Element, names: Collection[str]) -> tuple[Array, LinearOperator]:
        check_element(self.domain, x, "OfSunAngles: x")
        xp, turns = namespace(x), _turns(to_numpy(x["angles"]))
        value, J = self.A.linearize_in(self._inner(x), {"sun" if n == "angles" else n for n in names})

        def push(d: Element) -> Array:
            sun = xp.asarray(np.einsum("kca,ka->kc", turns, to_numpy(d["angles"])))
            return J.forward({n: a for n, a in d.items() if n != "angles"} | {"sun": sun})

        def pull(g: Array) -> Element:
            back = J.adjoint(g)
            angles = xp.asarray(np.einsum("kca,kc->ka", turns, to_numpy(back.pop("sun"))))
            return back | {"angles": angles}

        return value, Linear(self.domain, self.range, push, pull, "Jacobian of OfSunAngles")

    @staticmethod
    def _inner(x: Element) -> dict[str, Array]:
        sun = direction(*to_numpy(x["angles"]).T)
        return {n: a for n, a in x.items() if n != "angles"} | {"sun": namespace(x).asarray(sun)}


def _turns(angles: np.ndarray) -> np.ndarray:
    """(m, 3, 2) derivatives of the unit vectors in azimuth and elevation."""
    (a, e) = angles.T
    azimuth = np.stack([np.cos(a) * np.cos(e), -np.sin(a) * np.cos(e), np.zeros_like(a)], -1)
    elevation = np.stack([-np.sin(a) * np.sin(e), -np.cos(a) * np.sin(e), np.cos(e)], -1)
    return np.stack([azimuth, elevation], -1)


def angles_of(sun: np.ndarray) -> np.ndarray:
    """(m, 2) azimuths and elevations of unit vectors (m, 3)."""
    return np.stack([np.arctan2(sun[:, 0], sun[:, 1]), np.arcsin(np.clip(sun[:, 2], -1, 1))], -1)
