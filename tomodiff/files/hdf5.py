"""HDF5 files as a user meets them: cut short, with links that lead nowhere, with paths that are nearly right."""

from __future__ import annotations

import difflib
import itertools
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, final

import h5py
import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.stack import Stack, check_frames

LISTED = 4
"""How many existing paths an error lists."""
VISITED = 20_000
DEPTH = 12
"""Where a search through a file ends."""


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file, open for reading.  Raises DataError with the reason where it cannot be opened."""
    if not h5py.is_hdf5(path):
        try:
            with path.open("rb") as stream:
                start = stream.read(8)
        except OSError as error:
            raise DataError(path, "", "an HDF5 file", error.strerror or str(error)) from error
        raise DataError(path, "", "an HDF5 file", f"another kind of file, starting with {start!r}")
    try:
        file = h5py.File(path, "r", locking="best-effort")  # beamline file systems often know no locks
    except OSError as error:
        if "truncated" in str(error):
            hint = "The copy or the acquisition was cut short; fetch the file again."
            raise DataError(path, "", "a complete HDF5 file", "a truncated one", hint) from error
        raise DataError(path, "", "a readable HDF5 file", str(error)) from error
    with file:
        yield file


class Found(NamedTuple):
    """One name in a file: a dataset, or a link to another file, with what is at its end (None: nothing)."""

    path: str
    node: Any
    target: str
    soft: bool


def walk(group: h5py.Group, path: str = "", depth: int = 0, *, abroad: bool = False) -> Iterator[Found]:
    """All names below a group that are not groups, the paths as they are in this file.

    Goes into groups of other files (one file far, lest files that link to each other lead in circles), not into
    groups behind soft links, whose content has a path of its own.
    """
    for name in group:
        here = f"{path}/{name}"
        link = group.get(name, getlink=True)
        outside = isinstance(link, h5py.ExternalLink)
        target = f"{link.filename}:{link.path}" if outside else getattr(link, "path", "")
        node = _resolved(group, name)
        if not isinstance(node, h5py.Group):
            yield Found(here, node, target, isinstance(link, h5py.SoftLink))
        elif depth < DEPTH and (isinstance(link, h5py.HardLink) or (outside and not abroad)):
            yield from walk(node, here, depth + 1, abroad=abroad or outside)


def _resolved(group: h5py.Group, name: str) -> Any:
    try:
        return group[name]
    except (KeyError, OSError):
        return None


def dataset_at(file: h5py.File, path: str) -> h5py.Dataset:
    """The dataset at a path.  Raises DataError that names a broken link, or the nearest paths that exist."""
    try:
        node = file[path]
    except (KeyError, OSError) as error:
        raise _missing(file, path) from error
    if not isinstance(node, h5py.Dataset):
        inside = ", ".join(list(node)[:LISTED])
        raise DataError(file.filename, path, "a dataset", f"a group with {inside or 'nothing in it'}")
    return node


def find(file: h5py.File, *paths: str) -> h5py.Dataset | None:
    """The first of these paths at which there is a dataset."""
    for path in paths:
        node = _resolved(file, path)
        if isinstance(node, h5py.Dataset):
            return node
    return None


def _missing(file: h5py.File, path: str) -> DataError:
    """Why there is nothing at `path`."""
    here: Any = file
    for part in path.strip("/").split("/"):
        link = here.get(part, getlink=True) if part in list(here) else None  # `in here` is False for a broken link
        if isinstance(link, h5py.ExternalLink):
            beside = Path(file.filename).parent / link.filename
            state = "is there, but holds nothing at that path" if beside.exists() else "is not there"
            return DataError(
                file.filename,
                path,
                f"the dataset that is linked to in {link.filename}:{link.path}",
                f"a broken link: {beside} {state}",
                "Copy the linked file to that place.",
            )
        node = _resolved(here, part)
        if not isinstance(node, h5py.Group):
            break
        here = node
    near = nearest(file, path)
    hint = f"Nearest: {', '.join(near)}. Name it with data_path." if near else ""
    return DataError(file.filename, path, "a dataset", "nothing at that path", hint)


def nearest(file: h5py.File, path: str) -> list[str]:
    """The existing dataset paths that look most like `path`, else the first ones of three axes."""
    paths, stacks = [], []
    for n, found in enumerate(walk(file)):
        if n > VISITED:
            break
        if found.node is not None:
            paths.append(found.path)
            if found.node.ndim == 3:
                stacks.append(found.path)
    near = difflib.get_close_matches(path, paths, LISTED, 0.6)
    tail = [p for p in paths if posixpath.basename(p) == posixpath.basename(path)]
    return list(dict.fromkeys([*near, *tail, *stacks]))[:LISTED]


def text(node: Any) -> str:
    """The value of an attribute or of a scalar dataset as text; arrays of one text count as one."""
    value = node[()] if isinstance(node, h5py.Dataset) else node
    if isinstance(value, np.ndarray):
        value = value.reshape(-1)[0] if value.size else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def units(node: h5py.Dataset | None) -> str | None:
    """The `units` attribute of a dataset, or None."""
    if node is None:
        return None
    for name in ("units", "unit"):
        if name in node.attrs:
            return text(node.attrs[name]).strip()
    return None


def numbers(file: h5py.File, node: h5py.Dataset) -> np.ndarray:
    """A small one-dimensional dataset as float64.  Raises DataError where it holds no numbers."""
    if node.dtype.kind not in "iuf" or node.ndim > 1:
        raise DataError(file.filename, node.name, "a row of real numbers", f"{node.dtype} with shape {node.shape}")
    return np.atleast_1d(np.asarray(node[()], dtype=np.float64))


def inside(given: str) -> tuple[np.ndarray, str | None] | None:
    """Values and unit of the dataset that "scan.h5:/path/in/it" names, or None where a text is nothing of the kind."""
    name, colon, path = given.rpartition(":/")
    if not colon or not h5py.is_hdf5(name):
        return None
    with open_hdf5(Path(name)) as file:
        node = dataset_at(file, "/" + path)
        return node[()], units(node)


@final
class Hdf5Stack(Stack):
    """Frames in a dataset (n, v, u) of an open HDF5 file, read by hyperslabs; with `single`, (v, u) is one frame."""

    def __init__(self, node: h5py.Dataset, file_name: str, path: str, *, single: bool = False) -> None:
        shape = (1, *node.shape) if single and node.ndim == 2 else node.shape
        check_frames(file_name, path, shape, node.dtype)
        _check_virtual(node, path)
        self.node, self.file_name, self.path = node, file_name, path
        self.name, self.shape, self.dtype = f"{file_name}:{path}", shape, node.dtype

    def raw(self, frames: np.ndarray, rows: slice) -> np.ndarray:
        try:
            return self._read(frames, rows)
        except OSError as error:
            if "filter" not in str(error):
                hint = "The file is damaged; fetch it again."
                raise DataError(self.file_name, self.path, "readable pixels", str(error), hint) from error
        try:
            import hdf5plugin  # noqa: F401  (importing it makes HDF5 know more compressions)

            return self._read(frames, rows)
        except (ImportError, OSError) as error:
            hint = "A compression plug-in is missing: pip install hdf5plugin."
            raise DataError(self.file_name, self.path, "readable pixels", str(error), hint) from error

    def _read(self, frames: np.ndarray, rows: slice) -> np.ndarray:
        if self.node.ndim == 2:
            frame: np.ndarray = self.node[rows]
            one: np.ndarray = frame[None][frames]
            return one
        parts: list[np.ndarray] = [self.node[run, rows] for run in runs(frames)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _check_virtual(node: h5py.Dataset, path: str) -> None:
    """Raise DataError where a part of a virtual dataset is not there: HDF5 itself reads zeros in its place."""
    if not node.is_virtual:
        return
    home = Path(node.file.filename).parent
    for name in sorted({source.file_name for source in node.virtual_sources()}):
        if name != "." and "%" not in name and not (home / name).exists():
            hint = "Copy the missing file to that place; without it HDF5 would read zeros."
            raise DataError(node.file.filename, path, f"the file {name} that holds a part of the frames",
                            f"nothing at {home / name}", hint)  # fmt: skip


def packing(shape: tuple[int, ...], compression: str | None) -> dict[str, Any]:
    """How to create a dataset of frames (n, v, u): a chunk for each frame, bytes shuffled, if it is compressed."""
    return {"chunks": (1, *shape[1:]), "compression": compression, "shuffle": True} if compression else {}


def linked_file(node: h5py.Dataset, path: Path) -> str | None:
    """The other file in which a dataset really is, behind an external link, or None."""
    actual = Path(node.file.filename)
    return None if actual.resolve() == path.resolve() else str(actual)


def runs(frames: np.ndarray) -> list[slice]:
    """Increasing indices as the fewest slices of constant step that a plain scan finds."""
    steps = np.diff(frames)
    if len(frames) > 1 and np.all(steps == steps[0]):
        return [slice(int(frames[0]), int(frames[-1]) + 1, int(steps[0]))]
    starts = np.concatenate([[0], np.flatnonzero(steps != 1) + 1, [len(frames)]])
    return [slice(int(frames[a]), int(frames[b - 1]) + 1) for a, b in itertools.pairwise(starts)]
