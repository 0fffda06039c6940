"""`tomodiff compare`: two runs beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomodiff.cli.console import note, say, tell


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(compare)


def compare(
    one: Annotated[Path, typer.Argument(metavar="RUN", help="run directory")],
    other: Annotated[Path, typer.Argument(metavar="RUN", help="another")],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="HTML", help="write a page with figures")] = None,
) -> None:
    """Say which settings of two runs differ, and what each found; with -o also convergence and volumes, as a page."""
    from tomodiff.files.atomic import replace_text
    from tomodiff.recipes.run import Run
    from tomodiff.report.comparison import apart, comparison, differing, found
    from tomodiff.report.page import in_words

    runs = Run.open(one), Run.open(other)
    names = tuple(str(run.path) for run in runs)
    rows = differing(*runs)
    tell({name: f"{in_words(a)}  |  {in_words(b)}" for name, a, b in rows}, "settings that differ")
    if not rows:
        note("none")
    tell({"run": "  |  ".join(names), **{n: f"{in_words(a)}  |  {in_words(b)}" for n, a, b in found(*runs)}}, "found")
    distance = apart(*runs)
    if distance is not None:
        tell({name: in_words(value) for name, value in distance.items()}, "middle slices")
    if out is not None:
        replace_text(out, comparison(*runs))
        say(f"page  {out}")
