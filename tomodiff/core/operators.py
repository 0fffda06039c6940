"""Operators: models of an instrument, their Jacobians, and the ways to combine them.

The inner product is the plain real one, Re<a, b>, without cell volumes: the adjoint of a real map is its transposed
matrix, that of a complex map its conjugate transpose, and a gradient in a complex variable is d/dRe + i d/dIm.
Operators never modify their inputs and return arrays of their own (or the `out` they were given).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from tomodiff.array import Array, Element, inner, namespace, tmap
from tomodiff.core.space import check_element, weigh, zeros


class Operator:
    """A model of an instrument: a differentiable map between spaces, linear or not.

    A subclass sets `domain` and `range` and defines `linearize`; it overrides `__call__` when the value alone is
    cheaper, and `residual_grad` when value and gradient of a least-squares misfit can be fused.
    """

    domain: Any
    range: Any
    linear_in: frozenset[str] | set[str] = frozenset()
    """Names of the inputs in which the operator is jointly linear once all its other inputs are fixed."""
    __array_ufunc__ = None
    __iter__ = None  # __getitem__ takes views; without this line it would also make operators iterable

    def linearize(self, x: Element) -> tuple[Element, LinearOperator]:
        """The value A(x) and the Jacobian J of A at x; J.T(g) pulls a gradient back."""
        raise NotImplementedError(f"{type(self).__name__} does not define linearize")

    def linearize_in(self, x: Element, names: Collection[str]) -> tuple[Element, LinearOperator]:
        """`linearize` where only the gradients in these named inputs will be looked at: an operator that saves work so
        may leave the others zero."""
        return self.linearize(x)

    def __call__(self, x: Element) -> Element:
        return self.linearize(x)[0]

    def __matmul__(self, other: Any) -> Any:
        """A @ B composes two operators, A @ x applies one."""
        if isinstance(other, Operator):
            both = isinstance(self, LinearOperator) and isinstance(other, LinearOperator)
            return (LinearChain if both else Chain)(self, other)
        return self(other)

    def fix(self, **values: Array) -> Operator:
        """The operator of the inputs that are not named here; if one remains, it is a bare array.

        The result is a LinearOperator if the inputs that remain are exactly those of `linear_in`.
        """
        if not isinstance(self.domain, Mapping):
            raise TypeError(f"{type(self).__name__}.fix: the operator has one unnamed input, there is nothing to fix")
        unknown, left = set(values) - set(self.domain), [k for k in self.domain if k not in values]
        if unknown or not left:
            raise ValueError(
                f"{type(self).__name__}.fix: expected some but not all of {sorted(self.domain)}, got {sorted(values)}"
            )
        for name, value in values.items():
            check_element(self.domain[name], value, f"{type(self).__name__}.fix: {name}")
        return (FixedLinear if set(left) == set(self.linear_in) else Fixed)(self, values)

    def residual_grad(self, x: Element, data: Element, weights: Any = None) -> tuple[float, Element]:
        """Value and gradient of 1/2 sum w (A(x) - data)^2; `weights` is None, a number or an element of the range."""
        y, jacobian = self.linearize(x)
        residual = tmap(operator.sub, y, data)
        weighted = weigh(residual, weights)
        return 0.5 * inner(residual, weighted), jacobian.adjoint(weighted)

    def __getitem__(self, views: Any) -> Operator:
        """The operator of a subset of the data, where that means something."""
        raise TypeError(f"{type(self).__name__} has no subsets of its data: A[views] is not defined for it")


class LinearOperator(Operator):
    """A linear map: `forward`, and `adjoint` with <A x, y> = <x, A.T y>.

    A subclass sets `domain` and `range` and defines both; each writes into `out` if that is given.
    """

    def forward(self, x: Element, out: Element | None = None) -> Element:
        """A x."""
        raise NotImplementedError(f"{type(self).__name__} has no forward map")

    def adjoint(self, y: Element, out: Element | None = None) -> Element:
        """A' y."""
        raise NotImplementedError(f"{type(self).__name__} has no adjoint")

    def __call__(self, x: Element, out: Element | None = None) -> Element:
        return self.forward(x, out)

    def linearize(self, x: Element) -> tuple[Element, LinearOperator]:
        return self.forward(x), self

    @property
    def T(self) -> LinearOperator:
        """The adjoint as an operator; A.T.T is A."""
        return Transposed(self)

    def gram(self, weights: Any = None) -> LinearOperator:
        """A' W A, self-adjoint; an operator that has a cheaper form than two applications overrides it."""
        return Gram(self, weights)

    def __add__(self, other: LinearOperator) -> LinearOperator:
        return LinearSum((self, other)) if isinstance(other, LinearOperator) else NotImplemented

    def __sub__(self, other: LinearOperator) -> LinearOperator:
        return self + -1.0 * other if isinstance(other, LinearOperator) else NotImplemented

    def __rmul__(self, factor: float) -> LinearOperator:
        return LinearScaled(float(factor), self) if isinstance(factor, Real) else NotImplemented

    def __neg__(self) -> LinearOperator:
        return -1.0 * self


