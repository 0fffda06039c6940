"""Fit a radiance field to photographs: rays drawn at random, coarse grids before fine ones, empty cells left out.

The density is max(0, v) after interpolation and Adam moves only what a draw has met (Fridovich-Keil et al. 2022, CVPR;
Sun et al. 2022, CVPR, for the activation after interpolation).  No penalty goes through Adam, which would blow up its
gradient wherever no ray passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy import ndimage

from tomodiff.array import namespace, to_numpy
from tomodiff.files.radiance_file import StoredField
from tomodiff.geometry import Grid
from tomodiff.projectors.harmonics import harmonics
from tomodiff.projectors.radiance import RadianceField
from tomodiff.solvers.listed_adam import ListedAdam
from tomodiff.solvers.state import State

STOP = 1e-3
"""Share of the background at which a ray ends, while fitting."""
BEGIN = 0.26
"""Optical depth of the box's longest side at the start."""
THIN = 0.13
"""The same, for a density below which a voxel counts as empty."""
REFRESH = 200
"""Steps between looks at which cells are empty."""
WARM = 30
"""Steps over which the rates rise after each change of grid."""
FALL = 0.15
"""Rates at the end, over those at the start."""
BACKGROUND_DEGREE = 2
BACKGROUND_TERMS = (BACKGROUND_DEGREE + 1) ** 2
FIRST_COLOUR = 0.5 / float(np.sqrt(np.pi))
"""The spherical harmonic of degree 0."""


class Drawn(Protocol):
    """What rays are drawn from."""

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, Any]:
        """Origins and directions (n, 3), and colours (n, 3), or a function that makes them of those that are seen."""


@dataclass(frozen=True)
class Plan:
    """How a field is fitted.  rates: of the density, in optical depths of the box's longest side, and of the colours.
    stages: (part of the steps, part of the voxels along an axis, factor on the rates)."""

    steps: int = 2500
    rays: int = 8000
    degree: int = 1
    rates: tuple[float, float] = (3.9, 0.03)
    stages: tuple[tuple[float, float, float], ...] = ((0.35, 0.5, 1.0), (0.65, 1.0, 0.5))
    seed: int = 0


@dataclass
class Fit:
    """A field (z, y, x, 1 + 3 K) on its grid, what is behind it (9, 3) in harmonics, and how far it has come."""

    grid: Grid
    field: Any
    background: np.ndarray
    adam: ListedAdam
    step: int = 0
    error: float = float("nan")
    averages: tuple[np.ndarray, np.ndarray] | None = None
    occupied: np.ndarray | None = None

    @property
    def psnr(self) -> float:
        """Of the rays of the last step, in dB."""
        return -10 * float(np.log10(max(self.error, 1e-12)))

    def state(self) -> State:
        """What a checkpoint holds."""
        x = {"field": self.field, "background": self.background}
        memory = {"mean": self.adam.mean, "square": self.adam.square, "steps": self.adam.steps}
        memory["occupied"] = self.occupied
        if self.averages is not None:
            memory |= {"background_mean": self.averages[0], "background_square": self.averages[1]}
        return State("RadianceFit", x, self.step, memory)


def fit_of(state: State, grids: list[Grid], plan: Plan, xp: Any) -> Fit:
    """The fit of a checkpoint."""
    memory, field = state.memory, xp.asarray(state.x["field"])
    grid = grids[stage_of(plan, max(state.iteration - 1, 0))]
    copies = RadianceField(grid, 1, plan.degree).copies(xp)
    mean, square = xp.asarray(memory["mean"]), xp.asarray(memory["square"])
    adam = ListedAdam(field, copies, np.zeros(0), mean=mean, square=square, steps=int(memory["steps"]))
    fit = Fit(grid, field, to_numpy(state.x["background"]), adam, state.iteration)
    fit.occupied = to_numpy(memory["occupied"])
    if "background_mean" in memory:
        fit.averages = to_numpy(memory["background_mean"]), to_numpy(memory["background_square"])
    return fit


def stored(fit: Fit) -> StoredField:
    """What a file holds of a fit, on the host."""
    return StoredField(fit.grid, to_numpy(fit.field), fit.background)


def stage_of(plan: Plan, step: int) -> int:
    """Which stage a step belongs to."""
    ends = np.cumsum([part for part, _, _ in plan.stages]) / sum(part for part, _, _ in plan.stages)
    return min(int(np.searchsorted(ends * plan.steps, step, side="right")), len(plan.stages) - 1)


