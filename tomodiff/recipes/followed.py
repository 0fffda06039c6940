"""A run of several ranks: the first keeps its directory, the others compute and leave no trace."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from tomodiff.ranks import Comm
from tomodiff.recipes.run import Run
from tomodiff.result import Result


class Follower(Run):
    """The run as ranks other than the first have it: what they would write, the first writes."""

    def log_metrics(self, metrics: Mapping[str, Any]) -> None:
        pass

    def metrics(self) -> list[dict[str, Any]]:
        return []

    def warn(self, text: str) -> None:
        if text not in self.status["warnings"]:
            self.status["warnings"].append(text)

    def record(self, **facts: Any) -> None:
        pass

    def save_report_data(self, name: str, data: Mapping[str, Any] | np.ndarray) -> None:
        pass

    def show(self, volume: Any, spacing_mm: Sequence[float], quantity: str, unit: str) -> bool:
        return False

    def is_due(self) -> bool:
        return False

    def save_timings(self, timings: Mapping[str, float]) -> None:
        pass

    def finish(self, result: Result, volume_written: bool = False) -> None:
        self.conclude()

    def conclude(self) -> None:
        self.status["state"] = "done"

    def __enter__(self) -> Follower:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def together(comm: Comm, opened: Callable[[], Run]) -> Run:
    """The run that the first rank opens, on all of them."""
    if not comm.leads:
        logging.getLogger("tomodiff").setLevel(logging.ERROR)  # what there is to say, the first says
        run: Run = Follower(*comm.share(None))
    else:
        run = opened()
        comm.share((run.place, run.settings, run.status))
    run.comm = comm
    return run
