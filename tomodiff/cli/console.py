"""What the commands say: results on stdout, everything else through the log on stderr."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from typing import TextIO

LOG = logging.getLogger("tomodiff")


@dataclass
class State:
    """The switches that stand before any command."""

    debug: bool = False
    quiet: bool = False
    watch: bool = False


STATE = State()


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever sys.stderr is at that moment, which a progress bar replaces while it is drawn."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(Levels("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


class Levels(logging.Formatter):
    """Plain text, with the level in front of warnings and errors."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return f"{record.levelname.lower()}: {text}" if record.levelno >= logging.WARNING else text


def set_up(debug: bool, quiet: bool, watch: bool = False) -> None:
    """Start the log of one command."""
    STATE.debug, STATE.quiet, STATE.watch = debug, quiet, watch
    for handler in [h for h in LOG.handlers if isinstance(h, StderrHandler)]:
        LOG.removeHandler(handler)
    handler = StderrHandler()
    handler.setLevel(logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO)
    LOG.addHandler(handler)
    LOG.setLevel(logging.DEBUG)


def say(text: str) -> None:
    """A line of the command's result; nothing with --quiet."""
    if not STATE.quiet:
        print(text)


def complain(text: str) -> None:
    """A line about what went wrong."""
    print(f"error: {text}", file=sys.stderr)


def rows(values: dict[str, str]) -> str:
    """Names and values in two columns."""
    width = max((len(name) for name in values), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in values.items() if value)
