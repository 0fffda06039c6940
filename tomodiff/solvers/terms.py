"""A sum of functionals taken apart: what is smooth, what has a prox, and what has one after a linear operator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tomodiff.array import Element, namespace
from tomodiff.core import Functional, LinearOperator, operator_norm
from tomodiff.core.functional import FunctionalScaled, FunctionalSum, Pulled
from tomodiff.core.operators import LinearScaled
from tomodiff.objective import Centred

MARGIN = 1.05
"""Of norms that are approached from below."""


@dataclass
class Terms:
    """f = sum F_i(K_i x) + G(x) + S(x): pairs (F_i, K_i) with a prox of F_i (K_i None for the identity), at most one G
    with a prox, S smooth or None."""

    dual: list[tuple[Functional, LinearOperator | None]] = field(default_factory=list)
    primal: Functional | None = None
    smooth: Functional | None = None


def has_prox(f: Functional) -> bool:
    """Whether f defines its proximal map."""
    return has_prox(f.f) if isinstance(f, FunctionalScaled | Centred) else type(f).prox is not Functional.prox


def terms_of(f: Functional, solver: str) -> Terms:
    """The terms of a sum.  TypeError for one that has neither prox nor gradient."""
    made = Terms()
    for factor, core in _summands(f, 1.0):
        term = core if factor == 1 else factor * core
        if isinstance(core, Pulled) and isinstance(core.A, LinearOperator) and has_prox(core.f):
            made.dual.append((core.f if factor == 1 else factor * core.f, core.A))
        elif has_prox(term):
            if made.primal is None:
                made.primal = term
            else:
                made.dual.append((term, None))
        elif isinstance(core, Pulled) or type(core).value_and_grad is not Functional.value_and_grad:
            made.smooth = term if made.smooth is None else made.smooth + term
        else:
            raise TypeError(f"{solver}: {type(core).__name__} has neither a prox nor a gradient")
    return made


def _summands(f: Functional, factor: float) -> list[tuple[float, Functional]]:
    """Factors and functionals that are neither sums nor scaled, of which f is the sum."""
    if isinstance(f, FunctionalScaled):
        return _summands(f.f, factor * f.factor)
    return [s for term in f.terms for s in _summands(term, factor)] if isinstance(f, FunctionalSum) else [(factor, f)]


def absolute_sums(A: LinearOperator | None, x: Element) -> tuple[Any, Any]:
    """Bounds of the sums of moduli over the rows and over the columns of A: numbers, or elements of its range and
    domain.

    An operator may know them (`absolute_sums`); one that says that it is `nonnegative` is applied to ones; of any other
    the norm stands for both.
    """
    if A is None:
        return 1.0, 1.0
    if isinstance(A, LinearScaled):
        rows, columns = absolute_sums(A.of, x)
        return abs(A.factor) * rows, abs(A.factor) * columns
    if hasattr(A, "absolute_sums"):
        known: tuple[Any, Any] = A.absolute_sums()
        return known
    if getattr(A, "nonnegative", False):
        xp = namespace(x)
        ones = A.forward(xp.ones_like(x))
        return ones, A.adjoint(xp.ones_like(ones))
    size = MARGIN * operator_norm(A, np.random.default_rng(0), xp=namespace(x))
    return size, size
