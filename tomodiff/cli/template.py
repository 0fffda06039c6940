"""`tomodiff init ct`: a commented settings file, made from the settings model itself."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command()(init)


def init(kind: Annotated[str, typer.Argument(metavar="[ct]", help="kind of job")] = "ct") -> None:
    """Print a commented settings file: tomodiff init ct > run.yml"""
    from tomodiff.errors import ConfigError

    if kind != "ct":
        raise ConfigError(f"init {kind}: expected ct")
    print(template(), end="")


EXAMPLES = {
    "input.path": "scan.h5", "input.data_path": "exchange/data", "input.kind": "counts", "input.angles": "angles.txt",
    "input.flats": "flats.tif", "input.darks": "darks.tif", "input.rows": "100:200", "input.views": "0:1800:2",
    "input.pixel_mm": "0.0065", "input.source_axis_mm": "120", "input.source_detector_mm": "600",
    "prepare.center_search": "280:310",
    "reconstruction.filter": "hann", "reconstruction.iterations": "100", "reconstruction.tolerance": "1e-4",
    "reconstruction.relaxation": "1.0", "reconstruction.tv_weight": "auto", "reconstruction.non_negative": "true",
    "reconstruction.voxel_mm": "0.0065", "output.format": "h5", "output.checkpoint_every": "20",
}  # fmt: skip
"""What stands, commented out, for a setting that has no default."""


def template() -> str:
    """The settings of a CT job with their defaults; those without one are commented out."""
    from pydantic import BaseModel

    from tomodiff.recipes.settings import METHOD_DEFAULTS, CtSettings

    lines = [
        "# Settings of a CT reconstruction.  Run it with: tomodiff run THIS_FILE",
        "# Relative paths are relative to this file.  What is commented out has a default, or comes from the scan.",
    ]
    for section, field in CtSettings.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            lines += ["", f"{section}:"]
            if section == "reconstruction":
                lines += [f"  # {name} has: {', '.join(own)}" for name, own in METHOD_DEFAULTS.items()]
            lines += [_line(f"{section}.{name}", inner, "  ") for name, inner in model.model_fields.items()]
        else:
            lines.append(_line(section, field, ""))
    return "\n".join(lines) + "\n"


def _line(name: str, field: object, indent: str) -> str:
    from tomodiff.recipes.yaml_tree import write_yaml

    last = name.rpartition(".")[2]
    default = getattr(field, "default", None)
    if name in EXAMPLES:
        text = f"{last}: {EXAMPLES[name]}"
        mark = "" if name == "input.path" else "# "
    else:
        text, mark = write_yaml({last: default if isinstance(default, str | int | float) else str(default)}).strip(), ""
    return f"{indent}{mark}{text}".ljust(40) + f"  # {getattr(field, 'description', '')}"
