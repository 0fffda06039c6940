"""The fog of `workflows.benchmarks.radiance` by Mitsuba 3 on its LLVM backend, with replayed adjoints (Vicini et
al. 2021) as Mitsuba's own volume integrators have them; imported only where Mitsuba is installed."""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from tomodiff.projectors.harmonics import harmonics
from tomodiff.projectors.radiance import RadianceField
from workflows.benchmarks.radiance import samples

mi.set_variant("llvm_ad_rgb")


class Mitsuba:
    """Trilinear lookups of a 3D texture along rays, in one traced loop; the same samples as ours."""

    def __init__(self, A: RadianceField, x: dict[str, np.ndarray], threads: int) -> None:
        dr.set_thread_count(threads)
        o, d, n, first, last = samples(A, x)
        self.first, self.last = (mi.Float(a.astype(np.float32)) for a in (first, last))
        # voxels' middles are at (i + 1/2) / n of a texture; a border of zeros ends it as ours does
        self.origin = mi.Point3f(*((o + 1.5) / (n + 2)).T.astype(np.float32))
        self.direction = mi.Vector3f(*(d / (n + 2)).T.astype(np.float32))
        self.low, self.high = ((a / (n + 2)).tolist() for a in (np.full(3, 0.5), n + 1.5))
        self.step = float(A.step)
        self.basis = [mi.Float(np.ascontiguousarray(y)) for y in harmonics(x["directions"], 1).T]
        self.background = mi.Color3f(*x["background"].T)
        field = np.pad(x["field"], ((1, 1), (1, 1), (1, 1), (0, 0)))
        self.field = mi.TensorXf(field.astype(np.float32))
        self.texture = mi.Texture3f(self.field, use_accel=False, migrate=False, wrap_mode=dr.WrapMode.Clamp)

    def forward(self) -> Any:
        """Colours, evaluated."""
        image = self._marched(True, mi.Color3f(0), mi.Color3f(0))
        dr.eval(image)
        dr.sync_thread()
        return image

    def both(self, g: np.ndarray) -> np.ndarray:
        """The gradient of the field (z, y, x, number)."""
        image = self.forward()
        values = mi.TensorXf(self.field)
        dr.enable_grad(values)
        self.texture.set_tensor(values)
        with dr.suspend_grad():
            self._marched(False, image, mi.Color3f(*g.T))
        made = dr.grad(values)
        dr.eval(made)
        dr.sync_thread()
        self.texture.set_tensor(self.field)
        return np.array(made)[1:-1, 1:-1, 1:-1]

    @dr.syntax  # type: ignore[misc]
    def _marched(self, primal: bool, image: Any, g: Any) -> Any:
        """The colours; or, with the image and what comes from above, the gradient, replayed."""
        light = mi.Color3f(image)
        through, i = mi.Float(1), mi.Float(self.first)
        while i < self.last:
            t = (i + 0.5) * self.step
            p = self.origin + t * self.direction
            alive = mi.Bool(True)
            for place, low, high in zip(p, self.low, self.high, strict=True):
                alive &= (place > low) & (place < high)
            with dr.resume_grad(when=not primal):
                v = self.texture.eval(p, alive)
                density = dr.select(alive, dr.log(1 + dr.exp(v[0])), 0)
                kept = dr.exp(-self.step * density)
                colour = mi.Color3f(0)
                for q in range(3):
                    seen = 0.5 + sum(self.basis[k] * v[1 + 4 * q + k] for k in range(4))
                    colour[q] = dr.select(seen > 0, seen, 0)
                sent = through * (1 - kept) * colour
            if dr.hint(primal, mode="scalar"):
                light += sent
            else:
                light -= dr.detach(sent)
                with dr.resume_grad():
                    dr.backward_from(g * (light * kept / dr.detach(kept) + sent))
            through *= dr.detach(kept)
            i += 1
        return light + through * self.background if primal else light
