"""Everything that changes while a solver runs, and its safe storage on disk.

A checkpoint is a NumPy .npz file: arrays as they are, and one JSON text for all else. Loading it runs no code, and
checks the sum that the archive has of every array.  Of several ranks, the first writes all that they have in common and
its own part of what is spread over them, the others theirs in files beside it, `state.rank1` and so on.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib.npyio import NpzFile

from tomodiff.array import Array, Element, to_numpy
from tomodiff.core.filed import Filed
from tomodiff.errors import DataError
from tomodiff.ranks import ALONE, Comm, Spread

FORMAT = "tomodiff state 1"
_HEADER = "header"


@dataclass(frozen=True)
class State:
    """Where a solver stands: the estimate, what else it carries from step to step, and what it has measured.

    `memory` holds arrays, numbers, texts, None and dicts of these. `history` has one dict of numbers for every step
    that was taken: what they are stands in the docstring of the solver, "seconds" and "relative_change" (the norm of
    the last move over that of the estimate) in all of them.
    """

    solver: str
    x: Element
    iteration: int = 0
    memory: dict[str, Any] = field(default_factory=dict)
    history: tuple[dict[str, float], ...] = ()

    @property
    def metrics(self) -> dict[str, float]:
        """What the last step measured; empty before the first."""
        return self.history[-1] if self.history else {}

    def advance(self, x: Element, memory: dict[str, Any], **metrics: float) -> State:
        """The state after one more step."""
        return replace(self, x=x, memory=memory, iteration=self.iteration + 1, history=(*self.history, metrics))


def of_rank(path: str | os.PathLike[str], rank: int) -> Path:
    """Where a rank keeps its part of a checkpoint."""
    return Path(path) if rank == 0 else Path(f"{os.fspath(path)}.rank{rank}")


def previous(path: Path) -> Path:
    """Where the checkpoint before this one is kept."""
    return path.with_name(f"{path.name}.previous")


def save(
    path: str | os.PathLike[str], state: State, about: Mapping[str, Any] | None = None, comm: Comm = ALONE,
    rotate: bool = False,
) -> None:  # fmt: skip
    """Write `state` to `path`; the file appears in one piece or not at all. Arrays on a GPU are copied to the host.

    about: plain values that say what the state belongs to, for `load` to compare; rotate: keep the one before, too.
    """
    target = of_rank(path, comm.rank)
    arrays: dict[str, np.ndarray] = {}
    header = {
        "format": FORMAT,
        "about": dict(about or {}),
        "solver": state.solver,
        "iteration": state.iteration,
        "history": list(state.history),
        "x": _pack(state.x, "x", arrays, comm.leads),
        "memory": _pack(state.memory, "memory", arrays, comm.leads),
    }
    arrays[_HEADER] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        comm.barrier()  # no rank replaces its part before all have theirs on disk
        if rotate and target.exists():
            _keep(target)
        os.replace(part, target)
    except BaseException:
        os.unlink(part)
        raise


def _keep(target: Path) -> None:
    """The file under its second name, so that it has a first as well, where the file system knows links."""
    previous(target).unlink(missing_ok=True)
    try:
        os.link(target, previous(target))
    except OSError:  # a file system without links
        os.replace(target, previous(target))


def _pack(value: Any, name: str, arrays: dict[str, np.ndarray], leads: bool, own: bool = False) -> Any:
    """`value` as JSON, arrays replaced by references into `arrays`; what all ranks have is kept by the first alone."""
    if isinstance(value, Spread):
        return {"spread": _pack(value["own"], name, arrays, leads, own=True)}
    if isinstance(value, Filed):
        return {"filed": {key: _pack(v, f"{name}.{key}", arrays, leads) for key, v in value.items()}}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"State: {name}: expected texts as keys, got {sorted(map(repr, value))}")
        return {"dict": {key: _pack(v, f"{name}.{key}", arrays, leads) for key, v in value.items()}}
    if hasattr(value, "shape") and value.ndim:
        if name in arrays or name == _HEADER:
            raise ValueError(f"State: two arrays would be stored as {name!r}; rename a key of memory or x")
        if leads or own:
            arrays[name] = to_numpy(value)
        return {"array": name} if leads or own else {"common": name}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise TypeError(f"State: {name}: expected an array, number, text, None or dict of them, got {type(value)}")


_DAMAGE = (zipfile.BadZipFile, KeyError, EOFError, ValueError, AttributeError)


def look(path: str | os.PathLike[str]) -> tuple[int, dict[str, Any]]:
    """The iteration of a checkpoint and what it is about.  DataError if any of its arrays is damaged."""
    try:
        with open(path, "rb") as opened, _archive(opened) as file:
            header = _header(path, file)
            damaged = file.zip.testzip() if file.zip is not None else None
    except _DAMAGE as error:
        raise DataError(path, "", "a tomodiff checkpoint", f"{type(error).__name__}: {error}") from error
    if damaged:
        raise DataError(path, damaged, "an array with the sum that was kept with it", "another")
    return int(header["iteration"]), dict(header.get("about", {}))


def load(path: str | os.PathLike[str], xp: ModuleType = np, comm: Comm = ALONE, older: bool = False) -> State:
    """The state that `save` wrote, its arrays in `xp`. DataError if a file is damaged or is something else.

    older: the one before the last, which `save(..., rotate=True)` kept; ranks may differ in this, where one was killed
    before it had replaced its own.
    """
    first, own = of_rank(path, 0), of_rank(path, comm.rank)
    first, own = previous(first) if comm.share(older) else first, previous(own) if older else own
    try:
        with open(first, "rb") as opened, _archive(opened) as common, open(own, "rb") as mine, _archive(mine) as file:
            header = _header(own, file)
            if _header(first, common)["iteration"] != header["iteration"]:
                raise ValueError(f"of iteration {header['iteration']}, {first} is of another")
            places = _Places(file, common, xp, comm, first.parent)
            x, memory = (_unpack(header[name], places) for name in ("x", "memory"))
    except _DAMAGE as error:
        raise DataError(own, "", "a tomodiff checkpoint", f"{type(error).__name__}: {error}") from error
    return State(header["solver"], x, header["iteration"], memory, tuple(header["history"]))


def _header(path: str | os.PathLike[str], file: NpzFile) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(file[_HEADER].tobytes())
    if header.get("format") != FORMAT:
        raise DataError(path, "format", FORMAT, str(header.get("format")))
    return header


def _archive(file: BinaryIO) -> NpzFile:
    loaded = np.load(file, allow_pickle=False)
    if not isinstance(loaded, NpzFile):
        raise ValueError("a NumPy file of one plain array")
    return loaded


class _Places(NamedTuple):
    """Where `_unpack` takes arrays from, and puts those that lie in files."""

    own: Mapping[str, Array]
    common: Mapping[str, Array]
    xp: ModuleType
    comm: Comm
    folder: Path


def _unpack(value: Any, at: _Places) -> Any:
    if "dict" in value:
        return {key: _unpack(v, at) for key, v in value["dict"].items()}
    if "spread" in value:
        return Spread(_unpack(value["spread"], at), at.comm)
    if "filed" in value:
        return Filed(((key, _unpack(v, at)) for key, v in value["filed"].items()), at.folder)
    if "common" in value:
        return at.xp.asarray(at.common[value["common"]])
    return at.xp.asarray(at.own[value["array"]]) if "array" in value else value["value"]
