"""Numerical proofs of an operator or functional: adjointness, gradients, the operator norm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np

from tomodiff.array import Element, inner, namespace, norm, tmap
from tomodiff.core.functional import Functional
from tomodiff.core.operators import LinearOperator, Operator
from tomodiff.core.space import random_element, space_of


def check_adjoint(
    A: LinearOperator, rng: np.random.Generator, trials: int = 3, xp: ModuleType = np, nonnegative: bool = False
) -> float:
    """The largest |<A x, y> - <x, A' y>| / (|A x| |y|) over random x and y: rounding error if the adjoint is exact.

    A pair with A x = 0 is measured against |x| |A' y| instead, and counts as zero if both vanish.
    """
    worst = 0.0
    for _ in range(trials):
        x = random_element(A.domain, rng, xp, nonnegative)
        y = random_element(A.range, rng, xp, nonnegative)
        Ax, Aty = A.forward(x), A.adjoint(y)
        scale = norm(Ax) * norm(y) or norm(x) * norm(Aty)
        worst = max(worst, abs(inner(Ax, y) - inner(x, Aty)) / scale if scale else 0.0)
    return worst


def check_gradient(
    f: Functional | Operator,
    x: Element,
    rng: np.random.Generator,
    steps: Sequence[float] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5),
) -> list[float]:
    """The central-difference error of the derivative of `f` at `x`, one figure per step: it must fall like step^2.

    The direction d is random with |d| = |x| in every named array, so a step is relative to x. For a functional the
    error is that of <grad f(x), d> relative to |grad f(x)| |d|; for an operator that of <J' y, d> relative to
    |J' y| |d| with a random y. Use float64: rounding adds about 1e-16 / step.
    """
    xp = namespace(x)
    direction = tmap(lambda d, a: d * ((norm(a) or 1.0) / (norm(d) or 1.0)), random_element(space_of(x), rng, xp), x)
    along: Callable[[Element], float]
    if isinstance(f, Functional):
        along, gradient = f, f.value_and_grad(x)[1]
    else:
        model = f
        y, jacobian = model.linearize(x)
        g_y = random_element(space_of(y), rng, xp)
        along, gradient = (lambda z: inner(model(z), g_y)), jacobian.adjoint(g_y)
    slope, scale = inner(gradient, direction), norm(gradient) * norm(direction)

    def at(h: float) -> float:
        return along(tmap(lambda a, d: a + h * d, x, direction))

    errors = [abs((at(h) - at(-h)) / (2 * h) - slope) for h in steps]
    return [e / scale if scale else e for e in errors]


def operator_norm(A: LinearOperator, rng: np.random.Generator, iterations: int = 20, xp: ModuleType = np) -> float:
    """The largest singular value of A, approached from below by power iteration on A' A from a non-negative start.

    The relative error falls like (s2 / s1)^(2 * iterations) for singular values s1 > s2; operators with
    non-negative weights, such as X-ray projectors, need about ten iterations for one per cent.
    """
    x = random_element(A.domain, rng, xp, nonnegative=True)
    estimate = 0.0
    for _ in range(iterations):
        size = norm(x)
        if size == 0:
            return 0.0
        x = tmap(lambda a, s=size: a / s, x)
        Ax = A.forward(x)
        estimate = norm(Ax)
        x = A.adjoint(Ax)
    return estimate