def into(out: Element | None, value: Element) -> Element:
    """`value`, written into `out` if there is one."""

    def write(target: Array, source: Array) -> Array:
        target[...] = source
        return target

    return value if out is None else tmap(write, out, value)


def _own(value: Element, source: Element) -> Element:
    """`value`, copied where it shares memory with `source`, so that callers may write into it."""
    sources = list(source.values()) if isinstance(source, Mapping) else [source]

    def shared(a: Array) -> bool:
        xp = namespace(a)  # an element may have entries on the host beside those on a device
        return any(namespace(s) is xp and xp.may_share_memory(a, s) for s in sources)

    return tmap(lambda a: a.copy() if shared(a) else a, value)


@dataclass(frozen=True, eq=False)
class Linear(LinearOperator):
    """A linear operator from functions: the usual Jacobian of a renderer, which may have a pull only."""

    domain: Any
    range: Any
    push: Callable[[Element], Element] | None = None
    pull: Callable[[Element], Element] | None = None
    name: str = "Linear"

    def forward(self, x: Element, out: Element | None = None) -> Element:
        if self.push is None:
            raise NotImplementedError(f"{self.name} has no forward map (no push was given)")
        check_element(self.domain, x, f"{self.name}.forward: x")
        return into(out, _own(self.push(x), x))

    def adjoint(self, y: Element, out: Element | None = None) -> Element:
        if self.pull is None:
            raise NotImplementedError(f"{self.name} has no adjoint (no pull was given)")
        check_element(self.range, y, f"{self.name}.adjoint: y")
        return into(out, _own(self.pull(y), y))


@dataclass(frozen=True, eq=False)
class Transposed(LinearOperator):
    """The adjoint of an operator, with domain and range exchanged."""

    of: LinearOperator
    domain = property(lambda self: self.of.range)
    range = property(lambda self: self.of.domain)

    def forward(self, x: Element, out: Element | None = None) -> Element:
        return self.of.adjoint(x, out)

    def adjoint(self, y: Element, out: Element | None = None) -> Element:
        return self.of.forward(y, out)

    @property
    def T(self) -> LinearOperator:
        return self.of


@dataclass(frozen=True, eq=False)
class Chain(Operator):
    """outer after inner; the Jacobians multiply."""

    outer: Any
    inner: Any
    domain = property(lambda self: self.inner.domain)
    range = property(lambda self: self.outer.range)

    def __post_init__(self) -> None:
        if self.outer.domain != self.inner.range:
            outer, inner = type(self.outer).__name__, type(self.inner).__name__
            raise ValueError(f"{outer} @ {inner}: {outer} takes {self.outer.domain}, {inner} gives {self.inner.range}")

    def __call__(self, x: Element) -> Element:
        return self.outer(self.inner(x))

    def linearize(self, x: Element) -> tuple[Element, LinearOperator]:
        y, first = self.inner.linearize(x)
        z, second = self.outer.linearize(y)
        return z, second @ first

    def __getitem__(self, views: Any) -> Operator:
        return self.outer[views] @ self.inner


class LinearChain(Chain, LinearOperator):
    """outer after inner, both linear."""

    def forward(self, x: Element, out: Element | None = None) -> Element:
        return self.outer.forward(self.inner.forward(x), out)

    def adjoint(self, y: Element, out: Element | None = None) -> Element:
        return self.inner.adjoint(self.outer.adjoint(y), out)

    __call__ = forward  # type: ignore[assignment]
    linearize = LinearOperator.linearize


@dataclass(frozen=True, eq=False)
class LinearScaled(LinearOperator):
    """factor * A with a real factor."""

    factor: float
    of: LinearOperator
    domain = property(lambda self: self.of.domain)
    range = property(lambda self: self.of.range)

    def forward(self, x: Element, out: Element | None = None) -> Element:
        return tmap(lambda a: operator.imul(a, self.factor), self.of.forward(x, out))

    def adjoint(self, y: Element, out: Element | None = None) -> Element:
        return tmap(lambda a: operator.imul(a, self.factor), self.of.adjoint(y, out))

    def __getitem__(self, views: Any) -> Operator:
        return self.factor * self.of[views]  # type: ignore[return-value, operator]


