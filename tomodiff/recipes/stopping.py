"""Ctrl-C, SIGTERM and SIGUSR1 as a request: the iteration that runs is finished, its state saved, and the job ends.

A second signal interrupts at once.  Outside of such a stretch a signal interrupts at once anyway.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

LOG = logging.getLogger("tomodiff")
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""The last is what schedulers are asked to send some time before the end (`sbatch --signal=USR1@120`)."""


class StopSwitch:
    """Whether somebody asked for a stop, during `with switch.armed()`."""

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def armed(self) -> Iterator[StopSwitch]:
        """Turn the first signal into `requested`, the second into KeyboardInterrupt."""
        if threading.current_thread() is not threading.main_thread():  # only the main thread receives signals
            yield self
            return
        before: list[tuple[signal.Signals, Any]] = [(s, signal.signal(s, self._on_signal)) for s in SIGNALS]
        try:
            yield self
        finally:
            for number, handler in before:
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        LOG.warning("%s: stopping after this iteration; once more stops at once", name)


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Let SIGTERM unwind the program as Ctrl-C does, so that temporary files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
