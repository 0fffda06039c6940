"""Maps that vary linearly: every particle shows V0 + sum of z_k V_k, with latent numbers z_k of its own.

Probabilistic principal components by expectation maximisation (Tipping and Bishop 1999, J. R. Stat. Soc. B 61, 611), on
slices as in Punjani and Fleet (2021, J. Struct. Biol. 213, 107702): F_i = f_i P_i (z_i0 V0 + sum_k z_ik V_k) + noise,
z_ik ~ N(0, variance_k).  z_i0, the contrast of the particle, is 1, or as an option ~ N(1, variance_0): a particle in
thicker ice then needs no component of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from tomodiff.analytic.fsc import fsc
from tomodiff.analytic.wiener import FLOOR, by_shell, shell_means
from tomodiff.array import Array, namespace, to_numpy
from tomodiff.projectors.slicer import Slicer
from tomodiff.projectors.spectrum import Spectrum
from tomodiff.recipes.cryoem.data import ParticleData
from tomodiff.recipes.cryoem.halves import inverse_tau2, on_device
from tomodiff.recipes.cryoem.search import Points

Values = dict[str, np.ndarray]
Advance = Callable[[int], None]
CONTRAST = 0.1
"""Standard deviation of the contrast that a model starts with, where it varies at all."""
FIRST_RING = 6.0
"""Frequency, in steps of the images' transforms, up to which components are looked for at first: few numbers, clear."""
WARM = 0.4
"""Part of the iterations in which the frequency grows to its limit, without regularisation."""
LEAST_SHARE = 1e-9
"""Latent variances are held above this part of what the mean map's own would be."""


@dataclass(frozen=True, eq=False)
class LinearModel:
    """maps (k + 1, n, n, n): the mean, and k components of unit norm, orthogonal to each other.

    variance (k + 1,): of the latents, descending from the second on; the first is the contrast's, 0 where it is fixed.
    """

    maps: np.ndarray
    variance: np.ndarray

    def __len__(self) -> int:
        """The number of components."""
        return len(self.maps) - 1

    def at(self, latent: np.ndarray) -> np.ndarray:
        """The map where the latents (k,) are."""
        return np.asarray(self.maps[0] + np.tensordot(latent, self.maps[1:], 1))


@dataclass(frozen=True, eq=False)
class Latents:
    """The posterior of every particle's latents, the contrast first: mean (n, k + 1), covariance (n, k + 1, k + 1)."""

    mean: np.ndarray
    covariance: np.ndarray

    @property
    def second_moment(self) -> np.ndarray:
        """(n, k + 1, k + 1) E[z z']."""
        return np.asarray(self.covariance + self.mean[:, :, None] * self.mean[:, None])

    @property
    def coordinates(self) -> np.ndarray:
        """(n, k) where the particles stand along the components, at unit contrast."""
        return np.asarray(self.mean[:, 1:] / self.mean[:, :1])


# ---- expectation


def expect(
    data: ParticleData, values: Values, model: LinearModel, noise: np.ndarray, slicer: Slicer, index: np.ndarray,
    advance: Advance | None = None,
) -> Latents:  # fmt: skip
    """Where the particles `index` stand, each rank asking for its own.

    noise: (optics groups, shells) E|F|^2; slicer: of the frequencies used.
    """
    points = Points.within(data.box, slicer.r_max)
    spectra = [slicer.spectrum.forward(on_device(volume, data)) for volume in model.maps]
    parts = [(np.zeros((0, len(spectra))), np.zeros((0, len(spectra), len(spectra))))]
    for part, F in _portions(data, data.mine(index), len(spectra) + 1):
        records = data.records(values, part)
        seen = [points.take(F), *(points.take(slicer.images(s, records)) for s in spectra)]
        weight = np.sqrt(2 / noise[data.particles.group[part]][:, points.shell])
        parts.append(posterior(_gram(seen, weight), model.variance))
        if advance:
            advance(len(part))
    return Latents(*(data.joined(np.concatenate(p)) for p in zip(*parts, strict=True)))


