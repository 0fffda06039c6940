"""Noise with outliers: negative log-likelihoods that grow more slowly than squares.

Weights are None (1 everywhere), a number or an array of the shape of the data; 0 leaves an entry out.
"""

from __future__ import annotations

from typing import Any

from tomodiff.array import Array, inner, namespace, plain
from tomodiff.core import Functional, check_element, weigh
from tomodiff.core.curvature import Diagonal, Product
from tomodiff.core.functional import FunctionalScaled
from tomodiff.core.space import space_of
from tomodiff.objective.gaussian import subset


class Huber(Functional):
    """sum of h(sqrt(w) (y - data)), quadratic within `delta` and linear beyond: noise with outliers (Huber 1964).

    h(r) = r^2 / 2 for |r| <= delta, delta (|r| - delta / 2) beyond.
    """

    separable = True

    def __init__(self, data: Array, delta: float, weights: Any = None) -> None:
        if not delta > 0:
            raise ValueError(f"Huber: delta: expected a number > 0, got {delta}")
        self.data, self.delta = data, float(delta)
        self.root = None if weights is None else plain(weights**0.5)

    def value_and_grad(self, y: Array) -> tuple[float, Array]:
        residual = self._residual(y)
        slope = residual.clip(-self.delta, self.delta)
        return inner(slope, residual) - 0.5 * inner(slope, slope), weigh(slope, self.root)

    def quadratic(self, y: Array) -> tuple[float, Array, Product]:
        """The positive part of the curvature is that of the weighted squares which touch the loss here."""
        value, gradient = self.value_and_grad(y)
        near = self.delta / abs(self._residual(y)).clip(self.delta, None)
        bend = weigh(weigh(near, self.root), self.root)
        return value, gradient, Diagonal(bend, y)

    def prox(self, y: Array, step: Any) -> Array:
        residual, step = self._residual(y), plain(step)
        pull = step if self.root is None else step * self.root * self.root
        moved = weigh((residual / (1 + pull)).clip(-self.delta, self.delta), self.root)
        return y - step * moved

    def _residual(self, y: Array) -> Array:
        check_element(space_of(self.data), y, "Huber: y")
        return weigh(y - self.data, self.root)

    def __getitem__(self, views: Any) -> Huber:
        return Huber(self.data[views], self.delta, None if self.root is None else subset(self.root, views) ** 2)


class Cauchy(Functional):
    """1/2 sum c^2 log(1 + w (y - data)^2 / c^2), c = `threshold` standard deviations: noise of variance 1/w with
    outliers, which hardly count (Ceres and Ames Stereo Pipeline call c the threshold, in the unit of sqrt(w) y).

    `weights`: None, a number or an array of the shape of the data; 0 leaves an entry out.
    """

    def __init__(self, data: Array, threshold: float, weights: Any = None) -> None:
        if not threshold > 0:
            raise ValueError(f"Cauchy: threshold: expected a number > 0, got {threshold}")
        self.data, self.threshold, self.weights = data, float(threshold), plain(weights)

    def value_and_grad(self, y: Array) -> tuple[float, Array]:
        return self.quadratic(y)[:2]

    def quadratic(self, y: Array) -> tuple[float, Array, Product]:
        """The positive part of the curvature is that of the weighted squares which touch the loss here."""
        check_element(space_of(self.data), y, "Cauchy: y")
        xp, square = namespace(y), self.threshold**2
        residual = y - self.data
        far = weigh(residual * residual, self.weights) / square
        value = 0.5 * square * float(xp.log1p(far).sum(dtype="float64"))
        weights = weigh(1 / (1 + far), self.weights)
        return value, residual * weights, Diagonal(weights, y)

    def __getitem__(self, views: Any) -> Cauchy:
        return Cauchy(self.data[views], self.threshold, subset(self.weights, views))


def student_t(data: Array, nu: float, weights: Any = None) -> FunctionalScaled:
    """(nu + 1)/2 sum log(1 + w (y - data)^2 / nu): Student's t with nu degrees of freedom and scale 1/sqrt(w)
    (Lange, Little and Taylor 1989).  It is Cauchy's of threshold sqrt(nu), scaled."""
    if not nu > 0:
        raise ValueError(f"student_t: nu: expected a number > 0, got {nu}")
    return (nu + 1) / nu * Cauchy(data, nu**0.5, weights)  # type: ignore[return-value]
