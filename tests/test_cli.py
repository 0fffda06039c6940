"""The command: what it says, what it refuses, and with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import tomodiff
from tomodiff.cli.main import main
from tomodiff.cli.options import INPUT, OUTPUT, PREPARE, RECONSTRUCTION, describe, flag
from tomodiff.files import read_truth, write


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated scan, made by the command itself."""
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    assert (
        main(["-q", "ct", "simulate", str(path), "--views", "24", "--rows", "6", "--columns", "32", "--seed", "3"]) == 0
    )
    return path


def refused(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """Run a command that must fail with this code; returns its message, which is no traceback."""
    assert main(list(arguments)) == code
    said = capsys.readouterr().err
    assert said.strip() and "Traceback" not in said
    return said


def test_help_imports_neither_numpy_nor_matplotlib() -> None:
    program = (
        "import sys; from tomodiff.cli.main import main; code = main(['--help']); "
        "heavy = {'numpy', 'scipy', 'h5py', 'matplotlib', 'cupy', 'torch'} & set(sys.modules); "
        "sys.exit(code or (f'imported {heavy}' if heavy else 0))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("run", "check", "info", "doctor", "demo", "report", "resume", "init", "ct"):
        assert command in done.stdout


def test_importing_the_package_is_light_and_its_names_are_real() -> None:
    program = "import sys, tomodiff; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
    assert tomodiff.Grid((2, 2, 2), 1.0).shape == (2, 2, 2)
    assert set(tomodiff.__all__) <= set(dir(tomodiff))
    with pytest.raises(AttributeError, match="no attribute 'grid_of_things'"):
        tomodiff.grid_of_things  # noqa: B018


@pytest.mark.parametrize("name", [n for n in tomodiff.__all__ if n != "__version__"])
def test_every_public_name_exists(name: str) -> None:
    assert getattr(tomodiff, name).__doc__


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"tomodiff {tomodiff.__version__}"


@pytest.mark.parametrize("command", [["run"], ["ct", "reconstruct"], ["ct", "center"], ["ct", "simulate"], ["info"]])
def test_each_command_has_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    assert "Usage: tomodiff" in capsys.readouterr().out


def test_every_setting_of_a_section_is_an_option(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["ct", "reconstruct", "--help"]) == 0
    shown = capsys.readouterr().out
    names = [*INPUT, *PREPARE, *RECONSTRUCTION, *OUTPUT, "output.path", "preview", "seed"]
    assert len({flag(name) for name in names}) == len(names)
    for name in names:
        assert flag(name) in shown
        assert describe(name).description.split()[0] in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["ct", "recnstruct"], "reconstruct"), (["ct", "reconstruct", "s.h5", "--metod", "fbp"], "--method"),
     (["ct", "reconstruct"], "SCAN"), (["resume"], "RUN"), (["demo", "what"], "expected ct"),
     (["init", "what"], "expected ct"),
     (["ct", "reconstruct", "s.h5", "--set", "seed"], "name=value"), (["run", "missing.yml"], "missing.yml")],
)  # fmt: skip
def test_wrong_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in refused(capsys, 2, *arguments)


