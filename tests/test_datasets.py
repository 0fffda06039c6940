"""The sample scan: readable, made by its script, and reconstructed by the demonstration as well as it should be."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from datasets import make_samples, make_terrain_sample
from tomodiff.cli.main import main
from tomodiff.files import probe, read, read_truth, read_volume
from tomodiff.files.planetary import read_lights, read_raster
from tomodiff.geometry.grid import field_of_view
from tomodiff.report.metrics import psnr
from tomodiff.simulate.terrain_set import write_terrain

SAMPLE = Path(make_samples.__file__).parent / "ct_sample.h5"
LARGEST = 3_000_000
"""Bytes: it is in every clone and every wheel."""


def test_the_file_is_small_and_says_what_it_is() -> None:
    assert SAMPLE.stat().st_size <= LARGEST
    info = probe(SAMPLE)
    assert (info.format, info.shape) == ("dxchange", (120, 96, 128))
    assert (info.n_flats, info.n_darks) == (10, 5)
    assert not info.warnings
    with h5py.File(SAMPLE) as file:  # what programs of others read
        assert file["exchange/data"].dtype == np.uint16 and file["exchange/data"].shuffle
        np.testing.assert_allclose(file["exchange/theta"][()], np.arange(120) * 3.0)


def test_the_file_does_not_give_the_axis_away() -> None:
    dataset = read(SAMPLE)
    assert dataset.scan == make_samples.nominal()
    assert dataset.scan.axis_column == 63.5  # type: ignore[attr-defined]
    assert dataset.meta["truth"]["axis_column"] == pytest.approx(66.9)


def test_the_faults_are_in_it() -> None:
    dataset = read(SAMPLE)
    assert dataset.flats is not None and dataset.darks is not None
    dark = dataset.darks.mean(axis=0)
    beam = dataset.flats.mean(axis=0) - dark
    (dead,) = np.argwhere(beam < 0.1 * np.median(beam)).tolist()
    assert [dead] == dataset.meta["truth"]["dead_pixels"]
    beam[tuple(dead)] = np.median(beam)
    air = ((dataset.data - dark) / beam)[:, :, :8]
    # Mean of 768 pixels of 2e4 photons whose gains are off by 1 %: known to 1 % / sqrt(768) and less; 3 % are lost.
    assert air[-1].mean() / air[0].mean() == pytest.approx(0.97, abs=0.003)
    # The mean of 120 views has 0.07 % of photon noise (0.2 % that of the 10 flats): what stays are gain errors of 1 %.
    assert air.mean(axis=0).std() == pytest.approx(0.01, rel=0.15)


@pytest.mark.slow
def test_the_script_makes_the_file() -> None:
    kept, made, known = read(SAMPLE), make_samples.measured(), read_truth(SAMPLE)
    assert made.scan == kept.scan
    again = make_samples.truth()
    assert again.grid == known.grid
    np.testing.assert_allclose(known.volume, again.volume, atol=1e-7)
    assert kept.meta["truth"]["fdk_of_perfect_data_psnr_db"] == pytest.approx(make_samples.yardstick(known), abs=0.05)
    # Other versions of NumPy may draw other noise: then the counts are another scan of the same specimen, whose
    # differences are as large as photon noise makes them.
    assert kept.flats is not None and made.flats is not None
    if kept.meta["made_by"].endswith(f"numpy {np.__version__}"):
        np.testing.assert_array_equal(kept.flats, made.flats)
        np.testing.assert_array_equal(kept.data, made.data)
    variance = np.maximum(kept.data.astype(np.float64) - 100, 0) + 2**2
    deviation = (made.data.astype(np.float64) - kept.data) / np.sqrt(2 * variance)
    assert np.sqrt(np.mean(deviation**2)) < 1.2


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of the demonstration."""
    out = tmp_path_factory.mktemp("demo") / "run"
    assert main(["demo", "ct", "--out", str(out)]) == 0
    return out


@pytest.mark.slow
class TestDemo:
    def test_it_finds_the_axis(self, demo: Path) -> None:
        center = json.loads((demo / "status.json").read_text())["facts"]["center"]
        assert abs(center - make_samples.nominal().axis_column - make_samples.AXIS_SHIFT) <= 0.1

    def test_it_beats_the_standard_method_on_perfect_data(self, demo: Path) -> None:
        # 120 views of 128 columns are too few for FDK: half of pi/2 x 128.  A piecewise constant object is what total
        # variation is for, so from the noisy scan with its faults it must come nearer to the truth than FDK from the
        # closed-form line integrals with the true axis.
        volume, grid, _ = read_volume(demo / "volume.h5")
        known = read_truth(SAMPLE)
        assert grid == known.grid
        mask = np.broadcast_to(field_of_view(grid), known.volume.shape)
        assert psnr(volume, known.volume, mask) > make_samples.yardstick(known)

    def test_it_reports(self, demo: Path) -> None:
        page = (demo / "report.html").read_text()
        for part in ("Volume", "Against the truth", "Convergence", "Correction of the projections", "Rotation axis"):
            assert f"<h2>{part}</h2>" in page


class TestTerrain:
    """The sample terrain: made by its script, found again by the demonstration."""

    def test_the_script_makes_the_files(self, tmp_path: Path) -> None:
        kept = SAMPLE.parent / "terrain_sample"
        made = list(write_terrain(tmp_path, make_terrain_sample.SAMPLE))
        assert sum(p.stat().st_size for p in kept.iterdir()) <= LARGEST
        assert {p.name for p in made} == {p.name for p in kept.iterdir()}
        for path in (p for p in made if p.suffix == ".tif"):
            again, known = read_raster(path), read_raster(kept / path.name)
            assert again.grid.transform == known.grid.transform
            np.testing.assert_allclose(again.values, known.values, atol=1e-4 * np.abs(known.values).max())
        assert read_lights(kept / "sun_angles.txt") == read_lights(tmp_path / "sun_angles.txt")

    def test_the_demonstration_comes_out(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["demo", "terrain", "--out", str(tmp_path / "run")]) == 0
        said = capsys.readouterr().out
        assert "height" in said and "NOT" not in said
        page = (tmp_path / "run" / "report.html").read_text()
        assert "slope (degrees)" in page and "<h2>Standard deviations</h2>" in page
