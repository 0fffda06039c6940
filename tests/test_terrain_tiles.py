"""Maps fitted in tiles: against the fit of the whole, without seams, stopped and gone on, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Measured
from tomodiff.cli.main import main
from tomodiff.errors import Stopped
from tomodiff.files.planetary import read_raster
from tomodiff.recipes.config_file import settings_from
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run
from tomodiff.recipes.terrain.fit import fit
from tomodiff.recipes.terrain.schedule import Fitting
from tomodiff.recipes.terrain.tiles import Tile, tiles_of
from tomodiff.simulate.terrain_set import TerrainSet, write_terrain

SET = TerrainSet(shape=(150, 140), craters=12, seed=6)
EDGE = (slice(6, -6),) * 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tiles")
    list(write_terrain(made, SET))
    return made


def command(folder: Path, out: Path, *more: str) -> list[str]:
    images = [str(p) for p in sorted(folder.glob("sun[0-9]*.tif"))]
    told = ["--dem", str(folder / "dem.tif"), "--sun-angles", str(folder / "sun_angles.txt"), "-o", str(out)]
    return ["--quiet", "terrain", "fit", *images, *told, "--image-exposures", "1", "--error-samples", "4", *more]


TILED = ("--tile-size", "72", "--tile-halo", "36")


def test_tiles_cover_a_map_once() -> None:
    """Each of about the size, halos inside the map, and weights that sum to 1."""
    shape = (150, 205)
    made, total = tiles_of(shape, 70, 16), np.zeros(shape)
    assert len(made) == 6
    for tile in made:
        weight = tile.weight(shape, 16)
        assert weight.shape == total[tile.rows, tile.columns].shape and weight.min() >= 0
        total[tile.rows, tile.columns] += weight
    assert np.allclose(total, 1)
    assert tiles_of((60, 60), 70, 16) == [Tile(slice(0, 60), slice(0, 60))]


@pytest.mark.slow
def test_tiles_have_no_seams(folder: Path, tmp_path: Path, measured: Measured) -> None:
    """As near the truth as the whole at once, and no rougher where tiles meet."""
    assert main(command(folder, tmp_path / "whole")) == 0
    assert main(command(folder, tmp_path / "tiled", *TILED)) == 0
    truth = read_raster(folder / "truth_height.tif").values
    left = {n: read_raster(tmp_path / n / "run-DEM-final.tif").values - truth for n in ("whole", "tiled")}
    whole, tiled = (float(d[EDGE].std()) for d in left.values())
    measured("terrain in tiles, RMSE of heights, elements", "<= 1.4 of the whole", whole=whole, tiled=tiled)
    assert tiled <= 1.4 * whole
    steps = np.abs(np.diff(left["tiled"][EDGE], axis=0))
    border = SET.shape[0] // 2 - 6
    assert steps[border - 36 : border + 36].mean() < 1.2 * steps.mean()
    for name in ("DEM", "albedo"):
        a, b = (read_raster(tmp_path / n / f"run-{name}-stddev.tif").values for n in ("whole", "tiled"))
        assert np.isfinite(b).all() and 0.5 < float(np.median(b) / np.median(a)) < 2
    albedo = read_raster(tmp_path / "tiled/run-albedo-final.tif").values
    assert np.abs(albedo / read_raster(folder / "truth_albedo.tif").values - 1)[EDGE].mean() < 0.01


@pytest.mark.slow
def test_stopped_in_a_tile_it_goes_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the third tile, gone on to the same result."""
    words = command(folder, tmp_path / "whole", *TILED, "--no-errors")
    assert main(words) == 0
    images = [str(p) for p in sorted(folder.glob("sun[0-9]*.tif"))]
    told = {
        "job": "terrain-fit", "input.images": images, "input.dem": str(folder / "dem.tif"),
        "input.sun_angles": str(folder / "sun_angles.txt"), "input.image_exposures": 1, "fit.tile_size": 72,
        "fit.tile_halo": 36, "fit.errors": False, "output.path": str(tmp_path / "stopped"),
    }  # fmt: skip
    settings = settings_from({name: (value, "the test") for name, value in told.items()})
    run = Run.create(settings)
    begun, keep = 0, Fitting._keep

    def watched(self: Fitting, *arguments: object) -> None:
        nonlocal begun
        keep(self, *arguments)  # type: ignore[arg-type]
        begun += self.found.total == 1
        run._stop.requested = begun == 3

    monkeypatch.setattr(Fitting, "_keep", watched)
    with pytest.raises(Stopped), run:
        fit(settings, run, Progress(quiet=True))
    monkeypatch.undo()
    relief = run.report_data("relief")  # of the first tile, for who watches
    assert relief is not None
    moved = relief["after"] != relief["before"]
    assert moved.any() and not moved.all()
    assert main(["--quiet", "resume", str(tmp_path / "stopped")]) == 0
    for name in ("DEM", "albedo"):
        a, b = (read_raster(tmp_path / n / f"run-{name}-final.tif").values for n in ("whole", "stopped"))
        assert np.array_equal(a, b)


def test_what_tiles_cannot_do(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, message in (
        (["--float-exposure"], "expected a fit of heights and albedo alone, got exposure sought as well"),
        (["--tile-halo", "40"], "fit.tile_halo: expected at most half of the tiles' size 72, got 40"),
    ):
        assert main(command(folder, tmp_path / "bad", *TILED, "--overwrite", *more)) != 0
        assert message in " ".join(capsys.readouterr().err.split())
