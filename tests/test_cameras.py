"""Cameras of spacecraft and satellites: numbers of USGSCSM, ISIS and rpcm, round trips, derivatives, bad files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.camera_sets import ALTITUDE, LAT, LON, MOON, frame_isd, rational, scan_isd, site, write_isd
from tomodiff.errors import DataError
from tomodiff.files.planetary import read_camera, read_isd
from tomodiff.geometry.cameras import Camera, Distortion, Ellipsoid, Track, view_of
from tomodiff.geometry.cameras.distortion import KINDS
from tomodiff.geometry.cameras.footprint import footprint_of
from tomodiff.geometry.cameras.parallax import parallax_of
from tomodiff.geometry.cameras.path import turned
from tomodiff.geometry.cameras.pinhole import Pinhole

pytest.importorskip("pyproj", reason="the extra `planetary` is not installed")
Shared = Callable[[str], Path]


@pytest.fixture
def cameras(tmp_path: Path) -> dict[str, Camera]:
    frame = read_isd(write_isd(tmp_path / "frame.json", frame_isd(200, 9e3, -6e3, (100.0, 35.0)))).camera
    scan = read_isd(write_isd(tmp_path / "scan.json", scan_isd(300, 200))).camera
    return {"frame": frame, "scan": scan, "rpc": rational(200, 0.2, -0.3)}


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def pixels_of(camera: Camera, rng: np.random.Generator, n: int = 50) -> np.ndarray:
    rows, columns = camera.shape
    return np.stack([rng.uniform(0, columns - 1, n), rng.uniform(0, rows - 1, n)])


# ---- other programs' numbers ------------------------------------------------------------------------------

ISDS = {
    "simpleFramerISD.img": "simpleFramerISD", "orbitalFramer.img": "orbitalFramer",
    "constVelocityLineScan.img": "constVelocityLineScan", "orbitalLineScan.img": "orbitalLineScan",
}  # fmt: skip


def test_usgscsm_sees_the_same_ground(shared: Shared) -> None:
    """USGSCSM's own test values.  The orbital scanner's ISD tells velocities 5 % off its positions' steps, with which
    USGSCSM takes positions anew: half a metre of 50 km."""
    seen, isds = 0, shared("data/planetary/csm_isd")
    for row in rows_of(shared("reference/planetary/usgscsm_image_to_ground.csv")):
        if row["isd"] not in ISDS:
            continue
        camera = read_isd(isds / f"usgscsm_{ISDS[row['isd']]}.json").camera
        assert isinstance(camera, Pinhole)
        pixel = np.array([[float(row["sample"]) - 0.5], [float(row["line"]) - 0.5]])
        centre, look = camera.ray(pixel)
        ground = camera.ellipsoid.met(centre, look, 0.0)
        if np.isnan(ground).any():  # beside the body USGSCSM tells where the sight comes nearest
            ground = centre - (centre * look).sum(0) * look
        wanted = np.array([[float(row[k])] for k in ("X_m", "Y_m", "Z_m")])
        assert np.abs(ground - wanted).max() < (
            0.5 if "orbitalLine" in row["isd"] else 1e-8 * max(1, abs(wanted).max())
        )
        back, _ = camera.image_of(wanted)
        assert np.abs(back - pixel).max() < (0.01 if "orbitalLine" in row["isd"] else 1e-7)
        seen += 1
    assert seen == 8


def test_rpcm_sees_the_same_pixels(shared: Shared) -> None:
    pytest.importorskip("rasterio", reason="the extra `planetary` is not installed")
    seen, images = 0, shared("data/planetary/s2p")
    for row in rows_of(shared("reference/planetary/rpc_points.csv")):
        image = images / row["image"]
        if not image.exists():
            continue
        found = read_camera(image)
        assert found is not None
        lon, lat, height = (np.array([float(row[k])]) for k in ("lon_deg", "lat_deg", "height_m"))
        lon, lat = np.deg2rad(lon), np.deg2rad(lat)
        pixel, _ = found.camera.image_of(found.camera.ellipsoid.places(lon, lat, height))
        assert np.abs(pixel.ravel() - [float(row["rpcm_col"]), float(row["rpcm_row"])]).max() < 1e-8
        back = found.camera.ground_of(pixel, float(height[0]))
        assert np.allclose(np.ravel(back), np.ravel([lon, lat]), rtol=0, atol=1e-14)
        seen += 1
    assert seen >= 9


def test_tables_of_an_isis_cube_tell_the_angles_of_isis(shared: Shared) -> None:
    """Incidence, emission, phase in the LRO NAC crop at line 300, sample 300: 53.2, 9.75, 61.3 degrees."""
    pytest.importorskip("rasterio", reason="the extra `planetary` is not installed")
    found = read_camera(shared("data/planetary/isis_lro/M143947267L.cal.echo.crop.cub"))
    assert found is not None and found.sun is not None and isinstance(found.camera, Pinhole)
    centre, look = found.camera.ray(np.array([[299.0], [299.0]]))
    ground = found.camera.ellipsoid.met(centre, look, 0.0)
    up = ground / np.linalg.norm(ground)
    sun = found.sun[:, None] - ground
    sun /= np.linalg.norm(sun)
    angles = [np.rad2deg(np.arccos(float((a * b).sum()))) for a, b in ((up, sun), (up, -look), (sun, -look))]
    assert np.abs(np.array(angles) - [53.2, 9.75, 61.3]).max() < 0.05
    assert np.abs(found.camera.image_of(ground)[0] - 299).max() < 1e-6


def test_isds_of_missions_are_read(shared: Shared) -> None:
    """Frame cameras and scanners of eight missions: pixels come back, derivatives are those of differences."""
    rng, read = np.random.default_rng(3), 0
    for path in sorted(shared("data/planetary/csm_isd").glob("ale_*.json")):
        if "mgsmoc" in path.name:  # whose made-up distortion folds the focal plane
            continue
        camera = read_isd(path).camera
        assert isinstance(camera, Pinhole)
        pixels = pixels_of(camera, rng)
        ground = camera.ellipsoid.met(*camera.ray(pixels), 0.0)
        on = np.isfinite(ground).all(0)
        found, _ = camera.image_of(ground[:, on])
        assert on.any() and np.abs(found - pixels[:, on]).max() < 1e-6, path.name
        read += 1
    assert read >= 9


# ---- our own ------------------------------------------------------------------------------------------


def test_pixels_come_back_from_the_ground(cameras: dict[str, Camera], rng: np.random.Generator) -> None:
    for name, camera in cameras.items():
        pixels = pixels_of(camera, rng)
        for height in (0.0, 300.0):
            places = MOON.places(*camera.ground_of(pixels, height), height)
            assert np.abs(camera.image_of(places)[0] - pixels).max() < 1e-6, name
            assert height or camera.within(places).all()


def test_derivatives_are_those_of_differences(cameras: dict[str, Camera], rng: np.random.Generator) -> None:
    for name, camera in cameras.items():
        places = MOON.places(*camera.ground_of(pixels_of(camera, rng), 20.0), 20.0)
        slopes, step = camera.image_of(places)[1], 0.1
        for axis in range(3):
            move = step * np.eye(3)[:, axis : axis + 1]
            apart = (camera.image_of(places + move)[0] - camera.image_of(places - move)[0]) / (2 * step)
            assert np.abs(apart - slopes[:, axis]).max() < 2e-6 * np.abs(slopes).max(), (name, axis)


def test_the_camera_is_where_it_was_put(cameras: dict[str, Camera]) -> None:
    """The frame camera looks at the site from 9 km north and 6 km west of its zenith; the sun is where it was said."""
    camera = cameras["frame"]
    site_place = MOON.places(LON, LAT)[:, None]
    pixel, slopes = camera.image_of(site_place)
    assert np.allclose(pixel, 99.5, atol=1e-6)
    own = MOON.axes(LON, LAT) @ view_of(slopes)[:, 0]
    wanted = np.array([-6e3, 9e3, ALTITUDE])
    assert np.allclose(np.abs(own @ wanted) / np.linalg.norm(wanted), 1, atol=1e-9)


def test_distortions_and_their_inverses(rng: np.random.Generator) -> None:
    given = {
        "radial": [1e-3, 2e-5, 1e-8], "lrolrocnac": [1.8e-5], "dawnfc": [9e-6],
        "kaguyalism": [0.02, 1e-3, 1e-4, 8e-6, -4e-7, 0.01, -1e-3, 1e-5, 3e-6, -6e-7],
        "transverse": [0.01, 1.002, 1e-4, 1e-5, -5e-6, 2e-6, 1e-7, 0, 1e-7, 0,
                       0.02, -1e-4, 0.998, 9e-6, 0, 4e-6, 0, 1e-7, 0, 1e-7],
    }  # fmt: skip
    assert given.keys() == KINDS.keys()
    points = rng.uniform(-12, 12, (2, 40))
    for kind, k in given.items():
        lens = Distortion(kind, np.array(k))
        bent, slope = lens.bent(points)
        back, inverse = lens.straight(bent)
        assert np.allclose(back, points, atol=1e-9), kind
        assert np.allclose(np.einsum("abn,bcn->acn", inverse, slope), np.eye(2)[:, :, None], atol=1e-9), kind
        for axis in range(2):
            move = 1e-4 * np.eye(2)[:, axis : axis + 1]
            apart = (lens.bent(points + move)[0] - lens.bent(points - move)[0]) / 2e-4
            assert np.allclose(apart, slope[:, axis], atol=1e-7), kind


def test_eight_points_carry_a_polynomial_of_degree_seven(rng: np.random.Generator) -> None:
    times, k = 2.0 + 0.5 * np.arange(20), rng.normal(size=8)
    track = Track(2.0, 0.5, np.polynomial.polynomial.polyval((times - 6) / 4, k)[:, None])
    at = rng.uniform(4, 9, 30)
    value, slope = track.at(at)
    assert np.allclose(value[0], np.polynomial.polynomial.polyval((at - 6) / 4, k), atol=1e-12)
    d = np.polynomial.polynomial.polyder(k) / 4
    assert np.allclose(slope[0], np.polynomial.polynomial.polyval((at - 6) / 4, d), atol=1e-11)
    end, rate = track.at(np.array([2.1, 1.9]))  # at and beyond an end: a line
    assert np.allclose(end[0, 0] - end[0, 1], 0.2 * rate[0, 0])
    assert np.array_equal(Track(0.0, 1.0, np.array([[3.0]])).at(at)[0], np.full((1, 30), 3.0))


def test_turns_of_quaternions(rng: np.random.Generator) -> None:
    from scipy.spatial.transform import Rotation

    q, rate = rng.normal(size=(4, 5)), rng.normal(size=(4, 5))
    made, slope = turned(q, rate)
    assert np.allclose(np.moveaxis(made, 2, 0), Rotation.from_quat(q[[1, 2, 3, 0]].T).as_matrix())
    apart = (turned(q + 1e-6 * rate, rate)[0] - turned(q - 1e-6 * rate, rate)[0]) / 2e-6
    assert np.allclose(apart, slope, atol=1e-8)


def test_ellipsoids_agree_with_proj(rng: np.random.Generator) -> None:
    from pyproj import Transformer

    body = Ellipsoid(3396190.0, 3376200.0)
    lon, lat, height = rng.uniform(-3, 3, 30), rng.uniform(-1.5, 1.5, 30), rng.uniform(-8e3, 2e4, 30)
    way = Transformer.from_pipeline("+proj=cart +a=3396190 +b=3376200")
    assert np.allclose(body.places(lon, lat, height), way.transform(lon, lat, height, radians=True), atol=1e-6)
    for made, wanted in zip(body.geodetic(body.places(lon, lat, height)), (lon, lat, height), strict=True):
        assert np.allclose(made, wanted, rtol=0, atol=1e-6)
    above, down = body.places(lon, lat, 1e5), -body.axes(lon, lat)[2]
    assert np.allclose(body.met(above, down, 500.0), body.places(lon, lat, 500.0), atol=1e-4)
    assert np.isnan(body.met(above, -down, 0.0)).all()


def test_parallax_and_footprint_are_the_cameras_own(cameras: dict[str, Camera], rng: np.random.Generator) -> None:
    """Both cubics against the camera itself, and against each other, at heights that are not their nodes."""
    grid = site(40, 4.0)
    for name, camera in cameras.items():
        parallax = parallax_of(camera, MOON, *grid.geodetic, -200.0, 200.0)
        heights = rng.uniform(-200, 200, grid.shape)
        exact, _ = camera.image_of(MOON.places(*(g.ravel() for g in grid.geodetic), heights.ravel()))
        assert np.nanmax(np.abs(parallax.at(heights).reshape(2, -1) - exact)) < 1e-5, name
        columns, rows = np.arange(60.0, 140.0), np.arange(60.0, 141.0)
        found = footprint_of(camera, grid, -200.0, 200.0, columns, rows)
        t = 0.37
        place = np.moveaxis(found.path, 1, 0)
        at = place[0] + t * (place[1] + t * (place[2] + t * place[3]))
        pixels = np.stack(np.meshgrid(columns, rows)).reshape(2, -1)
        wanted = grid.elements_of(*camera.ground_of(pixels, t * 200.0))
        assert np.abs(at.reshape(2, -1) - wanted).max() < 1e-4, name


def test_elements_of_places_are_those_of_the_grid() -> None:
    grid = site(12, 3.0)
    column, row = grid.elements_of(*grid.geodetic)
    assert np.allclose(column, np.arange(12)[None]) and np.allclose(row, np.arange(12)[:, None])


# ---- bad files ----------------------------------------------------------------------------------------

BAD: list[tuple[str, Any, str]] = [
    ("name_model", "USGS_ASTRO_SAR_MODEL", r"name_model: expected USGS_ASTRO_FRAME_SENSOR_MODEL or .*SAR"),
    ("optical_distortion", {"cahvor": {}}, r"optical_distortion: expected one of radial, .*found cahvor"),
    ("optical_distortion", {"radial": {"coefficients": [1.0]}}, r"optical_distortion.radial: expected 3 coefficients"),
    ("instrument_position", {"positions": [[1.0, 2.0]]}, r"instrument_position.positions: expected rows of 3"),
    ("instrument_pointing", {"quaternions": []}, r"instrument_pointing.quaternions: expected rows of 4"),
    ("image_lines", "many", r"image_lines: expected a number, found 'many'"),
    ("focal_length_model", None, r"focal_length_model: expected a value, found none"),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD)
def test_bad_isds_are_named(tmp_path: Path, name: str, value: Any, message: str) -> None:
    told = frame_isd(50, 0, 0, (90.0, 40.0))
    told[name] = value
    if value is None:
        del told[name]
    with pytest.raises(DataError, match=message):
        read_isd(write_isd(tmp_path / "bad.json", told))


def test_files_that_are_no_isd(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text in ("{", "[1, 2]"):
        path.write_text(text)
        with pytest.raises(DataError, match=r"a\.json"):
            read_isd(path)
    with pytest.raises(DataError, match=r"missing\.json.*a readable ISD"):
        read_isd(tmp_path / "missing.json")
    told = scan_isd(20, 20)
    told["line_scan_rate"] = [[0.5, 0.0]]
    path.write_text(json.dumps(told))
    with pytest.raises(DataError, match="line_scan_rate: expected rows of first line"):
        read_isd(path)
