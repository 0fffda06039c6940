"""Geometry found from projections: data from closed forms, errors of every kind, and the whole command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Measured
from tomodiff.cli.main import main
from tomodiff.errors import DataError
from tomodiff.files.geometry_file import read_geometry, write_geometry
from tomodiff.geometry import ConeBeam, Grid, ParallelBeam, Scan, Vectors
from tomodiff.objective import Gaussian
from tomodiff.projectors import XRay
from tomodiff.projectors.geometry_errors import NAMES, GeometryErrors
from tomodiff.recipes.calibration.identify import certainties
from tomodiff.recipes.calibration.joint import Plan, calibrate, calibrated
from tomodiff.recipes.calibration.names import ERRORS
from tomodiff.recipes.run import Run
from tomodiff.simulate.ellipsoids import Ellipsoids
from tomodiff.solvers import Cgls, solve

ONCE, EACH = ("detector_u", "detector_roll", "axis_tilt"), ("detector_u", "detector_v")
PHOTONS = 1e5


def phantom(rng: np.random.Generator, n: int = 25) -> Ellipsoids:
    """Ellipsoids in an ellipsoid, of all sizes and directions, within 22 mm."""
    turns = np.concatenate([np.linalg.qr(rng.normal(size=(n, 3, 3)))[0], np.eye(3)[None]])
    centres = np.vstack([rng.uniform(-14, 14, (n, 3)), np.zeros(3)])
    axes = np.vstack([rng.uniform(2, 7, (n, 3)), [22, 20, 22]])
    return Ellipsoids(centres, axes, turns, np.append(rng.uniform(0.01, 0.05, n), 0.02))


def without_rigid_motion(values: np.ndarray) -> np.ndarray:
    """What is left of errors of views without mean and first harmonic, which the sample as a whole may have made."""
    turn = 2 * np.pi * np.arange(len(values)) / len(values)
    basis = np.stack([np.ones(len(values)), np.cos(turn), np.sin(turn)], axis=1)
    return values - basis @ np.linalg.lstsq(basis, values, rcond=None)[0]


def taken(object_: Ellipsoids, true: Scan, rng: np.random.Generator) -> np.ndarray:
    """Line integrals with the noise of PHOTONS photons a pixel, from closed forms."""
    clean = object_.project(true, 2)
    counts = rng.poisson(PHOTONS * np.exp(-clean)).clip(1, None)
    return -np.log(counts / PHOTONS).astype("float32")


def crooked(n: int, rng: np.random.Generator) -> tuple[Scan, dict[str, np.ndarray], Vectors]:
    """A cone scan as meant, its errors (3 pixels, 2 and 1 degrees, 1 pixel in each view), and as it was."""
    views = 3 * n // 2
    scan = ConeBeam(np.linspace(0, 2 * np.pi, views, endpoint=False), 200.0, 400.0, (views, views), 96.0 / n)
    pixel = scan.pixel[0]
    errors = {"detector_u": 3 * pixel, "detector_roll": np.deg2rad(2.0), "axis_tilt": np.deg2rad(1.0)}
    truth = {name: np.array([value]) for name, value in errors.items()}
    for name in ("detector_u_each", "detector_v"):
        truth[name] = without_rigid_motion(pixel * rng.standard_normal(views))
    return scan, truth, calibrated(scan, Plan(ONCE, EACH), truth)


def misses(scan: Scan, truth: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> dict[str, float]:
    """Errors of what was found, in pixels and degrees."""
    pixel = scan.pixel[0]
    u = (found["detector_u"] + found["detector_u_each"] - truth["detector_u"] - truth["detector_u_each"]) / pixel
    v = (found["detector_v"] - truth["detector_v"]) / pixel
    made = {"axis_px": abs(float(u.mean()))}
    made |= {f"{k}_deg": abs(float(np.rad2deg(found[k] - truth[k])[0])) for k in ("axis_tilt", "detector_roll")}
    made["jitter_px"] = max(float(without_rigid_motion(a).std()) for a in (u, v))
    return made


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command line; what it said, if it ended with the code."""

    def run(*words: object, code: int = 0) -> str:
        assert main([str(word) for word in words]) == code
        said = capsys.readouterr()
        return said.out + said.err

    return run


def test_a_crooked_cone_scan_is_put_right(rng: np.random.Generator) -> None:
    scan, truth, true = crooked(32, rng)
    plan = Plan(ONCE, EACH, levels=(2, 1), steps=6, products=20)
    found, _, _ = calibrate(taken(phantom(rng), true, rng), scan, Grid((32,) * 3, 1.5), plan)
    off = misses(scan, truth, found)
    assert off["axis_px"] < 0.05 and off["jitter_px"] < 0.1
    assert off["axis_tilt_deg"] < 0.1 and off["detector_roll_deg"] < 0.1  # of pixels twice as large as the goal's


