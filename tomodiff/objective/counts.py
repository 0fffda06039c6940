"""Counted quanta: negative log-likelihoods of counts given what the model predicts, as half deviances.

A perfect prediction has the value 0. Counts are floating point numbers in the dtype of the predictions.
"""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np

from tomodiff.array import Array, namespace, plain
from tomodiff.core import Functional, check_element
from tomodiff.core.curvature import Diagonal, Product
from tomodiff.core.space import space_of
from tomodiff.objective.gaussian import subset


def _check(counts: Array, name: str, signed: bool = False, **positive: Any) -> None:
    """TypeError or ValueError unless counts are floating point numbers >= 0 and the others, where there, are > 0."""
    xp = namespace(counts)
    if counts.dtype.kind != "f":
        raise TypeError(f"{name}: counts: expected floating point numbers, got {counts.dtype}")
    if not bool(xp.isfinite(counts).all() if signed else (counts >= 0).all()):
        wanted, found = ("numbers", "NaN") if signed else ("numbers >= 0", "negative ones or NaN")
        raise ValueError(f"{name}: counts: expected {wanted}, got {found}")
    for what, values in positive.items():
        if values is None:
            continue
        if not bool((xp.asarray(values) > 0).all()):
            raise ValueError(f"{name}: {what}: expected numbers > 0")
        if getattr(values, "ndim", 0) and values.dtype != counts.dtype:
            raise TypeError(f"{name}: {what}: expected {counts.dtype} like counts, got {values.dtype}")


def _deviance(c: Array, mean: Array) -> float:
    """sum of mean - c + c log(c / mean), in a form that stays exact where the mean is near the counts."""
    xp = namespace(c)
    excess = (mean - c) / xp.where(c > 0, c, 1)
    value = float(xp.where(c > 0, c * (excess - xp.log1p(excess)), mean).sum(dtype=np.float64))
    return value if np.isfinite(value) else float("inf")


def _of(values: Any, views: Any, counts: Array) -> Any:
    return subset(values, views) if getattr(values, "ndim", 0) == counts.ndim else values


class Poisson(Functional):
    """Half the Poisson deviance of `counts` given their means y + background (emission: Shepp and Vardi 1982).

    sum of m - c + c log(c / m), m = y + background, infinite where a mean is <= 0 (but for no counts and no mean).
    `background` (> 0, or None for none) is a number or an array that broadcasts to the counts.
    """

    separable = True

    def __init__(self, counts: Array, background: Any = None) -> None:
        _check(counts, "Poisson", background=background)
        self.counts, self.background = counts, plain(background)

    def mean(self, y: Array) -> Array:
        """The mean counts."""
        return y if self.background is None else y + self.background

    def value_and_grad(self, y: Array) -> tuple[float, Array]:
        value, gradient, _ = self.quadratic(y)
        return value, gradient

    def quadratic(self, y: Array) -> tuple[float, Array, Product]:
        check_element(space_of(self.counts), y, "Poisson: y")
        xp, c, mean = namespace(y), self.counts, self.mean(y)
        out_of_range = bool(((mean < 0) | ((mean == 0) & (c > 0))).any())
        with np.errstate(divide="ignore", invalid="ignore"):
            share = xp.where(c > 0, c / mean, 0)
            value = float("inf") if out_of_range else _deviance(c, mean)
            bend = xp.where(c > 0, share / mean, 0)
        return value, 1 - share, Diagonal(bend, y)

    def prox(self, y: Array, step: Any) -> Array:
        check_element(space_of(self.counts), y, "Poisson: y")
        step = plain(step)
        toward = self.mean(y) - step
        root = (toward * toward + 4 * step * self.counts) ** 0.5
        # of the two forms of the root, the one without cancellation
        xp = namespace(y)
        larger = toward + xp.where(toward >= 0, root, -root)
        smaller = xp.where(larger != 0, -2 * step * self.counts / xp.where(larger != 0, larger, 1), 0)
        mean = xp.where(toward >= 0, 0.5 * larger, smaller)
        return mean if self.background is None else mean - self.background

    def __getitem__(self, views: Any) -> Poisson:
        return Poisson(self.counts[views], _of(self.background, views, self.counts))


