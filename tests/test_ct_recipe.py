"""The CT recipe as Python calls it: slabs, previews, selections, stop and resume, weights, what it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ct_jobs import CONE, ITERATIVE, PARALLEL, PLENTY, Jobs, line_integrals, method, phantom
from tomodiff.analytic import fbp
from tomodiff.errors import ConfigError, MemoryNeeded, Stopped
from tomodiff.files import write_scan
from tomodiff.geometry import ConeBeam, Grid, ParallelBeam, Scan, fit_grid
from tomodiff.projectors import XRay
from tomodiff.recipes.ct import reconstruct as ct
from tomodiff.recipes.ct.invert import automatic_tv_weight, noise_level
from tomodiff.recipes.ct.memory import required_bytes
from tomodiff.recipes.run import Run
from tomodiff.report.metrics import rmse
from tomodiff.result import Result
from tomodiff.simulate import Beam, Detector, simulate_scan


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of line integrals of a parallel and a cone beam, and of the parallel beam's counts."""
    folder = tmp_path_factory.mktemp("scans")
    rng = np.random.default_rng(7)
    counts = simulate_scan(phantom(), PARALLEL, rng=rng, beam=Beam(i0=2e4), detector=Detector(gain_error=0.01))
    tilted = ParallelBeam(PARALLEL.angles, (40, 40), 0.25, axis_tilt=0.02)
    datasets = {"parallel": line_integrals(PARALLEL), "cone": line_integrals(CONE), "counts": counts}
    datasets["tilted"] = line_integrals(tilted)
    for name, dataset in datasets.items():
        write_scan(folder / f"{name}.h5", dataset)
    return {name: folder / f"{name}.h5" for name in datasets}


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    return Jobs(tmp_path, monkeypatch)


def little(name: str, scan: Scan = PARALLEL, share: float = 0.75, references: int = 0) -> float:
    """Free memory that holds `share` of a job."""
    return share * required_bytes(name, scan, fit_grid(scan), references) / 0.85


def rows_of_slabs(result: Result) -> int:
    said = [re.search(r"slabs of (\d+) rows", text) for text in result.warnings]
    found = [int(match[1]) for match in said if match]
    return found[0] if found else 0


# ---- slabs


@pytest.mark.parametrize(
    ("name", "bound"),
    # SIRT couples no slices; CGLS shares its steps and TV its differences among all slices of a slab
    [("fbp", 1e-6), ("sirt", 1e-5), ("cgls", 0.02), ("fista-tv", 0.02)],
)
def test_slabs_give_the_volume_of_the_whole(name: str, bound: float, scans: dict[str, Path], jobs: Jobs) -> None:
    whole = jobs(scans["parallel"], **method(name))
    parts = jobs(scans["parallel"], little(name), **method(name))
    assert rows_of_slabs(whole) == 0 and 4 <= rows_of_slabs(parts) <= 20
    assert parts.grid == whole.grid and parts.volume.dtype == whole.volume.dtype
    assert np.linalg.norm(parts.volume - whole.volume) < bound * np.linalg.norm(whole.volume)


