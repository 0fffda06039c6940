"""Runs that stop and go on: the unknowns and a few arrays in the solvers' checkpoint file."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from tomodiff.errors import DataError
from tomodiff.recipes.run import Run
from tomodiff.solvers import State, load, save


class Checkpoints:
    """Saves what a recipe needs to go on, when it is due; stops the recipe when somebody asks for it."""

    def __init__(self, run: Run, name: str) -> None:
        self.run, self.name = run, name
        self._saved = time.monotonic()

    def resume(self, n: int, unit: str = "particles") -> tuple[int, dict[str, np.ndarray], dict[str, Any]] | None:
        """Iteration, unknowns and memory of an earlier start of this run; None if there is no checkpoint.

        Raises DataError where it belongs to another recipe, or the unknowns are not `n` of this unit.
        """
        path = self.run.checkpoint()
        if not path.exists():
            return None
        state = load(path)
        found = len(next(iter(state.x.values())))
        if state.solver != self.name or found != n:
            raise DataError(path, "checkpoint", f"{self.name} of {n} {unit}", f"{state.solver} of {found}")
        return state.iteration, dict(state.x), dict(state.memory)

    def after(self, iteration: int, values: dict[str, np.ndarray], memory: dict[str, Any], last: bool = False) -> None:
        """Call after each iteration: saves if it is time or a stop was asked for, and raises Stopped then."""
        output = self.run.settings.output
        seconds = output.checkpoint_seconds
        due = seconds is not None and time.monotonic() - self._saved >= seconds
        every = output.checkpoint_every
        if (self.run.stop_requested and not last) or due or (every and iteration % every == 0):
            save(self.run.checkpoint(), State(self.name, values, iteration, memory))
            self._saved = time.monotonic()
        if self.run.stop_requested and not last:
            raise self.run.stopped(iteration)
