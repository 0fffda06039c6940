"""Poses, shifts and CTF of particles together with the map, in rounds of two independent half sets.

Local: from the poses in the file, within a normal belief about how far they are off.  Global: from a map at low
resolution, by exhaustive search, then locally.  CTF parameters follow once the poses have settled.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.errors import ConfigError
from tomodiff.geometry.symmetry import point_group
from tomodiff.recipes.checkpoints import Checkpoints
from tomodiff.recipes.cryoem.align import Prior
from tomodiff.recipes.cryoem.data import ParticleData
from tomodiff.recipes.cryoem.globally import Search, global_round, start_from
from tomodiff.recipes.cryoem.halves import divided_halves, half_sets, reconstruct_halves
from tomodiff.recipes.cryoem.optics import GROUP_PARAMETERS, refine_defocus, refine_groups
from tomodiff.recipes.cryoem.output import keep_directions, keep_round, mask_of, write_results
from tomodiff.recipes.cryoem.passes import passes
from tomodiff.recipes.cryoem.rounds import Round, first_round, next_round
from tomodiff.recipes.cryoem.source import check_memory, need_poses, particles_of_job, reference_map
from tomodiff.recipes.cryoem.view import view_of
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run

GLOBAL_ROUNDS = 4
LOCAL_ROUNDS = 6
AFTER_GLOBAL = 3
"""Local rounds that follow a global search."""
SETTLED = 0.1
"""Degrees by which poses move on average in a round after which local refinement is done."""


def refine(settings: Any, run: Run, progress: Progress) -> None:
    """The map and the particles of a `cryoem-refine` job."""
    chosen = settings.refinement
    with progress.stage("read metadata"):
        particles = particles_of_job(settings, run)
        if chosen.mode == "local":
            need_poses(particles, settings.input.path, "start; local refinement does")
        elif chosen.reference is None:
            raise ConfigError("refinement.reference: missing, and needed for a global search (a map, see abinitio)")
    view = view_of(chosen, particles)
    check_memory(run, particles, particles.box, view.padding, view.dtype)
    job = Refinement(settings, run, progress, ParticleData(particles, view, run.comm))
    with run.interruptible():
        state = job.run_rounds()
    if not run.comm.leads:
        return
    mask = mask_of(chosen.mask, state.halves, job.data)
    with progress.stage("validate and write"):
        write_results(
            run, job.data, state.halves, state.values, state.half, mask=mask, sharpen=chosen.sharpen, rng=job.rng
        )  # fmt: skip
        run.record(mode=chosen.mode, symmetry=chosen.symmetry, rounds=state.number)


class Refinement:
    """The plan of one job: which kind of round comes when; every round ends in a checkpoint's reach."""

    def __init__(self, settings: Any, run: Run, progress: Progress, data: ParticleData) -> None:
        self.chosen, self.run, self.progress, self.data = settings.refinement, run, progress, data
        self.group = point_group(self.chosen.symmetry)
        self.seed = settings.seed
        self.rng = np.random.default_rng(settings.seed)
        self.half = half_sets(data.particles.half, self.rng)
        self.checkpoints = Checkpoints(run, "cryoem-refine")
        self.start = data.values()
        pixel = data.particles.pixel
        self.prior = Prior(
            self.start["rotation"], self.start["shift"], np.deg2rad(self.chosen.local_sigma_deg),
            self.chosen.local_sigma_px * pixel,
        )  # fmt: skip

    @property
    def plan(self) -> list[str]:
        """The kinds of the rounds, in order."""
        if self.chosen.mode == "global":
            return ["global"] * GLOBAL_ROUNDS + ["local"] * (self.chosen.iterations or AFTER_GLOBAL)
        return ["local"] * (self.chosen.iterations or LOCAL_ROUNDS)

    def run_rounds(self) -> Round:
        """All rounds, from the start or from a checkpoint."""
        state, done = self.first()
        plan = self.plan
        for number in range(done, len(plan)):
            before = state.values["rotation"]
            state = self.round(plan[number], state, number)
            moved = _mean_turn(before, state.values["rotation"])
            self.say(state, number + 1, moved)
            settled = plan[number] == "local" and moved < SETTLED
            ends = settled or number + 1 == len(plan)
            memory = {"half": state.half, "noise": state.noise, "number": number + 1}
            self.checkpoints.after(number + 1, state.values, memory, last=ends)
            if ends:
                break
        if self.refines_optics:
            state = self.refine_optics(state)
        return state

    def first(self) -> tuple[Round, int]:
        """The state before the first round that is left to do, and how many are done."""
        found = self.checkpoints.resume(len(self.data))
        if found is not None:
            done, values, memory = found
            noise, half = memory["noise"], memory["half"]
            with passes(self.progress, "reconstruct", self.data) as advance:
                halves = reconstruct_halves(self.data, values, half, noise, self.group, advance=advance)
            return Round(values, half, noise, halves, done), done
        if self.chosen.mode == "local":
            with passes(self.progress, "reconstruct", self.data) as advance:
                return first_round(self.data, self.start, self.half, self.group, advance=advance), 0
        reference = reference_map(self.chosen.reference, self.data.particles)
        with passes(self.progress, "first search", self.data) as advance:
            return start_from(
                self.data,
                reference,
                self.half,
                self.group,
                self.search,
                self.chosen.initial_low_pass_a,
                self.rng,
                advance,
            ), 0

    @property
    def search(self) -> Search:
        """How widely a global round looks."""
        return Search(self.chosen.healpix_order, self.chosen.shift_range_px, self.chosen.shift_step_px)

    def round(self, kind: str, state: Round, number: int) -> Round:
        """One round of a kind; the numbers at random depend on the round alone, so that a resumed run repeats them."""
        rng = np.random.default_rng([self.seed, number])
        with passes(self.progress, f"round {number + 1}, {kind}", self.data, 1 if kind == "global" else 2) as advance:
            if kind == "global":
                return global_round(self.data, state, self.group, self.search, rng, advance)
            prior = self.prior
            if self.chosen.mode == "global":
                prior = Prior(state.values["rotation"], state.values["shift"], self.prior.turn, self.prior.move)
            return next_round(self.data, state, self.group, advance, prior=prior)

    @property
    def refines_optics(self) -> bool:
        """Whether anything of the CTF is to be refined."""
        return bool(self.chosen.refine_defocus or self.groups) and self.data.particles.has_ctf

    @property
    def groups(self) -> tuple[str, ...]:
        """What of the optics groups is to be refined."""
        return tuple(name for name in GROUP_PARAMETERS if getattr(self.chosen, f"refine_{name}", False))

    def refine_optics(self, state: Round) -> Round:
        """CTF parameters against the half maps, then poses once more."""
        references = divided_halves(self.data, state.halves)
        values = state.values
        with self.progress.stage("refine CTF"):
            if self.groups:
                values = refine_groups(self.data, references, values, state.half, state.noise, self.groups)
            if self.chosen.refine_defocus:
                for h, reference in zip((1, 2), references, strict=True):
                    index = np.flatnonzero(state.half == h)
                    values = refine_defocus(
                        self.data, reference, values, index, state.noise, self.chosen.refine_astigmatism
                    )
            halves = reconstruct_halves(self.data, values, state.half, state.noise, self.group)
        state = Round(values, state.half, state.noise, halves, state.number)
        return self.round("local", state, state.number)

    def say(self, state: Round, number: int, moved: float) -> None:
        """Keep and show how far it has come."""
        n, voxel = self.data.operator.size, self.data.operator.voxel
        shell = max(state.resolved, 1)
        self.run.log_metrics({"iteration": number, "resolution_a": n * voxel / shell, "mean_turn_deg": moved})
        keep_round(self.run, number, state.halves.fsc, voxel)
        keep_directions(self.run, state.values["rotation"])
        self.run.show(state.halves.map, (voxel,) * 3, "density", "arbitrary")
        self.progress.note(f"round {number}: {n * voxel / shell:.2f} angstrom, poses moved by {moved:.2f} degrees")


def _mean_turn(a: np.ndarray, b: np.ndarray) -> float:
    """Degrees between two sets of rotations, root mean square."""
    from tomodiff.geometry.poses import angle_between

    return float(np.rad2deg(np.sqrt(np.mean(angle_between(a, b) ** 2))))
