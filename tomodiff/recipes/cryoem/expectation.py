"""Maps from images of unknown pose: expectation over all poses of a grid, maximisation by insertion, in small batches.

Stochastic expectation maximisation (Cappe and Moulines 2009, J. R. Stat. Soc. B 71, 593) of the likelihood of Scheres
(2012, J. Mol. Biol. 415, 406): sums of a batch replace a part of the sums so far.  Both steps are products of matrices.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tomodiff.analytic.wiener import divided, shell_means
from tomodiff.array import Array, namespace, to_numpy
from tomodiff.recipes.cryoem.data import ParticleData
from tomodiff.recipes.cryoem.halves import inverse_tau2
from tomodiff.recipes.cryoem.search import Batch, Points, Templates, as_reals, batches, likelihoods, plain_records


@dataclass(eq=False)
class Estimate:
    """One class's sums over two pseudo halves, each (data, weight) with the layout of the templates' spectrum."""

    sums: list[tuple[Array, Array]]
    share: float = 1.0
    """The part of the particles that belong to the class."""


@dataclass(eq=False)
class Mixture:
    """Maps of one or several classes, and how far their detail is trusted (shells)."""

    maps: list[np.ndarray]
    estimates: list[Estimate] = field(default_factory=list)
    resolved: int = 0


@dataclass(frozen=True, eq=False)
class Stage:
    """A grid of rotations (r, 3, 3), shifts (s, 2) in angstrom, the largest frequency that images are compared to, and
    the largest one of all stages."""

    rotations: np.ndarray
    shifts: np.ndarray
    top: float
    limit: float


def expect_and_maximise(
    data: ParticleData, mixture: Mixture, stage: Stage, index: np.ndarray, noise: np.ndarray, step: float,
    group: np.ndarray, values: dict[str, np.ndarray],
) -> tuple[Mixture, np.ndarray]:  # fmt: skip
    """One batch: the mixture after it, and (m, classes) how probably each particle belongs to each class.

    Each rank looks at its own of the batch's particles, all get the sums.
    step: the part of the sums that the batch replaces, 1 for all of them.
    """
    points = Points.within(data.box, stage.top)
    plan = Templates(data, stage.rotations, points, stage.limit)
    slices = [plan.slices(volume) for volume in mixture.maps]
    xp = namespace(slices[0])
    templates = [as_reals(t) for t in slices]
    powers = [t.real**2 + t.imag**2 for t in slices]
    shares = np.array([e.share for e in mixture.estimates] or [1 / len(slices)] * len(slices))
    classes, r, c = len(slices), len(stage.rotations), len(points.kx)
    numerators = [[xp.zeros((r, 2 * c), data.view.dtype) for _ in range(2)] for _ in range(classes)]
    weights = [[xp.zeros((r, c), data.view.dtype) for _ in range(2)] for _ in range(classes)]
    places = data.mine(np.arange(len(index)))
    belongs = np.zeros((len(places), classes))
    at = 0
    for batch in batches(data, values, index[places], points, stage.shifts, noise, r * classes):
        found = [likelihoods(batch, t, p) for t, p in zip(templates, powers, strict=True)]
        posterior, mine = _posterior(found, shares)
        belongs[at : at + len(mine)] = mine
        for h in range(2):
            chosen = places[at : at + len(mine)] % 2 == h
            for k in range(classes):
                _accumulate(batch, posterior[k], xp.asarray(chosen), numerators[k][h], weights[k][h])
        at += len(mine)
    belongs = data.joined(belongs)
    for sums in (*numerators, *weights):
        for of_half in sums:
            data.comm.sum(of_half)
    new = []
    for k in range(classes):
        fresh = [_inserted(plan, points, numerators[k][h], weights[k][h], group) for h in range(2)]
        old = mixture.estimates[k] if mixture.estimates else None
        sums = _mixed(fresh, old, len(data) / len(index), step)
        share = float(belongs[:, k].mean())
        new.append(Estimate(sums, max(share if old is None else (1 - step) * old.share + step * share, 1e-3)))
    maps, resolved = zip(*(_map_of(plan, e, stage.top) for e in new), strict=True)
    return Mixture(list(maps), new, int(max(resolved))), belongs


def _mixed(
    fresh: list[tuple[Array, Array]], old: Estimate | None, scale: float, step: float
) -> list[tuple[Array, Array]]:
    """The sums of a batch, scaled to all particles, in place of a part of those so far."""
    if old is None:
        return [(scale * d, scale * w) for d, w in fresh]
    new = zip(fresh, old.sums, strict=True)
    return [(step * scale * d + (1 - step) * D, step * scale * w + (1 - step) * W) for (d, w), (D, W) in new]


def _posterior(found: list[Array], shares: np.ndarray) -> tuple[list[Array], np.ndarray]:
    """The probability of every class, shift and rotation of each image, in place of their likelihoods; and of the
    classes alone."""
    xp = namespace(found[0])
    top = xp.stack([f.max((1, 2)) for f in found]).max(0)
    total: Any = 0
    for f, share in zip(found, shares, strict=True):
        f -= top[:, None, None]
        xp.exp(f, out=f)
        f *= float(share)
        total = total + f.sum((1, 2), dtype="float64")
    for f in found:
        f /= total[:, None, None].astype(f.dtype)
    mine = xp.stack([f.sum((1, 2), dtype="float64") for f in found], 1)
    return found, to_numpy(mine)


def _accumulate(batch: Batch, posterior: Array, chosen: Array, numerator: Array, weight: Array) -> None:
    """Add what some of the images say of the slice at each rotation."""
    c = batch.left.shape[-1]
    p = posterior[chosen]
    numerator += p.reshape(-1, p.shape[-1]).T @ batch.left[chosen].reshape(-1, c)
    weight += p.sum(1).T @ batch.power[chosen]


def _inserted(
    plan: Templates, points: Points, numerator: Array, weight: Array, group: np.ndarray
) -> tuple[Array, Array]:
    """Sums over slices, folded: data and weight with the layout of the spectrum."""
    xp, model = namespace(numerator), plan.model
    data, mass = None, None
    for S in group:
        records = xp.asarray(plain_records(model, plan.rotations @ S).astype(model.dtype))
        made = []
        for part in (numerator.view(model.slicer.complex), weight.astype(model.slicer.complex)):
            images = xp.zeros((len(plan.rotations), model.box, model.box // 2 + 1), model.slicer.complex)
            images[:, points.ky % model.box, points.kx] = part
            made.append(model.slicer.adjoint(images, records))
        data = made[0] if data is None else data + made[0]
        mass = made[1].real if mass is None else mass + made[1].real
    assert data is not None and mass is not None
    return model.spectrum.folded(data), model.spectrum.folded(mass)


def _map_of(plan: Templates, estimate: Estimate, top: float) -> tuple[np.ndarray, int]:
    """The map that the pseudo halves' agreement regularises, and the last shell on which they agree."""
    spectrum = plan.model.spectrum
    (a, wa), (b, wb) = estimate.sums
    xp = namespace(a)
    count = spectrum.n // 2 + 1
    one, two = (xp.where(w > 0, d / xp.where(w > 0, w, 1), 0) for d, w in ((a, wa), (b, wb)))

    def mean(values: Array) -> np.ndarray:
        return shell_means(values, spectrum)

    both = np.sqrt(np.maximum(mean(xp.abs(one) ** 2) * mean(xp.abs(two) ** 2), 1e-60))
    curve = mean((one * two.conj()).real) / both
    curve[int(top) + 1 :] = 0
    curve[:2] = np.maximum(curve[:2], 0.99)
    below = np.flatnonzero(curve[1:] < 0.5)
    resolved = int(below[0]) if below.size else count - 1
    weight = wa + wb
    prior = inverse_tau2(mean(weight), curve)
    return to_numpy(divided(spectrum, a + b, weight, prior)), resolved
