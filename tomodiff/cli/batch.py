"""`tomodiff batch`: every dataset of a table, through the Snakemake workflow that comes with tomodiff."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from tomodiff.cli.console import STATE, complain, say
from tomodiff.cli.shipped import shipped

PROFILES = ("local", "slurm", "slurm-noacct", "pbs", "lsf")
HELD = ".tomodiff-batch.json"
"""File in the output folder that says which process works there."""
FAILED = 1


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command(context_settings={"allow_extra_args": True})(batch)


def batch(
    context: typer.Context,
    table: Annotated[
        Path, typer.Argument(metavar="TABLE.csv", help="name, scan (or input), and a column for each further setting")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="where results go")] = Path("results"),
    settings: Annotated[
        Path | None, typer.Option("--settings", "-s", metavar="YML", help="settings that all datasets share")
    ] = None,
    profile: Annotated[
        str, typer.Option("--profile", metavar="NAME", help=f"{', '.join(PROFILES)}, or a folder with a config.yaml")
    ] = "local",
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="datasets at a time")] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads of one dataset")] = None,
    memory_mb: Annotated[int | None, typer.Option("--memory-mb", min=1, help="memory of one dataset")] = None,
    minutes: Annotated[int | None, typer.Option("--minutes", min=1, help="time limit of one dataset")] = None,
    gpus: Annotated[int | None, typer.Option("--gpus", min=0, help="GPUs of one dataset")] = None,
    preview: Annotated[bool, typer.Option("--preview/--no-preview", help="three slices of each CT scan first")] = True,
    config: Annotated[
        list[str] | None,
        typer.Option("--config", metavar="NAME=VALUE", help="any other value of its config.yaml"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="say what would be done")] = False,
) -> None:
    """Check, preview and reconstruct every dataset of a table, here or on a cluster, and summarise them on one page.

    A dataset that fails does not stop the others and is listed at the end.  The same command again does only what is
    missing or has changed.  What follows ` -- ` goes to snakemake.
    """
    from tomodiff.errors import ConfigError
    from tomodiff.extras import library
    from tomodiff.files.atomic import make_folder
    from tomodiff.recipes.table import read_table

    if os.name != "posix":
        raise ConfigError("batch: expected Linux or macOS: the commands of its workflow are those of a POSIX shell")
    names = [row.name for row in read_table(table)]  # a table with mistakes needs no Snakemake to say so
    library("snakemake", "cluster", "batch needs", "Snakemake")
    snakefile = shipped("workflows", "Snakefile")
    chosen = {
        "table": table.absolute(), "out": out.absolute(), "settings": settings and settings.absolute(),
        "threads": threads, "mem_mb": memory_mb, "minutes": minutes, "gpus": gpus, "preview": preview,
        "retries": None if profile == "local" else 2,
    }  # fmt: skip
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--directory", str(out)]
    command += ["--profile", str(profile_folder(snakefile.parent, profile)), "--config"]
    command += [f"{name}={value}" for name, value in chosen.items() if value is not None] + (config or [])
    if jobs is not None:
        command += ["--cores", str(jobs * (threads or 2))] if profile == "local" else ["--jobs", str(jobs)]
    command += ["--dry-run"] if dry_run else []
    command += ["--quiet"] if STATE.quiet else []
    make_folder(out)
    with held(out):
        if any((out / ".snakemake" / "locks").glob("*")):  # nobody works here, so whoever locked it is gone
            say("an earlier batch here ended without cleaning up: unlocking its folder")
            subprocess.run([*command, "--unlock"], check=True, capture_output=True)
        code = _run([*command, *context.args])
    if not dry_run:
        _tell(out, names, code)


def profile_folder(flow: Path, name: str) -> Path:
    """The folder of a profile by its name or path."""
    from tomodiff.errors import ConfigError

    for folder in (Path(name), flow / "profiles" / name):
        if (folder / "config.yaml").is_file():
            return folder.absolute()
    raise ConfigError(f"--profile {name}: expected {', '.join(PROFILES)}, or a folder with a config.yaml")


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Keep the folder for this process.  ConfigError while another one on this computer works there, or one on another
    computer said so and never took it back."""
    from tomodiff.errors import ConfigError
    from tomodiff.recipes.place import is_alive

    mark, here = out / HELD, socket.gethostname()
    try:
        owner = json.loads(mark.read_text())
    except (OSError, ValueError):
        owner = None
    if owner is not None and (is_alive({**owner, "state": "running"}) or owner.get("host") != here):
        raise ConfigError(
            f"{out}: a batch works there (process {owner.get('pid')} on {owner.get('host')}); if it is gone, "
            f"remove {mark}"
        )
    mark.write_text(json.dumps({"pid": os.getpid(), "host": here}))
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def _run(command: list[str]) -> int:
    """Run to the end; signals go on to the engine, which ends its jobs and cancels those on the cluster."""
    process = subprocess.Popen(command)
    told = signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(number))
    interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it by itself
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGTERM, told)
        signal.signal(signal.SIGINT, interrupted)


def _tell(out: Path, names: list[str], code: int) -> None:
    """Which datasets failed, and where the summary lies."""
    try:
        with (out / "summary.csv").open(newline="", encoding="utf-8") as stream:
            lines = {line["name"]: line for line in csv.DictReader(stream)}
    except OSError:
        lines = {}
    bad = [name for name in names if lines.get(name, {}).get("state") != "done"]
    for name in bad:
        message = lines.get(name, {}).get("message") or "not done"
        complain(f"{name}: {message}")
    say(f"{len(names) - len(bad)} of {len(names)} datasets done; summary  {out / 'summary.html'}")
    if bad or code:
        raise typer.Exit(FAILED)
