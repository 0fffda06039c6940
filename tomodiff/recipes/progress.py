"""How far a job is: a bar with rate and time left on a terminal, lines at sensible intervals elsewhere.

with progress.stage("sirt", total=200, unit="it") as stage:
    for ...:
        stage.advance(residual=0.12)
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

LOG = logging.getLogger("tomodiff")
SECONDS_BETWEEN_LINES = 15.0
LONG_SECONDS = 60.0
"""A stage that will take longer says after its first step how long."""


class Stage:
    """One step of a job, done `done` times out of `total` (None where nobody knows)."""

    def __init__(self, name: str, total: int | None, unit: str, done: int, bar: Any = None) -> None:
        self.name, self.total, self.unit, self.done = name, total, unit, done
        self._bar, self._first, self._told = bar, done, False
        self._start = self._last_line = time.monotonic()
        self._task = bar.add_task(name, total=total, completed=done, shown="", unit=unit) if bar else None

    def advance(self, n: int = 1, **shown: float | int | str) -> None:
        """Count `n` more, and show these values beside the bar."""
        self.done += n
        text = "  ".join(f"{name} {_short(value)}" for name, value in shown.items())
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, shown=text)
        now = time.monotonic()
        if self._is_long(now) or now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._told = True
            self._last_line = now
            LOG.log(logging.DEBUG if self._bar else logging.INFO, "%s", self._line(now, text))

    def reach(self, done: int, total: int) -> None:
        """Count up to `done` of a total that whoever does the work knows."""
        if total != self.total:
            self.total = total
            if self._bar is not None:
                self._bar.update(self._task, total=total)
        self.advance(done - self.done)

    def _is_long(self, now: float) -> bool:
        """Whether the first step says that the stage will be a long one, which was not told yet."""
        if self._told or not self.total or self.done <= self._first:
            return False
        return (now - self._start) / (self.done - self._first) * (self.total - self.done) > LONG_SECONDS

    def _line(self, now: float, text: str) -> str:
        rate = (self.done - self._first) / max(now - self._start, 1e-9)
        of = f"/{self.total}" if self.total else ""
        left = f", {in_time((self.total - self.done) / rate)} left" if self.total and rate > 0 else ""
        return f"{self.name} {self.done}{of} {self.unit}, {rate:.3g} {self.unit}/s{left}  {text}".rstrip()


class Progress:
    """The stages of a job, and what each cost in seconds (`timings`).

    `quiet` shows neither bars nor lines; bars need `stream` (stderr by default) to be a terminal.
    """

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.quiet = quiet
        self.stream = stream if stream is not None else sys.stderr
        self.timings: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, total: int | None = None, unit: str = "it", done: int = 0) -> Iterator[Stage]:
        """One step of the job; its seconds are added to `timings[name]`, whatever ends it."""
        start = time.monotonic()
        LOG.log(logging.DEBUG if self.bars else logging.INFO, "%s ...", name)
        try:
            if self.bars:
                with _rich_bar(self.stream) as bar:
                    yield Stage(name, total, unit, done, bar)
            else:
                yield Stage(name, total, unit, done)
        finally:
            seconds = time.monotonic() - start
            self.timings[name] = self.timings.get(name, 0.0) + seconds
            LOG.log(logging.DEBUG if self.bars or seconds < 1 else logging.INFO, "%s took %s", name, in_time(seconds))

    @property
    def bars(self) -> bool:
        """Whether bars are drawn."""
        return not self.quiet and self.stream.isatty()

    def note(self, text: str) -> None:
        """Say one thing that was found out, such as where the axis is."""
        LOG.info("%s", text)


def _rich_bar(stream: TextIO) -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Rate(ProgressColumn):
        """Steps per second."""

        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.3g} {task.fields['unit']}/s" if task.speed else "", style="cyan")

    return Bars(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[shown]}", style="green"),
        console=Console(file=stream),
        refresh_per_second=5,
    )


def in_time(seconds: float) -> str:
    """A duration as a person writes it."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _short(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