def behind(background: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """The colours (ray, 3) of the background in directions (ray, 3)."""
    made: np.ndarray = (0.5 + harmonics(directions, BACKGROUND_DEGREE) @ background).astype(directions.dtype)
    return made


def fitting(rays: Drawn, grids: list[Grid], seen: list[np.ndarray], plan: Plan, learn_background: bool,
            background: np.ndarray, xp: Any = np, start: Fit | None = None) -> Iterator[Fit]:  # fmt: skip
    """Fits after each step, from the start or from one that was taken before; arrays change in place.

    grids: one for each stage.  seen: voxels that may be other than empty, for each of them.  background (9, 3): what is
    behind, or the start of it where it is learnt.
    """
    fit, A = start, None
    begun, stage = 0 if fit is None else fit.step, -1
    for step in range(begun, plan.steps):
        if stage_of(plan, step) != stage:
            stage = stage_of(plan, step)
            grid = grids[stage]
            if fit is None or fit.grid != grid:
                fit = _on(grid, fit, seen[stage], plan, background, xp)
            A = None
        assert fit is not None
        if fit.occupied is None or fit.adam.steps % REFRESH == 0:
            fit.occupied, A = _occupied(fit, seen[stage], first=stage == 0 and fit.adam.steps < REFRESH), None
        if A is None:
            fit.adam.listed = xp.asarray(np.flatnonzero(fit.occupied), "int32")
            A = RadianceField(fit.grid, plan.rays, plan.degree, "relu", stop=STOP, occupied=fit.occupied)
        rng = np.random.default_rng([plan.seed, step])
        origins, directions, pixels = rays.draw(rng, plan.rays)
        origins, directions = xp.asarray(origins), xp.asarray(directions)
        if not callable(pixels):
            pixels = xp.asarray(pixels)
        back = xp.asarray(behind(fit.background, to_numpy(directions)))
        x = {"field": fit.field, "origins": origins, "directions": directions, "background": back}
        value, gradient = A.gradient(x, pixels, into=fit.adam.gradient)
        fit.error = 2 * value / (3 * plan.rays)
        rate = plan.stages[stage][2] * min(1.0, (fit.adam.steps + 1) / WARM) * FALL ** (step / plan.steps)
        density = plan.rates[0] / max(fit.grid.size)
        colours = fit.field.shape[-1] - 1
        fit.adam.step(np.float32(rate) * np.array([density, *[plan.rates[1]] * colours], np.float32))
        if learn_background:
            _learn_background(fit, to_numpy(directions), to_numpy(gradient["background"]), rate * plan.rates[1])
        fit.step = step + 1
        yield fit


def _learn_background(fit: Fit, directions: np.ndarray, gradient: np.ndarray, rate: float) -> None:
    """A step of Adam of the background, by the gradient (ray, 3) in what is behind each ray."""
    g = harmonics(directions, BACKGROUND_DEGREE).T.astype(np.float64) @ gradient
    mean, square = fit.averages or (np.zeros_like(g), np.zeros_like(g))
    mean, square = 0.9 * mean + 0.1 * g, 0.99 * square + 0.01 * g * g
    fit.averages, done = (mean, square), fit.step + 1
    fit.background = fit.background - rate * (mean / (1 - 0.9**done)) / (np.sqrt(square / (1 - 0.99**done)) + 1e-10)


def _on(grid: Grid, before: Fit | None, seen: np.ndarray, plan: Plan, background: np.ndarray, xp: Any) -> Fit:
    """A fit on a grid: the start, or the one before as it is between its voxels."""
    channels = 1 + 3 * (plan.degree + 1) ** 2
    if before is None:
        field = np.zeros((*grid.shape, channels), np.float32)
        field[..., 0] = np.where(seen, BEGIN / max(grid.size), 0)
        step, back = 0, background.copy()
    else:
        field = np.stack(
            [resampled(values, before.grid, grid) for values in np.moveaxis(to_numpy(before.field), -1, 0)], -1
        )
        field[..., 0] *= seen
        step, back = before.step, before.background
    field = xp.asarray(np.ascontiguousarray(field))
    copies = RadianceField(grid, 1, plan.degree).copies(namespace(field))
    averages = None if before is None else before.averages
    return Fit(grid, field, back, ListedAdam(field, copies, np.zeros(0)), step, averages=averages)


def resampled(values: np.ndarray, old: Grid, new: Grid) -> np.ndarray:
    """Values (z, y, x) on another grid, trilinear, those at the rim beyond it."""
    to_old = np.vstack([old.index_from_world, [0, 0, 0, 1]]) @ np.vstack([new.world_from_index, [0, 0, 0, 1]])
    matrix, shift = to_old[2::-1, 2::-1], to_old[2::-1, 3]
    made: np.ndarray = ndimage.affine_transform(values, matrix, shift, new.shape, order=1, mode="nearest")
    return made


def _occupied(fit: Fit, seen: np.ndarray, first: bool) -> np.ndarray:
    """Voxels near which there is something; all that may be, at the start."""
    if first:
        return seen
    dense = to_numpy(fit.field[..., 0]) > THIN / max(fit.grid.size)
    made: np.ndarray = ndimage.maximum_filter(dense, 3) & seen
    return made
