"""`terrain render` and `terrain fit` of images as cameras took them, from files on disk, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift
from scipy.optimize import minimize

from tests.camera_sets import frame_isd, rational, scan_isd, site, write_isd
from tests.conftest import Measured
from tomodiff.cli.main import main
from tomodiff.errors import DataError
from tomodiff.files.planetary import read_camera, read_raster, write_raster
from tomodiff.files.planetary.cameras import rpc_of
from tomodiff.geometry.cameras import WGS84
from tomodiff.geometry.map_grid import MapGrid
from tomodiff.simulate.terrain import Terrain, fractal_terrain

N, FINE = 80, 4
PIXELS = 130
MODEL = "lunar_lambert_mcewen"
EDGE = (slice(8, -8),) * 2
SUNS = ((90.0, 35.0), (200.0, 40.0), (320.0, 30.0))
PLACES = ((12e3, -9e3), (-14e3, 4e3), (3e3, 16e3))
"""Metres north and east of the zenith."""


@pytest.fixture(scope="module")
def ground() -> Terrain:
    return fractal_terrain((N, N), np.random.default_rng(8), slope_deg=8, craters=8, contrast=0.05, fine=FINE)


@pytest.fixture(scope="module")
def scene(ground: Terrain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A terrain, images of it by two frame cameras and a scanner."""
    isds = [frame_isd(PIXELS, *PLACES[k], SUNS[k]) for k in range(2)] + [scan_isd(PIXELS, PIXELS, SUNS[2])]
    return rendered(tmp_path_factory.mktemp("cameras"), ground, isds)


def rendered(made: Path, ground: Terrain, isds: list[dict[str, Any]], model: str = MODEL) -> Path:
    """A terrain four times finer than the fit's map, images of it with 1 % noise and their ISDs, a coarse DEM."""
    write_raster(made / "fine.tif", ground.height, site(N * FINE, 1 / FINE), "m")
    write_raster(made / "albedo.tif", ground.albedo, site(N * FINE, 1 / FINE))
    truth = ground.map_height
    write_raster(made / "truth.tif", truth, site(N), "m")
    write_raster(made / "dem.tif", gaussian_filter(truth, 6), site(N), "m")
    rng = np.random.default_rng(9)
    for k, told in enumerate(isds):
        isd = write_isd(made / f"image{k}.json", told)
        args = [
            "--camera",
            str(isd),
            "--albedo",
            str(made / "albedo.tif"),
            "-o",
            str(made / "clean.tif"),
            "--overwrite",
        ]
        assert main(["--quiet", "terrain", "render", str(made / "fine.tif"), *args, "--samples", "3"]) == 0
        clean = read_raster(made / "clean.tif").values
        write_raster(made / f"image{k}.tif", clean * (1 + rng.normal(0, 0.01, clean.shape)), None)
    return made


def fit(scene: Path, out: Path, *more: str) -> float:
    """What is left of the heights' error, in elements, about their mean."""
    images = [str(scene / f"image{k}.tif") for k in range(3)]
    told = ["--dem", str(scene / "dem.tif"), "-o", str(out), "--no-errors", "--image-exposures", "1"]
    assert main(["--quiet", "terrain", "fit", *images, *told, *more]) == 0
    return off(scene, out / "run-DEM-final.tif")


def off(scene: Path, path: Path) -> float:
    return float((read_raster(path).values - read_raster(scene / "truth.tif").values)[EDGE].std())


def placed(scene: Path, path: Path) -> float:
    """The same, after the move of the whole in its plane that makes it least."""
    found, truth = (read_raster(p).values for p in (path, scene / "truth.tif"))

    def left(move: np.ndarray) -> float:
        return float((shift(found, move, order=3, mode="nearest") - truth)[EDGE].std())

    return float(minimize(left, np.zeros(2), method="Nelder-Mead").fun)