def test_slabs_of_selected_rows_of_binned_counts(jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tall = ParallelBeam(PARALLEL.angles[::3], (72, 40), 0.25)
    dark = Detector(gain_error=0.01, dead_pixels=3)
    write_scan(tmp_path / "tall.h5", simulate_scan(phantom(), tall, rng=np.random.default_rng(3), detector=dark))
    chosen: dict[str, Any] = {"input__rows": "-69:70", "input__bin": 2, "prepare__center": 10.1}
    whole = jobs(tmp_path / "tall.h5", **chosen)
    assert whole.volume.shape[0] == 33
    monkeypatch.setattr(ct, "slab_rows", lambda *_: 4)  # some of the slabs see nothing but air and noise
    parts = jobs(tmp_path / "tall.h5", 1, **chosen)
    assert rows_of_slabs(parts) == 4
    assert parts.grid == whole.grid
    np.testing.assert_allclose(parts.volume, whole.volume, atol=1e-5 * np.abs(whole.volume).max())


def test_slabs_of_a_raw_scan_with_all_corrections(scans: dict[str, Path], jobs: Jobs) -> None:
    chosen: dict[str, Any] = {"prepare__rings": "normal", "prepare__flux": "auto", "prepare__center": "auto"}
    whole = jobs(scans["counts"], **chosen)
    parts = jobs(scans["counts"], little("fbp", references=20), **chosen)
    assert rows_of_slabs(parts) >= 4
    # air and axis are read off fewer rows at a time: within their noise
    error = np.linalg.norm(parts.volume - whole.volume) / np.linalg.norm(whole.volume)
    assert error < 0.03
    assert parts.meta["center"] == pytest.approx(whole.meta["center"], abs=0.1)


@pytest.mark.parametrize(
    ("name", "chosen"),
    [("cone", {}), ("parallel", {"reconstruction__voxel_mm": 0.255}), ("tilted", method("sirt"))],
    ids=["cone", "voxels of another height", "tilted axis"],
)
def test_what_has_no_slabs_goes_through_the_disk(name: str, chosen: Any, scans: dict[str, Path], jobs: Jobs) -> None:
    scan, algorithm = (CONE, "fdk") if name == "cone" else (PARALLEL, chosen.get("reconstruction__method", "fbp"))
    whole, parts = jobs(scans[name], **chosen), jobs(scans[name], little(algorithm, scan, 0.75), **chosen)
    assert any("done on disk" in text for text in parts.warnings)
    assert parts.grid == whole.grid
    np.testing.assert_allclose(parts.volume, whole.volume, atol=1e-5 * np.abs(whole.volume).max())


@pytest.mark.parametrize(
    ("name", "algorithm", "share"), [("parallel", "fbp", 1e-3), ("cone", "fista-tv", 0.75)], ids=["hardly any", "tv"]
)
def test_too_little_memory(name: str, algorithm: str, share: float, scans: dict[str, Path], jobs: Jobs) -> None:
    scan = CONE if name == "cone" else PARALLEL
    with pytest.raises(MemoryNeeded, match=r"needs .* of memory .* may be taken.*--bin 2") as caught:
        jobs(scans[name], little(algorithm, scan, share), **method(algorithm))
    assert str(scans[name]) in str(caught.value) and caught.value.exit_code == 4


# ---- previews and selections


@pytest.mark.parametrize(
    "chosen",
    [{}, {"input__rows": "5:31"}, {"input__rows": "-16:"}, {"input__rows": "3:37", "input__bin": 2},
     {"input__views": "0:48:3"}, {"input__rows": "7:8"}, {"input__rows": "7:9"}],
    ids=str,
)  # fmt: skip
def test_preview_shows_slices_of_the_whole(chosen: Any, scans: dict[str, Path], jobs: Jobs) -> None:
    whole = jobs(scans["parallel"], **chosen)
    few = jobs(scans["parallel"], preview=True, **chosen)
    assert few.volume.shape == (min(3, len(whole.volume)), *whole.volume.shape[1:])
    heights = [few.grid.world_from_index[2] @ (0, 0, k, 1) for k in range(len(few.volume))]
    for height, found in zip(heights, few.volume, strict=True):
        k = whole.grid.index_from_world[2] @ (0, 0, height, 1)
        assert k == pytest.approx(round(k), abs=1e-9)
        np.testing.assert_allclose(found, whole.volume[round(k)], atol=1e-6 * np.abs(whole.volume).max())


def test_preview_of_a_cone_beam(scans: dict[str, Path], jobs: Jobs) -> None:
    whole, few = jobs(scans["cone"]), jobs(scans["cone"], preview=True, **method("sirt"))
    assert any("made by fdk" in text for text in few.warnings)
    slices = [whole.grid.index_from_world[2] @ (0, 0, few.grid.world_from_index[2] @ (0, 0, k, 1), 1) for k in range(3)]
    np.testing.assert_allclose(few.volume, whole.volume[np.rint(slices).astype(int)], atol=1e-6)


@pytest.mark.parametrize("name", ["parallel", "cone"])
def test_the_first_view_is_kept_as_measured_and_as_the_volume_gives_it(
    name: str, scans: dict[str, Path], jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = jobs.open(scans[name])
    result = jobs.carry_out(run)
    kept, dataset = run.report_data("residual"), line_integrals(PARALLEL if name == "parallel" else CONE)
    assert kept is not None
    np.testing.assert_array_equal(kept["measured"], dataset.data[0])
    np.testing.assert_allclose(kept["simulated"], XRay(result.grid, dataset.scan)(result.volume)[0], atol=1e-5)
    assert 0 < run.status["facts"]["left_of_the_first_view"] < 0.2
    monkeypatch.setattr(ct, "COPIES_TO_PROJECT", 1e12)  # more than there is
    short = jobs.open(scans[name])
    jobs.carry_out(short)
    assert short.report_data("residual") is None


def test_selections_are_those_of_the_array(scans: dict[str, Path], jobs: Jobs) -> None:
    data = line_integrals(PARALLEL).data
    few = jobs(scans["parallel"], input__views="4:44:2", input__rows="10:25")
    scan = PARALLEL[4:44:2].rows(10, 25)
    np.testing.assert_allclose(few.volume, fbp(data[4:44:2, 10:25], scan, fit_grid(scan)), atol=1e-7)
    assert few.grid == fit_grid(scan)
    binned = jobs(scans["parallel"], input__bin=2, reconstruction__filter="hann", reconstruction__dtype="float64")
    mean = data.astype(np.float64).reshape(48, 20, 2, 20, 2).mean(axis=(2, 4))
    scan = PARALLEL.bin(2)
    assert binned.volume.dtype == np.float64
    np.testing.assert_allclose(binned.volume, fbp(mean, scan, fit_grid(scan), "hann"), atol=1e-7)


def test_views_that_leave_out_directions_are_warned_of(scans: dict[str, Path], jobs: Jobs) -> None:
    assert not any("180 degrees" in text for text in jobs(scans["parallel"], input__rows="0:2").warnings)
    few = jobs(scans["parallel"], input__views="0:32", input__rows="0:2")
    assert any("leave 60 of 180 degrees out" in text for text in few.warnings)


# ---- stop and resume


def stop_at(line: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Ask for a stop when the run logs its `line`-th metrics, as Ctrl-C would; the result undoes that."""
    original, seen = Run.log_metrics, [0]

    def log(run: Run, metrics: Any) -> None:
        original(run, metrics)
        seen[0] += 1
        run._stop.requested = seen[0] == line

    monkeypatch.setattr(Run, "log_metrics", log)
    return lambda: monkeypatch.setattr(Run, "log_metrics", original)


def resumed(jobs: Jobs, run: Run, free: float = PLENTY) -> Result:
    again = Run.open(run.path)
    assert again.status["state"] == "stopped"
    again.restart()
    return jobs.carry_out(again, free)


@pytest.mark.parametrize("name", ITERATIVE)
@pytest.mark.parametrize("line", [1, 5, 8])
def test_stopped_runs_resume_to_the_same_volume(
    name: str, line: int, scans: dict[str, Path], jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = method(name) | {"input__rows": "10:20"}
    whole = jobs(scans["parallel"], **chosen)
    run = jobs.open(scans["parallel"], **chosen)
    undo = stop_at(line, monkeypatch)
    with pytest.raises(Stopped, match=f"after iteration {line}"):
        jobs.carry_out(run)
    undo()
    result = resumed(jobs, run)
    np.testing.assert_array_equal(result.volume, whole.volume)
    assert [m["iteration"] for m in result.history] == list(range(1, 9))
    for m, n in zip(result.history, whole.history, strict=True):
        assert {k: v for k, v in m.items() if k != "seconds"} == {k: v for k, v in n.items() if k != "seconds"}


@pytest.mark.parametrize("name", ["sirt", "fista-tv"])
@pytest.mark.parametrize("line", [3, 13])
def test_stopped_slabs_resume_whatever_memory_is_free_then(
    name: str, line: int, scans: dict[str, Path], jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = jobs(scans["parallel"], little(name), **method(name))
    run = jobs.open(scans["parallel"], **method(name))
    undo = stop_at(line, monkeypatch)  # in the first or in the second slab
    with pytest.raises(Stopped):
        jobs.carry_out(run, little(name))
    undo()
    np.testing.assert_array_equal(resumed(jobs, run).volume, whole.volume)


# ---- weights, TV weight, quality


def test_automatic_tv_weight_scales() -> None:
    rng = np.random.default_rng(8)
    scan = ParallelBeam(PARALLEL.angles, (8, 40), 0.25)
    smooth = phantom().project(scan)
    noise = rng.normal(0, 1, smooth.shape)
    grid = fit_grid(scan)
    A = XRay(grid, scan, dtype="float64")
    assert noise_level(0.02 * noise) == pytest.approx(0.02, rel=0.05)
    one, three = (automatic_tv_weight(A, s * noise, grid) for s in (0.02, 0.06))
    assert three == pytest.approx(3 * one, rel=1e-9)
    # a smooth object on top hardly counts
    assert automatic_tv_weight(A, smooth + 0.06 * noise, grid) == pytest.approx(three, rel=0.3)
    # the same scan with lengths in cm: attenuation grows tenfold, its variation a hundredfold
    small = ParallelBeam(PARALLEL.angles, (8, 40), 0.025)
    in_cm = automatic_tv_weight(XRay(fit_grid(small), small, dtype="float64"), 0.02 * noise, fit_grid(small))
    assert in_cm * 100 == pytest.approx(one, rel=1e-6)


def test_units_do_not_change_the_picture(jobs: Jobs, tmp_path: Path) -> None:
    scan = PARALLEL.rows(18, 22)
    dataset = line_integrals(scan)
    tenth = ParallelBeam(scan.angles, scan.detector_shape, 0.025, axis_offset=0.03)
    write_scan(tmp_path / "mm.h5", dataset)
    write_scan(tmp_path / "cm.h5", dataset.replace(scan=tenth))
    mm, cm = (jobs(tmp_path / f"{unit}.h5", **method("fista-tv", 30)).volume for unit in ("mm", "cm"))
    np.testing.assert_allclose(cm / 10, mm, atol=1e-3 * mm.max())


@pytest.mark.parametrize("photons", [3e3, 3e4])
def test_fista_tv_beats_fbp_on_few_noisy_views(photons: float, jobs: Jobs, tmp_path: Path) -> None:
    scan = ParallelBeam(np.linspace(0, np.pi, 30, endpoint=False), (8, 64), 0.15)
    rng = np.random.default_rng(9)
    write_scan(tmp_path / "few.h5", simulate_scan(phantom(), scan, rng=rng, beam=Beam(i0=photons)))
    truth = phantom().voxelise(fit_grid(scan))
    best_fbp = min(
        rmse(jobs(tmp_path / "few.h5", reconstruction__filter=window).volume, truth) for window in ("ram-lak", "hann")
    )
    tv = rmse(jobs(tmp_path / "few.h5", **method("fista-tv", 80)).volume, truth)
    assert tv < 0.6 * best_fbp  # 4.4 dB


# ---- refusals


def test_no_gpu(scans: dict[str, Path], jobs: Jobs) -> None:
    try:
        import cupy

        if cupy.cuda.is_available():
            pytest.skip("there is a GPU")
    except ImportError:
        pass
    with pytest.raises(ConfigError, match="device: expected"):
        jobs(scans["parallel"], reconstruction__device="cuda")


@pytest.mark.parametrize(
    ("name", "wrong", "said"), [("cone", "fbp", "cone beam; use fdk"), ("parallel", "fdk", "parallel beam; use fbp")]
)
def test_method_and_beam_must_fit(name: str, wrong: str, said: str, scans: dict[str, Path], jobs: Jobs) -> None:
    with pytest.raises(ConfigError, match=rf"reconstruction\.method: {wrong} .*{said}"):
        jobs(scans[name], **method(wrong))


def test_no_closed_form_is_said_with_advice(jobs: Jobs, tmp_path: Path) -> None:
    leaning = ConeBeam(CONE.angles, 40.0, 60.0, (12, 20), 0.9, axis_tilt=0.4)
    write_scan(tmp_path / "leaning.h5", line_integrals(leaning))
    with pytest.raises(ConfigError, match=r"no tilts.*iterative methods"):
        jobs(tmp_path / "leaning.h5")
    volume = jobs(tmp_path / "leaning.h5", **method("fista-tv", 3)).volume
    assert np.isfinite(volume).all() and volume.max() > 0


def test_source_inside_the_volume(jobs: Jobs, tmp_path: Path) -> None:
    write_scan(tmp_path / "s.h5", line_integrals(ConeBeam(CONE.angles, 40.0, 60.0, (12, 20), 0.9)))
    with pytest.raises(ConfigError, match="source"):
        jobs(tmp_path / "s.h5", input__source_axis_mm=3.0, input__source_detector_mm=4.0, input__pixel_mm=2.0)


def test_default_grid_is_the_pixels_seen_at_the_axis(scans: dict[str, Path], jobs: Jobs) -> None:
    assert jobs(scans["cone"]).grid.spacing == pytest.approx((0.6, 0.6, 0.6))
    assert jobs(scans["cone"], reconstruction__voxel_mm=1.1).grid.spacing == (1.1, 1.1, 1.1)
    assert jobs(scans["parallel"]).grid == fit_grid(PARALLEL) != Grid(1)
