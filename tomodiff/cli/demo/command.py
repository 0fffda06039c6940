"""`tomodiff demo`: the main job of a field on a sample that comes with tomodiff, against the truth."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from tomodiff.cli.console import say
from tomodiff.cli.shipped import shipped

DEMOS = ("ct", "cryoem", "terrain", "mri", "optical")
"""Modules of this package with SAMPLE in `datasets/`, `settings` of the job on it, and `findings` of its run."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(demo)


def demo(
    kind: Annotated[str, typer.Argument(metavar=f"[{'|'.join(DEMOS)}]", help="which demonstration")] = "ct",
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="run directory")] = Path("tomodiff-demo"),
) -> None:
    """Do the main job on a sample that comes with tomodiff, and compare with the truth."""
    from tomodiff.cli.jobs import start
    from tomodiff.errors import ConfigError, TomodiffError
    from tomodiff.recipes.config_file import settings_from
    from tomodiff.recipes.run import Run

    if kind not in DEMOS:
        raise ConfigError(f"demo {kind}: expected {', '.join(DEMOS)}")
    chosen = _module(kind).settings(sample(kind)) | {"output.path": str(out), "output.overwrite": True}
    run = Run.open(start(settings_from({name: (value, "demo") for name, value in chosen.items()})))
    shown = _module(kind).findings(run, sample(kind))
    for finding in shown:
        say(str(finding))
    if not all(finding.good for finding in shown):
        raise TomodiffError("the demonstration did not come out as expected; `tomodiff doctor` shows the installation")


def sample(kind: str) -> Path:
    """The sample of a kind of job."""
    return shipped("datasets", _module(kind).SAMPLE)


def _module(kind: str) -> Any:
    return import_module(f"tomodiff.cli.demo.{kind}")
