"""From a scan file to a volume by the command alone: results, exit codes, interruption and resume."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

pytest.importorskip("tomodiff.recipes.ct.reconstruct", reason="the CT recipe is not here")

from tomodiff.cli.main import main
from tomodiff.errors import ConfigError, DataError, Diverged, MemoryNeeded
from tomodiff.files import read_truth, read_volume
from tomodiff.geometry.grid import field_of_view
from tomodiff.report.metrics import psnr
from tomodiff.report.truth import on_grid
from tomodiff.result import Result

SMALL = ("--views", "90", "--rows", "8", "--columns", "64", "--seed", "7")


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A parallel-beam scan with noise, whose axis lies 2.5 pixels off the middle of the detector."""
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    assert main(["-q", "ct", "simulate", str(path), *SMALL, "--axis-shift", "2.5", "--rings", "0.01"]) == 0
    return path


@pytest.fixture(scope="module")
def cone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cone-beam scan with noise."""
    path = tmp_path_factory.mktemp("cone") / "cone.h5"
    beam = ["--source-axis-mm", "60", "--source-detector-mm", "100"]
    assert main(["-q", "ct", "simulate", str(path), *SMALL, *beam]) == 0
    return path


def reconstruct(scan: Path, out: Path, *options: str) -> tuple[np.ndarray, dict[str, object]]:
    """Run the command; returns the volume and the status of the run."""
    given = ["ct", "reconstruct", str(scan), "-o", str(out), "--set", "output.report=false", *options]
    assert main(["-q", *given]) == 0
    run = out.with_suffix(".run") if out.suffix else out
    status = json.loads((run / "status.json").read_text())
    assert status["state"] == "done"
    return read_volume(status["volume"])[0], status


def quality(path: Path, scan: Path) -> float:
    """PSNR in dB against the truth, inside the field of view and away from the first and last slice."""
    volume, grid, _ = read_volume(path)
    truth = on_grid(read_truth(scan), grid)
    mask = np.broadcast_to(field_of_view(grid), truth.shape).copy()
    mask[[0, -1]] = False
    return psnr(volume, truth, mask)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("fbp", []),
        ("sirt", ["--iterations", "60"]),
        ("cgls", ["--iterations", "15"]),
        ("fista-tv", ["--iterations", "60"]),
    ],
)
def test_each_method_finds_the_object(method: str, options: list[str], scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "volume.h5"
    volume, status = reconstruct(scan, out, "--method", method, *options)
    assert np.isfinite(volume).all()
    # A volume of zeros scores 20 log10(range / rms of the object); a usable one is far above.
    empty = psnr(np.zeros_like(read_truth(scan).volume), read_truth(scan).volume)
    assert quality(out, scan) > empty + 8
    facts = status["facts"]
    assert isinstance(facts, dict) and facts["psnr_db"] > empty + 8
    lines = [json.loads(line) for line in (tmp_path / "volume.run" / "metrics.jsonl").read_text().splitlines()]
    iterations = [line["iteration"] for line in lines if "iteration" in line]
    assert iterations == sorted(set(iterations))
    assert (len(iterations) > 3) == (method != "fbp")


@pytest.mark.parametrize("method", ["auto", "sirt"])
def test_cone_beam(method: str, cone: Path, tmp_path: Path) -> None:
    options = ["--iterations", "40"] if method == "sirt" else []
    reconstruct(cone, tmp_path / "cone.mrc", "--method", method, *options)
    empty = psnr(np.zeros_like(read_truth(cone).volume), read_truth(cone).volume)
    assert quality(tmp_path / "cone.mrc", cone) > empty + 6


def test_the_axis_is_found_alone_and_by_the_job(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    true = 31.5 + 2.5
    assert main(["ct", "center", str(scan)]) == 0
    first = capsys.readouterr().out.split()
    assert abs(float(first[0]) - true) <= 0.1
    _, status = reconstruct(scan, tmp_path / "v.npy")
    facts = status["facts"]
    assert isinstance(facts, dict) and abs(facts["center"] - true) <= 0.1


def test_a_given_axis_is_taken(scan: Path, tmp_path: Path) -> None:
    _, status = reconstruct(scan, tmp_path / "v.npy", "--center", "34")
    facts = status["facts"]
    assert isinstance(facts, dict) and facts["center"] == 34


def test_rows_bin_and_formats(scan: Path, tmp_path: Path) -> None:
    alone = ["--center", "34", "--rings", "off", "--flux", "off"]  # corrections that look at other rows are left out
    whole, _ = reconstruct(scan, tmp_path / "whole.npy", *alone)
    part, _ = reconstruct(scan, tmp_path / "part.tif", *alone, "--rows", "2:5")
    assert part.shape[0] == 3
    np.testing.assert_allclose(part, whole[2:5], atol=1e-4 * np.abs(whole).max())
    binned, _ = reconstruct(scan, tmp_path / "folder", "--bin", "2", "--format", "mrc")
    assert (tmp_path / "folder" / "volume.mrc").exists()
    assert binned.shape[0] == 4
    assert all(abs(n - m / 2) <= 1 for n, m in zip(binned.shape[1:], whole.shape[1:], strict=True))


def test_a_file_of_settings_gives_the_same_volume_as_its_run(scan: Path, tmp_path: Path) -> None:
    first, _ = reconstruct(scan, tmp_path / "a.npy", "-m", "sirt", "--iterations", "5")
    config = tmp_path / "a.run" / "config.yml"
    assert main(["-q", "run", str(config), "--out", str(tmp_path / "b.npy")]) == 0
    assert not (tmp_path / "b.run" / "report.html").exists()
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), first)
    assert main(["-q", "run", str(config), "--out", str(tmp_path / "b.npy")]) == 2
    assert main(["-q", "run", str(config), "--out", str(tmp_path / "b.npy"), "--overwrite"]) == 0
    assert main(["-q", "report", str(tmp_path / "b.run")]) == 0
    page = (tmp_path / "b.run" / "report.html").read_text()
    for part in (
        "Volume",
        "Against the truth",
        "Convergence",
        "Correction of the projections",
        "Rotation axis",
        "What the volume explains",
    ):
        assert f"<h2>{part}</h2>" in page


def test_try_shows_a_few_slices(scan: Path, tmp_path: Path) -> None:
    volume, _ = reconstruct(scan, tmp_path / "v.npy", "--try")
    assert 1 <= volume.shape[0] <= 3
    status = json.loads((tmp_path / "v.run" / "status.json").read_text())
    assert status["facts"]["seconds_of_the_whole"] > 0  # what the whole volume will take


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("angles", lambda f: f["exchange"].move("theta", "elsewhere"), "angles"),
        ("flats", lambda f: f["exchange/data_white"].write_direct(np.zeros_like(f["exchange/data_white"])), "flat"),
        ("nan", lambda f: f["exchange/data"].write_direct(np.full_like(f["exchange/data"], np.nan)), "expected"),
    ],
)
def test_bad_scans_leave_no_volume(
    name: str, spoil: object, said: str, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / f"{name}.h5"
    bad.write_bytes(scan.read_bytes())
    with h5py.File(bad, "r+") as file:
        file["measurement"].pop("tomodiff", None)
        spoil(file)  # type: ignore[operator]
    out = tmp_path / "out.h5"
    assert main(["ct", "reconstruct", str(bad), "-o", str(out)]) == 3
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert str(bad) in message and said in message
    assert not out.exists()
    leftovers = [p for p in tmp_path.rglob("*") if ".part" in p.name]
    assert leftovers == []


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "tomodiff", *arguments], stderr=subprocess.PIPE, text=True)


def wait_for_iterations(run: Path, n: int, process: subprocess.Popen[str]) -> None:
    """Return once the run has logged `n` iterations."""
    for _ in range(1200):
        lines = (run / "metrics.jsonl").read_text().splitlines() if (run / "metrics.jsonl").exists() else []
        if len(lines) >= n:
            return
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"{run}: no {n} iterations within a minute")


@pytest.mark.parametrize(
    ("method", "number"), [("sirt", signal.SIGTERM), ("cgls", signal.SIGINT), ("fista-tv", signal.SIGINT)]
)
def test_an_interrupted_run_resumes_to_the_same_volume(
    method: str, number: signal.Signals, scan: Path, tmp_path: Path
) -> None:
    # Many iterations, so that the signal arrives long before the end; resumed with fewer, by editing what is left.
    job = ["ct", "reconstruct", str(scan), "-m", method, "--center", "34", "--set", "output.report=false"]
    whole, _ = reconstruct(scan, tmp_path / "whole.npy", *job[3:], "--iterations", "12", "--tolerance", "0")
    run = tmp_path / "cut"
    process = start(*job, "-o", str(run), "--iterations", "100000", "--tolerance", "0", "--format", "npy")
    wait_for_iterations(run, 4, process)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 75, said
    assert f"tomodiff resume {run}" in said
    assert json.loads((run / "status.json").read_text())["state"] == "stopped"
    assert not (run / "volume.npy").exists()
    done = len((run / "metrics.jsonl").read_text().splitlines())
    target = max(12, done + 3)
    config = run / "config.yml"
    config.write_text(config.read_text().replace("iterations: 100000", f"iterations: {target}"))
    assert main(["-q", "resume", str(run)]) == 0
    if target != 12:
        whole, _ = reconstruct(scan, tmp_path / "w2.npy", *job[3:], "--iterations", str(target), "--tolerance", "0")
    np.testing.assert_array_equal(np.load(run / "volume.npy"), whole)
    assert main(["-q", "resume", str(run)]) == 2


def test_interrupted_before_any_iteration_leaves_nothing_in_the_way(scan: Path, tmp_path: Path) -> None:
    process = start("ct", "reconstruct", str(scan), "-o", str(tmp_path / "v.npy"), "-m", "sirt", "--iterations", "9")
    for _ in range(600):
        if (tmp_path / "v.run").exists() or process.poll() is not None:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in (0, 75, 130)  # it may have been quicker
    if process.returncode == 130:
        reconstruct(scan, tmp_path / "v.npy")


@pytest.mark.parametrize(
    "error",
    [ConfigError("no such device"), DataError("scan.h5", "angles", "90", "7"), MemoryNeeded("needs 3 TB"),
     Diverged("the objective is NaN"), MemoryError("7 GB"), RuntimeError("a mistake of ours")],
)  # fmt: skip
def test_each_failure_has_its_code_and_is_kept(
    error: Exception, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = {ConfigError: 2, DataError: 3, MemoryNeeded: 4, MemoryError: 4, Diverged: 5, RuntimeError: 1}

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("tomodiff.recipes.ct.reconstruct.reconstruct", fail)
    assert main(["ct", "reconstruct", str(scan), "-o", str(tmp_path / "run")]) == codes[type(error)]
    said = capsys.readouterr().err
    assert str(error) in said and "Traceback" not in said
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["state"] == "failed" and status["message"] == str(error)
    log = (tmp_path / "run" / "log.txt").read_text()
    assert str(error) in log and ("Traceback" in log) == (type(error) in (RuntimeError, MemoryError))


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("name", ["volume.npy", "volume.mrc", "volume.tif"])
def test_a_full_disk_leaves_no_volume(name: str, scan: Path, tmp_path: Path) -> None:
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); "
        "from tomodiff.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    job = ["ct", "reconstruct", str(scan), "-o", str(tmp_path / name), "--center", "34"]
    done = subprocess.run([sys.executable, "-c", program, *job], capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert name in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*volume.[!r]*"))
    assert json.loads((tmp_path / "volume.run" / "status.json").read_text())["state"] == "failed"


def test_memory_is_estimated_before_the_start(
    cone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tomodiff.recipes.ct.reconstruct.free_bytes", lambda most=None: 1000)
    assert main(["ct", "reconstruct", str(cone), "-o", str(tmp_path / "run")]) == 4
    said = capsys.readouterr().err
    assert "may be taken" in said and "--bin" in said


def test_results_hold_their_provenance(scan: Path, tmp_path: Path) -> None:
    reconstruct(scan, tmp_path / "v.h5")
    volume, grid, meta = read_volume(tmp_path / "v.h5")
    assert Result(volume, grid).unit == "1/mm"
    assert meta.get("unit") == "1/mm" and meta.get("quantity") == "attenuation"


def test_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tomodiff.cli.demo.command import sample

    try:
        sample("ct")
    except ConfigError as error:
        pytest.skip(str(error))
    out = tmp_path / "demo"
    assert main(["demo", "ct", "-o", str(out)]) == 0
    assert "report.html" in capsys.readouterr().out
    assert "Against the truth" in (out / "report.html").read_text()
