"""One job from settings to report, as all commands run it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tomodiff.cli.console import STATE, say
from tomodiff.cli.watch import watched
from tomodiff.errors import DataError, Stopped

if TYPE_CHECKING:
    from tomodiff.recipes.run import Run
    from tomodiff.recipes.section import Job
    from tomodiff.result import Result

LOG = logging.getLogger("tomodiff")
MOST_COMPARED = 512**3
"""Voxels of a volume that is compared with the truth in one piece, at most."""


def start(settings: Job, resume: bool = False) -> Path:
    """Run a new job, or with `resume` go on with one of the same settings that was cut short and left a checkpoint;
    returns its run directory."""
    from tomodiff.ranks import world
    from tomodiff.recipes.followed import together
    from tomodiff.recipes.job import look, refuse_ranks
    from tomodiff.recipes.run import Run
    from tomodiff.recipes.stopping import terminate_as_interrupt

    comm = world()
    refuse_ranks(settings.job, comm.size)
    with terminate_as_interrupt():
        if comm.leads:
            look(settings)  # what cannot be read should cost no run directory
        run = together(comm, lambda: (Run.cut_short(settings) if resume else None) or Run.create(settings))
        carry_out(run)
    return run.path


def carry_out(run: Run) -> None:
    """Do the job of a run directory, new or resumed, then compare with the truth, report, and say where all is."""
    from tomodiff.recipes.job import recipe
    from tomodiff.recipes.progress import Progress

    progress = Progress(quiet=STATE.quiet or not run.comm.leads)
    try:
        with watched(run.path, STATE.watch and run.comm.leads), run:
            if trial := run.settings.of_trial():
                run.warn(f"a trial: {trial}")
            try:
                result = recipe(run.settings.job)(run.settings, run, progress)
            finally:
                run.save_timings(progress.timings)
            if run.status["state"] == "running" and result is not None:
                run.finish(result)
            elif run.status["state"] == "running":
                run.conclude()
            if run.comm.leads and result is not None and run.settings.job == "ct" and not run.settings.is_preview:
                keep_error(run, result)
    except KeyboardInterrupt:
        if run.has_checkpoint():
            raise Stopped(f"interrupted; the last checkpoint continues with: tomodiff resume {run.path}") from None
        raise
    if not run.comm.leads:
        return
    say(f"{'heights' if run.settings.job.startswith('terrain') else 'volume'}  {run.volume_path}")
    if run.settings.output.report:
        from tomodiff.report.run_report import write_report

        say(f"report  {write_report(run)}")


def keep_error(run: Run, result: Result) -> None:
    """Keep the error of the result, where the scan's file carries the truth."""
    from tomodiff.files import read_truth
    from tomodiff.report.truth import compare

    if result.volume.size > MOST_COMPARED:
        return
    try:
        truth = read_truth(run.settings.input.path)
    except DataError:  # a real scan
        return
    try:
        measures = compare(result, truth)
    except ValueError as error:
        LOG.info("the truth in the scan's file is not compared: %s", error)
        return
    run.save_report_data("truth", measures)
    numbers = {name: float(measures[name]) for name in ("rmse", "psnr_db", "ssim") if name in measures}
    run.record(**numbers)
    LOG.info("against the truth: %s", ", ".join(f"{name} {value:.4g}" for name, value in numbers.items()))
