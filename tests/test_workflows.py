"""`tomodiff batch` and its Snakemake workflow: a table of datasets in, one run each, and a summary whatever happens."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tomodiff.cli.batch import HELD, held
from tomodiff.cli.main import main
from tomodiff.errors import ConfigError, Diverged
from tomodiff.geometry import Grid
from tomodiff.recipes.config_file import load_settings, settings_from
from tomodiff.recipes.run import Run
from tomodiff.recipes.table import input_files, read_table, settings_text
from tomodiff.result import Result

REPOSITORY = Path(__file__).resolve().parent.parent
WORKFLOWS = REPOSITORY / "workflows"


@pytest.fixture(scope="module")
def summary() -> ModuleType:
    spec = importlib.util.spec_from_file_location("workflow_summary", WORKFLOWS / "summary.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_of(out: Path, name: str) -> Run:
    where = {"input.path": (str(out / "s.h5"), ""), "output.path": (str(out / "runs" / name), "")}
    return Run.create(settings_from(where))


def test_summary_of_runs_in_every_state(summary: ModuleType, tmp_path: Path, rng: np.random.Generator) -> None:
    with run_of(tmp_path, "good") as run:
        run.log_metrics({"iteration": 7, "objective": 1.0})
        run.record(method="sirt", center=12.25, psnr_db=31.0)
        run.warn("few <views>")
        run.finish(Result(rng.random((2, 9, 9), dtype=np.float32), Grid((2, 9, 9), 1.0)))
    (run.path / "report.html").write_text("report")
    with pytest.raises(Diverged), run_of(tmp_path, "bad"):
        raise Diverged("objective is NaN")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "never.check.log").write_text("x\nerror: absent.h5: expected a file, found nothing\n  more\n")
    (tmp_path / "runs" / "torn").mkdir()
    (tmp_path / "runs" / "torn" / "status.json").write_text('{"state": "ru')
    assert summary.main([str(tmp_path), "good", "bad", "never", "torn"]) == 0
    with (tmp_path / "summary.csv").open() as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    assert [row["state"] for row in rows.values()] == ["done", "failed", "no run", "no run"]
    assert rows["good"]["center"] == "12.25" and rows["good"]["iterations"] == "7"
    assert (
        "NaN" in rows["bad"]["message"] and rows["never"]["message"] == "absent.h5: expected a file, found nothing more"
    )
    page = (tmp_path / "summary.html").read_text()
    assert 'href="runs/good/report.html"' in page and 'href="runs/bad' not in page
    assert "few &lt;views&gt;" in page and page.count("<img") == 1 and "1 of 4 done" in page
    assert summary.main([str(tmp_path)]) == 2


@pytest.mark.parametrize("kind", ["ct", "cryoem", "terrain"])
def test_the_shipped_tables_and_settings_are_valid(kind: str, tmp_path: Path) -> None:
    table = WORKFLOWS / "tables" / f"{kind}.csv"
    rows = read_table(table)
    assert rows
    for row in rows:
        path = tmp_path / f"{row.name}.yml"
        path.write_text(settings_text(row, table, WORKFLOWS / "settings" / f"{kind}.yml", tmp_path / row.name))
        assert load_settings(path).input_files() and input_files(path.read_text())


def test_a_row_and_the_shared_settings_become_those_of_a_job(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    shared, table = tmp_path / "shared" / "s.yml", tmp_path / "t.csv"
    shared.write_text("input: {angles: angles.txt}\nreconstruction: {method: sirt, iterations: 5}\n")
    table.write_text("name, scan, reconstruction.iterations, prepare.center\na, raw: 1.h5, 9, 12.5\nb, c.h5, ,\n")
    first, second = (settings_text(row, table, shared, tmp_path / "out" / row.name) for row in read_table(table))
    for text, scan, iterations in ((first, "raw: 1.h5", 9), (second, "c.h5", 5)):
        path = tmp_path / "job.yml"
        path.write_text(text)
        settings = load_settings(path)
        assert settings.input.path == tmp_path / scan
        assert str(settings.input.angles) == str(tmp_path / "shared" / "angles.txt")
        assert settings.reconstruction.iterations == iterations and settings.reconstruction.method == "sirt"
    assert "center: 12.5" in first and "center" not in second
    table.write_text("name,input,job\na,p.star,cryoem-reconstruct\n")
    shared.write_text("job: cryoem-refine\nrefinement: {mode: local}\n")
    assert "refinement" not in settings_text(read_table(table)[0], table, shared, tmp_path / "a")


def batch(tmp_path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("snakemake", reason="Snakemake is not installed")
    env = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, "-m", "tomodiff", "batch", "scans.csv", "-o", "results", "--threads", "1", "-j", "1", *more],
        capture_output=True, text=True, env=env, cwd=tmp_path,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("table", "said"),
    [("name,scan\n", "at least one dataset"), ("name,scan\na,x.h5\na,y.h5\n", "line 3"),
     ("name,scan\na/b,x.h5\n", "'/'"), ("scan\nx.h5\n", "line 2"), ("name,prepare.center\na,1\n", "an input")],
)  # fmt: skip
def test_wrong_tables_are_one_message(
    table: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scans.csv").write_text(table)
    assert main(["batch", str(tmp_path / "scans.csv"), "-o", str(tmp_path / "results")]) in (2, 3)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def states(tmp_path: Path) -> dict[str, str]:
    with (tmp_path / "results" / "summary.csv").open() as stream:
        return {row["name"]: row["state"] for row in csv.DictReader(stream)}


def test_a_failing_scan_does_not_stop_the_others(tmp_path: Path) -> None:
    scan = tmp_path / "a scan.h5"
    assert main(["-q", "ct", "simulate", str(scan), "--views", "24", "--rows", "2", "--columns", "32"]) == 0
    (tmp_path / "torn.h5").write_bytes(scan.read_bytes()[:5000])
    table = tmp_path / "scans.csv"
    table.write_text(
        "name,scan,reconstruction.method,reconstruction.iterations\n"
        "absent,absent.h5,,\ntorn,torn.h5,,\nwrong,a scan.h5,fbpp,\nfbp,a scan.h5,,\nsirt,a scan.h5,sirt,5\n"
    )
    done = batch(tmp_path)
    assert done.returncode == 1
    bad = {"absent": "no run", "torn": "no run", "wrong": "no run"}
    assert states(tmp_path) == bad | {"fbp": "done", "sirt": "done"}, done.stdout + done.stderr
    for name, what in {"absent": "absent.h5", "torn": "torn.h5", "wrong": "fbpp"}.items():
        assert any(f"error: {name}: " in line and what in line for line in done.stderr.splitlines()), done.stderr
    assert "2 of 5 datasets done" in done.stdout
    sirt = tmp_path / "results" / "runs" / "sirt"
    assert (sirt / "report.html").exists() and (tmp_path / "results" / "previews" / "fbp" / "report.html").exists()
    before = (sirt / "volume.h5").stat().st_mtime_ns
    table.write_text(
        "name,scan,reconstruction.method,reconstruction.iterations\nfbp,a scan.h5,sirt,3\nsirt,a scan.h5,sirt,5\n"
    )
    (tmp_path / "results" / ".snakemake" / "locks").mkdir(exist_ok=True)  # as one leaves them that was killed
    (tmp_path / "results" / ".snakemake" / "locks" / "0.output.lock").write_text(str(sirt / "report.html") + "\n")
    again = batch(tmp_path, "--no-preview")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "unlocking" in again.stdout and states(tmp_path) == {"fbp": "done", "sirt": "done"}
    assert (sirt / "volume.h5").stat().st_mtime_ns == before  # nothing was done twice
    assert "sirt" in (tmp_path / "results" / "runs" / "fbp" / "config.yml").read_text()  # what changed was done again


def test_two_batches_do_not_meet_in_one_folder(tmp_path: Path) -> None:
    (tmp_path / HELD).write_text(json.dumps({"pid": os.getppid(), "host": socket.gethostname()}))
    with pytest.raises(ConfigError, match="a batch works there"), held(tmp_path):
        pass
    (tmp_path / HELD).write_text(json.dumps({"pid": 2**22 + 1, "host": socket.gethostname()}))
    with held(tmp_path):  # that one is gone
        assert json.loads((tmp_path / HELD).read_text())["pid"] == os.getpid()
    assert not (tmp_path / HELD).exists()


STUBS = {
    "pbs": {
        "qsub": 'for last; do :; done; sh "$last" > /dev/null 2>&1; echo $? > jobs.$$; echo "$*" >> asked; '
        "echo $$.server",
        "qstat": 'for last; do :; done; echo "    job_state = F"; echo "    Exit_status = $(cat jobs.${last%.server})"',
        "qdel": "true",
    },
    "lsf": {
        "bsub": 'for last; do :; done; "$last" > /dev/null 2>&1; echo $? > jobs.$$; echo "$*" >> asked; '
        'echo "Job <$$> is submitted to queue <normal>."',
        "bjobs": 'for last; do :; done; [ "$(cat jobs.$last)" = 0 ] && echo DONE || echo EXIT',
        "bkill": "true",
    },
}
"""Programs that stand in for a scheduler: they take what the profile asks for, run the job at once, and answer in the
scheduler's words."""


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", sorted(STUBS))
def test_profiles_speak_as_their_schedulers(scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("snakemake_executor_plugin_cluster_generic", reason="the extra `cluster` is not installed")
    for name, body in STUBS[scheduler].items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    scan = tmp_path / "s.h5"
    assert main(["-q", "ct", "simulate", str(scan), "--views", "24", "--rows", "2", "--columns", "32"]) == 0
    (tmp_path / "scans.csv").write_text("name,scan\na,s.h5\nnone,none.h5\n")
    done = batch(tmp_path, "--profile", scheduler, "--no-preview", "--memory-mb", "700", "--minutes", "90")
    assert states(tmp_path) == {"a": "done", "none": "no run"}, done.stdout + done.stderr
    asked = (tmp_path / "results" / "asked").read_text()
    assert ("mem=700mb" in asked and "walltime=1:30:00" in asked) or ("mem=700" in asked and "-W 90" in asked), asked
