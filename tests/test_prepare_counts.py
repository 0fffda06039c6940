"""From counts to line integrals: flats and darks, defective pixels, flux, -log; on made-up and on real scans."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tomodiff.errors import ConfigError, DataError
from tomodiff.geometry import ConeBeam, Helix, ParallelBeam
from tomodiff.prepare import Air, find_air, find_defects, flat_field, minus_log, normalise_flux, prepare, repair_pixels
from tomodiff.prepare.defects import fill, repair
from tomodiff.prepare.minus_log import noise_floor
from tomodiff.prepare.references import reference_frame
from tomodiff.result import Dataset
from tomodiff.simulate import Beam, Detector, Misalignment, bead_pack, sample, simulate_scan, transmissions

SHAPE = (8, 96)


def parallel(views: int = 60, shape: tuple[int, int] = SHAPE) -> ParallelBeam:
    return ParallelBeam(np.linspace(0, np.pi, views, endpoint=False), shape)


def counts(rng: np.random.Generator, scale: float = 1.0, **detector: object) -> Dataset:
    obj = bead_pack(rng, 30.0, 10.0, 12, (3.0, 8.0), 0.03).scaled(scale)
    return simulate_scan(obj, parallel(), rng=rng, detector=Detector(**detector), oversample=1)  # type: ignore[arg-type]


def transmission_of(data: np.ndarray) -> Dataset:
    return Dataset(data, parallel(len(data), data.shape[1:]), "transmission")


def test_flat_field_is_the_ratio_above_the_dark(rng: np.random.Generator) -> None:
    flats, darks = rng.uniform(900, 1000, (3, 4, 6)), rng.uniform(90, 110, (2, 4, 6))
    data = rng.integers(200, 900, (5, 4, 6)).astype(np.uint16)
    raw = Dataset(data, parallel(5, (4, 6)), "counts", flats, darks)
    kept = data.copy()
    found = flat_field(raw)
    expected = (data - darks.mean(0)) / (flats.mean(0) - darks.mean(0))
    np.testing.assert_allclose(found.data, expected, rtol=1e-6)
    assert found.kind == "transmission" and found.data.dtype == np.float32 and found.flats is None
    assert "3 flats, 2 darks" in found.history[-1]
    np.testing.assert_array_equal(raw.data, kept)
    with pytest.raises(DataError, match="expected counts, found transmission"):
        flat_field(found)


def test_a_flash_in_one_of_many_flats_does_not_count(rng: np.random.Generator) -> None:
    frames = rng.normal(1000, 10, (10, 5, 7))
    frames[3, 2, 4] += 5000
    mean = reference_frame(frames)
    assert abs(mean[2, 4] - 1000) < 20
    clean = np.delete(frames[:, 2, 4], 3).mean()
    assert mean[2, 4] == pytest.approx(clean)
    np.testing.assert_allclose(mean[0], frames[:, 0].mean(axis=0), atol=3)
    few = frames[:4]
    np.testing.assert_allclose(reference_frame(few), few.mean(axis=0))


def test_unusable_flats_are_refused_with_the_number_of_pixels() -> None:
    data, ones = np.full((4, 5, 6), 50.0), np.ones((2, 5, 6))
    for flats, darks, message in (
        (None, None, "at least one flat"),
        (0 * ones, None, "0 in all 30 pixels"),
        (10 * ones, 20 * ones, "30 of 30 pixels"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            flat_field(Dataset(data, parallel(4, (5, 6)), "counts", flats, darks))
        assert caught.value.exit_code == 3


def test_missing_darks_negative_and_saturated_counts_are_reported() -> None:
    data = np.full((4, 5, 6), 300, np.uint16)
    data[0, 0] = 65535
    data[1, 1] = 0
    flats, darks = np.full((2, 5, 6), 1000.0), np.full((2, 5, 6), 100.0)
    scan = parallel(4, (5, 6))
    warnings = flat_field(Dataset(data, scan, "counts", flats, darks)).meta["warnings"]
    assert any("6 counts" in text and "saturated" in text for text in warnings)
    assert any("6 values are below the dark" in text for text in warnings)
    warnings = flat_field(Dataset(data, scan, "counts", flats)).meta["warnings"]
    assert any("no dark fields" in text for text in warnings)


def test_simulated_dead_pixels_are_all_found_and_nothing_else(rng: np.random.Generator) -> None:
    for _ in range(3):
        raw = counts(rng, dead_pixels=5)
        found = find_defects(raw)
        assert np.argwhere(found.mask).tolist() == raw.meta["truth"]["dead_pixels"]
        assert sum(found.reasons.values()) == 5 and len(found.positions()) == 5


def test_each_kind_of_defect(rng: np.random.Generator) -> None:
    raw = counts(rng)
    assert raw.flats is not None and raw.darks is not None
    data, flats, darks = raw.data.copy(), raw.flats.copy(), raw.darks.copy()
    data[:, 1, 10] = np.nan
    flats[:, 2, 20] = darks[:, 2, 20] - 3
    data[:, 3, 30] = 777.0
    flats[:, 4, 40] *= 3
    flats[:, 5, 50] *= 0.5  # dust: dims the flat and the views alike
    data[:, 5, 50] = 100 + 0.5 * (data[:, 5, 50] - 100)
    found = find_defects(raw.replace(data=data, flats=flats, darks=darks))
    assert np.argwhere(found.mask).tolist() == [[1, 10], [2, 20], [3, 30], [4, 40]]
    assert found.reasons == {"not finite": 1, "no response": 1, "stuck": 1, "outlier": 1}


def test_repair_takes_the_neighbours_of_the_same_view(rng: np.random.Generator) -> None:
    v, u = np.meshgrid(np.arange(6.0), np.arange(9.0), indexing="ij")
    plane = (1 + 0.1 * v + 0.2 * u)[None] * np.array([1.0, 2.0])[:, None, None]
    mask = np.zeros((6, 9), bool)
    mask[2, 4] = mask[0, 0] = True
    broken = plane.copy()
    broken[:, mask] = np.nan
    broken[1, 4, 7] = np.inf
    fixed, single = repair(broken, mask)
    assert single == 1
    np.testing.assert_allclose(fixed[:, 2, 4], plane[:, 2, 4], rtol=1e-12)  # symmetric neighbours: exact on a plane
    np.testing.assert_allclose(fixed[1, 4, 7], plane[1, 4, 7], rtol=1e-12)
    np.testing.assert_allclose(fixed[:, 0, 0], plane[:, 0, 0], rtol=0.4)
    good = ~mask
    good[4, 7] = False
    np.testing.assert_array_equal(fixed[:, good], plane[:, good])


def test_a_dead_column_is_bridged_from_both_sides() -> None:
    image = np.tile(np.arange(9.0), (5, 1))
    mask = np.zeros((5, 9), bool)
    mask[:, 3:6] = True
    image[mask] = np.nan
    fixed = fill(image, mask)
    assert np.isfinite(fixed).all()
    assert (fixed[:, 3:6] > 2).all() and (fixed[:, 3:6] < 6).all()
    np.testing.assert_allclose(fixed[:, 4], 4, atol=1e-12)


def test_dead_columns_at_an_edge_take_the_nearest_values() -> None:
    image = np.tile(np.arange(30.0), (20, 1))
    mask = np.zeros(image.shape, bool)
    mask[:, [0, 1, 29]] = True
    image[mask] = np.nan
    fixed = fill(image, mask)
    assert (fixed[:, :2] < 3).all() and (fixed[:, :2] > 1.999).all() and (fixed[:, 29] > 27).all()


def test_a_view_that_is_missing_is_refused() -> None:
    data = np.ones((9, 4, 8), np.float32)
    data[3] = np.nan
    with pytest.raises(DataError, match="view 3: expected at least half of its values, found 0 of 32"):
        repair_pixels(transmission_of(data))


def test_mostly_broken_detectors_are_refused() -> None:
    data = np.ones((3, 4, 8), np.float32)
    data[:, :, :5] = np.nan
    with pytest.raises(DataError, match="at most half"):
        repair_pixels(transmission_of(data))


@pytest.mark.parametrize("flicker", [0.0, 0.03])
def test_flux_drift_is_divided_out(rng: np.random.Generator, flicker: float) -> None:
    obj = bead_pack(rng, 30.0, 10.0, 12, (3.0, 8.0), 0.03)
    beam = Beam(i0=1e5, drift=0.3, flicker=flicker, after_flats=0.8)
    raw = simulate_scan(obj, parallel(), rng=rng, beam=beam, oversample=1)
    found = normalise_flux(flat_field(raw))
    expected = transmissions(obj, parallel(), 1)
    per_view = (found.data / expected).mean(axis=(1, 2))
    np.testing.assert_allclose(per_view, 1, atol=2e-3)
    numbers = found.meta["prepare"]["normalise_flux"]
    json.dumps(numbers)
    assert numbers["air_columns"][0] > 5 and numbers["air_columns"][1] > 5
    assert numbers["smoothed_over_views"] == (flicker == 0)
    assert any("flats do not fit" in text for text in found.meta["warnings"])


def test_the_air_found_is_air(rng: np.random.Generator) -> None:
    for scale in (0.5, 0.8, 1.2):
        obj = sample(rng, 36.0 * scale, 0.02)
        clean = transmissions(obj, parallel(), 1)
        noisy = rng.poisson(2e4 * clean) / 2e4
        air = find_air(noisy)
        assert (clean[:, :, : air.left] > 0.995).all() and (clean[:, :, SHAPE[1] - air.right :] > 0.995).all()
        if scale == 0.5:
            assert air.left > 10 and air.right > 10


@pytest.mark.parametrize("name", ["sample", "beads"])
def test_no_air_is_found_where_the_object_fills_the_view(rng: np.random.Generator, name: str) -> None:
    obj = sample(rng, 90.0, 0.008) if name == "sample" else bead_pack(rng, 80.0, 20.0, 60, (4.0, 14.0), 0.03)
    noisy = rng.poisson(2e4 * transmissions(obj, parallel(), 1)) / 2e4
    assert find_air(noisy) == Air(0, 0)
    left = normalise_flux(transmission_of(noisy))
    np.testing.assert_array_equal(left.data, noisy)
    assert "no air" in left.meta["warnings"][0]


def test_air_on_one_side_or_given() -> None:
    data = np.full((10, 3, 40), 0.5)
    data[:, :, :8] = np.linspace(0.7, 0.9, 10)[:, None, None]
    found = normalise_flux(transmission_of(data), air=(8, 0))
    np.testing.assert_allclose(found.data[:, :, :8], 1, rtol=1e-3)
    np.testing.assert_allclose(found.data[:, 0, 20], 0.5 / np.linspace(0.7, 0.9, 10), rtol=1e-3)
    for wrong in ((0, 0), (-1, 4), (30, 10)):
        with pytest.raises(ConfigError, match="air"):
            normalise_flux(transmission_of(data), air=wrong)


def test_minus_log_clips_at_the_floor_and_counts() -> None:
    data = np.full((3, 4, 8), np.exp(-1.5), np.float32)
    data[0, 0, :3] = 0.001, 0.0, -0.2
    data[1, 1, 1] = 1.3
    found = minus_log(transmission_of(data), floor=0.01)
    assert found.kind == "line_integrals" and found.meta["prepare"]["minus_log"]["clipped_values"] == 3
    np.testing.assert_allclose(found.data[0, 0, :3], -np.log(0.01), rtol=1e-6)
    assert found.data[1, 1, 1] == pytest.approx(-np.log(1.3)) and found.data[2, 2, 2] == pytest.approx(1.5)
    assert found.meta["prepare"]["minus_log"]["negative_values"] == 1
    assert any("floor" in text for text in found.meta["warnings"])
    data[2, 3, 3] = np.nan
    with pytest.raises(DataError, match="repair_pixels"):
        minus_log(transmission_of(data))
    with pytest.raises(ConfigError, match="floor"):
        minus_log(transmission_of(data), floor=2.0)


def test_the_floor_is_the_noise_in_the_dark(rng: np.random.Generator) -> None:
    clean = np.ones((20, 10, 200))
    clean[:, :, 80:120] = 0.001
    for sigma in (0.002, 0.01):
        found = noise_floor(clean + sigma * rng.standard_normal(clean.shape))
        assert sigma / 2 < found < 1.5 * sigma
    assert noise_floor(clean) <= 1e-4
    dimming = np.repeat(clean, 20, axis=0)
    dimming[200:, :, 80:120] += 0.01 * rng.standard_normal((200, 10, 40))
    assert noise_floor(dimming, sample=2000) > 0.002  # a sample of all views, not of the first alone


def test_the_whole_chain_gives_line_integrals_and_the_axis(rng: np.random.Generator) -> None:
    obj = bead_pack(rng, 30.0, 10.0, 12, (3.0, 8.0), 0.03)
    scan = parallel(90)
    raw = simulate_scan(
        obj,
        scan,
        rng=rng,
        beam=Beam(i0=5e4, drift=0.1),
        detector=Detector(dead_pixels=4, gain_error=0.01),
        misalignment=Misalignment(axis_shift=2.4),
    )
    kept = raw.data.copy()
    ready, report = prepare(raw, rings="normal")
    np.testing.assert_array_equal(raw.data, kept)
    json.dumps(report, allow_nan=False)
    assert ready.kind == "line_integrals" and isinstance(ready.scan, ParallelBeam)
    assert abs(ready.scan.axis_column - raw.meta["truth"]["axis_column"]) <= 0.1
    exact = -np.log(transmissions(obj, scan.with_axis_column(ready.scan.axis_column), 2))
    assert np.sqrt(np.mean((ready.data - exact) ** 2)) < 0.02
    steps = ("repair_pixels", "flat_field", "normalise_flux", "minus_log", "remove_rings", "find_center")
    assert set(report["steps"]) == set(steps)
    order = [line.split(":")[0] for line in report["history"][1:]]
    assert order == ["flat_field", "repair_pixels", *steps[2:]]
    assert report["steps"]["repair_pixels"]["defective_pixels"] == 4


def test_the_chain_enters_where_the_data_is(rng: np.random.Generator) -> None:
    data = transmissions(bead_pack(rng, 30.0, 10.0, 12, (3.0, 8.0), 0.03), parallel(), 1)
    ready, report = prepare(transmission_of(data), center=44.5, flux=False, floor=1e-4, defects=False)
    np.testing.assert_allclose(ready.data, -np.log(data), atol=1e-5)
    assert isinstance(ready.scan, ParallelBeam) and ready.scan.axis_column == pytest.approx(44.5)
    assert "flat_field" not in report["steps"] and report["steps"]["find_center"]["method"] == "given"
    integrals = ready.replace(meta={}, history=())
    again, report = prepare(integrals, center=None)
    np.testing.assert_array_equal(again.data, integrals.data)
    assert again.scan == integrals.scan and "find_center" not in report["steps"]


def test_scans_without_an_axis_column_keep_their_geometry() -> None:
    scan = Helix(np.linspace(0, 9, 12), 50.0, 90.0, (4, 16), (1.0, 1.0), pitch=2.0)
    data = Dataset(np.full((12, 4, 16), 0.5), scan, "line_integrals")
    ready, report = prepare(data)
    assert ready.scan == scan and any("keeps the axis" in text for text in report["warnings"])
    with pytest.raises(ConfigError, match="no single axis"):
        prepare(data, center=7.0)
    cone = ConeBeam(np.linspace(0, 6, 12), 50.0, 90.0, (4, 16), 1.0)
    ready, _ = prepare(data.replace(scan=cone), center=7.0)
    assert isinstance(ready.scan, ConeBeam) and ready.scan.axis_column == pytest.approx(7.0)


def test_the_pin_scan(shared: Callable[[str], Path]) -> None:
    tifffile = pytest.importorskip("tifffile")
    folder = shared("data/ct/savu_24737_tiffs")
    data = np.stack([tifffile.imread(path) for path in sorted((folder / "tiffs").glob("*.tiff"))])
    flat, dark = (tifffile.imread(folder / f"{name}_00001.tiff")[None] for name in ("flat", "dark"))
    scan = ParallelBeam(np.deg2rad(np.linspace(-88.2, 91.8, len(data))), data.shape[1:])
    ready, report = prepare(Dataset(data, scan, "counts", flat, dark), center=None)
    assert report["steps"]["repair_pixels"]["positions_vu"] == [[0, 0]]
    flux = report["steps"]["normalise_flux"]
    left, right = flux["air_columns"]
    assert left >= 10 and right >= 10 and 0.6 < flux["air_transmission_before"][1] < 0.75
    air = np.exp(-np.concatenate([ready.data[:, :, :left], ready.data[:, :, 160 - right :]], axis=2))
    np.testing.assert_allclose(air.mean(axis=(1, 2)), 1, atol=5e-3)
    assert abs(np.exp(-ready.data[:, :12]).mean() - 1) < 0.02  # above the sample, where nothing was fitted
    assert np.isfinite(ready.data).all()


def test_the_pin_scan_with_its_dead_pixel_as_nan(shared: Callable[[str], Path]) -> None:
    mrcfile = pytest.importorskip("mrcfile")
    with mrcfile.open(shared("data/ct/savu_24737_tiffs/projections.mrc"), permissive=True) as file:
        data = np.array(file.data, dtype=np.float32)
    bad = np.argwhere(~np.isfinite(data).all(axis=0)).tolist()
    ready, report = prepare(Dataset(data, parallel(len(data), data.shape[1:]), "transmission"), center=None)
    assert report["steps"]["repair_pixels"]["positions_vu"] == bad and len(bad) == 1
    assert np.isfinite(ready.data).all()


def test_the_tooth_has_air_and_no_defects(shared: Callable[[str], Path]) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(shared("data/ct/tomopy_tooth/tooth.h5")) as file:
        frames = [file[f"exchange/{name}"][:] for name in ("data", "data_white", "data_dark")]
        angles = np.deg2rad(file["exchange/theta"][:])
    ready, report = prepare(Dataset(frames[0], ParallelBeam(angles, (2, 640)), "counts", frames[1], frames[2]))
    assert report["steps"]["repair_pixels"]["defective_pixels"] == 0 and not report["warnings"]
    assert abs(ready.data[:, :, :60].mean()) < 5e-3 and abs(ready.data[:, :, -60:].mean()) < 5e-3
    assert isinstance(ready.scan, ParallelBeam) and abs(ready.scan.axis_column - 296) <= 1


@pytest.mark.parametrize("flicker", [0.0, 0.02])
def test_air_of_a_single_detector_row(rng: np.random.Generator, flicker: float) -> None:
    obj, scan = bead_pack(rng, 30.0, 2.0, 12, (2.0, 8.0), 0.03), parallel(60, (1, 128))
    raw = simulate_scan(obj, scan, rng=rng, beam=Beam(i0=1e5, drift=0.15, flicker=flicker), oversample=1)
    found = normalise_flux(flat_field(raw))
    per_view = (found.data / transmissions(obj, scan, 1)).mean(axis=(1, 2))
    np.testing.assert_allclose(per_view, 1, atol=5e-3)
