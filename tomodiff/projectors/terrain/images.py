"""Images of a terrain with the shadows that it casts, on flat or curved ground, and the camera's blur."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from tomodiff.array import Array, Element, namespace
from tomodiff.core import LinearOperator, Operator, Space, check_element
from tomodiff.core.operators import Linear
from tomodiff.projectors.terrain.photometry import ReflectanceModel
from tomodiff.projectors.terrain.reflectance import Reflectance
from tomodiff.projectors.terrain.shadows import SUN_RADIUS, Shadows

OWN = ("height", "albedo", "parameters", "exposure", "haze")
SHADOWS = ("none", "hard", "penumbra")


class TerrainImages(Operator):
    """{"height", "albedo", "parameters", "sun", "exposure", "haze"} -> images (m, ny, nx).

        image = blur(exposure albedo R lit + haze)

    height, albedo (ny, nx); sun (m, 3) unit vectors in the axes of the grid (along columns, up the rows, out of the
    ground); exposure, haze (m,); R a model of `photometry.MODELS` with its parameters, see `Reflectance`.  view: the
    same towards the camera, (m, 3), or (m, 3, ny, nx) where it is near.  frames (3, 3, ny, nx): on a curved body, rows
    are the axes of each element in those of the map's centre, in which sun is then given.  shadows: "penumbra", "hard"
    (0 or 1, without derivatives) or "none"; sun_radius and body_radius as `Shadows` has them, whose sun is that of the
    centre.  blur (m,): standard deviations of the camera's Gaussian, in elements.  Exact derivatives in all inputs.
    """

    def __init__(
        self, shape: tuple[int, int], view: np.ndarray, model: str | ReflectanceModel = "lunar_lambert_mcewen",
        spacing: tuple[float, float] | float = 1.0, *, shadows: str = "penumbra", sun_radius: float = SUN_RADIUS,
        body_radius: float | None = None, frames: Array | None = None, blur: Sequence[float] | None = None,
        dtype: str = "float32",
    ) -> None:  # fmt: skip
        if shadows not in SHADOWS:
            raise ValueError(f"shadows: expected {', '.join(SHADOWS)}, got {shadows!r}")
        m = len(view)
        if blur is not None and (len(blur) != m or not min(blur) >= 0):
            raise ValueError(f"blur: expected {m} widths of at least 0, got {blur}")
        if frames is not None and tuple(frames.shape) != (3, 3, *shape):
            raise ValueError(f"frames: expected the shape {(3, 3, *shape)}, got {tuple(frames.shape)}")
        self.frames, self.view, self.images, self.dtype = frames, view, m, dtype
        self.reflectance = Reflectance(
            shape, m, model, spacing, sun_field=frames is not None, view_field=np.ndim(view) == 4,
            lit=shadows != "none", dtype=dtype,
        )  # fmt: skip
        self.shape, self.shadows = self.reflectance.shape, None
        if shadows != "none":
            radius = sun_radius if shadows == "penumbra" else 0.0
            self.shadows = Shadows(shape, spacing, radius=radius, body_radius=body_radius, dtype=dtype)
        self.blur = None if blur is None or not any(blur) else tuple(float(b) for b in blur)
        inner = self.reflectance.domain
        self.domain = {n: inner[n] for n in OWN} | {"sun": Space((m, 3), "float64")}
        self.range = self.reflectance.range

    def __call__(self, x: Element) -> Array:
        check_element(self.domain, x, "TerrainImages: x")
        inner = self._inner(x)
        if self.shadows is not None:
            inner["lit"] = self._lit(x)
        return self._blurred(self.reflectance(inner))

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        return self.linearize_in(x, self.domain)

    def linearize_in(self, x: Element, names: Collection[str]) -> tuple[Array, LinearOperator]:
        check_element(self.domain, x, "TerrainImages: x")
        xp, inner = namespace(x["height"]), self._inner(x)
        cast: list[LinearOperator] = []
        if self.shadows is not None and not {"height", "sun"} & set(names):
            inner["lit"] = self._lit(x)  # which does not change
        elif self.shadows is not None:
            made = [self.shadows.linearize(s) for s in _suns(x)]
            inner["lit"], cast = xp.stack([lit for lit, _ in made]), [C for _, C in made]
        value, J = self.reflectance.linearize_in(inner, {*names, "lit"} if cast else names)

        def push(d: Element) -> Array:
            moved = self._inner(d) | {"view": xp.zeros_like(inner["view"])}
            if cast:
                moved["lit"] = xp.stack([C.forward(s) for C, s in zip(cast, _suns(d), strict=True)])
            elif self.shadows is not None:
                moved["lit"] = xp.zeros_like(inner["lit"])
            return self._blurred(J.forward(moved))

        def pull(g: Array) -> Element:
            back = J.adjoint(self._blurred(g))
            sun = back["sun"]
            if self.frames is not None:
                sun = xp.einsum("abij,kaij->kb", self.frames, sun.astype("float64"))
            for k, C in enumerate(cast):
                blocked = C.adjoint(xp.ascontiguousarray(back["lit"][k]))
                back["height"] += blocked["height"]
                sun[k] += blocked["sun"]
            return {n: back[n] for n in OWN} | {"sun": sun}

        return self._blurred(value), Linear(self.domain, self.range, push, pull, "Jacobian of TerrainImages")

    def _inner(self, x: Element) -> dict[str, Array]:
        """What `Reflectance` takes, but for the shadows."""
        xp = namespace(x["height"])
        sun = x["sun"]
        if self.frames is not None:
            sun = xp.einsum("abij,kb->kaij", self.frames, sun).astype(self.dtype)
        view = xp.asarray(self.view, self.reflectance.domain["view"].dtype)
        return {n: x[n] for n in OWN} | {"view": view, "sun": sun}

    def _lit(self, x: Element) -> Array:
        """The part of the sun that each element sees in each image."""
        assert self.shadows is not None
        return namespace(x["height"]).stack([self.shadows(s) for s in _suns(x)])

    def _blurred(self, images: Array) -> Array:
        """The images as the camera blurs them; its own transpose."""
        if self.blur is None:
            return images
        xp = namespace(images)
        if xp is np:
            from scipy.ndimage import gaussian_filter
        else:
            from cupyx.scipy.ndimage import gaussian_filter
        pairs = zip(images, self.blur, strict=True)
        return xp.stack([gaussian_filter(image, b, mode="reflect") if b > 0 else image for image, b in pairs])


def _suns(x: Element) -> list[dict[str, Array]]:
    """What `Shadows` takes, for each image."""
    return [{"height": x["height"], "sun": sun} for sun in x["sun"]]
