"""Surfaces of known normals under several lights and a sky: the reflectance models of terrain, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tomodiff.array import Array, Element, namespace
from tomodiff.core import Linear, LinearOperator, Operator, Space, check_element
from tomodiff.projectors.harmonics import harmonic_slopes, harmonics, sky_factors
from tomodiff.projectors.terrain.photometry import Photometry, geometry_under

COSINE = (1.0, 2.0 / 3, 1.0 / 4, 0.0, -1.0 / 24)
"""What a matt surface makes of a sky's harmonics of each degree (Ramamoorthi and Hanrahan 2001, SIGGRAPH, 497)."""
VIEW = (0.0, 0.0, 1.0)
GLOSS = 3
"""Numbers of the gloss: a factor (0: none), roughness, and what a facet reflects from ahead."""


class LitNormals(Operator):
    """{"normals" (pixel, 3), "albedo" (pixel,), "lights" (light, 3), "strengths" (light,), "parameters" (k,),
    "gloss" (3,), "sky" ((degree + 1)^2,)} -> brightness (light, pixel) of pixels seen from ahead, along -z:

        strength (albedo R(normal, light; parameters) + factor G(normal, light; roughness, f0)) + albedo E(normal)

    R is a reflectance model (`Photometry`, I/F), G the facets of model "ggx", with gloss = (factor, roughness, f0),
    and E the irradiance over pi of a sky that is the same in all pictures, in harmonics of degree 0 to 4 as of
    `SkyLight`: one of radiance 1 all over has E = 1.  Normals and lights have length one;
    shadows that others cast are not in it.  Exact derivatives in all inputs.
    """

    def __init__(
        self, pixels: int, lights: int, model: str = "lambert", degree: int = 0, dtype: str = "float64"
    ) -> None:
        if not 0 <= degree < len(COSINE):
            raise ValueError(f"LitNormals: degree: expected 0 to {len(COSINE) - 1}, got {degree}")
        self.pixels, self.lights, self.degree, self.dtype = pixels, lights, degree, dtype
        self.matt, self.shine = (Photometry(name, pixels * lights, dtype) for name in (model, "ggx"))
        self.domain = {
            "normals": Space((pixels, 3), dtype),
            "albedo": Space((pixels,), dtype),
            "lights": Space((lights, 3), dtype),
            "strengths": Space((lights,), dtype),
            "parameters": self.matt.domain["parameters"],
            "gloss": Space((GLOSS,), "float64"),
            "sky": Space(((degree + 1) ** 2,), "float64"),
        }
        self.range = Space((lights, pixels), dtype)

    def __call__(self, x: Element) -> Array:
        check_element(self.domain, x, "LitNormals: x")
        geometry, facets = self._geometry(x), self._facets(x)
        matt = self.matt({"geometry": geometry, "parameters": x["parameters"]}).reshape(self.range.shape)
        lit = x["albedo"] * matt
        if float(x["gloss"][0]):
            shine = self.shine({"geometry": geometry, "parameters": facets}).reshape(lit.shape)
            lit = lit + float(x["gloss"][0]) * shine
        made = x["strengths"][:, None] * lit + x["albedo"] * (self.waves(x["normals"]) @ self._of_sky(x))
        return made.astype(self.dtype)

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        at = self.partials(x)
        xp = namespace(x["normals"])

        def push(d: Element) -> Array:
            made = xp.einsum("lpa,pa->lp", at.normals, d["normals"]) + at.albedo * d["albedo"]
            made = made + xp.einsum("lpa,la->lp", at.lights, d["lights"]) + at.strengths * d["strengths"][:, None]
            made = made + x["albedo"] * (at.waves @ self._same(d["sky"], xp))
            for name in ("parameters", "gloss"):
                made = made + xp.einsum("klp,k->lp", getattr(at, name), self._same(d[name], xp))
            return made.astype(self.dtype)

        def pull(g: Array) -> Element:
            by_pixel = xp.einsum("lp,p,pk->k", g, x["albedo"], at.waves)
            return {
                "normals": xp.einsum("lpa,lp->pa", at.normals, g).astype(self.dtype),
                "albedo": (at.albedo * g).sum(axis=0).astype(self.dtype),
                "lights": xp.einsum("lpa,lp->la", at.lights, g).astype(self.dtype),
                "strengths": (at.strengths * g).sum(axis=1).astype(self.dtype),
                "parameters": xp.einsum("klp,lp->k", at.parameters, g).astype("float64"),
                "gloss": xp.einsum("klp,lp->k", at.gloss, g).astype("float64"),
                "sky": by_pixel.astype("float64"),
            }

        return at.value, Linear(self.domain, self.range, push, pull, "Jacobian of LitNormals")

    def partials(self, x: Element, common: bool = True) -> Partials:
        """The brightness, and its slopes in all inputs, from which fits take those of each pixel or each light.

        common: whether slopes in lights, parameters and gloss are wanted as well; else they are
        empty, but for the first row of the gloss.
        """
        check_element(self.domain, x, "LitNormals: x")
        xp, geometry = namespace(x["normals"]), self._geometry(x)
        factor, strengths, albedo = float(x["gloss"][0]), x["strengths"][:, None], x["albedo"]
        matt, of_matt = self._slopes(self.matt, geometry, x["parameters"], common)
        if common or factor:
            shine, of_shine = self._slopes(self.shine, geometry, self._facets(x), common)
        else:
            shine, of_shine = 0 * matt, 0 * of_matt
        lit = albedo * matt + factor * shine
        # slopes in mu0, mu, cos g and side, then in normals and lights
        in_geometry = strengths * (albedo * of_matt[:4] + factor * of_shine[:4])
        view = xp.asarray(VIEW, self.dtype)
        across, turned = xp.cross(x["lights"], view), xp.cross(view, x["normals"])
        mu0, mu, phase, side = in_geometry[..., None]
        waves, sky = self.waves(x["normals"]), self._of_sky(x)
        in_normals = mu0 * x["lights"][:, None] + mu * view + side * across[:, None]
        in_normals = in_normals + albedo[:, None] * (self._wave_slopes(x["normals"]) @ sky)
        return Partials(
            value=(strengths * lit + albedo * (waves @ sky)).astype(self.dtype),
            normals=in_normals,
            albedo=strengths * matt + waves @ sky,
            lights=mu0 * x["normals"] + phase * view + side * turned if common else of_matt[:0],
            strengths=lit,
            parameters=strengths * albedo * of_matt[4:],
            gloss=strengths * xp.concatenate([shine[None], factor * of_shine[4:6]]),
            waves=waves,
        )

    def waves(self, normals: Array) -> Array:
        """(pixel, harmonic) irradiance over pi by each harmonic of the sky."""
        return harmonics(normals, self.degree) * self._sizes(namespace(normals))

    def _wave_slopes(self, normals: Array) -> Array:
        """(pixel, 3, harmonic) how `waves` change with normals."""
        xp = namespace(normals)
        return xp.swapaxes(harmonic_slopes(normals, self.degree), 1, 2) * self._sizes(xp)

    def _sizes(self, xp: object) -> Array:
        found = np.repeat(COSINE[: self.degree + 1], 2 * np.arange(self.degree + 1) + 1) * sky_factors(self.degree)
        return xp.asarray(found, self.dtype)  # type: ignore[attr-defined, no-any-return]

    def _geometry(self, x: Element) -> Array:
        normals = x["normals"]
        return geometry_under(normals, x["lights"], namespace(normals).asarray(VIEW, self.dtype))

    def _facets(self, x: Element) -> Array:
        """Parameters of the gloss without what is matt."""
        xp = namespace(x["gloss"])
        return xp.concatenate([x["gloss"][1:], xp.zeros(1)])

    def _of_sky(self, x: Element) -> Array:
        return self._same(x["sky"], namespace(x["normals"]))

    def _same(self, values: Array, xp: object) -> Array:
        return xp.asarray(values, self.dtype)  # type: ignore[attr-defined, no-any-return]

    def _slopes(self, model: Photometry, geometry: Array, parameters: Array, common: bool) -> tuple[Array, Array]:
        """Of a model: values (light, pixel), slopes (4 + k, light, pixel)."""
        value, slopes = model.slopes({"geometry": geometry, "parameters": parameters}, common)
        return value.reshape(self.range.shape), slopes.reshape(-1, *self.range.shape)


@dataclass(eq=False)
class Partials:
    """Brightness (light, pixel) and its slopes: in a pixel's normal and a light's direction (light, pixel, 3), in its
    albedo and strength (light, pixel), in parameters and gloss (k, light, pixel); waves (pixel, harmonic)."""

    value: Array
    normals: Array
    albedo: Array
    lights: Array
    strengths: Array
    parameters: Array
    gloss: Array
    waves: Array
