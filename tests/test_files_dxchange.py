"""APS Data Exchange: what we write others read, and what others write we read."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.scan_files import COLUMNS, ROWS, VIEWS, cone_dataset, counts, parallel_dataset, result, write_foreign_dx
from tomodiff.errors import ConfigError, DataError
from tomodiff.files import probe, read, read_truth, write_scan
from tomodiff.geometry import ConeBeam, ParallelBeam, Vectors


def test_parallel_scan_comes_back_as_it_was(tmp_path: Path, rng: np.random.Generator) -> None:
    scan = parallel_dataset(rng)
    write_scan(tmp_path / "a.h5", scan)
    back = read(tmp_path / "a.h5")
    assert back.scan == scan.scan
    assert back.kind == "counts"
    assert back.data.dtype == np.float32
    np.testing.assert_array_equal(back.data, scan.data)
    np.testing.assert_array_equal(back.flats, scan.flats)
    np.testing.assert_array_equal(back.darks, scan.darks)
    assert {k: back.meta[k] for k in scan.meta} == scan.meta
    assert back.history[0] == "simulated"


@pytest.mark.parametrize("suffix", [".h5", ".nxs"])
def test_cone_geometry_weights_and_truth_are_carried(tmp_path: Path, rng: np.random.Generator, suffix: str) -> None:
    scan, truth = cone_dataset(rng), result(rng, turned=True)
    path = tmp_path / f"cone{suffix}"
    write_scan(path, scan, truth, compression="gzip")
    back = read(path)
    assert back.scan == scan.scan
    np.testing.assert_array_equal(back.data, scan.data)
    np.testing.assert_array_equal(back.weights, scan.weights)
    known = read_truth(path)
    assert known.grid == truth.grid
    assert (known.quantity, known.unit) == ("attenuation", "1/mm")
    np.testing.assert_array_equal(known.volume, truth.volume)


def test_free_trajectory_is_carried(tmp_path: Path, rng: np.random.Generator) -> None:
    scan = cone_dataset(rng)
    free = Vectors(scan.scan.frames(), scan.scan.detector_shape, "cone")
    write_scan(tmp_path / "free.h5", scan.replace(scan=free))
    assert read(tmp_path / "free.h5").scan == free


def test_plain_fields_are_those_of_the_format(tmp_path: Path, rng: np.random.Generator) -> None:
    scan = parallel_dataset(rng)
    write_scan(tmp_path / "a.h5", scan)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["exchange/data"].dtype == np.uint16
        np.testing.assert_array_equal(file["exchange/data"], scan.data)
        np.testing.assert_array_equal(file["exchange/data_white"], scan.flats)
        np.testing.assert_array_equal(file["exchange/data_dark"], scan.darks)
        np.testing.assert_allclose(file["exchange/theta"], np.rad2deg(scan.scan.angles), rtol=1e-14)
        assert file["exchange/theta"].attrs["units"] == "degrees"
        assert file["measurement/instrument/detector/x_pixel_size"][()] == 0.003
        assert file["measurement/instrument/detector/x_pixel_size"].attrs["units"] == "mm"
        assert file["measurement/instrument/monochromator/energy"][()] == 25.5


def test_without_the_carried_group_it_is_a_parallel_scan(tmp_path: Path, rng: np.random.Generator) -> None:
    scan = parallel_dataset(rng)
    write_scan(tmp_path / "a.h5", scan)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["measurement/tomodiff"]
    back = read(tmp_path / "a.h5")
    assert isinstance(back.scan, ParallelBeam)
    assert back.scan.pixel == scan.scan.pixel
    np.testing.assert_allclose(back.scan.angles, scan.scan.angles, atol=1e-14)
    assert back.meta["energy_kev"] == 25.5


def test_only_the_part_asked_for_is_read(tmp_path: Path) -> None:
    """A stack of 186 GB of which nothing but the wanted part could be held."""
    with h5py.File(tmp_path / "big.h5", "w") as file:
        data = file.create_dataset("exchange/data", (10**5, 1000, 1000), "u2", chunks=(1, 1000, 1000))
        data[7, 5:9] = np.arange(4)[:, None]
        file["exchange/theta"] = np.arange(10**5) * 0.0018
    part = read(tmp_path / "big.h5", rows=slice(5, 9), views=slice(7, 12, 2), bin=2, kind="counts")
    assert part.data.shape == (3, 2, 500)
    np.testing.assert_array_equal(part.data[0], np.repeat([[0.5], [2.5]], 500, axis=1))
    np.testing.assert_allclose(part.scan.angles, np.deg2rad(np.array([7, 9, 11]) * 0.0018), atol=1e-12)


def test_crop_and_bin_agree_with_cropping_and_binning_afterwards(tmp_path: Path, rng: np.random.Generator) -> None:
    scan = cone_dataset(rng)
    write_scan(tmp_path / "a.h5", scan)
    part = read(tmp_path / "a.h5", rows=slice(1, 5), views=slice(2, 20, 3), bin=2)
    blocks = scan.data[2:20:3, 1:5, :6].astype(np.float64)
    expected = (blocks[:, ::2] + blocks[:, 1::2]) / 2
    expected = (expected[..., ::2] + expected[..., 1::2]) / 2
    np.testing.assert_allclose(part.data, expected, rtol=1e-6, atol=1e-7)
    assert part.scan == scan.scan[2:20:3].rows(1, 5).bin(2)
    assert part.weights is not None and part.weights.shape == part.data.shape


@pytest.mark.parametrize(("unit", "factor"), [("degrees", 1.0), ("deg", 1.0), ("rad", np.pi / 180), (None, 1.0)])
def test_unit_of_the_angles_is_honoured(
    tmp_path: Path, rng: np.random.Generator, unit: str | None, factor: float
) -> None:
    degrees = np.linspace(0, 179, VIEWS)
    path = write_foreign_dx(tmp_path / "a.h5", counts(rng), degrees * factor, unit)
    np.testing.assert_allclose(read(path).scan.angles, np.deg2rad(degrees), rtol=1e-14)


def test_pixel_size_from_resolution_in_microns(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write_foreign_dx(tmp_path / "a.h5", counts(rng), np.arange(VIEWS) * 7.5)
    with h5py.File(path, "a") as file:
        file["measurement/instrument/detection_system/objective/resolution"] = [0.69]
        file["measurement/instrument/detection_system/objective/resolution"].attrs["units"] = "microns"
        file["measurement/instrument/detector/pixel_size"] = 3.45
        file["measurement/instrument/detector/pixel_size"].attrs["units"] = "microns"
    # the size at the sample comes before the camera's
    np.testing.assert_allclose(read(path).scan.pixel, 0.69e-3, rtol=1e-12)


def test_camera_pixel_is_divided_by_the_magnification(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write_foreign_dx(tmp_path / "a.h5", counts(rng), np.arange(VIEWS) * 7.5)
    with h5py.File(path, "a") as file:
        file["measurement/instrument/detector/pixel_size"] = 3.45
        file["measurement/instrument/detector/pixel_size"].attrs["units"] = "um"
        file["measurement/instrument/detection_system/objective/magnification"] = 5.0
    np.testing.assert_allclose(read(path).scan.pixel, 0.69e-3, rtol=1e-12)


def test_unknown_pixel_size_is_told(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write_foreign_dx(tmp_path / "a.h5", counts(rng), np.arange(VIEWS) * 7.5)
    back = read(path)
    assert back.scan.pixel == (1.0, 1.0)
    assert back.meta["pixel_unknown"]
    assert any("pixel size unknown" in line for line in back.history)
    assert probe(path).pixel_mm is None
    assert read(path, pixel_mm=0.01).scan.pixel == (0.01, 0.01)
    assert "pixel_unknown" not in read(path, pixel_mm=0.01).meta
    write_scan(tmp_path / "b.h5", back)  # that it is unknown is not forgotten
    assert read(tmp_path / "b.h5").meta["pixel_unknown"]
    assert "pixel_unknown" not in read(tmp_path / "b.h5", pixel_mm=0.01).meta


def test_distances_declare_a_cone_beam(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write_foreign_dx(tmp_path / "a.h5", counts(rng), np.arange(VIEWS) * 15.0)
    back = read(path, source_axis=100, source_detector=400, pixel_mm=(0.2, 0.1))
    assert back.scan == ConeBeam(np.deg2rad(np.arange(VIEWS) * 15.0), 100.0, 400.0, (ROWS, COLUMNS), (0.2, 0.1))
    with pytest.raises(ConfigError, match="both distances"):
        read(path, source_axis=100)
    with pytest.raises(ConfigError, match="pixel_mm"):
        read(path, source_axis=100, source_detector=400)
    with pytest.raises(ConfigError, match="source_detector"):
        read(path, source_axis=100, source_detector=50, pixel_mm=0.1)


def test_floats_without_flats_need_their_kind(tmp_path: Path, rng: np.random.Generator) -> None:
    data = rng.random((VIEWS, ROWS, COLUMNS)).astype(np.float32)
    path = write_foreign_dx(tmp_path / "a.h5", data, np.arange(VIEWS) * 7.5)
    with pytest.raises(DataError, match="kind"):
        read(path)
    assert read(path, kind="transmission").kind == "transmission"


def test_many_turns_are_wrapped_and_told(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write_foreign_dx(tmp_path / "a.h5", counts(rng), np.arange(VIEWS) * 97.0)
    back = read(path)
    np.testing.assert_allclose(np.sin(back.scan.angles), np.sin(np.deg2rad(np.arange(VIEWS) * 97.0)), atol=1e-12)
    assert any("modulo" in line for line in back.history)


def test_probe_reads_no_pixel(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "big.h5", "w") as file:
        file.create_dataset("exchange/data", (10**5, 2000, 2000), "u2", chunks=(1, 2000, 2000))
        file.create_dataset("exchange/data_white", (10**4, 2000, 2000), "u2", chunks=(1, 2000, 2000))
        file["exchange/theta"] = np.arange(10**5) * 0.0018
    info = probe(tmp_path / "big.h5")
    assert (info.format, info.shape, info.dtype, info.n_flats, info.n_darks) == (
        "dxchange", (10**5, 2000, 2000), "uint16", 10**4, 0,
    )  # fmt: skip
    assert info.angles_deg == pytest.approx((0.0, 179.9982, 0.0018))
    assert "ParallelBeam" in info.geometry


def test_input_arrays_are_not_changed(tmp_path: Path, rng: np.random.Generator) -> None:
    scan = parallel_dataset(rng)
    before = scan.data.copy()
    write_scan(tmp_path / "a.h5", scan)
    np.testing.assert_array_equal(scan.data, before)
