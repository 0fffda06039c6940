"""Rounds of refinement that look for poses everywhere: exhaustive search at low resolution, the best then refined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tomodiff.analytic.shells import filtered, low_pass
from tomodiff.geometry.orientations import so3_grid
from tomodiff.projectors.slicer import Slicer
from tomodiff.recipes.cryoem.align import align, likelihood_weights
from tomodiff.recipes.cryoem.bound import Bound
from tomodiff.recipes.cryoem.data import ParticleData
from tomodiff.recipes.cryoem.halves import divided_halves, on_device, reconstruct_halves
from tomodiff.recipes.cryoem.rounds import LOWEST, MARGIN, Round, Values, residual_noise
from tomodiff.recipes.cryoem.search import search, shift_grid
from tomodiff.solvers.levenberg import Levenberg

SHELLS_OF_ORDER = {0: 3.0, 1: 5.0, 2: 8.0, 3: 14.0, 4: 24.0}
"""HEALPix order of a grid of orientations -> the largest shell whose features it samples: about 1 / angular step."""


@dataclass(frozen=True)
class Search:
    """How widely to look: HEALPix order of the grid at most, shifts in pixels, candidates kept for each image."""

    order: int = 3
    shift_range: float = 5.0
    shift_step: float = 1.0
    keep: int = 8


def order_for(shell: float, most: int) -> int:
    """The coarsest grid that samples features of this shell, of order 1 at least and `most` at most."""
    enough = (order for order, sampled in SHELLS_OF_ORDER.items() if order >= 1 and sampled >= shell)
    return min(next(enough, most), most)


def find_poses(
    data: ParticleData, reference: np.ndarray, values: Values, index: np.ndarray, noise: np.ndarray, chosen: Search,
    top: float, group: np.ndarray, rng: np.random.Generator, scale_free: bool = False,
    advance: Callable[[int], None] | None = None,
) -> Values:  # fmt: skip
    """Poses and shifts of particles `index` against one map, wherever they are.

    top: the largest frequency to look at, in steps of the images' transforms; the grid is turned at random, so that its
    errors do not add up from round to round.
    """
    order = order_for(top, chosen.order)
    grid = so3_grid(order, group=group if len(group) > 1 else None, rng=rng)
    pixel = data.particles.pixel
    shifts = shift_grid(chosen.shift_range * pixel, chosen.shift_step * pixel)
    centred = values | {"shift": np.zeros_like(values["shift"])}
    everyone, index = index, data.mine(index)
    low = min(top, SHELLS_OF_ORDER[order])
    found = search(
        data, reference, centred, index, noise, grid, shifts, low, chosen.keep, scale_free=scale_free, advance=advance
    )
    rotation, shift = values["rotation"].copy(), values["shift"].copy()
    if scale_free:
        rotation[index], shift[index] = grid[found.rotation[:, 0]], found.shift[:, 0]
        rotation[everyone], shift[everyone] = data.joined(rotation[index]), data.joined(shift[index])
        return values | {"rotation": rotation, "shift": shift}
    spectrum = data.operator.spectrum.forward(on_device(reference, data))
    slicer = Slicer(data.operator.spectrum, data.box, top, data.operator.ctf, data.slicer.ewald, unique=True)
    weights = likelihood_weights(noise, data.view.dtype)
    bound, at = Bound(data, slicer, spectrum, noise, low, top), 0
    for part, F in data.batches(index):
        rows = slice(at, at + len(part))
        at += len(part)
        rotation[part], shift[part] = grid[found.rotation[rows, 0]], found.shift[rows, 0]
        still = bound.open(part, F, values | {"rotation": rotation, "shift": shift}, found.score[rows])
        image_of, which = np.nonzero(still)
        own = {name: v[part][image_of] for name, v in values.items()}
        own |= {"rotation": grid[found.rotation[rows][still]], "shift": found.shift[rows][still]}
        refined = align(slicer, spectrum, data, F, part, own, weights, Levenberg(8), image_of)
        value = np.full(still.shape, np.inf)
        value[image_of, which] = refined.value
        best = (np.cumsum(still.ravel()) - 1).reshape(still.shape)[np.arange(len(part)), value.argmin(1)]
        rotation[part], shift[part] = refined.rotation[best], refined.shift[best]
    rotation[everyone], shift[everyone] = data.joined(rotation[index]), data.joined(shift[index])
    return values | {"rotation": rotation, "shift": shift}


def global_round(
    data: ParticleData, state: Round, group: np.ndarray, chosen: Search, rng: np.random.Generator,
    advance: Callable[[int], None] | None = None,
) -> Round:  # fmt: skip
    """Find the poses of each half anew against its own map."""
    values = state.values
    top = float(np.clip(state.resolved + MARGIN, LOWEST, data.slicer.r_max))
    references = divided_halves(data, state.halves)
    for h, reference in zip((1, 2), references, strict=True):
        index = np.flatnonzero(state.half == h)
        values = find_poses(data, reference, values, index, state.noise, chosen, top, group, rng, advance=advance)
    noise = residual_noise(data, state, values, references)
    halves = reconstruct_halves(data, values, state.half, noise, group)
    return replace(state, values=values, noise=noise, halves=halves, number=state.number + 1)


def start_from(
    data: ParticleData, reference: np.ndarray, half: np.ndarray, group: np.ndarray, chosen: Search, resolution: float,
    rng: np.random.Generator, advance: Callable[[int], None] | None = None,
) -> Round:  # fmt: skip
    """The first round from a map of unknown scale, filtered to `resolution` angstrom: poses by correlation."""
    noise = data.background_spectrum(np.arange(len(data)))
    shell = data.operator.voxel * data.operator.size / resolution
    top = float(
        np.clip(
            shell * data.box * data.particles.pixel / (data.operator.size * data.operator.voxel), 2, data.slicer.r_max
        )
    )
    reference = filtered(reference, low_pass(resolution, data.operator.voxel, data.operator.size))
    values = find_poses(
        data,
        reference,
        data.values(),
        np.arange(len(data)),
        noise,
        chosen,
        top,
        group,
        rng,
        scale_free=True,
        advance=advance,
    )
    halves = reconstruct_halves(data, values, half, noise, group)
    return Round(values, half, noise, halves)
