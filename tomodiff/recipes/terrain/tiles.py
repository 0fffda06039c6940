"""Large maps in tiles that overlap: each is fitted on its own, and they are blended where they do."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from tomodiff.array import Element
from tomodiff.errors import ConfigError
from tomodiff.ranks import Comm
from tomodiff.recipes.terrain.problem import Precisions, Problem, sought
from tomodiff.recipes.terrain.scene import Scene
from tomodiff.recipes.terrain.schedule import Fitting, Found, Stage
from tomodiff.recipes.terrain.settings import TerrainFitSettings
from tomodiff.recipes.terrain.uncertainty import deviations

MAPS = ("height", "albedo")


@dataclass(frozen=True)
class Tile:
    """Rows and columns that are fitted, of a map."""

    rows: slice
    columns: slice

    def weight(self, shape: tuple[int, int], halo: int) -> np.ndarray:
        """(rows, columns) how much the tile counts: 1, but falling as a cosine over its overlaps of 2 halo elements."""
        made = np.ones(1)
        for part, size in ((self.rows, shape[0]), (self.columns, shape[1])):
            n = part.stop - part.start
            ramp = np.sin(np.pi / 2 * (np.arange(2 * halo) + 0.5) / (2 * halo)) ** 2 if halo else np.ones(0)
            one = np.ones(n)
            k = min(2 * halo, n)
            if part.start > 0:
                one[:k] *= ramp[:k]
            if part.stop < size:
                one[n - k :] *= ramp[:k][::-1]
            made = np.multiply.outer(made, one)
        return np.asarray(made[0])


def tiles_of(shape: tuple[int, int], size: int, halo: int) -> list[Tile]:
    """Tiles of about `size` elements along each axis and `halo` more on each side, that cover a map evenly."""

    def parts(n: int) -> Iterator[slice]:
        count = max(1, round(n / size))
        edges = [round(n * k / count) for k in range(count + 1)]
        for first, last in itertools.pairwise(edges):
            yield slice(max(0, first - halo), min(n, last + halo))

    return [Tile(rows, columns) for rows in parts(shape[0]) for columns in parts(shape[1])]


@dataclass
class Mosaic:
    """Sums over the tiles that are done: of changes of the heights, ratios of the albedo and variances, each times the
    tile's weight, and of weights; noise, and the precisions of each."""

    sums: dict[str, np.ndarray]
    weights: np.ndarray
    noise: list[np.ndarray] = field(default_factory=list)
    precisions: list[Precisions] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)
    done: int = 0

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> Mosaic:
        return cls({}, np.zeros(shape))

    def add(self, tile: Tile, halo: int, maps: dict[str, np.ndarray], found: Found) -> None:
        """Blend in what one tile found."""
        weight = tile.weight(self.weights.shape, halo)
        at = tile.rows, tile.columns
        if "height" in maps:
            self.levels.append(self._level(at, weight, maps["height"]))
            maps = maps | {"height": maps["height"] + self.levels[-1]}
        for name, values in maps.items():
            self.sums.setdefault(name, np.zeros(self.weights.shape))[at] += weight * values
        self.weights[at] += weight
        self.noise.append(found.noise)
        if found.precisions is not None:
            self.precisions.append(found.precisions)
        self.done += 1

    def _level(self, at: tuple[slice, slice], weight: np.ndarray, heights: np.ndarray) -> float:
        """What brings a tile to the level of those before it: images say little of the level, which would differ."""
        both = weight * self.weights[at]
        if not both.any():
            return 0.0
        apart = self.sums["height"][at] / np.maximum(self.weights[at], 1e-12) - heights
        return float((both * apart).sum() / both.sum())

    def mean(self, name: str) -> np.ndarray:
        """The blended map, 0 where no tile is done yet; heights at the mean of the levels that the tiles had."""
        level = float(np.mean(self.levels)) if name == "height" else 0.0
        there = self.weights > 0
        made = np.divide(self.sums[name], self.weights, out=np.zeros(self.weights.shape), where=there)
        return np.subtract(made, level, out=made, where=there)

    def packed(self) -> tuple[dict[str, np.ndarray], dict[str, object]]:
        """What a checkpoint holds."""
        arrays = {f"sum_{name}": values for name, values in self.sums.items()} | {"weights": self.weights}
        rows = np.array([list(vars(p).values()) for p in self.precisions])
        return arrays, {"noise": np.array(self.noise), "precisions": rows, "levels": np.array(self.levels)}

    @classmethod
    def unpacked(cls, arrays: dict[str, np.ndarray], numbers: dict[str, object], done: int) -> Mosaic:
        """The same from a checkpoint."""
        sums = {name[4:]: values for name, values in arrays.items() if name.startswith("sum_")}
        noise = list(np.asarray(numbers["noise"]))
        precisions = [Precisions(*map(float, row)) for row in np.asarray(numbers["precisions"])]
        return cls(sums, arrays["weights"], noise, precisions, np.asarray(numbers["levels"]).tolist(), done)


