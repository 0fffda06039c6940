"""Two half maps, their Fourier shell correlation, and the map of all particles that it regularises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from tomodiff.analytic.fsc import fsc
from tomodiff.analytic.masks import soft_sphere
from tomodiff.analytic.wiener import BackProjection
from tomodiff.array import Array, namespace, to_numpy
from tomodiff.recipes.cryoem.data import ParticleData

Advance = Callable[[int], None]
LARGEST_FSC = 0.999
"""Correlations are held below this, so that the signal-to-noise ratio stays finite (RELION)."""


@dataclass(frozen=True, eq=False)
class Halves:
    """Reconstructions from the two half sets (unregularised), all particles (regularised), and the FSC between the
    halves, within a soft sphere that holds the particle."""

    half: tuple[np.ndarray, np.ndarray]
    map: np.ndarray
    fsc: np.ndarray
    sums: tuple[BackProjection, BackProjection]


def half_sets(half: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n,) 1 or 2 for every particle: as the file says, or at random where it does not say it of all."""
    if np.isin(half, (1, 2)).all() and (half == 1).any() and (half == 2).any():
        return half
    made = np.arange(len(half)) % 2 + 1
    return rng.permutation(made)


def back_project(
    data: ParticleData, values: dict[str, np.ndarray], index: np.ndarray, noise: np.ndarray, group: np.ndarray,
    advance: Advance | None = None, particle_weights: np.ndarray | None = None,
) -> BackProjection:  # fmt: skip
    """The sums over some particles.

    Each rank adds its own particles, all get the sums over all.
    noise: (optics groups, shells) E|F|^2; group: point group (m, 3, 3); particle_weights (n,): a factor for each.
    """
    xp = namespace(data.view.device(np.zeros(1, np.float32)))
    sums = BackProjection(data.slicer, group, xp)
    table = (1 / noise).astype(data.view.dtype)
    for part, F in data.batches(data.mine(index), advance):
        groups, weights = data.particles.group[part], table
        if particle_weights is not None:
            weights = (table[groups] * particle_weights[part, None]).astype(data.view.dtype)
            groups = np.arange(len(part))
        sums.add(F, data.records(values, part), xp.asarray(groups.astype(np.int32)), xp.asarray(weights))
    data.comm.sum(sums.sums)
    sums.count = len(index)
    return sums


def reconstruct_halves(
    data: ParticleData, values: dict[str, np.ndarray], half: np.ndarray, noise: np.ndarray, group: np.ndarray,
    fudge: float = 1.0, regularise: bool = True, advance: Advance | None = None, mask: np.ndarray | None = None,
) -> Halves:  # fmt: skip
    """Reconstruct both half sets and all particles."""
    first, second = (back_project(data, values, np.flatnonzero(half == h), noise, group, advance) for h in (1, 2))
    folded = first.folded(), second.folded()
    maps = shared_out(data, folded[0].volume, folded[1].volume)
    curve = correlation((maps[0], maps[1]), data, mask)
    both = folded[0] + folded[1]
    prior = inverse_tau2(both.mean_weight(), curve, fudge) if regularise else None
    return Halves((maps[0], maps[1]), to_numpy(both.volume(prior)), curve, (first, second))


def divided_halves(data: ParticleData, halves: Halves, fudge: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Each half map regularised by itself: what its own particles are compared with."""

    def divided(sums: BackProjection) -> Array:
        folded = sums.folded()
        prior = 2 * inverse_tau2(folded.mean_weight(), halves.fsc, fudge)  # of one half: FSC / (1 - FSC)
        return folded.volume(prior)

    first, second = shared_out(data, *(partial(divided, sums) for sums in halves.sums))
    within = sphere(data.operator.size, data)
    return first * within, second * within


def shared_out(data: ParticleData, *makers: Callable[[], Array]) -> tuple[np.ndarray, ...]:
    """Volumes that do not depend on each other, each made by one rank, for all."""
    comm, shape, dtype = data.comm, (data.operator.size,) * 3, str(data.view.dtype)
    made = [to_numpy(make()) if k % comm.size == comm.rank else None for k, make in enumerate(makers)]
    return tuple(comm.from_rank(volume, k % comm.size, shape, dtype) for k, volume in enumerate(made))


def correlation(maps: tuple[np.ndarray, np.ndarray], data: ParticleData, mask: np.ndarray | None = None) -> np.ndarray:
    """The FSC of two maps within the mask, or within a soft sphere of the particle's diameter."""
    n = maps[0].shape[0]
    if mask is None:
        mask = sphere(n, data)
    return fsc(maps[0] * mask, maps[1] * mask)


def sphere(n: int, data: ParticleData) -> np.ndarray:
    """A soft sphere of the particle's diameter, or that touches the faces of the volume."""
    outer = n / 2 - 1 if data.view.diameter is None else min(data.view.diameter / 2 / data.operator.voxel, n / 2 - 1)
    edge = min(5.0, outer / 4)
    return soft_sphere(n, outer - edge, edge)


def inverse_tau2(weight: np.ndarray, curve: np.ndarray, fudge: float = 1.0) -> np.ndarray:
    """1 / tau^2 of each shell in the units of `weight`, from the FSC of half sets: tau^2 weight is the ratio
    2 FSC / (1 - FSC) of signal to noise power in the map of all particles (Scheres 2012, eq. 10)."""
    held = np.clip(curve, 1e-3, LARGEST_FSC)
    ratio = fudge * 2 * held / (1 - held)
    count = min(len(weight), len(held))
    seen = np.maximum(weight, 1e-2 * weight.max())  # what no image tells is held by the prior alone
    made = 1e3 * seen
    made[:count] = seen[:count] / ratio[:count]
    made[0] = 0
    return np.maximum(made, 1e-12 * max(float(weight.max()), 1e-30))


def on_device(volume: np.ndarray, data: ParticleData) -> Array:
    """A map where the data are, in their precision."""
    return data.view.device(np.ascontiguousarray(volume, data.view.dtype))
