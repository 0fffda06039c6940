"""Images of a surface: height, albedo and light in, what an orthographic or map-projected camera sees out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomodiff.array import Array, Element, namespace
from tomodiff.core import LinearOperator, Operator, Space, check_element
from tomodiff.core.operators import Linear
from tomodiff.projectors.terrain.photometry import Photometry, ReflectanceModel
from tomodiff.projectors.terrain.shading import Shading
from tomodiff.projectors.terrain.surface import SurfaceGeometry


@dataclass(frozen=True, eq=False)
class _Shaded:
    """R (ny, nx) of one image, and its derivatives: what `Shading.slopes` made, or Jacobians of geometry and model."""

    R: Array
    slopes: Array | None
    geometry: Any = None
    model: Any = None


class Reflectance(Operator):
    """{"height", "albedo", "parameters", "sun", "view", "exposure", "haze"[, "lit"]} -> images (m, ny, nx).

    image_k = exposure_k albedo R(geometry_k; parameters) lit_k + haze_k, on the grid of the map; R is a model of
    `photometry.MODELS`.  height (ny, nx), see `SurfaceGeometry`; albedo (ny, nx); sun and view (m, 3), or
    (m, 3, ny, nx) with `sun_field` and `view_field`; exposure and haze (m,); lit (m, ny, nx) the part of the sun that
    each element sees in each image, an input with `lit=True`.  Exact derivatives in all of them.
    """

    def __init__(
        self, shape: tuple[int, int], images: int, model: str | ReflectanceModel = "lunar_lambert_mcewen",
        spacing: tuple[float, float] | float = 1.0, *, sun_field: bool = False, view_field: bool = False,
        lit: bool = False, dtype: str = "float32",
    ) -> None:  # fmt: skip
        self.surface = SurfaceGeometry(shape, spacing, sun_field=sun_field, view_field=view_field, dtype=dtype)
        self.shape, self.images, self.dtype, self.lit = self.surface.shape, int(images), dtype, lit
        self.photometry = Photometry(model, self.shape[0] * self.shape[1], dtype)
        self.shading = Shading(self.surface, self.photometry)
        m, plane = self.images, Space(self.shape, dtype)
        vectors = {n: Space((m, *self.surface.domain[n].shape), self.surface.domain[n].dtype) for n in ("sun", "view")}
        self.domain = {
            "height": plane, "albedo": plane, "parameters": self.photometry.domain["parameters"], **vectors,
            "exposure": Space((m,), "float64"), "haze": Space((m,), "float64"),
        }  # fmt: skip
        if lit:
            self.domain["lit"] = Space((m, *self.shape), dtype)
        self.range = Space((m, *self.shape), dtype)
        self.linear_in = frozenset({"exposure", "haze"})

    def __call__(self, x: Element) -> Array:
        check_element(self.domain, x, "Reflectance: x")
        made = namespace(x["height"]).empty(self.range.shape, self.dtype)
        for k in range(self.images):
            made[k] = self._image(x, k, self.shading.value(self._view(x, k), x["parameters"]))
        return made

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        return self.linearize_in(x, self.domain)

    def linearize_in(self, x: Element, names: Collection[str]) -> tuple[Array, LinearOperator]:
        check_element(self.domain, x, "Reflectance: x")
        shadings = [self._shaded(x, k, names) for k in range(self.images)]
        value = namespace(x["height"]).stack([self._image(x, k, shadings[k].R) for k in range(self.images)])

        def push(d: Element) -> Array:
            return namespace(value).stack([self._pushed(x, d, k, shadings[k]) for k in range(self.images)])

        def pull(g: Array) -> Element:
            return self._pulled(x, g, shadings, names)

        return value, Linear(self.domain, self.range, push, pull, "Jacobian of Reflectance")

    def _view(self, x: Element, k: int) -> dict[str, Array]:
        """The inputs of the geometry of one image."""
        return {"height": x["height"], "sun": x["sun"][k], "view": x["view"][k]}

    def _shaded(self, x: Element, k: int, names: Collection[str]) -> _Shaded:
        """R of one image, and its derivatives in what is named: in the heights alone, or in all the geometry."""
        if not {"sun", "view", "parameters"} & set(names):
            made = self.shading.slopes(self._view(x, k), x["parameters"])
            return _Shaded(made[0], made)
        geometry, J = self.surface.linearize(self._view(x, k))
        of_photometry = {"geometry", *({"parameters"} & set(names))}
        R, K = self.photometry.linearize_in({"geometry": geometry, "parameters": x["parameters"]}, of_photometry)
        return _Shaded(R.reshape(self.shape), None, J, K)

    def _image(self, x: Element, k: int, R: Array) -> Array:
        return self._light(x, k) * (x["albedo"] * R) + _number(x["haze"], k)

    def _light(self, x: Element, k: int) -> Any:
        """exposure, times the part of the sun that is seen."""
        exposure = _number(x["exposure"], k)
        return exposure * x["lit"][k] if self.lit else exposure

    def _pushed(self, x: Element, d: Element, k: int, at: _Shaded) -> Array:
        R = at.R
        if at.slopes is not None:
            dR = self.shading.push(at.slopes, d["height"])
        else:
            d_geometry = at.geometry.forward(self._view(d, k))
            dR = at.model.forward({"geometry": d_geometry, "parameters": d["parameters"]}).reshape(self.shape)
        made = self._light(x, k) * (d["albedo"] * R + x["albedo"] * dR)
        lit = x["lit"][k] if self.lit else 1.0
        made += _number(d["exposure"], k) * (x["albedo"] * R) * lit
        if self.lit:
            made += _number(x["exposure"], k) * (x["albedo"] * R) * d["lit"][k]
        return made + _number(d["haze"], k)

    def _pulled(self, x: Element, g: Array, shadings: list[_Shaded], names: Collection[str]) -> Element:
        xp = namespace(g)
        made = {name: xp.zeros(space.shape, space.dtype) for name, space in self.domain.items()}
        moves = "sun" in names or "view" in names
        for k, at in enumerate(shadings):
            R = at.R
            exposure = _number(x["exposure"], k)
            seen = g[k] * x["lit"][k] if self.lit else g[k]
            if "exposure" in names or (self.lit and "lit" in names):
                bright = x["albedo"] * R
                made["exposure"][k] = (seen * bright).sum(dtype="float64")
                if self.lit:
                    made["lit"][k] = exposure * bright * g[k]
            if "haze" in names:
                made["haze"][k] = g[k].sum(dtype="float64")
            seen = exposure * seen
            if "albedo" in names:
                made["albedo"] += R * seen
            if at.slopes is not None:
                if "height" in names:
                    self.shading.pull(at.slopes, x["albedo"] * seen, made["height"])
                continue
            back = at.model.adjoint(xp.ascontiguousarray((x["albedo"] * seen).reshape(-1), dtype=self.dtype))
            made["parameters"] += back["parameters"]
            own, vectors = self.surface.pulled(self.surface.arrays(self._view(x, k)), back["geometry"], moves)
            made["height"] += self.surface.gathered(own)
            if not moves:
                continue
            for name, gradient, field in zip(("sun", "view"), vectors, self.surface.fields, strict=True):
                made[name][k] = self.surface.of_vector(gradient, field)
        return made


def _number(values: Array, k: int) -> float:
    return float(values[k])


def direction(azimuth: Any, elevation: Any) -> np.ndarray:
    """(..., 3) unit vectors east, north, up of azimuths (clockwise from north) and elevations, radians, as
    `--sun-angles` of Ames Stereo Pipeline has them in degrees."""
    a, e = np.broadcast_arrays(np.asarray(azimuth, np.float64), np.asarray(elevation, np.float64))
    return np.stack([np.sin(a) * np.cos(e), np.cos(a) * np.cos(e), np.sin(e)], -1)
