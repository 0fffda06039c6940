"""Particles with poses to a map and the components along which it varies from particle to particle."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.analytic.fsc import FscCurves
from tomodiff.files.cryoem import write_map, write_particles
from tomodiff.geometry.symmetry import point_group
from tomodiff.recipes.checkpoints import Checkpoints
from tomodiff.recipes.cryoem.columns import add_columns
from tomodiff.recipes.cryoem.components import Analysis, Latents, LinearModel, analyse, random_latents
from tomodiff.recipes.cryoem.data import ParticleData
from tomodiff.recipes.cryoem.halves import half_sets, sphere
from tomodiff.recipes.cryoem.output import keep_curves, keep_directions, keep_summary, mask_of, updated, without_corners
from tomodiff.recipes.cryoem.passes import passes
from tomodiff.recipes.cryoem.rounds import first_round, residual_noise, resolved
from tomodiff.recipes.cryoem.source import check_memory, need_poses, particles_of_job
from tomodiff.recipes.cryoem.view import view_of
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run

ITERATIONS = 20
CLEAR, FEWEST = 0.5, 6
"""Components are looked for up to the shell where the half maps of all particles agree so well, of at least so many."""
ENDS = (5.0, 95.0)
"""Percentiles of the latents between which maps along a component are made."""


def variability(settings: Any, run: Run, progress: Progress) -> None:
    """The mean map of a `cryoem-variability` job, its components and every particle's latents, into the run."""
    chosen = settings.reconstruction
    with progress.stage("read metadata"):
        particles = particles_of_job(settings, run)
        need_poses(particles, settings.input.path, "find their variability")
    view = view_of(chosen, particles)
    check_memory(run, particles, particles.box, view.padding, view.dtype, chosen.maps)
    data, group = ParticleData(particles, view, run.comm), point_group(chosen.symmetry)
    half = half_sets(particles.half, np.random.default_rng(settings.seed))
    with passes(progress, "all particles", data) as advance:
        everyone = first_round(data, data.values(), half, group, advance=advance)
    noise, mask = residual_noise(data, everyone, everyone.values), mask_of(chosen.mask, everyone.halves, data)
    if mask is None:
        mask = sphere(data.operator.size, data)
    ring = float(max(FEWEST, resolved(everyone.halves.fsc, CLEAR)))
    if chosen.max_resolution_a is not None:
        ring = data.slicer.r_max
    checkpoints, iterations = Checkpoints(run, "cryoem-variability"), chosen.iterations or ITERATIONS
    start = _start(checkpoints, len(data), chosen, np.random.default_rng([settings.seed, 1]))
    with (
        progress.stage("components", total=iterations, unit="it", done=start.iteration) as stage,
        run.interruptible(),
    ):

        def each(state: Analysis) -> None:
            assert state.model is not None
            spread = np.sqrt(state.model.variance[1:])
            run.log_metrics({"iteration": state.iteration, **{f"spread_{k}": s for k, s in enumerate(spread, 1)}})
            stage.advance(spread=float(spread[0]))
            if run.show(state.model.maps[0], (data.operator.voxel,) * 3, "density", "arbitrary"):
                _keep_latents(run, state)
            _keep(checkpoints, state, state.iteration == iterations)

        found = analyse(data, everyone.values, half, noise, group, mask, start, ring, iterations, chosen.contrast, each)
    if not run.comm.leads:
        return
    with progress.stage("write"):
        _write(run, data, found, half, mask, chosen.frames)
        run.record(symmetry=chosen.symmetry, finest_a=data.box * data.particles.pixel / ring)


def _start(checkpoints: Checkpoints, n: int, chosen: Any, rng: np.random.Generator) -> Analysis:
    """What to go on from: a checkpoint, or latents at random."""
    found = checkpoints.resume(n)
    if found is None:
        return Analysis(None, random_latents(n, chosen.components, rng, chosen.contrast), np.zeros(0))
    done, arrays, memory = found
    model = LinearModel(memory["maps"], memory["variance"])
    return Analysis(model, Latents(arrays["mean"], arrays["covariance"]), memory["curves"], done)


def _keep(checkpoints: Checkpoints, state: Analysis, ends: bool) -> None:
    assert state.model is not None
    arrays = {"mean": state.latents.mean, "covariance": state.latents.covariance}
    memory = {"maps": state.model.maps, "variance": state.model.variance, "curves": state.curves}
    checkpoints.after(state.iteration, arrays, memory, last=ends)


def _keep_latents(run: Run, state: Analysis) -> None:
    """Where the particles stand along the components."""
    assert state.model is not None
    spread = np.sqrt(state.model.variance[1:])
    run.save_report_data("latents", {"coordinates": state.latents.coordinates, "spread": spread})


def _write(run: Run, data: ParticleData, found: Analysis, half: np.ndarray, mask: np.ndarray, frames: int) -> None:
    """The mean map, components, maps along them, particles with their latents; the report's arrays."""
    model, latents, pixel = found.model, found.latents, data.operator.voxel
    assert model is not None
    volume, z = without_corners(model.maps[0]), latents.coordinates
    write_map(run.volume_path, volume, pixel)
    write_map(run.path / "mask.mrc", mask.astype(np.float32), pixel)
    (run.path / "series").mkdir(exist_ok=True)
    shown, places = [], []
    for k, component in enumerate(model.maps[1:], 1):
        write_map(run.path / f"component{k}.mrc", component.astype(np.float32), pixel)
        low, high = np.percentile(z[:, k - 1], ENDS)
        along = np.linspace(low, high, frames)
        series = [model.maps[0] + t * component for t in along]
        for number, frame in enumerate(series, 1):
            path = run.path / "series" / f"component{k}_{number:02d}.mrc"
            write_map(path, without_corners(frame.astype(np.float32)), pixel)
        shown.append(np.stack([frame.sum(0) for frame in series]))
        places.append(along)
    values = data.values()
    for text in write_particles(run.path / "particles.star", updated(data.particles, values, half)):
        run.warn(text)
    columns = {f"tomodiffComponent{k}": z[:, k - 1] for k in range(1, z.shape[1] + 1)}
    if latents.covariance[:, 0, 0].any():
        columns["tomodiffContrast"] = latents.mean[:, 0]
    add_columns(run.path / "particles.star", columns)
    _keep_latents(run, found)
    run.save_report_data("series", {"projections": np.stack(shown), "at": np.stack(places), "pixel": pixel})
    keep_summary(run, volume, pixel)
    keep_curves(run, FscCurves(found.curves[0], None, None, found.curves[0], None), pixel)
    keep_directions(run, values["rotation"])
    own = {f"component {k}": {"spread": float(np.sqrt(v))} for k, v in enumerate(model.variance[1:], 1)}
    run.record(components=len(model), component_spread=own)
