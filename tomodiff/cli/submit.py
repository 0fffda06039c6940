"""`tomodiff submit`: a settings file to a Slurm job, by way of a batch script that a person can read and keep."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tomodiff.cli.console import say
from tomodiff.cli.options import Overrides, with_settings

if TYPE_CHECKING:
    from tomodiff.recipes.section import Job

WARNING_SECONDS = 120
"""How long before its end Slurm tells a job to stop, so that it can save its state."""


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command()(submit)


@with_settings("output.path")
def submit(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yml", help="settings file, as for `tomodiff run`")],
    given: Overrides,
    nodes: Annotated[int, typer.Option("--nodes", "-N", min=1, help="computers")] = 1,
    gpus: Annotated[int, typer.Option("--gpus", min=0, help="GPUs of each node; one rank for each")] = 0,
    ranks: Annotated[
        int | None, typer.Option("--ranks", min=1, help="ranks on each node (default: one, or gpus)")
    ] = None,
    cpus: Annotated[int, typer.Option("--cpus", min=1, help="CPUs of each rank")] = 8,
    memory: Annotated[str, typer.Option("--memory", metavar="SIZE", help="memory of each node: 64G; 0: all")] = "0",
    time: Annotated[str, typer.Option("--time", metavar="LIMIT", help="time limit, as Slurm writes it")] = "12:00:00",
    partition: Annotated[str | None, typer.Option("--partition", "-p", help="partition (queue)")] = None,
    account: Annotated[str | None, typer.Option("--account", "-A", help="account to charge")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--sbatch", metavar="OPTION", help="any other: --sbatch=--qos=long; repeatable")
    ] = None,
    before: Annotated[
        list[str] | None,
        typer.Option("--before", metavar="LINE", help="a line to run first: 'module load cuda'; repeatable"),
    ] = None,
    mpi: Annotated[str, typer.Option("--mpi", help="how srun starts ranks (srun --mpi=list): pmi2, pmix")] = "pmi2",
    script: Annotated[
        Path | None, typer.Option("--script", metavar="FILE", help="where the script goes (default: beside CONFIG)")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="write the script, submit nothing")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="come back when the job has ended, with its exit code")] = False,
) -> None:
    """Write a Slurm batch script for a job, and submit it.

    Before its time is up, or when it is preempted, the job saves its state, is queued again, and goes on from there.
    """
    from tomodiff.errors import ConfigError
    from tomodiff.recipes.config_file import load_settings
    from tomodiff.recipes.job import refuse_ranks
    from tomodiff.recipes.place import Place

    settings = load_settings(config, given)
    ranks = ranks or max(1, gpus)
    refuse_ranks(settings.job, nodes * ranks)
    run = Place.of(settings.output).run
    asked = {
        "job-name": f"tomodiff-{run.stem}", "partition": partition, "account": account, "nodes": nodes,
        "ntasks-per-node": ranks, "cpus-per-task": cpus, "gres": f"gpu:{gpus}" if gpus else None, "mem": memory,
        "time": time, "output": f"{run}.slurm.log", "open-mode": "append",
        "signal": f"USR1@{WARNING_SECONDS}",
    }  # fmt: skip
    lines = [f"--{name}={value}" for name, value in asked.items() if value is not None] + ["--requeue", *(option or ())]
    text = _script(config, settings, given, lines, before or [], mpi if nodes * ranks > 1 else None, gpus > 0)
    target = script or config.with_suffix(".sbatch")
    target.write_text(text, encoding="utf-8")
    target.chmod(0o755)
    say(f"script  {target}")
    if dry_run:
        return
    if shutil.which("sbatch") is None:
        raise ConfigError(f"sbatch: not found here; on a machine where it is: sbatch {target}")
    run.parent.mkdir(parents=True, exist_ok=True)  # Slurm loses the log, and the job, where its folder is missing
    command = ["sbatch", "--parsable", *(["--wait"] if wait else []), str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and not done.stdout:
        raise ConfigError(f"sbatch refuses {target}: {done.stderr.strip()}")
    number = done.stdout.strip().split(";")[0]
    say(f"job     {number}; its log: {run}.slurm.log; to stop it: scancel {number}")
    if wait and done.returncode:
        raise typer.Exit(done.returncode)


def _script(
    config: Path, settings: Job, given: Overrides, lines: list[str], before: list[str], mpi: str | None, gpu: bool
) -> str:
    """The batch script."""
    start = "srun" if mpi is None else f"srun --mpi={shlex.quote(mpi)}"
    words = [sys.executable, "-m", "tomodiff", "run", str(config.absolute()), "--resume"]
    words += ["--device", "cuda"] if gpu else []
    for name, (value, _) in given.items():
        words += ["--set", f"{name}={Path(value).absolute() if name == 'output.path' else value}"]
    head = "\n".join(f"#SBATCH {line}" for line in lines)
    prepared = "".join(f"{line}\n" for line in before)
    return f"""#!/bin/bash
# {settings.job}, written by tomodiff submit; submit it (again) with: sbatch THIS_FILE
{head}

{prepared}export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK TOMODIFF_THREADS=$SLURM_CPUS_PER_TASK
cd {shlex.quote(os.getcwd())}
{start} {shlex.join(words)}
code=$?
# 75: stopped with its state saved, because the time was nearly up or somebody else needs the nodes
if [ "$code" = 75 ]; then
    scontrol requeue "$SLURM_JOB_ID" && sleep 60
fi
exit "$code"
"""
