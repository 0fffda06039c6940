"""Runs that stop and go on: states of solvers, or unknowns and a few arrays, in the run's checkpoint."""

from __future__ import annotations

import time
from types import ModuleType
from typing import Any

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.atomic import explained
from tomodiff.recipes.identity import refuse_other
from tomodiff.recipes.run import Run
from tomodiff.solvers import State, load, save
from tomodiff.solvers.state import look, of_rank, previous

WRITING_SHARE = 0.1
"""The part of the time that may go into writing checkpoints that are due by the clock."""


class Checkpoints:
    """Saves what a recipe needs to go on, when it is due; stops the recipe when somebody asks for it.

    The last two checkpoints are kept.  One of other settings, another input or number of ranks is refused, a damaged
    one gives way to the one before.  All ranks of a job call the same methods.
    """

    def __init__(self, run: Run, name: str = "") -> None:
        self.run, self.name = run, name
        self._saved, self._took = time.monotonic(), 0.0
        self._about: dict[str, Any] | None = None

    @property
    def about(self) -> dict[str, Any]:
        """What the checkpoints belong to, as it was when it was first asked for."""
        self._about = self._about or self.run.about()
        return self._about

    def load(self, xp: ModuleType = np) -> State | None:
        """The newest state that is whole on all ranks; None if there is no checkpoint.

        Raises DataError where it belongs to other settings or another input, or where all there is is damaged.
        """
        comm, path = self.run.comm, self.run.checkpoint()
        own = of_rank(path, comm.rank)
        whole: dict[int, bool] = {}
        problem: DataError | None = None
        for file in (own, previous(own)):
            if not file.exists():
                continue
            try:
                iteration, about = look(file)
            except DataError as error:
                problem = problem or error
                continue
            refuse_other(about, self.about, path)
            whole.setdefault(iteration, file != own)
        everywhere = set.intersection(*(set(found) for found in comm.collect(set(whole))))
        problems = [text for text in comm.collect(None if problem is None else str(problem)) if text]
        if not everywhere:
            if problems:
                raise DataError(path, "checkpoint", "one that is whole", "; ".join(problems))
            return None
        if problems:
            self.run.warn(f"the last checkpoint is damaged ({problems[0]}): going on from the one before")
        newest = max(everywhere)
        return load(path, xp, comm, older=whole[newest])

    def resume(self, n: int, unit: str = "particles") -> tuple[int, dict[str, np.ndarray], dict[str, Any]] | None:
        """Iteration, unknowns and memory of an earlier start of this run; None if there is no checkpoint.

        Raises DataError where it belongs to another recipe, or the unknowns are not `n` of this unit.
        """
        state = self.load()
        if state is None:
            return None
        found = len(next(iter(state.x.values())))
        if state.solver != self.name or found != n:
            raise DataError(
                self.run.checkpoint(), "checkpoint", f"{self.name} of {n} {unit}", f"{state.solver} of {found}"
            )
        return state.iteration, dict(state.x), dict(state.memory)

    def after(self, iteration: int, values: dict[str, np.ndarray], memory: dict[str, Any], last: bool = False) -> None:
        """Call after each iteration: saves if it is time or a stop was asked for, and raises Stopped then."""
        self.after_step(State(self.name, values, iteration, memory), last)

    def after_step(self, state: State, last: bool = False) -> None:
        """The same for the state of a solver."""
        output, comm = self.run.settings.output, self.run.comm
        seconds, every = output.checkpoint_seconds, output.checkpoint_every
        stop = comm.any(self.run.stop_requested and not last)
        since = time.monotonic() - self._saved
        due = comm.any(seconds is not None and since >= max(seconds, self._took / WRITING_SHARE))
        if stop or due or (every and state.iteration % every == 0):
            self.keep(state)
        if stop:
            raise self.run.stopped(state.iteration)

    def keep(self, state: State) -> None:
        """Write a checkpoint now.  DataError where the disk is full; the one before stays."""
        began, path = time.monotonic(), self.run.checkpoint()
        try:
            save(path, state, self.about, self.run.comm, rotate=True)
        except OSError as error:
            raise explained(error, path) from error
        self._saved = time.monotonic()
        self._took = self._saved - began
