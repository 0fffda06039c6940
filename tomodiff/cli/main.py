"""The command `tomodiff`.

Exit codes: 0 done, 1 unexpected, 2 usage or settings, 3 data, 4 memory, 5 diverged, 75 stopped with a checkpoint,
130 interrupted without one.
"""

from __future__ import annotations

import sys
import time
import traceback
from typing import Annotated, Any

import typer

import tomodiff
from tomodiff.cli import batch, compare, jobs_commands, look, submit, template, watch
from tomodiff.cli.console import STATE, complain, set_up, told
from tomodiff.cli.cryoem import commands as cryoem
from tomodiff.cli.ct import commands as ct
from tomodiff.cli.demo import command as demo
from tomodiff.cli.mri import commands as mri
from tomodiff.cli.optical import commands as optical
from tomodiff.cli.simulate import commands as simulate
from tomodiff.cli.terrain import commands as terrain
from tomodiff.errors import Stopped, TomodiffError

MEMORY, INTERRUPTED = 4, 130
SECONDS_FOR_THE_FIRST = 1.0
ANYWHERE = ("--debug", "--quiet", "-q", "--watch", "--json")
"""Switches of the whole command that may stand after a subcommand, too."""

app = typer.Typer(
    name="tomodiff",
    help="Differentiable tomography: from a scan file to a volume. Start with: tomodiff demo",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tomodiff {tomodiff.__version__}")
        raise typer.Exit


@app.callback()
def globally(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, and log everything.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but warnings and errors.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show the run of a job in the browser while it goes on.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Say what is found as one JSON object.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    set_up(debug, quiet, watch, json)


jobs_commands.register(app)
demo.register(app)
look.register(app)
template.register(app)
batch.register(app)
submit.register(app)
watch.register(app)
compare.register(app)
app.add_typer(ct.app, name="ct")
app.add_typer(cryoem.app, name="cryoem")
app.add_typer(terrain.app, name="terrain")
app.add_typer(mri.app, name="mri")
app.add_typer(optical.app, name="optical")
app.add_typer(simulate.app, name="simulate")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code: Any = app(args=_in_front(given), standalone_mode=False, prog_name="tomodiff")
        told()
        return code if isinstance(code, int) else 0
    except (typer.Abort, KeyboardInterrupt):
        complain("interrupted; nothing half-written is left")
        return _for_all(INTERRUPTED)
    except BrokenPipeError:  # `tomodiff info ... | head`
        sys.stderr.close()
        return 0
    except Stopped as error:  # all ranks stop together, in order
        return _report(error)
    except Exception as error:
        _let_the_first_speak()
        return _for_all(_report(error))


def _report(error: Exception) -> int:
    """Say what went wrong in one message; returns the exit code."""
    STATE.told["error"] = str(error)
    told()
    if hasattr(error, "exit_code") and hasattr(error, "show"):  # typer's usage errors
        error.show()
        return int(error.exit_code)
    if STATE.debug:
        traceback.print_exception(error)
    if isinstance(error, TomodiffError):
        complain(str(error))
        return error.exit_code
    if isinstance(error, MemoryError):
        complain(f"not enough memory ({error or 'allocation failed'}); take less at a time with --rows, or --bin")
        return MEMORY
    complain(f"{type(error).__name__}: {error}" + ("" if STATE.debug else " (--debug shows where)"))
    return 1


def _let_the_first_speak() -> None:
    """Wait a little on ranks other than the first: of an error that all meet, its message is enough."""
    if "tomodiff.ranks.mpi" in sys.modules:
        from tomodiff.ranks import world

        if not world().leads:
            time.sleep(SECONDS_FOR_THE_FIRST)
            print(f"rank {world().rank}:", end=" ", file=sys.stderr)


def _for_all(code: int) -> int:
    """The exit code, after the other ranks of this job are ended too: they would wait for this one for ever."""
    if "tomodiff.ranks.mpi" in sys.modules:
        from tomodiff.ranks import world

        world().abort(code)
    return code


def _in_front(given: list[str]) -> list[str]:
    """The arguments with the switches of `ANYWHERE` moved before the subcommand."""
    end = given.index("--") if "--" in given else len(given)
    switches = [a for a in given[:end] if a in ANYWHERE]
    return switches + [a for a in given[:end] if a not in ANYWHERE] + given[end:]
