"""A table of datasets: from each row and the settings that all share to the settings file of one job.

Columns: `name`, the input (its path, under `scan`, `input` or the setting's own name, `input.path`), and any other
setting under its full name; an empty cell leaves it as the shared settings have it.  A column `job` says what kind of
job a row is, where the shared settings do not.  Paths in the table are relative to the table, and lists of them may
hold patterns (`night1/*.tif`).
"""

from __future__ import annotations

import csv
import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tomodiff.errors import ConfigError, DataError
from tomodiff.files.atomic import replace_text
from tomodiff.recipes.config_file import anchor_paths, kind_of_tree, value_at
from tomodiff.recipes.job import settings_class
from tomodiff.recipes.section import Job
from tomodiff.recipes.yaml_tree import Tree, parse_value, read_yaml, write_yaml

NAME = "name"
INPUT = ("scan", "input")
"""Short names of the column of input paths."""
FORBIDDEN = frozenset("/.\\\"'")
"""In names, which become those of folders."""


@dataclass(frozen=True)
class Row:
    """One dataset: its name, the line of the table, and the settings that it has of its own, as text."""

    name: str
    line: int
    settings: dict[str, str]


def read_table(path: Path) -> list[Row]:
    """The rows of a table of comma-separated values.  DataError for a table that is none, ConfigError for its rows."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = list(csv.DictReader(stream, skipinitialspace=True, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(path, "", "a table of comma-separated values", str(error)) from error
    rows: list[Row] = []
    for number, line in enumerate(lines, start=2):
        if None in line:
            raise ConfigError(f"{path}, line {number}: expected as many cells as the first line has, found more")
        cells = {_setting(key.strip()): (value or "").strip() for key, value in line.items()}
        if not any(cells.values()):
            continue
        name = cells.pop(NAME, "")
        if not name or name in {row.name for row in rows} or set(name) & FORBIDDEN:
            raise ConfigError(f"{path}, line {number}: expected a new name without '/' and '.', found {name!r}")
        rows.append(Row(name, number, {key: value for key, value in cells.items() if key and value}))
    if not rows:
        raise ConfigError(f"{path}: expected at least one dataset, found none")
    for row in rows:
        if not any(key.startswith("input.") for key in row.settings):
            raise ConfigError(f"{path}, line {row.line}: expected an input (scan, input or input.path), found none")
    return rows


def settings_text(row: Row, table: Path, shared: Path | None, run: Path) -> str:
    """The settings file of one row, with absolute paths; all that its job makes goes to the run directory `run`.

    Only paths are looked at, so that a row with a mistake fails as a job of its own.  ConfigError where the shared
    settings cannot be read.
    """
    tree = read_yaml(shared) if shared is not None else Tree({})
    kind = row.settings.get("job") or kind_of_tree(tree)
    model = settings_class(kind_of_tree(Tree({"job": kind})))
    if shared is not None:
        anchor_paths(tree, shared.resolve().parent, settings_class(kind_of_tree(tree)))
    if kind != kind_of_tree(tree):  # groups that only the other kind has say nothing about this one
        tree = Tree({name: group for name, group in tree.values.items() if name in model.model_fields})
    own, where = Tree({}), f"{table}, line {row.line}"
    for key, text in row.settings.items():
        own.put(key, _value(text, key, table.parent, model), where)
    anchor_paths(own, table.resolve().parent, model)
    for key in row.settings:
        tree.put(key, value_at(own.values, key), where)
    tree.put("job", kind, where)
    tree.put("output.path", str(run.absolute()), where)
    tree.put("output.overwrite", True, where)
    return write_yaml(tree.values)


def write_if_changed(path: Path, text: str) -> None:
    """Write a file that other files are made from, unless it holds this text already."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, text)


def input_files(text: str) -> list[str]:
    """The input files that a settings file names; those that exist."""
    tree = parse_value(text, "settings")
    model = settings_class(kind_of_tree(Tree(tree)))
    named: list[Any] = [tree.get(group, {}).get(name) for group, name in model.PATHS if group == "input"]
    for group, name in model.PATH_LISTS:
        named += tree.get(group, {}).get(name) or [] if group == "input" else []
    return [str(path) for path in named if isinstance(path, str) and Path(path).is_file()]


def _setting(column: str) -> str:
    return "input.path" if column.lower() in INPUT else column


def _value(text: str, key: str, folder: Path, model: type[Job]) -> Any:
    """A cell as a setting: a path as it stands, a list of paths with patterns replaced by what there is, else YAML."""
    place = tuple(key.split(".", 1))
    if place in model.PATHS:
        return text
    if place in model.PATH_LISTS:
        parts = [part.strip() for part in text.replace(";", ",").split(",")]
        return [path for part in parts for path in sorted(glob.glob(part, root_dir=folder)) or [part]]
    try:
        return parse_value(text, key)
    except ConfigError:  # text that is no YAML: the job itself says what is wrong with it
        return text