def test_heights_from_images_as_cameras_took_them(scene: Path, tmp_path: Path, measured: Measured) -> None:
    """Shading and parallax together find heights as images on a map do, to a twentieth of an element at most."""
    start, found = off(scene, scene / "dem.tif"), fit(scene, tmp_path / "run")
    measured("terrain, three cameras, height", "<= 0.05 elements", start=start, found=found)
    assert start > 0.2 and found <= 0.05
    about = json.loads((tmp_path / "run/status.json").read_text())["facts"]["images"]
    assert [about[f"image{k}.tif"]["camera"] for k in range(3)] == ["Frame", "Frame", "LineScan"]
    assert all(one["used"] == "yes" for one in about.values())


@pytest.mark.slow
def test_cameras_that_point_wrong(scene: Path, tmp_path: Path) -> None:
    """Two pixels off, the fit is spoiled; with shifts sought it is not, but for the place of the whole, which nothing
    tells any more, and the shift against the others is found."""
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in scene.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    told = json.loads((moved / "image1.json").read_text())
    told["detector_center"] = {"line": PIXELS / 2, "sample": PIXELS / 2 + 2.0}
    write_isd(moved / "image1.json", told)
    fit(moved, tmp_path / "wrong")
    fit(moved, tmp_path / "right", "--float-cameras", "shift")
    wrong, right = (placed(moved, tmp_path / name / "run-DEM-final.tif") for name in ("wrong", "right"))
    assert right <= 0.03 and right < 0.5 * wrong
    lines = (tmp_path / "right/run-cameras.txt").read_text().splitlines()
    shifts = np.array([[float(w) for w in line.split()[1:]] for line in lines])
    # of the two frames, but for the parallax (0.26 pixel a metre) of a mean height, which nothing else tells
    assert abs(shifts[1, 0] - shifts[0, 0] + 2.0) < 0.4 and np.abs(shifts[:, [1, 2, 4, 5]]).max() < 1e-3


def test_stereo_without_shading(tmp_path: Path, measured: Measured) -> None:
    """Under one sun, on ground with texture, parallax alone finds some of what a coarse DEM lacks (Lambert: the same
    brightness from all sides)."""
    ground = fractal_terrain((N, N), np.random.default_rng(4), slope_deg=12, craters=8, contrast=0.5, fine=FINE)
    isds = [frame_isd(PIXELS, *place, SUNS[0]) for place in ((16e3, 2e3), (-16e3, -2e3), (0.0, 9e3))]
    rendered(tmp_path, ground, isds, "lambert")
    told = ("--no-shading", "--reflectance-type", "lambert", "--levels", "3", "--smoothness-weight", "0.01")
    start, found = off(tmp_path, tmp_path / "dem.tif"), fit(tmp_path, tmp_path / "run", *told)
    measured("terrain, stereo, height", "<= 0.75 of the start", start=start, found=found)
    assert found <= 0.75 * start


@pytest.mark.slow
def test_an_earth_satellites_rpc(ground: Terrain, tmp_path: Path) -> None:
    """Images with RPC in UTM, rendered with their tags and fitted; the sun by a table."""
    from pyproj import Transformer

    x, y = Transformer.from_crs(4326, 32636, always_xy=True).transform(30.0, 20.0)
    fine = MapGrid((N * FINE, N * FINE), (1 / FINE, 0, x - N / 2, 0, -1 / FINE, y + N / 2), "EPSG:32636", "utm")
    grid = MapGrid((N, N), (1, 0, x - N / 2, 0, -1, y + N / 2), "EPSG:32636", "utm")
    write_raster(tmp_path / "fine.tif", ground.height + 100, fine, "m")
    write_raster(tmp_path / "dem.tif", gaussian_filter(ground.map_height, 6) + 100, grid, "m")
    write_raster(tmp_path / "truth.tif", ground.map_height + 100, grid, "m")
    images, suns = [], ""
    for k, (east, north) in enumerate(((0.4, 0.1), (-0.3, 0.3), (0.0, -0.4))):
        camera = rational(240, east, north, WGS84)
        blank = tmp_path / f"blank{k}.tif"
        write_raster(blank, np.ones(camera.shape), None, rpc=rpc_of(camera))
        azimuth, elevation = SUNS[k]
        told = ["--sun-azimuth", str(azimuth), "--sun-elevation", str(elevation), "-o", str(tmp_path / f"rpc{k}.tif")]
        args = ["--quiet", "terrain", "render", str(tmp_path / "fine.tif"), "--camera", str(blank), *told]
        assert main([*args, "--crop-win", "20,10,200,220"]) == 0
        images.append(str(tmp_path / f"rpc{k}.tif"))
        suns += f"rpc{k}.tif {azimuth} {elevation}\n"
    kept = read_camera(Path(images[0]))
    assert kept is not None and kept.camera.shape == (220, 200)
    (tmp_path / "suns.txt").write_text(suns)
    told = ["--dem", str(tmp_path / "dem.tif"), "--sun-angles", str(tmp_path / "suns.txt"), "-o", str(tmp_path / "run")]
    assert main(["--quiet", "terrain", "fit", *images, *told, "--no-errors", "--no-float-albedo"]) == 0
    assert off(tmp_path, tmp_path / "run/run-DEM-final.tif") <= 0.13


