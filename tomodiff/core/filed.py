"""Elements larger than memory: their parts lie in files, and are made and looked at one at a time.

What is made of parts one by one (`tmap`, inner products, and so the solvers) holds one part of each element that it
takes.  The files have no name, so that they are gone with the element, however the process ends.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.array import Parts
from tomodiff.errors import DataError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk that is full, or of a share of it."""


class Filed(Parts):
    """An element whose named parts are arrays in files in `folder`; parts that are no arrays stay what they are."""

    def __init__(self, parts: Iterable[tuple[str, Any]], folder: Path) -> None:
        super().__init__()
        self.folder = folder
        for name, part in parts:
            self[name] = self._kept(part)

    def _kept(self, part: Any) -> Any:
        if not isinstance(part, np.ndarray) or in_file(part):
            return part
        made = file_array(part.shape, part.dtype, self.folder)
        made[...] = part
        return made

    def made_of(self, parts: Iterable[tuple[str, Any]]) -> Filed:
        return Filed(parts, self.folder)

    def total(self, value: float) -> float:
        return value


def in_file(array: np.ndarray) -> bool:
    """Whether an array, or what it is a view of, lies in a file."""
    base: Any = array
    while base is not None:
        if isinstance(base, mmap.mmap):
            return True
        base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
    return False


def file_array(shape: tuple[int, ...], dtype: Any, folder: Path) -> np.ndarray:
    """An array of zeros in a new file without a name.  DataError where the disk has no room for all of it: a disk that
    fills up later would kill the process."""
    count = int(np.prod(shape, dtype=np.int64))
    size = max(1, count * np.dtype(dtype).itemsize)
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            reserve(file.fileno(), size)
        except OSError as error:
            raise _no_room(folder, size, folder) from error
        mapped = mmap.mmap(file.fileno(), size)
    return np.frombuffer(mapped, dtype, count).reshape(shape)


def npy_file(path: Path, shape: tuple[int, ...], dtype: Any, new: bool = True) -> np.memmap[Any, Any]:
    """An array in a NumPy file that stays, to be filled part by part; with `new` the file is made, as `file_array`."""
    if not new:
        return np.lib.format.open_memmap(path, mode="r+")
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    try:
        made = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        with path.open("rb+") as file:
            reserve(file.fileno(), path.stat().st_size)
    except OSError as error:
        if error.errno not in NO_ROOM:  # nothing was written: what is there is somebody's
            raise
        path.unlink(missing_ok=True)
        raise _no_room(path, size, path.parent) from error
    return made


def reserve(file: int, size: int) -> None:
    """Give an empty file its size, and the room for it where the system can promise that."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.ftruncate(file, size)


def _no_room(what: Path, size: int, folder: Path) -> DataError:
    free = shutil.disk_usage(folder).free
    return DataError(what, "disk space", f"{size / 1e9:.3g} GB", f"{free / 1e9:.3g} GB free")
