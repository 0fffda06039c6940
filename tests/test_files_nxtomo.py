"""NXtomo: image keys, links to other files, angles measured or planned, and the nxtomo package as a second reader."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.scan_files import COLUMNS, ROWS, VIEWS, counts, parallel_dataset, write_foreign_nx
from tomodiff.errors import DataError
from tomodiff.files import probe, read, write_scan

INTERLEAVED = np.array([1, 2, 0, 0, 1, 0, 3, 0, 1, 2])


def test_interleaved_flats_and_darks_are_sorted_out(tmp_path: Path, rng: np.random.Generator) -> None:
    frames, angles = counts(rng, 10), np.array([0, 0, 0, 45, 45, 90, 91, 135, 135, 135.0])
    path = write_foreign_nx(tmp_path / "a.nxs", frames, INTERLEAVED, angles)
    back = read(path)
    np.testing.assert_array_equal(back.data, frames[[2, 3, 5, 7]])
    np.testing.assert_array_equal(back.flats, frames[[0, 4, 8]])
    np.testing.assert_array_equal(back.darks, frames[[1, 9]])
    np.testing.assert_allclose(back.scan.angles, np.deg2rad([0, 45, 90, 135]), rtol=1e-14)
    assert back.kind == "counts"
    assert any("1 frames marked invalid" in line for line in back.history)
    part = read(path, views=slice(1, 4, 2), rows=slice(2, 4))
    np.testing.assert_array_equal(part.data, frames[[3, 7], 2:4])
    np.testing.assert_array_equal(part.flats, frames[[0, 4, 8], 2:4])


def test_our_own_file_comes_back(tmp_path: Path, rng: np.random.Generator) -> None:
    scan = parallel_dataset(rng)
    write_scan(tmp_path / "a.nxs", scan)
    back = read(tmp_path / "a.nxs")
    assert back.scan == scan.scan
    for name in ("data", "flats", "darks"):
        np.testing.assert_array_equal(getattr(back, name), getattr(scan, name))
    with h5py.File(tmp_path / "a.nxs", "a") as file:
        del file["measurement"]
    plain = read(tmp_path / "a.nxs")
    np.testing.assert_allclose(plain.scan.angles, scan.scan.angles, atol=1e-14)
    assert plain.scan.pixel == pytest.approx(scan.scan.pixel, rel=1e-12)
    assert (plain.meta["energy_kev"], plain.meta["sample"]) == (25.5, scan.meta["sample"])


def test_nxtomo_package_reads_our_file(tmp_path: Path, rng: np.random.Generator) -> None:
    nxtomo = pytest.importorskip("nxtomo")
    scan = parallel_dataset(rng)
    write_scan(tmp_path / "a.nxs", scan)
    theirs = nxtomo.NXtomo().load(str(tmp_path / "a.nxs"), "entry", detector_data_as="as_numpy_array")
    detector = theirs.instrument.detector
    key = np.array([k.value for k in detector.image_key_control])
    np.testing.assert_array_equal(detector.data[key == 0], scan.data)
    np.testing.assert_array_equal(detector.data[key == 1], scan.flats)
    np.testing.assert_array_equal(detector.data[key == 2], scan.darks)
    angles = theirs.sample.rotation_angle.to("radian").magnitude[key == 0]
    np.testing.assert_allclose(angles, scan.scan.angles, atol=1e-6)
    assert detector.x_pixel_size.to("mm").magnitude == pytest.approx(0.003)


def test_file_of_the_nxtomo_package_is_read(tmp_path: Path, rng: np.random.Generator) -> None:
    nxtomo = pytest.importorskip("nxtomo")
    pint = pytest.importorskip("pint")
    unit = pint.get_application_registry()
    frames = counts(rng, 7)
    made = nxtomo.NXtomo()
    made.instrument.detector.data = frames
    made.instrument.detector.image_key_control = [2, 1, 0, 0, 1, -1, 3]
    made.instrument.detector.x_pixel_size = 2 * unit.um
    made.instrument.detector.y_pixel_size = 3 * unit.um
    made.instrument.detector.distance = 30 * unit.cm
    made.sample.rotation_angle = np.array([0, 0, 10, 100, 100, 10, 0]) * unit.degree
    made.save(str(tmp_path / "a.nx"), "entry0000")
    back = read(tmp_path / "a.nx")
    np.testing.assert_array_equal(back.data, frames[[2, 3]])  # neither the alignment image nor the invalid one
    np.testing.assert_array_equal(back.flats, frames[[1, 4]])
    np.testing.assert_allclose(back.scan.angles, np.deg2rad([10, 100]), rtol=1e-12)
    np.testing.assert_allclose(back.scan.pixel, (3e-3, 2e-3), rtol=1e-12)
    assert back.meta["detector_distance_mm"] == pytest.approx(300)


def _linked(tmp_path: Path, frames: np.ndarray) -> Path:
    (tmp_path / "raw").mkdir()
    with h5py.File(tmp_path / "raw" / "frames.h5", "w") as file:
        file["entry/data"] = frames
    path = write_foreign_nx(tmp_path / "a.nxs", frames, INTERLEAVED, np.arange(10) * 18.0)
    with h5py.File(path, "a") as file:
        del file["entry/instrument/detector/data"]
        file["entry/instrument/detector/data"] = h5py.ExternalLink("raw/frames.h5", "/entry/data")
    return path


def test_frames_behind_an_external_link(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = counts(rng, 10)
    path = _linked(tmp_path, frames)
    monkeypatch.chdir("/")  # the link is relative to the file, not to where we are
    back = read(path)
    np.testing.assert_array_equal(back.data, frames[INTERLEAVED == 0])
    assert back.meta["linked_file"].endswith("frames.h5")


def test_detector_group_of_another_file(tmp_path: Path, rng: np.random.Generator) -> None:
    frames = counts(rng, 10)
    write_foreign_nx(tmp_path / "raw.nxs", frames, INTERLEAVED, np.arange(10) * 18.0)
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        file["entry/instrument/detector"] = h5py.ExternalLink("raw.nxs", "/entry/instrument/detector")
        file["entry/sample/rotation_angle"] = np.arange(10) * 18.0
    back = read(tmp_path / "a.nxs")
    np.testing.assert_array_equal(back.data, frames[INTERLEAVED == 0])
    assert back.meta["linked_file"].endswith("raw.nxs")


def test_missing_link_target_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    path = _linked(tmp_path, counts(rng, 10))
    (tmp_path / "raw" / "frames.h5").unlink()
    with pytest.raises(DataError, match=r"raw/frames\.h5 is not there"):
        read(path)


def test_missing_part_of_a_virtual_dataset_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    """HDF5 would read zeros in the place of the missing half, without a word."""
    layout = h5py.VirtualLayout((10, ROWS, COLUMNS), "u2")
    for i in range(2):
        with h5py.File(tmp_path / f"part{i}.h5", "w") as file:
            file["frames"] = counts(rng, 5)
        layout[5 * i : 5 * i + 5] = h5py.VirtualSource(f"part{i}.h5", "frames", (5, ROWS, COLUMNS))
    path = write_foreign_nx(tmp_path / "a.nxs", counts(rng, 10), INTERLEAVED, np.arange(10) * 18.0)
    with h5py.File(path, "a") as file:
        del file["entry/instrument/detector/data"]
        file["entry/instrument/detector"].create_virtual_dataset("data", layout)
    assert read(path).data.shape == (4, ROWS, COLUMNS)
    (tmp_path / "part1.h5").unlink()
    with pytest.raises(DataError, match=r"part1\.h5"):
        read(path)


def test_angles_of_the_projections_alone_are_accepted(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write_foreign_nx(tmp_path / "a.nxs", counts(rng, 10), INTERLEAVED, np.array([0, 45, 90, 135.0]))
    np.testing.assert_allclose(read(path).scan.angles, np.deg2rad([0, 45, 90, 135]), rtol=1e-14)


def test_unknown_image_keys_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write_foreign_nx(tmp_path / "a.nxs", counts(rng, 3), np.array([0, 7, 0]), np.arange(3.0))
    with pytest.raises(DataError, match="7"):
        read(path)
    path = write_foreign_nx(tmp_path / "b.nxs", counts(rng, 3), np.array([1, 2, 1]), np.arange(3.0))
    with pytest.raises(DataError, match="none; keys and frames"):
        read(path)
    path = write_foreign_nx(tmp_path / "c.nxs", counts(rng, 4), np.array([0, 0, 0]), np.arange(4.0))
    with pytest.raises(DataError, match="4 keys"):
        read(path)


def test_several_detectors_need_a_name(tmp_path: Path, rng: np.random.Generator) -> None:
    frames = counts(rng, 4)
    path = write_foreign_nx(tmp_path / "a.nxs", frames, np.zeros(4, int), np.arange(4) * 45.0)
    with h5py.File(path, "a") as file:
        file["entry/instrument/second/data"] = frames[:, ::-1]
        file["entry/instrument/second/image_key"] = np.zeros(4, int)
    with pytest.raises(DataError, match="/entry/instrument/second/data"):
        read(path)
    back = read(path, data_path="/entry/instrument/second/data")
    np.testing.assert_array_equal(back.data, frames[:, ::-1])


def test_ring_energy_is_not_the_photon_energy(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write_foreign_nx(tmp_path / "a.nxs", counts(rng, 4), np.zeros(4, int), np.arange(4) * 45.0)
    with h5py.File(path, "a") as file:
        file["entry/instrument/source/energy"] = 3.0
        file["entry/instrument/source/energy"].attrs["units"] = "GeV"
    assert "energy_kev" not in probe(path).meta


def _planned(path: Path, rng: np.random.Generator, stop: float) -> Path:
    """A file whose angles are only in the plan: 2 flats, 1 dark, projections from 90 to `stop` by 15 degrees."""
    model = {"name": "gts_theta", "start": 90.0, "stop": 90.0}
    plan = [{"models": [model | {"points": 2}, model | {"points": 1}, model | {"stop": stop, "step": 15.0}],
             "imageTypes": ["FLAT", "DARK", "NORMAL"]}]  # fmt: skip
    path = write_foreign_nx(path, counts(rng, 16), np.array([1, 1, 2] + [0] * 13), np.arange(16.0))
    with h5py.File(path, "a") as file:
        del file["entry/sample/rotation_angle"]
        file["entry/diamond_scan/scan_models"] = json.dumps(["ArrayList", plan])
    return path


def test_planned_angles_stand_in_for_measured_ones(tmp_path: Path, rng: np.random.Generator) -> None:
    back = read(_planned(tmp_path / "a.nxs", rng, 270.0))
    np.testing.assert_allclose(back.scan.angles, np.deg2rad(np.arange(90, 271, 15)), rtol=1e-14)
    assert "plan of the scan" in back.meta["warnings"][0]


def test_a_plan_that_does_not_fit_the_frames_is_not_used(tmp_path: Path, rng: np.random.Generator) -> None:
    path = _planned(tmp_path / "a.nxs", rng, 255.0)
    with pytest.raises(DataError, match="no rotation_angle"):
        read(path)
    assert len(read(path, angles="90:270:13:closed").scan) == 13


def test_a_plan_of_another_kind_is_not_used(tmp_path: Path, rng: np.random.Generator) -> None:
    path = _planned(tmp_path / "a.nxs", rng, 270.0)
    with h5py.File(path, "a") as file:
        plan = file["entry/diamond_scan/scan_models"][()].decode().replace('"stop"', '"positions"')
        file["entry/diamond_scan/scan_models"][()] = plan
    with pytest.raises(DataError, match="no rotation_angle"):
        read(path)


def test_views_of_the_stack_count_projections(tmp_path: Path, rng: np.random.Generator) -> None:
    scan = parallel_dataset(rng)
    write_scan(tmp_path / "a.nxs", scan)
    info = probe(tmp_path / "a.nxs")
    assert (info.shape, info.n_flats, info.n_darks) == ((VIEWS, ROWS, COLUMNS), 3, 2)