@pytest.mark.slow  # two minutes
def test_the_goal_of_calibration(rng: np.random.Generator, measured: Measured) -> None:
    """3 px of the axis, 1 and 2 degrees, 1 px in each view, to 0.05 px, 0.02 degrees, 0.1 px; and as good a volume."""
    scan, truth, true = crooked(64, rng)
    object_, grid = phantom(rng), Grid((64,) * 3, 0.75)
    data = taken(object_, true, rng)
    found, _, _ = calibrate(data, scan, grid, Plan(ONCE, EACH, steps=8))
    off = misses(scan, truth, found)
    measured("calibration of a cone scan", "0.05 px, 0.02 deg, jitter 0.1 px", **off)
    made = calibrated(scan, Plan(ONCE, EACH), found)
    expected, zero = object_.voxelise(grid, 3), np.zeros(grid.shape, "float32")
    rmse = [
        float(np.sqrt(np.mean((solve(Cgls(), Gaussian(data) @ XRay(grid, g), zero, 15).x - expected) ** 2)))
        for g in (true, made)
    ]
    measured("volume of the geometry found", "error within 2 % of the true geometry's", ratio=rmse[1] / rmse[0])
    assert off["axis_px"] <= 0.05 and off["axis_tilt_deg"] <= 0.02 and off["detector_roll_deg"] <= 0.02
    assert off["jitter_px"] <= 0.1 and rmse[1] / rmse[0] <= 1.02


@pytest.mark.slow
def test_a_parallel_scan_with_a_rolled_detector_and_drift(rng: np.random.Generator) -> None:
    views = 48
    scan = ParallelBeam(np.linspace(0, 2 * np.pi, views, endpoint=False), (40, 48), 1.25)
    drift = without_rigid_motion(1.25 * np.linspace(0, 2, views) ** 2)
    truth = {"detector_u": np.array([2.5]), "detector_roll": np.array([0.03]), "detector_v": drift}
    plan = Plan(("detector_u", "detector_roll"), ("detector_v",), levels=(1,), steps=6, products=20)
    found, _, _ = calibrate(
        taken(phantom(rng), calibrated(scan, plan, truth), rng), scan, Grid((36, 40, 40), 1.25), plan
    )
    assert abs(found["detector_u"][0] - 2.5) < 0.05 * 1.25
    assert abs(found["detector_roll"][0] - 0.03) < np.deg2rad(0.1)
    assert without_rigid_motion(found["detector_v"] - drift).std() < 0.1 * 1.25


def test_what_no_data_tell_is_said() -> None:
    """A shift of the sample along the axis moves the volume, and nothing else; a tilt of the axis and the detector's
    height do nearly the same where the cone is narrow; the axis and the roll are told."""
    scan = ConeBeam(np.linspace(0, 2 * np.pi, 40, endpoint=False), 200.0, 400.0, (48, 48), 2.0)
    names = ("sample_v", "detector_u", "detector_roll", "axis_tilt")
    before = {name: 20.0 if name in ("sample_v", "detector_u") else 0.09 for name in names}
    told = {c.name: c for c in certainties(scan, Grid((24,) * 3, 2.0), names, (), before)}
    assert not told["sample_v"].told and told["sample_v"].after > 19
    assert all(told[name].told for name in names[1:])
    before = {"axis_tilt": 0.09, "detector_v": 20.0}
    pair = certainties(scan, Grid((24,) * 3, 2.0), ("axis_tilt", "detector_v"), (), before)
    assert pair[0].like == ("detector_v",) and pair[1].like == ("axis_tilt",)
    parallel = ParallelBeam(np.linspace(0, np.pi, 40, endpoint=False), (48, 48), 1.0)
    (far,) = certainties(parallel, Grid((24,) * 3, 1.0), ("detector_distance",), (), {"detector_distance": 20.0})
    assert not far.told


def test_the_help_names_every_error() -> None:
    assert tuple(ERRORS) == NAMES


