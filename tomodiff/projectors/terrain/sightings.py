"""What cameras see of each element of a height field, and how it changes as heights and cameras move."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomodiff.array import Array, Element, namespace, to_numpy
from tomodiff.core import LinearOperator, Operator, Space, check_element
from tomodiff.core.operators import Linear
from tomodiff.kernels import kernel, lanes
from tomodiff.projectors.terrain.images import TerrainImages


@dataclass(frozen=True, eq=False)
class Sighting:
    """An image (rows, columns) as coefficients of cubic B-splines (`coefficients_of`), and where it shows the elements:
    start (2, n) int32 and path (2, 4, n) of `geometry.cameras.Parallax`, t = (height - middle) unit.

    centre, size (2,): columns and rows, from which and in which corrections that grow with them are counted."""

    image: Array
    start: Array
    path: Array
    middle: float
    unit: float
    centre: tuple[float, float]
    size: tuple[float, float]


class Sightings(Operator):
    """{"height" (ny, nx), "camera" (m, 6)} -> what each of m images shows at the elements (m, ny, nx).

    camera: corrections in pixels, of the column c0 + c1 u + c2 v and of the row c3 + c4 u + c5 v, where u and v run
    from -1 to 1 over the image; c0 and c3 are its shift.  A sighting that is an array (ny, nx) is what it is, whatever
    heights and cameras are.  Exact derivatives in both; they are zero where an element lies beyond an image, which
    is held there at its last pixels.
    """

    def __init__(
        self, shape: tuple[int, int], sightings: Sequence[Sighting | Array], dtype: str = "float32"
    ) -> None:  # fmt: skip
        self.shape, self.sightings, self.dtype = (int(shape[0]), int(shape[1])), tuple(sightings), dtype
        m = len(self.sightings)
        self.domain = {"height": Space(self.shape, dtype), "camera": Space((m, 6), "float64")}
        self.range = Space((m, *self.shape), dtype)

    def __call__(self, x: Element) -> Array:
        check_element(self.domain, x, "Sightings: x")
        xp = namespace(x["height"])
        return xp.stack([self._seen(k, x, xp)[0].reshape(self.shape) for k in range(len(self.sightings))])

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        return self.linearize_in(x, self.domain)

    def linearize_in(self, x: Element, names: Collection[str]) -> tuple[Array, LinearOperator]:
        check_element(self.domain, x, "Sightings: x")
        xp, m = namespace(x["height"]), len(self.sightings)
        value, by_height = xp.empty((m, *self.shape), self.dtype), xp.zeros((m, *self.shape), self.dtype)
        moving: dict[int, Array] = {}
        for k in range(m):
            seen = self._seen(k, x, xp)
            value[k] = seen[0].reshape(self.shape)
            if len(seen) > 1:
                by_height[k] = seen[1].reshape(self.shape)
                if "camera" in names:
                    moving[k] = seen[2:]

        def push(d: Element) -> Array:
            made = by_height * d["height"]
            for k, (by_x, by_y, u, v) in moving.items():
                a = [float(c) for c in d["camera"][k]]
                made[k] += (by_x * (a[0] + a[1] * u + a[2] * v) + by_y * (a[3] + a[4] * u + a[5] * v)).reshape(
                    self.shape
                )
            return made

        def pull(g: Array) -> Element:
            camera = xp.zeros((m, 6), "float64")
            for k, (by_x, by_y, u, v) in moving.items():
                for first, slope in ((0, by_x), (3, by_y)):
                    own = g[k].reshape(-1) * slope
                    for q, along in enumerate((own, own * u, own * v)):
                        camera[k, first + q] = along.sum(dtype="float64")
            return {"height": (by_height * g).sum(0), "camera": camera}

        return value, Linear(self.domain, self.range, push, pull, "Jacobian of Sightings")

    def _seen(self, k: int, x: Element, xp: Any) -> Array:
        """(6, n): value, derivatives by height, column and row, u and v; (1, n) of an image that is what it is."""
        sighting, n = self.sightings[k], self.shape[0] * self.shape[1]
        if not isinstance(sighting, Sighting):
            return xp.asarray(sighting, self.dtype).reshape(1, n)
        made = xp.empty((6, n), self.dtype)
        correction = xp.asarray(to_numpy(x["camera"])[k].reshape(2, 3), self.dtype)
        block = 1 if xp is np else 256
        kernel("sighting", xp, self.dtype)(
            (-(-n // (lanes(xp) * block)),), (block,),
            (sighting.image, xp.ascontiguousarray(x["height"]), sighting.start, sighting.path, correction, made,
             *sighting.image.shape, n, sighting.middle, sighting.unit, *sighting.centre, *sighting.size),
        )  # fmt: skip
        return made


class SeenTerrain(Operator):
    """What a terrain should look like, less what cameras saw of it: the inputs of `terrain` and "camera" (m, 6) ->
    residuals (m, ny, nx).  shading=False: the ground is shaded as if it were level, so that only the cameras tell of
    its heights."""

    def __init__(self, terrain: TerrainImages, sightings: Sightings, shading: bool = True) -> None:
        self.terrain, self.sightings, self.shading = terrain, sightings, shading
        self.domain = {**terrain.domain, "camera": sightings.domain["camera"]}
        self.range = terrain.range

    def __call__(self, x: Element) -> Array:
        check_element(self.domain, x, "SeenTerrain: x")
        return self.terrain(self._shaded(x)) - self.sightings(self._seen(x))

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        return self.linearize_in(x, self.domain)

    def linearize_in(self, x: Element, names: Collection[str]) -> tuple[Array, LinearOperator]:
        check_element(self.domain, x, "SeenTerrain: x")
        of_light = [n for n in names if n != "camera" and (self.shading or n != "height")]
        shaded, J = self.terrain.linearize_in(self._shaded(x), of_light)
        seen, C = self.sightings.linearize_in(self._seen(x), names)

        def push(d: Element) -> Array:
            return J.forward(self._shaded(d)) - C.forward(self._seen(d))

        def pull(g: Array) -> Element:
            back, moved = dict(J.adjoint(g)), C.adjoint(-g)
            back["height"] = back["height"] + moved["height"] if self.shading else moved["height"]
            return back | {"camera": moved["camera"]}

        return shaded - seen, Linear(self.domain, self.range, push, pull, "Jacobian of SeenTerrain")

    def _shaded(self, x: Element) -> dict[str, Array]:
        made = {n: a for n, a in x.items() if n != "camera"}
        return made if self.shading else made | {"height": namespace(x["height"]).zeros_like(x["height"])}

    @staticmethod
    def _seen(x: Element) -> dict[str, Array]:
        return {n: x[n] for n in ("height", "camera")}


def coefficients_of(image: np.ndarray, dtype: str = "float32") -> np.ndarray:
    """The coefficients of the cubic B-spline through an image's pixels, mirrored at the middles of the outermost."""
    from scipy.ndimage import spline_filter

    if min(image.shape) < 4:
        raise ValueError(f"image: expected at least 4 x 4 pixels, got {image.shape[0]} x {image.shape[1]}")
    return np.ascontiguousarray(spline_filter(np.asarray(image, np.float64), order=3, mode="mirror"), dtype)
