"""`tomodiff run`, `resume`, `report` and `demo`: commands that start jobs, or end them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tomodiff.cli.console import say
from tomodiff.cli.options import Overrides, with_settings
from tomodiff.cli.shipped import shipped

SAMPLES = {
    "ct": "ct_sample.h5",
    "cryoem": "cryoem_sample.star",
    "terrain": "terrain_sample/sun_angles.txt",
    "mri": "mri_sample.h5",
    "optical": "optical_sample/transforms_train.json",
}
"""Kind of job -> its sample in `datasets/`."""


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (run, resume, report, demo):
        app.command()(command)


@with_settings("output.path", "output.overwrite", "preview", "reconstruction.device")
def run(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG.yml", help="settings; `tomodiff init ct` writes a template")
    ],
    given: Overrides,
    go_on: Annotated[
        bool, typer.Option("--resume", help="go on where an earlier start was cut short; replace any other run")
    ] = False,
) -> None:
    """Run the job that a YAML file describes."""
    from tomodiff.cli.jobs import start
    from tomodiff.recipes.config_file import kind_of, load_settings

    if go_on:
        given = {**given, "output.overwrite": (True, "--resume")}
    start(load_settings(config, _for_kind(given, kind_of(config, given))), go_on)


def _for_kind(given: Overrides, kind: str) -> Overrides:
    """Overrides whose device stands in the group of settings where this kind of job has it."""
    from tomodiff.recipes.job import settings_class

    groups = settings_class(kind).model_fields.items()
    holder = next((g for g, field in groups if "device" in getattr(field.annotation, "model_fields", {})), None)
    here = {"reconstruction.device": f"{holder or 'reconstruction'}.device"}
    return {here.get(name, name): value for name, value in given.items()}


def resume(run: Annotated[Path, typer.Argument(metavar="RUN", help="run directory")]) -> None:
    """Continue a run that stopped, from its last checkpoint."""
    from tomodiff.cli.jobs import carry_out
    from tomodiff.ranks import world
    from tomodiff.recipes.followed import together
    from tomodiff.recipes.run import Run
    from tomodiff.recipes.stopping import terminate_as_interrupt

    def taken_up() -> Run:
        stopped = Run.open(run)
        stopped.restart()
        return stopped

    with terminate_as_interrupt():
        carry_out(together(world(), taken_up))


def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="run directory")]) -> None:
    """Write report.html of a run again, finished or not."""
    from tomodiff.recipes.run import Run
    from tomodiff.report.run_report import write_report

    say(f"report  {write_report(Run.open(run))}")


def demo(
    kind: Annotated[str, typer.Argument(metavar="[ct|cryoem|terrain|mri|optical]", help="which demonstration")] = "ct",
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="run directory")] = Path("tomodiff-demo"),
) -> None:
    """Do the main job on a sample that comes with tomodiff, and compare with the truth."""
    from tomodiff.cli import (
        demonstration,
        demonstration_cryoem,
        demonstration_mri,
        demonstration_optical,
        demonstration_terrain,
    )
    from tomodiff.cli.jobs import start
    from tomodiff.errors import ConfigError, TomodiffError
    from tomodiff.recipes.config_file import settings_from
    from tomodiff.recipes.run import Run

    if kind not in SAMPLES:
        raise ConfigError(f"demo {kind}: expected {', '.join(SAMPLES)}")
    own: dict[str, dict[str, Any]] = {
        "ct": {"input.path": str(sample(kind)), "reconstruction.method": "fista-tv", "reconstruction.iterations": 40},
        "cryoem": {"input.path": str(sample(kind)), "job": "cryoem-refine"},
        "terrain": demonstration_terrain.settings(sample(kind)),
        "mri": demonstration_mri.settings(sample(kind)),
        "optical": demonstration_optical.settings(sample(kind)),
    }
    chosen = own[kind] | {"output.path": str(out), "output.overwrite": True}
    settings = settings_from({name: (value, "demo") for name, value in chosen.items()})
    run = Run.open(start(settings))
    judges = {
        "ct": demonstration,
        "cryoem": demonstration_cryoem,
        "terrain": demonstration_terrain,
        "mri": demonstration_mri,
        "optical": demonstration_optical,
    }
    shown = judges[kind].findings(run, sample(kind))
    for finding in shown:
        say(str(finding))
    if not all(finding.good for finding in shown):
        raise TomodiffError("the demonstration did not come out as expected; `tomodiff doctor` shows the installation")


def sample(kind: str) -> Path:
    """The sample of a kind of job."""
    return shipped("datasets", SAMPLES[kind])