def test_geometry_files(tmp_path: Path, rng: np.random.Generator) -> None:
    _, _, true = crooked(8, rng)
    write_geometry(tmp_path / "g.json", true, errors={"detector_u": 1.0})
    assert read_geometry(tmp_path / "g.json") == true
    (tmp_path / "other.json").write_text(json.dumps({"format": "else"}))
    with pytest.raises(DataError, match="expected tomodiff geometry 1, found else"):
        read_geometry(tmp_path / "other.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match="a geometry file of tomodiff"):
        read_geometry(tmp_path / "broken.json")
    with pytest.raises(DataError, match="a geometry file"):
        read_geometry(tmp_path / "none.json")


def test_the_whole_command(tmp_path: Path, command: Callable[..., str]) -> None:
    """Simulated with an axis 3 pixels off and a rolled detector: found, and a better volume with it."""
    scan = tmp_path / "scan.h5"
    setup = ("--pixel-mm", "0.3", "--source-axis-mm", "40", "--source-detector-mm", "80")
    crooked_by = ("--phantom", "beads", "--axis-shift", "3", "--roll", "2")
    command("ct", "simulate", scan, "--views", "60", "--rows", "24", "--columns", "48", *setup, *crooked_by)
    said = command("ct", "calibrate", scan, "-o", tmp_path / "cal", "--once", "detector_u,detector_roll",
                   "--center", "keep", "--rings", "off", "--steps", "5", "--products", "12")  # fmt: skip
    assert "volume" in said
    stored = json.loads((tmp_path / "cal" / "geometry.json").read_text())
    assert abs(stored["errors"]["detector_u"]["values"][0] / 0.3 + 3) < 0.1
    assert abs(np.rad2deg(stored["errors"]["detector_roll"]["values"][0]) - 2) < 0.4  # of beads of a few pixels
    assert "Geometry found" in (tmp_path / "cal" / "report.html").read_text()
    rmse = []
    for out, more in (("plain", []), ("put_right", ["--geometry", tmp_path / "cal" / "geometry.json"])):
        command(
            "ct",
            "reconstruct",
            scan,
            "-o",
            tmp_path / out,
            "-m",
            "cgls",
            "--iterations",
            "8",
            "--center",
            "keep",
            *more,
        )
        rmse.append(json.loads((tmp_path / out / "status.json").read_text())["facts"]["rmse"])
    assert rmse[1] < 0.7 * rmse[0]
    part = ("--views", "0:60:2", "--rows", "4:20", "--geometry", tmp_path / "cal" / "geometry.json")
    assert "volume" in command(
        "ct", "reconstruct", scan, "-o", tmp_path / "some", "-m", "cgls", "--iterations", "2", *part
    )
    other = tmp_path / "other.h5"
    command("ct", "simulate", other, "--views", "10", "--rows", "8", "--columns", "16")
    failed = command(
        "ct",
        "reconstruct",
        other,
        "-o",
        tmp_path / "not",
        "--geometry",
        tmp_path / "cal" / "geometry.json",
        "-m",
        "cgls",
        code=2,
    )
    assert "expected 10 views of 8 x 16 pixels" in failed


def test_a_stopped_calibration_goes_on_to_the_same_bits(
    tmp_path: Path, command: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = tmp_path / "scan.h5"
    command("ct", "simulate", scan, "--views", "24", "--rows", "6", "--columns", "48", "--phantom", "beads")
    given = ("--once", "detector_u", "--each", "detector_v", "--center", "keep", "--steps", "2", "--products", "4")
    command("ct", "calibrate", scan, "-o", tmp_path / "whole", *given)
    log_metrics, said = Run.log_metrics, []

    def stop_after_three(self: Run, values: dict[str, float]) -> None:
        log_metrics(self, values)
        said.append(values)
        self.asked = len(said) == 3  # type: ignore[attr-defined]

    monkeypatch.setattr(Run, "log_metrics", stop_after_three)
    monkeypatch.setattr(Run, "stop_requested", property(lambda self: getattr(self, "asked", False)))
    command("ct", "calibrate", scan, "-o", tmp_path / "part", *given, code=75)
    monkeypatch.undo()
    watched = [Run.open(tmp_path / "part").report_data(name) for name in ("views", "preview")]
    assert watched[0] is not None and watched[0]["detector_v"].shape == (24,) and watched[1] is not None
    command("resume", tmp_path / "part")
    found = [json.loads((tmp_path / name / "geometry.json").read_text()) for name in ("whole", "part")]
    assert found[0] == found[1]


def test_impossible_calibrations_are_refused(tmp_path: Path, command: Callable[..., str]) -> None:
    scan = tmp_path / "scan.h5"
    command("ct", "simulate", scan, "--views", "10", "--rows", "8", "--columns", "16")
    for arguments, message in (
        (["--once", "shear"], "names, separated by commas, among"),
        (["--once", "", "--each", ""], "expected some errors to seek"),
        (["--once", "source_u"], "a parallel beam has no source"),
        (["--views", "0:5"], "expected 8 views or more, found 5"),
    ):
        assert message in " ".join(command("ct", "calibrate", scan, "-o", tmp_path / "cal", *arguments, code=2).split())
    assert GeometryErrors(ConeBeam(np.zeros(1), 1.0, 2.0, (2, 2), 1.0), ("detector_u",)).range.shape == (1, 12)
