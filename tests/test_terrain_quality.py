"""How good heights, slopes and albedo are: 512 x 512 elements, four suns, rendered four times finer by own formulas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Measured
from tomodiff.cli.main import main
from tomodiff.files.planetary import read_raster
from tomodiff.recipes.terrain.pictures import radial_power
from tomodiff.simulate.terrain import rendered
from tomodiff.simulate.terrain_set import TerrainSet, terrain_of, write_terrain

EDGE = 8
LIT = TerrainSet((512, 512), 1.0, ((0.0, 35.0), (90.0, 30.0), (180.0, 38.0), (270.0, 27.0)), craters=60, seed=7)
SHADED = TerrainSet((512, 512), 1.0, ((0.0, 12.0), (90.0, 11.0), (180.0, 13.0), (270.0, 10.0)), slope_deg=12.0,
                    craters=60, seed=8)  # fmt: skip

pytestmark = pytest.mark.slow


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a fit found, and the truth, without the edges; heights about that of lit ground."""

    height: np.ndarray
    albedo: np.ndarray
    height_sigma: np.ndarray
    albedo_sigma: np.ndarray
    true_height: np.ndarray
    true_albedo: np.ndarray
    start: np.ndarray

    @property
    def height_rmse(self) -> float:
        return float((self.height - self.true_height).std())

    @property
    def slope_rmse(self) -> float:
        first, second = (np.rad2deg(np.arctan(np.hypot(*np.gradient(h)))) for h in (self.height, self.true_height))
        return float(np.sqrt(np.mean((first - second) ** 2)))

    @property
    def albedo_rmse(self) -> float:
        return float(np.sqrt(np.mean((self.albedo / self.true_albedo - 1) ** 2)))

    def covered(self) -> tuple[float, float]:
        """The parts of heights and of albedos whose error is below one standard deviation."""
        off = self.height - self.true_height
        height = np.abs(off - np.median(off)) < self.height_sigma
        return float(height.mean()), float((np.abs(self.albedo - self.true_albedo) < self.albedo_sigma).mean())

    def resolution(self) -> float:
        """Half of the shortest wavelength, in elements, at which the truth is still twice as strong as the error."""
        frequency, error = radial_power(self.height - self.true_height, (1.0, 1.0))
        _, power = radial_power(self.true_height, (1.0, 1.0))
        bad = np.flatnonzero(error > power / 2)
        return 0.5 / float(frequency[bad[0]] if bad.size else frequency[-1])


def fitted(chosen: TerrainSet, folder: Path) -> Fitted:
    list(write_terrain(folder, chosen))
    images = [str(p) for p in sorted(folder.glob("sun[0-9]*.tif"))]
    told = ["--dem", str(folder / "dem.tif"), "--sun-angles", str(folder / "sun_angles.txt"), "--image-exposures", "1"]
    assert main(["--quiet", "terrain", "fit", *images, *told, "-o", str(folder / "run")]) == 0
    names = ("run/run-DEM-final", "run/run-albedo-final", "run/run-DEM-stddev", "run/run-albedo-stddev",
             "truth_height", "truth_albedo", "dem")  # fmt: skip
    maps = (read_raster(folder / f"{name}.tif").values[EDGE:-EDGE, EDGE:-EDGE] for name in names)
    return Fitted(*maps)


@pytest.fixture(scope="module")
def lit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fitted]:
    yield fitted(LIT, tmp_path_factory.mktemp("lit"))


def test_lit_ground(lit: Fitted, measured: Measured) -> None:
    start = float((lit.start - lit.true_height).std())
    measured("terrain, RMSE of heights, elements", "<= 0.13", height=lit.height_rmse, before=start)
    measured("terrain, RMSE of slopes, degrees", "<= 1", slope=lit.slope_rmse)
    measured("terrain, RMSE of albedo", "<= 0.02", albedo=lit.albedo_rmse)
    measured("terrain, effective resolution, elements", "<= 2", resolution=lit.resolution())
    assert start > 0.3
    assert lit.height_rmse <= 0.13 and lit.slope_rmse <= 1 and lit.albedo_rmse <= 0.02
    assert lit.resolution() <= 2


def test_standard_deviations(lit: Fitted, tmp_path: Path, measured: Measured) -> None:
    """Six terrains of 160 x 160: one large terrain has few of the longest waves, which decide much of its share."""
    several = [fitted(replace(LIT, shape=(160, 160), craters=10, seed=100 + k), tmp_path / str(k)) for k in range(6)]
    height, albedo = np.mean([one.covered() for one in several], 0)
    measured("terrain, errors below one standard deviation", "0.60 to 0.75", height=height, albedo=albedo)
    large = dict(zip(("height", "albedo"), lit.covered(), strict=True))
    measured("the same of one terrain of 512 x 512", "0.60 to 0.75", **large)
    assert 0.60 <= height <= 0.75
    assert 0.60 <= albedo <= 0.75
    assert 0.60 <= large["albedo"] <= 0.75


def test_ground_with_shadows(tmp_path: Path, measured: Measured) -> None:
    """With a tenth to a fifth in shadow, at most half as bad again as the goals of lit ground."""
    terrain = terrain_of(SHADED)
    suns = SHADED.grid.to_grid(
        np.array([[np.sin(a) * np.cos(e), np.cos(a) * np.cos(e), np.sin(e)] for a, e in np.deg2rad(SHADED.suns)])
    )
    dark = float(np.mean([(rendered(terrain, sun, camera=0.0)[1] < 0.5).mean() for sun in suns]))
    found = fitted(SHADED, tmp_path)
    height, albedo = found.covered()
    measured("terrain in shadow, RMSE", "<= 0.195, 1.5, 0.03 with 10 to 20 % shadow", height=found.height_rmse,
             slope=found.slope_rmse, albedo=found.albedo_rmse, shadow=dark)  # fmt: skip
    measured("terrain in shadow, errors below one standard deviation", "0.60 to 0.75", height=height, albedo=albedo)
    assert 0.10 <= dark <= 0.20
    assert found.height_rmse <= 1.5 * 0.13 and found.slope_rmse <= 1.5 and found.albedo_rmse <= 0.03
