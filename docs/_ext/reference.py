"""The reference: commands from Typer, settings from their models, Python from signatures and docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

PARTS = {
    "tomodiff": "The names that scripts need most",
    "tomodiff.core": "Operators, functionals and their checks",
    "tomodiff.geometry": "Scans, grids and frames",
    "tomodiff.geometry.cameras": "Cameras of planetary images",
    "tomodiff.projectors": "Projectors",
    "tomodiff.analytic": "Inverses in closed form",
    "tomodiff.objective": "Data terms, penalties and constraints",
    "tomodiff.solvers": "Solvers",
    "tomodiff.prepare": "Corrections of raw data",
    "tomodiff.files": "Files in and out",
    "tomodiff.files.cryoem": "Files of cryo-EM",
    "tomodiff.files.kspace": "Files of MRI",
    "tomodiff.files.planetary": "Files of planetary imaging",
    "tomodiff.interop": "Bridges to PyTorch, JAX, SciPy and PyLops",
    "tomodiff.simulate": "Simulators",
    "tomodiff.ranks": "Several processes",
}
"""Module -> what it holds: the pages of the Python interface."""


def pages() -> dict[str, str]:
    """Name below docs/generated -> Markdown."""
    found = {f"api/{module}.md": _api_page(module, title) for module, title in PARTS.items()}
    listed = "\n".join(f"api/{module}" for module in PARTS)
    found["api.md"] = (
        "# Python\n\nThe public names, from their signatures and docstrings. What may change and what may not: "
        f"[stability](../stability.md).\n\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n"
    )
    return {**found, "commands.md": _commands(), "settings.md": _settings()}


def _commands() -> str:
    import click
    import typer
    from typer.cli import get_docs_for_click

    from tomodiff.cli.main import app

    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=click.Context(command, info_name="tomodiff"), name="tomodiff")
    text = re.sub(r"^(#+) `([^`]+)`$", r"\1 \2", text, flags=re.MULTILINE)
    # One level of headings for all commands, below the page's own.
    text = re.sub(r"^#{2,6} ", "## ", text, flags=re.MULTILINE)
    return text.replace("# tomodiff\n", "# Commands\n", 1).replace("```console", "```text")


def _settings() -> str:
    from tomodiff.cli.template import template
    from tomodiff.recipes.job import KINDS

    head = (
        "# Settings\n\nOf each kind of job all settings with their defaults, as `tomodiff init KIND` prints them. A "
        "file of them is run by `tomodiff run FILE`; a command takes any of them as `--set section.name=value`.\n"
    )
    return head + "".join(f"\n## {kind}\n\n```yaml\n{template(kind).rstrip()}\n```\n" for kind in KINDS)


def _api_page(name: str, title: str) -> str:
    module = import_module(name)
    parts = [f"# {name}\n\n{title}.\n"]
    names = [one for one in module.__all__ if not one.startswith("__")]
    if name == "tomodiff":
        parts.append("\n| name | is |\n|---|---|\n")
        for one in names:
            value = getattr(module, one)
            home = value.__module__ if not _part_of(one) else _part_of(one)
            parts.append(f"| [`{one}`](api/{home}.md) | {_first_line(value)} |\n".replace("](api/", "](./"))
        return "".join(parts)
    about = inspect.getdoc(module) or ""
    parts.append(f"\n{_markdown(about, ())}\n\n```{{py:currentmodule}} {name}\n```\n")
    for one in sorted(names, key=str.lower):
        parts.append(_entry(module, one))
    return "".join(parts)


def _part_of(name: str) -> str:
    """The page that documents a name of the top level."""
    return next(
        (part for part in PARTS if part != "tomodiff" and name in getattr(import_module(part), "__all__", ())), ""
    )


def _entry(module: ModuleType, name: str) -> str:
    value = getattr(module, name)
    if inspect.isclass(value):
        members = "".join(_member(key, member) for key, member in _public(value))
        return _directive("class", name + _signature(value), _doc(value), members)
    if callable(value) and hasattr(value, "__name__"):
        return _directive("function", name + _signature(value), _doc(value))
    return _directive("data", name, "" if isinstance(value, ModuleType) else f"A {type(value).__name__}.")


def _public(kind: type) -> Iterator[tuple[str, Any]]:
    for key, member in vars(kind).items():
        if not key.startswith("_") and (
            inspect.isfunction(member) or isinstance(member, property | classmethod | staticmethod)
        ):
            yield key, member


def _member(key: str, member: Any) -> str:
    if isinstance(member, property):
        text = inspect.getdoc(member.fget) or ""
        return _directive("property", key, _markdown(text, ()), colons=4) if text else ""
    function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
    text = inspect.getdoc(function) or ""
    if not text:
        return ""
    return _directive(
        "method", key + _signature(function, own=not isinstance(member, staticmethod)), _doc(function), colons=4
    )


def _directive(kind: str, head: str, text: str, inner: str = "", colons: int = 5) -> str:
    fence = ":" * colons
    return f"\n{fence}{{py:{kind}}} {head}\n\n{text}\n{inner}{fence}\n"


def _signature(value: Any, own: bool = False) -> str:
    """As written, annotations without the names of modules; without `self` and `cls`."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return "()"
    parameters = list(signature.parameters.values())[1 if own else 0 :]
    text = str(signature.replace(parameters=parameters))
    text = re.sub(r"<(?:function|class|object|[\w.]+) ?'?([\w.]*)[^>]*>", r"\1", text).replace("'", "")
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text)


def _doc(value: Any) -> str:
    try:
        names = tuple(inspect.signature(value).parameters)
    except (TypeError, ValueError):
        names = ()
    return _markdown(inspect.getdoc(value) or "", names)


def _markdown(text: str, names: tuple[str, ...]) -> str:
    """A docstring as Markdown: lines that start with parameters and a colon are a list."""
    lines: list[str] = []
    for line in text.splitlines():
        start = re.match(r"(\w+(?:, \w+)*): ", line)
        if start and set(start.group(1).split(", ")) <= set(names):
            line = f"\n* **{start.group(1)}**: {_escaped(line[start.end() :])}"
        elif lines and lines[-1].lstrip().startswith("* **") and line.strip():
            line = f"  {_escaped(line)}"
        else:
            line = _escaped(line)
        lines.append(line)
    return "\n".join(lines)


def _escaped(line: str) -> str:
    """With signs of formulas, outside of code, that Markdown would read as markup."""
    parts = line.split("`")
    return "`".join(re.sub(r"([*_<>\[\]$|])", r"\\\1", part) if i % 2 == 0 else part for i, part in enumerate(parts))


def _first_line(value: Any) -> str:
    return _escaped((inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")).strip()
