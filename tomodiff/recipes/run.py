"""The run directory: everything that a job leaves behind, so that a report and a resume need nothing else.

    config.yml       settings, resolved          log.txt       what was said
    env.json         versions, machine, inputs   checkpoint/   state to resume from
    metrics.jsonl    one line per iteration      report_data/  arrays that the report draws
    status.json      state, warnings, facts      report.html   volume.h5 (unless it lies elsewhere)

It appears whole, by one rename.  What a recipe uses: `log_metrics`, `warn`, `record`, `save_report_data`,
`checkpoint`, `interruptible` with `stop_requested` and `stopped`, and at the end `finish`.
"""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from tomodiff.errors import ConfigError, DataError, Stopped, TomodiffError
from tomodiff.files import write
from tomodiff.files.atomic import explained, move_over, remove, replace_text
from tomodiff.ranks import ALONE
from tomodiff.recipes.config_file import load_settings
from tomodiff.recipes.environment import command_line, environment, now
from tomodiff.recipes.identity import identity
from tomodiff.recipes.place import STATUS, Place, is_alive, make_room, read_status
from tomodiff.recipes.section import Job
from tomodiff.recipes.stopping import StopSwitch
from tomodiff.recipes.volume_summary import middle, summary
from tomodiff.recipes.yaml_tree import write_yaml
from tomodiff.result import Result

SHOWN_EVERY = 5.0
"""Seconds between two previews of a volume on its way."""
LOG = logging.getLogger("tomodiff")


