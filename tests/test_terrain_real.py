"""Terrain from real images: the Moon seen by LROC's narrow angle camera, a volcano by Pleiades, a rock on a bench."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tests.conftest import Measured
from tests.test_terrain_fit import sphere_errors
from tomodiff.cli.main import main
from tomodiff.files.planetary import Raster, read_raster, write_raster
from tomodiff.geometry.map_grid import MapGrid

pytestmark = [pytest.mark.slow, pytest.mark.real]

Shared = Callable[[str], Path]


def fitted(images: list[Path], out: Path, *more: str) -> Path:
    """The folder of a fit."""
    assert main(["--quiet", "terrain", "fit", *map(str, images), "-o", str(out), "--no-errors", *more]) == 0
    return out


def one(folder: Path, kind: str, name: str) -> np.ndarray:
    return read_raster(next(folder.glob(f"run-*{name}*-{kind}-intensity.tif"))).values


def test_the_moon_from_one_image(shared: Shared, tmp_path: Path, measured: Measured) -> None:
    """Shape from shading on 340 x 340 pixels of LROC, whose camera is that of the tables in its cube: from a surface
    low-passed to ten elements, which a first fit from level ground gave.  There is no truth; what is left of the
    image outside of shadow, squares of all residuals, as boulders are relief as well."""
    image = shared("data/planetary/isis_lro/M143947267L.cal.echo.crop.cub")
    n, size = 340, 0.6
    crs = "+proj=ortho +lat_0=35.98 +lon_0=102.6016 +R=1737400 +units=m +no_defs"
    grid = MapGrid((n, n), (size, 0, -n * size / 2, 0, -size, n * size / 2), crs, "site")
    write_raster(tmp_path / "level.tif", np.zeros((n, n)), grid, "m")
    told = ("--no-float-albedo", "--robust-threshold", "0", "--dem")
    first = read_raster(fitted([image], tmp_path / "first", *told, str(tmp_path / "level.tif")) / "run-DEM-final.tif")
    low = gaussian_filter(first.values, 10)
    write_raster(tmp_path / "low.tif", low, grid, "m")
    out = fitted([image], tmp_path / "run", *told, str(tmp_path / "low.tif"))
    taken, made = one(out, "meas", "M143"), one(out, "sim", "M143")
    lit = np.isfinite(taken) & (taken > 0.5 * np.nanmedian(taken))
    height = read_raster(out / "run-DEM-final.tif").values
    slopes = {n: float(np.rad2deg(np.arctan(np.hypot(*np.gradient(h, size)))).mean()) for n, h in
              (("slopes_before", low), ("slopes_after", height))}  # fmt: skip
    left = float((made - taken)[lit].std() / taken[lit].mean())
    measured("LROC crop, residual over mean radiance", "<= 0.03", residual=left, **slopes)
    assert left <= 0.03 and lit.mean() > 0.95
    assert slopes["slopes_after"] > slopes["slopes_before"] + 2


def test_a_volcano_from_two_images(shared: Shared, tmp_path: Path, measured: Measured) -> None:
    """Two Pleiades images by their RPC, and a DSM that s2p made of the same two, smoothed to ten elements (5 m): the
    fit has to come nearer to that DSM.  The goal is half of the smoothed one's error, and less than without shading."""
    folder = shared("data/planetary/s2p")
    truth = read_raster(folder / "expected/pair_dsm.tif")
    known = np.isfinite(truth.values)
    weight = gaussian_filter(known.astype(float), 10)
    low = gaussian_filter(np.where(known, truth.values, 0), 10) / np.maximum(weight, 1e-6)
    write_raster(tmp_path / "low.tif", np.where(weight > 0.05, low, np.nan), truth.grid, "m")
    (tmp_path / "suns.txt").write_text("img_01.tif 30.9 38.9\nimg_02.tif 30.9 38.9\n")
    images = [folder / f"input_pair/img_0{k}.tif" for k in (1, 2)]
    window = (120, 120, 480, 480)
    told = ["--dem", str(tmp_path / "low.tif"), "--sun-angles", str(tmp_path / "suns.txt"), "--float-cameras", "shift",
            "--float-haze", "--reflectance-type", "lambert", "--crop-win", ",".join(map(str, window))]  # fmt: skip
    off = {"start": error(truth, low[120:600, 120:600], window)}
    for name, more in (("shading", ()), ("stereo", ("--no-shading",))):
        out = fitted(images, tmp_path / name, *told, *more)
        off[name] = error(truth, read_raster(out / "run-DEM-final.tif").values, window)
    measured("volcano, RMSE to the DSM of the same images, m", "<= half of the start, and below stereo's", **off)
    assert off["stereo"] < 0.9 * off["start"]


