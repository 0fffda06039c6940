"""`tomodiff terrain fit` from files on disk: results against the truth, what floats, bad input, stops and resumes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.conftest import Measured
from tomodiff.cli.main import main
from tomodiff.errors import ConfigError, DataError, MemoryNeeded
from tomodiff.files.planetary import read_exposures, read_raster, write_raster
from tomodiff.geometry.map_grid import MapGrid
from tomodiff.recipes.config_file import settings_from
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run
from tomodiff.recipes.terrain.fit import fit
from tomodiff.recipes.terrain.schedule import Fitting
from tomodiff.simulate.terrain_set import TerrainSet, terrain_of, write_terrain

SMALL = TerrainSet(shape=(56, 72), craters=6, seed=5)
EDGE = (slice(6, -6),) * 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small terrain on disk."""
    made = tmp_path_factory.mktemp("terrain")
    list(write_terrain(made, SMALL))
    return made


def images(folder: Path) -> list[str]:
    return [str(p) for p in sorted(folder.glob("sun[0-9]*.tif"))]


def command(folder: Path, out: Path, *more: str, suns: str = "sun_angles.txt") -> list[str]:
    told = ["--dem", str(folder / "dem.tif"), "--sun-angles", str(folder / suns), "-o", str(out)]
    return ["--quiet", "terrain", "fit", *images(folder), *told, "--no-errors", *more]


def off(folder: Path, heights: Path) -> float:
    """RMSE about the mean, in elements."""
    found, truth = read_raster(heights).values, read_raster(folder / "truth_height.tif").values
    return float((found - truth)[EDGE].std()) / SMALL.spacing


def status(out: Path) -> dict[str, object]:
    return dict(json.loads((out / "status.json").read_text()))


def test_from_files_to_heights_albedo_and_errors(folder: Path, tmp_path: Path) -> None:
    """Everything a run leaves, with the place of the DEM, and as near the truth as the larger targets ask."""
    out = tmp_path / "run"
    told = command(folder, out, "--image-exposures", "1")
    told.remove("--no-errors")
    assert main([*told, "--error-samples", "8"]) == 0
    names = {p.name for p in out.iterdir()}
    stems = [Path(p).stem for p in images(folder)]
    assert {"run-DEM-final.tif", "run-albedo-final.tif", "run-DEM-stddev.tif", "run-albedo-stddev.tif"} <= names
    assert {"run-exposures.txt", "run-haze.txt", "report.html"} <= names
    assert {f"run-{stem}-{kind}-intensity.tif" for stem in stems for kind in ("meas", "sim")} <= names
    start = off(folder, folder / "dem.tif")
    assert start > 0.3
    assert off(folder, out / "run-DEM-final.tif") <= 0.13
    truth = read_raster(folder / "truth_albedo.tif").values
    albedo = read_raster(out / "run-albedo-final.tif").values
    assert np.sqrt(np.mean((albedo / truth - 1)[EDGE] ** 2)) <= 0.02
    with rasterio.open(out / "run-DEM-final.tif") as made, rasterio.open(folder / "dem.tif") as dem:
        assert made.crs == dem.crs and made.transform == dem.transform and made.nodata == dem.nodata
    page = (out / "report.html").read_text()
    for heading in ("Heights", "Albedo", "Standard deviations", "Profile", "Images", "Images used"):
        assert f"<h2>{heading}</h2>" in page


def test_relative_brightness_gives_a_relative_albedo_and_says_so(folder: Path, tmp_path: Path) -> None:
    assert main(command(folder, tmp_path / "run")) == 0
    assert any("the albedo is relative" in w for w in status(tmp_path / "run")["warnings"])  # type: ignore[attr-defined]
    assert off(folder, tmp_path / "run" / "run-DEM-final.tif") <= 0.13
    albedo = read_raster(tmp_path / "run" / "run-albedo-final.tif").values
    truth = read_raster(folder / "truth_albedo.tif").values
    assert albedo.mean() == pytest.approx(1, abs=0.1)
    ratio = (albedo / truth)[EDGE]
    assert ratio.std() / ratio.mean() <= 0.02


