"""Several maps and the particles that belong to each: expectation maximisation with poses known or refined locally.

The mixture of Scheres (2012, J. Mol. Biol. 415, 406) without its sums over poses.  Every particle is compared with maps
made from the other half of the particles: one whose noise is part of a map always fits that map best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from tomodiff.array import to_numpy
from tomodiff.prepare.particle_images import shell_power
from tomodiff.projectors.slicer import Slicer
from tomodiff.recipes.cryoem.align import Prior, misfits, refine_poses
from tomodiff.recipes.cryoem.components import Analysis
from tomodiff.recipes.cryoem.data import ParticleData, by_group, rows_of
from tomodiff.recipes.cryoem.halves import (
    Halves,
    back_project,
    correlation,
    divided_halves,
    inverse_tau2,
    on_device,
    sphere,
)
from tomodiff.recipes.cryoem.rounds import LOWEST, MARGIN, RESOLVED, resolved

Values = dict[str, np.ndarray]
Advance = Callable[[int], None]
References = tuple[np.ndarray, np.ndarray]
"""Of one class: what particles of half 1 are compared with, and what those of half 2 are."""

LEAST = 1e-3
"""Particles less probably in a class are left out of its map."""
FEWEST = 1e-3
"""Least share of the particles that a class is thought to have, so that it can grow again."""
STEPS = 4
"""Of the solver for each pose, each time that poses are refined."""
RESTARTS, LLOYD_STEPS = 20, 50


@dataclass(frozen=True, eq=False)
class Classes:
    """Where a classification stands: the maps of every class (empty before the first maximisation), the probability
    (n, k) that each particle belongs to each, its pose in each, and the noise (optics groups, shells) E|F|^2."""

    probability: np.ndarray
    values: tuple[Values, ...]
    noise: np.ndarray
    halves: tuple[Halves, ...] = ()

    @property
    def best(self) -> np.ndarray:
        """(n,) the most probable class of each particle, counted from 0."""
        return np.asarray(self.probability.argmax(1))

    @property
    def shares(self) -> np.ndarray:
        """(k,) the part of the particles in each class."""
        return np.asarray(self.probability.mean(0))

    @property
    def resolved(self) -> int:
        """The last shell on which half maps of any class agree."""
        return max(resolved(h.fsc, RESOLVED) for h in self.halves)

    def chosen_values(self) -> Values:
        """The parameters of every particle in its most probable class."""
        index, best = np.arange(len(self.best)), self.best
        stacked = {name: np.stack([v[name] for v in self.values]) for name in self.values[0]}
        return {name: v[best, index] for name, v in stacked.items()}


def maximise(
    data: ParticleData, state: Classes, half: np.ndarray, group: np.ndarray, advance: Advance | None = None
) -> Classes:
    """The maps of every class from both halves of its particles, regularised by the halves' FSC."""
    sums = []
    for h in (1, 2):
        members = [np.flatnonzero((half == h) & (p > LEAST)) for p in state.probability.T]
        each = zip(state.values, members, state.probability.T, strict=True)
        sums.append([back_project(data, v, index, state.noise, group, advance, p) for v, index, p in each])
    maps = [[to_numpy(s.volume()) for s in of_half] for of_half in sums]
    order = pairing([m * sphere(m.shape[0], data) for m in maps[0]], [m * sphere(m.shape[0], data) for m in maps[1]])
    made = []
    for k, m in enumerate(order):
        pair, curve = (maps[0][k], maps[1][m]), correlation((maps[0][k], maps[1][m]), data)
        both = sums[0][k].folded() + sums[1][m].folded()
        whole = to_numpy(both.volume(inverse_tau2(both.mean_weight(), curve)))
        made.append(Halves(pair, whole, curve, (sums[0][k], sums[1][m])))
    return replace(_renumbered(state, half == 2, order), halves=tuple(made))


def pairing(first: list[np.ndarray], second: list[np.ndarray]) -> np.ndarray:
    """(k,) which class of the second half is which of the first: where the deviations from the mean map agree best."""
    a, b = (np.stack(maps).reshape(len(maps), -1).astype(np.float64) for maps in (first, second))
    agreement = (a - a.mean(0)) @ (b - b.mean(0)).T
    return np.asarray(linear_sum_assignment(-agreement)[1])


def _renumbered(state: Classes, where: np.ndarray, order: np.ndarray) -> Classes:
    """The same state with the classes of some particles in another order."""
    if (order == np.arange(len(order))).all():
        return state
    probability = state.probability.copy()
    probability[where] = probability[where][:, order]
    values = []
    for k, m in enumerate(order):
        own, other = state.values[k], state.values[m]
        values.append({name: _where(where, other[name], v) for name, v in own.items()})
    return replace(state, probability=probability, values=tuple(values))


