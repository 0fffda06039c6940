"""Maps from particles alone: stochastic expectation maximisation over all poses, from a shapeless start."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.array import to_numpy
from tomodiff.geometry.orientations import so3_grid
from tomodiff.geometry.poses import random_rotations
from tomodiff.geometry.symmetry import point_group
from tomodiff.recipes.checkpoints import Checkpoints
from tomodiff.recipes.cryoem.align import misfits
from tomodiff.recipes.cryoem.class_output import write_classes
from tomodiff.recipes.cryoem.classes import Classes, maximise
from tomodiff.recipes.cryoem.data import ParticleData
from tomodiff.recipes.cryoem.expectation import Estimate, Mixture, Stage, expect_and_maximise
from tomodiff.recipes.cryoem.globally import SHELLS_OF_ORDER, Search, find_poses
from tomodiff.recipes.cryoem.halves import back_project, half_sets, inverse_tau2, sphere
from tomodiff.recipes.cryoem.passes import passes
from tomodiff.recipes.cryoem.search import shift_grid
from tomodiff.recipes.cryoem.source import check_memory, particles_of_job
from tomodiff.recipes.cryoem.view import view_of
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run

FIRST_SHELL, LAST_SHELL = 4.0, 12.0
"""Frequencies up to which images are compared at the start and at the end, in shells, unless the settings say."""
STEPS = ((0.2, 0.9), (0.6, 0.5), (1.0, 0.2))
"""Up to this part of the iterations, the part of the sums that a batch replaces."""
BATCH, ITERATIONS = 200, 60
START_SHELLS = 4
"""Shells of the first map, which comes from random poses."""


def abinitio(settings: Any, run: Run, progress: Progress) -> None:
    """The maps of a `cryoem-abinitio` job: shapes emerge, every particle takes its best pose in the best of them, and
    maps of those poses are what is written."""
    chosen = settings.reconstruction
    with progress.stage("read metadata"):
        particles = particles_of_job(settings, run)
    view = view_of(chosen, particles)
    check_memory(run, particles, particles.box, view.padding, view.dtype, chosen.maps)
    data, group = ParticleData(particles, view, run.comm), point_group(chosen.symmetry)
    limit = LAST_SHELL
    if chosen.max_resolution_a is not None:
        limit = float(np.clip(particles.box * particles.pixel / chosen.max_resolution_a, 2, particles.box / 2 - 1))
    iterations = chosen.iterations or ITERATIONS
    maps = emerge(
        data,
        group,
        chosen.classes,
        iterations,
        min(limit, LAST_SHELL),
        chosen.batch or BATCH,
        settings.seed,
        run,
        progress,
    )
    with passes(progress, "find poses", data, len(maps)) as advance:
        values, klass = assign(data, maps, group, min(limit, LAST_SHELL), settings.seed, advance)
    state = Classes(np.eye(len(maps))[klass], (values,) * len(maps), data.background_spectrum(np.arange(len(data))))
    half = half_sets(particles.half, np.random.default_rng(settings.seed))
    with passes(progress, "reconstruct", data) as advance:
        state = maximise(data, state, half, group, advance)
    if not run.comm.leads:
        return
    with progress.stage("write"):
        run.warn(
            "poses were found against one map of all particles, so the agreement of the half maps flatters them; "
            "tomodiff cryoem refine --mode global gives a resolution"
        )
        write_classes(run, data, state, half)
        run.record(symmetry=chosen.symmetry, shells=min(limit, LAST_SHELL))


def emerge(
    data: ParticleData, group: np.ndarray, classes: int, iterations: int, limit: float, batch: int, seed: int,
    run: Run | None = None, progress: Progress | None = None,
) -> list[np.ndarray]:  # fmt: skip
    """The maps after all iterations; with a run it leaves checkpoints, goes on from one, and logs."""
    n = len(data)
    noise = data.power_spectrum(np.arange(n))  # signal included, which tempers the first iterations
    values = data.values() | {"shift": np.zeros((n, 2))}
    ball = sphere(data.operator.size, data)
    begun = 0
    checkpoints = Checkpoints(run, "cryoem-abinitio") if run else None
    mixture = Mixture([_shapeless(data, noise, group, np.random.default_rng([seed, k])) * ball for k in range(classes)])
    found = checkpoints.resume(n) if checkpoints else None
    if found is not None:
        begun, _, memory = found
        mixture = mixture_from(memory)
    pixel = data.particles.pixel
    stage = (progress or Progress(quiet=True)).stage("emerge", total=iterations, unit="it", done=begun)
    with stage as bar:
        for i in range(begun, iterations):
            rng = np.random.default_rng([seed, 1000 + i])
            part = i / max(iterations - 1, 1)
            top = FIRST_SHELL + (limit - FIRST_SHELL) * min(1.0, 1.2 * part)
            order = next(o for o in (1, 2, 3) if SHELLS_OF_ORDER[o] >= min(top, 8.0))
            here = Stage(so3_grid(order, rng=rng), shift_grid(2 * pixel, pixel), top, limit)
            index = rng.choice(n, min(batch * classes, n), replace=False)
            step = next(s for end, s in STEPS if part <= end)
            mixture, _ = expect_and_maximise(data, mixture, here, index, noise, step, group, values)
            mixture.maps = [m * ball for m in mixture.maps]
            bar.advance(shell=mixture.resolved)
            if run and checkpoints:
                run.log_metrics({"iteration": i + 1, "shell": top, "agreeing_shell": mixture.resolved})
                run.show(mixture.maps[0], (pixel,) * 3, "density", "arbitrary")
                checkpoints.after(i + 1, values, memory_of(mixture), last=i + 1 == iterations)
    return mixture.maps


def _shapeless(data: ParticleData, noise: np.ndarray, group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A map from some of the particles in random poses."""
    index = rng.choice(len(data), min(len(data), 500), replace=False)
    values = data.values() | {"rotation": random_rotations(len(data), rng)}
    sums = back_project(data, values, np.sort(index), noise, group)
    weight = sums.mean_weight()
    trust = np.zeros(len(weight))
    trust[:START_SHELLS] = 0.9
    return to_numpy(sums.volume(inverse_tau2(weight, trust)))


