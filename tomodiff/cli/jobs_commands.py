"""`tomodiff run`, `resume` and `report`: commands that start jobs, or end them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomodiff.cli.console import say
from tomodiff.cli.options import Overrides, with_settings


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (run, resume, report):
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
