"""Jobs on a real Slurm: a controller and two virtual nodes on this computer, each with a fake GPU."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests import slurm_cluster
from tomodiff.cli.main import main

REPOSITORY = Path(__file__).resolve().parent.parent
WHY_NOT = slurm_cluster.missing()
pytestmark = [pytest.mark.slurm, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with ExitStack() as stack:
        try:
            env = stack.enter_context(slurm_cluster.cluster(tmp_path_factory.mktemp("slurm") / "c"))
        except (AssertionError, subprocess.CalledProcessError) as error:
            pytest.skip(f"Slurm is installed, but a cluster does not start here: {error}")
        yield env | {"PYTHONPATH": str(REPOSITORY)}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A job of forty iterations, at every one of which it can go on."""
    scan = tmp_path / "scan.h5"
    assert main(["-q", "ct", "simulate", str(scan), "--views", "24", "--rows", "8", "--columns", "32"]) == 0
    path = tmp_path / "job.yml"
    path.write_text(
        "job: ct\ninput: {path: scan.h5}\nprepare: {rings: 'off', flux: 'off', center: keep}\n"
        "reconstruction: {method: sirt, iterations: 40}\noutput: {path: out.npy, checkpoint_every: 1}\n"
    )
    return path


def command(env: dict[str, str], *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tomodiff", *map(str, arguments)],
        env=env, cwd=cwd, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def until(done: Callable[[], bool], what: Callable[[], str], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, what()
        time.sleep(0.2)


def told(env: dict[str, str], *arguments: str) -> str:
    return subprocess.run(arguments, env=env, capture_output=True, text=True).stdout


def test_a_job_on_two_nodes(cluster: dict[str, str], config: Path, tmp_path: Path) -> None:
    alone = command(cluster, "run", config, "--out", "alone.npy", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    done = command(
        cluster, "submit", config, "--nodes", "2", "--cpus", "1", "--time", "5", "--sbatch=--gres=gpu:1", "--wait",
        cwd=tmp_path,
    )  # fmt: skip
    log = tmp_path / "out.run.slurm.log"
    assert done.returncode == 0, done.stdout + done.stderr + (log.read_text() if log.exists() else "")
    status = json.loads((tmp_path / "out.run" / "status.json").read_text())
    assert status["state"] == "done"
    one, two = np.load(tmp_path / "alone.npy"), np.load(tmp_path / "out.npy")
    assert np.abs(one - two).max() <= 2e-5 * np.abs(one).max()
    script = (tmp_path / "job.sbatch").read_text()
    assert "#SBATCH --nodes=2\n" in script and "srun --mpi=pmi2 " in script


@pytest.mark.slow
def test_preempted_it_is_queued_again_and_goes_on(cluster: dict[str, str], config: Path, tmp_path: Path) -> None:
    text = config.read_text()
    config.write_text(text.replace("iterations: 40", "iterations: 400"))
    whole = command(cluster, "run", config, "--out", "whole.npy", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    sent = command(cluster, "submit", config, "--cpus", "1", "--time", "10", cwd=tmp_path)
    assert sent.returncode == 0, sent.stderr
    job = sent.stdout.split("job     ")[1].split(";")[0]
    run, log = tmp_path / "out.run", tmp_path / "out.run.slurm.log"
    lines = run / "metrics.jsonl"
    until(lambda: lines.exists() and len(lines.read_text().splitlines()) > 5, lambda: told(cluster, "squeue"))
    subprocess.run(["scancel", "--signal=USR1", job], env=cluster, check=True)
    until(lambda: "Restarts=1" in told(cluster, "scontrol", "-o", "show", "job", job), log.read_text)
    assert json.loads((run / "status.json").read_text())["state"] in ("stopped", "running")

    def again() -> bool:
        """Whether it has ended; Slurm lets a job that was queued again rest for two minutes, of which its node needs a
        few seconds to be rid of the first start."""
        idle = told(cluster, "sinfo", "-h", "-o", "%T %D").strip() == "idle 2"
        if idle and "Reason=BeginTime" in told(cluster, "scontrol", "-o", "show", "job", job):
            time.sleep(5)
            subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], env=cluster, capture_output=True)
            time.sleep(5)
        return bool(json.loads((run / "status.json").read_text())["state"] == "done")

    def state() -> str:
        return (
            log.read_text() + told(cluster, "scontrol", "show", "job", job) + told(cluster, "sinfo", "-R", "-N", "-l")
        )

    until(again, state, 240)
    assert json.loads((run / "status.json").read_text())["resumed"]
    assert (np.load(tmp_path / "out.npy") == np.load(tmp_path / "whole.npy")).all()


@pytest.mark.slow
def test_a_table_of_datasets(cluster: dict[str, str], config: Path, tmp_path: Path) -> None:
    pytest.importorskip("snakemake_executor_plugin_cluster_generic", reason="the extra `cluster` is not installed")
    (tmp_path / "torn.h5").write_bytes((tmp_path / "scan.h5").read_bytes()[:3000])
    (tmp_path / "table.csv").write_text("name,scan\ngood,scan.h5\ntorn,torn.h5\n")
    arguments = ["batch", "table.csv", "-s", str(config), "-o", "out", "--profile", "slurm-noacct", "--threads", "1"]
    arguments += ["--memory-mb", "500", "--minutes", "5", "--no-preview"]
    env = cluster | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = command(env, *arguments, "--gpus", "0", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "error: torn: " in done.stderr and "1 of 2 datasets done" in done.stdout
    with (tmp_path / "out" / "summary.csv").open() as stream:
        states = {line["name"]: line["state"] for line in csv.DictReader(stream)}
    assert states == {"good": "done", "torn": "no run"}
    assert list((tmp_path / "out" / ".snakemake" / "slurm").glob("reconstruct-*.log"))


def test_what_a_script_asks_for(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no sbatch here
    arguments = ["--nodes", "3", "--gpus", "4", "--before", "module load cuda", "-p", "gpu", "--sbatch=--qos=long"]
    assert main(["-q", "submit", str(config), *arguments, "--script", str(tmp_path / "s.sbatch")]) == 2
    script = (tmp_path / "s.sbatch").read_text()
    for line in ("--nodes=3", "--ntasks-per-node=4", "--gres=gpu:4", "--partition=gpu", "--qos=long", "--requeue"):
        assert f"#SBATCH {line}\n" in script
    assert "\nmodule load cuda\n" in script and "--device cuda" in script
    assert os.access(tmp_path / "s.sbatch", os.X_OK)
    config.write_text(config.read_text().replace("job: ct", "job: ct-calibrate"))
    assert main(["-q", "submit", str(config), "--nodes", "2"]) == 2