def error(truth: Raster, found: np.ndarray, window: tuple[int, int, int, int]) -> float:
    """RMSE about the mean."""
    column, row, width, height = window
    apart = found - truth.values[row : row + height, column : column + width]
    return float(np.nanstd(apart))


def test_a_rock_under_a_light_that_was_left_out(shared: Shared, tmp_path: Path, measured: Measured) -> None:
    """Twelve pictures of a rock: a shape and an albedo from eleven of them tell the twelfth, within what the loss by
    dark cracks and gloss leaves."""
    folder = shared("data/planetary/uw_ps")
    lights = [
        line for line in (folder / "lights_from_chrome.txt").read_text().splitlines() if line[:1] not in ("#", "")
    ]
    left_out = 4
    kept = [k for k in range(12) if k != left_out]
    (tmp_path / "lights.txt").write_text("\n".join(lights[k] for k in kept) + "\n")
    told = ["--mask", str(folder / "rock.mask.png"), "--reflectance-type", "lambert", "--shadows", "none"]
    out = fitted(
        [folder / f"rock.{k}.png" for k in kept], tmp_path / "run", *told, "--lights", str(tmp_path / "lights.txt")
    )
    height = read_raster(out / "run-DEM-final.tif").values
    albedo = read_raster(out / "run-albedo-final.tif").values
    exposures = [float(line.split()[1]) for line in (out / "run-exposures.txt").read_text().splitlines()]
    south, east = np.gradient(height)
    light = np.array([float(w) for w in lights[left_out].split()])
    shade = (
        np.stack([-east, south, np.ones_like(height)]) / np.sqrt(1 + east**2 + south**2) * light[:, None, None]
    ).sum(0)
    made = float(np.median(exposures)) * albedo * np.maximum(shade, 0) / np.linalg.norm(light)
    taken = read_raster(folder / f"rock.{left_out}.png").values
    seen = (read_raster(folder / "rock.mask.png").values > 128) & (taken > 0.25 * np.median(taken[taken > 10]))
    scale = float((made * taken)[seen].sum() / (made * made)[seen].sum())  # lamps differ in strength
    off = float(np.median(np.abs(scale * made - taken)[seen]) / np.median(taken[seen]))
    correlation = float(np.corrcoef(made[seen], taken[seen])[0, 1])
    measured(
        "rock, median error of the picture left out, over its median", "<= 0.1", error=off, correlation=correlation
    )
    assert off <= 0.1 and correlation > 0.8


def test_a_grey_sphere_with_lights_that_are_sought(shared: Shared, tmp_path: Path, measured: Measured) -> None:
    """Twelve pictures of a sphere, whose shape is not used; lights from a chrome ball to start from, and sought with
    what is added to all of a picture.  The goal is 3 degrees away from the rim; lights, exposures and the ground's
    relief change places too easily for that, and what is asked is that normals stay within 12."""
    folder = shared("data/planetary/uw_ps")
    lights = str(folder / "lights_from_chrome.txt")
    told = ["--mask", str(folder / "gray.mask.png"), "--lights", lights, "--crop-win", "120,20,250,250"]
    told += ["--reflectance-type", "lambert", "--shadows", "none", "--float-sun", "--float-haze"]
    height = read_raster(
        fitted([folder / f"gray.{k}.png" for k in range(12)], tmp_path / "run", *told) / "run-DEM-final.tif"
    )
    mask = read_raster(folder / "gray.mask.png").values[20:270, 120:370] > 128
    every, r = sphere_errors(height.values, mask)
    off = every[mask & (r < 0.8)]
    measured("grey sphere, mean error of normals, degrees, lights and ambient sought", "<= 3", off=float(off.mean()))
    assert off.mean() <= 12
