"""Particles with poses to a map: weighted back-projection of two half sets, or conjugate gradients, and validation."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.array import namespace, to_numpy
from tomodiff.files.cryoem import write_map
from tomodiff.geometry.symmetry import point_group
from tomodiff.recipes.checkpoints import Checkpoints
from tomodiff.recipes.cryoem.data import ParticleData, View
from tomodiff.recipes.cryoem.halves import Halves, half_sets, inverse_tau2, reconstruct_halves
from tomodiff.recipes.cryoem.iterative import NormalEquations, conjugate_gradients
from tomodiff.recipes.cryoem.output import keep_directions, mask_of, write_results
from tomodiff.recipes.cryoem.passes import passes
from tomodiff.recipes.cryoem.source import check_memory, need_poses, particles_of_job
from tomodiff.recipes.cryoem.view import view_of
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run


def reconstruct(settings: Any, run: Run, progress: Progress) -> None:
    """The map of a `cryoem-reconstruct` job, its half maps, FSC, sharpened map and local resolution, into the run."""
    chosen = settings.reconstruction
    with progress.stage("read metadata"):
        particles = particles_of_job(settings, run)
        need_poses(particles, settings.input.path, "reconstruct")
    view: View = view_of(chosen, particles)
    check_memory(run, particles, particles.box, view.padding, view.dtype)
    data, group = ParticleData(particles, view, run.comm), point_group(chosen.symmetry)
    rng = np.random.default_rng(settings.seed)
    half = half_sets(particles.half, rng)
    if not np.array_equal(half, particles.half):
        run.warn(
            "the particles are not divided into half sets: divided at random, so poses were not found independently"
        )
    noise = data.background_spectrum(np.arange(len(data)))
    values = data.values()
    with passes(progress, "back-project", data) as advance:
        halves = reconstruct_halves(
            data, values, half, noise, group, chosen.tau2_fudge, chosen.regularise == "fsc", advance
        )
    map_ = None
    if chosen.method == "cg":
        map_ = by_conjugate_gradients(settings, run, progress, data, values, noise, group, halves)
    mask = mask_of(chosen.mask, halves, data)
    if not run.comm.leads:
        return
    with progress.stage("validate and write"):
        write_results(run, data, halves, values, half, mask=mask, sharpen=chosen.sharpen, rng=rng, map_=map_)
        keep_directions(run, particles.rotation)
        run.record(method=chosen.method, symmetry=chosen.symmetry)
        if chosen.local_resolution:
            from tomodiff.analytic.local_resolution import local_resolution

            found = local_resolution(halves.half[0], halves.half[1], data.operator.voxel, rng, mask=mask)
            write_map(run.path / "local_resolution.mrc", found.resolution.astype(np.float32), data.operator.voxel)
            write_map(run.path / "map_local_filtered.mrc", found.filtered.astype(np.float32), data.operator.voxel)
            shown = {"resolution": found.resolution.astype(np.float32), "pixel": data.operator.voxel, "mask": mask}
            run.save_report_data("local_resolution", shown)


def by_conjugate_gradients(
    settings: Any, run: Run, progress: Progress, data: ParticleData, values: dict[str, np.ndarray], noise: np.ndarray,
    group: np.ndarray, halves: Halves,
) -> np.ndarray:  # fmt: skip
    """The regularised least-squares map of all particles; leaves checkpoints and goes on from one."""
    chosen = settings.reconstruction
    everyone = np.arange(len(data))
    weight = halves.sums[0].mean_weight() + halves.sums[1].mean_weight()
    prior = inverse_tau2(weight, halves.fsc, chosen.tau2_fudge) * data.operator.spectrum.padding**3
    equations = NormalEquations(data, values, everyone, noise, group, prior)
    with passes(progress, "right-hand side", data) as advance:
        b = equations.right_hand_side(advance)
    checkpoints = Checkpoints(run)
    start = checkpoints.load(namespace(b))
    steps = chosen.iterations or 20
    with progress.stage("conjugate gradients", total=steps, unit="it") as stage, run.interruptible():

        def each(state: Any) -> None:
            run.log_metrics({"iteration": state.iteration, **state.metrics})
            run.show(state.x, (data.particles.pixel,) * 3, "density", "arbitrary")
            stage.advance(change=state.metrics["relative_change"])
            checkpoints.after_step(state)

        state = conjugate_gradients(equations, weight, steps, b, start, each)
    return to_numpy(state.x)
