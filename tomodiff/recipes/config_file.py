"""From a YAML file and overrides to settings, with everything that is wrong in one message.

Relative paths in a file are relative to the folder of that file; on the command line, to the working directory.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from tomodiff.errors import ConfigError
from tomodiff.recipes.job import KINDS, settings_class
from tomodiff.recipes.section import Job, Section
from tomodiff.recipes.yaml_tree import Key, Tree, parse_value, read_yaml

NUMBERS = re.compile(r"[-+.\deE\s]*(:[-+.\deE\s]*){1,2}")
"""A range such as 0:180:181, in a place where there may also be a path."""


S = TypeVar("S", bound=Section)


def load_settings(path: Path, overrides: Mapping[str, tuple[Any, str]] | None = None) -> Job:
    """The settings in a YAML file, with `overrides`: dotted name -> (value, what to call it in a message).

    Raises ConfigError that lists every mistake.
    """
    tree = read_yaml(path)
    model = settings_class(kind_of_tree(tree, overrides))
    _default_output(tree, model)
    anchor_paths(tree, path.resolve().parent, model)
    return _finish(tree, overrides or {}, str(path), model)


def settings_from(overrides: Mapping[str, tuple[Any, str]]) -> Any:
    """The settings that a command line alone describes; of the kind "job" among them, or of a CT job."""
    tree = Tree({})
    model = settings_class(kind_of_tree(tree, overrides))
    _default_output(tree, model)
    anchor_paths(tree, Path.cwd(), model)
    return _finish(tree, overrides, "", model)


def kind_of(path: Path, overrides: Mapping[str, tuple[Any, str]] | None = None) -> str:
    """The kind of job that a YAML file describes."""
    return kind_of_tree(read_yaml(path), overrides)


def kind_of_tree(tree: Tree, overrides: Mapping[str, tuple[Any, str]] | None = None) -> str:
    """The kind of the job; where it is none, which validation then says, the nearest, or "ct"."""
    kind = overrides["job"][0] if overrides and "job" in overrides else tree.values.get("job", "ct")
    if isinstance(kind, str) and kind in KINDS:
        return kind
    return next(iter(difflib.get_close_matches(str(kind).lower(), list(KINDS), 1, 0.6)), "ct")


def set_overrides(assignments: list[str]) -> dict[str, tuple[Any, str]]:
    """`a.b=value` texts as overrides; the value is read as YAML.  Raises ConfigError where one has no `=`."""
    found = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"--set {text}: expected name=value, such as reconstruction.iterations=50")
        name = name.strip()
        found[name] = (parse_value(value, f"--set {name}"), f"--set {name}")
    return found


def _finish(tree: Tree, overrides: Mapping[str, tuple[Any, str]], name: str, model: type[Job]) -> Any:
    wrong = []
    for dotted, (value, origin) in overrides.items():
        anchored = Tree({})
        try:
            anchored.put(dotted, value, origin)
            anchor_paths(anchored, Path.cwd(), model)
            tree.put(dotted, value_at(anchored.values, dotted), origin)
        except ConfigError as error:
            wrong.append(str(error))
    return _validated(tree, name, model, wrong)


def _validated(tree: Tree, name: str, model: type[S], wrong: Sequence[str] = ()) -> S:
    """The settings of a tree.  ConfigError that lists every mistake, beside those that were found before."""
    wrong = [*(f"{line}: {_dotted(key)}: stands twice" for key, line in tree.doubles), *wrong]
    try:
        settings = model.model_validate(tree.values)
    except ValidationError as error:
        wrong += explain(error, tree, model)
    if wrong:
        count = "1 mistake" if len(wrong) == 1 else f"{len(wrong)} mistakes"
        lines = "\n".join(f"  {line}" for line in wrong)
        raise ConfigError(f"{name or 'settings'}: {count}\n{lines}")
    return settings


def settings_in(path: Path, model: type[S]) -> S:
    """The settings of a section by itself in a YAML file.  ConfigError that lists every mistake."""
    return _validated(read_yaml(path), str(path), model)


def explain(error: ValidationError, tree: Tree, job: type[Section]) -> list[str]:
    """One line per mistake, in the order of the file: where, which field, what is wrong, the nearest valid name."""
    found = []
    for detail in error.errors(include_url=False):
        key = tuple(detail["loc"])
        said = _message(job, detail["type"], detail["msg"], detail.get("ctx", {}), key, detail["input"])
        text = f"{_dotted(key)}: {said}"
        where = tree.origin(key)
        found.append((_order(where), f"{where}: {text}" if where else text))
    return list(dict.fromkeys(text for _, text in sorted(found, key=lambda item: item[0])))


def _message(job: type[Section], kind: str, message: str, ctx: Mapping[str, Any], key: Key, value: Any) -> str:
    if kind == "extra_forbidden":
        siblings = names_in(job, key[:-1])
        return f"unknown setting{_nearest(job, str(key[-1]), siblings, key)}"
    if kind == "missing":
        return "missing, and needed"
    if kind == "literal_error":
        choices = list(KINDS) if key == ("job",) else [str(c) for c in _choices(job, key)]
        listed = f"{', '.join(choices[:-1])} or {choices[-1]}" if len(choices) > 1 else "".join(choices)
        return f"expected {listed}, got {value!r}{_did_you_mean(str(value), choices)}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"expected a group of settings ({', '.join(names_in(job, key))}), got {value!r}"
    if kind == "string_type":
        return f"expected text, got {value!r}"
    return message


def _nearest(job: type[Section], name: str, siblings: list[str], key: Key) -> str:
    close = _did_you_mean(name, siblings)
    if close:
        return close
    for section, field in job.model_fields.items():  # the right name at the wrong place
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel) and (section,) != key[:-1]:
            match = difflib.get_close_matches(name, list(kind.model_fields), 1, 0.8)
            if match:
                return f"; did you mean {section}.{match[0]}?"
    return f"; known here: {', '.join(siblings)}" if siblings else ""


def _did_you_mean(name: str, known: list[str]) -> str:
    match = difflib.get_close_matches(name.lower(), known, 1, 0.6)
    return f"; did you mean {match[0]}?" if match else ""


def names_in(job: type[Section], key: Key) -> list[str]:
    """The names that the section at `key` knows; none if there is no such section."""
    model = _model(job, key)
    return list(model.model_fields) if model else []


def _model(job: type[Section], key: Key) -> type[BaseModel] | None:
    model: type[BaseModel] = job
    for name in key:
        field = model.model_fields.get(str(name))
        kind = field.annotation if field else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return None
        model = kind
    return model


def _choices(job: type[Section], key: Key) -> list[Any]:
    model = _model(job, key[:-1])
    annotation = model.model_fields[str(key[-1])].annotation if model else None
    found: list[Any] = []
    for part in (annotation, *get_args(annotation)):
        found += [c for c in get_args(part) if isinstance(c, str)]
    return list(dict.fromkeys(found))


def _default_output(tree: Tree, model: type[Job]) -> None:
    """Name the default output, so that it is anchored like any other path."""
    group = tree.values.setdefault("output", {})
    if isinstance(group, dict):
        output: Any = model.model_fields["output"].annotation
        group.setdefault("path", str(output.model_fields["path"].default))


def anchor_paths(tree: Tree, folder: Path, model: type[Job]) -> None:
    """Make the relative paths in `tree` absolute, as seen from `folder`."""
    for section, name in (*model.PATHS, *model.PATH_LISTS):
        group = tree.values.get(section)
        text = group.get(name) if isinstance(group, dict) else None
        if isinstance(text, str) and (section, name) in model.PATH_LISTS:
            text = [part.strip() for part in text.split(",")]
        if isinstance(group, dict) and isinstance(text, list):
            group[name] = [_anchored(part, folder, model) for part in text]
        elif isinstance(group, dict) and text is not None:
            group[name] = _anchored(text, folder, model)


def _anchored(text: Any, folder: Path, model: type[Job]) -> Any:
    """A path as seen from `folder`; anything else as it is."""
    if not isinstance(text, str | Path) or not str(text) or str(text) in model.NO_PATHS:
        return text
    if NUMBERS.fullmatch(str(text)):
        return text
    path = Path(text).expanduser()
    return str(path if path.is_absolute() else folder / path)


def value_at(values: Mapping[str, Any], dotted: str) -> Any:
    """The value at "a.b.c" of nested mappings."""
    for name in dotted.split("."):
        values = values[name]
    return values


def _dotted(key: Key) -> str:
    return ".".join(str(part) for part in key)


def _order(where: str) -> tuple[int, int]:
    return (0, int(where.removeprefix("line "))) if where.startswith("line ") else (1, 0)