@pytest.fixture(scope="module")
def changed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same terrain, its images darker, brighter and hazier."""
    made = tmp_path_factory.mktemp("changed")
    list(write_terrain(made, SMALL))
    for k, path in enumerate(images(made)):
        raster = read_raster(Path(path))
        write_raster(Path(path), raster.values * (0.9, 1.1, 1.05, 0.95)[k] + (0.0, 0.02, 0.0, 0.01)[k], raster.grid)
    return made


def test_limited_memory_steps_find_the_same(folder: Path, tmp_path: Path) -> None:
    assert main(command(folder, tmp_path / "run", "--image-exposures", "1", "--optimiser", "l-bfgs")) == 0
    assert off(folder, tmp_path / "run" / "run-DEM-final.tif") <= 0.13
    albedo = read_raster(tmp_path / "run" / "run-albedo-final.tif").values
    assert np.sqrt(np.mean((albedo / read_raster(folder / "truth_albedo.tif").values - 1)[EDGE] ** 2)) <= 0.02


@pytest.mark.slow
class TestFloating:
    """Images made darker, brighter and hazier than they are said to be, and suns told wrong."""

    def test_exposures_and_haze(self, changed: Path, tmp_path: Path) -> None:
        albedo = changed / "truth_albedo.tif"
        told = ("--input-albedo", str(albedo), "--no-float-albedo", "--image-exposures", "1")
        assert main(command(changed, tmp_path / "run", *told, "--float-exposure", "--float-haze")) == 0
        exposures = np.array([v[0] for v in read_exposures(tmp_path / "run" / "run-exposures.txt").values()])
        haze = np.array([v[0] for v in read_exposures(tmp_path / "run" / "run-haze.txt").values()])
        assert exposures == pytest.approx([0.9, 1.1, 1.05, 0.95], rel=0.02)
        assert haze == pytest.approx([0, 0.02, 0, 0.01], abs=2e-3)
        assert off(changed, tmp_path / "run" / "run-DEM-final.tif") <= 0.13

    def test_suns(self, folder: Path, tmp_path: Path) -> None:
        lines = [
            "sun020.tif 24 32", "sun110.tif 110 30", "sun200.tif 196 35", "sun290.tif 290 22",
        ]  # fmt: skip
        (folder / "wrong.txt").write_text("\n".join(lines) + "\n")
        told = ("--image-exposures", "1", "--input-albedo", str(folder / "truth_albedo.tif"), "--no-float-albedo")
        assert main(command(folder, tmp_path / "run", "--float-sun", *told, suns="wrong.txt")) == 0
        rows = (tmp_path / "run" / "run-sun-angles.txt").read_text().split("\n")[:-1]
        found = np.array([[float(w) for w in row.split()[1:]] for row in rows])
        assert found == pytest.approx(np.array(SMALL.suns), abs=1.0)
        assert any("bas-relief" in w for w in status(tmp_path / "run")["warnings"])  # type: ignore[attr-defined]

    def test_a_parameter_of_the_reflectance(self, folder: Path, tmp_path: Path) -> None:
        """With the true heights and albedo held, the share of Lommel-Seeliger is found that McEwen's law has there."""
        dem = str(folder / "truth_height.tif")
        told = (
            "--fix-dem", "--no-float-albedo", "--input-albedo", str(folder / "truth_albedo.tif"),
            "--reflectance-type", "lunar_lambert", "--model-coeffs", "0.9", "--float-reflectance-model",
            "--image-exposures", "1",
        )  # fmt: skip
        arguments = command(folder, tmp_path / "run", *told)
        arguments[arguments.index(str(folder / "dem.tif"))] = dem
        assert main(arguments) == 0
        share = status(tmp_path / "run")["facts"]["parameters"]["share"]  # type: ignore[index]
        a = np.mean([90 - e for _, e in SMALL.suns])
        assert share == pytest.approx(1 - 0.019 * a + 2.42e-4 * a**2 - 1.46e-6 * a**3, abs=0.06)


