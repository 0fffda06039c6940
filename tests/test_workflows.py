"""The Snakemake workflow: a table of scans in, one run each, and a summary whatever happens."""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tomodiff.cli.main import main
from tomodiff.errors import Diverged
from tomodiff.geometry import Grid
from tomodiff.recipes.config_file import load_settings, settings_from
from tomodiff.recipes.run import Run
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
    return Run.create(
        settings_from({"input.path": (str(out / "s.h5"), ""), "output.path": (str(out / f"{name}.h5"), "")})
    )


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
    (tmp_path / "logs" / "never.log").write_text("x\nerror: absent.h5: expected an existing file, found nothing\n")
    (tmp_path / "torn.run").mkdir()
    (tmp_path / "torn.run" / "status.json").write_text('{"state": "ru')
    assert summary.main([str(tmp_path), "good", "bad", "never", "torn"]) == 0
    with (tmp_path / "summary.csv").open() as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    assert [row["state"] for row in rows.values()] == ["done", "failed", "no run", "no run"]
    assert rows["good"]["center"] == "12.25" and rows["good"]["iterations"] == "7"
    assert "NaN" in rows["bad"]["message"] and "absent.h5" in rows["never"]["message"]
    page = (tmp_path / "summary.html").read_text()
    assert 'href="good.run/report.html"' in page and 'href="bad.run' not in page
    assert "few &lt;views&gt;" in page and page.count("<img") == 1 and "1 of 4 done" in page
    assert summary.main([str(tmp_path)]) == 2


def test_the_shipped_table_and_settings_are_valid(tmp_path: Path) -> None:
    with (WORKFLOWS / "scans.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows
    for row in rows:
        given = {key: (value, key) for key, value in row.items() if value and key not in ("name", "scan")}
        load_settings(WORKFLOWS / "settings.yml", {"input.path": (row["scan"], "scan"), **given})


def snakemake(tmp_path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("snakemake", reason="Snakemake is not installed")
    env = os.environ | {"PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", str(WORKFLOWS / "Snakefile"), "--profile",
         str(WORKFLOWS / "profiles" / "local"), "--cores", "1", "--directory", str(tmp_path), "--config",
         f"scans={tmp_path / 'scans.csv'}", f"out={tmp_path / 'results'}", "threads=1", *more],
        capture_output=True, text=True, env=env, cwd=tmp_path,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("table", "said"),
    [("name,scan\n", "at least one scan"), ("name,scan\na,x.h5\na,y.h5\n", "line 3"), ("name,scan\na/b,x.h5\n", "'/'"),
     ("scan\nx.h5\n", "line 2")],
)  # fmt: skip
def test_wrong_tables_are_one_message(table: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "scans.csv").write_text(table)
    done = snakemake(tmp_path, "--dry-run")
    assert done.returncode != 0
    assert said in done.stdout + done.stderr


def test_a_failing_scan_does_not_stop_the_others(tmp_path: Path) -> None:
    pytest.importorskip("tomodiff.recipes.ct", reason="the CT recipe is not here")
    pytest.importorskip("snakemake", reason="Snakemake is not installed")
    scan = tmp_path / "a scan.h5"
    assert main(["-q", "ct", "simulate", str(scan), "--views", "24", "--rows", "2", "--columns", "32"]) == 0
    table = tmp_path / "scans.csv"
    table.write_text(
        "name,scan,reconstruction.method,reconstruction.iterations\n"
        "absent,absent.h5,,\nwrong,a scan.h5,fbpp,\nfbp,a scan.h5,,\nsirt,a scan.h5,sirt,5\n"
    )
    done = snakemake(tmp_path)
    assert done.returncode != 0
    with (tmp_path / "results" / "summary.csv").open() as stream:
        states = {row["name"]: row["state"] for row in csv.DictReader(stream)}
    assert states == {"absent": "no run", "wrong": "no run", "fbp": "done", "sirt": "done"}, done.stderr
    assert "fbpp" in (tmp_path / "results" / "logs" / "wrong.log").read_text()
    assert (tmp_path / "results" / "sirt.run" / "report.html").exists()
    before = (tmp_path / "results" / "sirt.h5").stat().st_mtime_ns
    table.write_text(
        "name,scan,reconstruction.method,reconstruction.iterations\nfbp,a scan.h5,,\nsirt,a scan.h5,sirt,5\n"
    )
    again = snakemake(tmp_path)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "results" / "sirt.h5").stat().st_mtime_ns == before  # nothing was done twice
