"""Files that appear whole or not at all: written beside their place, flushed to disk, then renamed."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tomodiff.errors import ConfigError, DataError

SLACK_BYTES = 1 << 20
"""Room for headers and metadata beside the voxels."""


@contextmanager
def replacing(path: Path, n_bytes: int, *, folder: bool = False) -> Iterator[Path]:
    """A temporary path to write to, in the same directory, that becomes `path` when the block ends well.

    Whatever ends the block otherwise, an interrupt from the keyboard included, leaves what was at `path`
    untouched and removes the temporary one.  `n_bytes` is about how much will be written; with `folder` the
    temporary path is a folder that exists.  Raises ConfigError if the place cannot be written to, DataError
    if the disk is full.
    """
    check_place(path, n_bytes)
    temporary = path.with_name(f".{os.getpid()}.part.{path.name}")  # keeps the suffix, by which libraries go
    try:
        remove(temporary)
        if folder:
            temporary.mkdir()
        yield temporary
        flush(temporary)
        move_over(temporary, path)
    except OSError as error:
        raise explained(error, path) from error
    except RuntimeError as error:  # HDF5 reports some failed writes so, with the system's error number in the text
        number = re.search(r"errno = (\d+)", str(error))
        if number is None:
            raise
        raise explained(OSError(int(number[1]), " ".join(str(error).split())), path) from error
    finally:
        remove(temporary)


def replace_text(path: Path, text: str) -> None:
    """Write a small text file that others read at any time: it appears whole, by one rename.  Errors as `replacing`."""
    temporary = path.with_name(f".{os.getpid()}.part.{path.name}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise explained(error, path) from error


def check_place(path: Path, n_bytes: int) -> None:
    """Raise unless `path` can be created and the disk has room for `n_bytes`."""
    parent = path.parent
    if not parent.is_dir():
        raise ConfigError(f"{path}: expected an existing folder to write to, found no folder {parent}")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ConfigError(f"{path}: expected a folder that can be written to, found {parent} without permission")
    free = shutil.disk_usage(parent).free
    if free < n_bytes + SLACK_BYTES:
        raise DataError(path, "disk space", f"{in_units(n_bytes + SLACK_BYTES)} free", in_units(free))


def explained(error: OSError, path: Path) -> ConfigError | DataError:
    """The error that tells a user why `path` could not be written."""
    said = " ".join(str(error).split())  # HDF5 puts the time of day in a line of its own
    short = "No space left on device" in said or "requested and" in said  # NumPy: "9 requested and 5 written"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or short:
        return DataError(path, "disk space", "room to write", f"a full disk ({said})", "Nothing was written.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ConfigError(f"{path}: expected a place that can be written to, found: {error.strerror}")
    return DataError(path, "writing", "success", said, "Nothing was written.")


def flush(path: Path) -> None:
    """Wait until a file, or every file of a folder, is on the disk."""
    for file in [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]:
        with file.open("rb+") as stream:
            os.fsync(stream.fileno())


def move_over(source: Path, target: Path) -> None:
    """Rename `source` to `target`, in the place of a file or folder that is there."""
    aside = target.with_name(f".{os.getpid()}.old.{target.name}")
    if source.is_dir() and target.is_dir():  # no system call swaps folders portably: move the old one aside first
        target.rename(aside)
        try:
            source.rename(target)
        except BaseException:
            aside.rename(target)
            raise
        shutil.rmtree(aside)
    else:
        os.replace(source, target)
    with suppress(OSError):  # the rename itself; Windows and some network file systems cannot, and need not
        directory = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def remove(path: Path) -> None:
    """Delete a file or a folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def in_units(n_bytes: float) -> str:
    """A size as people write it."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def make_folder(path: Path) -> None:
    """A folder, and those above it, unless it is there.  ConfigError where a file is in the way, DataError for a
    disk that refuses."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(f"{path}: expected a folder, found a file ({error.filename})") from error
    except OSError as error:
        raise explained(error, path) from error