def test_wrong_settings_are_listed_with_their_options(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    message = refused(
        capsys, 2, "ct", "reconstruct", "s.h5", "-o", str(tmp_path / "v.foo"), "--center", "left", "--bin", "0",
        "--method", "cgls", "--tv-weight", "1", "--set", "seed=-4",
    )  # fmt: skip
    assert "5 mistakes" in message
    for option in ("--center", "--bin", "--tv-weight", "--out", "--set seed"):
        assert f"  {option}: " in message


def test_missing_broken_and_foreign_files_are_data_errors(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("not HDF5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["weather/rain"] = np.ones(3)
    for name in ("absent.h5", "text.h5", "other.h5"):
        message = refused(capsys, 3, "ct", "reconstruct", str(tmp_path / name), "-o", str(tmp_path / "out"))
        assert name in message and "expected" in message and "found" in message
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.h5", "text.h5"]  # no run directory for these


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["info", str(tmp_path / "absent.h5"), "--debug"]) == 3  # may stand anywhere
    assert "Traceback" in capsys.readouterr().err


def test_simulated_scan(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(scan)]) == 0
    shown = capsys.readouterr().out
    assert "24 views of 6 rows x 32 columns" in shown and "0 to 172.5 degrees" in shown
    assert main(["check", str(scan)]) == 0
    assert read_truth(scan).volume.max() > 0


def test_simulations_repeat_and_are_not_overwritten(
    scan: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    small = ["--views", "24", "--rows", "6", "--columns", "32"]
    before = scan.read_bytes()
    assert "--overwrite" in refused(capsys, 2, "ct", "simulate", str(scan), *small)
    assert scan.read_bytes() == before
    data = {}
    for seed in ("3", "3", "4"):
        path = tmp_path / f"{len(data)}.h5"
        assert main(["-q", "ct", "simulate", str(path), *small, "--seed", seed]) == 0
        with h5py.File(path) as file:
            data[path.name] = file["exchange/data"][()]
    np.testing.assert_array_equal(data["0.h5"], data["1.h5"])
    assert np.any(data["0.h5"] != data["2.h5"])


def test_simulated_cone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cone.nxs"
    size = ["--views", "8", "--rows", "6", "--columns", "20", "--phantom", "beads"]
    assert main(["ct", "simulate", str(path), *size, "--source-axis-mm", "50", "--source-detector-mm", "80"]) == 0
    assert main(["info", str(path)]) == 0
    assert "ConeBeam" in capsys.readouterr().out
    assert "go together" in refused(capsys, 2, "ct", "simulate", str(tmp_path / "x.h5"), *size, "--source-axis-mm", "5")
    assert "shepp-logan" in refused(capsys, 2, "ct", "simulate", str(tmp_path / "x.h5"), "--phantom", "cat")


def test_check_of_a_bad_scan(tmp_path: Path, scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.h5"
    bad.write_bytes(scan.read_bytes())
    with h5py.File(bad, "r+") as file:
        file["exchange/data"][3, 2, 5] = np.nan
    assert "NaN" in refused(capsys, 3, "check", str(bad))


def test_check_of_what_is_no_scan(capsys: pytest.CaptureFixture[str]) -> None:
    samples = Path(__file__).parent.parent / "datasets"
    assert main(["check", str(samples / "mri_sample.h5")]) == 0
    assert "acquisitions of 8 coils" in capsys.readouterr().out
    assert main(["check", str(samples / "optical_sample" / "transforms_train.json")]) == 0
    assert "photographs" in capsys.readouterr().out


def test_parts_of_a_scan_that_are_not_there_are_usage_errors(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["ct", "reconstruct", str(scan), "-o", str(tmp_path / "v.h5")]
    assert "bin: expected at most the detector's 6 x 32 pixels" in refused(capsys, 2, *command, "--bin", "1000")
    assert "views: expected a part of 0:24, found 500:600" in refused(capsys, 2, *command, "--views", "500:600")


def test_results_are_not_written_over_nor_among_their_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lights.txt").write_text("0 0 1\n" * 3)
    command = ["optical", "normals", str(tmp_path), "--lights", str(tmp_path / "lights.txt"), "-o", str(tmp_path)]
    assert "add --overwrite" in refused(capsys, 2, *command)
    assert "another folder than that of the pictures" in refused(capsys, 2, *command, "--overwrite")


def test_check_of_settings(tmp_path: Path, scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "run.yml"
    config.write_text(f"input: {{path: {scan}}}\noutput: {{path: out.h5}}\n")
    assert main(["check", str(config)]) == 0
    shown = capsys.readouterr().out
    assert str(tmp_path / "out.run") in shown and "6 x 32 x 32 voxels" in shown and "needed" in shown
    (tmp_path / "out.h5").write_bytes(b"")
    assert "exists already" in refused(capsys, 2, "check", str(config))
    config.write_text("input: {path: absent.h5}\n")
    assert str(tmp_path / "absent.h5") in refused(capsys, 3, "check", str(config))


@pytest.mark.parametrize("suffix", [".h5", ".tif", ".mrc", ".npy"])
def test_info_of_volumes(suffix: str, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"volume{suffix}"
    write(path, read_truth(scan))
    assert main(["info", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "6 x 32 x 32, float32" in shown and "0.1 x 0.1 x 0.1 mm" in shown


def test_doctor_never_fails(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOMODIFF_ISA", "z80")
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert tomodiff.__version__ in shown and np.__version__ in shown
    assert "FAILS" in shown and "TOMODIFF_ISA=z80" in shown


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(f"{sys.executable} -m tomodiff init ct | head -1", shell=True, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "" and done.stdout.startswith("# Settings")


def test_what_is_found_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object on stdout, of the same facts that the lines for people have, and nothing beside it."""
    sample = str(Path(__file__).parents[1] / "datasets" / "ct_sample.h5")
    for command in (["info", sample], ["check", sample], ["doctor"], ["ct", "center", sample, "--compare"]):
        assert main([*command, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert main(command) == 0
        lines = capsys.readouterr().out
        assert found and all(name in lines for name in found if name not in ("notes", "column")), command
        assert all(str(value) in lines for value in found.get("notes", []))
    assert main(["--json", "info", str(tmp_path / "none.h5")]) == 3
    assert "none.h5" in json.loads(capsys.readouterr().out)["error"]
