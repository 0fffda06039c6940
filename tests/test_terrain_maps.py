"""`tomodiff terrain shade` and `photometry`: what they write, and that one undoes the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tomodiff.cli.main import main
from tomodiff.files.planetary import read_raster, write_raster
from tomodiff.geometry.map_grid import MapGrid
from tomodiff.projectors.terrain.reflectance import direction

GRID = MapGrid((40, 50), (5.0, 0, 700000, 0, -5.0, 10000), "IAU_2015:30110")
SUN = ("--sun-azimuth", "140", "--sun-elevation", "35")


@pytest.fixture
def dem(tmp_path: Path) -> Path:
    """Hills, and a hole."""
    y, x = np.mgrid[:40, :50] * 5.0
    height = 8 * np.sin(x / 30) * np.cos(y / 25) + 0.1 * x
    height[5, 5] = np.nan
    write_raster(tmp_path / "dem.tif", height, GRID, "m")
    return tmp_path / "dem.tif"


def test_a_shaded_plane_has_its_cosine(tmp_path: Path) -> None:
    x, y = GRID.xy()
    write_raster(tmp_path / "plane.tif", 0.2 * x - 0.1 * y, GRID, "m")
    out = tmp_path / "shade.tif"
    told = ["terrain", "shade", str(tmp_path / "plane.tif"), "-o", str(out), *SUN, "--reflectance-type", "lambert"]
    assert main([*told, "--shadows", "none"]) == 0
    n = np.array([-0.2, 0.1, 1]) / np.sqrt(1.05)
    expected = n @ direction(np.deg2rad(140), np.deg2rad(35))
    assert read_raster(out).values == pytest.approx(expected, abs=2e-3)  # float32 heights of 140 km, on a sphere
    assert main([*told, "--shadows", "none"]) == 2, "it is there already"
    assert main([*told, "--shadows", "none", "--overwrite"]) == 0


def test_photometry_undoes_shade(tmp_path: Path, dem: Path, rng: np.random.Generator) -> None:
    """An image shaded from an albedo, corrected to the standard geometry, is that albedo times one number."""
    albedo = rng.uniform(0.1, 0.3, GRID.shape)
    write_raster(tmp_path / "albedo.tif", albedo, GRID)
    image, flat = tmp_path / "image.tif", tmp_path / "flat.tif"
    told = ("--reflectance-type", "minnaert", "--model-coeffs", "0.6", *SUN)
    assert main(["terrain", "shade", str(dem), "-o", str(image), "--albedo", str(tmp_path / "albedo.tif"), *told]) == 0
    assert main(["terrain", "photometry", str(image), "--dem", str(dem), "-o", str(flat), *told]) == 0
    made = read_raster(flat).values
    there = np.isfinite(made)
    assert there.mean() > 0.6 and not there[5, 5]
    standard = np.cos(np.deg2rad(30)) ** 0.6
    assert made[there] == pytest.approx((albedo * standard)[there], rel=1e-5)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--sun-azimuth", "1", "--sun-elevation", "-5"), "above the horizon"),
        ((*SUN, "--shadows", "soft"), "penumbra"),
        ((*SUN, "--reflectance-type", "moonish"), "expected one of"),
        ((*SUN, "--model-coeffs", "1,2"), "got 2"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, dem: Path, more: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["terrain", "shade", str(dem), "-o", str(tmp_path / "s.tif"), *more]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "s.tif").exists()
