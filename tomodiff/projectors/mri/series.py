"""Images one after the other, each with samples of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tomodiff.array import Array, namespace
from tomodiff.core import LinearOperator, Space, check_element
from tomodiff.core.operators import into


class Series(LinearOperator):
    """Images (time, *shape) -> samples (coil, sample) of all times: those of time t by an operator of its own.

    operators: of each time, all from one shape to (coil, samples of its own); chosen: for each which of all samples are
    its own (sample numbers).
    """

    def __init__(self, operators: Sequence[LinearOperator], chosen: Sequence[np.ndarray]) -> None:
        self.operators, self.chosen = tuple(operators), tuple(chosen)
        one, counts = operators[0], [len(c) for c in chosen]
        if len(operators) != len(chosen) or any(A.range.shape[-1] != n for A, n in zip(operators, counts, strict=True)):
            raise ValueError(f"Series: chosen: expected sample numbers for each operator, got {counts}")
        self.domain = Space((len(operators), *one.domain.shape), one.domain.dtype)
        self.range = Space((*one.range.shape[:-1], sum(counts)), one.range.dtype)

    def forward(self, x: Array, out: Array | None = None) -> Array:
        check_element(self.domain, x, "Series.forward: x")
        made = namespace(x).empty(self.range.shape, self.range.dtype)
        for A, own, image in zip(self.operators, self.chosen, x, strict=True):
            made[..., own] = A.forward(namespace(x).ascontiguousarray(image))
        return into(out, made)

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        check_element(self.range, y, "Series.adjoint: y")
        xp = namespace(y)
        made = xp.empty(self.domain.shape, self.domain.dtype)
        for A, own, image in zip(self.operators, self.chosen, made, strict=True):
            A.adjoint(xp.ascontiguousarray(y[..., own]), image)
        return into(out, made)
