"""The job from the files of a tilt series to a tomogram: the same as by hand, stopped and resumed, refused by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.tilt_series import COLUMNS, PIXEL, ROWS, write_series
from tomodiff.cli.main import main
from tomodiff.errors import ConfigError, MemoryNeeded, Stopped
from tomodiff.ranks import Comm
from tomodiff.recipes.cryoem.tilt_reconstruct import prepared, tomogram_wbp
from tomodiff.recipes.cryoem.tomogram import tomogram
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run
from tomodiff.result import Result


class Diary:
    """The part of a Run that a recipe sees, in memory; `stop_at` asks for a stop at an iteration."""

    comm = Comm()

    def about(self) -> dict[str, Any]:
        return {}

    def __init__(self, folder: Path, stop_at: int | None = None) -> None:
        self.folder, self.stop_at = folder, stop_at
        self.facts: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.lines: list[Mapping[str, Any]] = []

    def record(self, **facts: Any) -> None:
        self.facts |= facts

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def log_metrics(self, metrics: Mapping[str, Any]) -> None:
        self.lines.append(metrics)

    def metrics(self) -> list[dict[str, Any]]:
        return [dict(line) for line in self.lines]

    def save_report_data(self, name: str, data: Any) -> None:
        assert name and data

    def show(self, volume: Any, spacing_mm: Any, quantity: str, unit: str) -> None:
        assert volume.ndim == len(spacing_mm) == 3

    def checkpoint(self) -> Path:
        return self.folder / "state"

    @property
    def stop_requested(self) -> bool:
        return self.stop_at is not None and len(self.lines) >= self.stop_at

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        yield

    def stopped(self, iteration: int) -> Stopped:
        return Stopped(f"stopped after iteration {iteration}")


def test_the_command_shows_an_image_as_read_and_as_prepared(folder: Path, tmp_path: Path) -> None:
    given = ["-q", "cryoem", "tomogram", str(folder / "ts.xf"), "--pixel-a", str(PIXEL), "--thickness-a", "80"]
    assert main([*given, "--bin", "2", "--taper", "2", "-o", str(tmp_path / "run")]) == 0
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "<h2>Images</h2>" in report and "Image of view 4" in report
    kept = Run.open(tmp_path / "run").report_data("tilt_image")
    assert kept is not None and kept["before"].shape == (20, 32) and kept["after"].shape == (10, 16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A simulated series of 9 tilts with crooked images, as IMOD would align it."""
    return write_series(tmp_path)


def settings(folder: Path, **changes: Any) -> Any:
    given = {
        "input": {"path": folder / "ts.xf", "stack": None, "doses": None, "series": None, "pixel_a": PIXEL},
        "reconstruction": {"method": "wbp", "thickness_a": 80.0, "weighting": None, "filter": None},
        "output": {"checkpoint_every": None, "checkpoint_seconds": None},
    }
    given["input"] |= {"exclude": None, "invert_tilt": False, "bin": 1}
    given["reconstruction"] |= {"sirt_filter": None, "normalise": "mean-variance", "dose_weighting": False, "taper": 0}
    given["reconstruction"] |= {"voltage_kv": 300.0, "iterations": 6, "relaxation": None, "tv_weight": "auto"}
    given["reconstruction"] |= {"non_negative": None}
    for name, value in changes.items():
        section, field = name.split("__")
        assert field in given[section]
        given[section][field] = value
    return SimpleNamespace(**{section: SimpleNamespace(**fields) for section, fields in given.items()})


def carry_out(folder: Path, diary: Diary | None = None, **changes: Any) -> Result:
    run: Any = diary or Diary(folder)
    run.settings = settings(folder, **changes)
    return tomogram(run.settings, run, Progress(quiet=True))