def posterior(gram: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (n, q) and covariance (n, q, q) of latents with prior means 1, 0, 0, ... and these variances (q,).

    gram: (n, q + 1, q + 1) weighted inner products of the image, first, and the slices; the likelihood is
    exp(-|image - sum of z_k slice_k|^2 / 2).
    """
    prior = np.zeros(len(variance))
    prior[0] = 1
    free = variance > 0
    fixed = prior * ~free
    G = gram[:, 1:, 1:]
    precision = G[:, free][:, :, free] + np.diag(1 / variance[free])
    right = gram[:, 1:, 0][:, free] - G[:, free] @ fixed + prior[free] / variance[free]
    mean, covariance = np.tile(prior, (len(gram), 1)), np.zeros_like(G)
    inverse = np.linalg.inv(precision)
    mean[:, free] = np.einsum("nij,nj->ni", inverse, right)
    covariance[np.ix_(np.arange(len(gram)), free, free)] = inverse
    return mean, covariance


def _gram(seen: list[Array], weight: np.ndarray) -> np.ndarray:
    """(n, q, q) inner products of q sets of n transforms, each multiplied with the weights."""
    xp = namespace(seen[0])
    scale = xp.asarray(weight.astype(seen[0].real.dtype))
    stack = xp.stack([s * scale for s in seen], 1)
    reals = stack.view(stack.real.dtype)
    return np.asarray(to_numpy(reals @ reals.swapaxes(1, 2)), np.float64)


def _portions(data: ParticleData, index: np.ndarray, arrays: int) -> Iterator[tuple[np.ndarray, Array]]:
    """Transforms in batches so small that several arrays like them fit where one would."""
    each = max(1, data.batch // arrays)
    for start in range(0, len(index), each):
        part = index[start : start + each]
        yield part, data.transforms(part)


# ---- maximisation


@dataclass(eq=False)
class Normal:
    """The normal equations of all maps at every point of a spectrum: weight (q, q) and data (q,) of its half
    transform.  Only the upper triangle of the weights is kept: `weight[k, l]`, k <= l."""

    spectrum: Spectrum
    weight: dict[tuple[int, int], Array]
    data: list[Array]

    def __add__(self, other: Normal) -> Normal:
        weight = {pair: w + other.weight[pair] for pair, w in self.weight.items()}
        return Normal(self.spectrum, weight, [a + b for a, b in zip(self.data, other.data, strict=True)])

    def mean_weight(self, k: int) -> np.ndarray:
        """(n // 2 + 1,) mean weight of map k in each shell of the volume's own transform."""
        return shell_means(self.weight[k, k], self.spectrum)

    def solved(self, prior: list[np.ndarray] | None = None) -> np.ndarray:
        """(q, n, n, n) the maps; prior: 1 / tau^2 (shells,) of each, else a small part of the shell's mean weight."""
        xp = namespace(self.data[0])
        low = {}
        for (k, m), w in self.weight.items():
            low[m, k] = w
            if k == m:
                table = FLOOR * self.mean_weight(k) if prior is None else prior[k]
                held = xp.asarray(np.maximum(table, 1e-12 * max(float(table.max()), 1e-30)), w.dtype)
                low[k, k] = xp.concatenate([w[planes] + own for planes, own in by_shell(self.spectrum, held)])
        found = _cholesky_solved(low, self.data)
        return np.stack([to_numpy(self.spectrum.inverse(f.astype(self.spectrum.range.dtype))) for f in found])


def _cholesky_solved(low: dict[tuple[int, int], Array], right: list[Array]) -> list[Array]:
    """Solve many small positive systems at once: element (i, j), i >= j, is one array over all of them."""
    q = len(right)
    L: dict[tuple[int, int], Array] = {}
    for j in range(q):
        pivot = low[j, j]
        for p in range(j):
            pivot = pivot - L[j, p] ** 2
        tiny = np.finfo(pivot.dtype).eps * low[j, j]  # rounding may leave less than nothing of a dependent map
        L[j, j] = namespace(pivot).sqrt(namespace(pivot).maximum(pivot, tiny))
        for i in range(j + 1, q):
            rest = low[i, j]
            for p in range(j):
                rest = rest - L[i, p] * L[j, p]
            L[i, j] = rest / L[j, j]
    made = list(right)
    for i in range(q):
        for p in range(i):
            made[i] = made[i] - L[i, p] * made[p]
        made[i] = made[i] / L[i, i]
    for i in reversed(range(q)):
        for p in range(i + 1, q):
            made[i] = made[i] - L[p, i] * made[p]
        made[i] = made[i] / L[i, i]
    return made


def gather(
    data: ParticleData, values: Values, latents: Latents, noise: np.ndarray, slicer: Slicer, index: np.ndarray,
    group: np.ndarray, advance: Advance | None = None,
) -> Normal:  # fmt: skip
    """The normal equations of the particles `index`, of all whose latents are given; group: point group (m, 3, 3)."""
    first, second = latents.mean, latents.second_moment
    q, fixed = first.shape[1], bool((first[:, 0] == 1).all() and not latents.covariance[:, 0].any())
    xp = namespace(data.view.device(np.zeros(1, np.float32)))
    s = slicer.spectrum

    def inserted(factor: np.ndarray) -> Array:
        sums = xp.zeros((*s.range.shape, 4), slicer.dtype)
        for part, F in data.batches(data.mine(index), advance):
            own = factor[part, None] / noise[data.particles.group[part]]
            table = xp.asarray(own.astype(slicer.dtype))
            for S in group:
                records = data.records(values | {"rotation": values["rotation"] @ S}, part)
                slicer.insert(sums, F, records, xp.arange(len(part), dtype="int32"), table)
        data.comm.sum(sums)
        return sums

    weight: dict[tuple[int, int], Array] = {}
    right = []
    for k in range(q):
        sums = inserted(first[:, k])
        right.append(s.folded(sums[..., 0] + 1j * sums[..., 1]))
        if fixed:
            weight[0, k] = s.folded(sums[..., 2])
    for k, m in combinations_with_replacement(range(q), 2):
        if (k, m) not in weight:
            weight[k, m] = s.folded(inserted(second[:, k, m])[..., 2])
    return Normal(s, weight, right)


def maximise(
    halves: tuple[Normal, Normal], mask: np.ndarray, common: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Maps (q, n, n, n) from the equations of two halves of the particles, and the FSC (q, shells) between the halves.

    Without `common` the maps are not regularised.  It is the part p (q,) of each map's noise that both halves have in
    common because their latents come from one map (see `persistence`); the FSC that noise alone would then show,
    p^2 / (2 - p^2), is taken off.
    """
    both = halves[0] + halves[1]
    if common is None:
        return both.solved() * mask, np.zeros((len(both.data), both.spectrum.n // 2 + 1))
    parts = [h.solved() * mask for h in halves]
    curves = np.stack([fsc(a, b) for a, b in zip(*parts, strict=True)])
    floor = (common**2 / (2 - common**2))[:, None]
    curves = (curves - floor) / (1 - floor)
    prior = [inverse_tau2(both.mean_weight(k), curve) for k, curve in enumerate(curves)]
    return both.solved(prior) * mask, curves


# ---- the model's own frame


def standardised(maps: np.ndarray, latents: Latents, contrast: bool) -> tuple[LinearModel, Latents]:
    """The same model with orthonormal components along the principal axes of the latents, most variance first, and
    latents of mean zero: what the likelihood leaves free."""
    q = latents.mean.shape[1]
    mean, covariance = latents.mean, latents.covariance
    centre = mean[:, 1:].mean(0) / mean[:, 0].mean()
    shifted = np.eye(q)  # z -> z - centre z_0
    shifted[1:, 0] = -centre
    maps = np.concatenate([maps[:1] + np.tensordot(centre, maps[1:], 1)[None], maps[1:]])
    mean, covariance = mean @ shifted.T, shifted @ covariance @ shifted.T
    flat = maps[1:].reshape(q - 1, -1)
    norms, axes = np.linalg.eigh(flat.astype(np.float64) @ flat.T.astype(np.float64))
    root = np.sqrt(np.maximum(norms, 1e-24 * max(norms.max(initial=0.0), 1e-30)))
    to_orthonormal = root[:, None] * axes.T
    spread = (covariance[:, 1:, 1:] + mean[:, 1:, None] * mean[:, None, 1:]).mean(0)
    variance, turn = np.linalg.eigh(to_orthonormal @ spread @ to_orthonormal.T)
    order = np.argsort(-variance)
    variance, turn = variance[order], turn[:, order]
    change = np.eye(q)
    change[1:, 1:] = turn.T @ to_orthonormal
    components = ((turn.T / root) @ axes.T @ flat).reshape(q - 1, *maps.shape[1:])
    least = LEAST_SHARE * float((maps[0] ** 2).sum())
    own = latents.second_moment[:, 0, 0] - 2 * latents.mean[:, 0] + 1
    variances = np.concatenate([[float(own.mean()) if contrast else 0.0], np.maximum(variance, least)])
    made = LinearModel(np.concatenate([maps[:1], components]).astype(maps.dtype), variances)
    return made, Latents(mean @ change.T, change @ covariance @ change.T)


def random_latents(n: int, components: int, rng: np.random.Generator, contrast: bool = False) -> Latents:
    """Latents drawn from N(0, 1), from which an analysis starts without any notion of the components."""
    mean = np.concatenate([np.ones((n, 1)), rng.normal(size=(n, components))], 1)
    covariance = np.zeros((n, components + 1, components + 1))
    if contrast:
        covariance[:, 0, 0] = CONTRAST**2
    return Latents(mean, covariance)


# ---- the whole analysis


@dataclass(frozen=True, eq=False)
class Analysis:
    """Where an analysis stands after a number of iterations: the model (None at the start), the latents, and the FSC
    (k + 1, shells) of its maps between half sets of particles."""

    model: LinearModel | None
    latents: Latents
    curves: np.ndarray
    iteration: int = 0


def analyse(
    data: ParticleData, values: Values, half: np.ndarray, noise: np.ndarray, group: np.ndarray, mask: np.ndarray,
    start: Analysis, ring: float, iterations: int, contrast: bool = False,
    each: Callable[[Analysis], None] | None = None,
) -> Analysis:  # fmt: skip
    """Go on from `start` until `iterations` are done.

    mask: (n, n, n) where maps may be different from zero; ring: the largest frequency.  `each` is called with the state
    after every iteration.
    """
    spectrum = data.view.operator(data.particles, r_max=ring).spectrum
    state, everyone = start, np.arange(len(data))
    warm = round(WARM * iterations)
    for i in range(start.iteration, iterations):
        now = min(ring, FIRST_RING + (ring - FIRST_RING) * i / max(warm, 1))
        slicer = Slicer(spectrum, data.box, now, data.operator.ctf, data.slicer.ewald, unique=True)
        first, second = (
            gather(data, values, state.latents, noise, slicer, np.flatnonzero(half == h), group) for h in (1, 2)
        )
        known = None if i < warm or state.model is None else persistence(state.model, state.latents)
        maps, curves = maximise((first, second), mask, known)
        model, _ = standardised(maps, state.latents, contrast)
        latents = expect(data, values, model, noise, slicer, everyone)
        state = Analysis(model, latents, curves, i + 1)
        if each is not None:
            each(state)
    return state


def persistence(model: LinearModel, latents: Latents) -> np.ndarray:
    """(k + 1,) the part of each component's noise that comes back in the next iteration: the posterior variance of its
    latents over the prior one; 0 for the mean."""
    left = latents.covariance[:, 1:, 1:].diagonal(0, 1, 2).mean(0) / model.variance[1:]
    return np.concatenate([[0.0], np.clip(left, 0, 1 - 1e-3)])
