"""Images of a terrain through an atmosphere, and atmospheres mixed of several substances seen in several bands."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from tomodiff.array import Array, Element, namespace, to_numpy
from tomodiff.core import LinearOperator, Operator, Space, check_element
from tomodiff.core.operators import Linear
from tomodiff.projectors.terrain.atmosphere import KINDS, SCALE_HEIGHT, Atmosphere
from tomodiff.projectors.terrain.images import TerrainImages
from tomodiff.projectors.terrain.photometry import Photometry, ReflectanceModel, model_named

NODES = 24
"""Of the quadratures over the sky of a reflectance, for each of three angles."""


class UnderAir(Operator):
    """The inputs of `terrain` and those of an atmosphere, {"tau", "wha"[, "bha" or "hga"]} (m,) each -> images.

        image = exposure (path + direct rho R lit + rho Ah mu0 (total / (1 - rho Ab sky) - direct)) + haze

    in the form of ISIS (photomet; see `atmosphere`): path, total, direct and sky are those of level ground in the
    middle of the map under sun and camera as they are given here, (m, 3) each; rho is the albedo; Ah and Ab the
    hemispheric and the Bond albedo of the reflectance with these parameters.  Images and albedo are I/F.  Exact
    derivatives in all inputs, but for how the terms of the air change with the sun.
    """

    def __init__(
        self, terrain: TerrainImages, kind: str, sun: np.ndarray, view: np.ndarray, parameters: np.ndarray,
        scale_height: float = SCALE_HEIGHT,
    ) -> None:  # fmt: skip
        self.terrain = terrain
        self.air = Atmosphere(sun[:, 2], view[:, 2], (sun * view).sum(1), kind, scale_height)
        model = terrain.reflectance.photometry.model
        of_sun, self.bond = hemispheric_albedos(model, parameters, sun[:, 2])
        self.lambert = [float(a) for a in of_sun * sun[:, 2]]
        self.names = KINDS[kind]
        self.domain = {**terrain.domain, **self.air.domain}
        self.range = terrain.range

    def __call__(self, x: Element) -> Array:
        check_element(self.domain, x, "UnderAir: x")
        ground = self.terrain(self._dry(x))
        terms = self.air(self._of_air(x))
        parts = [self._parts(k, x["albedo"], own) for k, own in enumerate(terms)]
        return self._composed(ground, x, terms, parts)

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        return self.linearize_in(x, self.domain)

    def linearize_in(self, x: Element, names: Collection[str]) -> tuple[Array, LinearOperator]:
        check_element(self.domain, x, "UnderAir: x")
        ground, J = self.terrain.linearize_in(self._dry(x), [n for n in names if n in self.terrain.domain])
        terms, T = self.air.linearize(self._of_air(x))
        rho, exposure = x["albedo"], to_numpy(x["exposure"])
        images = range(len(terms))
        parts = [self._parts(k, rho, terms[k]) for k in images]

        def push(d: Element) -> Array:
            moved, dt = J.forward(self._dry(d)), T.forward(self._of_air(d))
            made = namespace(moved).empty_like(moved)
            for k in images:
                path, total, direct, sky = (float(t) for t in dt[k])
                bright, by_rho, by_total, by_sky = parts[k]
                de, e, dh = (float(to_numpy(v)[k]) for v in (d["exposure"], exposure, d["haze"]))
                lost = self.lambert[k] * rho
                made[k] = float(terms[k, 2]) * moved[k] + direct * ground[k] + dh + de * bright
                made[k] += e * (path + by_rho * d["albedo"] + total * by_total + sky * by_sky - direct * lost)
            return made

        def pull(g: Array) -> Element:
            xp = namespace(g)
            back = dict(J.adjoint(xp.stack([float(terms[k, 2]) * g[k] for k in images])))
            of_terms = np.zeros(terms.shape)
            albedo, more, haze = back["albedo"], np.zeros(len(terms)), np.zeros(len(terms))
            for k in images:
                bright, by_rho, by_total, by_sky = parts[k]
                e, own = float(exposure[k]), g[k]
                haze[k] = total_of(own)
                more[k] = total_of(own * bright)
                of_terms[k] = (
                    e * haze[k], e * total_of(own * by_total),
                    total_of(own * ground[k]) - e * total_of(own * self.lambert[k] * rho), e * total_of(own * by_sky),
                )  # fmt: skip
                albedo = albedo + e * by_rho * own
            back |= {"albedo": albedo, "exposure": back["exposure"] + xp.asarray(more), "haze": xp.asarray(haze)}
            return back | {n: xp.asarray(v) for n, v in T.adjoint(of_terms).items()}

        return self._composed(ground, x, terms, parts), Linear(
            self.domain, self.range, push, pull, "Jacobian of UnderAir"
        )

    def _dry(self, x: Element) -> dict[str, Array]:
        """The inputs of the terrain, without haze, which comes after the air."""
        return {n: x[n] if n != "haze" else 0 * x[n] for n in self.terrain.domain}

    def _of_air(self, x: Element) -> dict[str, np.ndarray]:
        return {n: to_numpy(x[n]) for n in self.names}

    def _composed(self, ground: Array, x: Element, terms: np.ndarray, parts: list[tuple[Array, ...]]) -> Array:
        exposure, haze = to_numpy(x["exposure"]), to_numpy(x["haze"])
        made = namespace(ground).empty_like(ground)
        for k, (bright, *_) in enumerate(parts):
            made[k] = float(terms[k, 2]) * ground[k] + float(exposure[k]) * bright + float(haze[k])
        return made

    def _parts(self, k: int, rho: Array, terms: np.ndarray) -> tuple[Array, ...]:
        """What the air adds to the direct light, over the exposure, and its derivatives by albedo, total and sky."""
        path, total, direct, sky = (float(t) for t in terms)
        lost = 1 / (1 - rho * (self.bond * sky))
        lit = self.lambert[k] * rho
        added = path + lit * (total * lost - direct)
        by_sky = lit * total * lost * lost * rho * self.bond
        return added, self.lambert[k] * (total * lost * lost - direct), lit * lost, by_sky


def total_of(values: Array) -> float:
    """The sum, in float64."""
    return float(values.sum(dtype="float64"))


def hemispheric_albedos(
    model: str | ReflectanceModel, parameters: np.ndarray, mu0: np.ndarray
) -> tuple[np.ndarray, float]:
    """Ah (m,) of a reflectance at cosines of incidence, the light that goes up over that which comes down, and its
    Bond albedo Ab, the same of a sky that is bright all over."""
    at, weight = np.polynomial.legendre.leggauss(NODES)
    mu, of_mu = (1 + at) / 2, weight / 2
    phi, of_phi = np.pi * (1 + at) / 2, weight / 2
    suns = np.concatenate([np.clip(mu0, 1e-6, 1), mu])
    n = len(suns)
    m0, m, p = np.broadcast_arrays(suns[:, None, None], mu[None, :, None], phi[None, None, :])
    s0, s = np.sqrt(1 - m0**2), np.sqrt(1 - m**2)
    geometry = np.stack([m0, m, m0 * m + s0 * s * np.cos(p), s0 * s * np.sin(p)]).reshape(4, -1)
    known = model_named(model) if isinstance(model, str) else model
    seen = Photometry(known, geometry.shape[1], "float64")({"geometry": geometry, "parameters": parameters})
    up = 2 * np.einsum("nab,a,b->n", seen.reshape(n, NODES, NODES), of_mu * mu, of_phi)
    hemispheric = up / suns
    bond = 2 * float((hemispheric[len(mu0) :] * mu * of_mu).sum())
    return hemispheric[: len(mu0)], bond


class Mixture(Operator):
    """{"amount" (s,)} of substances -> {"tau", "wha"[, name]} (m,) each, of the air as m bands see it.

    extinction (m, s): optical depth of one of each substance in each band; albedo (m, s): of single scattering.
    shape: name ("bha" or "hga") and (m, s) the asymmetry of each.  Depths add; albedos are means by extinction, shapes
    by what is scattered.  amounts: at least 0, of which one above 0.  Exact derivatives.
    """

    def __init__(self, extinction: Any, albedo: Any, shape: tuple[str, Any] | None = None) -> None:
        self.extinction, self.albedo = (np.asarray(a, np.float64) for a in (extinction, albedo))
        if self.extinction.ndim != 2 or self.albedo.shape != self.extinction.shape:
            raise ValueError(
                f"extinction, albedo: expected two tables (bands, substances), got {self.extinction.shape} and "
                f"{self.albedo.shape}"
            )
        if not ((self.extinction >= 0).all() and ((self.albedo >= 0) & (self.albedo < 1)).all()):
            raise ValueError("extinction, albedo: expected extinctions of at least 0 and albedos from 0 to below 1")
        m, s = self.extinction.shape
        self.name = None if shape is None else shape[0]
        self.shape = None if shape is None else np.asarray(shape[1], np.float64)
        self.domain = {"amount": Space((s,), "float64")}
        self.range = {n: Space((m,), "float64") for n in ("tau", "wha", *([self.name] if self.name else []))}

    def __call__(self, x: Element) -> Element:
        return self.linearize(x)[0]

    def linearize(self, x: Element) -> tuple[Element, LinearOperator]:
        check_element(self.domain, x, "Mixture: x")
        c = x["amount"]
        if not ((c >= 0).all() and c.any()):
            raise ValueError(f"amount: expected amounts of at least 0, one of them above 0, got {c}")
        scattering = self.extinction * self.albedo
        tau, scattered = self.extinction @ c, scattering @ c
        shaped = {} if self.shape is None else {"scattering": scattered}
        for name, there in {"extinction": tau, **shaped}.items():
            if not (there > 0).all():
                raise ValueError(f"Mixture: expected {name} above 0 in each band, got none in band {np.argmin(there)}")
        value = {"tau": tau, "wha": scattered / tau}
        slopes = {"tau": self.extinction, "wha": (scattering - value["wha"][:, None] * self.extinction) / tau[:, None]}
        if self.name is not None and self.shape is not None:
            value[self.name] = (scattering * self.shape) @ c / scattered
            slopes[self.name] = scattering * (self.shape - value[self.name][:, None]) / scattered[:, None]

        def push(d: Element) -> Element:
            return {n: slope @ d["amount"] for n, slope in slopes.items()}

        def pull(g: Element) -> Element:
            return {"amount": sum(slope.T @ g[n] for n, slope in slopes.items())}

        return value, Linear(self.domain, self.range, push, pull, "Jacobian of Mixture")
