"""Command-line options that are settings: each is its dotted name, everything else comes from the settings model.

    @with_settings("input.rows", "prepare.center")
    def center(scan: ..., given: Overrides): ...

gives the command --rows and --center, with the help texts of the settings; what the user typed arrives in `given`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_type_hints

import typer

from tomodiff.recipes.ct.settings import CtSettings
from tomodiff.recipes.job import settings_class
from tomodiff.recipes.section import Job

Overrides = Mapping[str, tuple[Any, str]]
"""Dotted name -> (value, the option as it was typed)."""

FLAGS = {"preview": "--try", "output.path": "--out"}
"""Options that are not called like their setting."""

SHORT = {"output.path": "-o", "reconstruction.method": "-m"}

INPUT = tuple(f"input.{name}" for name in CtSettings.model_fields["input"].annotation.model_fields if name != "path")  # type: ignore[union-attr]
PREPARE = tuple(f"prepare.{name}" for name in CtSettings.model_fields["prepare"].annotation.model_fields)  # type: ignore[union-attr]
RECONSTRUCTION = tuple(
    f"reconstruction.{name}"
    for name in CtSettings.model_fields["reconstruction"].annotation.model_fields  # type: ignore[union-attr]
)
OUTPUT = ("output.format", "output.overwrite", "output.checkpoint_every", "output.checkpoint_seconds")

Command = Callable[..., None]


def with_settings(*names: str, kind: str = "ct") -> Callable[[Command], Command]:
    """Give a command the options of these settings of a kind of job; it receives them as `given`, and --set as well."""
    model = settings_class(kind)

    def decorate(command: Command) -> Command:
        table = {name.replace(".", "__"): name for name in names}
        hints = get_type_hints(command, include_extras=True)
        own = inspect.signature(command).parameters
        parameters = [p.replace(annotation=hints.get(p.name, p.annotation)) for p in own.values() if p.name != "given"]
        parameters += [_parameter(model, key, name) for key, name in table.items()]
        parameters.append(_set_parameter())

        def run(**values: Any) -> None:
            from tomodiff.recipes.config_file import set_overrides

            given: dict[str, tuple[Any, str]] = {}
            for key, name in table.items():
                value = values.pop(key)
                if value not in (None, False) or (
                    value is False and _is_switch(model, name) and not is_flag(model, name)
                ):
                    given[name] = (_read(model, name, value), flag(name))
            given |= set_overrides(values.pop("assignments") or [])
            command(**values, given=given)

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


FLAGS_ONLY = ("preview", "output.overwrite")
"""Switches of a CT job that are off unless given; the others can be switched off, too."""


def is_flag(model: type[Job], name: str) -> bool:
    """Whether a switch is off unless given."""
    switch_of_ct = model is settings_class("ct")
    return name in FLAGS_ONLY or (not switch_of_ct and describe(name, model).default is False)


def flag(name: str) -> str:
    """The option of a setting: "--tv-weight" for reconstruction.tv_weight."""
    return FLAGS.get(name) or "--" + name.rpartition(".")[2].replace("_", "-")


def describe(name: str, job: type[Job] = CtSettings) -> Any:
    """The field of the settings model with this dotted name."""
    model: type[Any] = job
    *sections, last = name.split(".")
    for section in sections:
        model = model.model_fields[section].annotation
    return model.model_fields[last]


def _parameter(model: type[Job], key: str, name: str) -> inspect.Parameter:
    field, option = describe(name, model), flag(name)
    kind: Any = str | None
    names = [option, SHORT[name]] if name in SHORT else [option]
    extra: dict[str, Any] = {"metavar": _metavar(model, name)}
    default: Any = None
    if _is_switch(model, name):
        extra = {}
        if is_flag(model, name):
            kind, default = bool, False
        else:
            kind, names = bool | None, [f"{option}/--no-{option[2:]}"]
    info = typer.Option(
        default, *names, help=field.description, rich_help_panel=_panel(model, name), show_default=False, **extra
    )
    return inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=info, annotation=kind)


def _set_parameter() -> inspect.Parameter:
    info = typer.Option(
        None, "--set", metavar="NAME=VALUE", help="any setting by its full name, such as reconstruction.iterations=50"
    )
    return inspect.Parameter("assignments", inspect.Parameter.KEYWORD_ONLY, default=info, annotation=list[str] | None)


def _is_switch(model: type[Job], name: str) -> bool:
    return any(part is bool for part in _with_members(describe(name, model).annotation))


def _with_members(annotation: Any) -> list[Any]:
    """An annotation, the members of its union, and theirs."""
    members = [inner for part in get_args(annotation) for inner in get_args(part)]
    return [annotation, *get_args(annotation), *members]


def _words(model: type[Job], name: str) -> list[str]:
    """The texts that a setting may be."""
    parts = _with_members(describe(name, model).annotation)
    return [choice for part in parts for choice in get_args(part) if isinstance(choice, str)]


def _metavar(model: type[Job], name: str) -> str:
    """What the value is called in the help."""
    last = name.rpartition(".")[2]
    if model.PATH_LISTS and tuple(name.split(".")) in model.PATH_LISTS:
        return "FILE,FILE"
    known = {"rows": "A:B", "views": "A:B[:STEP]", "flux": "auto|off|A:B", "bin": "N", "center_search": "A:B"}
    known |= {
        "center": "auto|PX|keep",
        "dead_pixels": "auto|off",
        "tv_weight": "auto|WEIGHT",
        "edge": "auto|N",
        "water": "file|N",
        "start": "VOLUME",
    }
    known |= {
        "root": "FOLDER",
        "stack": "FILE",
        "doses": "FILE",
        "series": "NAME",
        "exclude": "N,N",
        "half": "1|2",
        "reference": "MAP",
        "mask": "auto|none|MAP",
        "sharpen": "auto|off|B",
        "symmetry": "GROUP",
        "dem": "DEM",
        "sun_angles": "FILE",
        "input_albedo": "FILE",
        "lights": "FILE",
        "image_exposures": "auto|N|FILE",
        "haze": "N|FILE",
        "crop_win": "N,N,N,N",
        "model_coeffs": "N,N",
        "albedo_bounds": "N,N",
    }
    known |= {"lag": "SHARE:VIEWS,...", "scatter": "N:MM", "hardening": "N,N,...", "tube_filters": "NAME:MM,..."}
    known |= {"hardening_material": "NAME", "wavelet": "NAME"}
    known |= {"trajectory": "FILE", "maps": "FILE", "field_map": "VOLUME", "delays": "auto|off"}
    known |= {"test": "PHOTOS", "box": "N,N,N,N,N,N"}
    known |= {"once": "NAME,NAME", "each": "NAME,NAME", "geometry": "FILE"}
    known |= {"path": "PATH", "angles": "FILE", "flats": "FILE", "darks": "FILE", "data_path": "NAME"}
    if model is CtSettings:
        known["mask"] = "circle|VOLUME"
    if last in known:
        return known[last]
    if _words(model, name):
        return "NAME"
    units = {"_mm": "MM", "_kv": "KV", "_seconds": "SECONDS", "_a": "ANGSTROM", "_deg": "DEGREES", "_px": "PIXELS"}
    return next((shown for end, shown in units.items() if last.endswith(end)), "N")


def _panel(model: type[Job], name: str) -> str:
    section = name.partition(".")[0] if "." in name else "output"
    titles = {
        "input": f"What the {model.INPUTS['path']} {'are' if model.INPUTS['path'].endswith('s') else 'is'}",
        "prepare": "Correction",
        "reconstruction": "Reconstruction",
        "calibration": "Calibration",
        "refinement": "Refinement",
        "light": "Light",
        "fit": "Fit",
    }
    return titles.get(section, "Output")


def names_of(kind: str, *sections: str) -> tuple[str, ...]:
    """The dotted names of all settings in some sections of a kind of job, but for the input's path."""
    fields = settings_class(kind).model_fields
    found = [f"{s}.{name}" for s in sections for name in fields[s].annotation.model_fields]  # type: ignore[union-attr]
    return tuple(name for name in found if name != "input.path")


def _read(model: type[Job], name: str, value: Any) -> Any:
    """An option's text as the YAML value that it stands for; texts, paths and choices ("-") stay as they are."""
    if not isinstance(value, str) or name in TEXTS or value in _words(model, name):
        return value
    from tomodiff.recipes.yaml_tree import parse_value

    return parse_value(value, flag(name))


TEXTS = (
    "input.angles",
    "input.flats",
    "input.darks",
    "input.data_path",
    "input.rows",
    "input.views",
    "calibration.once",
    "calibration.each",
    "output.path",
    "input.root",
    "input.stack",
    "input.test",
    "input.doses",
    "input.series",
    "input.passthrough",
    "input.exclude",
    "refinement.reference",
    "reconstruction.mask",
    "refinement.mask",
    "input.dem",
    "input.sun_angles",
    "input.input_albedo",
    "input.lights",
    "input.mask",
    "input.crop_win",
    "light.model_coeffs",
    "fit.albedo_bounds",
    "input.trajectory",
    "input.field_map",
    "reconstruction.maps",
)
"""Settings whose text is not to be read as a number."""
