"""`tomodiff init KIND`: a commented settings file, made from the settings model itself."""

from __future__ import annotations

from typing import Annotated

import typer

from tomodiff.recipes.job import KINDS


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command()(init)


def init(
    kind: Annotated[str, typer.Argument(metavar="[KIND]", help=f"kind of job: {', '.join(KINDS)}")] = "ct",
) -> None:
    """Print a commented settings file: tomodiff init ct > run.yml"""
    from tomodiff.errors import ConfigError

    if kind not in KINDS:
        raise ConfigError(f"init {kind}: expected {', '.join(KINDS)}")
    print(template(kind), end="")


EXAMPLES = {
    "input.path": "scan.h5", "input.data_path": "exchange/data", "input.kind": "counts", "input.angles": "angles.txt",
    "input.flats": "flats.tif", "input.darks": "darks.tif", "input.rows": "100:200", "input.views": "0:1800:2",
    "input.pixel_mm": "0.0065", "input.source_axis_mm": "120", "input.source_detector_mm": "600",
    "prepare.lag": "0.02:5,0.01:60", "prepare.scatter": "0.05:40", "prepare.delta_beta": "1000",
    "prepare.energy_kev": "25", "prepare.propagation_mm": "200", "prepare.hardening": "[1, 0.05]",
    "prepare.hardening_material": "Al", "prepare.hardening_density": "2.7", "prepare.tube_kv": "120",
    "prepare.tube_filters": "Al:2,Cu:0.1",
    "prepare.center_search": "280:310", "input.geometry": "geometry.json", "calibration.voxel_mm": "0.0065",
    "reconstruction.filter": "hann", "reconstruction.iterations": "100", "reconstruction.tolerance": "1e-4",
    "reconstruction.relaxation": "1.0", "reconstruction.subsets": "10", "reconstruction.tv_weight": "auto",
    "reconstruction.edge": "auto", "reconstruction.start": "first.h5", "reconstruction.mask": "circle",
    "reconstruction.metal": "0.3", "reconstruction.water": "0.019",
    "reconstruction.non_negative": "true", "reconstruction.voxel_mm": "0.0065", "reconstruction.memory_gb": "16",
    "output.format": "h5", "output.checkpoint_every": "20",
}  # fmt: skip
"""What stands, commented out, for a setting that has no default."""

CRYOEM_EXAMPLES = {
    "path": "particles.star", "root": "project", "class_number": "1", "half": "1", "passthrough": "passthrough.cs",
    "stack": "particles.mrcs", "pixel_a": "1.06", "voltage_kv": "300", "cs_mm": "2.7", "amplitude_contrast": "0.1",
    "doses": "series.mdoc", "series": "TS_01", "exclude": "[1, 41]", "thickness_a": "3000", "sirt_filter": "10",
    "format": "mrc", "checkpoint_every": "1", "particle_diameter_a": "180", "max_resolution_a": "4", "batch": "400",
    "iterations": "10", "reference": "start.mrc", "classes": "2", "references": "a.mrc,b.mrc",
    "weighting": "exact", "filter": "hann", "relaxation": "1.0", "tv_weight": "auto", "non_negative": "true",
}  # fmt: skip
"""The same of cryo-EM jobs, whose settings of one name are all alike."""

NEEDED = ("input.path", "input.images")
"""Settings that a job cannot do without."""

TERRAIN_EXAMPLES = {
    "images": "[a.tif, b.tif]", "dem": "DEM.tif", "sun_angles": "sun_angles.txt", "lights": "lights.txt",
    "mask": "mask.png", "input_albedo": "albedo.tif",
    "crop_win": "[0, 0, 512, 512]", "format": "tif", "checkpoint_every": "5", "model_coeffs": "[0.5]",
    "saturation": "0.5", "levels": "3", "albedo_bounds": "[0.01, 2]", "cameras": "[a.json, b.json]",
    "tile_size": "512",
}  # fmt: skip
"""The same of terrain jobs."""

MRI_EXAMPLES = {
    "path": "scan.h5", "trajectory": "trajectory.cfl", "maps": "maps.cfl", "field_map": "field_hz.nii.gz",
    "iterations": "30", "damping": "0.001", "weight": "0.003", "wavelet": "db4", "format": "nii.gz",
    "checkpoint_every": "20",
}  # fmt: skip
"""The same of MRI jobs."""

OPTICAL_EXAMPLES = {
    "path": "transforms.json", "test": "transforms_test.json", "holdout": "10", "box": "[-1, 1, -1, 1, -1, 1]",
    "format": "nii.gz", "checkpoint_every": "500",
}  # fmt: skip
"""The same of jobs with photographs."""

HEADS = {
    "ct": (
        "# Settings of a CT reconstruction.  Run it with: tomodiff run THIS_FILE",
        "# Relative paths are relative to this file.  What is commented out has a default, or comes from the scan.",
    ),
    "cryoem": (
        "# Settings of a job, {kind}.  Run it with: tomodiff run THIS_FILE",
        "# Relative paths are relative to this file.  What is commented out has a default, or comes from the input.",
    ),
}
HEADS["terrain"] = HEADS["mri"] = HEADS["optical"] = HEADS["cryoem"]


def template(kind: str = "ct") -> str:
    """The settings of a kind of job with their defaults; those without one are commented out."""
    from pydantic import BaseModel

    from tomodiff.recipes.job import settings_class

    job = settings_class(kind)
    lines = [line.format(kind=kind) for line in HEADS[kind.partition("-")[0]]]
    for section in job.in_order():
        field = job.model_fields[section]
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            lines += ["", f"{section}:"]
            if section == "reconstruction":
                lines += [f"  # {name} has: {', '.join(own)}" for name, own in getattr(model, "METHODS", {}).items()]
            lines += [_line(kind, f"{section}.{name}", inner, "  ") for name, inner in model.model_fields.items()]
        else:
            lines.append(_line(kind, section, field, ""))
    return "\n".join(lines) + "\n"


def _example(kind: str, name: str, default: object) -> str | None:
    """What stands for a setting without a default."""
    if kind.startswith("ct"):
        return EXAMPLES.get(name)
    last = name.rpartition(".")[2]
    if kind.startswith("terrain"):
        return TERRAIN_EXAMPLES[last] if name in NEEDED or default is None else None
    if kind.startswith("mri"):
        return MRI_EXAMPLES[last] if name == "input.path" or default is None else None
    if kind.startswith("optical"):
        return OPTICAL_EXAMPLES[last] if name == "input.path" or default is None else None
    if kind == "cryoem-tomogram" and name in ("input.path", "input.stack"):
        return {"path": "series.xf", "stack": "series.st"}[last]
    return CRYOEM_EXAMPLES[last] if name == "input.path" or default is None else None


def _line(kind: str, name: str, field: object, indent: str) -> str:
    from tomodiff.recipes.yaml_tree import write_yaml

    last = name.rpartition(".")[2]
    default = getattr(field, "default", None)
    example = _example(kind, name, default)
    if example is not None:
        text = f"{last}: {example}"
        mark = "" if name in NEEDED else "# "
    else:
        text, mark = write_yaml({last: default if isinstance(default, str | int | float) else str(default)}).strip(), ""
    return f"{indent}{mark}{text}".ljust(40) + f"  # {getattr(field, 'description', '')}"
