"""Reading the text of a STAR file into tables, line by line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.cryoem.star import AGAIN, StarFile, StarTable, words

BOM = "\ufeff"


@dataclass
class _Open:
    """A table that is being read; its text from line `start` on."""

    name: str
    start: int
    loop: bool = False
    labels: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    head_end: int = 0
    """One past the line of the last label."""
    end: int = 0
    """One past the last line that belongs to the table."""


def parsed(path: Path, text: str) -> StarFile:
    """The tables of a STAR file's text."""
    lines = text.split("\n")
    tables, warnings = [], []
    done = 0
    ends_open = bool(lines[-1])
    if ends_open:
        lines.append("")
    for found in _scan(path, lines):
        table, said = _table(path, found, lines, done)
        done = found.end
        warnings += said
        tables.append(table)
    if not tables:
        raise DataError(path, "", "a STAR file: a block data_NAME with labels that begin with _", _glimpse(lines))
    return StarFile(tuple(tables), "\n".join(lines[done:]), tuple(warnings), str(path), ends_open)


def _scan(path: Path, lines: list[str]) -> list[_Open]:
    """Tables as they stand; a block with pairs before a loop gives two of the same name."""
    found: list[_Open] = []
    now: _Open | None = None
    for number, line in enumerate(lines):
        if now is not None and now.lines and line and line[0] not in "_#dDlL" and not line.isspace():
            now.lines.append(line)  # the many rows of a table, without a closer look
            now.end = number + 1
            continue
        bare = line.strip().removeprefix(BOM)
        if not bare or bare.startswith("#"):
            if now is not None and now.loop and now.labels and not now.lines and bare:
                now.head_end = now.end = number + 1  # cisTEM names the columns again above the rows
            continue
        parts = bare.split(None, 2)
        keyword = parts[0].lower() if len(parts) == 1 or parts[1].startswith("#") else ""
        if keyword.startswith("data_"):
            now = _Open(parts[0][5:], number)
            found.append(now)
        elif now is None:
            raise DataError(path, f"line {number + 1}", "data_NAME before anything else", repr(bare[:60]))
        elif keyword == "loop_":
            if now.labels:
                now = _Open(now.name, number)
                found.append(now)
            now.loop, now.head_end, now.end = True, number + 1, number + 1
        elif bare.startswith("_") and not (now.lines and len(words(bare)) == len(now.labels)):
            now = _label(path, number, bare, now, found)
        elif now.loop and now.labels:
            now.lines.append(line)
            now.end = number + 1
        else:
            raise DataError(path, f"line {number + 1}", "a label (_name), loop_ or data_", repr(bare[:60]))
    return [table for table in found if table.labels]


def _label(path: Path, number: int, bare: str, now: _Open, found: list[_Open]) -> _Open:
    """Take in a line that begins with a label: of a loop, or with its value."""
    parts = words(bare)
    is_row_of_names = now.loop and now.labels and len(parts) == len(now.labels) > 1 and not parts[1].startswith("#")
    if is_row_of_names:
        now.lines.append(bare)
        now.end = number + 1
        return now
    if now.loop and now.lines:  # pairs after a loop
        now = _Open(now.name, number)
        found.append(now)
    if not now.loop:
        if len(parts) < 2 or parts[1].startswith("#"):
            raise DataError(path, f"line {number + 1}", f"a value for {parts[0]}", "none", "A loop_ may be missing.")
        now.values.append(parts[1])
    now.labels.append(parts[0][1:])
    now.head_end = now.end = number + 1
    return now


def _table(path: Path, found: _Open, lines: list[str], done: int) -> tuple[StarTable, list[str]]:
    """The finished table, with what is doubtful about it."""
    head = "\n".join(lines[done : found.head_end]) + "\n"
    if found.loop:
        _check_rows(path, found, lines)
    comments = "".join(f"{line.rstrip()}\n" for line in lines[done : found.head_end] if line.startswith("#"))
    said = [_same_twice(path, found, n) for n in dict.fromkeys(found.labels) if found.labels.count(n) > 1]
    times: dict[str, int] = {}
    names = []
    for label in found.labels:  # later ones get a name that no one asks for, so that the lines can stay as they are
        times[label] = times.get(label, 0) + 1
        names.append(label if times[label] == 1 else f"{label}{AGAIN}{times[label]}")
    columns = tuple(names)
    table = StarTable(found.name, columns, found.lines, found.loop, head, comments, str(path), shown=columns)
    if not found.loop:
        table.cache.update({name: np.array([value], np.str_) for name, value in zip(names, found.values, strict=True)})
    return table, said


def _check_rows(path: Path, found: _Open, lines: list[str]) -> None:
    """DataError for the first row that has not as many values as there are labels."""
    n = len(found.labels)
    for row, line in enumerate(found.lines):
        count = len(words(line))
        if count != n:
            at = _line_number(found, lines, row)
            last = found.lines[-1] is line
            hint = "The file seems cut short." if count < n and last else "Values with blanks need quotes."
            raise DataError(
                path,
                f"line {at}, row {row + 1} of data_{found.name}",
                f"{n} values, one for each label from {found.labels[0]} to {found.labels[-1]}",
                f"{count}: {line.strip()[:60]!r}",
                hint,
            )


def _line_number(found: _Open, lines: list[str], row: int) -> int:
    """The number of a row's line, counted from 1: rows are in order, with blank lines between them at most."""
    at = found.head_end
    for line in found.lines[: row + 1]:
        while lines[at] is not line and lines[at].strip() != line.strip():
            at += 1
        at += 1
    return at


def _same_twice(path: Path, found: _Open, name: str) -> str:
    """The warning for a label that stands twice over the same values; DataError where they differ."""
    places = [i for i, label in enumerate(found.labels) if label == name]
    for row, values in enumerate(map(words, found.lines) if found.loop else [found.values]):
        first, *others = (values[i] for i in places)
        for place, other in zip(places[1:], others, strict=True):
            if other != first and not _equal_numbers(first, other):
                raise DataError(
                    path,
                    f"data_{found.name}",
                    f"one column {name}",
                    f"two, labels {places[0] + 1} and {place + 1}, that differ in row {row + 1}: {first} and {other}",
                    "Remove or rename one of them.",
                )
    return f"{path}: {name} stands {len(places)} times in data_{found.name} with equal values; the first is used"


def _equal_numbers(a: str, b: str) -> bool:
    try:
        return float(a) == float(b)
    except ValueError:
        return False


def _glimpse(lines: list[str]) -> str:
    first = next((line.strip() for line in lines if line.strip()), "")
    return f"text that begins {first[:40]!r}" if first else "an empty file"
