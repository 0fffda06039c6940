"""Frames that lie in a file: an array that is read frame by frame, cropped and binned on the way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, final

import numpy as np

from tomodiff.array import block_mean
from tomodiff.errors import ConfigError, DataError

READ_BYTES = 64 << 20
"""How much raw data is held at once while frames are converted and binned."""


class Stack(ABC):
    """Frames (n, v, u) of one shape that are not in memory; `name` is what messages call them."""

    name: str
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]

    @abstractmethod
    def raw(self, frames: np.ndarray, rows: slice) -> np.ndarray:
        """The frames with these increasing indices, cropped to `rows`, in the number type of the file."""

    def __len__(self) -> int:
        return self.shape[0]


@final
class ArrayStack(Stack):
    """Frames that are in memory after all, so that arrays may be given in place of files."""

    def __init__(self, array: Any, name: str) -> None:
        array = np.asarray(array)
        array = array[None] if array.ndim == 2 else array
        check_frames(name, "", array.shape, array.dtype)
        self.array, self.name, self.shape, self.dtype = array, name, array.shape, array.dtype

    def raw(self, frames: np.ndarray, rows: slice) -> np.ndarray:
        part: np.ndarray = self.array[frames, rows]
        return part


@final
class Selection(Stack):
    """Some frames of another stack, such as those of one image key."""

    def __init__(self, stack: Stack, frames: np.ndarray, name: str) -> None:
        self.stack, self.frames, self.name, self.dtype = stack, frames, name, stack.dtype
        self.shape = (len(frames), *stack.shape[1:])

    def raw(self, frames: np.ndarray, rows: slice) -> np.ndarray:
        return self.stack.raw(self.frames[frames], rows)


@final
class TurnedRound(Stack):
    """Another stack whose images are turned by 180 degrees: its first pixel is the last here."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.name, self.shape, self.dtype = stack, stack.name, stack.shape, stack.dtype

    def raw(self, frames: np.ndarray, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[1])
        return self.stack.raw(frames, slice(self.shape[1] - stop, self.shape[1] - start))[:, ::-1, ::-1]


@final
class Constant(Stack):
    """Frames of one value, such as flat fields of which a file only says how bright they are."""

    def __init__(self, value: float, shape: tuple[int, int, int], name: str) -> None:
        self.value, self.shape, self.name, self.dtype = value, shape, name, np.dtype(np.float32)

    def raw(self, frames: np.ndarray, rows: slice) -> np.ndarray:
        n_rows = len(range(*rows.indices(self.shape[1])))
        return np.full((len(frames), n_rows, self.shape[2]), self.value, self.dtype)


def check_frames(path: object, field: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise DataError unless an array of this shape and type can be frames (n, v, u) of real numbers."""
    if dtype.kind not in "iuf":
        kinds = {"c": "complex numbers", "S": "text", "U": "text", "O": "text or objects", "b": "booleans"}
        raise DataError(path, field, "real numbers", f"{kinds.get(dtype.kind, 'other data')} ({dtype})")
    if len(shape) != 3:
        raise DataError(path, field, "3 axes (view, v, u)", f"{len(shape)} axes {tuple(shape)}")
    if 0 in shape:
        raise DataError(path, field, "at least one frame and one pixel", f"the empty shape {tuple(shape)}")


def bin_pair(bin: int | tuple[int, int], detector_shape: tuple[int, int]) -> tuple[int, int]:
    """How many (rows, columns) are averaged.  Raises ConfigError where that cannot be on this detector."""
    pair = bin if isinstance(bin, tuple) else (bin, bin)
    if len(pair) != 2 or any(isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1 for n in pair):
        raise ConfigError(f"bin: expected a whole number of pixels >= 1, or two for (rows, columns), found {bin!r}")
    if any(n > size for n, size in zip(pair, detector_shape, strict=True)):
        hint = "; a detector of one row is binned by (1, n)" if detector_shape[0] == 1 else ""
        raise ConfigError(f"bin: expected at most the {detector_shape} pixels that are read, found {bin}{hint}")
    return int(pair[0]), int(pair[1])


def selected(selection: slice | None, length: int, name: str, *, steps: bool) -> slice:
    """A slice with its ends filled in.  Raises ConfigError for an empty, reversed or outlying selection."""
    if selection is None:
        return slice(0, length, 1)
    if not isinstance(selection, slice):
        raise ConfigError(f"{name}: expected a slice, found {selection!r}")
    if selection.step is not None and (selection.step < 1 or (selection.step != 1 and not steps)):
        raise ConfigError(f"{name}: expected a step of {'at least ' if steps else ''}1, found {selection.step}")
    start, stop, step = selection.indices(length)
    outside = [n for n in (selection.start, selection.stop) if n is not None and not -length <= n <= length]
    if start >= stop or outside:
        raise ConfigError(f"{name}: expected a part of 0:{length}, found {_text(selection)}")
    return slice(start, stop, step)


def _text(selection: slice) -> str:
    return ":".join("" if n is None else str(n) for n in (selection.start, selection.stop))


def load(
    stack: Stack, frames: np.ndarray | None = None, rows: slice = slice(None), bin: tuple[int, int] = (1, 1)
) -> np.ndarray:
    """Frames (n, v, u) in memory as float32, cropped to `rows`, then averaged over `bin` = (rows, columns) of pixels.

    Rows and columns that do not fill a last bin are left out.  Integers above 2**24 are rounded to float32.
    """
    frames = np.arange(len(stack)) if frames is None else frames
    out = empty_for(stack, len(frames), rows, bin)
    for _ in loaded(stack, frames, rows, bin, out):
        pass
    return out


def empty_for(stack: Stack, count: int, rows: slice, bin: tuple[int, int]) -> np.ndarray:
    """Room for so many frames as `load` gives them."""
    n_rows = len(range(*rows.indices(stack.shape[1])))
    return np.empty((count, n_rows // bin[0], stack.shape[2] // bin[1]), np.float32)


def loaded(stack: Stack, frames: np.ndarray, rows: slice, bin: tuple[int, int], out: np.ndarray) -> Iterator[slice]:
    """Fill `out` as `load` does, a few frames at a time, and say which are there."""
    n_rows = len(range(*rows.indices(stack.shape[1])))
    step = max(1, READ_BYTES // max(1, n_rows * stack.shape[2] * stack.dtype.itemsize))
    for start in range(0, len(frames), step):
        raw = stack.raw(frames[start : start + step], rows)
        if bin != (1, 1):
            raw = block_mean(raw, bin, dtype=np.float64)
        out[start : start + step] = raw
        yield slice(start, start + len(raw))


def ahead(parts: Iterator[slice]) -> Iterator[slice]:
    """The same parts, each of which is read while the one before it is worked on."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, parts, None)
        while (part := coming.result()) is not None:
            coming = reader.submit(next, parts, None)
            yield part