def assign(
    data: ParticleData, maps: list[np.ndarray], group: np.ndarray, top: float, seed: int, advance: Any = None
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The best pose of every particle, and the class (counted from 0) whose map explains it best."""
    everyone, noise = np.arange(len(data)), data.power_spectrum(np.arange(len(data)))
    best, klass, values = np.full(len(data), np.inf), np.zeros(len(data), np.int64), data.values()
    for k, volume in enumerate(maps):
        found = find_poses(
            data,
            volume,
            data.values(),
            everyone,
            noise,
            Search(2),
            top,
            group,
            np.random.default_rng([seed, k]),
            advance=advance,
        )
        value = misfits(data, data.slicer, volume, found, everyone, noise)
        better = value < best
        best[better], klass[better] = value[better], k
        for name in ("rotation", "shift"):
            values[name] = np.where(better.reshape(-1, *[1] * (values[name].ndim - 1)), found[name], values[name])
    return values, klass


def memory_of(mixture: Mixture) -> dict[str, Any]:
    """A mixture as plain arrays and numbers."""
    memory: dict[str, Any] = {"resolved": mixture.resolved, "classes": len(mixture.maps)}
    for k, (volume, estimate) in enumerate(zip(mixture.maps, mixture.estimates, strict=True)):
        memory[f"map{k}"], memory[f"share{k}"] = volume, estimate.share
        for h, (d, w) in enumerate(estimate.sums):
            memory[f"data{k}{h}"], memory[f"weight{k}{h}"] = to_numpy(d), to_numpy(w)
    return memory


def mixture_from(memory: dict[str, Any]) -> Mixture:
    """The way back."""
    maps, estimates = [], []
    for k in range(memory["classes"]):
        maps.append(memory[f"map{k}"])
        sums = [(memory[f"data{k}{h}"], memory[f"weight{k}{h}"]) for h in range(2)]
        estimates.append(Estimate(sums, memory[f"share{k}"]))
    return Mixture(maps, estimates, memory["resolved"])
