"""What the commands say: results on stdout, everything else through the log on stderr."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

LOG = logging.getLogger("tomodiff")


@dataclass
class State:
    """The switches that stand before any command."""

    debug: bool = False
    quiet: bool = False
    watch: bool = False
    json: bool = False
    told: dict[str, Any] = field(default_factory=dict)


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


def set_up(debug: bool, quiet: bool, watch: bool = False, json: bool = False) -> None:
    """Start the log of one command."""
    STATE.debug, STATE.quiet, STATE.watch, STATE.json, STATE.told = debug, quiet, watch, json, {}
    for handler in [h for h in LOG.handlers if isinstance(h, StderrHandler)]:
        LOG.removeHandler(handler)
    handler = StderrHandler()
    handler.setLevel(logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO)
    LOG.addHandler(handler)
    LOG.setLevel(logging.DEBUG)
    logging.getLogger("tifffile").setLevel(logging.NOTSET if debug else logging.CRITICAL)  # of tags that it cannot read


def say(text: str) -> None:
    """A line of the command's result; nothing with --quiet."""
    if not STATE.quiet:
        note(text)


def note(text: str) -> None:
    """A line about what was found; with --json one of its `notes`."""
    if STATE.json:
        STATE.told.setdefault("notes", []).append(text)
    else:
        print(text)


def tell(values: Mapping[str, Any], of: str = "") -> None:
    """Names and values in two columns; with --json a part of the object that stands at the end, by itself where what
    it is of has a name."""
    if STATE.json:
        (STATE.told.setdefault(of, {}) if of else STATE.told).update({n.strip(): v for n, v in values.items() if v})
    else:
        print(f"{of}\n{rows(values)}" if of else rows(values))


def told() -> None:
    """With --json: all that was told, as one object."""
    if STATE.json:
        print(json.dumps(STATE.told, indent=1, ensure_ascii=False))


def complain(text: str) -> None:
    """A line about what went wrong."""
    print(f"error: {text}", file=sys.stderr)


def rows(values: Mapping[str, Any]) -> str:
    """Names and values in two columns."""
    width = max((len(name) for name in values), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in values.items() if value)
