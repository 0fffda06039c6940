"""`terrain-fit`: from images, lights and a DEM to finer heights, albedo, their deviations, and what the images miss."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.array import Element
from tomodiff.errors import ConfigError, MemoryNeeded
from tomodiff.files.atomic import in_units
from tomodiff.files.planetary import write_numbers, write_raster
from tomodiff.projectors.terrain.sun_angles import angles_of
from tomodiff.recipes.checkpoints import Checkpoints
from tomodiff.recipes.memory import USABLE, free_bytes
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run
from tomodiff.recipes.terrain.pictures import keep_pictures, keep_relief
from tomodiff.recipes.terrain.problem import Problem, sought
from tomodiff.recipes.terrain.scene import Scene, load_scene
from tomodiff.recipes.terrain.schedule import Fitting, Found, Stage, as_arrays, from_arrays
from tomodiff.recipes.terrain.settings import TerrainFitSettings
from tomodiff.recipes.terrain.tiles import Mosaic, check_tiles, fit_tiles, tiles_of
from tomodiff.recipes.terrain.uncertainty import deviations

NAME = "terrain-fit"
BYTES_OF_IMAGE, BYTES_OF_MAP = 100, 500
"""Of each element of an image, and of each element of the map: peaks of 512 x 512 elements and 2 and 4 images."""
BYTES_KEPT, BYTES_KEPT_MAP = 30, 120
"""Of the whole, where it is fitted in tiles."""
PREFIX = "run"
"""Of the files in the folder of the run, as Ames Stereo Pipeline's `-o run/run` names them."""


def fit(settings: TerrainFitSettings, run: Run, progress: Progress) -> None:
    """The heights and the albedo of a `terrain-fit` job, and all that belongs to them, into the run."""
    if settings.light.device != "cpu":
        raise ConfigError("light.device: expected cpu: fits of terrains run on the CPU yet")
    with progress.stage("read"):
        scene = load_scene(settings.input, settings.light, run)
    tiled = settings.fit.tile_size is not None and max(scene.shape) > settings.fit.tile_size
    if run.comm.size > 1 and not tiled:
        raise ConfigError(
            f"fit.tile_size: expected tiles smaller than the map of {scene.shape[0]} x {scene.shape[1]} elements, as "
            f"{run.comm.size} ranks fit one each at a time (--tile-size 256)"
        )
    check_memory(run, scene.shape, len(scene.names), settings)
    checkpoints = Checkpoints(run, NAME)
    earlier = checkpoints.resume(len(scene.names), "images")
    job = _Job(run, progress, checkpoints, settings, scene)
    fitting, problem, x, errors = job.in_tiles(earlier) if tiled else job.at_once(earlier)
    if not run.comm.leads:
        return
    counted = fitting.counted(fitting.stages[-1])
    with progress.stage("write"):
        values = problem.values(x, problem_values(fitting))
        _write(run, fitting, problem, x, values, errors)
        _record(run, fitting, problem, x, values, counted)
        keep_pictures(run, fitting, problem, x, values, errors)


Result = tuple[Fitting, Problem, Element, dict[str, np.ndarray]]


