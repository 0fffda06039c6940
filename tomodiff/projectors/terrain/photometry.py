"""Reflectance models of planetary surfaces: what an element sends to the camera, by its photometric geometry.

Values are I/F of an element lit by the sun alone (pi times radiance over solar flux), of albedo 1; models with a
normalisation of their own are 1 for light and view from the zenith.  Kernels and sources: cuda_kernels/reflectance.cuh.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import inf, radians
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from tomodiff.array import Array, Element, namespace, to_numpy
from tomodiff.core import LinearOperator, Operator, Space, check_element
from tomodiff.core.operators import Linear
from tomodiff.kernels import kernel, lanes

BLOCK = 128


class Parameter(NamedTuple):
    """A number of a model, with what it may be."""

    name: str
    default: float
    low: float
    high: float
    meaning: str


@dataclass(frozen=True)
class ReflectanceModel:
    """A formula of cuda_kernels/reflectance.cuh and its parameters, in the order in which the kernels read them."""

    name: str
    number: int
    parameters: tuple[Parameter, ...]
    formula: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters)

    def vector(self, **values: float) -> np.ndarray:
        """(k,) float64 the parameters: these, and the defaults of the others.  ValueError for unknown names and for
        values outside of their bounds."""
        unknown = set(values) - set(self.names)
        if unknown:
            known = f"some of {', '.join(self.names)}" if self.names else "no parameters"
            raise ValueError(f"{self.name}: expected {known}, got {', '.join(sorted(unknown))}")
        for p in self.parameters:
            if not p.low <= values.get(p.name, p.default) <= p.high:
                raise ValueError(f"{self.name}: {p.name}: expected {p.low:g} to {p.high:g}, got {values[p.name]:g}")
        return np.array([values.get(p.name, p.default) for p in self.parameters], np.float64)


def _cubic(letter: str, constant: bool = False) -> tuple[Parameter, ...]:
    values = (1.0, 0.0, 0.0, 0.0) if constant else (1.0, -0.019, 0.000242, -1.46e-6)
    meaning = "of a cubic in the phase in degrees"
    return tuple(Parameter(f"{letter}{i}", v, -inf, inf, meaning) for i, v in enumerate(values))


_W = Parameter("w", 0.33, 0.0, 0.999999, "single scattering albedo")
_OPPOSITION = (
    Parameter("bs0", 1.0, 0.0, inf, "height of the shadow-hiding opposition surge"),
    Parameter("hs", 0.06, 1e-6, inf, "its width"),
    Parameter("bc0", 0.0, 0.0, inf, "height of the coherent opposition surge"),
    Parameter("hc", 0.01, 1e-6, inf, "its width"),
    Parameter("theta", 0.0, 0.0, radians(60), "mean slope angle of the roughness, radians; 0: smooth"),
    Parameter("phi", 0.0, 0.0, 0.75, "filling factor of a porous surface; 0: not modelled"),
)
_HENYEY = (
    Parameter("b", 0.2, 0.0, 0.999, "width of the lobes of Henyey and Greenstein"),
    Parameter("c", 0.3, -1.0, 1.0, "share of the backward lobe, 1, less that of the forward one, -1"),
)
_LEGENDRE = (
    Parameter("b", 0.0, -inf, inf, "of the first Legendre polynomial of cos g"),
    Parameter("c", 0.0, -inf, inf, "of the second"),
)
_LROC_2014 = (-2.9811422, -0.0112862, -0.8084603, 1.3248888)
_LROC_2019 = (-1.479654495, -0.000083528, 0.012964707, -0.237774774, 0.556075496, 0.663671460, -0.439918609)


def _listed(letter: str, values: tuple[float, ...]) -> tuple[Parameter, ...]:
    return tuple(Parameter(f"{letter}{i}", v, -inf, inf, "of the exponent") for i, v in enumerate(values))


_ALL = (
    ReflectanceModel("lambert", 0, (), "mu0"),
    ReflectanceModel("lommel_seeliger", 1, (), "2 mu0 / (mu0 + mu)"),
    ReflectanceModel(
        "lunar_lambert", 2, (Parameter("share", 0.5, -inf, inf, "of Lommel-Seeliger, the rest is Lambert's"),),
        "share 2 mu0 / (mu0 + mu) + (1 - share) mu0",
    ),
    ReflectanceModel(
        "lunar_lambert_mcewen", 3,
        (*_cubic("l"), Parameter("c1", 0.0, -inf, inf, "1/radian"), Parameter("c2", 0.0, -inf, inf, "added")),
        "lunar_lambert with share l0 + l1 a + l2 a^2 + l3 a^3, a the phase in degrees, times exp(-c1 g) + c2",
    ),
    ReflectanceModel(
        "lunar_lambert_exponential", 4, (Parameter("scale", 60.0, 1e-6, inf, "degrees"),),
        "lunar_lambert with share exp(-a / scale)",
    ),
    ReflectanceModel(
        "lunar_lambert_cubic", 5, (*_cubic("l"), *_cubic("m"), *_cubic("k", True), *_cubic("j", True)),
        "L(a) 2 mu0 / (mu0 + mu) / K(a) + (1 - M(a)) mu0 / J(a), cubics in the phase in degrees",
    ),
    ReflectanceModel("minnaert", 6, (Parameter("k", 0.7, 0.0, inf, "exponent"),), "mu0^k mu^(k - 1)"),
    ReflectanceModel(
        "akimov", 7, (Parameter("nu", 0.5, 0.0, inf, "0.34 of maria, 0.52 of highlands, 1 in the form without it"),),
        "cos(g/2) cos(pi/(pi - g) (gamma - g/2)) cos(beta)^(nu g/(pi - g)) / cos(gamma)",
    ),
    ReflectanceModel(
        "oren_nayar", 8, (Parameter("sigma", 0.3, 0.0, radians(90), "deviation of the facets' slopes, radians"),),
        "mu0 (A + B max(0, cos psi) sin(max(i, e)) tan(min(i, e)))",
    ),
    ReflectanceModel(
        "charon", 9, (Parameter("a", 0.7, -inf, inf, "share"), Parameter("f", 0.63, -inf, inf, "strength")),
        "f a mu0 / (mu0 + mu) + (1 - a) mu0",
    ),
    ReflectanceModel("lroc_2014", 10, _listed("a", _LROC_2014), "exp(a0 + a1 a + a2 mu + a3 mu0), a: degrees of phase"),
    ReflectanceModel(
        "lroc_2019", 11, _listed("b", _LROC_2019),
        "mu0/(mu + mu0) exp(b0 + b1 a^2 + b2 a + b3 sqrt(a) + b4 mu + b5 mu0 + b6 mu0^2)",
    ),
    ReflectanceModel("hapke_1981", 12, (_W, *_HENYEY, *_OPPOSITION), "H of 1981, rough as of 1984"),
    ReflectanceModel("hapke_2002", 13, (_W, *_HENYEY, *_OPPOSITION), "H of 2002, porous as of 2012"),
    ReflectanceModel("hapke_legendre", 14, (_W, *_LEGENDRE, *_OPPOSITION), "hapke_1981, 1 + b P1(cos g) + c P2(cos g)"),
    ReflectanceModel(
        "ggx", 15,
        (
            Parameter("roughness", 0.5, 0.03, 1.0, "of the facets; its square is alpha"),
            Parameter("f0", 0.04, 0.0, 1.0, "what a facet reflects from ahead"),
            Parameter("matt", 1.0, 0.0, inf, "share of Lambert's below the facets"),
        ),
        "mu0 (matt + pi D V F), D of GGX, V of Smith at one height for both directions, F of Schlick",
    ),
)  # fmt: skip
MODELS: Mapping[str, ReflectanceModel] = MappingProxyType({m.name: m for m in _ALL})


def model_named(name: str) -> ReflectanceModel:
    """The model of that name.  ValueError where there is none."""
    if name not in MODELS:
        raise ValueError(f"reflectance: expected one of {', '.join(MODELS)}, got {name!r}")
    return MODELS[name]


def geometry_of_angles(incidence: Any, emission: Any, phase: Any) -> np.ndarray:
    """(4, n) the geometry of angles in radians, the sun on the left (side >= 0)."""
    i, e, g = np.broadcast_arrays(*(np.atleast_1d(np.asarray(a, np.float64)) for a in (incidence, emission, phase)))
    mu0, mu, cg = (np.where(np.abs(c) < 1e-15, 0.0, c) for c in (np.cos(i), np.cos(e), np.cos(g)))  # 90 degrees
    square = 1 - mu0**2 - mu**2 - cg**2 + 2 * mu0 * mu * cg
    return np.stack([mu0, mu, cg, np.sqrt(np.maximum(square, 0))])


def geometry_under(normals: Array, lights: Array, view: Array) -> Array:
    """(4, light * pixel) the geometry of normals (pixel, 3) under lights (light, 3), seen along one direction (3,)."""
    xp, shape = namespace(normals), (len(lights), len(normals))
    rows = (lights @ normals.T, normals @ view, (lights @ view)[:, None], xp.cross(lights, view) @ normals.T)
    return xp.stack([xp.broadcast_to(row, shape).reshape(-1) for row in rows])


class Photometry(Operator):
    """geometry (4, n), parameters (k,) -> reflectance (n,) of a model.

    Exact derivatives in both.  They are finite everywhere: where a model has a kink (in the principal plane, at
    opposition) they are the mean of both sides, below the horizon of sun or camera they are zero, as the value is.
    """

    def __init__(self, model: str | ReflectanceModel, count: int, dtype: str = "float64") -> None:
        self.model = model if isinstance(model, ReflectanceModel) else model_named(model)
        self.count, self.dtype = int(count), dtype
        self.domain = {
            "geometry": Space((4, self.count), dtype), "parameters": Space((len(self.model.parameters),), "float64"),
        }  # fmt: skip
        self.range = Space((self.count,), dtype)

    def __call__(self, x: Element) -> Array:
        check_element(self.domain, x, "Photometry: x")
        return self._launched("reflectance_value", x, (self.count,))

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        return self.linearize_in(x, self.domain)

    def linearize_in(self, x: Element, names: Collection[str]) -> tuple[Array, LinearOperator]:
        value, slopes = self.slopes(x, parameters=False)

        def in_parameter(k: int) -> Array:
            return self._launched("reflectance_parameter", x, (self.count,), k, len(self.model.parameters))

        def push(d: Element) -> Array:
            made = (slopes * d["geometry"]).sum(0)
            for k in np.flatnonzero(to_numpy(d["parameters"])):
                made += in_parameter(int(k)) * float(d["parameters"][k])
            return made

        def pull(g: Array) -> Element:
            xp = namespace(g)
            sums = [0.0] * len(self.model.parameters)
            if "parameters" in names:
                sums = [float((g * in_parameter(k)).sum(dtype="float64")) for k in range(len(sums))]
            return {"geometry": g * slopes, "parameters": xp.asarray(np.array(sums, np.float64))}

        return value, Linear(self.domain, self.range, push, pull, "Jacobian of Photometry")

    def slopes(self, x: Element, parameters: bool = True) -> tuple[Array, Array]:
        """The reflectance (n,), and its slopes (4 + k, n) in the geometry and, if wanted, in each parameter."""
        check_element(self.domain, x, "Photometry: x")
        made, count = self._launched("reflectance_slopes", x, (5, self.count)), len(self.model.parameters)
        wanted = range(count if parameters else 0)
        rows = [self._launched("reflectance_parameter", x, (1, self.count), k, count) for k in wanted]
        return made[4], namespace(made).concatenate([made[:4], *rows])

    def _launched(self, name: str, x: Element, shape: tuple[int, ...], *which: int) -> Array:
        rows = x["geometry"]
        xp = namespace(rows)
        made = xp.empty(shape, self.dtype)
        parameters = xp.ascontiguousarray(xp.concatenate([x["parameters"], xp.zeros(1)]), dtype=self.dtype)
        rows = xp.ascontiguousarray(rows)
        block = 1 if xp is np else BLOCK
        across = -(-self.count // (lanes(xp) * block))
        along = 4 if name == "reflectance_slopes" and xp is not np else 1
        arrays = (*(rows[k] for k in range(4)), parameters, made)
        kernel(name, xp, self.dtype)((across, along), (block, 1), (*arrays, *which, self.model.number, self.count))
        return made
