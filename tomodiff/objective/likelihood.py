"""Negative log-likelihoods of data given what the model predicts, up to constants of the data.

Every likelihood is written so that a perfect prediction has the value 0. Data must have the dtype of the predictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from tomodiff.array import Array, Element, inner, namespace, tmap
from tomodiff.core import Functional, Operator, Space, check_element, weigh
from tomodiff.core.functional import Product


def _space(data: Element) -> Any:
    return tmap(lambda d: Space(d.shape, d.dtype.name), data)


def _subset(values: Any, views: Any) -> Any:
    """The views of an array that has a view axis; numbers, None and arrays that broadcast over views as they are."""
    return values[views] if getattr(values, "ndim", 0) and values.shape[0] > 1 else values


def _number(value: Any) -> Any:
    """Numbers as Python's: a NumPy double would widen float32 arrays."""
    return float(value) if isinstance(value, Real) else value


class Gaussian(Functional):
    """1/2 sum w (y - data)^2: independent normal noise of variance 1/w.

    `weights` is None (1 everywhere), a number, or an array of the shape of the data (a dict where data is one).
    """

    def __init__(self, data: Element, weights: Any = None) -> None:
        self.data, self.weights = data, _number(weights)
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
        check_element(_space(self.data), y, "Gaussian: y")
        residual = tmap(lambda a, d: a - d, y, self.data)
        weighted = weigh(residual, self.weights)
        return 0.5 * inner(residual, weighted), weighted

    def through(self, A: Operator, x: Element) -> tuple[float, Element]:
        return A.residual_grad(x, self.data, self.weights)

    def quadratic(self, y: Element) -> tuple[float, Element, Product]:
        return *self.value_and_grad(y), lambda d: weigh(d, self.weights)

    def prox(self, y: Element, step: float) -> Element:
        check_element(_space(self.data), y, "Gaussian: y")
        step = float(step)
        weights = 1.0 if self.weights is None else self.weights
        if not isinstance(weights, Mapping):
            return tmap(lambda a, d: (a + step * weights * d) / (1 + step * weights), y, self.data)
        return tmap(lambda a, d, w: (a + step * w * d) / (1 + step * w), y, self.data, weights)

    def __getitem__(self, views: Any) -> Gaussian:
        if isinstance(self.data, Mapping):
            return super().__getitem__(views)  # type: ignore[return-value]
        return Gaussian(self.data[views], _subset(self.weights, views))


class Huber(Functional):
    """sum of h(y - data), quadratic within `delta` and linear beyond: noise with outliers (Huber 1964).

    h(r) = r^2 / 2 for |r| <= delta, delta (|r| - delta / 2) beyond.
    """

    def __init__(self, data: Array, delta: float) -> None:
        if not delta > 0:
            raise ValueError(f"Huber: delta: expected a number > 0, got {delta}")
        self.data, self.delta = data, float(delta)

    def value_and_grad(self, y: Array) -> tuple[float, Array]:
        check_element(_space(self.data), y, "Huber: y")
        residual = y - self.data
        gradient = residual.clip(-self.delta, self.delta)
        return inner(gradient, residual) - 0.5 * inner(gradient, gradient), gradient

    def prox(self, y: Array, step: float) -> Array:
        check_element(_space(self.data), y, "Huber: y")
        residual, step = y - self.data, float(step)
        return y - step * (residual / (1 + step)).clip(-self.delta, self.delta)

    def __getitem__(self, views: Any) -> Huber:
        return Huber(self.data[views], self.delta)


class Cauchy(Functional):
    """1/2 sum c^2 log(1 + w (y - data)^2 / c^2), c = `threshold` standard deviations: noise of variance 1/w with
    outliers, which hardly count (Ceres and Ames Stereo Pipeline call c the threshold, in the unit of sqrt(w) y).

    `weights`: None, a number or an array of the shape of the data; 0 leaves an entry out.
    """

    def __init__(self, data: Array, threshold: float, weights: Any = None) -> None:
        if not threshold > 0:
            raise ValueError(f"Cauchy: threshold: expected a number > 0, got {threshold}")
        self.data, self.threshold, self.weights = data, float(threshold), _number(weights)

    def value_and_grad(self, y: Array) -> tuple[float, Array]:
        return self.quadratic(y)[:2]

    def quadratic(self, y: Array) -> tuple[float, Array, Product]:
        """The positive part of the curvature is that of the weighted squares which touch the loss here."""
        check_element(_space(self.data), y, "Cauchy: y")
        xp, square = namespace(y), self.threshold**2
        residual = y - self.data
        far = weigh(residual * residual, self.weights) / square
        value = 0.5 * square * float(xp.log1p(far).sum(dtype="float64"))
        weights = weigh(1 / (1 + far), self.weights)
        return value, residual * weights, lambda d: d * weights

    def __getitem__(self, views: Any) -> Cauchy:
        return Cauchy(self.data[views], self.threshold, _subset(self.weights, views))


class PoissonTransmission(Functional):
    """Half the Poisson deviance of `counts` given line integrals y: mean counts m = incident * exp(-y) + background.

    sum over pixels of m - c + c log(c / m) (Lange and Carson 1984, eq. 5, less its minimum over m). `incident` and
    `background` (> 0, or None for none) are numbers or arrays that broadcast to the counts. Convex in y without
    background, and then with curvature m. The value is infinite where exp(-y) leaves the range of the dtype.
    """

    def __init__(self, counts: Array, incident: Any, background: Any = None) -> None:
        xp = namespace(counts)
        if counts.dtype.kind != "f":
            raise TypeError(f"PoissonTransmission: counts: expected floating point numbers, got {counts.dtype}")
        if not bool((counts >= 0).all()):
            raise ValueError("PoissonTransmission: counts: expected numbers >= 0, got negative ones or NaN")
        for name, values in (("incident", incident), ("background", background)):
            if values is None:
                continue
            if not bool((xp.asarray(values) > 0).all()):
                raise ValueError(f"PoissonTransmission: {name}: expected numbers > 0")
            if getattr(values, "ndim", 0) and values.dtype != counts.dtype:
                raise TypeError(f"PoissonTransmission: {name}: expected {counts.dtype} like counts, got {values.dtype}")
        self.counts, self.incident, self.background = counts, _number(incident), _number(background)

    def value_and_grad(self, y: Array) -> tuple[float, Array]:
        check_element(_space(self.counts), y, "PoissonTransmission: y")
        xp, c = namespace(y), self.counts
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            through = self.incident * xp.exp(-y)
            mean = through if self.background is None else through + self.background
            excess = (mean - c) / xp.where(c > 0, c, 1)  # the form below stays exact where the mean is near the counts
            value = float(xp.where(c > 0, c * (excess - xp.log1p(excess)), mean).sum(dtype=np.float64))
            gradient = c - mean if self.background is None else through * (c / mean - 1)
        return (value if np.isfinite(value) else float("inf")), gradient

    def __getitem__(self, views: Any) -> PoissonTransmission:
        return PoissonTransmission(self.counts[views], self._of(self.incident, views), self._of(self.background, views))

    def _of(self, values: Any, views: Any) -> Any:
        return _subset(values, views) if getattr(values, "ndim", 0) == self.counts.ndim else values
