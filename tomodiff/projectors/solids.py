"""Solid parts along rays: spheres, boxes, cylinders and capsules as photographs show them, and their slopes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tomodiff.array import Array, Element, namespace, to_numpy
from tomodiff.core import Linear, LinearOperator, Operator, Space, check_element
from tomodiff.kernels import kernel
from tomodiff.projectors.march import COPIES, GPU_BLOCK, gathered, launch

KINDS = ("ellipsoid", "box", "cylinder", "capsule")
BANDS, WAVES = 4, 9
"""Bands at most, and harmonics of the light."""
CUT = 16
"""Added to the kind of what is cut out."""
FAR = 45.0
"""Widths from a surface beyond which nothing is seen of it, with something to spare."""
COLUMNS = 8
"""Changes that one launch takes."""
GPU_COPIES = 4096
"""Threads of a GPU, each of which sums up gradients of its own."""


class SolidRays(Operator):
    """{"half" (part, 3), "frames" (part, 3, 4), "colours" (part, band), "light" (band, 9), "origins" (ray, 3),
    "directions" (ray, 3), "background" (band, ray)} -> image (band, ray): what is seen of opaque parts.

    half: half lengths along a part's own axes; a cylinder stands along z with the radius half[0] and half length
    half[2], and so does a capsule, whose round ends come on top.  frames: they take the world's (x, y, z) to the part's
    own.  A part's surface has its colour times the light on its normal, the light being nine harmonics
    (`projectors.harmonics`) of each band; no shadows.  kinds: of `KINDS`; cut: which parts are taken away from the
    rest, such as bores.  width: how soft surfaces and joints are, a length; silhouettes do not move with it.
    step: between samples, None for the width; sharp edges come out a fifth of it too small.

    Differentiable in all inputs, with kinks where a sample becomes that which is nearest to a surface.  Signed
    distances are exact but those of ellipsoids, which are so to first order (Quilez); seen as NeuS does (Wang 2021).
    """

    linear_in = frozenset({"light", "background"})

    def __init__(
        self, kinds: Sequence[str], cut: Sequence[bool | int], rays: int, bands: int, width: float,
        step: float | None = None, dtype: str = "float32",
    ) -> None:  # fmt: skip
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown or not kinds or len(cut) != len(kinds) or all(cut):
            raise ValueError(
                f"SolidRays: expected kinds of {', '.join(KINDS)}, at least one that is not cut out, got {list(kinds)}"
            )
        if not 1 <= bands <= BANDS or not width > 0 or not (step is None or step > 0):
            raise ValueError(
                f"SolidRays: expected 1 to {BANDS} bands, width and step above 0, got {bands}, {width} and {step}"
            )
        self.width, self.step = float(width), float(width if step is None else step)
        self.dtype, self.cuts = dtype, sum(map(bool, cut))
        self.kinds = np.array([KINDS.index(k) + CUT * bool(c) for k, c in zip(kinds, cut, strict=True)], np.int32)
        n = len(self.kinds)
        self.domain = {
            "half": Space((n, 3), dtype),
            "frames": Space((n, 3, 4), dtype),
            "colours": Space((n, bands), dtype),
            "light": Space((bands, WAVES), dtype),
            "origins": Space((rays, 3), dtype),
            "directions": Space((rays, 3), dtype),
            "background": Space((bands, rays), dtype),
        }
        self.range = Space((bands, rays), dtype)

    def __call__(self, x: Element) -> Array:
        return self.seen(x)[0]

    def seen(self, x: Element) -> tuple[Array, Array]:
        """Image (band, ray), and how much of the background comes through (ray): 1 - opacity."""
        x = self._checked(x)
        return self._rendered(x, *self._prepared(x))

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        x = self._checked(x)
        xp, (still, sizes) = namespace(x["half"]), self._prepared(x)
        image = self._rendered(x, still, sizes)[0]

        def push(d: Element) -> Array:
            d, made = self._checked(d), xp.empty(self.range.shape, self.dtype)
            change = (*self._packed(d), d["origins"], d["directions"], d["background"])
            launch("solids_push", xp, self.dtype, self.range.shape[1], *still, x["background"], *change, made, *sizes)
            return made

        def pull(g: Array) -> Element:
            rays = self.range.shape[1]
            copies = COPIES if xp is np else min(GPU_COPIES, max(rays, 1))
            summed = [xp.zeros((copies, *a.shape), self.dtype) for a in still[1:3]]  # parts and light
            own = [xp.empty((rays, 3), self.dtype) for _ in range(2)]
            background = xp.empty(self.range.shape, self.dtype)
            block = 1 if xp is np else GPU_BLOCK
            kernel("solids_pull", xp, self.dtype)(
                (-(-copies // block),), (block,),
                (*still, image, xp.ascontiguousarray(g), *summed, *own, background, *sizes, copies),
            )  # fmt: skip
            g_parts, g_light = (gathered(a) for a in summed)
            bands = self.range.shape[0]
            return {
                "half": g_parts[:, :3].copy(), "frames": g_parts[:, 3:15].reshape(-1, 3, 4).copy(),
                "colours": g_parts[:, 15 : 15 + bands].copy(), "light": g_light[:bands].copy(),
                "origins": own[0], "directions": own[1], "background": background,
            }  # fmt: skip

        return image, Linear(self.domain, self.range, push, pull, "Jacobian of SolidRays")

    def columns(self, x: Element, changes: Sequence[Element]) -> Array:
        """What each of some changes of half, frames, colours and light does to the image: (change, band, ray).  As
        the Jacobian's `forward` of each, several in one pass."""
        x = self._checked(x)
        xp, (still, sizes) = namespace(x["half"]), self._prepared(x)
        bands, rays = self.range.shape
        made = xp.empty((-(-len(changes) // COLUMNS) * COLUMNS, bands, rays), self.dtype)
        for first in range(0, len(changes), COLUMNS):
            packed = [self._packed(change) for change in changes[first : first + COLUMNS]]
            beside = []
            for i, of in enumerate(still[1:3]):
                beside.append(xp.zeros((of.size, COLUMNS), self.dtype))
                for column, change in enumerate(packed):
                    beside[i][:, column] = change[i].ravel()
            out = made[first : first + COLUMNS]
            launch("solids_columns", xp, self.dtype, rays, *still, x["background"], *beside, out, *sizes)
        return made[: len(changes)]

    def _checked(self, x: Element) -> dict[str, Array]:
        check_element(self.domain, x, "SolidRays: x")
        return {name: namespace(a).ascontiguousarray(a) for name, a in x.items()}

    def _packed(self, x: Element) -> tuple[Array, Array]:
        """Parts and light as kernels take them."""
        xp, bands = namespace(x["half"]), self.range.shape[0]
        parts = xp.zeros((len(self.kinds), 15 + BANDS), self.dtype)
        parts[:, :3], parts[:, 3:15], parts[:, 15 : 15 + bands] = x["half"], x["frames"].reshape(-1, 12), x["colours"]
        light = xp.zeros((BANDS, WAVES), self.dtype)
        light[:bands] = x["light"]
        return parts, light

    def _prepared(self, x: Element) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """As the kernels take them: kinds, parts, light, rays and the ball that holds everything; and all sizes."""
        xp = namespace(x["half"])
        half, frames = (to_numpy(x[name]).astype(np.float64) for name in ("half", "frames"))
        long = half[self.kinds % CUT == KINDS.index("ellipsoid")]
        # of ellipsoids, by which factor a distance may be wrong far away
        slack = float((long.min(axis=1) / long.max(axis=1)).min()) if len(long) else 1.0
        solid = self.kinds < CUT
        places = -np.linalg.solve(frames[solid, :, :3], frames[solid, :, 3:])[..., 0]
        ends = np.where(self.kinds[solid] == KINDS.index("capsule"), half[solid, 0], 0)
        reach = np.linalg.norm(half[solid], axis=1) + ends
        middle = (places - reach[:, None]).min(axis=0) / 2 + (places + reach[:, None]).max(axis=0) / 2
        radius = (np.linalg.norm(places - middle, axis=1) + reach).max() + FAR * self.width / slack
        ball = xp.asarray(np.array([*middle, radius]), self.dtype)
        sizes = (len(self.kinds), self.range.shape[0], self.cuts, self.range.shape[1], self.width, slack, self.step)
        return (xp.asarray(self.kinds), *self._packed(x), x["origins"], x["directions"], ball), sizes

    def _rendered(self, x: Element, still: tuple[Any, ...], sizes: tuple[Any, ...]) -> tuple[Array, Array]:
        xp = namespace(x["half"])
        image, left = xp.empty(self.range.shape, self.dtype), xp.empty(self.range.shape[1:], self.dtype)
        launch("solids_forward", xp, self.dtype, self.range.shape[1], *still, x["background"], image, left, *sizes)
        return image, left
