"""Normal noise: negative log-likelihoods of data given what the model predicts, up to constants of the data.

Every likelihood is written so that a perfect prediction has the value 0. Data must have the dtype of the predictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tomodiff.array import Array, Element, inner, namespace, plain, tmap
from tomodiff.core import Functional, LinearOperator, Operator, Space, check_element, weigh
from tomodiff.core.curvature import Diagonal, Product, Through
from tomodiff.core.space import space_of, zeros


def subset(values: Any, views: Any) -> Any:
    """The views of an array that has a view axis; numbers, None and arrays that broadcast over views as they are."""
    return values[views] if getattr(values, "ndim", 0) and values.shape[0] > 1 else values


class Gaussian(Functional):
    """1/2 sum w (y - data)^2: independent normal noise of variance 1/w.

    `weights` is None (1 everywhere), a number, or an array of the shape of the data (a dict where data is one).
    Complex data: real and imaginary parts with that variance each, |y - data|^2.
    """

    separable = True

    def __init__(self, data: Element, weights: Any = None) -> None:
        self.data, self.weights = data, plain(weights)
        if isinstance(self.weights, Mapping):
            for name, w in self.weights.items():
                self._check(f"weights[{name!r}]", w, data[name])
        elif weights is not None:
            self._check("weights", self.weights, data)

    @staticmethod
    def _check(name: str, weights: Any, data: Array) -> None:
        if hasattr(weights, "shape"):
            check_element(Space(data.shape, data.real.dtype.name), weights, f"Gaussian: {name}")
        if not bool((weights >= 0).all() if hasattr(weights, "shape") else weights >= 0):
            raise ValueError(f"Gaussian: {name}: expected weights >= 0, got negative ones or NaN")

    def value_and_grad(self, y: Element) -> tuple[float, Element]:
        check_element(space_of(self.data), y, "Gaussian: y")
        residual = tmap(lambda a, d: a - d, y, self.data)
        weighted = weigh(residual, self.weights)
        return 0.5 * inner(residual, weighted), weighted

    def through(self, A: Operator, x: Element) -> tuple[float, Element]:
        return A.residual_grad(x, self.data, self.weights)

    def quadratic(self, y: Element) -> tuple[float, Element, Product]:
        return *self.value_and_grad(y), Diagonal(self.weights, y)

    def prox(self, y: Element, step: Any) -> Element:
        check_element(space_of(self.data), y, "Gaussian: y")
        pulls = weigh(tmap(plain, step), self.weights) if isinstance(step, Mapping) else self._pulls(plain(step))
        if isinstance(pulls, Mapping):
            return tmap(lambda a, d, s: (a + s * d) / (1 + s), y, self.data, pulls)
        return tmap(lambda a, d: (a + pulls * d) / (1 + pulls), y, self.data)

    def _pulls(self, step: Any) -> Any:
        """step times the weights."""
        return step if self.weights is None else tmap(lambda w: step * w, self.weights)

    def __getitem__(self, views: Any) -> Gaussian:
        if isinstance(self.data, Mapping):
            return super().__getitem__(views)  # type: ignore[return-value]
        return Gaussian(self.data[views], subset(self.weights, views))


class Correlated(Functional):
    """1/2 |W (y - data)|^2: normal noise of covariance (W' W)^-1, W linear (a whitening filter, say)."""

    def __init__(self, data: Element, whiten: LinearOperator) -> None:
        if space_of(data) != whiten.domain:
            raise ValueError(
                f"Correlated: whiten: expected an operator on {space_of(data)}, got one on {whiten.domain}"
            )
        self.data, self.whiten = data, whiten

    def value_and_grad(self, y: Element) -> tuple[float, Element]:
        check_element(space_of(self.data), y, "Correlated: y")
        white = self.whiten.forward(tmap(lambda a, d: a - d, y, self.data))
        return 0.5 * inner(white, white), self.whiten.adjoint(white)

    def quadratic(self, y: Element) -> tuple[float, Element, Product]:
        plain_noise = Diagonal(None, zeros(self.whiten.range, namespace(y)))
        return *self.value_and_grad(y), Through(plain_noise, self.whiten)
