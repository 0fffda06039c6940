"""STAR files as cryo-EM programs write them: tables whose text is kept exactly as it stands.

The grammar is the part of STAR (Hall 1991, J. Chem. Inf. Comput. Sci. 31, 326) that RELION, cisTEM, Warp and their
converters use: blocks `data_NAME`, in them `loop_` tables of one row to a line, or pairs `_label value`; comments begin
with #; values with blanks are in quotes.  Labels lose their underscore: `rlnAngleRot`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.atomic import replacing

WORD = re.compile(r"\"(?:[^\"]|\"(?=\S))*\"(?=\s|$)|'(?:[^']|'(?=\S))*'(?=\s|$)|\S+")
"""A value: in quotes (which end before a blank only), or without blanks."""
NEEDS_QUOTES = re.compile(r"^$|^[\"'#]|\s")
AGAIN = " again "
"""What a label that stands more than once gets, with a number, after its first time."""


@dataclass(frozen=True, eq=False)
class StarTable:
    """One table: `table["rlnAngleRot"]` is a column of text, `table[indices]` are some of its rows.

    columns: labels in the order of the file.  Values, tables with other rows or columns are made from it (`replaced`,
    `without`, `[indices]`); unchanged rows are written as the line they were read as.
    """

    name: str
    columns: tuple[str, ...]
    lines: tuple[str, ...] | list[str] | np.ndarray = ()
    """Each row as it stands in the file."""
    loop: bool = True
    """Whether the table is a loop, or pairs of label and value (one row)."""
    head: str | None = None
    """The text from after the last table to the last label of this one; None where it is to be made up."""
    comments: str = ""
    """Lines before the table, each with its end, that a head which is made up begins with."""
    path: str = "table"
    edits: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Columns of text that take the place of what is in `lines`, or are not there."""
    shown: tuple[str, ...] = ()
    """What the words of a line are: the columns as read."""
    cache: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        if not self.loop:
            return 1
        return len(self.lines) if len(self.lines) or not self.edits else len(next(iter(self.edits.values())))

    def __contains__(self, column: object) -> bool:
        return column in self.columns

    @overload
    def __getitem__(self, key: str) -> np.ndarray: ...
    @overload
    def __getitem__(self, key: slice | np.ndarray | Sequence[int]) -> StarTable: ...
    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            self.load([key])
            return self.edits[key] if key in self.edits else self.cache[key]
        index = np.arange(len(self))[key]
        lines = np.asarray(self.lines, object)[index] if len(self.lines) else ()
        edits = {name: column[index] for name, column in self.edits.items()}
        cache = {name: column[index] for name, column in self.cache.items()}
        return replace(self, lines=lines, edits=edits, cache=cache)

    def load(self, columns: Sequence[str]) -> None:
        """Split the lines once for several columns.  DataError for one that is not there."""
        missing = [column for column in columns if column not in self.columns]
        if missing:
            known = " ".join(self.columns[:40])
            raise DataError(self.path, f"data_{self.name}", f"a column {missing[0]}", f"the columns {known}")
        wanted = [c for c in dict.fromkeys(columns) if c not in self.edits and c not in self.cache]
        if not wanted:
            return
        places = [self.shown.index(column) for column in wanted]
        found: list[list[str]] = [[] for _ in wanted]
        for line in self.lines:
            values = words(line)
            for column, place in zip(found, places, strict=True):
                column.append(values[place])
        self.cache.update(zip(wanted, (np.array(column, dtype=np.str_) for column in found), strict=True))

    def floats(self, column: str) -> np.ndarray:
        """(n,) a column as finite numbers.  DataError names the first row that is none."""
        text = self[column]
        try:
            values = text.astype(np.float64)
        except ValueError:
            values = np.array([_number(word) for word in text])
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            where = f"{column}, row {bad[0] + 1} of data_{self.name}"
            raise DataError(self.path, where, "a finite number", repr(str(text[bad[0]])))
        return np.asarray(values, np.float64)

    def ints(self, column: str) -> np.ndarray:
        """(n,) a column as whole numbers, 3 and 3.000000 alike."""
        values = self.floats(column)
        bad = np.flatnonzero(values != np.round(values))
        if bad.size:
            where = f"{column}, row {bad[0] + 1} of data_{self.name}"
            raise DataError(self.path, where, "a whole number", repr(str(self[column][bad[0]])))
        return values.astype(np.int64)

    @property
    def rows(self) -> list[list[str]]:
        """All values, row by row."""
        self.load(self.columns)
        return [list(row) for row in zip(*(self[c].tolist() for c in self.columns), strict=True)]

    def replaced(self, columns: Mapping[str, Any]) -> StarTable:
        """The table with these columns of text in the place of, or after, those that are there."""
        edits = dict(self.edits)
        for name, values in columns.items():
            text = np.atleast_1d(np.asarray(values, np.str_))
            if text.shape != (len(self),) and (self.columns or len(self)):
                raise ValueError(f"columns[{name!r}]: expected {len(self)} values, got shape {text.shape}")
            edits[name] = text
        added = tuple(name for name in columns if name not in self.columns)
        return replace(self, columns=self.columns + added, edits=edits, head=None if added else self.head)

    def without(self, columns: Sequence[str]) -> StarTable:
        """The table without some of its columns."""
        kept = tuple(c for c in self.columns if c not in columns)
        edits = {name: column for name, column in self.edits.items() if name in kept}
        return replace(self, columns=kept, edits=edits, head=self.head if kept == self.columns else None)

    def text(self) -> str:
        """The table as it is written: unchanged rows exactly as they were read."""
        if not self.loop and self.head is not None and not self.edits:
            return self.head
        head = self.head if self.head is not None and self.loop else self._made_up_head()
        if not self.loop:
            names = [c.split(AGAIN)[0] for c in self.columns]
            values = [_quoted(str(self[c][0])) for c in self.columns]
            width = max(len(c) for c in names) + 2
            return head + "".join(f"_{c:<{width}} {v}\n" for c, v in zip(names, values, strict=True))
        return head + "".join(f"{line}\n" for line in self._body())

    def _made_up_head(self) -> str:
        names = [c.split(AGAIN)[0] for c in self.columns]
        labels = [f"_{c} #{i}" for i, c in enumerate(names, 1)] if self.loop else []
        return self.comments + "\n".join(["", f"data_{self.name}", "", *(["loop_"] if self.loop else []), *labels, ""])

    def _body(self) -> list[str]:
        if self.columns == self.shown and not self.edits:
            return list(self.lines)
        if self.columns[: len(self.shown)] == self.shown and len(self.lines):
            return self._edited_lines()
        self.load(self.columns)
        columns = [[_quoted(v).rjust(12) for v in self[c].tolist()] for c in self.columns]
        return [" ".join(row) + " " for row in zip(*columns, strict=True)]

    def _edited_lines(self) -> list[str]:
        """The lines as read but for the rows in which a value differs from what was read, and columns put after."""
        added = [[_quoted(v).rjust(12) for v in self[c].tolist()] for c in self.columns[len(self.shown) :]]
        old = [(n, c) for n, c in self.edits.items() if n in self.shown]
        edits = [(self.shown.index(name), column.tolist()) for name, column in old]
        out = []
        for i, line in enumerate(self.lines):
            values = words(line)
            changed = [(place, column[i]) for place, column in edits if values[place] != column[i]]
            for place, value in changed:
                values[place] = value
            text = " ".join(_quoted(v).rjust(12) for v in values) + " " if changed else line
            out.append(" ".join([text.rstrip(), *(column[i] for column in added)]) + " " if added else text)
        return out


