"""A YAML file as plain values, and the line that each of them stands on.

Scalars follow YAML 1.2 (core schema).  PyYAML's own YAML 1.1 would read `off` as false, `10:20` as the
base-60 number 620 and `1e-3` as a string, each of which is a setting of ours.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

from tomodiff.errors import ConfigError

Key = tuple[Hashable, ...]
"""Where a value is in the tree: ("input", "rows")."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the implicit types of YAML 1.2."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node)))
_Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: _real(loader.construct_scalar(node)))


class _Dumper(yaml.SafeDumper):
    """Writes strings so that YAML 1.1 and 1.2 readers alike get them back as strings."""


def _real(text: str) -> float:
    return float(
        text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf").replace(".nan", "nan").lower()
    )


@dataclass
class Tree:
    """Nested dicts and lists, where each came from ("line 12", "--set a.b"), and keys that stand twice."""

    values: dict[str, Any]
    origins: dict[Key, str] = field(default_factory=dict)
    doubles: list[tuple[Key, str]] = field(default_factory=list)

    def origin(self, key: Key) -> str:
        """Where the value at `key`, or the closest thing around it, was set; "" if nowhere."""
        for n in range(len(key), 0, -1):
            if key[:n] in self.origins:
                return self.origins[key[:n]]
        return ""

    def put(self, dotted: str, value: Any, origin: str) -> None:
        """Set the value at "a.b.c", making the dicts on the way.  Raises ConfigError where one is no dict."""
        *parents, last = dotted.split(".")
        place = self.values
        for n, name in enumerate(parents):
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{origin}: {'.'.join(parents[: n + 1])} is one value, not a group with {last}")
        place[last] = value
        key = tuple(dotted.split("."))
        for old in [k for k in self.origins if k[: len(key)] == key]:
            del self.origins[old]
        self.origins[key] = origin


def read_yaml(path: Path) -> Tree:
    """The settings in a YAML file.  Raises ConfigError where it is not readable YAML, or not a mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: expected a YAML text file, found bytes that are not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"{path}: expected a readable YAML file, found: {error.strerror}") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> Tree:
    """The settings in a YAML text that messages call `name`."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        values = loader.construct_document(node) if node is not None else {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"{name}: {where}not valid YAML: {getattr(error, 'problem', None) or error}") from None
    except ValueError as error:
        raise ConfigError(f"{name}: not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{name}: expected settings as `name: value` lines, found {type(values).__name__}")
    tree = Tree(values)
    if node is not None:
        _trace(node, (), tree)
    return tree


def parse_value(text: str, name: str) -> Any:
    """One value as it would stand in the file.  Raises ConfigError if it is not YAML."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError):
        raise ConfigError(f"{name}: {text!r} is not a YAML value") from None


def write_yaml(values: dict[str, Any]) -> str:
    """Nested plain values as YAML text, in their order."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _trace(node: yaml.Node, key: Key, tree: Tree) -> None:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for name, value in node.value:
            inner = (*key, name.value)
            line = f"line {name.start_mark.line + 1}"
            if inner in seen:
                tree.doubles.append((inner, line))
            seen.add(inner)
            tree.origins[inner] = line
            _trace(value, inner, tree)
    elif isinstance(node, yaml.SequenceNode):
        for n, value in enumerate(node.value):
            tree.origins[(*key, n)] = f"line {value.start_mark.line + 1}"
            _trace(value, (*key, n), tree)
