"""Images of a terrain that the sky lights as well as the sun."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from tomodiff.array import Array, Element, namespace, to_numpy
from tomodiff.core import LinearOperator, Operator, Space, check_element
from tomodiff.core.operators import Linear
from tomodiff.projectors.terrain.sky_light import SkyLight

UNIFORM = np.ones(1)


class UnderSky(Operator):
    """The inputs of `terrain` and "ambient" (m,) -> images (m, ny, nx).

        image = terrain's + exposure ambient albedo E

    E (ny, nx): the irradiance of the elements by a sky that is bright all over, 1 on level open ground (`SkyLight`);
    ambient: what such ground sends by it, over what a reflectance of 1 sends by the sun.  Exact derivatives in all.
    """

    def __init__(self, terrain: Operator, sky: SkyLight) -> None:
        self.terrain, self.sky = terrain, sky
        self.domain = {**terrain.domain, "ambient": Space(terrain.range.shape[:1], "float64")}
        self.range = terrain.range

    def __call__(self, x: Element) -> Array:
        check_element(self.domain, x, "UnderSky: x")
        lit = x["albedo"] * self.sky({"height": x["height"], "sky": namespace(x["height"]).asarray(UNIFORM)})
        return self.terrain(self._of_terrain(x)) + self._scaled(lit, x)

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        return self.linearize_in(x, self.domain)

    def linearize_in(self, x: Element, names: Collection[str]) -> tuple[Array, LinearOperator]:
        check_element(self.domain, x, "UnderSky: x")
        xp, rho = namespace(x["height"]), x["albedo"]
        images, J = self.terrain.linearize_in(self._of_terrain(x), [n for n in names if n != "ambient"])
        at = {"height": x["height"], "sky": xp.asarray(UNIFORM)}
        E, S = self.sky.linearize_in(at, ("height",)) if "height" in names else (self.sky(at), None)
        exposure, ambient = ([float(v) for v in to_numpy(x[n])] for n in ("exposure", "ambient"))

        def push(d: Element) -> Array:
            moved = rho * S.forward({"height": d["height"], "sky": 0 * at["sky"]}) if S is not None else 0
            lit = d["albedo"] * E + moved
            made = J.forward(self._of_terrain(d))
            more = zip(made, exposure, ambient, to_numpy(d["exposure"]), to_numpy(d["ambient"]), strict=True)
            return xp.stack(
                [m + (e * a) * lit + (float(de) * a + e * float(da)) * (rho * E) for m, e, a, de, da in more]
            )

        def pull(g: Array) -> Element:
            back = dict(J.adjoint(g))
            pairs = list(zip(g, exposure, ambient, strict=True))
            total = sum(((e * a) * one for one, e, a in pairs), xp.zeros_like(rho))
            sums = np.array([float((one * rho * E).sum(dtype="float64")) for one in g])
            back["albedo"] = back["albedo"] + total * E
            if S is not None:
                back["height"] = back["height"] + S.adjoint(total * rho)["height"]
            back["exposure"] = back["exposure"] + xp.asarray(sums * np.array(ambient))
            return back | {"ambient": xp.asarray(sums * np.array(exposure))}

        return images + self._scaled(rho * E, x), Linear(self.domain, self.range, push, pull, "Jacobian of UnderSky")

    @staticmethod
    def _of_terrain(x: Element) -> dict[str, Array]:
        return {n: a for n, a in x.items() if n != "ambient"}

    @staticmethod
    def _scaled(lit: Array, x: Element) -> Array:
        pairs = zip(to_numpy(x["exposure"]), to_numpy(x["ambient"]), strict=True)
        return namespace(lit).stack([float(e) * float(a) * lit for e, a in pairs])
