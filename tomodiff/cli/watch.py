"""`tomodiff watch`: a page in the browser that shows a run while it goes on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from tomodiff.cli.console import say


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(watch)


@contextmanager
def watched(run: Path, wanted: bool) -> Iterator[None]:
    """A page of a run, served by a process of its own until the job has ended, where it is wanted."""
    if not wanted:
        yield
        return
    server = subprocess.Popen([sys.executable, "-m", "tomodiff", "watch", str(run), "--port", "0"])
    try:
        yield
    finally:
        server.terminate()
        server.wait()


def watch(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run directory, of a job that goes on or has ended")],
    port: Annotated[int, typer.Option("--port", metavar="N", help="of this computer; 0 for any that is free")] = 8790,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="open the page")] = True,
) -> None:
    """Show a run in the browser: convergence, slices, facts, warnings, log; as it goes on, and after.

    The page is served to this computer alone, under an address with a token.  Of a run on a cluster: start it there
    with --no-browser, and here ssh -L 8790:127.0.0.1:8790 HOST; then open the address that it says.
    """
    import webbrowser

    from tomodiff.errors import ConfigError
    from tomodiff.live.server import serve
    from tomodiff.recipes.place import read_status

    if read_status(run) is None:
        raise ConfigError(f"{run}: expected a run directory (with status.json), found none")

    def opened(address: str) -> None:
        say(f"watch  {address}\n       Ctrl-C ends the page, not the run")
        if browser:
            webbrowser.open(address)

    serve(run, port, opened=opened)