def star_table(name: str, columns: Mapping[str, Any], loop: bool = True) -> StarTable:
    """A table from columns of equal length; numbers are written as `number_text` does."""
    texts = {label: number_text(values) for label, values in columns.items()}
    lengths = {len(text) for text in texts.values()}
    if len(lengths) > 1:
        raise ValueError(f"columns: expected columns of one length, got lengths {sorted(lengths)}")
    return StarTable(name, tuple(texts), loop=loop, edits=texts)


@dataclass(frozen=True, eq=False)
class StarFile:
    """The tables of a file in their order, and what is written after the last."""

    tables: tuple[StarTable, ...]
    tail: str = ""
    warnings: tuple[str, ...] = ()
    path: str = "STAR"
    ends_open: bool = False
    """Whether the last line has no end."""

    def __getitem__(self, name: str) -> StarTable:
        """The table of that name.  DataError lists those that are there."""
        for table in self.tables:
            if table.name == name:
                return table
        names = ", ".join(f"data_{t.name}" for t in self.tables)
        raise DataError(self.path, "", f"a table data_{name}", f"{names or 'no table'}")

    def __contains__(self, name: object) -> bool:
        return any(table.name == name for table in self.tables)

    def with_table(self, number: int, table: StarTable) -> StarFile:
        """The file with its table `number` replaced."""
        return replace(self, tables=(*self.tables[:number], table, *self.tables[number + 1 :]))

    def text(self) -> str:
        """The whole file."""
        text = "".join(table.text() for table in self.tables) + self.tail
        return text.removesuffix("\n") if self.ends_open else text


def number_text(values: Any) -> np.ndarray:
    """Columns of text: floats with 6 decimals (7 digits where they are tiny or huge), as RELION writes them."""
    array = np.atleast_1d(np.asarray(values))
    if array.dtype.kind in "US":
        return array.astype(np.str_)
    if array.dtype.kind in "iub":
        return array.astype(np.int64).astype(np.str_)
    text = [f"{v:.6e}" if 0 < abs(v) < 1e-3 or abs(v) >= 1e9 else f"{v:.6f}" for v in array.tolist()]
    return np.array(text, dtype=np.str_)


def precise_text(values: Any) -> np.ndarray:
    """Like `number_text`, but with as many digits as tell the number exactly where six decimals do not."""
    text = number_text(values).tolist()
    numbers = np.atleast_1d(np.asarray(values, np.float64)).tolist()
    return np.array([t if float(t) == v else repr(v) for t, v in zip(text, numbers, strict=True)], dtype=np.str_)


def words(line: str) -> list[str]:
    """The values of a line, quotes taken off."""
    if '"' not in line and "'" not in line:
        return line.split()
    return [w[1:-1] if len(w) > 1 and w[0] == w[-1] and w[0] in "'\"" else w for w in WORD.findall(line)]


def write_star_file(path: Path | str, file: StarFile) -> None:
    """Write a STAR file, whole or not at all."""
    data = file.text().encode("utf-8", "surrogateescape")
    with replacing(Path(path), len(data)) as temporary:
        temporary.write_bytes(data)


def read_star_file(path: Path | str) -> StarFile:
    """All tables of a STAR file.

    DataError for what is no STAR file, for rows that are cut short (with the line), and for a label that stands twice
    over different values; over equal values it is a warning.
    """
    from tomodiff.files.cryoem.star_parser import parsed

    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(path, "", "a readable file", error.strerror or str(error)) from error
    if b"\0" in data[:4096]:
        raise DataError(path, "", "a STAR file (text with data_ blocks)", "a binary file")
    return parsed(path, data.decode("utf-8", "surrogateescape"))


def _quoted(value: str) -> str:
    """A value as it can stand in a line."""
    if not NEEDS_QUOTES.search(value):
        return value
    return f"'{value}'" if "'" not in value else f'"{value}"'


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return float("nan")
