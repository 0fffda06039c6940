"""Files of parts: reading them, and writing and showing what was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomodiff.cli.console import tell

if TYPE_CHECKING:
    from tomodiff.recipes.parts import Part

VECTORS = {"half": "half_mm", "place": "place_mm", "turn": "turn_deg", "colour": "colour"}
"""Fields of a part that are three numbers, and their names in a file, which may do without the unit."""


def read_parts(path: Path, seen: Sequence[str], density: bool = True) -> list[Part]:
    """The parts of a file, of which the groups that are seen are free unless it says what is; density: it must say it.
    ConfigError that names the part and the field."""
    from tomodiff.errors import ConfigError
    from tomodiff.recipes.yaml_tree import read_yaml

    listed = read_yaml(path).values.get("parts")
    if not isinstance(listed, list) or not listed:
        raise ConfigError(f"{path}: parts: expected a list of parts, got {listed!r}")
    return [_part(f"{path}: parts[{number}]", one, seen, density) for number, one in enumerate(listed)]


def _part(where: str, given: Any, seen: Sequence[str], needs_density: bool) -> Part:
    import numpy as np

    from tomodiff.errors import ConfigError
    from tomodiff.recipes.parts import Part

    needed = ("name", "kind", "half_mm", *(["density"] if needs_density else []))
    known = ("name", "kind", "density", "parent", "free", *VECTORS.values())
    one = {VECTORS.get(k, k): value for k, value in given.items()} if isinstance(given, dict) else {}
    if set(one) - set(known) or not set(needed) <= set(one):
        raise ConfigError(f"{where}: expected {', '.join(needed)}, and of {', '.join(known)}, got {given!r}")
    vectors: dict[str, Any] = {}
    for name, default in (("half", None), ("place", [0, 0, 0]), ("turn", [0, 0, 0]), ("colour", [0.5, 0.5, 0.5])):
        value = one.get(VECTORS[name], default)
        try:
            vectors[name] = np.array(value, np.float64)
        except (TypeError, ValueError):
            vectors[name] = np.zeros(0)
        if vectors[name].shape != (3,) or not np.isfinite(vectors[name]).all():
            raise ConfigError(f"{where}.{VECTORS[name]}: expected three numbers, got {value!r}")
    density = one.get("density", 1.0)
    if isinstance(density, bool) or not isinstance(density, int | float) or not np.isfinite(density):
        raise ConfigError(f"{where}.density: expected a number in 1/mm, got {density!r}")
    free = one.get("free", list(seen))
    if not isinstance(free, list) or not all(isinstance(word, str) for word in free):
        raise ConfigError(f"{where}.free: expected a list of names, got {free!r}")
    red, green, blue = map(float, vectors["colour"])
    return Part(
        str(one["name"]), str(one["kind"]), vectors["half"], vectors["place"], vectors["turn"], float(density),
        one.get("parent"), tuple(free), (red, green, blue),
    )  # fmt: skip


def plain(part: Part) -> dict[str, Any]:
    """A part as a file has it."""
    return {
        "name": part.name, "kind": part.kind, "half_mm": part.half.tolist(), "place_mm": part.place.tolist(),
        "turn_deg": part.turn.tolist(), "density": part.density, "colour": [*map(float, part.colour)],
        "parent": part.parent, "free": list(part.free),
    }  # fmt: skip


def show_parts(parts: Sequence[Part], deviations: dict[str, float], units: dict[str, str]) -> None:
    """Print the values of the groups that have units, with the deviations of what was sought."""
    for part in parts:
        tell({f"  {group}": _shown(part, group, deviations, unit) for group, unit in units.items()}, part.name)


def _shown(part: Part, group: str, deviations: dict[str, float], unit: str) -> str:
    from tomodiff.recipes.parts import GROUPS

    axes = GROUPS[group]
    values = getattr(part, group) if axes else [getattr(part, group)]
    known = [deviations.get(f"{part.name}.{group}_{axis}".rstrip("_")) for axis in axes or ("",)]
    listed = [f"{v:.5g}" + ("" if d is None else f" ({d:.1g})") for v, d in zip(values, known, strict=True)]
    return f"{', '.join(listed)} {unit}".rstrip()