class TestImagesThatCannotBeUsed:
    def test_some_are_left_out_and_named(self, folder: Path, tmp_path: Path) -> None:
        dem = read_raster(folder / "dem.tif")
        a, b, c, d, e, f = dem.grid.transform
        away = MapGrid(dem.grid.shape, (a, b, c + 1e5, d, e, f), dem.grid.crs)
        write_raster(tmp_path / "away.tif", np.ones(away.shape), away)
        write_raster(tmp_path / "black.tif", np.zeros(away.shape), dem.grid)
        write_raster(tmp_path / "flat.tif", np.full(away.shape, 0.3), dem.grid)
        suns = (folder / "sun_angles.txt").read_text()
        night = "sun020_night.tif"
        write_raster(tmp_path / night, read_raster(Path(images(folder)[0])).values, dem.grid)
        more = "".join(f"{name}.tif 10 40\n" for name in ("away", "black", "flat")) + f"{night} 20 -3\n"
        (tmp_path / "suns.txt").write_text(suns + more)
        told = ["--dem", str(folder / "dem.tif"), "--sun-angles", str(tmp_path / "suns.txt"), "--no-errors"]
        extra = [str(p) for p in sorted(tmp_path.glob("*.tif"))]
        out = tmp_path / "run"
        assert main(["--quiet", "terrain", "fit", *images(folder), *extra, *told, "-o", str(out)]) == 0
        about = status(out)["facts"]["images"]  # type: ignore[index]
        assert "covers 0.00%" in about["away.tif"]["used"] and "black" in about["black.tif"]["used"]
        assert "one value" in about["flat.tif"]["used"] and "below the horizon" in about[night]["used"]
        assert about["sun020.tif"]["used"] == "yes" and "below the horizon" in (out / "report.html").read_text()
        assert off(folder, out / "run-DEM-final.tif") <= 0.13

    def test_no_sun_no_overlap_no_projection(self, folder: Path, tmp_path: Path) -> None:
        told = ["--dem", str(folder / "dem.tif"), "-o", str(tmp_path / "run")]
        with pytest.raises(DataError, match="none of these"):
            job(folder, tmp_path, sun_angles=None)
        assert main(["--quiet", "terrain", "fit", *images(folder), *told]) == 3
        dem = read_raster(folder / "dem.tif")
        write_raster(tmp_path / "flat.tif", dem.values, MapGrid(dem.grid.shape, dem.grid.transform, None))
        with pytest.raises(DataError, match="cannot be told where the two overlap"):
            job(folder, tmp_path, dem=str(tmp_path / "flat.tif"))
        a, b, c, d, e, f = dem.grid.transform
        write_raster(tmp_path / "far.tif", dem.values, MapGrid(dem.grid.shape, (a, b, c + 9e4, d, e, f), dem.grid.crs))
        with pytest.raises(DataError, match="at least one that can be used"):
            job(folder, tmp_path, dem=str(tmp_path / "far.tif"))

    def test_settings_that_make_no_sense(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="nothing is left to be sought"):
            job(folder, tmp_path, fix_dem=True, float_albedo=False)
        with pytest.raises(ConfigError, match=r"expected 1 numbers for minnaert \(k\), got 2"):
            job(folder, tmp_path, reflectance_type="minnaert", model_coeffs="0.5,0.6")
        with pytest.raises(ConfigError, match="crop_win"):
            job(folder, tmp_path, crop_win="0,0,500,10")
        with pytest.raises(ConfigError, match="albedo_bounds"):
            job(folder, tmp_path, albedo_bounds="2,1")


def test_a_sun_in_the_zenith_casts_no_shadows(folder: Path, tmp_path: Path) -> None:
    """It tells the albedo, as any light does; that it has no azimuth is no obstacle."""
    dem, albedo = read_raster(folder / "truth_height.tif"), read_raster(folder / "truth_albedo.tif")
    write_raster(tmp_path / "noon.tif", albedo.values, dem.grid)  # near what McEwen's law makes at full phase
    (tmp_path / "suns.txt").write_text("noon.tif 0 90\n")
    run = job(folder, tmp_path, images=[str(tmp_path / "noon.tif")], sun_angles=str(tmp_path / "suns.txt"),
              dem=str(folder / "truth_height.tif"), fix_dem=True, image_exposures=1)  # fmt: skip
    found = read_raster(run.path / "run-albedo-final.tif").values
    assert np.median(found / albedo.values) == pytest.approx(1, abs=0.03)


def test_more_than_fits_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tomodiff.recipes.terrain.fit.free_bytes", lambda: 1_000_000)
    with pytest.raises(MemoryNeeded, match=r"4 images of 56 x 72 elements .* fit in tiles \(--tile-size 512\)"):
        job(folder, tmp_path)