class LogFile(logging.FileHandler):
    """The log of a run; a disk that is full must not add tracebacks to the error that follows from it."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


class Run:
    """One run directory, open for writing.  Use as a context manager: how the block ends is the run's state."""

    comm = ALONE
    """The ranks that work at it; one, unless `tomodiff.recipes.followed` says otherwise."""

    def __init__(self, place: Place, settings: Job, status: dict[str, Any]) -> None:
        self.place, self.settings, self.status = place, settings, status
        self._stop = StopSwitch()
        self._clock, self._earlier = time.monotonic(), 0.0
        self._shown = -SHOWN_EVERY
        self._handler: logging.Handler | None = None
        self._level = logging.NOTSET

    @classmethod
    def create(cls, settings: Job, command: list[str] | None = None) -> Run:
        """A new run directory for `settings`.  Raises ConfigError where there is no room for it."""
        place = Place.of(settings.output)
        make_room(place, settings.output.overwrite)
        temporary = place.run.with_name(f".{os.getpid()}.part.{place.run.name}")
        status = {"state": "running", "warnings": [], "facts": {}, "timings": {}, "volume": str(place.volume)}
        status["job"] = identity(settings)
        run = cls(place, settings, status)
        try:
            place.run.parent.mkdir(parents=True, exist_ok=True)
            place.volume.parent.parent.mkdir(parents=True, exist_ok=True)
            remove(temporary)
            (temporary / "checkpoint").mkdir(parents=True)
            (temporary / "report_data").mkdir()
            (temporary / "config.yml").write_text(write_yaml(settings.as_dict()), encoding="utf-8")
            _write_json(temporary / "env.json", environment(settings, command or command_line()))
            (temporary / "metrics.jsonl").touch()
            _write_json(temporary / STATUS, run._signed())
            if place.run.is_dir():
                place.run.rmdir()  # empty, or make_room had complained
            move_over(temporary, place.run)
        except (NotADirectoryError, FileExistsError) as error:
            raise ConfigError(f"{place.run}: expected a folder above it, found a file ({error.filename})") from error
        except OSError as error:
            raise explained(error, place.run) from error
        finally:
            with suppress(OSError):
                remove(temporary)
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """The run in a directory, to resume it or to report on it.  Raises ConfigError if there is none."""
        path = path.resolve()
        status = read_status(path)
        if status is None or not (path / "config.yml").is_file():
            raise ConfigError(f"{path}: expected a run directory (with config.yml and {STATUS}), found none")
        settings = load_settings(path / "config.yml")
        volume = Place.of(settings.output).volume if settings.output.is_file else path / Path(status["volume"]).name
        return cls(Place(path, volume), settings, status)

    @classmethod
    def cut_short(cls, settings: Job) -> Run | None:
        """The run of this job that lies where its settings put it and was cut short, taken up from its checkpoint; None
        where there is none, or it is of other settings or another input."""
        place = Place.of(settings.output)
        if not (place.run / "config.yml").is_file() or read_status(place.run) is None:
            return None
        found = cls.open(place.run)
        over = found.status["state"] == "done" or not found.has_checkpoint()
        if over or found.status.get("job") != identity(settings):
            return None
        found.restart()
        found.settings = settings  # its end may be another
        replace_text(found.path / "config.yml", write_yaml(settings.as_dict()))
        return found

    def restart(self) -> None:
        """Take up a run that stopped.  Raises ConfigError if it goes on, is done, or left no checkpoint."""
        if is_alive(self.status):
            raise ConfigError(f"{self.path}: still runs (process {self.status['pid']} on {self.status['host']})")
        if self.status["state"] == "done":
            raise ConfigError(f"{self.path}: is done already; nothing to resume")
        if not self.has_checkpoint():
            raise ConfigError(f"{self.path}: left no checkpoint; start it anew: tomodiff run {self.path}/config.yml")
        self._earlier = max((m.get("seconds") or 0.0 for m in self.metrics()), default=0.0)
        self.status.update(state="running", message="")
        self.status.setdefault("resumed", []).append(now())
        self._save_status()

    # ---- what a recipe uses

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.place.run

    @property
    def volume_path(self) -> Path:
        """Where the volume is written."""
        return self.place.volume

    @property
    def warnings(self) -> list[str]:
        """What a reader of the result must know."""
        return list(self.status["warnings"])

    @property
    def stop_requested(self) -> bool:
        """Whether Ctrl-C or SIGTERM came during `interruptible`: save a checkpoint and raise `stopped(n)`."""
        return self._stop.requested

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """A stretch in which a signal only sets `stop_requested`."""
        with self._stop.armed():
            yield

    def stopped(self, iteration: int) -> Stopped:
        """The error to raise once the checkpoint of `iteration` is on disk."""
        return Stopped(f"stopped after iteration {iteration}; continue with: tomodiff resume {self.path}")

    def checkpoint(self) -> Path:
        """The file that holds the state to resume from; it may exist.  Replace it atomically."""
        return self.path / "checkpoint" / "state"

    def about(self) -> dict[str, Any]:
        """What a checkpoint belongs to: the job as `identity` has it, and the number of ranks."""
        settings = load_settings(self.path / "config.yml")  # as a resumed run has them, with paths made absolute
        return {**identity(settings), "ranks": self.comm.size}

    def has_checkpoint(self) -> bool:
        """Whether there is a state to resume from."""
        return any((self.path / "checkpoint").glob("[!.]*"))

    def log_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Append one line of plain numbers; numbers that are not finite become null."""
        line = {name: _plain(value) for name, value in metrics.items()}
        line.setdefault("seconds", round(self._earlier + time.monotonic() - self._clock, 3))
        try:
            with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
        except OSError as error:
            raise explained(error, self.path / "metrics.jsonl") from error

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl.  Of an iteration that a resume ran again, the last one counts."""
        lines: dict[Any, dict[str, Any]] = {}
        text = (self.path / "metrics.jsonl").read_text(encoding="utf-8") if self.path.is_dir() else ""
        for n, line in enumerate(text.splitlines()):
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # a line cut short by a crash
            lines[entry.get("iteration", f"line {n}")] = entry
        return list(lines.values())

    def warn(self, text: str) -> None:
        """Say, and keep, something a reader of the result must know; the same text once."""
        if text not in self.status["warnings"]:
            self.status["warnings"].append(text)
            LOG.warning("%s", text)
            self._save_status()

    def record(self, **facts: Any) -> None:
        """Keep plain values that the report lists: the axis found, the memory needed."""
        self.status["facts"].update({name: _plain(value) for name, value in facts.items()})
        self._save_status()

    def save_report_data(self, name: str, data: Mapping[str, Any] | np.ndarray) -> None:
        """Keep arrays (or numbers, or texts) for the report as report_data/NAME.npz; an array alone is called data."""
        arrays = {"data": data} if isinstance(data, np.ndarray) else dict(data)
        values = {key: np.asarray(value) for key, value in arrays.items() if value is not None}
        for key, value in values.items():
            if value.dtype == object:
                raise TypeError(f"report data {name}: {key} must be an array, a number or a text, got {arrays[key]!r}")
        target = self.path / "report_data" / f"{name}.npz"
        temporary = target.with_name(f".{name}.part.npz")
        try:
            np.savez_compressed(temporary, allow_pickle=False, **values)
            os.replace(temporary, target)
        except OSError as error:
            raise explained(error, target) from error
        finally:
            temporary.unlink(missing_ok=True)

    def show(self, volume: Any, spacing_mm: Sequence[float], quantity: str, unit: str) -> bool:
        """Keep the middle slices of a volume (z, y, x) on its way, for who watches, where that `is_due`; whether it
        was."""
        due = self.is_due()
        if due:
            self.save_report_data("preview", middle(volume, spacing_mm, quantity, unit))
        return due

    def is_due(self) -> bool:
        """Whether something is to be kept for who watches: the first time, and then at most every `SHOWN_EVERY` s."""
        due = time.monotonic() - self._shown >= SHOWN_EVERY
        if due:
            self._shown = time.monotonic()
        return due

    def report_data(self, name: str) -> dict[str, np.ndarray] | None:
        """What `save_report_data` kept under `name`; None if nothing."""
        path = self.path / "report_data" / f"{name}.npz"
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files}
        except (OSError, ValueError, EOFError, KeyError) as error:
            raise DataError(path, "report data", "arrays saved by tomodiff", str(error)) from error

    def finish(self, result: Result, volume_written: bool = False) -> None:
        """Write the volume (unless the recipe has, slab by slab), remove the checkpoint, mark the run as done."""
        if not volume_written:
            write(self.volume_path if self.volume_path.suffix else f"{self.volume_path}/", result)  # a slice per TIFF
        for text in result.warnings:
            self.warn(text)
        self.save_report_data("volume", summary(result))
        self.conclude()

    def conclude(self) -> None:
        """Remove the checkpoint and mark the run as done; all that it makes is written."""
        for leftover in (self.path / "checkpoint").iterdir():
            remove(leftover)
        (self.path / "report_data" / "preview.npz").unlink(missing_ok=True)
        self.status["state"] = "done"
        self._save_status()
        LOG.info("wrote %s", self.volume_path)

    # ---- how it ends

    def environment(self) -> dict[str, Any]:
        """The content of env.json."""
        return dict(json.loads((self.path / "env.json").read_text(encoding="utf-8")))

    def save_timings(self, timings: Mapping[str, float]) -> None:
        """Add the seconds that each stage took (a resumed run adds to those before)."""
        for name, seconds in timings.items():
            self.status["timings"][name] = round(self.status["timings"].get(name, 0.0) + seconds, 3)
        self._save_status()

    def __enter__(self) -> Run:
        self._handler = LogFile(self.path / "log.txt", encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
        LOG.addHandler(self._handler)
        self._level = LOG.level
        LOG.setLevel(logging.DEBUG)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.status["state"] = "stopped" if isinstance(error, Stopped) else "failed"
            self.status["message"] = str(error) or type(error).__name__
            known = isinstance(error, TomodiffError | KeyboardInterrupt)
            LOG.debug("ended: %s", self.status["message"], exc_info=None if known else error)
        elif self.status["state"] == "running":
            self.status.update(state="failed", message="ended without a result")
        if self._handler is not None:
            LOG.removeHandler(self._handler)
            LOG.setLevel(self._level)
            self._handler.close()
        try:
            _write_json(self.path / "env.json", self.environment() | {"ended": now()})
            self._save_status()
        except (OSError, TomodiffError):  # a full disk, most likely: the error under way says more
            if error is None:
                raise

    def _signed(self) -> dict[str, Any]:
        return self.status | {"pid": os.getpid(), "host": socket.gethostname(), "updated": now()}

    def _save_status(self) -> None:
        _write_json(self.path / STATUS, self._signed())


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    replace_text(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    """`value` as JSON knows it: NumPy scalars and small arrays as numbers and lists, NaN and infinity as null."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return str(value)
