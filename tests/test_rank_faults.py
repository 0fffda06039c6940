"""Jobs of several ranks that are killed, stopped, held up or out of disk, and the checkpoints they go on from."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.rank_jobs import (
    LONG,
    begin,
    make_scans,
    ranks_of,
    reconstruct,
    started,
    under_ranks,
    volume,
)
from tomodiff.cli.main import main
from tomodiff.errors import DataError, Diverged
from tomodiff.recipes.checkpoints import Checkpoints
from tomodiff.recipes.config_file import settings_from
from tomodiff.recipes.ct import reconstruct as ct
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run
from tomodiff.solvers import Sirt, State

pytestmark = [pytest.mark.mpi, pytest.mark.faults]
LIMITED = """
import resource, sys
from tomodiff.cli.main import main
from tomodiff.ranks import world
world().barrier()  # MPI has the files of its own
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_scans(tmp_path_factory.mktemp("scans"))


ENDS = ["preempted", *(pytest.param(how, marks=pytest.mark.slow) for how in ("a rank killed", "all killed"))]


@started
@pytest.mark.skipif(not shutil.which("ps"), reason="there is no ps here")
@pytest.mark.parametrize("how", ENDS)
def test_a_job_that_ends_early_goes_on_to_the_same_bits(how: str, scans: dict[str, Path], tmp_path: Path) -> None:
    whole = reconstruct(2, scans["cone"], tmp_path / "whole.npy", *LONG, corrections=[])
    job = begin(scans["cone"], tmp_path / "cut.npy", 7)
    ranks = ranks_of(job)
    assert len(ranks) == 2 and job.poll() is None
    if how == "preempted":
        os.kill(ranks[1], signal.SIGUSR1)  # one rank is told; all stop together
    elif how == "a rank killed":
        os.kill(ranks[1], signal.SIGKILL)
    else:
        for pid in (*ranks, job.pid):
            os.kill(pid, signal.SIGKILL)
    job.communicate(timeout=60)
    assert job.returncode == 75 if how == "preempted" else job.returncode != 0
    run = tmp_path / "cut.run"
    assert json.loads((run / "status.json").read_text())["state"] == ("stopped" if how == "preempted" else "running")
    for _ in range(100):  # processes whose parent is gone take a moment to be reaped
        if not any(Path(f"/proc/{pid}").exists() for pid in ranks):
            break
        time.sleep(0.1)
    done = under_ranks(2, "-m", "tomodiff", "resume", run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (volume(tmp_path / "cut.npy") == whole).all()


@started
@pytest.mark.faults
@pytest.mark.skipif(not shutil.which("ps"), reason="there is no ps here")
@pytest.mark.slow
def test_a_rank_that_is_held_up_is_waited_for(scans: dict[str, Path], tmp_path: Path) -> None:
    few = ["--set", "reconstruction.iterations=60"]
    whole = reconstruct(2, scans["cone"], tmp_path / "whole.npy", *LONG, *few, corrections=[])
    job = begin(scans["cone"], tmp_path / "held.npy", 7, *few)
    slow = ranks_of(job)[1]
    os.kill(slow, signal.SIGSTOP)
    time.sleep(2)
    assert job.poll() is None
    os.kill(slow, signal.SIGCONT)
    _, said = job.communicate(timeout=100)
    assert job.returncode == 0, said
    assert (volume(tmp_path / "held.npy") == whole).all()


@started
@pytest.mark.faults
def test_a_full_disk_ends_all_ranks(scans: dict[str, Path], tmp_path: Path) -> None:
    """Files may not grow beyond 40 kB: the first checkpoint does not fit."""
    job = under_ranks(2, "-c", LIMITED, "ct", "reconstruct", scans["cone"], "-o", "v.npy", *LONG, cwd=tmp_path)
    assert job.returncode == 3 and "disk space" in job.stderr, job.stderr
    assert not (tmp_path / "v.npy").exists()


@started
def test_checkpoints_of_other_ranks_settings_or_input_are_refused(scans: dict[str, Path], tmp_path: Path) -> None:
    scan = tmp_path / "scan.h5"
    shutil.copy(scans["cone"], scan)
    job = begin(scan, tmp_path / "cut.npy", 7)
    job.send_signal(signal.SIGTERM)
    job.communicate(timeout=60)
    run = tmp_path / "cut.run"
    assert any((run / "checkpoint").iterdir())
    assert main(["resume", str(run)]) == 3  # one rank: sums would round otherwise
    with h5py.File(scan, "r+") as file:
        file.attrs["touched"] = 1
    done = under_ranks(2, "-m", "tomodiff", "resume", run, cwd=tmp_path)
    assert done.returncode == 3 and "scan (bytes, time)" in done.stderr
    assert any((run / "checkpoint").iterdir())  # nothing is lost by a refusal


# ---- checkpoints, by one process as well


def state(iteration: int) -> State:
    return State("Sirt", np.full((4, 5), float(iteration)), iteration, {"R": np.ones(3)}, ({"value": 1.0},))


def run_at(folder: Path, scan: Path, iterations: int = 5) -> Run:
    given = {"input.path": str(scan), "output.path": str(folder / "r"), "reconstruction.iterations": iterations,
             "reconstruction.method": "sirt"}  # fmt: skip
    return Run.create(settings_from({name: (value, name) for name, value in given.items()}))


def test_a_damaged_checkpoint_gives_way_to_the_one_before(scans: dict[str, Path], tmp_path: Path) -> None:
    run = run_at(tmp_path, scans["cone"])
    kept = Checkpoints(run)
    assert kept.load() is None
    for iteration in (3, 4):
        kept.keep(state(iteration))
    found = kept.load()
    assert found is not None and found.iteration == 4 and not run.warnings
    damaged = bytearray(run.checkpoint().read_bytes())
    middle = damaged.find(np.full(4, 4.0).tobytes())
    damaged[middle] ^= 1  # one bit of the estimate
    run.checkpoint().write_bytes(damaged)
    found = kept.load()
    assert found is not None and found.iteration == 3 and "damaged" in run.warnings[0]
    for file in (run.path / "checkpoint").iterdir():
        file.write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(DataError, match="one that is whole"):
        kept.load()


def test_checkpoints_of_other_settings_are_refused(scans: dict[str, Path], tmp_path: Path) -> None:
    run = run_at(tmp_path, scans["cone"])
    Checkpoints(run).keep(state(2))
    text = (run.path / "config.yml").read_text()
    (run.path / "config.yml").write_text(text.replace("relaxation: 1.0", "relaxation: 0.5"))
    with pytest.raises(DataError, match="checkpoint: settings"):
        Checkpoints(Run.open(run.path)).load()
    (run.path / "config.yml").write_text(text.replace("checkpoint_seconds: 60.0", "checkpoint_seconds: 5.0"))
    found = Checkpoints(Run.open(run.path)).load()  # how often to save changes no result
    assert found is not None and found.iteration == 2


def test_a_nan_on_the_way_keeps_the_state_before_it(
    scans: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Sirt.step

    def broken(self: Sirt, f: Any, state: State) -> State:
        made = step(self, f, state)
        if made.iteration == 4:
            made.history[-1]["value"] = float("nan")
        return made

    monkeypatch.setattr(Sirt, "step", broken)
    run = run_at(tmp_path, scans["cone"])
    with pytest.raises(Diverged, match=r"nan after 4 iterations.*the state after iteration 3 is kept in"), run:
        ct.reconstruct(run.settings, run, Progress(quiet=True))
    kept = Checkpoints(run).load()
    assert kept is not None and kept.iteration == 3 and np.isfinite(kept.x).all()
    monkeypatch.undo()
    assert main(["-q", "resume", str(run.path)]) == 0  # mended, it goes on from there
