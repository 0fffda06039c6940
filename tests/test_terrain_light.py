"""`tomodiff terrain fit` under other light than the sun's: through an atmosphere, and under the sky."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.test_terrain_fit import EDGE, SMALL, command, images, off
from tomodiff.cli.main import main
from tomodiff.files.planetary import read_raster, write_raster
from tomodiff.projectors.terrain.atmosphere import Atmosphere
from tomodiff.projectors.terrain.photometry import model_named
from tomodiff.projectors.terrain.sky_light import SkyLight
from tomodiff.projectors.terrain.under_air import hemispheric_albedos
from tomodiff.simulate.terrain_set import write_terrain


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small terrain on disk."""
    made = tmp_path_factory.mktemp("light")
    list(write_terrain(made, SMALL))
    return made


@pytest.mark.slow
def test_ground_through_an_atmosphere(folder: Path, tmp_path: Path) -> None:
    """Images of the independent renderer with the air of ISIS's composition over them: with the air known, heights and
    albedo come out as without it, ignored, they do not; on the true heights its depth is found from a wrong one."""
    suns = [line.split() for line in (folder / "sun_angles.txt").read_text().splitlines() if line.strip()]
    rho = read_raster(folder / "truth_albedo.tif").values
    lines = []
    for name, _, elevation in (words[:3] for words in suns if not words[0].startswith("#")):
        found = read_raster(folder / name)
        mu0 = np.sin(np.deg2rad(float(elevation)))
        air = {"tau": np.array([0.4]), "wha": np.array([0.9])}
        path, total, direct, sky = Atmosphere(mu0, 1.0, mu0)(air)[0]
        of_sun, bond = hemispheric_albedos(
            "lunar_lambert_mcewen", model_named("lunar_lambert_mcewen").vector(), mu0[None]
        )
        level = of_sun[0] * mu0 * rho
        image = path + direct * found.values + level * (total / (1 - rho * bond * sky) - direct)
        write_raster(tmp_path / name, image, found.grid)
        lines.append(f"{name} {_} {elevation}")
    files = [str(tmp_path / line.split()[0]) for line in lines]
    told = ["--sun-angles", str(folder / "sun_angles.txt"), "--no-errors", "--image-exposures", "1", "--wha", "0.9"]
    heights, albedo = {}, {}
    air = ["--atmosphere", "isotropic", "--tau"]
    for name, dem, more in (
        ("known", "dem.tif", [*air, "0.4"]), ("ignored", "dem.tif", []),
        ("sought", "truth_height.tif", [*air, "0.2", "--float-tau", "--fix-dem"]),
    ):  # fmt: skip
        out = tmp_path / f"run-{name}"
        assert (
            main(["--quiet", "terrain", "fit", *files, *told, "--dem", str(folder / dem), "-o", str(out), *more]) == 0
        )
        heights[name] = off(folder, out / "run-DEM-final.tif")
        albedo[name] = float(np.abs(read_raster(out / "run-albedo-final.tif").values / rho - 1)[EDGE].mean())
    assert heights["known"] < 0.03 and albedo["known"] < 0.01
    assert heights["ignored"] > 0.2 and albedo["ignored"] > 0.1
    depths = [float(line.split()[1]) for line in (tmp_path / "run-sought/run-tau.txt").read_text().splitlines()]
    assert albedo["sought"] < 0.02 and np.abs(np.array(depths) - 0.4).max() < 0.02, depths


@pytest.mark.slow
def test_ground_under_the_sky(folder: Path, tmp_path: Path) -> None:
    """Images of the independent renderer with the light of the sky added, as its horizons leave it: on the true heights
    the amount is found; known, heights and albedo come out, and ignored they do not."""
    rho, height = (read_raster(folder / f"truth_{name}.tif") for name in ("albedo", "height"))
    sky = SkyLight(rho.values.shape, height.grid.spacing, azimuths=48, dtype="float64")
    light = rho.values * sky({"height": height.values, "sky": np.ones(1)})
    files = []
    for path in images(folder):
        found = read_raster(Path(path))
        files.append(str(tmp_path / Path(path).name))
        write_raster(Path(files[-1]), found.values + 0.15 * light, found.grid)
    told = ["--sun-angles", str(folder / "sun_angles.txt"), "--no-errors", "--image-exposures", "1", "--dem"]
    left = {}
    for name, dem, more in (
        ("sought", "truth_height.tif", ["--float-ambient", "--fix-dem"]), ("known", "dem.tif", ["--ambient", "0.15"]),
        ("ignored", "dem.tif", []),
    ):  # fmt: skip
        out = tmp_path / name
        assert main(["--quiet", "terrain", "fit", *files, *told, str(folder / dem), "-o", str(out), *more]) == 0
        albedo = read_raster(out / "run-albedo-final.tif").values
        left[name] = off(folder, out / "run-DEM-final.tif"), float(np.abs(albedo / rho.values - 1)[EDGE].mean())
    found = [float(line.split()[1]) for line in (tmp_path / "sought/run-ambient.txt").read_text().splitlines()]
    assert np.abs(np.array(found) - 0.15).max() < 0.02, found
    assert left["known"][0] < 0.03 and left["known"][1] < 0.01 and left["ignored"][1] > 0.12, left


def test_air_needs_exposures_and_possible_numbers(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more, message in (
        (["--atmosphere", "hapke"], "input.image_exposures: expected numbers (1 for images in I/F)"),
        (["--atmosphere", "hapke", "--image-exposures", "1", "--wha", "1.2"], "light.wha: expected numbers from 1e-06"),
        (["--atmosphere", "isotropic", "--image-exposures", "1", "--tau", "0.1,0.2"], "light.tau: expected one number"),
    ):
        assert main(command(folder, tmp_path / "bad", "--overwrite", *more)) != 0
        assert message in " ".join(capsys.readouterr().err.split())
