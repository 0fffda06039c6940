"""From coarse grids to the finest: steps on each, first without cast shadows, at last with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.ndimage import zoom

from tomodiff.array import Element, block_mean
from tomodiff.core import Functional
from tomodiff.recipes.terrain import estimates
from tomodiff.recipes.terrain.preconditioner import TerrainPreconditioner
from tomodiff.recipes.terrain.problem import Precisions, Problem, first_values
from tomodiff.recipes.terrain.scene import Scene
from tomodiff.recipes.terrain.settings import TerrainFitSettings
from tomodiff.recipes.terrain.uncertainty import posterior_of
from tomodiff.solvers import GaussNewton, LbfgsB

COARSEST = 48
"""Elements that a coarse grid has at least along each axis, where it has a choice."""
MOST_LEVELS = 4
WIDE_SUNS_DEG = (3.0, 1.0)
"""Radii of the sun with which cast shadows are first fitted: edges of shadows then have derivatives further away."""
SHADED = 0.002
"""The part of the images in shadow from which that is done."""
ENOUGH = 3e-4
"""Relative decrease of the objective below which the steps on a grid end."""
FIRST_SHARE = 3
"""Steps after which the roughness is estimated anew on a grid."""
PRODUCTS, FORCING = 40, 0.03


@dataclass(frozen=True)
class Stage:
    """A grid `factor` times as coarse as the finest, without cast shadows (sun None) or with those of a sun of this
    radius, degrees."""

    factor: int
    sun: float | None = None

    @property
    def final(self) -> bool:
        """Whether all elements count, those in shadow as well."""
        return self.sun is not None

    def __str__(self) -> str:
        return f"grid / {self.factor}" + (f", sun {self.sun:g} degrees" if self.final else "")


@dataclass
class Found:
    """Where a fit stands: the changes of heights and the albedo over the first one, on the grid of the last stage; the
    small unknowns; the estimates; the stages and steps that are done."""

    change: np.ndarray
    ratio: np.ndarray
    small: dict[str, np.ndarray] = field(default_factory=dict)
    noise: np.ndarray = field(default_factory=lambda: np.zeros(0))
    precisions: Precisions | None = None
    stage: int = 0
    step: int = 0
    total: int = 0
    settled: bool = False
    last: float = np.inf


def plan(scene: Scene, settings: TerrainFitSettings, shaded: float) -> list[Stage]:
    """The stages in order; shaded: the part of the images in shadow."""
    levels = settings.fit.levels
    if levels is None:
        levels = int(np.clip(np.log2(min(scene.shape) / COARSEST) + 1, 1, MOST_LEVELS))
    factors = [2**k for k in range(levels - 1, -1, -1)]
    if min(scene.shape) // factors[0] < 4:
        factors = [f for f in factors if min(scene.shape) // f >= 4]
    sun = settings.light.sun_radius_deg
    wide = WIDE_SUNS_DEG if settings.light.shadows == "penumbra" and shaded >= SHADED else ()
    return [*(Stage(f) for f in factors), *(Stage(1, w) for w in wide if w > 2 * sun), Stage(1, sun)]


class Fitting:
    """A fit under way.  `each(found, stage, metrics)` is called after every step, and may raise to stop it."""

    def __init__(self, scene: Scene, settings: TerrainFitSettings, each: Callable[..., None]) -> None:
        self.settings, self.each = settings, each
        self.scene, self.values = first_values(scene, settings)
        self.dark = estimates.dark(self.scene, settings)
        self.stages = plan(scene, settings, float((self.dark & scene.valid).sum() / max(scene.valid.sum(), 1)))
        wanted = settings.fit.noise
        noise = estimates.image_noise(scene) if wanted == "auto" else np.full(len(scene.names), float(wanted))
        self.first = estimates.first_precisions(settings, self.scene, noise)
        self.found = Found(np.zeros(scene.shape), np.ones(scene.shape), {}, noise, self.first)

    def run(self) -> tuple[Problem, Element]:
        """All stages from where the fit stands; the last problem and what was found of it."""
        for number in range(self.found.stage, len(self.stages)):
            problem, x = self._stage(number)
        return problem, x

    def counted(self, stage: Stage) -> np.ndarray:
        """The elements of images that count in a stage."""
        valid = self.scene.binned(stage.factor).valid
        if stage.final and self.settings.light.shadows != "none":
            return valid
        return valid & ~coarse_any(self.dark, stage.factor)

    @property
    def well_lit(self) -> np.ndarray:
        """(ny, nx) elements that two images show lit (one, if there is one); all, where there are none such."""
        lit = (self.scene.valid & ~self.dark).sum(0) >= min(2, len(self.scene.names))
        return lit if lit.any() else np.ones_like(lit)

    def problem(self, number: int) -> tuple[Problem, dict[str, np.ndarray]]:
        """The problem of a stage, and the values to start from."""
        stage, scene = self.stages[number], self.scene.binned(self.stages[number].factor)
        change, ratio = (resized(a, scene.shape) for a in (self.found.change, self.found.ratio))
        values = self.values | self.found.small
        values |= {"height": scene.height + change, "albedo": scene.albedo * ratio}
        assert self.found.precisions is not None
        shadows = self.settings.light.shadows if stage.final else "none"
        made = Problem(
            scene, self.settings, stage.factor, self.found.noise, self.found.precisions, shadows=shadows,
            sun_radius_deg=stage.sun or 0.0, values=values,
        )  # fmt: skip
        return made, values

    def objective(self, problem: Problem, stage: Stage) -> Functional:
        """What a stage minimises."""
        return problem.objective(self.counted(stage), self.settings.fit.robust_threshold if stage.final else 0.0)

    def _stage(self, number: int) -> tuple[Problem, Element]:
        stage = self.stages[number]
        problem, values = self.problem(number)
        x = problem.start(values)
        first = stage.final and not self.stages[number - 1].final
        if self.found.step == 0 and first and self.settings.fit.noise == "auto":
            valid = self.counted(Stage(stage.factor))
            self.found.noise = estimates.residual_noise(problem, x, valid, self.found.noise)
            problem, values = self.problem(number)
        solver, f = self._solver(problem, stage)
        state, found = solver.start(f, x), self.found
        while found.step < self.settings.fit.max_iterations and not found.settled:
            if found.step == FIRST_SHARE:
                self._estimate(problem, state.x, stage)
                problem.precisions = found.precisions or problem.precisions
                solver, f = self._solver(problem, stage)
            state = solver.step(f, state)
            value = state.metrics["value"]
            found.settled = state.metrics["length"] == 0 or found.last - value < ENOUGH * abs(value)
            self._keep(problem, state.x, number)
            found.last = value if found.step != FIRST_SHARE else np.inf
            self.each(found, stage, state.metrics)
        self._estimate(problem, state.x, stage)
        found.stage, found.step, found.settled, found.last = number + 1, 0, False, np.inf
        return problem, state.x

    def _estimate(self, problem: Problem, x: Element, stage: Stage) -> None:
        assert self.found.precisions is not None
        fit = self.settings.fit
        if "auto" not in (fit.smoothness_weight, fit.albedo_smoothness_weight):
            return
        robust = fit.robust_threshold if stage.final else 0.0
        rng = np.random.default_rng((self.settings.seed, self.found.total))
        drawn = posterior_of(problem, x, self.counted(stage), robust, PRODUCTS).draw(rng)
        self.found.precisions = estimates.updated(self.found.precisions, self.first, problem, x, drawn, self.settings)

    def _solver(self, problem: Problem, stage: Stage) -> tuple[GaussNewton | LbfgsB, Functional]:
        inverse, f = TerrainPreconditioner(problem), self.objective(problem, stage)
        if self.settings.fit.optimiser == "l-bfgs":
            return LbfgsB(problem.bounds(), scale=inverse.root), f
        return GaussNewton(problem.bounds(), precondition=inverse, products=PRODUCTS, forcing=FORCING), f

    def _keep(self, problem: Problem, x: Element, number: int) -> None:
        values = problem.values(x, {})
        if "height" in values:
            self.found.change = values["height"] - problem.scene.height
        if "albedo" in values:
            self.found.ratio = values["albedo"] / np.maximum(problem.scene.albedo, 1e-30)
        self.found.small = {n: a for n, a in values.items() if n not in ("height", "albedo")}
        self.found.stage, self.found.step, self.found.total = number, self.found.step + 1, self.found.total + 1


def coarse_any(mask: np.ndarray, factor: int) -> np.ndarray:
    """Whether any of each block of factor x factor elements is marked."""
    ny, nx = (n // factor for n in mask.shape[-2:])
    blocks = mask[..., : ny * factor, : nx * factor].reshape(*mask.shape[:-2], ny, factor, nx, factor)
    return np.asarray(blocks.any((-3, -1)))


def resized(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A map on a grid that is a power of two finer, by cubics (the last row or column may have to be repeated), or
    coarser, by means."""
    if values.shape[0] >= shape[0]:
        return block_mean(values, values.shape[0] // shape[0])
    factor = round(shape[0] / values.shape[0])
    made = zoom(values, factor, order=3, mode="nearest", grid_mode=True)
    missing = [(0, max(0, n - k)) for n, k in zip(shape, made.shape, strict=True)]
    return np.asarray(np.pad(made, missing, mode="edge")[: shape[0], : shape[1]])


def as_arrays(found: Found) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What a checkpoint holds."""
    p = found.precisions
    assert p is not None
    arrays = {"change": found.change, "ratio": found.ratio}
    numbers = {"stage": found.stage, "step": found.step, "noise": found.noise, "precisions": dict(vars(p))}
    numbers |= {"settled": found.settled, "last": found.last}
    return arrays, numbers | {"small": dict(found.small)}


def from_arrays(arrays: dict[str, np.ndarray], numbers: dict[str, Any], total: int) -> Found:
    """What `as_arrays` packed."""
    return Found(
        arrays["change"], arrays["ratio"], numbers["small"], numbers["noise"], Precisions(**numbers["precisions"]),
        numbers["stage"], numbers["step"], total, numbers["settled"], numbers["last"],
    )  # fmt: skip
