"""From heights on a map to the photometric geometry of every element: normals by differences, sun and camera."""

from __future__ import annotations

import numpy as np

from tomodiff.array import Array, Element, namespace
from tomodiff.core import LinearOperator, Operator, Space, check_element
from tomodiff.core.operators import Linear
from tomodiff.kernels import kernel, lanes


class SurfaceGeometry(Operator):
    """{"height", "sun", "view"} -> geometry (4, ny nx), as `Photometry` takes it.

    height (ny, nx): row 0 is the northernmost, columns run east; in the unit of `spacing` (dy, dx), metres on a map.
    sun, view: towards sun and camera, in the frame east, north, up: (3,) of all elements, or with `sun_field` or
    `view_field` (3, ny, nx) of each, as on a curved body.  They are used as they are: unit vectors give cosines.
    Slopes are differences of fourth order (of second beside the edges, one-sided at them).  Exact derivatives in all.
    """

    def __init__(
        self, shape: tuple[int, int], spacing: tuple[float, float] | float = 1.0, *, sun_field: bool = False,
        view_field: bool = False, dtype: str = "float32",
    ) -> None:  # fmt: skip
        ny, nx = shape
        dy, dx = spacing if isinstance(spacing, tuple) else (spacing, spacing)
        if min(ny, nx) < 2:
            raise ValueError(f"shape: expected at least 2 rows and 2 columns of heights, got {ny} x {nx}")
        if not (dy > 0 and dx > 0):
            raise ValueError(f"spacing: expected lengths above 0, got {dy:g} and {dx:g}")
        self.shape, self.spacing, self.dtype = (int(ny), int(nx)), (float(dy), float(dx)), dtype
        self.fields = (sun_field, view_field)
        vectors = (Space((3, ny, nx), dtype) if field else Space((3,), "float64") for field in self.fields)
        self.domain = {"height": Space((ny, nx), dtype), **dict(zip(("sun", "view"), vectors, strict=True))}
        self.range = Space((4, ny * nx), dtype)

    def __call__(self, x: Element) -> Array:
        check_element(self.domain, x, "SurfaceGeometry: x")
        return self._launched("surface_geometry", self.arrays(x), (4,))

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        value, arrays = self(x), self.arrays(x)

        def push(d: Element) -> Array:
            return self._launched("surface_push", (*arrays, *self.arrays(d)), (4,))

        def pull(g: Array) -> Element:
            slopes, vectors = self.pulled(arrays, g)
            sun, view = (self.of_vector(v, field) for v, field in zip(vectors, self.fields, strict=True))
            return {"height": self.gathered(slopes), "sun": sun, "view": view}

        return value, Linear(self.domain, self.range, push, pull, "Jacobian of SurfaceGeometry")

    # ---- parts that `Reflectance` puts together for many images

    def arrays(self, x: Element) -> tuple[Array, Array, Array]:
        """Height, sun and view as the kernels read them."""
        xp = namespace(x["height"])
        height, sun, view = (xp.ascontiguousarray(x[name], dtype=self.dtype) for name in ("height", "sun", "view"))
        return height, sun, view

    def pulled(self, arrays: tuple[Array, ...], g: Array, vectors: bool = True) -> tuple[Array, Array]:
        """Gradients in the slopes (2, ny, nx) and in sun and view (2, 3, ny, nx; None unless they are wanted)."""
        xp = namespace(g)
        slopes = xp.empty((2, *self.shape), self.dtype)
        made = xp.empty((2, 3, *self.shape), self.dtype) if vectors else None
        self._launch("surface_pull", xp, (*arrays, xp.ascontiguousarray(g), slopes, made), fields=True)
        return slopes, made if vectors else (None, None)

    def gathered(self, slopes: Array) -> Array:
        """The gradient in the heights from that in the slopes."""
        xp = namespace(slopes)
        made = xp.empty(self.shape, self.dtype)
        self._launch("surface_gather", xp, (slopes, made))
        return made

    def of_vector(self, gradient: Array, field: bool) -> Array:
        """A gradient (3, ny, nx) in a vector of each element, or summed in that of all."""
        return gradient if field else gradient.sum((1, 2), dtype="float64")

    def _launched(self, name: str, arrays: tuple[Array, ...], planes: tuple[int, ...]) -> Array:
        xp = namespace(arrays[0])
        made = xp.empty((*planes, self.shape[0] * self.shape[1]), self.dtype)
        self._launch(name, xp, (*arrays, made), fields=True)
        return made

    def _launch(self, name: str, xp: object, arrays: tuple[Array | None, ...], fields: bool = False) -> None:
        (ny, nx), (dy, dx) = self.shape, self.spacing
        block = (1, 1) if xp is np else (64, 4)
        owned = lanes(xp)  # type: ignore[arg-type]
        grid = (-(-nx // (owned * block[0])), -(-ny // block[1]))
        more = tuple(map(int, self.fields)) if fields else ()
        kernel(name, xp, self.dtype)(grid, block, (*arrays, ny, nx, 1 / dx, 1 / dy, *more))  # type: ignore[arg-type]
