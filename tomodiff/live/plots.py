"""The figures of a run's report, each drawn when somebody looks and the run has kept it anew."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from tomodiff.errors import DataError, TomodiffError
from tomodiff.recipes.run import Run
from tomodiff.report.drawing import DARK, LIGHT, png
from tomodiff.report.plots import Arrays, Plot
from tomodiff.report.run_report import plots_of


class Plots:
    """The figures that a run has kept arrays for, by their number among those of its kind of job."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()  # one figure at a time, and none twice
        self._run: Run | None = None
        self._known: dict[str, tuple[int, Arrays]] = {}
        self._drawn: dict[tuple[int, bool], tuple[int, bytes]] = {}

    def shown(self) -> list[dict[str, Any]]:
        """Number, heading, caption, and a version that changes with the arrays, of each figure that there is."""
        made = []
        with self._lock:
            for number, plot in enumerate(self._plots()):
                found = self._arrays(plot)
                if found is not None:
                    version, data = found
                    told = {"heading": plot.heading, "caption": plot.told(data), "version": version}
                    made.append({"number": number, **told})
        return made

    def drawn(self, number: int, dark: bool) -> bytes:
        """A figure as a PNG file.  DataError where there is none."""
        with self._lock:
            plots = self._plots()
            found = self._arrays(plots[number]) if number < len(plots) else None
            if found is None:
                raise DataError(self._path, f"figure {number}", "one that the run has kept arrays for", "none")
            version, data = found
            if self._drawn.get((number, dark), (None,))[0] != version:
                self._drawn[number, dark] = version, png(plots[number].draw(data, DARK if dark else LIGHT))
            return self._drawn[number, dark][1]

    def _plots(self) -> tuple[Plot, ...]:
        try:
            self._run = self._run or Run.open(self._path)
        except TomodiffError:
            return ()  # it is only about to begin
        return plots_of(self._run.settings.job)

    def _arrays(self, plot: Plot) -> tuple[int, Arrays] | None:
        """What is kept for a figure, and when that was; None where there is nothing to see."""
        assert self._run is not None
        try:
            version = (self._path / "report_data" / f"{plot.arrays}.npz").stat().st_mtime_ns
            if self._known.get(plot.arrays, (None,))[0] != version:
                self._known[plot.arrays] = version, self._run.report_data(plot.arrays) or {}
        except (OSError, DataError):
            return None
        found = self._known[plot.arrays]
        return found if found[1] and plot.worth(found[1]) else None
