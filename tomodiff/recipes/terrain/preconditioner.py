"""An approximate inverse of the second derivative of a terrain's fit: cosines for heights, diagonals for the rest."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.array import Array, Element, fft_of, namespace, zeros_like
from tomodiff.core.curvature import Product
from tomodiff.recipes.terrain.problem import Problem

LEAST = 1e-3
"""Of the mean of a diagonal: what entries without data count at least."""


class TerrainPreconditioner:
    """(x, product) -> an approximate inverse of the product.

    Images see slopes by differences: of the heights the inverse is a filter on cosines, whose two
    sensitivities come from one wave along each axis.  Albedo is a diagonal, from the product with 1 everywhere; what
    is one number for each image, from one product for all; parameters, one by one.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        (ny, nx), (dy, dx) = problem.scene.shape, problem.spacing
        ky, kx = (np.pi * np.arange(n) / n for n in (ny, nx))
        sy, sx = ((8 * np.sin(k) - np.sin(2 * k)) / 6 for k in (ky, kx))  # of differences of fourth order
        self._sloped = (sy[:, None] / dy) ** 2, (sx[None] / dx) ** 2
        far = (2 - 2 * np.cos(ky))[:, None] / dy**2, (2 - 2 * np.cos(kx))[None] / dx**2
        p, area = problem.precisions, problem.factor**2
        curved = far[0] ** 2 + far[1] ** 2 + 2 * self._sloped[0] * self._sloped[1]
        self._prior = area * (p.curvature * curved + p.slope * (far[0] + far[1]) + p.dem)
        self._albedo = area * (p.albedo_slope * 2 * (1 / dx**2 + 1 / dy**2) + p.albedo)

    def __call__(self, x: Element, product: Product) -> Product:
        return self._made(x, product, 1.0)

    def root(self, x: Element, product: Product) -> Product:
        """The square root of that inverse."""
        return self._made(x, product, 0.5)

    def _made(self, x: Element, product: Product, power: float) -> Product:
        xp, inverses = namespace(x), {}
        for name in x:
            if name == "height":
                inverses[name] = self._of_heights(x, product, power)
            elif name == "albedo":
                alone = self._alone(x, name, xp.ones_like(x[name]), product)
                diagonal = xp.maximum(alone, LEAST * alone.mean()) + self._albedo
                inverses[name] = _divided((diagonal**power).astype(x[name].dtype))
            else:
                inverses[name] = _divided(self._few(x, name, product) ** power)
        return lambda r: {name: inverses[name](a) for name, a in r.items()}

    def _alone(self, x: Element, name: str, d: Array, product: Product) -> Array:
        zero = zeros_like(x)
        return product(zero | {name: d})[name]

    def _of_heights(self, x: Element, product: Product, power: float) -> Any:
        xp, (ny, nx) = namespace(x), self.problem.scene.shape
        ones = xp.ones_like(x["height"])
        level = float(self._alone(x, "height", ones, product).mean(dtype="float64")) - self._prior[0, 0]
        level = max(level, 0.0)  # what cameras see of heights themselves, by their parallax
        seen = []
        for axis, n in enumerate((ny, nx)):
            k = max(1, n // 8)
            wave = xp.cos(np.pi * k * (xp.arange(n) + 0.5) / n)
            full = xp.ascontiguousarray(xp.broadcast_to(wave[:, None] if axis == 0 else wave[None], (ny, nx)))
            full = full.astype(x["height"].dtype)
            at = (k, 0) if axis == 0 else (0, k)
            bend = float((full * self._alone(x, "height", full, product)).sum(dtype="float64") / (full * full).sum())
            seen.append(max(bend - level - self._prior[at], 1e-3 * bend) / float(self._sloped[axis].reshape(-1)[k]))
        symbol = level + seen[0] * self._sloped[0] + seen[1] * self._sloped[1] + self._prior
        inverse = xp.asarray((np.maximum(symbol, 1e-9 * symbol.max()) ** -power).astype(x["height"].dtype))
        fft = fft_of(xp)

        def solved(r: Array) -> Array:
            return fft.idctn(fft.dctn(r, norm="ortho") * inverse, norm="ortho").astype(r.dtype)

        return solved

    def _few(self, x: Element, name: str, product: Product) -> Array:
        """The diagonal of a few numbers."""
        xp, a = namespace(x), x[name]
        diagonal = xp.zeros_like(a)
        pieces: list[tuple[Any, ...]]
        if name == "parameters":
            pieces = [(slice(k, k + 1),) for k in range(a.size)]
        else:  # each image sees its own only
            pieces = [(slice(None),)] if a.ndim == 1 else [(slice(None), q) for q in range(a.shape[1])]
        for piece in pieces:
            d = xp.zeros_like(a)
            d[piece] = 1
            diagonal[piece] = self._alone(x, name, d, product)[piece]
        return xp.maximum(diagonal, max(LEAST * float(diagonal.mean()), 1e-30))


def _divided(diagonal: Array) -> Any:
    return lambda r: r / diagonal
