"""One linear operator for each entry of a leading axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tomodiff.array import Array, namespace
from tomodiff.core.operators import LinearOperator, Operator
from tomodiff.core.space import Space, check_element


@dataclass(frozen=True, eq=False)
class Batched(LinearOperator):
    """(n, *domain of A) -> (n, *range of A), entry by entry: materials, channels, times of one geometry."""

    of: LinearOperator
    n: int
    domain = property(lambda self: Space((self.n, *self.of.domain.shape), self.of.domain.dtype))
    range = property(lambda self: Space((self.n, *self.of.range.shape), self.of.range.dtype))

    def forward(self, x: Array, out: Array | None = None) -> Array:
        check_element(self.domain, x, "Batched.forward: x")
        return self._each(x, self.of.forward, self.range, out)

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        check_element(self.range, y, "Batched.adjoint: y")
        return self._each(y, self.of.adjoint, self.domain, out)

    @staticmethod
    def _each(x: Array, apply: Any, space: Space, out: Array | None) -> Array:
        made = namespace(x).empty(space.shape, space.dtype) if out is None else out
        for source, target in zip(x, made, strict=True):
            target[...] = apply(source)
        return made

    def __getitem__(self, views: Any) -> Operator:
        return Batched(self.of[views], self.n)  # type: ignore[arg-type]
