"""Numbers that solvers take from their iterates without making arrays of the size of x."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from tomodiff.array import Array, Element, block_of, inner, namespace, norm, summed, tmap
from tomodiff.core import Functional
from tomodiff.core.functional import Pulled
from tomodiff.errors import Diverged
from tomodiff.objective import Gaussian


def inner_of_moves(a: Element, b: Element, c: Element, d: Element) -> float:
    """<a - b, c - d>, the differences taken block by block."""
    if isinstance(a, Mapping):
        return summed(a, (inner_of_moves(a[name], b[name], c[name], d[name]) for name in a))
    flat, size = [e.reshape(-1) for e in (a, b, c, d)], block_of(namespace(a))

    def block(i: int) -> float:
        p, q, r, s = (e[i : i + size] for e in flat)
        return inner(p - q, r - s)

    return sum(block(i) for i in range(0, flat[0].size, size))


def inner_with_move(g: Element, a: Element, b: Element) -> float:
    """<g, a - b>, the difference taken block by block."""
    if isinstance(g, Mapping):
        return summed(g, (inner_with_move(g[name], a[name], b[name]) for name in g))
    flat, size = [e.reshape(-1) for e in (g, a, b)], block_of(namespace(g))

    def block(i: int) -> float:
        p, q, r = (e[i : i + size] for e in flat)
        return inner(p, q - r)

    return sum(block(i) for i in range(0, flat[0].size, size))


def moved(x: Element, length: float, d: Element) -> Element:
    """x + length d, in the dtypes of x."""
    return tmap(lambda a, b: (a + length * b).astype(a.dtype, copy=False), x, d)


def unit(a: Element) -> tuple[float, Element]:
    """The norm, and the element over it (zero as it is)."""
    size = norm(a)
    return size, tmap(lambda b: b / size, a) if size else a


def change(new: Element, old: Element) -> float:
    """|new - old| / |new|, or |old| where new is zero: 0 for no change."""
    return inner_of_moves(new, old, new, old) ** 0.5 / (norm(new) or 1.0)


def residual_norm(f: Functional, value: float) -> dict[str, float]:
    """{"residual_norm": |A x - data| weighted} where f is a Gaussian likelihood of this value, else nothing."""
    gaussian = isinstance(f, Gaussian) or (isinstance(f, Pulled) and isinstance(f.f, Gaussian))
    return {"residual_norm": (2 * max(value, 0.0)) ** 0.5} if gaussian else {}


def value_after(f: Functional, x: Element, memory: Mapping[str, Any]) -> float:
    """f at the end x of its prox, as the `memory` of `prox_warm` tells it where that knows."""
    return float(memory["value"] if "value" in memory else f(x))


def curvature(f: Functional, x: Element, iterations: int = 12) -> float:
    """The largest curvature of f near x: power iteration on differences of its gradient, started from the gradient.

    Exact differences where f is quadratic; elsewhere moves have the length of the steepest-descent step. The estimate
    is approached from below, like that of `operator_norm`. One gradient per iteration. Diverged if one is not finite.
    """
    origin = f.value_and_grad(x)[1]
    slope = norm(origin)
    direction: Element = origin if slope else tmap(lambda a: namespace(a).ones_like(a), x)
    length, estimate = norm(x) or 1.0, 0.0
    for _ in range(iterations):
        scale = length / norm(direction)
        there: Array = tmap(lambda a, d, h=scale: a + h * d, x, direction)
        direction = tmap(lambda g, o: g - o, f.value_and_grad(there)[1], origin)
        estimate = norm(direction) / length
        if not isfinite(estimate):
            raise Diverged("the gradient of the objective is not finite: the data or the start hold NaN or infinities")
        if estimate == 0:
            return 0.0
        length = slope / estimate or length
    return estimate
