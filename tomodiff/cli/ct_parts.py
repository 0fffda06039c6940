"""Fit the parts of a YAML file to a scan, and write them with their deviations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomodiff.cli.console import STATE, rows, say
from tomodiff.cli.options import Overrides

if TYPE_CHECKING:
    from tomodiff.recipes.parts import Part

FIELDS = ("name", "kind", "half_mm", "place_mm", "turn_deg", "density", "parent", "free")
NEEDED = ("name", "kind", "half_mm", "density")


def find_parts(scan: Path, parts: Path, given: Overrides, out: Path) -> None:
    """Write the parts.  DataError for a scan that cannot be read, ConfigError for parts that cannot be."""
    import numpy as np

    from tomodiff.errors import ConfigError
    from tomodiff.files import read
    from tomodiff.files.atomic import replace_text
    from tomodiff.files.pictures import write_picture
    from tomodiff.prepare import prepare
    from tomodiff.recipes.config_file import settings_from
    from tomodiff.recipes.parts import fit_parts
    from tomodiff.recipes.progress import Progress
    from tomodiff.recipes.yaml_tree import write_yaml

    begin = read_parts(parts)
    settings = settings_from({"input.path": (str(scan), "the scan"), **given})
    chosen = settings.input
    dataset = read(chosen.path, **chosen.selection(), **chosen.setup())
    if dataset.kind != "line_integrals":
        dataset = prepare(dataset, **{**settings.prepare.options(), "rings": "off"})[0]
    with Progress(quiet=STATE.quiet).stage("parts") as stage:
        try:
            found = fit_parts(dataset, begin, advance=stage.advance)
        except ValueError as error:
            raise ConfigError(f"{parts}: {error}") from error
    replace_text(out, write_yaml({
        "parts": [_plain(part) for part in found.parts], "deviations": found.deviations, "rms": found.rms,
    }))  # fmt: skip
    for part in found.parts:
        print(part.name)
        print(rows({f"  {n}": _shown(part, n, found.deviations) for n in ("half", "place", "turn", "density")}))
    worst = int(np.argmax((found.residual**2).sum(axis=(1, 2))))
    picture = found.residual[worst] / max(6 * found.rms, 1e-12) + 0.5
    write_picture(out.with_suffix(".png"), picture.clip(0, 1))
    say(f"parts  {out}, and what is left of view {worst} (grey is none) {out.with_suffix('.png')}")


def read_parts(path: Path) -> list[Part]:
    """The parts of a file.  ConfigError that names the part and the field."""
    import numpy as np

    from tomodiff.errors import ConfigError
    from tomodiff.recipes.parts import Part
    from tomodiff.recipes.yaml_tree import read_yaml

    listed = read_yaml(path).values.get("parts")
    if not isinstance(listed, list) or not listed:
        raise ConfigError(f"{path}: parts: expected a list of parts, got {listed!r}")
    made = []
    for number, one in enumerate(listed):
        where = f"{path}: parts[{number}]"
        if (
            not isinstance(one, dict)
            or set(one) - set(FIELDS)
            or not {"name", "kind", "half_mm", "density"} <= set(one)
        ):
            raise ConfigError(
                f"{where}: expected name, kind, half_mm, density, and of {', '.join(FIELDS)}, got {one!r}"
            )
        vectors: dict[str, Any] = {}
        for name, default in (("half_mm", None), ("place_mm", [0, 0, 0]), ("turn_deg", [0, 0, 0])):
            try:
                vectors[name] = np.array(one.get(name, default), np.float64)
            except (TypeError, ValueError):
                vectors[name] = np.zeros(0)
            if vectors[name].shape != (3,) or not np.isfinite(vectors[name]).all():
                raise ConfigError(f"{where}.{name}: expected three numbers, got {one.get(name)!r}")
        density = one["density"]
        if isinstance(density, bool) or not isinstance(density, int | float) or not np.isfinite(density):
            raise ConfigError(f"{where}.density: expected a number in 1/mm, got {density!r}")
        free = one.get("free", ["half", "place", "turn", "density"])
        if not isinstance(free, list) or not all(isinstance(word, str) for word in free):
            raise ConfigError(f"{where}.free: expected a list of names, got {free!r}")
        made.append(Part(
            str(one["name"]), str(one["kind"]), vectors["half_mm"], vectors["place_mm"], vectors["turn_deg"],
            float(density), one.get("parent"), tuple(free),
        ))  # fmt: skip
    return made


def _plain(part: Part) -> dict[str, Any]:
    return {
        "name": part.name, "kind": part.kind, "half_mm": part.half.tolist(), "place_mm": part.place.tolist(),
        "turn_deg": part.turn.tolist(), "density": part.density, "parent": part.parent, "free": list(part.free),
    }  # fmt: skip


def _shown(part: Part, group: str, deviations: dict[str, float]) -> str:
    """Values, with the deviations of what was sought."""
    if group == "density":
        told = deviations.get(f"{part.name}.density")
        return f"{part.density:.6g} 1/mm" + ("" if told is None else f" ({told:.1g})")
    values = getattr(part, group)
    known = [deviations.get(f"{part.name}.{group}_{axis}") for axis in "xyz"]
    unit = "degrees" if group == "turn" else "mm"
    listed = [f"{v:.5g}" + ("" if d is None else f" ({d:.1g})") for v, d in zip(values, known, strict=True)]
    return f"{', '.join(listed)} {unit}"
