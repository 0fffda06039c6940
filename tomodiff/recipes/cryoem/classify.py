"""Particles with poses to several maps: expectation maximisation over classes, and validation of each map."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tomodiff.geometry.symmetry import point_group
from tomodiff.recipes.checkpoints import Checkpoints
from tomodiff.recipes.cryoem import classes as steps
from tomodiff.recipes.cryoem.align import Prior
from tomodiff.recipes.cryoem.class_output import write_classes
from tomodiff.recipes.cryoem.classes import Classes, References
from tomodiff.recipes.cryoem.components import Analysis, analyse, random_latents
from tomodiff.recipes.cryoem.data import ParticleData
from tomodiff.recipes.cryoem.halves import half_sets, sphere
from tomodiff.recipes.cryoem.output import mask_of
from tomodiff.recipes.cryoem.passes import passes
from tomodiff.recipes.cryoem.rounds import Round, first_round, residual_noise, resolved
from tomodiff.recipes.cryoem.source import check_memory, need_poses, particles_of_job, reference_map
from tomodiff.recipes.cryoem.view import view_of
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run

ITERATIONS = 25
SETTLED = 1e-3
"""Part of the particles that change their class in an iteration after which nothing more will happen."""
START_ITERATIONS = 10
"""Of the analysis whose latents divide the particles first."""
START_FSC, START_SHELL = 0.5, 6
"""That analysis sees shells up to where the half maps of all particles agree so well, and these at least."""


def classify(settings: Any, run: Run, progress: Progress) -> None:
    """The maps of a `cryoem-classify` job and the particles with their classes, into the run."""
    chosen = settings.reconstruction
    with progress.stage("read metadata"):
        particles = particles_of_job(settings, run)
        need_poses(particles, settings.input.path, "classify")
    view = view_of(chosen, particles)
    check_memory(run, particles, particles.box, view.padding, view.dtype, chosen.maps)
    job = Classification(settings, run, progress, ParticleData(particles, view, run.comm))
    with run.interruptible():
        state = job.iterate()
    if not run.comm.leads:
        return
    with progress.stage("write"):
        write_classes(run, job.data, state, job.half, job.mask)
        run.record(symmetry=chosen.symmetry)


class Classification:
    """The iterations of one job; every one ends in a checkpoint's reach."""

    def __init__(self, settings: Any, run: Run, progress: Progress, data: ParticleData) -> None:
        self.chosen, self.run, self.progress, self.data = settings.reconstruction, run, progress, data
        self.group, self.seed = point_group(self.chosen.symmetry), settings.seed
        self.half = half_sets(data.particles.half, np.random.default_rng(settings.seed))
        self.checkpoints = Checkpoints(run, "cryoem-classify")
        start, pixel = data.values(), data.particles.pixel
        turn, move = np.deg2rad(self.chosen.local_sigma_deg), self.chosen.local_sigma_px * pixel
        self.prior = Prior(start["rotation"], start["shift"], turn, move)
        with passes(self.progress, "all particles", self.data) as advance:
            self.everyone = first_round(data, start, self.half, self.group, advance=advance)
        mask = mask_of(self.chosen.mask, self.everyone.halves, data)
        self.mask = sphere(data.operator.size, data) if mask is None else mask

    def iterate(self) -> Classes:
        """All iterations, from the start or from a checkpoint; the state has the maps of its own probabilities."""
        state, done = self._first()
        most = self.chosen.iterations or ITERATIONS
        local = self.chosen.align == "local"
        for number in range(done + 1, most + 1):
            before = state.best
            with passes(self.progress, f"iteration {number}", self.data, 3 if local else 2) as advance:
                state = steps.maximise(self.data, state, self.half, self.group, advance)
                references, ring = steps.crossed(self.data, state, self.mask), steps.ring_of(self.data, state)
                if local:
                    state = steps.aligned(self.data, state, self.half, ring, self.prior, advance)
                state = steps.expect(self.data, state, self.half, references, ring, advance)
                state = replace(state, noise=steps.noise_of(self.data, state, self.half, references))
            moved = float((state.best != before).mean())
            self._say(state, number, moved)
            ends = number == most or (moved < SETTLED and not local)
            self._keep(state, number, ends)
            if ends:
                break
        with passes(self.progress, "final maps", self.data) as advance:
            return steps.maximise(self.data, state, self.half, self.group, advance)

    def _first(self) -> tuple[Classes, int]:
        """The state to go on from, and the number of iterations that are done."""
        found = self.checkpoints.resume(len(self.data))
        if found is not None:
            done, arrays, memory = found
            probability = arrays.pop("probability")
            names = [name.partition(" ")[2] for name in arrays if name.startswith("0 ")]
            values = tuple({name: arrays[f"{k} {name}"] for name in names} for k in range(probability.shape[1]))
            self.half = memory["half"]
            return Classes(probability, values, memory["noise"]), done
        everyone = replace(self.everyone, noise=residual_noise(self.data, self.everyone, self.everyone.values))
        count = self.chosen.count
        state = Classes(np.full((len(self.data), count), 1 / count), (everyone.values,) * count, everyone.noise)
        if self.chosen.references:
            maps = [reference_map(path, self.data.particles) for path in self.chosen.references]
            return self._from_maps(state, [(m, m) for m in maps]), 0
        rng = np.random.default_rng([self.seed, 1])
        if self.chosen.start == "random":
            return replace(state, probability=rng.dirichlet(np.ones(count), len(self.data))), 0
        return replace(state, probability=self._divided(everyone, count, rng)), 0

    def _from_maps(self, state: Classes, references: list[References]) -> Classes:
        data = self.data
        ring = data.box * data.particles.pixel / self.chosen.initial_low_pass_a
        with passes(self.progress, "compare with references", self.data, len(references)) as advance:
            ring = float(np.clip(ring, 2, data.slicer.r_max))
            return steps.expect(data, state, self.half, references, ring, advance)

    def _divided(self, everyone: Round, count: int, rng: np.random.Generator) -> np.ndarray:
        """(n, classes) 0 or 1: clusters of the particles along their main components of variability."""
        ring = float(max(START_SHELL, resolved(everyone.halves.fsc, START_FSC)))
        start = Analysis(None, random_latents(len(self.data), count - 1, rng), np.zeros(0))
        with self.progress.stage("divide the particles", total=START_ITERATIONS, unit="it") as stage:
            made = analyse(
                self.data, everyone.values, self.half, everyone.noise, self.group, self.mask, start, ring,
                START_ITERATIONS, each=lambda state: stage.advance(),
            )  # fmt: skip
        return steps.split(made, count, rng)

    def _keep(self, state: Classes, number: int, ends: bool) -> None:
        arrays = {"probability": state.probability}
        arrays |= {f"{k} {name}": v for k, values in enumerate(state.values) for name, v in values.items()}
        self.checkpoints.after(number, arrays, {"half": self.half, "noise": state.noise}, last=ends)

    def _say(self, state: Classes, number: int, moved: float) -> None:
        size = self.data.operator.size * self.data.operator.voxel
        shares = " ".join(f"{100 * s:.0f}" for s in state.shares)
        sure = float(state.probability.max(1).mean())
        self.run.log_metrics({"iteration": number, "changed_class": moved, "probability": sure})
        if state.halves:
            self.run.show(state.halves[0].map, (self.data.operator.voxel,) * 3, "density", "arbitrary")
        self.progress.note(
            f"iteration {number}: {shares} % in the classes, {100 * moved:.1f} % of the particles changed, "
            f"{size / max(state.resolved, 1):.1f} angstrom"
        )
