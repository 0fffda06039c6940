"""One measurement: two projectors of one program on one problem, timed, and checked for being each other's adjoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tomodiff.array import inner
from workflows.benchmarks.contenders import Contender
from workflows.benchmarks.problems import Problem
from workflows.benchmarks.stopwatch import Seconds

Stopwatch = Callable[[Callable[[], Any]], Seconds]


@dataclass
class Measurement:
    """What was found for one contender.

    mism_gram: | |Ax|^2 - <x, A'Ax> | / |Ax|^2 for normal random x: rounding error where the pair is adjoint.
    difference: relative difference of its projections from our line integrals of the same volume; None where it is us.
    reference: whose seconds the ratios are of; goals: the smallest ratios (forward, adjoint) that are wanted; stretch:
    those that would be better still.
    """

    contender: Contender
    forward: Seconds = field(default_factory=Seconds)
    adjoint: Seconds = field(default_factory=Seconds)
    mism_gram: float = float("nan")
    difference: float | None = None
    reference: Measurement | None = None
    goals: tuple[float, float] | None = None
    stretch: tuple[float, float] | None = None

    @property
    def problem(self) -> Problem:
        """What was projected."""
        return self.contender.problem

    @property
    def ratios(self) -> tuple[float, float] | None:
        """How many times faster, in CPU (or GPU) seconds, than the reference: forward and adjoint."""
        if self.reference is None:
            return None
        there = self.reference
        return there.forward.cpu / self.forward.cpu, there.adjoint.cpu / self.adjoint.cpu

    @property
    def speeds(self) -> tuple[float, float]:
        """1e9 voxel-view updates per CPU (or GPU) second: forward and adjoint."""
        return self.problem.updates / self.forward.cpu / 1e9, self.problem.updates / self.adjoint.cpu / 1e9

    @property
    def met(self) -> tuple[bool, bool] | None:
        """Whether each goal is reached; None where there is none, or nothing to compare with."""
        if self.ratios is None or self.goals is None:
            return None
        return self.ratios[0] >= self.goals[0], self.ratios[1] >= self.goals[1]


def measure(
    measurements: Sequence[Measurement], reps: int, watch: Stopwatch, say: Callable[[str], None] = print
) -> None:
    """Fill in seconds and checks of contenders for a problem, or problems of the same shapes.

    A first round warms up and checks.  Then every round times each contender once, so that what else happens on the
    machine meets them alike; the best round counts.
    """
    problem = measurements[0].problem
    ours = measurements[0].contender
    rng = np.random.default_rng(0)
    normal = rng.standard_normal(problem.grid.shape, dtype=np.float32)
    inner_part = normal * _well_inside(problem)
    expected = ours.seen(ours.forward(ours.given(inner_part)))
    volume = rng.random(problem.grid.shape, dtype=np.float32)
    given: list[tuple[Any, Any]] = []
    for m in measurements:
        contender = m.contender
        say(f"  checking {m.problem.name}: {contender.label}")
        x = contender.given(normal)
        Ax = contender.forward(x)
        m.mism_gram = abs(inner(Ax, Ax) - inner(x, contender.adjoint(Ax))) / inner(Ax, Ax)
        if contender.program != ours.program:  # whose problem is the first one
            theirs = contender.seen(contender.forward(contender.given(inner_part)))
            same_rows = expected[:, : theirs.shape[1]]
            m.difference = float(np.linalg.norm(theirs - same_rows) / np.linalg.norm(same_rows))
        given.append((contender.given(volume), Ax))
    for rep in range(reps):
        say(f"  timing {problem.name}: round {rep + 1} of {reps}")
        for m, (x, y) in zip(measurements, given, strict=True):
            factor = 1 / m.contender.share
            m.forward = m.forward.best(watch(lambda m=m, x=x: m.contender.forward(x)).scaled(factor))  # type: ignore[misc]
            m.adjoint = m.adjoint.best(watch(lambda m=m, y=y: m.contender.adjoint(y)).scaled(factor))  # type: ignore[misc]


def _well_inside(problem: Problem) -> np.ndarray:
    """Voxels in the middle, (z, y, x): what programs do at the rim of a volume is their own affair."""
    z, y, x = (np.abs(np.arange(n) - (n - 1) / 2) / n for n in problem.grid.shape)
    disc = x[None, :] ** 2 + y[:, None] ** 2 <= 0.45**2
    height = np.ones(len(z), bool) if problem.scan.kind == "parallel" else z <= 0.3
    return np.asarray(height[:, None, None] & disc[None])
