"""Rounds of refinement: poses against the half maps of the round before, new half maps, noise, resolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tomodiff.array import to_numpy
from tomodiff.prepare.particle_images import shell_power
from tomodiff.recipes.cryoem.align import Prior, refine_poses
from tomodiff.recipes.cryoem.data import ParticleData, by_group, rows_of
from tomodiff.recipes.cryoem.halves import Halves, divided_halves, on_device, reconstruct_halves

Values = dict[str, np.ndarray]
Pair = tuple[np.ndarray, np.ndarray]
Advance = Callable[[int], None]

RESOLVED = 0.143
"""FSC of half maps at the resolution (Rosenthal and Henderson 2003)."""
MARGIN = 2
"""Shells beyond the resolution that poses are refined against, as the Wiener filter leaves little there."""
LOWEST = 5
"""Shells that are always looked at."""


@dataclass(frozen=True, eq=False)
class Round:
    """Where a refinement stands after a number of rounds."""

    values: Values
    """Parameters of all particles."""
    half: np.ndarray
    noise: np.ndarray
    """(optics groups, shells) E|F|^2."""
    halves: Halves
    number: int = 0

    @property
    def resolved(self) -> int:
        """The last shell before the FSC first falls below 0.143."""
        return resolved(self.halves.fsc, RESOLVED)


def resolved(curve: np.ndarray, threshold: float) -> int:
    """The last shell before a curve first falls below the threshold."""
    below = np.flatnonzero(curve[1:] < threshold)
    return int(below[0]) if below.size else len(curve) - 1


def first_round(
    data: ParticleData, values: Values, half: np.ndarray, group: np.ndarray, noise: np.ndarray | None = None,
    advance: Advance | None = None,
) -> Round:  # fmt: skip
    """Half maps from the poses as they are."""
    if noise is None:
        noise = data.background_spectrum(np.arange(len(data)))
    return Round(values, half, noise, reconstruct_halves(data, values, half, noise, group, advance=advance))


def next_round(
    data: ParticleData, state: Round, group: np.ndarray, advance: Advance | None = None, rings: int | None = None,
    prior: Prior | None = None,
) -> Round:  # fmt: skip
    """Refine the poses of each half against its own map, reconstruct, and measure the noise anew."""
    values, top = state.values, rings or state.resolved + MARGIN
    top = int(np.clip(top, LOWEST, data.slicer.r_max))
    references = divided_halves(data, state.halves)
    for h, reference in zip((1, 2), references, strict=True):
        index = np.flatnonzero(state.half == h)
        coarse = (max(LOWEST, top // 2), top) if state.number < 2 else (top,)
        values, _, _ = refine_poses(data, reference, values, index, state.noise, coarse, advance, prior=prior)
    noise = residual_noise(data, state, values, references)
    halves = reconstruct_halves(data, values, state.half, noise, group, advance=advance)
    return replace(state, values=values, noise=noise, halves=halves, number=state.number + 1)


def residual_noise(
    data: ParticleData, state: Round, values: Values, references: Pair | None = None, sample: int = 2000
) -> np.ndarray:
    """(optics groups, shells) mean |image - model|^2, each half against its own filtered map (`divided_halves`)."""
    found, group = [], []
    for h, reference in zip((1, 2), references or divided_halves(data, state.halves), strict=True):
        index = np.flatnonzero(state.half == h)
        index = index[:: max(1, 2 * len(index) // sample)]
        spectrum = data.operator.spectrum.forward(on_device(reference, data))
        powers = []
        for part, F in data.batches(data.mine(index)):
            model = data.slicer.images(spectrum, data.records(values, part))
            powers.append(to_numpy(shell_power(F - model)))
        found.append(data.joined(rows_of(powers, data.box // 2 + 1)))
        group.append(data.particles.group[index])
    made = by_group(np.concatenate(found), np.concatenate(group), len(data.particles.optics))
    return np.maximum(made, 1e-6 * made.max())
