"""The benchmark of particle images runs, at sizes that say nothing about speed, and compares what is alike."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from workflows.benchmarks.cryoem_contenders import Contender, commands, problem
from workflows.benchmarks.cryoem_projectors import main, ratio, table
from workflows.benchmarks.stopwatch import Seconds, of_command


def test_quick_writes_a_line_for_each_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOMODIFF_THREADS", "1")  # so that what main() sets is undone
    assert main(["--quick", "--no-peers", "--reps", "1", "--threads", "1", "--results", str(tmp_path)]) == 0
    rows = [json.loads(line) for line in (tmp_path / "cryoem_projectors.jsonl").read_text().splitlines()]
    assert {row["program"] for row in rows} == {"tomodiff linear", "tomodiff kaiser-bessel"}
    tasks = {(row["task"], row["scope"]) for row in rows}
    assert {("slices with CTF", "kernel"), ("slices with CTF", "operator"), ("insertion with CTF", "kernel"),
            ("gradient in volume, pose, CTF", "operator"), ("two half maps with CTF", "command")} <= tasks  # fmt: skip
    for row in rows:
        assert row["quick"] and row["threads"] == 1 and 0 < row["cpu_s"] < 60 and row["wall_s"] > 0
        assert {"commit", "date", "machine", "isa", "version", "command", "times_ours"} <= set(row)
    assert "images/CPU s" in capsys.readouterr().out


def test_ratios_are_of_our_linear_kernel_at_the_same_task() -> None:
    def row(task: str, program: str, cpu: float) -> Contender:
        return Contender(task, "kernel", program, "1", Seconds, seconds=Seconds(cpu, 1.0))

    rows = [row("slices", "tomodiff linear", 2.0), row("slices", "peer", 5.0), row("insertion", "peer", 9.0)]
    assert [ratio(r, rows) for r in rows] == [None, 2.5, None]
    assert table(rows, 100).splitlines()[3].split()[:7] == ["slices", "kernel", "peer", "5", "1", "20", "2.50"]


def test_a_command_is_charged_for_its_own_work(tmp_path: Path) -> None:
    work = "import time, hashlib\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    busy = of_command([sys.executable, "-S", "-c", work], tmp_path)
    idle = of_command([sys.executable, "-S", "-c", "import time; time.sleep(0.3)"], tmp_path)
    assert busy.cpu >= 0.3 > idle.cpu and idle.wall >= 0.3
    with pytest.raises(RuntimeError, match="failed with 3:\nbecause"):
        of_command([sys.executable, "-c", "print('because'); raise SystemExit(3)"], tmp_path)


@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_project") is None, reason="RELION is not installed")
def test_both_programs_do_the_same(tmp_path: Path) -> None:
    """Images to the outermost frequencies, which each treats its own way; maps where neither masks."""
    volume, particles = problem(60, 32, np.random.default_rng(1))
    for row in commands(volume, particles, tmp_path, 1, True):
        row.run()
    ours, theirs = (mrcfile.read(tmp_path / name) for name in ("ours.mrcs", "out.mrcs"))
    assert np.linalg.norm(ours - theirs) < 1e-2 * np.linalg.norm(theirs)
    assert (tmp_path / "half1.mrc").exists() and (tmp_path / "half2.mrc").exists()
    assert (tmp_path / "made.mrc").exists() and (tmp_path / "all.mrc").exists()
