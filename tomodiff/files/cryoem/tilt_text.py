"""Lines of numbers and lists of views, as the alignment programs of electron tomography write them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.cryoem.mrc import read_header


def text_of(path: Path) -> str:
    """The text of a file.  DataError if it cannot be read or is not text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(path, "", "a readable file", error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise DataError(path, "", "a text file", "bytes that are not text") from error


def number_rows(path: Path, columns: int, what: str) -> np.ndarray:
    """The table (n, columns) of a file with so many numbers in each line; blank lines do not count."""
    rows = []
    for n, line in enumerate(text_of(path).splitlines(), 1):
        words = line.split()
        if words:
            rows.append(numbers(path, n, words, columns, what))
    if not rows:
        raise DataError(path, "", what, "no lines")
    return np.array(rows)


def numbers(path: Path, line: int, words: list[str], count: int, what: str) -> list[float]:
    """The words of a line as `count` finite numbers."""
    if len(words) != count:
        raise DataError(
            path, f"line {line}", f"{count} number{'s' * (count > 1)} ({what})", f"{len(words)}: {' '.join(words)!r}"
        )
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = [np.nan]
    if not np.isfinite(values).all():
        raise DataError(path, f"line {line}", f"finite numbers ({what})", repr(" ".join(words)))
    return values


def view_list(path: Path, line: int, text: str, n_views: int | None = None) -> list[int]:
    """The views of a list such as "1,3-5, 40" as counted in the file (from 1), sorted, each once.

    Numbers and ranges, both ends included, separated by commas or spaces (IMOD, `parselist`).
    """
    found: set[int] = set()
    for part in re.sub(r"\s*-\s*", "-", text.strip()).replace(",", " ").split():
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if match is None:
            raise DataError(path, f"line {line}", "views such as 1,3-5", repr(part))
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise DataError(path, f"line {line}", "a range of views that rises", repr(part))
        if first < 1 or (n_views is not None and last > n_views):
            raise DataError(path, f"line {line}", f"views from 1 to {n_views or 'n'}", repr(part))
        found.update(range(first, last + 1))
    return sorted(found)


def stack_shape(path: Path) -> tuple[int, int, int]:
    """Sections, rows and columns that the header of an MRC stack tells, without reading the data."""
    return read_header(path).shape
