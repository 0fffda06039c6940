"""Finding the rotation axis: simulated scans of many kinds to 0.1 px, two real scans to 1 px."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tomodiff.errors import ConfigError, DataError
from tomodiff.geometry import ConeBeam, Helix, ParallelBeam, Scan, Vectors
from tomodiff.prepare import apply_center, find_center, prepare
from tomodiff.prepare.center_mirror import Criterion
from tomodiff.prepare.mirror_maps import circle, opposite, seams
from tomodiff.result import Dataset
from tomodiff.simulate import Ellipsoids, bead_pack, foam, sample, shepp_logan_3d, transmissions

WIDTH, ROWS = 96, 4


@cache
def phantom(name: str) -> Ellipsoids:
    """Objects of about 0.8 of the field of view of 96 mm; not those by which the methods were designed."""
    rng = np.random.default_rng(101)
    return {
        "head": shepp_logan_3d(37.0, 0.016, "modified"),
        "foam": foam(rng, 34.0, 8.0, 16, (1.5, 7.0), 0.025),
        "beads": bead_pack(rng, 34.0, 8.0, 16, (2.0, 7.0), 0.04),
        "sample": sample(rng, 37.0, 0.016),
    }[name]


def noisy(obj: Ellipsoids, scan: Scan, photons: float = 2e4, seed: int = 5, oversample: int = 1) -> Dataset:
    """Line integrals of a scan with Poisson noise; the scan is stated to be centred."""
    rng = np.random.default_rng(seed)
    counts = np.maximum(rng.poisson(photons * transmissions(obj, scan, oversample)), 1)
    data = -np.log(counts / photons)
    assert isinstance(scan, ParallelBeam | ConeBeam)
    return Dataset(data, scan.with_axis_column((scan.detector_shape[1] - 1) / 2), "line_integrals")


def parallel(angles: Any, column: float = 50.8, width: int = WIDTH) -> ParallelBeam:
    return ParallelBeam(np.deg2rad(angles), (ROWS, width), 1.0).with_axis_column(column)


ANGLES = {
    "180 without its end": np.linspace(0, 180, 150, endpoint=False),
    "180 with its end": np.linspace(0, 180, 151),
    "181": np.arange(182.0),
    "179.5": np.arange(0, 179.6, 0.5),
    "descending from 70": 70 - np.linspace(0, 180, 150, endpoint=False),
    "2 degree steps": np.arange(-88.2, 92, 2.0),
    "360 without its end": np.linspace(0, 360, 150, endpoint=False),
    "360 with its end": np.linspace(0, 360, 151),
    "360 with an odd number": 15 + np.linspace(0, 360, 121, endpoint=False),
    "200": np.arange(0, 200, 1.5),
    "golden angle": np.mod(np.arange(150) * 111.24611, 180.0),
}


@pytest.mark.parametrize("name", ["head", "beads", "sample"])
@pytest.mark.parametrize("angles", list(ANGLES))
def test_parallel_scans_to_a_tenth_of_a_pixel(name: str, angles: str) -> None:
    scan = parallel(ANGLES[angles])
    found = find_center(noisy(phantom(name), scan, oversample=2))
    assert abs(found.center - 50.8) <= 0.1, (found.center, found.method)
    assert 0.3 < found.confidence <= 1


@pytest.mark.parametrize("width, column", [(96, 47.5), (97, 48.0), (97, 42.23), (70, 31.61), (96, 57.0)])
@pytest.mark.parametrize("turn", [180, 360])
def test_even_and_odd_widths_and_far_axes(width: int, column: float, turn: int) -> None:
    obj = phantom("beads").scaled(0.6)
    scan = parallel(np.linspace(0, turn, 140, endpoint=False), column, width)
    assert abs(find_center(noisy(obj, scan)).center - column) <= 0.1


@pytest.mark.parametrize("turn", [180, 360])
def test_uneven_angles(turn: int, rng: np.random.Generator) -> None:
    angles = np.linspace(0, turn, 150, endpoint=False) + rng.uniform(-0.4, 0.4, 150)
    assert abs(find_center(noisy(phantom("sample"), parallel(angles))).center - 50.8) <= 0.1


@pytest.mark.parametrize("turn", [180, 360])
def test_a_small_object_far_off_the_axis(turn: int) -> None:
    obj = phantom("beads").scaled(0.4).moved((19.0, -13.0, 0.0))
    scan = parallel(np.linspace(0, turn, 180, endpoint=False), 53.3)
    assert abs(find_center(noisy(obj, scan)).center - 53.3) <= 0.1


@pytest.mark.parametrize("name", ["foam", "beads", "sample"])
@pytest.mark.parametrize("turn", [180, 181, 360])
def test_an_object_that_leaves_the_field_of_view(name: str, turn: int) -> None:
    obj = phantom(name).scaled(1.7, 1 / 1.7)
    scan = parallel(np.arange(0, turn + (turn == 181)), 51.4)
    found = find_center(noisy(obj, scan))
    assert abs(found.center - 51.4) <= 0.5
    if turn < 360:
        assert any("field of view" in note for note in found.notes)


@pytest.mark.parametrize("turn, photons", [(180, 1000.0), (360, 300.0)])
def test_strong_noise(turn: int, photons: float) -> None:
    scan = parallel(np.linspace(0, turn, 180, endpoint=False))
    found = [find_center(noisy(phantom("beads"), scan, photons, seed)).center - 50.8 for seed in range(3)]
    assert np.abs(found).max() <= 0.1


def test_stripes_do_not_pull_the_axis(rng: np.random.Generator) -> None:
    data = noisy(phantom("beads"), parallel(np.linspace(0, 180, 150, endpoint=False)))
    stripes = 0.02 * rng.standard_normal(data.data.shape[1:])
    assert abs(find_center(data.replace(data=data.data + stripes)).center - 50.8) <= 0.2


def test_less_than_half_a_turn_uses_the_centre_of_mass_and_says_so() -> None:
    found = find_center(noisy(phantom("sample"), parallel(np.arange(0, 140.0)), 1e5))
    assert found.method == "moments" and abs(found.center - 50.8) <= 0.5
    assert any("less than 180" in note for note in found.notes)


@pytest.mark.parametrize("name", ["foam", "sample"])
@pytest.mark.parametrize("kind", ["full", "few views", "curved", "reversed", "short scan", "odd", "wide"])
def test_cone_beams_to_a_tenth_of_a_pixel(name: str, kind: str) -> None:
    turn = {"reversed": -360.0, "short scan": 230.0}.get(kind, 360.0)
    views = 90 if kind == "few views" else 160
    angles = np.deg2rad(33 + np.linspace(0, turn, views, endpoint=False))
    rows, width = (5, 95) if kind == "odd" else (4, WIDTH)
    distance = 110.0 if kind == "wide" else 230.0
    scan = ConeBeam(angles, distance, 2 * distance, (rows, width), 1.0, curved=kind == "curved").with_axis_column(45.7)
    found = find_center(noisy(phantom(name).scaled(0.45, 2.0), scan))
    assert found.method == "fan" and abs(found.center - 45.7) <= 0.1
    assert found.confidence > 0.3 and not found.notes


def test_a_reversed_rotation_is_noticed() -> None:
    scan = ConeBeam(np.deg2rad(np.arange(0, 360, 2.0)), 150.0, 300.0, (4, WIDTH), 1.0)
    data = noisy(phantom("sample").scaled(0.45, 2.0), scan)
    wrong = data.replace(scan=ConeBeam(-scan.angles, 150.0, 300.0, (4, WIDTH), 1.0))
    assert any("sign of the angles" in note for note in find_center(wrong).notes)


def test_nothing_but_noise_gives_no_confidence(rng: np.random.Generator) -> None:
    for turn in (180, 360):
        scan = parallel(np.linspace(0, turn, 120, endpoint=False))
        empty = Dataset(0.01 * rng.standard_normal((120, ROWS, WIDTH)), scan, "line_integrals")
        assert find_center(empty).confidence < 0.3


def test_a_given_method_rows_and_search_are_used() -> None:
    data = noisy(phantom("beads"), parallel(np.linspace(0, 180, 151)))
    for method in ("opposite", "wedge", "seam"):
        found = find_center(data, method=method, rows=[1, 3], search=(44.0, 58.0))
        assert found.method == method and abs(found.center - 50.8) <= 0.3
        assert found.columns.min() >= 44 and found.columns.max() <= 58.2
        assert found.curve[0].shape == found.curve[1].shape


def test_what_cannot_be_done_is_refused() -> None:
    angles = np.linspace(0, np.pi, 20, endpoint=False)
    flat = ParallelBeam(angles, (2, 32))

    def of(scan: Scan) -> Dataset:
        return Dataset(np.ones((len(scan), *scan.detector_shape)), scan, "line_integrals")

    with pytest.raises(ConfigError, match="method"):
        find_center(of(flat), method="magic")
    with pytest.raises(ConfigError, match="fan"):
        find_center(of(flat), method="fan")
    with pytest.raises(ConfigError, match="search"):
        find_center(of(flat), search=(20.0, 99.0))
    with pytest.raises(ConfigError, match="rows"):
        find_center(of(flat), rows=[2])
    with pytest.raises(ConfigError, match="tilted axis"):
        find_center(of(ParallelBeam(angles, (2, 32), axis_tilt=0.5)))
    with pytest.raises(ConfigError, match="less than 180"):
        find_center(of(ParallelBeam(angles / 2, (2, 32))), method="wedge")
    for scan in (Vectors.of(flat), Helix(angles, 50.0, 90.0, (2, 32), (1.0, 1.0), pitch=2.0)):
        with pytest.raises(ConfigError, match="axis"):
            find_center(of(scan))
    with pytest.raises(DataError, match="columns"):
        find_center(of(ParallelBeam(angles, (2, 4))))


def test_applying_an_estimate_moves_the_axis_and_is_recorded() -> None:
    data = noisy(phantom("beads"), parallel(np.linspace(0, 180, 60, endpoint=False)))
    before = data.data.copy()
    found = find_center(data)
    moved = apply_center(data, found)
    np.testing.assert_array_equal(data.data, before)
    assert isinstance(moved.scan, ParallelBeam) and moved.scan.axis_column == pytest.approx(found.center)
    assert moved.meta["prepare"]["find_center"]["center"] == found.center and "axis" in moved.history[-1]


def test_the_criterion_is_the_energy_it_says(rng: np.random.Generator) -> None:
    k = np.array([0.3, 0.9, 1.4])
    a, b = (rng.standard_normal((7, 3)) + 1j * rng.standard_normal((7, 3)) for _ in range(2))
    energy = float((np.abs(a) ** 2 + np.abs(b) ** 2).sum())
    criterion = Criterion(k, (a * b.conj()).sum(axis=0), energy)
    columns = np.array([0.0, 1.3, 7.77])
    direct = [(np.abs(a * np.exp(1j * k * c) + b * np.exp(-1j * k * c)) ** 2).sum() / energy for c in columns]
    np.testing.assert_allclose(criterion(columns), direct)


@pytest.mark.parametrize("degrees", [ANGLES[name] for name in ANGLES], ids=list(ANGLES))
def test_maps_interpolate_on_the_circle(degrees: np.ndarray) -> None:
    angles = np.deg2rad(degrees)
    full = circle(angles)
    total = np.asarray(full.direct.sum(axis=1) + full.mirrored.sum(axis=1)).ravel()
    np.testing.assert_allclose(total, 1.0)
    assert full.gap < 3
    other = opposite(angles)
    if len(other.views):
        wave = np.exp(1j * angles)  # its value half a turn on is its negative
        np.testing.assert_allclose(other.seen @ wave, -wave[other.views], atol=2e-3)
    for seam in seams(angles):  # a parabola in the angle has no third difference
        step = np.median(np.abs(np.diff(np.sort(np.mod(angles, 2 * np.pi)))))
        t = np.concatenate([angles[seam.direct], angles[seam.mirrored] + np.pi])
        t = (np.mod(t - t[0] + 1e-9, 2 * np.pi)) / step
        weights = np.concatenate([seam.direct_weights, seam.mirrored_weights])
        assert abs(weights @ (1 + 0.3 * t)) < 1e-6


def test_the_tooth(shared: Callable[[str], Path]) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(shared("data/ct/tomopy_tooth/tooth.h5")) as file:
        frames = [file[f"exchange/{name}"][:] for name in ("data", "data_white", "data_dark")]
        angles = np.deg2rad(file["exchange/theta"][:])
    data, flats, darks = frames
    found = find_center(Dataset(data, ParallelBeam(angles, data.shape[1:]), "counts", flats, darks))
    assert abs(found.center - 296.0) <= 1.0 and found.confidence > 0.8


def test_the_pin_of_few_views(shared: Callable[[str], Path]) -> None:
    tifffile = pytest.importorskip("tifffile")
    folder = shared("data/ct/savu_24737_tiffs")
    data = np.stack([tifffile.imread(path) for path in sorted((folder / "tiffs").glob("*.tiff"))])
    flat, dark = (tifffile.imread(folder / f"{name}_00001.tiff")[None] for name in ("flat", "dark"))
    scan = ParallelBeam(np.deg2rad(np.linspace(-88.2, 91.8, len(data))), data.shape[1:])
    raw = Dataset(data, scan, "counts", flat, dark)
    assert abs(find_center(raw).center - 86.0) <= 1.0
    ready, report = prepare(raw)
    assert isinstance(ready.scan, ParallelBeam) and abs(ready.scan.axis_column - 86.0) <= 1.0
    assert report["steps"]["find_center"]["confidence"] > 0.8
