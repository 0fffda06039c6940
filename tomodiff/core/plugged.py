"""An operator of named inputs, one of which another operator makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tomodiff.array import Element
from tomodiff.core.operators import Linear, LinearOperator, Operator
from tomodiff.core.space import Space, check_element


@dataclass(frozen=True, eq=False)
class Plugged(Operator):
    """outer with its input `name` made by `A`: the other inputs of outer beside those of A, which are called `inputs`
    where A has one bare input.  Names must be apart."""

    outer: Operator
    name: str
    A: Operator
    inputs: str = "volume"

    def __post_init__(self) -> None:
        if not isinstance(self.outer.domain, Mapping) or self.name not in self.outer.domain:
            raise ValueError(f"Plugged: expected an operator with an input {self.name!r}, got {self.outer.domain}")
        if self.outer.domain[self.name] != self.A.range:
            raise ValueError(f"Plugged: {self.name} is in {self.outer.domain[self.name]}, {self.A.range} is made")
        if set(self._others()) & set(self._made_of()):
            raise ValueError(f"Plugged: both have {sorted(set(self._others()) & set(self._made_of()))}")

    def _others(self) -> dict[str, Space]:
        return {n: s for n, s in self.outer.domain.items() if n != self.name}

    def _made_of(self) -> dict[str, Space]:
        return dict(self.A.domain) if isinstance(self.A.domain, Mapping) else {self.inputs: self.A.domain}

    @property
    def domain(self) -> dict[str, Space]:  # type: ignore[override]
        return {**self._made_of(), **self._others()}

    range = property(lambda self: self.outer.range)

    @property
    def linear_in(self) -> frozenset[str]:  # type: ignore[override]
        """What A is linear in, where outer is linear in what A makes alone."""
        if set(self.outer.linear_in) != {self.name}:
            return frozenset()
        return frozenset(self._made_of() if isinstance(self.A, LinearOperator) else self.A.linear_in)

    def _inner(self, x: Element) -> Element:
        return {n: x[n] for n in self._made_of()} if isinstance(self.A.domain, Mapping) else x[self.inputs]

    def _outer(self, x: Element, made: Element) -> Element:
        return {**{n: x[n] for n in self._others()}, self.name: made}

    def __call__(self, x: Element) -> Element:
        check_element(self.domain, x, "Plugged: x")
        return self.outer(self._outer(x, self.A(self._inner(x))))

    def linearize(self, x: Element) -> tuple[Element, LinearOperator]:
        check_element(self.domain, x, "Plugged: x")
        made, first = self.A.linearize(self._inner(x))
        y, second = self.outer.linearize(self._outer(x, made))

        def push(d: Element) -> Element:
            return second.forward(self._outer(d, first.forward(self._inner(d))))

        def pull(g: Element) -> Element:
            back = dict(second.adjoint(g))
            inner = first.adjoint(back.pop(self.name))
            return {**(inner if isinstance(self.A.domain, Mapping) else {self.inputs: inner}), **back}

        return y, Linear(self.domain, self.range, push, pull, "Jacobian of Plugged")
