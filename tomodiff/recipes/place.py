"""Where a run and its volume lie, and whether that place is free.

`-o vol.h5` puts the volume there and the run directory beside it, `vol.run/`; `-o NAME` without a suffix makes
NAME the run directory, with the volume in it as `NAME/volume.h5` (the map of a cryo-EM job as `NAME/map.mrc`).
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tomodiff.errors import ConfigError
from tomodiff.files.atomic import remove
from tomodiff.recipes.output import volume_suffix

STATUS = "status.json"


@dataclass(frozen=True)
class Place:
    """The run directory and the volume's path."""

    run: Path
    volume: Path

    @classmethod
    def of(cls, output: Any) -> Place:
        """The place that the output settings describe."""
        path = output.path.absolute()
        if output.is_file:
            return cls(path.with_name(path.name[: -len(volume_suffix(path))] + ".run"), path)
        form = output.format or output.default_format
        return cls(path, path / (output.name if form == "tiffs" else f"{output.name}.{form}"))


def make_room(place: Place, overwrite: bool) -> None:
    """Remove what may be replaced; raise ConfigError if something is in the way that may not.

    A failed run that left neither checkpoint nor volume may always be replaced, another one with `overwrite`,
    a run that still goes on and a folder that is no run never.
    """
    if place.volume.exists() and not overwrite and place.run not in place.volume.parents:
        raise ConfigError(f"{place.volume}: exists already; choose another output, or add --overwrite")
    if not place.run.exists():
        return
    if not place.run.is_dir():
        raise ConfigError(f"{place.run}: expected a free name for the run directory, found a file")
    if not any(place.run.iterdir()):
        return
    status = read_status(place.run)
    if status is None:
        raise ConfigError(f"{place.run}: is there already and no run directory of tomodiff; choose another output")
    if is_alive(status):
        raise ConfigError(f"{place.run}: a run goes on there (process {status['pid']} on {status['host']})")
    has_checkpoint = any((place.run / "checkpoint").glob("[!.]*"))
    worthless = status["state"] != "done" and not has_checkpoint and not place.volume.exists()
    if not (overwrite or worthless):
        resume = f", continue it with: tomodiff resume {place.run}" if has_checkpoint else ""
        raise ConfigError(f"{place.run}: a run is there already; choose another output, add --overwrite{resume}")
    remove(place.run)


def read_status(run: Path) -> dict[str, Any] | None:
    """What `status.json` of a run directory says; None if `run` is no run directory."""
    try:
        status = json.loads((run / STATUS).read_text())
    except (OSError, ValueError):
        return None
    return status if isinstance(status, dict) and "state" in status else None


def is_alive(status: dict[str, Any]) -> bool:
    """Whether the process that wrote this status still runs, as far as this computer can tell."""
    if status["state"] != "running" or status.get("host") != socket.gethostname() or status.get("pid") == os.getpid():
        return False
    if os.name == "nt":  # where os.kill with 0 is Ctrl-C
        return bool(import_module("psutil").pid_exists(int(status["pid"])))
    try:
        os.kill(int(status["pid"]), 0)
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return True
