"""How many arrays a solver keeps alive at once: what docs/engine.md says is what is measured."""

from __future__ import annotations

import re
import tracemalloc
from typing import Any

import numpy as np
import pytest

from tests.kernel_folder import REPOSITORY
from tests.test_solvers import SOLVERS
from tomodiff.array import Array
from tomodiff.core import Functional, LinearOperator, Space
from tomodiff.objective import Gaussian, Poisson
from tomodiff.solvers import Osem, solve

SIZE = 1 << 16
PAGE = REPOSITORY / "docs" / "engine.md"
TABLE = {
    name: float(count) for name, count in re.findall(r"^\| `(\w+)`[^|]*\| (\d+) \|", PAGE.read_text(), re.M)
}  # fmt: skip
NAMES = [name for name in SOLVERS if name != "DiffPir" and " " not in name]


class Weighing(LinearOperator):
    """x -> some rows of x / 2, without an array of its own beside the result."""

    domain = Space((64, SIZE // 64), "float64")
    nonnegative = True

    def __init__(self, rows: Any = slice(None)) -> None:
        self.rows = np.arange(64)[rows]
        self.range = Space((len(self.rows), SIZE // 64), "float64")

    def forward(self, x: Array, out: Array | None = None) -> Array:
        made = np.empty(self.range.shape) if out is None else out
        return np.multiply(np.take(x, self.rows, axis=0, out=made), 0.5, out=made)

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        made = np.zeros(self.domain.shape) if out is None else out
        made[...] = 0
        for row, values in zip(self.rows, y, strict=True):
            np.multiply(values, 0.5, out=made[row])
        return made

    def __getitem__(self, views: Any) -> LinearOperator:
        return Weighing(self.rows[views])


def peak(name: str) -> float:
    """Arrays of the size of x alive at once, beyond the start and the data, in five steps."""
    rng = np.random.default_rng(0)
    A, start = Weighing(), rng.random(Weighing.domain.shape)
    data = rng.random(start.shape)
    f: Functional = Gaussian(data) @ A
    solver = SOLVERS[name]
    if isinstance(solver, Osem):
        solver, f = Osem(1), Poisson(data) @ A  # every row of x is seen by its one subset
    solve(solver, f, start, 1)  # libraries are loaded
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        solve(solver, f, start, 5)
        return (tracemalloc.get_traced_memory()[1] - before) / start.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", NAMES)
def test_arrays_of_a_solver(name: str) -> None:
    """The number of the page holds, and is no more than one too many."""
    assert TABLE[name] - 1.1 <= peak(name) <= TABLE[name] + 0.1