def test_what_cameras_cannot_see_is_refused_or_said(scene: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat.tif"
    write_raster(flat, np.ones((N, N)), MapGrid((N, N), (1, 0, 0, 0, -1, N), None, "flat"), "m")
    args = ["terrain", "fit", str(scene / "image0.tif"), "--no-errors", "-o", str(tmp_path / "a"), "--dem"]
    with pytest.raises(DataError, match=r"projection: expected one, as image0\.tif comes with a camera"):
        raised(args, flat)
    elsewhere = tmp_path / "elsewhere.tif"
    far = (*site(N).transform[:2], 5e4, *site(N).transform[3:])
    write_raster(elsewhere, np.ones((N, N)), MapGrid((N, N), far, site(N).crs, "far"), "m")
    with pytest.raises(DataError, match=r"its camera does not see the DEM"):
        raised(args, elsewhere)
    earth = MapGrid((N, N), (1, 0, 5e5, 0, -1, 2e6), "EPSG:32636", "earth")
    write_raster(tmp_path / "earth.tif", np.ones((N, N)), earth, "m")
    with pytest.raises(DataError, match=r"camera's body: expected axes of 6378137 and 6356752 m.*found 1737400"):
        raised(args, tmp_path / "earth.tif")
    small = tmp_path / "image0.tif"
    write_raster(small, np.ones((20, 30)), None)
    args[2] = str(small)
    with pytest.raises(DataError, match=r"image_lines, image_samples: expected 20 x 30.*found 130 x 130"):
        raised([*args[:-1], "--cameras", str(scene / "image0.json"), "--dem"], scene / "dem.tif")


def raised(args: list[str], dem: Path) -> None:
    """Run a fit as the library does, so that its error comes through."""
    from tomodiff.recipes.config_file import settings_from
    from tomodiff.recipes.terrain.scene import load_scene

    given = {"job": ("terrain-fit", "t"), "input.images": ([args[2]], "t"), "input.dem": (str(dem), "t")}
    if "--cameras" in args:
        given["input.cameras"] = ([args[args.index("--cameras") + 1]], "t")
    settings = settings_from(given)
    load_scene(settings.input, settings.light)


def test_render_says_what_is_wrong(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["terrain", "render", str(scene / "dem.tif"), "-o", str(tmp_path / "a.tif"), "--camera"]
    bad = (
        ([str(scene / "truth.tif")], "camera: expected RPC, an ISD beside it, or SPICE tables, found none"),
        ([str(scene / "image0.json"), "--crop-win", "0,0,9,9"], "expected an image with RPC"),
        ([str(scene / "image0.json"), "--sun-azimuth", "3"], "expected both or none"),
        ([str(scene / "image0.json"), "--sun-azimuth", "3", "--sun-elevation", "-4"], "below the horizon"),
    )
    for more, message in bad:
        assert main([*args, *more]) != 0
        assert message in " ".join(capsys.readouterr().err.split()), more
