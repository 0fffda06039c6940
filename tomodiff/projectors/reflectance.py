"""Images of a surface: height, albedo and light in, what an orthographic or map-projected camera sees out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from tomodiff.array import Array, Element, namespace
from tomodiff.core import LinearOperator, Operator, Space, check_element
from tomodiff.core.operators import Linear
from tomodiff.projectors.photometry import Photometry, ReflectanceModel
from tomodiff.projectors.surface import SurfaceGeometry


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
            made[k] = self._image(x, k, self._shading(x, k)[0])
        return made

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        return self.linearize_in(x, self.domain)

    def linearize_in(self, x: Element, names: Collection[str]) -> tuple[Array, LinearOperator]:
        check_element(self.domain, x, "Reflectance: x")
        of_photometry = {"geometry", *({"parameters"} & set(names))}
        shadings = [self._shading(x, k, of_photometry) for k in range(self.images)]
        value = namespace(x["height"]).stack([self._image(x, k, shadings[k][0]) for k in range(self.images)])

        def push(d: Element) -> Array:
            return namespace(value).stack([self._pushed(x, d, k, *shadings[k]) for k in range(self.images)])

        def pull(g: Array) -> Element:
            return self._pulled(x, g, shadings, names)

        return value, Linear(self.domain, self.range, push, pull, "Jacobian of Reflectance")

    def _view(self, x: Element, k: int) -> dict[str, Array]:
        """The inputs of the geometry of one image."""
        return {"height": x["height"], "sun": x["sun"][k], "view": x["view"][k]}

    def _shading(self, x: Element, k: int, slopes: Collection[str] = ()) -> tuple[Array, Any, Any]:
        """R (ny, nx) of one image; with `slopes` the Jacobians of geometry and of R, which is in these."""
        if not slopes:
            geometry = self.surface(self._view(x, k))
            return self._photometry(x, geometry).reshape(self.shape), None, None
        geometry, J = self.surface.linearize(self._view(x, k))
        R, K = self.photometry.linearize_in({"geometry": geometry, "parameters": x["parameters"]}, slopes)
        return R.reshape(self.shape), J, K

    def _photometry(self, x: Element, geometry: Array) -> Array:
        return self.photometry({"geometry": geometry, "parameters": x["parameters"]})

    def _image(self, x: Element, k: int, R: Array) -> Array:
        return self._light(x, k) * (x["albedo"] * R) + _number(x["haze"], k)

    def _light(self, x: Element, k: int) -> Any:
        """exposure, times the part of the sun that is seen."""
        exposure = _number(x["exposure"], k)
        return exposure * x["lit"][k] if self.lit else exposure

    def _pushed(self, x: Element, d: Element, k: int, R: Array, J: LinearOperator, K: LinearOperator) -> Array:
        d_geometry = J.forward(self._view(d, k))
        dR = K.forward({"geometry": d_geometry, "parameters": d["parameters"]}).reshape(self.shape)
        made = self._light(x, k) * (d["albedo"] * R + x["albedo"] * dR)
        lit = x["lit"][k] if self.lit else 1.0
        made += _number(d["exposure"], k) * (x["albedo"] * R) * lit
        if self.lit:
            made += _number(x["exposure"], k) * (x["albedo"] * R) * d["lit"][k]
        return made + _number(d["haze"], k)

    def _pulled(
        self, x: Element, g: Array, shadings: list[tuple[Array, Any, Any]], names: Collection[str]
    ) -> Element:  # fmt: skip
        xp = namespace(g)
        made = {name: xp.zeros(space.shape, space.dtype) for name, space in self.domain.items()}
        slopes = xp.zeros((2, *self.shape), self.dtype)
        for k, (R, _, K) in enumerate(shadings):
            light, bright = self._light(x, k), x["albedo"] * R
            seen = g[k] * (x["lit"][k] if self.lit else 1.0)
            made["albedo"] += light * R * g[k]
            made["exposure"][k] = (seen * bright).sum(dtype="float64")
            made["haze"][k] = g[k].sum(dtype="float64")
            if self.lit:
                made["lit"][k] = _number(x["exposure"], k) * bright * g[k]
            back = K.adjoint(xp.ascontiguousarray((light * x["albedo"] * g[k]).reshape(-1), dtype=self.dtype))
            made["parameters"] += back["parameters"]
            moves = "sun" in names or "view" in names
            own, vectors = self.surface.pulled(self.surface.arrays(self._view(x, k)), back["geometry"], moves)
            slopes += own
            if not moves:
                continue
            for name, gradient, field in zip(("sun", "view"), vectors, self.surface.fields, strict=True):
                made[name][k] = self.surface.of_vector(gradient, field)
        made["height"] = self.surface.gathered(slopes)
        return made


def _number(values: Array, k: int) -> float:
    return float(values[k])


def direction(azimuth: Any, elevation: Any) -> np.ndarray:
    """(..., 3) unit vectors east, north, up of azimuths (clockwise from north) and elevations, radians, as
    `--sun-angles` of Ames Stereo Pipeline has them in degrees."""
    a, e = np.broadcast_arrays(np.asarray(azimuth, np.float64), np.asarray(elevation, np.float64))
    return np.stack([np.sin(a) * np.cos(e), np.cos(a) * np.cos(e), np.sin(e)], -1)