def test_holes_in_dem_and_images_do_not_count(folder: Path, tmp_path: Path) -> None:
    """A tenth of the DEM unknown, and a corner of one image: the rest is found as well as before."""
    dem = read_raster(folder / "dem.tif")
    values = dem.values.copy()
    values[20:32, 30:45] = np.nan
    write_raster(tmp_path / "dem.tif", values, dem.grid, "m")
    first = read_raster(Path(images(folder)[0]))
    corner = first.values.copy()
    corner[:20, :20] = np.nan
    corner[40, 40] = 1e9  # saturated
    write_raster(tmp_path / "sun020.tif", corner, first.grid)
    chosen = [str(tmp_path / "sun020.tif"), *images(folder)[1:]]
    run = job(folder, tmp_path, dem=str(tmp_path / "dem.tif"), images=chosen, saturation=1.0, image_exposures=1)
    found = read_raster(run.volume_path).values
    truth = read_raster(folder / "truth_height.tif").values
    assert (found - truth)[EDGE].std() / SMALL.spacing <= 0.13
    assert any("180 holes" in w for w in run.warnings)
    measured = read_raster(run.path / "run-sun020-meas-intensity.tif").values
    assert np.isnan(measured[:20, :20]).all() and np.isnan(measured[40, 40])


def test_a_run_that_stops_goes_on_to_the_same_end(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted after each of several steps in turn, and resumed: the same heights as without interruption."""
    whole = job(folder, tmp_path / "whole")
    settings = settings_of(folder, tmp_path / "parts")
    run = Run.create(settings)
    steps = 0

    counted = Fitting._keep

    def keep(self: Fitting, *arguments: object) -> None:
        nonlocal steps
        counted(self, *arguments)  # type: ignore[arg-type]
        steps += 1
        run._stop.requested = steps % 3 == 0

    monkeypatch.setattr(Fitting, "_keep", keep)
    for _ in range(20):
        try:
            with run:
                fit(settings, run, Progress(quiet=True))
            break
        except Exception as error:
            assert "tomodiff resume" in str(error), error
            run._stop.requested = False
    first, second = (read_raster(r.volume_path).values for r in (whole, run))
    assert steps >= 8
    assert second == pytest.approx(first, abs=1e-3)


def settings_of(folder: Path, out: Path, **given: object) -> object:
    """Settings by the last part of their names."""
    groups = {"images": "input", "dem": "input", "sun_angles": "input", "crop_win": "input", "image_exposures": "input"}
    groups |= {"lights": "input", "mask": "input"}
    light = ("reflectance_type", "model_coeffs", "saturation", "shadows", "dtype")
    chosen: dict[str, object] = {
        "images": images(folder), "dem": str(folder / "dem.tif"), "sun_angles": str(folder / "sun_angles.txt"),
        "errors": False,
    }  # fmt: skip
    chosen |= given
    dotted = {f"{groups.get(n, 'light' if n in light else 'fit')}.{n}": v for n, v in chosen.items() if v is not None}
    dotted |= {"job": "terrain-fit", "output.path": str(out / "run"), "output.overwrite": True}
    return settings_from({name: (value, "test") for name, value in dotted.items()})


def job(folder: Path, out: Path, **given: object) -> Run:
    """A finished run."""
    settings = settings_of(folder, out, **given)
    run = Run.create(settings)  # type: ignore[arg-type]
    with run:
        fit(settings, run, Progress(quiet=True))  # type: ignore[arg-type]
        run.conclude()
    return run


def test_the_truth_is_finer_than_the_map(folder: Path) -> None:
    T = terrain_of(SMALL)
    assert T.height.shape == (56 * 4, 72 * 4)
    assert read_raster(folder / "truth_height.tif").values == pytest.approx(T.map_height * SMALL.spacing, abs=1e-4)


class TestLaboratory:
    """Pictures of an object without a map: no DEM, directions of lights, a mask."""

    def test_a_cap_of_a_sphere(self, tmp_path: Path, rng: np.random.Generator) -> None:
        """Normals of a simulated sphere, by its closed form, within a degree, from level ground."""
        n, radius = 64, 40.0
        y, x = (n - 1) / 2 - np.mgrid[:n, :n][0], np.mgrid[:n, :n][1] - (n - 1) / 2
        inside = np.hypot(x, y) < 28
        normal = np.stack([x, y, np.sqrt(np.maximum(radius**2 - x**2 - y**2, 0))]) / radius
        lights = np.array([[0.5, 0.3, 1], [-0.5, 0.2, 1], [0.1, -0.6, 1], [0.0, 0.6, 1], [0.4, -0.3, 1]])
        paths = []
        for k, light in enumerate(lights):
            shade = np.clip(np.einsum("cij,c->ij", normal, light / np.linalg.norm(light)), 0, 1) * inside
            write_raster(tmp_path / f"p{k}.tif", 200 * shade + rng.normal(0, 0.5, (n, n)), flat_grid(n))
            paths.append(str(tmp_path / f"p{k}.tif"))
        write_raster(tmp_path / "mask.tif", inside.astype(float), flat_grid(n))
        np.savetxt(tmp_path / "lights.txt", lights)
        given = {"dem": None, "sun_angles": None, "lights": str(tmp_path / "lights.txt")}
        run = job(tmp_path, tmp_path, images=paths, mask=str(tmp_path / "mask.tif"), reflectance_type="lambert",
                  shadows="none", **given)  # fmt: skip
        height = read_raster(run.volume_path).values
        south, east = np.gradient(height)
        found = np.stack([-east, south, np.ones_like(height)]) / np.sqrt(1 + east**2 + south**2)
        off = np.rad2deg(np.arccos(np.clip((found * normal).sum(0), -1, 1)))[np.hypot(x, y) < 24]
        assert off.mean() <= 1.0

    @pytest.mark.real
    @pytest.mark.slow
    def test_the_grey_sphere(self, tmp_path: Path, shared: Callable[[str], Path], measured: Measured) -> None:
        """Twelve pictures of a real sphere, lights from a chrome ball: normals within 5 degrees away from the rim."""
        folder = shared("data/planetary/uw_ps")
        paths = [str(folder / f"gray.{k}.png") for k in range(12)]
        given = {"dem": None, "sun_angles": None, "lights": str(folder / "lights_from_chrome.txt")}
        run = job(tmp_path, tmp_path, images=paths, mask=str(folder / "gray.mask.png"), reflectance_type="lambert",
                  shadows="none", crop_win="120,20,250,250", **given)  # fmt: skip
        height = read_raster(run.volume_path).values
        mask = read_raster(folder / "gray.mask.png").values[20:270, 120:370] > 128
        off, r = sphere_errors(height, mask)
        within = {f"r_{most:g}": float(off[mask & (r < most)].mean()) for most in (0.8, 0.9)}
        measured("grey sphere, mean error of normals, degrees, given lights", "<= 5", **within)
        assert max(within.values()) <= 5


def sphere_errors(height: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angles (degrees) between the normals of heights and of the sphere that a mask shows, and distances from its
    middle, over its radius."""
    rows, columns = np.nonzero(mask)
    middle = [(v.min() + v.max()) / 2 for v in (rows, columns)]
    radius = (np.ptp(rows) + np.ptp(columns) + 2) / 4
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    x, y = (x - middle[1]) / radius, (middle[0] - y) / radius
    normal = np.stack([x, y, np.sqrt(np.maximum(1 - x**2 - y**2, 0))])
    south, east = np.gradient(height)
    found = np.stack([-east, south, np.ones_like(height)]) / np.sqrt(1 + east**2 + south**2)
    return np.rad2deg(np.arccos(np.clip((found * normal).sum(0), -1, 1))), np.hypot(x, y)


def flat_grid(n: int) -> MapGrid:
    return MapGrid((n, n), (1.0, 0, 0, 0, -1.0, n), None)


@pytest.mark.slow
def test_an_image_that_counts_little(folder: Path, tmp_path: Path) -> None:
    """One of four images, spoiled by a pattern, spoils the heights less with a small weight."""
    found = read_raster(Path(images(folder)[0]))
    y, x = np.mgrid[: found.values.shape[0], : found.values.shape[1]]
    first = tmp_path / Path(images(folder)[0]).name
    write_raster(first, found.values * (1 + 0.1 * np.sin(x / 4) * np.sin(y / 5)), found.grid)
    weights = tmp_path / "weights.txt"
    weights.write_text("".join(f"{Path(p).name} {0.001 if k == 0 else 1}\n" for k, p in enumerate(images(folder))))
    told = [str(first), *images(folder)[1:], "--dem", str(folder / "dem.tif"), "--no-errors", "--sun-angles",
            str(folder / "sun_angles.txt"), "--image-exposures", "1", "--robust-threshold", "0"]  # fmt: skip
    off_by = []
    for name, more in (("all", []), ("less", ["--image-weights", str(weights)])):
        assert main(["--quiet", "terrain", "fit", *told, "-o", str(tmp_path / name), *more]) == 0
        off_by.append(off(folder, tmp_path / name / "run-DEM-final.tif"))
    assert off_by[1] < 0.5 * off_by[0], off_by