class _Job:
    """A fit of the whole map, or of its tiles, that can be stopped and goes on."""

    def __init__(
        self, run: Run, progress: Progress, checkpoints: Checkpoints, settings: TerrainFitSettings, scene: Scene
    ) -> None:
        self.run, self.progress, self.checkpoints, self.settings = run, progress, checkpoints, settings
        self.scene, self.names = scene, {"images": np.arange(len(scene.names))}

    def at_once(self, earlier: Any) -> Result:
        """All of the map; checkpoints hold every step."""
        settings, progress, run = self.settings, self.progress, self.run

        def each(found: Found, stage: Stage, metrics: dict[str, float]) -> None:
            bar.advance(misfit=self.log(found, stage, metrics, int(fitting.counted(stage).sum())), grid=str(stage))
            if run.is_due():
                coarse = self.scene.binned(stage.factor)
                keep_relief(run, coarse, coarse.height + found.change)
            arrays, numbers = as_arrays(found)
            self.checkpoints.after(found.total, self.names | arrays, numbers)

        fitting = Fitting(self.scene, settings, each)
        _say_gauges(fitting, self.run)
        if earlier is not None:
            total, arrays, numbers = earlier
            fitting.found = from_arrays(arrays, numbers, total)
        most = len(fitting.stages) * settings.fit.max_iterations
        with progress.stage("fit", total=most, unit="step", done=fitting.found.total) as bar, run.interruptible():
            problem, x = fitting.run()
        errors: dict[str, np.ndarray] = {}
        if settings.fit.errors:
            with progress.stage("errors", total=settings.fit.error_samples, unit="sample") as samples:
                errors = deviations(
                    problem, x, fitting.counted(fitting.stages[-1]), fitting.well_lit, settings.fit.robust_threshold,
                    settings.fit.error_samples, np.random.default_rng(settings.seed), samples.advance,
                )  # fmt: skip
        return fitting, problem, x, errors

    def in_tiles(self, earlier: Any) -> Result:
        """One tile after the other; checkpoints hold the tiles that are done."""
        doubtful, run = check_tiles(self.scene, self.settings), self.run
        if doubtful:
            self.run.warn(doubtful)
        fitting = Fitting(self.scene, self.settings, lambda *_: None)
        _say_gauges(fitting, self.run)
        mosaic = Mosaic.empty(self.scene.shape)
        if earlier is not None:
            total, arrays, numbers = earlier
            mosaic = Mosaic.unpacked(arrays, numbers, total)
        tiles = tiles_of(self.scene.shape, self.settings.fit.tile_size or 0, self.settings.fit.tile_halo)

        def each(found: Found, stage: Stage, metrics: dict[str, float]) -> None:
            self.log(found, stage, metrics, found.change.size * len(self.scene.names))
            if self.run.stop_requested and self.run.comm.size == 1:  # the tile is lost, those before it are kept
                self.keep(mosaic)

        def after(mosaic: Mosaic, count: int) -> None:
            bar.advance(mosaic.done - bar.done)
            if "height" in mosaic.sums and run.is_due():
                keep_relief(run, self.scene, self.scene.height + mosaic.mean("height"))
            if mosaic.done < count:
                self.keep(mosaic)

        with self.progress.stage("fit", total=len(tiles), unit="tile", done=mosaic.done) as bar, run.interruptible():
            problem, x, errors = fit_tiles(fitting, mosaic, each, after, self.run.comm)
        return fitting, problem, x, errors

    def keep(self, mosaic: Mosaic) -> None:
        """A checkpoint of the tiles that are done, if one is due."""
        arrays, numbers = mosaic.packed()
        self.checkpoints.after(mosaic.done, self.names | arrays, numbers)

    def log(self, found: Found, stage: Stage, metrics: dict[str, float], data: int) -> float:
        """The misfit for each datum, written down with the rest."""
        counted = float(metrics["value"]) / max(data, 1)
        self.run.log_metrics({"iteration": found.total, "grid": stage.factor, "misfit_per_datum": counted, **metrics})
        return counted


def check_memory(run: Run, shape: tuple[int, int], images: int, settings: TerrainFitSettings) -> None:
    """Say how much memory the job will take, and refuse it where that is more than there is."""
    worked = list(shape)
    if settings.fit.tile_size is not None:
        worked = [min(n, settings.fit.tile_size + 2 * settings.fit.tile_halo) for n in shape]
    needed = (BYTES_OF_IMAGE * images + BYTES_OF_MAP) * worked[0] * worked[1]
    if worked != list(shape):
        needed += (BYTES_KEPT * images + BYTES_KEPT_MAP) * shape[0] * shape[1]
    free = free_bytes()
    run.record(memory_needed=in_units(needed), memory_free=in_units(free))
    if needed > USABLE * free:
        raise MemoryNeeded(
            f"{images} images of {shape[0]} x {shape[1]} elements take about {in_units(needed)}, {in_units(free)} are "
            "free; fit in tiles (--tile-size 512), a part (--crop-win), fewer images, or a coarser DEM"
        )


def problem_values(fitting: Fitting) -> dict[str, np.ndarray]:
    """The values from which the last stage took what is not sought."""
    return fitting.values | {"height": fitting.scene.height, "albedo": fitting.scene.albedo}


def _say_gauges(fitting: Fitting, run: Run) -> None:
    """Name what images cannot tell apart."""
    scene, names = fitting.scene, sought(fitting.settings)
    if "albedo" in names and fitting.settings.input.image_exposures == "auto" and not scene.albedo_given:
        run.warn(
            "the albedo is relative, 1 in the mean at the start: exposures were not given, and images tell only the "
            "product of both (image_exposures: 1 for images in I/F)"
        )
    if {"albedo", "exposure"} <= set(names):
        run.warn(
            "albedo and exposures are both sought, and images tell only their product: exposures are held to their "
            "first values within 10 %"
        )
    apart = _spread(scene.sun)
    if {"height", "albedo"} <= set(names) and apart < np.deg2rad(10):
        run.warn(
            f"heights and albedo are both sought from suns at most {np.rad2deg(apart):.1f} degrees apart: an image "
            "hardly tells a slope from a darker ground; fix the albedo (--no-float-albedo), or add images of other suns"
        )
    diffuse = {"tau": "optical depths", "ambient": "the light of the sky"}
    for name in diffuse.keys() & set(names if "height" in names else ()):
        run.warn(
            f"heights and {diffuse[name]} are both sought: either takes contrast from images as a flatter ground does, "
            "and only the DEM and shadows tell them apart; find it on a DEM that is right (--fix-dem), then heights"
        )
    if {"height", "angles"} <= set(names):
        run.warn(
            "heights and suns are both sought: a surface and its mirror image under mirrored suns look alike, and a "
            "tilt of all goes into either (bas-relief ambiguity); only the DEM tells them apart"
        )