@dataclass(frozen=True, eq=False)
class LinearSum(LinearOperator):
    """A + B + ..."""

    terms: tuple[LinearOperator, ...]
    domain = property(lambda self: self.terms[0].domain)
    range = property(lambda self: self.terms[0].range)

    def __post_init__(self) -> None:
        for term in self.terms[1:]:
            if (term.domain, term.range) != (self.domain, self.range):
                raise ValueError(
                    f"sum of operators: expected {self.domain} -> {self.range}, "
                    f"{type(term).__name__} is {term.domain} -> {term.range}"
                )

    def forward(self, x: Element, out: Element | None = None) -> Element:
        total = self.terms[0].forward(x, out)
        for term in self.terms[1:]:
            total = tmap(operator.iadd, total, term.forward(x))
        return total

    def adjoint(self, y: Element, out: Element | None = None) -> Element:
        total = self.terms[0].adjoint(y, out)
        for term in self.terms[1:]:
            total = tmap(operator.iadd, total, term.adjoint(y))
        return total

    def __getitem__(self, views: Any) -> Operator:
        return LinearSum(tuple(term[views] for term in self.terms))  # type: ignore[arg-type, misc]


@dataclass(frozen=True, eq=False)
class Stack(LinearOperator):
    """Several linear operators of one input, {name: A}: x -> {name: A x}."""

    parts: dict[str, LinearOperator]
    domain = property(lambda self: next(iter(self.parts.values())).domain)
    range = property(lambda self: {name: part.range for name, part in self.parts.items()})

    def __post_init__(self) -> None:
        for name, part in self.parts.items():
            if part.domain != self.domain or isinstance(part.range, Mapping):
                raise ValueError(f"Stack: {name} must map {self.domain} to one array, is {part.domain} -> {part.range}")

    def forward(self, x: Element, out: Element | None = None) -> Element:
        return {name: part.forward(x, out and out[name]) for name, part in self.parts.items()}

    def adjoint(self, y: Element, out: Element | None = None) -> Element:
        check_element(self.range, y, "Stack.adjoint: y")
        terms = (part.adjoint(y[name]) for name, part in self.parts.items())
        total = next(terms)
        for term in terms:
            total = tmap(operator.iadd, total, term)
        return into(out, total)


@dataclass(frozen=True, eq=False)
class Gram(LinearOperator):
    """A' W A by two applications."""

    of: LinearOperator
    weights: Any = None
    domain = property(lambda self: self.of.domain)
    range = property(lambda self: self.of.domain)

    def forward(self, x: Element, out: Element | None = None) -> Element:
        return self.of.adjoint(weigh(self.of.forward(x), self.weights), out)

    adjoint = forward  # type: ignore[assignment]


@dataclass(frozen=True, eq=False)
class Fixed(Operator):
    """An operator some of whose named inputs are held at given values."""

    of: Operator
    values: dict[str, Array]
    range = property(lambda self: self.of.range)

    @property
    def domain(self) -> Any:  # type: ignore[override]
        left = {k: s for k, s in self.of.domain.items() if k not in self.values}
        return left if len(left) > 1 else next(iter(left.values()))

    def _all(self, x: Element, others: Mapping[str, Array]) -> Element:
        left = [k for k in self.of.domain if k not in self.values]
        return {**others, **(x if len(left) > 1 else {left[0]: x})}

    def _left(self, g: Element) -> Element:
        left = {k: g[k] for k in self.of.domain if k not in self.values}
        return left if len(left) > 1 else next(iter(left.values()))

    def __call__(self, x: Element) -> Element:
        return self.of(self._all(x, self.values))

    def linearize(self, x: Element) -> tuple[Element, LinearOperator]:
        y, jacobian = self.of.linearize_in(self._all(x, self.values), set(self.of.domain) - set(self.values))

        def push(dx: Element) -> Element:
            return jacobian.forward(self._all(dx, {k: namespace(v).zeros_like(v) for k, v in self.values.items()}))

        name = f"Jacobian of {type(self.of).__name__}"
        return y, Linear(self.domain, self.range, push, lambda g: self._left(jacobian.adjoint(g)), name)

    def residual_grad(self, x: Element, data: Element, weights: Any = None) -> tuple[float, Element]:
        if type(self.of).residual_grad is Operator.residual_grad:  # nothing fused: only what is free is pulled
            return super().residual_grad(x, data, weights)
        value, gradient = self.of.residual_grad(self._all(x, self.values), data, weights)
        return value, self._left(gradient)


class FixedLinear(Fixed, LinearOperator):
    """An operator whose inputs that remain free are the ones in which it is linear."""

    def forward(self, x: Element, out: Element | None = None) -> Element:
        return into(out, self.of(self._all(x, self.values)))

    def adjoint(self, y: Element, out: Element | None = None) -> Element:
        origin = zeros(self.domain, namespace(y))  # any point will do: the Jacobian is the same everywhere
        return into(out, Fixed.linearize(self, origin)[1].adjoint(y))

    __call__ = forward  # type: ignore[assignment]
    linearize = LinearOperator.linearize
