"""Photographs with known cameras to a radiance field, and pictures from places where no camera was."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tomodiff.array import namespace
from tomodiff.errors import ConfigError, DataError
from tomodiff.files.photographs import View, read_views
from tomodiff.files.pictures import write_picture
from tomodiff.files.radiance_file import write_field
from tomodiff.geometry import Grid
from tomodiff.geometry.cameras.photograph import Photograph
from tomodiff.recipes.checkpoints import Checkpoints
from tomodiff.recipes.device import device_named
from tomodiff.recipes.optical.box import COARSE, away_from, box_grid, carved, looked_at, seen_by
from tomodiff.recipes.optical.rays import Rays
from tomodiff.recipes.optical.scene import Scene, psnr
from tomodiff.recipes.optical.settings import OpticalSettings
from tomodiff.recipes.optical.training import (
    BACKGROUND_TERMS,
    FIRST_COLOUR,
    Fit,
    Plan,
    fit_of,
    fitting,
    resampled,
    stored,
)
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run
from tomodiff.result import Result
from tomodiff.solvers.state import State

FEWEST = 3
"""Photographs that a scene needs."""
SEEING = 2
"""Cameras that must see a voxel for it to hold anything."""
OFTEN = 0.3
"""The share of cameras that must see it, in scenes without silhouettes."""
SHOWN = 6
"""Pictures in the report."""
LOGGED = 50
"""Steps between lines of the metrics."""


@dataclass(frozen=True, eq=False)
class Shots:
    """Photographs that were read: cameras, pictures over the background, and opacities where some are transparent."""

    names: list[str]
    cameras: list[Photograph]
    pictures: list[np.ndarray]
    masks: list[np.ndarray] | None


def reconstruct(settings: OpticalSettings, run: Run, progress: Progress) -> Result:
    """The scene of the photographs that `settings` names: the density is the result, the field that can be looked at is
    left as `field.h5`, pictures of the photographs that were held out in `views/`.

    Raises DataError for photographs that cannot be read, ConfigError for settings that do not fit, and Stopped with a
    checkpoint.
    """
    xp = namespace(device_named(settings.fit.device)(np.zeros(1, np.float32)))
    views, held = look_at(settings)
    with progress.stage("read", total=len(views) + len(held)) as stage:
        shots, tests = (_read(group, settings, stage) for group in (views, held))
    plan = _plan(settings)
    grids, seen = _grids(shots, settings, plan)
    run.record(
        photographs=len(views), held_out=len(held), voxels=list(grids[-1].shape), box_size=list(grids[-1].size[::-1]),
        box_centre=list(grids[-1].center),
    )  # fmt: skip
    background, learn = _background(settings, shots)
    fit = _fitted(Rays(shots.cameras, shots.pictures), grids, seen, plan, (learn, background), xp, run, progress)
    made = stored(fit)
    worst = _look(Scene(made), tests if tests.names else shots, bool(tests.names), run, progress)
    write_field(run.path / "field.h5", replace(made, psnr_db=worst))
    density = np.maximum(made.field[..., 0], 0)
    meta = {"method": settings.method, "settings": settings.as_dict(), "source": str(settings.input.path)}
    return Result(density, fit.grid, "density", "1/unit", run.metrics(), meta, tuple(run.warnings))


def look_at(settings: OpticalSettings) -> tuple[list[View], list[View]]:
    """The photographs to fit and those to measure on, or why they cannot be had."""
    given = settings.input
    if given.test is not None and given.holdout is not None:
        raise ConfigError("input.holdout: expected none beside input.test; remove one of the two")
    views = read_views(given.path)
    held = [] if given.test is None else read_views(given.test)
    if given.holdout is not None:
        held = views[given.holdout // 2 :: given.holdout]
        views = [view for view in views if view not in held]
    if len(views) < FEWEST:
        raise DataError(given.path, "frames", f"{FEWEST} photographs or more", str(len(views)))
    return views, held


def _read(views: list[View], settings: OpticalSettings, stage: Any) -> Shots:
    """Photographs and cameras, averaged over pixels."""
    bin, pictures, masks = settings.input.bin, [], []
    for view in views:
        colours, alpha = view.layers(bin)
        over = 0.0 if settings.input.background == "black" else 1.0
        pictures.append(colours + np.float32(over) * (1 - alpha[..., None]))
        masks.append(alpha)
        stage.advance()
    cameras = [view.camera if bin == 1 else view.camera.smaller(bin) for view in views]
    transparent = any(float(mask.min()) < 1 for mask in masks)
    return Shots([view.path.stem for view in views], cameras, pictures, masks if transparent else None)


def _plan(settings: OpticalSettings) -> Plan:
    chosen = settings.fit
    rates = (chosen.density_rate, chosen.colour_rate)
    return Plan(chosen.iterations, chosen.rays, chosen.degree, rates, seed=settings.seed)


def _grids(shots: Shots, settings: OpticalSettings, plan: Plan) -> tuple[list[Grid], list[np.ndarray]]:
    """The grids of all stages, and which voxels of each may hold something."""
    given = settings.input.box
    try:
        if given is not None:
            low, high = np.array(given[::2]), np.array(given[1::2])
        elif shots.masks is not None:
            low, high = carved(shots.cameras, [mask > 0 for mask in shots.masks])
        else:
            centre, half = looked_at(shots.cameras)
            low, high = centre - half, centre + half
    except ValueError as error:
        raise ConfigError(f"input.box: {settings.input.path}: {error}") from error
    grids = [box_grid(low, high, max(2, round(settings.fit.voxels * part))) for _, part, _ in plan.stages]
    coarse = box_grid(low, high, COARSE)
    least = SEEING if shots.masks is not None else max(SEEING, OFTEN * len(shots.cameras))
    often = (seen_by(shots.cameras, coarse) >= least).astype(np.float32)
    often *= away_from(shots.cameras, coarse)
    seen = [resampled(often, coarse, grid) > 0.5 for grid in grids]
    if not seen[-1].any():
        raise ConfigError(f"input.box: {settings.input.path}: no voxel is seen by {least:.0f} cameras")
    return grids, seen


def _background(settings: OpticalSettings, shots: Shots) -> tuple[np.ndarray, bool]:
    """What is behind the scene, in spherical harmonics (9, 3), and whether it is to be learnt."""
    chosen, made = settings.input.background, np.zeros((BACKGROUND_TERMS, 3))
    if chosen == "auto":
        chosen = "learn" if shots.masks is None else "white"
    if chosen == "learn":
        made[0] = (np.mean([picture.mean(axis=(0, 1)) for picture in shots.pictures], axis=0) - 0.5) / FIRST_COLOUR
    else:
        made[0] = (0.5 if chosen == "white" else -0.5) / FIRST_COLOUR
    return made, chosen == "learn"


def _fitted(rays: Rays, grids: list[Grid], seen: list[np.ndarray], plan: Plan, background: tuple[bool, np.ndarray],
            xp: Any, run: Run, progress: Progress) -> Fit:  # fmt: skip
    """The fit after all steps, logged to the run, with checkpoints; it goes on from one that is there."""
    checkpoints = Checkpoints(run, "RadianceFit")
    state: State | None = checkpoints.load(xp)
    start = None if state is None else fit_of(state, grids, plan, xp)
    fit, (learn, behind) = start, background
    begun = 0 if start is None else start.step
    with progress.stage("fit", total=plan.steps, unit="it", done=begun) as stage, run.interruptible():
        for fit in fitting(rays, grids, seen, plan, learn, behind, xp, start):
            stage.advance(psnr_db=fit.psnr)
            if fit.step % LOGGED == 0 or fit.step == plan.steps:
                run.log_metrics({"iteration": fit.step, "psnr_db": fit.psnr})
                run.show(fit.field[..., 0], fit.grid.spacing, "density", "1/unit")
            checkpoints.after_step(fit.state(), last=fit.step == plan.steps)
    assert fit is not None
    return fit


def _look(scene: Scene, shots: Shots, held_out: bool, run: Run, progress: Progress) -> float:
    """Pictures of photographs, beside what they should be; the PSNR in dB of the worst."""
    folder, measured = run.path / "views", []
    folder.mkdir(exist_ok=True)
    shown = range(len(shots.names)) if held_out else range(0, len(shots.names), -(-len(shots.names) // SHOWN))
    with progress.stage("views", total=len(shown)) as stage:
        for number, i in enumerate(shown):
            picture, _ = scene.picture(shots.cameras[i])
            measured.append(psnr(picture, shots.pictures[i]))
            write_picture(folder / f"{i:04d}_{shots.names[i]}.png", picture)
            if number < SHOWN:
                depth = scene.depth(shots.cameras[i])
                told = {"name": shots.names[i], "use": "held out" if held_out else "fitted"}
                seen = {"truth": shots.pictures[i], "picture": picture, "depth": depth}
                run.save_report_data(f"view{number}", seen | told)
            stage.advance()
    what = "psnr_held_out_db" if held_out else "psnr_fitted_db"
    run.record(**{what: float(np.mean(measured)), f"{what}_least": float(min(measured))})
    if not held_out:
        run.warn("no photograph was held out (--holdout 10): how good unseen views are is not known")
    return float(min(measured))
