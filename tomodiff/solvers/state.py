"""Everything that changes while a solver runs, and its safe storage on disk.

A checkpoint is a NumPy .npz file: arrays as they are, and one JSON text for all else. Loading it runs no code.
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
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.npyio import NpzFile

from tomodiff.array import Array, Element, to_numpy
from tomodiff.errors import DataError

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


def save(path: str | os.PathLike[str], state: State) -> None:
    """Write `state` to `path`; the file appears in one piece or not at all. Arrays on a GPU are copied to the host."""
    target = Path(path)
    arrays: dict[str, np.ndarray] = {}
    header = {
        "format": FORMAT,
        "solver": state.solver,
        "iteration": state.iteration,
        "history": list(state.history),
        "x": _pack(state.x, "x", arrays),
        "memory": _pack(state.memory, "memory", arrays),
    }
    arrays[_HEADER] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException:
        os.unlink(part)
        raise


def _pack(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """`value` as JSON, arrays replaced by references into `arrays`."""
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"State: {name}: expected texts as keys, got {sorted(map(repr, value))}")
        return {"dict": {key: _pack(v, f"{name}.{key}", arrays) for key, v in value.items()}}
    if hasattr(value, "shape") and value.ndim:
        if name in arrays or name == _HEADER:
            raise ValueError(f"State: two arrays would be stored as {name!r}; rename a key of memory or x")
        arrays[name] = to_numpy(value)
        return {"array": name}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise TypeError(f"State: {name}: expected an array, number, text, None or dict of them, got {type(value)}")


def load(path: str | os.PathLike[str], xp: ModuleType = np) -> State:
    """The state that `save` wrote, its arrays in `xp`. DataError if the file is damaged or is something else."""
    try:
        with open(path, "rb") as opened, _archive(opened) as file:
            header = json.loads(file[_HEADER].tobytes())
            if header.get("format") != FORMAT:
                raise DataError(path, "format", FORMAT, str(header.get("format")))
            x, memory = (_unpack(header[name], file, xp) for name in ("x", "memory"))
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError, AttributeError) as error:
        raise DataError(path, "", "a tomodiff checkpoint", f"{type(error).__name__}: {error}") from error
    return State(header["solver"], x, header["iteration"], memory, tuple(header["history"]))


def _archive(file: BinaryIO) -> NpzFile:
    loaded = np.load(file, allow_pickle=False)
    if not isinstance(loaded, NpzFile):
        raise ValueError("a NumPy file of one plain array")
    return loaded


def _unpack(value: Any, file: Mapping[str, Array], xp: ModuleType) -> Any:
    if "dict" in value:
        return {key: _unpack(v, file, xp) for key, v in value["dict"].items()}
    return xp.asarray(file[value["array"]]) if "array" in value else value["value"]
