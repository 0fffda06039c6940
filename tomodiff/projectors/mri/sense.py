"""What receiver coils measure of one image: sensitivity encoding (Pruessmann et al. 1999, MRM 42, 952; 46, 638)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tomodiff.array import Array, Element, namespace, to_numpy
from tomodiff.core import Linear, LinearOperator, Operator, Space, check_element
from tomodiff.core.operators import into
from tomodiff.projectors.mri.fourier import Fourier, fourier_of, per_image
from tomodiff.projectors.mri.nufft import Nufft


class Sense(LinearOperator):
    """An image (*shape), complex -> the samples of each coil (coil, sample): y[c] = F(S[c] x).

    maps: S (coil, *shape), the coils' sensitivities; fourier: F, of images (coil, *shape).
    """

    def __init__(self, maps: Array, fourier: Fourier) -> None:
        check_element(fourier.domain, maps, "Sense: maps")
        self.maps, self.fourier = maps, fourier
        self.domain, self.range = Space(fourier.shape, fourier.dtype), fourier.range
        xp = namespace(maps)
        self._last = xp.ascontiguousarray(xp.moveaxis(maps, 0, -1))  # coils beside each other: they share all weights

    @classmethod
    def at(cls, maps: Array, points: Any, accuracy: float = 1e-5) -> Sense:
        """At points (sample, axis) in cycles per pixel, by the transform that they need (`fourier_of`)."""
        if maps.dtype.kind != "c" or maps.ndim not in (3, 4):
            raise ValueError(f"Sense: maps: expected complex (coil, *shape), got {maps.dtype} of shape {maps.shape}")
        return cls(maps, fourier_of(maps.shape[1:], points, maps.shape[:1], accuracy, maps.dtype.name))

    def forward(self, x: Array, out: Array | None = None) -> Array:
        check_element(self.domain, x, "Sense.forward: x")
        samples = self.fourier.sampled(self._last * x[..., None])
        return into(out, namespace(x).ascontiguousarray(samples.T))

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        check_element(self.range, y, "Sense.adjoint: y")
        xp = namespace(y)
        images = self.fourier.gathered(xp.ascontiguousarray(y.T))
        return into(out, (self._last.conj() * images).sum(axis=-1))

    def gram(self, weights: Any = None) -> LinearOperator:
        """A' W A without the samples (see `Fourier.gram`); weights: one per sample."""
        return super().gram(weights) if per_image(weights) else SenseGram(self, self.fourier.gram(weights))


class SenseGram(LinearOperator):
    """x -> sum over coils of conj(S) T(S x), T a convolution: the normal operator of `Sense`, self-adjoint."""

    def __init__(self, sense: Sense, convolution: LinearOperator) -> None:
        self.sense, self.convolution = sense, convolution
        self.domain = self.range = sense.domain

    def forward(self, x: Array, out: Array | None = None) -> Array:
        check_element(self.domain, x, "SenseGram.forward: x")
        maps = self.sense.maps
        return into(out, (maps.conj() * self.convolution.forward(maps * x)).sum(axis=0))

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        return self.forward(y, out)


class SenseModel(Operator):
    """{"image" (*shape), "maps" (coil, *shape), "points" (sample, axis)} -> samples (coil, sample): `Sense` with coils
    and trajectory to be found, too.

    Differentiable in all three; linear in the image.  Image and maps have a factor between them at each pixel: keep one
    by a prior.  The slope in the points is that of the exact sum, to the accuracy of the transform.
    """

    linear_in = frozenset({"image"})

    def __init__(
        self, shape: Sequence[int], coils: int, samples: int, accuracy: float = 1e-5, dtype: str = "complex64"
    ) -> None:
        self.shape, self.accuracy, self.dtype = tuple(shape), accuracy, dtype
        real = "float32" if np.dtype(dtype) == np.complex64 else "float64"
        self.domain = {
            "image": Space(self.shape, dtype),
            "maps": Space((coils, *self.shape), dtype),
            "points": Space((samples, len(self.shape)), real),
        }
        self.range = Space((coils, samples), dtype)

    def _nufft(self, points: Array) -> Nufft:
        return Nufft(self.shape, to_numpy(points), self.range.shape[:1], self.accuracy, self.dtype)

    def __call__(self, x: Element) -> Array:
        check_element(self.domain, x, "SenseModel: x")
        return self._nufft(x["points"]).forward(x["maps"] * x["image"])

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        check_element(self.domain, x, "SenseModel: x")
        image, maps, xp = x["image"], x["maps"], namespace(x["image"])
        nufft = self._nufft(x["points"])
        seen = maps * image
        slopes: list[Array] = []

        def slope(axis: int) -> Array:
            """d samples / d points along an axis (coil, sample)."""
            while len(slopes) <= axis:
                slopes.append(nufft.forward((seen * self._turn(xp, len(slopes))).astype(self.dtype)))
            return slopes[axis]

        def push(d: Element) -> Array:
            made = nufft.forward(maps * d["image"] + d["maps"] * image)
            for axis in range(len(self.shape)):
                made += d["points"][:, axis] * slope(axis)
            return made

        def pull(g: Array) -> Element:
            back = nufft.adjoint(xp.ascontiguousarray(g))
            moved = [(g.conj() * slope(axis)).real.sum(axis=0) for axis in range(len(self.shape))]
            return {
                "image": (maps.conj() * back).sum(axis=0),
                "maps": image.conj() * back,
                "points": xp.stack(moved, axis=-1),
            }

        return nufft.forward(seen), Linear(self.domain, self.range, push, pull, "Jacobian of SenseModel")

    def _turn(self, xp: Any, axis: int) -> Array:
        """-2 pi i r along an axis."""
        n = self.shape[axis]
        along = [1] * len(self.shape)
        along[axis] = n
        return (-2j * np.pi * (xp.arange(n) - n // 2)).reshape(along)

    def fix(self, **values: Array) -> Operator:
        if set(values) == {"maps", "points"}:
            for name, value in values.items():
                check_element(self.domain[name], value, f"SenseModel.fix: {name}")
            points = values["points"]
            return Sense.at(values["maps"], to_numpy(points), self.accuracy)
        return super().fix(**values)
