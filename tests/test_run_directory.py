"""The run directory: appears whole, is never overwritten unasked, tells how its run ended."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tomodiff.errors import ConfigError, DataError, Diverged, Stopped
from tomodiff.files import read_volume
from tomodiff.geometry import Grid
from tomodiff.recipes.config_file import load_settings, settings_from
from tomodiff.recipes.ct.settings import CtSettings
from tomodiff.recipes.place import Place
from tomodiff.recipes.run import Run
from tomodiff.recipes.volume_summary import summary
from tomodiff.result import Result


def settings(out: Path, **more: object) -> CtSettings:
    given = {"input.path": (str(out.parent / "scan.h5"), ""), "output.path": (str(out), "-o")}
    return settings_from(given | {name.replace("__", "."): (value, name) for name, value in more.items()})


@pytest.fixture
def result(rng: np.random.Generator) -> Result:
    return Result(rng.random((4, 6, 5), dtype=np.float32), Grid((4, 6, 5), 0.5))


def test_a_new_run_has_everything(tmp_path: Path) -> None:
    (tmp_path / "scan.h5").write_bytes(b"not read here")
    run = Run.create(settings(tmp_path / "vol.h5"), ["tomodiff", "ct", "reconstruct"])
    assert run.path == tmp_path / "vol.run"
    assert run.volume_path == tmp_path / "vol.h5"
    assert load_settings(run.path / "config.yml") == run.settings
    env = json.loads((run.path / "env.json").read_text())
    assert env["inputs"]["scan"]["sha256"] == hashlib.sha256(b"not read here").hexdigest()
    assert env["inputs"]["scan"]["bytes"] == 13
    assert env["packages"]["numpy"] == np.__version__
    assert env["command"] == ["tomodiff", "ct", "reconstruct"]
    assert env["machine"]["isa"]
    assert not list(tmp_path.glob(".*"))


def test_a_folder_holds_run_and_volume(tmp_path: Path, result: Result) -> None:
    with Run.create(settings(tmp_path / "deep" / "er" / "tooth")) as run:
        run.finish(result)
    assert run.volume_path == tmp_path / "deep" / "er" / "tooth" / "volume.h5"
    np.testing.assert_array_equal(read_volume(run.volume_path)[0], result.volume)
    assert Run.open(run.path).status["state"] == "done"


@pytest.mark.parametrize(
    ("name", "form", "volume", "folder"),
    [("a.nii.gz", None, "a.nii.gz", "a.run"), ("a.b.mrc", None, "a.b.mrc", "a.b.run"),
     ("a", "mrc", "a/volume.mrc", "a"), ("a", "tiffs", "a/volume", "a"), ("a.TIFF", None, "a.TIFF", "a.run")],
)  # fmt: skip
def test_places(tmp_path: Path, name: str, form: str | None, volume: str, folder: str) -> None:
    more = {"output__format": form} if form else {}
    place = Place.of(settings(tmp_path / name, **more).output)
    assert place == Place(tmp_path / folder, tmp_path / volume)


def test_nothing_is_overwritten_unasked(tmp_path: Path, result: Result) -> None:
    with Run.create(settings(tmp_path / "v.npy")) as run:
        run.finish(result)
    before = (run.path / "env.json").read_bytes()
    for path in (run.volume_path, run.path):
        with pytest.raises(ConfigError, match="--overwrite"):
            Run.create(settings(tmp_path / "v.npy"))
        if path == run.volume_path:
            path.unlink()  # the run directory alone is in the way as well
    assert (run.path / "env.json").read_bytes() == before
    again = Run.create(settings(tmp_path / "v.npy", output__overwrite=True))
    assert again.status["state"] == "running"


def test_a_foreign_folder_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("precious")
    with pytest.raises(ConfigError, match="no run directory"):
        Run.create(settings(tmp_path / "thesis", output__overwrite=True))
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "precious"
    (tmp_path / "v.run").write_text("a file")
    with pytest.raises(ConfigError, match="found a file"):
        Run.create(settings(tmp_path / "v.h5", output__overwrite=True))


def test_a_run_that_goes_on_is_not_overwritten_nor_resumed(tmp_path: Path) -> None:
    run = Run.create(settings(tmp_path / "a"))
    other = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        status = json.loads((run.path / "status.json").read_text()) | {"pid": other.pid}
        (run.path / "status.json").write_text(json.dumps(status))
        with pytest.raises(ConfigError, match=f"process {other.pid}"):
            Run.create(settings(tmp_path / "a", output__overwrite=True))
        with pytest.raises(ConfigError, match="still runs"):
            Run.open(run.path).restart()
    finally:
        other.communicate()
    Run.create(settings(tmp_path / "a", output__overwrite=True))  # it ended without a word: a crash


def test_a_failure_that_left_nothing_may_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(Diverged), Run.create(settings(tmp_path / "a")) as run:
        raise Diverged("objective is NaN")
    assert run.status["state"] == "failed"
    assert "NaN" in (run.path / "log.txt").read_text()
    with pytest.raises(ConfigError, match="no checkpoint"):
        Run.open(run.path).restart()
    Run.create(settings(tmp_path / "a"))


def test_stopped_with_a_checkpoint_is_kept_and_resumes(tmp_path: Path, result: Result) -> None:
    with pytest.raises(Stopped, match="tomodiff resume"), Run.create(settings(tmp_path / "a")) as run:
        run.log_metrics({"iteration": 1, "objective": 3.0})
        run.log_metrics({"iteration": 2, "objective": 2.0})
        run.checkpoint().write_bytes(b"state after 1")
        raise run.stopped(1)
    with pytest.raises(ConfigError, match="resume"):
        Run.create(settings(tmp_path / "a"))
    again = Run.open(run.path)
    assert again.status["state"] == "stopped"
    again.restart()
    with again:
        assert again.checkpoint().read_bytes() == b"state after 1"
        again.log_metrics({"iteration": 2, "objective": 2.5})
        again.finish(result)
    assert [m["objective"] for m in Run.open(run.path).metrics()] == [3.0, 2.5]
    assert len(Run.open(run.path).status["resumed"]) == 1
    assert not again.has_checkpoint()
    with pytest.raises(ConfigError, match="done already"):
        Run.open(run.path).restart()


def test_metrics_are_lines_that_a_crash_cannot_spoil(tmp_path: Path) -> None:
    run = Run.create(settings(tmp_path / "a"))
    run.log_metrics({"iteration": np.int64(1), "objective": np.float32(0.5), "bad": float("nan"), "v": np.arange(2)})
    with (run.path / "metrics.jsonl").open("a") as stream:
        stream.write('{"iteration": 2, "objec')
    line = json.loads((run.path / "metrics.jsonl").read_text().splitlines()[0])
    assert line["objective"] == 0.5 and line["bad"] is None and line["v"] == [0, 1] and line["seconds"] >= 0
    assert [m["iteration"] for m in run.metrics()] == [1]


def test_log_and_warnings_are_kept(tmp_path: Path) -> None:
    with pytest.raises(DataError), Run.create(settings(tmp_path / "a")) as run:
        run.warn("axis found with little confidence")
        run.warn("axis found with little confidence")
        logging.getLogger("tomodiff").info("reading 5 views")
        raise DataError("scan.h5", "angles", "180 angles", "7")
    assert Run.open(run.path).warnings == ["axis found with little confidence"]
    log = (run.path / "log.txt").read_text()
    assert "reading 5 views" in log and "expected 180 angles, found 7" in log and "Traceback" not in log
    assert not any(isinstance(h, logging.FileHandler) for h in logging.getLogger("tomodiff").handlers)


def test_report_data_come_back(tmp_path: Path) -> None:
    run = Run.create(settings(tmp_path / "a"))
    run.save_report_data("center", {"candidates": np.arange(5.0), "center": 2.25, "score": "entropy", "none": None})
    back = run.report_data("center")
    assert back is not None and set(back) == {"candidates", "center", "score"}
    assert float(back["center"]) == 2.25 and str(back["score"]) == "entropy"
    assert run.report_data("nothing") is None
    with pytest.raises(TypeError, match="thing"):
        run.save_report_data("x", {"thing": {"a": object()}})
    (run.path / "report_data" / "center.npz").write_bytes(b"PK broken")
    with pytest.raises(DataError, match=r"center\.npz"):
        run.report_data("center")


def test_no_permission_is_explained(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        target = Path("/proc/nowhere/run")  # root may write anywhere but here
    else:
        (tmp_path / "locked").mkdir(mode=0o500)
        target = tmp_path / "locked" / "run"
    with pytest.raises((ConfigError, DataError), match=str(target)):
        Run.create(settings(target))


def test_a_file_cannot_hold_a_run(tmp_path: Path) -> None:
    (tmp_path / "scan.h5").write_bytes(b"x")
    for name in ("run", "volume.h5"):
        with pytest.raises(ConfigError, match="found a file"):
            Run.create(settings(tmp_path / "scan.h5" / name))


def test_what_is_no_run_directory_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigError, match="expected a run directory"):
            Run.open(path)


def test_the_first_signal_only_asks(tmp_path: Path) -> None:
    run = Run.create(settings(tmp_path / "a"))
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        run = Run.open(run.path)
        with run.interruptible():
            assert not run.stop_requested
            os.kill(os.getpid(), number)
            assert run.stop_requested
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
        assert signal.getsignal(number) is before


def test_summary_survives_volumes_of_nan_and_of_one_value() -> None:
    flat = Result(np.zeros((1, 3, 3), np.float32), Grid((1, 3, 3), 1.0))
    assert summary(flat)["counts"].sum() == 9
    broken = Result(np.full((2, 3, 3), np.nan, np.float32), Grid((2, 3, 3), 1.0))
    assert summary(broken)["bad"] == 18
