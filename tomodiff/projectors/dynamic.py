"""Scans of what changes while it is scanned: each view sees the volume of its time."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.array import Array, namespace
from tomodiff.core import LinearOperator, Space, check_element


class Dynamic(LinearOperator):
    """A series of volumes (times, z, y, x) -> the projections (view, v, u) of one scan of it.

    A: the operator of the whole scan at rest, one whose `A[views]` are those of some views.  times: which volume each
    view sees, a whole number for each view (the phase of a breath, the hour of an experiment).  With priors along time
    (`GroupL1() @ Differences(...)`, `NuclearNorm`) this is 4D reconstruction; after `Warp` it is reconstruction with
    motion known or sought.
    """

    def __init__(self, A: LinearOperator, times: Any, count: int | None = None) -> None:
        self.A, self.times = A, np.asarray(times)
        views = A.range.shape[0]
        if self.times.shape != (views,) or self.times.dtype.kind not in "iu":
            raise ValueError(f"Dynamic: times: expected {views} whole numbers, one per view, got {self.times!r}")
        self.count = int(self.times.max(initial=-1)) + 1 if count is None else int(count)
        if self.times.size and not 0 <= self.times.min() <= self.times.max() < self.count:
            raise ValueError(
                f"Dynamic: times: expected numbers from 0 to {self.count - 1}, got {self.times.min()} to "
                f"{self.times.max()}"
            )
        self.domain, self.range = Space((self.count, *A.domain.shape), A.domain.dtype), A.range
        self.nonnegative = bool(getattr(A, "nonnegative", False))
        views_of = [np.flatnonzero(self.times == t) for t in range(self.count)]
        self.parts: list[tuple[int, Any, Any]] = [(t, v, A[v]) for t, v in enumerate(views_of) if v.size]

    def forward(self, x: Array, out: Array | None = None) -> Array:
        check_element(self.domain, x, "Dynamic.forward: x")
        made = namespace(x).empty(self.range.shape, self.range.dtype) if out is None else out
        for t, views, part in self.parts:
            made[views] = part(x[t])
        return made

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        check_element(self.range, y, "Dynamic.adjoint: y")
        made = namespace(y).zeros(self.domain.shape, self.domain.dtype) if out is None else out
        made[...] = 0
        for t, views, part in self.parts:
            made[t] = part.adjoint(y[views])
        return made

    def __getitem__(self, views: Any) -> Dynamic:
        return Dynamic(self.A[views], self.times[views], self.count)  # type: ignore[arg-type]
