"""What an instrument makes of a signal: gains, exposures, offsets and scatter, as named inputs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import mul

import numpy as np

from tomodiff.array import Array, Element, namespace
from tomodiff.core import Linear, LinearOperator, Operator, Space, check_element


class Response(Operator):
    """{"signal", factors, terms} -> signal * product of factors + sum of terms: what calibration leaves open.

    shape: of the signal.  factors, terms: name -> shape that broadcasts to it, such as {"exposure": (n, 1, 1), "gain":
    (1, v, u)} and {"scatter": (n, 1, 1), "offset": (1, v, u)}.  A factor and the signal have one scale between them:
    fix one of them, or keep its mean by a prior.  Linear in the signal alone.
    """

    linear_in: frozenset[str] = frozenset()

    def __init__(
        self,
        shape: tuple[int, ...],
        factors: Mapping[str, tuple[int, ...]] | None = None,
        terms: Mapping[str, tuple[int, ...]] | None = None,
        dtype: str = "float32",
    ) -> None:
        self.factors, self.terms = dict(factors or {}), dict(terms or {})
        if "signal" in {**self.factors, **self.terms} or set(self.factors) & set(self.terms):
            raise ValueError("Response: expected names apart from each other and from signal")
        for name, own in {**self.factors, **self.terms}.items():
            if len(own) != len(shape) or any(n not in (1, m) for n, m in zip(own, shape, strict=True)):
                raise ValueError(f"Response: {name}: expected a shape that broadcasts to {shape}, got {own}")
        spaces = {name: Space(own, dtype) for name, own in {**self.factors, **self.terms}.items()}
        self.domain, self.range = {"signal": Space(shape, dtype), **spaces}, Space(shape, dtype)
        if not self.terms:
            self.linear_in = frozenset({"signal"})

    def __call__(self, x: Element) -> Array:
        check_element(self.domain, x, "Response: x")
        made = x["signal"] * self._product(x, "")
        for name in self.terms:
            made = made + x[name]
        return made

    def _product(self, x: Element, without: str) -> Array:
        """Of all factors but one."""
        one = namespace(x["signal"]).ones((1,) * len(self.range.shape), self.range.dtype)
        return reduce(mul, (x[name] for name in self.factors if name != without), one)

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        y, gain = self(x), self._product(x, "")
        slopes = {name: x["signal"] * self._product(x, name) for name in self.factors}

        def push(d: Element) -> Array:
            made = d["signal"] * gain
            for name, slope in slopes.items():
                made = made + d[name] * slope
            for name in self.terms:
                made = made + d[name]
            return made

        def pull(g: Array) -> Element:
            made = {"signal": g * gain}
            made |= {name: _summed(g * slope, self.factors[name]) for name, slope in slopes.items()}
            return made | {name: _summed(g, own) for name, own in self.terms.items()}

        return y, Linear(self.domain, self.range, push, pull, "Jacobian of Response")


def _summed(g: Array, shape: tuple[int, ...]) -> Array:
    """g summed over the axes that were broadcast."""
    axes = tuple(k for k, (n, m) in enumerate(zip(shape, g.shape, strict=True)) if n == 1 and m != 1)
    made: Array = g.sum(axes, keepdims=True, dtype=np.float64).astype(g.dtype) if axes else g.copy()
    return made