def check_tiles(scene: Scene, settings: TerrainFitSettings) -> str:
    """Refuse tiles for what belongs to whole images; what is doubtful about the halo, if anything is."""
    whole = [name for name in sought(settings) if name not in MAPS]
    if whole:
        raise ConfigError(
            f"fit.tile_size: expected a fit of heights and albedo alone, got {', '.join(whole)} sought as well, which "
            "belong to whole images: find them on a part (--crop-win) or a coarser DEM, then give them as files"
        )
    halo, size = settings.fit.tile_halo, settings.fit.tile_size or 0
    if 2 * halo > size:
        raise ConfigError(f"fit.tile_halo: expected at most half of the tiles' size {size}, got {halo}")
    if settings.light.shadows == "none":
        return ""
    low = np.sqrt(np.maximum(1 - scene.sun[:, 2] ** 2, 0)) / np.maximum(scene.sun[:, 2], 1e-6)
    longest = float(low.max()) * _relief(scene.height, size) / max(scene.grid.spacing)
    if longest <= halo:
        return ""
    return f"shadows may be {longest:.0f} elements long, and tiles see only {halo} beyond themselves: raise --tile-halo"


def fit_tiles(
    whole: Fitting, mosaic: Mosaic, each: Callable[[Found, Stage, dict[str, float]], None],
    after: Callable[[Mosaic, int], None], comm: Comm,
) -> tuple[Problem, Element, dict[str, np.ndarray]]:  # fmt: skip
    """Fit the tiles that are not done yet; the problem of the whole at what was found, and the deviations.

    Several ranks fit as many tiles at a time, and blend them in their order: the map does not depend on the ranks.
    """
    scene, settings = whole.scene, whole.settings
    halo, tiles = settings.fit.tile_halo, tiles_of(scene.shape, settings.fit.tile_size or 0, settings.fit.tile_halo)
    for start in range(mosaic.done, len(tiles), comm.size):
        number = start + comm.rank
        mine = _fit_tile(whole, tiles[number], number, each) if number < len(tiles) else None
        for tile, made in zip(tiles[start:], comm.collect(mine), strict=False):
            mosaic.add(tile, halo, *made)
        after(mosaic, len(tiles))
    return _whole(whole, mosaic)


def _fit_tile(
    whole: Fitting, tile: Tile, number: int, each: Callable[[Found, Stage, dict[str, float]], None]
) -> tuple[dict[str, np.ndarray], Found]:
    """What a mosaic takes of one tile."""
    settings = whole.settings
    # exposures and the first albedo are those of the whole
    part = Fitting(replace(whole.scene.cropped(tile.rows, tile.columns), albedo_given=True), settings, each)
    problem, x = part.run()
    values = problem.values(x, {})
    maps = {}
    if "height" in values:
        maps["height"] = values["height"] - part.scene.height
    if "albedo" in values:
        maps["albedo"] = values["albedo"] / np.maximum(part.scene.albedo, 1e-30)
    if settings.fit.errors:
        found = deviations(
            problem, x, part.counted(part.stages[-1]), part.well_lit, settings.fit.robust_threshold,
            settings.fit.error_samples, np.random.default_rng((settings.seed, number)),
        )  # fmt: skip
        maps |= {f"variance_{name}": values**2 for name, values in found.items() if name in MAPS}
    return maps, part.found


def _whole(whole: Fitting, mosaic: Mosaic) -> tuple[Problem, Element, dict[str, np.ndarray]]:
    scene, found = whole.scene, whole.found
    found.noise = np.median(mosaic.noise, axis=0)
    if mosaic.precisions:
        mean = {n: float(np.mean([getattr(p, n) for p in mosaic.precisions])) for n in vars(mosaic.precisions[0])}
        found.precisions = Precisions(**mean)
    found.change = mosaic.mean("height") if "height" in mosaic.sums else np.zeros(scene.shape)
    found.ratio = mosaic.mean("albedo") if "albedo" in mosaic.sums else np.ones(scene.shape)
    problem, values = whole.problem(len(whole.stages) - 1)
    errors = {n: np.sqrt(mosaic.mean(f"variance_{n}")) for n in MAPS if f"variance_{n}" in mosaic.sums}
    return problem, problem.start(values), errors


def _relief(height: np.ndarray, size: int) -> float:
    """The largest range of heights within a tile's size."""
    ny, nx = height.shape
    parts = [height[r : r + size, c : c + size] for r in range(0, ny, size) for c in range(0, nx, size)]
    return float(max(np.ptp(p) for p in parts))