def test_the_ellipsoid_is_where_it_was(folder: Path) -> None:
    """The series comes from RELION's formula, the files from IMOD's; the heaviest voxels lie about the true centre."""
    result = carry_out(folder, reconstruction__method="fista-tv", reconstruction__iterations=30)
    assert result.volume.shape == (16, ROWS, COLUMNS)
    assert result.quantity == "density"
    x, y, z = (c * 1e7 for c in result.grid.coordinates())
    heavy = np.clip(result.volume - 0.5 * result.volume.max(), 0, None)
    centre = [(heavy * c).sum() / heavy.sum() for c in (x, y, z)]
    np.testing.assert_allclose(centre, [12, -8, 10], atol=PIXEL)
    np.testing.assert_allclose(np.array(result.grid.spacing) * 1e7, PIXEL)


def test_the_job_is_what_one_does_by_hand(folder: Path) -> None:
    diary = Diary(folder)
    result = carry_out(folder, diary, reconstruction__weighting="exact", input__exclude=(1, 9))
    from tomodiff.files.cryoem.tilt_series import read_tilt_images, read_tilt_series

    series = read_tilt_series(folder / "ts.xf", pixel=PIXEL)[1:-1]
    expected = tomogram_wbp(prepared(read_tilt_images(series), series), (16, ROWS, COLUMNS), weighting="exact")
    np.testing.assert_array_equal(result.volume, expected)
    assert diary.facts["views"] == 7
    assert diary.facts["tilts_deg"] == "-45.0 to 45.0"
    assert "memory_needed" in diary.facts


@pytest.mark.parametrize("method", ["sirt", "fista-tv"])
def test_a_stopped_job_resumes_to_the_same_bits(folder: Path, method: str) -> None:
    whole = carry_out(folder, reconstruction__method=method)
    with pytest.raises(Stopped, match="after iteration 3"):
        carry_out(folder, Diary(folder, stop_at=3), reconstruction__method=method)
    diary = Diary(folder)
    resumed = carry_out(folder, diary, reconstruction__method=method)
    assert [line["iteration"] for line in diary.lines] == [4, 5, 6]
    np.testing.assert_array_equal(resumed.volume, whole.volume)


def test_checkpoints_are_left_on_the_way(folder: Path) -> None:
    carry_out(folder, reconstruction__method="sirt", output__checkpoint_every=4)
    assert (folder / "state").exists()


def test_binning_halves_the_tomogram(folder: Path) -> None:
    result = carry_out(folder, input__bin=2)
    assert result.volume.shape == (8, ROWS // 2, COLUMNS // 2)
    np.testing.assert_allclose(np.array(result.grid.spacing) * 1e7, 2 * PIXEL)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reconstruction__thickness_a": None}, "thickness_a: expected the thickness"),
        ({"reconstruction__dose_weighting": True}, "dose_weighting: expected doses"),
        ({"input__exclude": tuple(range(1, 10))}, "input.exclude: expected at least one"),
        ({"input__series": "TS_1"}, "input.series: expected a STAR file"),
        ({"input__pixel_a": None}, "expected the pixel size"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        carry_out(folder, **changes)


def test_what_does_not_fit_goes_in_slabs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weighted back projection into a file, the same to the bit; other methods say what they need."""
    thick = {"reconstruction__thickness_a": 4000.0}
    whole, least = carry_out(folder, **thick), 2_500_000
    monkeypatch.setattr("tomodiff.recipes.cryoem.tomogram.free_bytes", lambda: least)
    diary = Diary(folder)
    made = carry_out(folder, diary, **thick)
    assert isinstance(made.volume, np.memmap) and "slabs on disk" in diary.warnings[-1]
    np.testing.assert_array_equal(made.volume, whole.volume)
    with pytest.raises(MemoryNeeded, match="or wbp"):
        carry_out(folder, reconstruction__method="sirt", **thick)
    monkeypatch.setattr("tomodiff.recipes.cryoem.tomogram.free_bytes", lambda: 1000)
    with pytest.raises(MemoryNeeded):
        carry_out(folder)