class PoissonTransmission(Functional):
    """Half the Poisson deviance of `counts` given line integrals y: mean counts m = incident * exp(-y) + background.

    sum over pixels of m - c + c log(c / m) (Lange and Carson 1984, eq. 5, less its minimum over m). `incident` and
    `background` (> 0, or None for none) are numbers or arrays that broadcast to the counts. Convex in y without
    background, and then with curvature m. The value is infinite where exp(-y) leaves the range of the dtype.
    """

    def __init__(self, counts: Array, incident: Any, background: Any = None) -> None:
        _check(counts, "PoissonTransmission", incident=incident, background=background)
        self.counts, self.incident, self.background = counts, plain(incident), plain(background)

    def value_and_grad(self, y: Array) -> tuple[float, Array]:
        check_element(space_of(self.counts), y, "PoissonTransmission: y")
        xp, c = namespace(y), self.counts
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            through = self.incident * xp.exp(-y)
            mean = through if self.background is None else through + self.background
            value = _deviance(c, mean)
            gradient = c - mean if self.background is None else through * (c / mean - 1)
        return value, gradient

    def quadratic(self, y: Array) -> tuple[float, Array, Product]:
        """The curvature is that of Fisher's information, through^2 / mean."""
        value, gradient = self.value_and_grad(y)
        through = self.incident * namespace(y).exp(-y)
        bend = through if self.background is None else through * through / (through + self.background)
        return value, gradient, Diagonal(bend, y)

    def __getitem__(self, views: Any) -> PoissonTransmission:
        others = (_of(values, views, self.counts) for values in (self.incident, self.background))
        return PoissonTransmission(self.counts[views], *others)


class PoissonGaussian(Functional):
    """-log p(z) of z = k + normal noise of deviation sigma, k ~ Poisson(y + background), less its value at the mean z.

    The sum over k (Snyder, Hammoud and White 1993, eq. 3) runs over those within six deviations of where the
    posterior of k lies.  z: measurements in counts (a camera's, over its gain), negative ones too; sigma > 0: the noise
    of reading out, in counts.
    """

    SPAN = 6.0
    separable = True

    def __init__(self, counts: Array, sigma: float, background: Any = None) -> None:
        _check(counts, "PoissonGaussian", signed=True, sigma=sigma, background=background)
        self.counts, self.sigma, self.background = counts, float(sigma), plain(background)
        self.best = self._posterior(counts.clip(float(np.finfo(counts.dtype).eps), None))[0]

    def value_and_grad(self, y: Array) -> tuple[float, Array]:
        value, gradient, _ = self.quadratic(y)
        return value, gradient

    def quadratic(self, y: Array) -> tuple[float, Array, Product]:
        check_element(space_of(self.counts), y, "PoissonGaussian: y")
        xp = namespace(y)
        mean = y if self.background is None else y + self.background
        if bool((mean <= 0).any()):
            return float("inf"), xp.full_like(y, xp.nan), Diagonal(None, y)
        log, first, second = self._posterior(mean)
        value = float((self.best - log).sum(dtype=np.float64))
        bend = ((first - (second - first * first)) / (mean * mean)).clip(0, None)
        return value, 1 - first / mean, Diagonal(bend, y)

    def _posterior(self, mean: Array) -> tuple[Array, Array, Array]:
        """log p(z), and the mean and mean square of k given z."""
        xp, variance = namespace(mean), self.sigma**2
        middle = (mean * (self.counts + variance) / (mean + variance)).clip(0, None)
        reach = ceil(self.SPAN * self.sigma) + 3
        first_k = xp.floor(middle - reach).clip(0, None)
        terms = [xp.zeros_like(mean) for _ in range(3)]
        largest = self._log_term(xp.rint(middle), mean)
        for j in range(2 * reach + 2):
            k = first_k + j
            share = xp.exp(self._log_term(k, mean) - largest)
            for power in range(3):
                terms[power] += share * k**power
        total = terms[0]
        return largest + xp.log(total), terms[1] / total, terms[2] / total

    def _log_term(self, k: Array, mean: Array) -> Array:
        """log of Poisson(k; mean) times the normal density of z - k, without constants."""
        return k * namespace(mean).log(mean) - mean - _log_factorial(k) - (self.counts - k) ** 2 / (2 * self.sigma**2)

    def __getitem__(self, views: Any) -> PoissonGaussian:
        return PoissonGaussian(self.counts[views], self.sigma, _of(self.background, views, self.counts))


def _log_factorial(k: Array) -> Array:
    if namespace(k) is np:
        from scipy.special import gammaln
    else:
        from cupyx.scipy.special import gammaln
    made: Array = gammaln(k + 1).astype(k.dtype)
    return made
