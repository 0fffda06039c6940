"""What a result was made from: checksums of the files that were read."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tomodiff.errors import DataError

READ_BYTES = 4 << 20


def checksum(path: str | Path) -> str:
    """The SHA-256 of a file, or of a folder: over the sorted relative names and contents of the files in it.

    Hidden files (a leading dot) of a folder are left out.  Raises DataError where something cannot be read.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _of_folder(path)
        return _of_file(path).hexdigest()
    except OSError as error:
        raise DataError(path, "checksum", "a readable file or folder", error.strerror or str(error)) from error


def _of_file(path: Path) -> hashlib._Hash:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(READ_BYTES):
            digest.update(block)
    return digest


def _of_folder(folder: Path) -> str:
    digest = hashlib.sha256()
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    for name in names:
        if any(part.startswith(".") for part in name.split("/")):
            continue
        digest.update(name.encode() + b"\0" + _of_file(folder / name).digest())
    return digest.hexdigest()
