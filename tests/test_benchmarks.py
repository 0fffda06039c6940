"""The benchmark of the projectors runs, at sizes that say nothing about speed, and keeps what it finds."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from workflows.benchmarks.contenders import Contender, Ours
from workflows.benchmarks.ct_projectors import main
from workflows.benchmarks.measure import Measurement, measure
from workflows.benchmarks.problems import cone256, cone512, par512, rolled
from workflows.benchmarks.record import table
from workflows.benchmarks.stopwatch import Seconds, on_host

REPOSITORY = Path(__file__).resolve().parent.parent
FLOAT32_GRAM = 1e-6
"""The Gram mismatch of an exact pair in float32."""


def test_quick_writes_a_line_for_each_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOMODIFF_THREADS", "1")  # so that what main() sets is undone
    assert main(["--quick", "--no-peers", "--reps", "1", "--threads", "1", "--results", str(tmp_path)]) == 0
    lines = [json.loads(line) for line in (tmp_path / "ct_projectors.jsonl").read_text().splitlines()]
    assert [(row["problem"], row["model"], row["dtype"], row["walk"]) for row in lines] == [
        ("par512", "joseph", "float32", "rows"),
        ("par512", "footprint", "float32", "footprint"),
        ("par512", "joseph", "float64", "rows"),
        ("cone256", "joseph", "float32", "columns"),
        ("cone256", "footprint", "float32", "footprint"),
        ("cone256", "joseph", "float64", "columns"),
        ("cone256-roll", "joseph", "float32", "rays"),
    ]
    for row in lines:
        assert row["quick"] and row["threads"] == 1 and row["program"] == "tomodiff"
        assert min(row["forward_cpu_s"], row["adjoint_cpu_s"], row["forward_wall_s"], row["adjoint_wall_s"]) >= 0
        assert row["mism_gram"] <= FLOAT32_GRAM
        assert {"commit", "date", "machine", "isa", "versions", "command", "forward_gups", "adjoint_ratio"} <= set(row)
    printed = capsys.readouterr().out
    assert "too small to judge" in printed and "tomodiff joseph (columns)" in printed
    assert main(["cone256", "--quick", "--no-peers", "--reps", "1", "--results", str(tmp_path)]) == 0
    assert len((tmp_path / "ct_projectors.jsonl").read_text().splitlines()) == len(lines) + 4


def test_no_gpu_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOMODIFF_THREADS", "1")
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert main(["--device", "cuda", "--results", str(tmp_path)]) == 2
    assert "CuPy" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_problems_are_the_documented_ones() -> None:
    par, cone, large = par512(), cone256(), cone512()
    assert (par.grid.shape, par.projections) == ((64, 512, 512), (360, 64, 512))
    assert (cone.grid.shape, cone.projections) == ((256, 256, 256), (180, 256, 256))
    assert (large.grid.shape, large.projections) == ((512, 512, 512), (360, 768, 1024))
    assert cone.scan.magnification == pytest.approx(2) and large.scan.magnification == pytest.approx(2)
    assert par.updates == 64 * 512 * 512 * 360
    upright, turned = cone.scan.frames(), rolled(cone).scan.frames()
    np.testing.assert_array_equal(upright[:, :6], turned[:, :6])
    for columns in (slice(6, 9), slice(9, 12)):
        cosine = np.sum(upright[:, columns] * turned[:, columns], axis=1) / 2.0**2
        np.testing.assert_allclose(np.rad2deg(np.arccos(cosine)), 1.0, rtol=1e-6)


class Unmatched(Contender):
    """A pair whose adjoint is 10 % too strong, and whose times are known."""

    program, version, model, share = "unmatched", "1", "none", 0.5

    def __init__(self, ours: Ours) -> None:
        super().__init__(ours.problem)
        self.ours = ours

    def forward(self, x: np.ndarray) -> np.ndarray:
        return self.ours.forward(x)  # type: ignore[no-any-return]

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        return self.ours.adjoint(y) * np.float32(1.1)  # type: ignore[no-any-return]


def test_measuring_scales_times_and_shows_unmatched_pairs() -> None:
    ours = Ours(cone256(quick=True), np)
    rows = [Measurement(ours), Measurement(Unmatched(ours))]
    times = iter([4.0, 8.0, 30.0, 40.0, 5.0, 6.0, 10.0, 60.0])
    measure(rows, 2, lambda call: Seconds(next(times), 1.0), say=lambda text: None)
    assert (rows[0].forward.cpu, rows[0].adjoint.cpu) == (4.0, 6.0)
    assert (rows[1].forward.cpu, rows[1].adjoint.cpu) == (20.0, 80.0)  # the best of two, of half of the problem
    assert rows[0].mism_gram <= FLOAT32_GRAM and rows[1].mism_gram == pytest.approx(0.1, rel=1e-3)
    assert rows[1].difference == 0
    rows[0].reference, rows[0].goals, rows[0].stretch = rows[1], (4.0, 14.0), (5.0, 14.0)
    assert rows[0].ratios == (5.0, 80 / 6) and rows[0].met == (True, False)
    printed = table(rows, "cpu", judged=True)
    assert "fwd met (5 too), adj MISSED" in printed


def test_the_stopwatch_counts_work_not_waiting() -> None:
    slept = on_host(lambda: time.sleep(0.05))
    assert slept.wall >= 0.05 > slept.cpu


@pytest.mark.slow
@pytest.mark.parametrize(("problem", "program", "module"), [("par512", "ASTRA", "astra"), ("cone256", "RTK", "itk")])
def test_peers_project_the_same_scan(problem: str, program: str, module: str, tmp_path: Path) -> None:
    # All interpolate as Joseph (1982) does, so only rounding lies between.  Where positions along a ray are added up in
    # float32, 64 steps of half an ulp of 32 move it by up to 64 x 2e-6 = 1.2e-4 pixels; in a volume of white noise,
    # whose neighbours differ by sqrt(2) times their own size, that is a relative 2e-4.
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{program} is not installed")
    command = [sys.executable, "-m", "workflows.benchmarks.ct_projectors", problem, "--quick", "--reps", "1"]
    command += ["--results", str(tmp_path)]  # a process of its own: ITK does not load where warnings are errors
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "ct_projectors.jsonl").read_text().splitlines()]
    (peer,) = [row for row in rows if row["program"] == program]
    assert peer["difference"] < 2e-4
    assert peer["mism_gram"] <= FLOAT32_GRAM
    (ours,) = [row for row in rows if row["goals"] and row["walk"] != "rays"]
    assert ours["ratio_of"] == f"{problem} {program} {peer['model']}"
    assert ours["forward_ratio"] == pytest.approx(peer["forward_cpu_s"] / ours["forward_cpu_s"], rel=1e-2)