def _spread(sun: np.ndarray) -> float:
    """The largest angle between two suns."""
    return float(np.arccos(np.clip(sun @ sun.T, -1, 1)).max())


def _write(
    run: Run, fitting: Fitting, problem: Problem, x: Element, values: dict[str, np.ndarray],
    errors: dict[str, np.ndarray],
) -> None:  # fmt: skip
    scene, folder = fitting.scene, run.path
    write_raster(run.volume_path, values["height"], scene.grid, "m", "height")
    write_raster(folder / f"{PREFIX}-albedo-final.tif", values["albedo"], scene.grid, "", "albedo")
    for name, stem in (("height", "DEM"), ("albedo", "albedo")):
        if name in errors:
            unit = "m" if name == "height" else ""
            write_raster(folder / f"{PREFIX}-{stem}-stddev.tif", errors[name], scene.grid, unit, "standard deviation")
    taken = np.asarray(problem.measured(x), np.float64)
    simulated = taken + np.asarray(problem.residual(x), np.float64)
    for name, image, valid, made in zip(scene.names, taken, scene.valid, simulated, strict=True):
        stem = name.rsplit(".", 1)[0]
        measured = np.where(valid, image, np.nan)
        write_raster(folder / f"{PREFIX}-{stem}-meas-intensity.tif", measured, scene.grid, "", "measured")
        write_raster(folder / f"{PREFIX}-{stem}-sim-intensity.tif", made, scene.grid, "", "simulated")
    write_numbers(folder / f"{PREFIX}-exposures.txt", scene.names, values["exposure"].tolist())
    write_numbers(folder / f"{PREFIX}-haze.txt", scene.names, values["haze"].tolist())
    if "angles" in values and "angles" in problem.sought:
        _write_suns(run, fitting, values["angles"])
    for name in ("tau", "ambient"):
        if name in problem.sought:
            write_numbers(folder / f"{PREFIX}-{name}.txt", scene.names, values[name].tolist())
    if "camera" in problem.sought:
        _write_cameras(run, fitting, values["camera"])


def _write_cameras(run: Run, fitting: Fitting, camera: np.ndarray) -> None:
    """Corrections of the cameras, pixels: column c0 + c1 u + c2 v, row c3 + c4 u + c5 v, u and v from -1 to 1."""
    from tomodiff.files.atomic import replacing

    pairs = zip(fitting.scene.names, camera, strict=True)
    lines = [" ".join([name, *(f"{c:.6g}" for c in own)]) + "\n" for name, own in pairs]
    with replacing(run.path / f"{PREFIX}-cameras.txt", 80 * len(lines)) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def _write_suns(run: Run, fitting: Fitting, angles: np.ndarray) -> None:
    """The suns that were found, in a file that a next fit takes."""
    from tomodiff.files.atomic import replacing
    from tomodiff.projectors.terrain.reflectance import direction

    told = np.rad2deg(angles_of(direction(*angles.T) @ fitting.scene.grid.site))
    lines = [f"{n} {a % 360:.6f} {e:.6f}\n" for n, (a, e) in zip(fitting.scene.names, told, strict=True)]
    with replacing(run.path / f"{PREFIX}-sun-angles.txt", 80 * len(lines)) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def _record(
    run: Run, fitting: Fitting, problem: Problem, x: Element, values: dict[str, np.ndarray], counted: np.ndarray
) -> None:
    scene = fitting.scene
    left = np.asarray(problem.residual(x))
    facts: dict[str, Any] = {}
    about = zip(scene.names, left, counted, fitting.found.noise, values["exposure"], values["haze"], strict=True)
    for name, r, v, noise, exposure, haze in about:
        image = scene.images[scene.names.index(name)]
        rms = float(np.sqrt(np.mean(r[v] ** 2))) if v.any() else float("nan")
        facts[name] = {
            "rms residual": rms, "of the mean": rms / max(float(image[v].mean()), 1e-30) if v.any() else None,
            "noise": float(noise), "exposure": float(exposure), "haze": float(haze), "elements used": int(v.sum()),
        }  # fmt: skip
    run.record(image_fit=facts, spacing_m=scene.grid.spacing, method=f"{problem.settings.light.reflectance_type}")
    p = fitting.found.precisions
    assert p is not None
    sigma = float(np.sqrt(np.mean(fitting.found.noise**2)))
    weights = {"smoothness": p.curvature, "gradient": p.slope, "DEM": p.dem, "albedo smoothness": p.albedo_slope}
    run.record(weights={name: value**0.5 * sigma for name, value in weights.items()})
    if "parameters" in problem.sought:
        model = _model(problem)
        run.record(parameters={p.name: float(v) for p, v in zip(model.parameters, values["parameters"], strict=True)})


def _model(problem: Problem) -> Any:
    from tomodiff.projectors.terrain.photometry import model_named

    return model_named(problem.settings.light.reflectance_type)