def _where(chosen: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(chosen.reshape(-1, *[1] * (a.ndim - 1)), a, b)


def expect(
    data: ParticleData, state: Classes, half: np.ndarray, references: list[References], ring: float,
    advance: Advance | None = None,
) -> Classes:  # fmt: skip
    """The probabilities of all particles given one pair of references per class, up to `ring` steps of frequency."""
    misfit = np.zeros(state.probability.shape)
    slicer = Slicer(data.operator.spectrum, data.box, ring, data.operator.ctf, data.slicer.ewald, unique=True)
    for k, (values, pair) in enumerate(zip(state.values, references, strict=True)):
        for h, reference in zip((1, 2), pair, strict=True):
            index = np.flatnonzero(half == h)
            misfit[index, k] = misfits(data, slicer, reference, values, index, state.noise, advance)
    return replace(state, probability=posterior(misfit, state.shares))


def posterior(misfit: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(n, k) probabilities from minus the log-likelihoods (n, k) and the classes' shares (k,)."""
    score = np.log(np.maximum(shares, FEWEST)) - misfit
    weight = np.exp(score - score.max(1, keepdims=True))
    return np.asarray(weight / weight.sum(1, keepdims=True))


def crossed(data: ParticleData, state: Classes, mask: np.ndarray) -> list[References]:
    """For each class, the regularised half maps within a mask, each where the other half is compared with it."""
    return [(second * mask, first * mask) for first, second in (divided_halves(data, h) for h in state.halves)]


def ring_of(data: ParticleData, state: Classes) -> float:
    """The largest frequency that classes can be told apart at."""
    return float(np.clip(state.resolved + MARGIN, LOWEST, data.slicer.r_max))


def aligned(
    data: ParticleData, state: Classes, half: np.ndarray, ring: float, prior: Prior, advance: Advance | None = None
) -> Classes:
    """Poses refined against every class that a particle may belong to, within each half by itself."""
    made = []
    for k, values in enumerate(state.values):
        for h, reference in zip((1, 2), divided_halves(data, state.halves[k]), strict=True):
            index = np.flatnonzero((half == h) & (state.probability[:, k] > LEAST))
            if index.size:
                values, _, _ = refine_poses(data, reference, values, index, state.noise, (ring,), advance, STEPS, prior)
        made.append(values)
    return replace(state, values=tuple(made))


def noise_of(
    data: ParticleData, state: Classes, half: np.ndarray, references: list[References], sample: int = 2000
) -> np.ndarray:
    """(optics groups, shells) mean |image - model|^2, each particle against its most probable class."""
    found, groups = [], []
    chosen = np.arange(len(half))[:: max(1, len(half) // sample)]
    for k, (values, pair) in enumerate(zip(state.values, references, strict=True)):
        for h, reference in zip((1, 2), pair, strict=True):
            spectrum = data.operator.spectrum.forward(on_device(reference, data))
            index, own = chosen[(state.best[chosen] == k) & (half[chosen] == h)], []
            for part, F in data.batches(data.mine(index)):
                own.append(to_numpy(shell_power(F - data.slicer.images(spectrum, data.records(values, part)))))
            found.append(data.joined(rows_of(own, data.box // 2 + 1)))
            groups.append(data.particles.group[index])
    made = by_group(np.concatenate(found), np.concatenate(groups), len(data.particles.optics))
    return np.maximum(made, 1e-6 * made.max())


# ---- starts


def split(analysis: Analysis, classes: int, rng: np.random.Generator) -> np.ndarray:
    """(n, classes) a first assignment, 0 or 1: clusters of the latents of a linear model of the particles."""
    nearest = clusters(analysis.latents.coordinates, classes, rng)
    return np.asarray(np.eye(classes)[nearest])


def clusters(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) the cluster of each point (n, d) by k-means: Lloyd (1982, IEEE Trans. Inf. Theory 28, 129), from the best of
    several starts spread as by Arthur and Vassilvitskii (2007, SODA, 1027)."""
    best, found = np.inf, np.zeros(len(points), int)
    for _ in range(RESTARTS):
        centres = points[rng.integers(len(points))][None]
        while len(centres) < count:
            away = _squares(points, centres).min(1)
            chance = away / away.sum() if away.sum() > 0 else None
            centres = np.concatenate([centres, points[rng.choice(len(points), p=chance)][None]])
        for _ in range(LLOYD_STEPS):
            nearest = _squares(points, centres).argmin(1)
            means = [points[nearest == k].mean(0) if (nearest == k).any() else centres[k] for k in range(count)]
            if np.array_equal(means, centres):
                break
            centres = np.array(means)
        away = _squares(points, centres)
        if away.min(1).sum() < best:
            best, found = float(away.min(1).sum()), away.argmin(1)
    return found


def _squares(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(n, k) squared distances."""
    return np.asarray(((points[:, None] - centres) ** 2).sum(-1))
