"""Non-uniform Fourier transforms: images and volumes to samples of their spectrum anywhere, and the exact transpose."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import ceil, log, log2, log10, pi, sqrt
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tomodiff.array import Array, fft_of, namespace
from tomodiff.kernels import host_threads, kernel, lanes, preferred
from tomodiff.projectors.mri.fourier import Fourier
from tomodiff.projectors.spectrum import fft_workers

Floats = NDArray[np.float64]

OVERSAMPLINGS = (1.25, 1.5, 2.0)
"""How much finer than the image's spectrum the grid may be: a coarse one wants more taps, a fine one longer FFTs."""
TAP_COST = 2.0
"""Seconds that one tap of one sample takes over those of one step of an FFT (n log2 n of them), about."""
MOST_COARSE = 150
"""Taps of a sample up to which the coarsest grid is trusted in single precision."""
PLANES_PER_THREAD = 4
"""Shares that each CPU thread gets of the transpose, so that none waits long for another."""
NODES = 64
"""Of the Gauss-Legendre rule for the kernel's transform."""
_GPU_BLOCK = 256


class Plan(NamedTuple):
    """How samples hang on the fine grid: see `nufft.cu`.  Axes that an image has not are of one node."""

    fine: tuple[int, int, int]
    taps: tuple[int, int, int]
    start: NDArray[np.int32]
    weights: Floats
    place: NDArray[np.int32]
    before: NDArray[np.int32]
    damping: list[Floats]


class Nufft(Fourier):
    """Images (*leading, *shape), complex -> samples (*leading, sample) at any points k, periodic by a cycle per pixel.

    shape, points, leading: see `Fourier`.  accuracy: relative error against the exact sum (in the norm, of noise), 1e-1
    to 1e-12; single precision ends near 1e-6.  oversampling: None for what is fastest, or a number above 1.
    Interpolation by the exponential of a semicircle between the nodes of an oversampled FFT (Barnett, Magland and af
    Klinteberg 2019, SIAM J. Sci. Comput. 41, C479).  The adjoint is that of these steps, to rounding.
    """

    def __init__(
        self,
        shape: Sequence[int],
        points: Any,
        leading: Sequence[int] = (),
        accuracy: float = 1e-5,
        dtype: str = "complex64",
        oversampling: float | None = None,
    ) -> None:
        super().__init__(shape, points, leading, dtype)
        if not 1e-12 <= accuracy <= 0.1:
            raise ValueError(f"Nufft: accuracy: expected 1e-12 to 0.1, got {accuracy}")
        self.accuracy = float(accuracy)
        self.oversampling = _fastest(self.shape, len(self.points), accuracy) if oversampling is None else oversampling
        if not self.oversampling > 1:
            raise ValueError(f"Nufft: oversampling: expected a number above 1, got {oversampling}")
        self.plan = plan(self.shape, self.points, accuracy, self.oversampling)
        self._there: dict[str, tuple[Array, ...]] = {}

    def sampled(self, images: Array) -> Array:
        xp, channels = namespace(images), images.shape[-1]
        damping = self._arrays(xp)[-1]
        fine = xp.zeros((*self._fine, channels), self.dtype)
        for here, there in self._quarters():
            xp.multiply(images[here], damping[here][..., None], out=fine[there])
        fine = xp.ascontiguousarray(self._transformed(fine))
        out = xp.empty((len(self.points), channels), self.dtype)
        self._launch("nufft_forward", xp, fine.view(self.real), out.view(self.real))
        return out

    def gathered(self, samples: Array) -> Array:
        xp, channels = namespace(samples), samples.shape[-1]
        fine = xp.zeros((*self._fine, channels), self.dtype)
        self._launch(preferred("nufft_adjoint", xp), xp, fine.view(self.real), samples.view(self.real))
        fine = self._transformed(fine, back=True)
        images, damping = xp.empty((*self.shape, channels), self.dtype), self._arrays(xp)[-1]
        for here, there in self._quarters():
            xp.multiply(fine[there], damping[here][..., None], out=images[here])
        return images

    def _launch(self, name: str, xp: ModuleType, grid: Array, samples: Array) -> None:
        """A kernel of `nufft.cu` between the fine grid and samples (sample, channels), both as real numbers."""
        start, weights, place, before, _ = self._arrays(xp)
        channels, points = samples.shape[-1], len(self.points)
        (na, nb, nc), taps = self.plan.fine, self.plan.weights.shape[2]
        sizes = (na, nb, nc, *self.plan.taps, taps, channels)
        if name == "nufft_adjoint_planes":
            planes = max(1, -(-na // (PLANES_PER_THREAD * host_threads())))
            arguments = (grid, start, weights, place, before, samples, *sizes, planes)
            kernel(name, xp, self.real)((-(-na // planes),), (1,), arguments)
            return
        one_channel = lanes(xp) == 1 or name == "nufft_adjoint_atomic"
        block = 1 if xp is np else _GPU_BLOCK
        share = block if one_channel else block * lanes(xp)
        work = points * channels if one_channel else points
        kernel(name, xp, self.real)(
            (-(-work // share),), (block,), (grid, start, weights, place, samples, points, *sizes)
        )

    def _transformed(self, fine: Array, back: bool = False) -> Array:
        xp, axes = namespace(fine), tuple(range(len(self.shape)))
        options = {"axes": axes, "overwrite_x": True, **fft_workers(xp)}
        if back:
            return fft_of(xp).ifftn(fine, norm="forward", **options)
        return fft_of(xp).fftn(fine, **options)

    @property
    def _fine(self) -> tuple[int, ...]:
        """The nodes of the fine grid along the image's axes."""
        return self.plan.fine if len(self.shape) == 3 else (self.plan.fine[0], self.plan.fine[2])

    def _quarters(self) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
        """Which parts of an image go where on the fine grid, whose first node is the image's middle."""
        halves = []
        for n, fine in zip(self.shape, self._fine, strict=True):
            c = n // 2
            halves.append([(slice(c, n), slice(0, n - c)), (slice(0, c), slice(fine - c, fine))])
        made = []
        for part in product(*halves):
            here, there = zip(*part, strict=True)
            made.append((here, there))
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_there": {}}

    def _arrays(self, xp: ModuleType) -> tuple[Array, ...]:
        """What is of the plan on a device."""
        if xp.__name__ not in self._there:
            p = self.plan
            damping = p.damping[0][:, None] * p.damping[-1]
            if len(self.shape) == 3:
                damping = p.damping[0][:, None, None] * p.damping[1][:, None] * p.damping[2]
            self._there[xp.__name__] = (
                xp.asarray(p.start),
                xp.asarray(p.weights.astype(self.real)),
                xp.asarray(p.place),
                xp.asarray(p.before),
                xp.asarray(damping.astype(self.real)),
            )
        return self._there[xp.__name__]


def taps_for(accuracy: float, oversampling: float) -> int:
    """The width of the kernel in nodes (Barnett et al. 2019, eq. 3.12 with their margin)."""
    if oversampling == 2:
        digits = -log10(accuracy)
        return max(2, ceil(digits - 1e-9) + (1 if digits < 7 else 2))
    return max(2, ceil(-log(accuracy) / (pi * sqrt(1 - 1 / oversampling))) + 1)


def shape_parameter(taps: int, oversampling: float) -> float:
    """beta of exp(beta (sqrt(1 - z^2) - 1)), Barnett et al. 2019, eq. 4.5 and section 4.2."""
    return 2.30 * taps if oversampling == 2 else 0.97 * pi * taps * (1 - 0.5 / oversampling)


def _fastest(shape: tuple[int, ...], points: int, accuracy: float) -> float:
    def cost(oversampling: float) -> float:
        nodes = float(np.prod(shape)) * oversampling ** len(shape)
        return nodes * log2(nodes) + TAP_COST * points * taps_for(accuracy, oversampling) ** len(shape)

    # a coarse grid is divided by little at an image's rim, which rounding does not bear with many taps
    return min(OVERSAMPLINGS if taps_for(accuracy, 1.25) ** len(shape) < MOST_COARSE else (1.5, 2.0), key=cost)


def plan(shape: tuple[int, ...], k: Floats, accuracy: float, oversampling: float) -> Plan:
    """The fine grid of an image, and how samples at k (sample, axis) hang on it."""
    from scipy.fft import next_fast_len

    taps = taps_for(accuracy, oversampling)
    beta = shape_parameter(taps, oversampling)
    fine = [next_fast_len(max(ceil(oversampling * n), 2 * taps)) for n in shape]
    at = (k - np.floor(k)) * fine
    first = np.ceil(at - taps / 2)
    z = (first - at)[:, :, None] + np.arange(taps)
    z *= 2 / taps
    weights = np.exp(beta * (np.sqrt((1 - z * z).clip(0, None)) - 1)) * (np.abs(z) <= 1)
    start = (first % fine).astype(np.int32)
    order = np.lexsort(start.T[::-1])
    x, w = np.polynomial.legendre.leggauss(NODES)
    damping = []
    for n, nodes in zip(shape, fine, strict=True):
        r = (np.arange(n) - n // 2) / nodes
        spread = taps / 2 * (w * np.exp(beta * (np.sqrt(1 - x * x) - 1))) @ np.cos(pi * taps * np.outer(x, r))
        damping.append(1 / spread)
    if len(shape) == 2:  # a middle axis of one node
        fine.insert(1, 1)
        start = np.insert(start, 1, 0, axis=1)
        one = np.zeros((len(k), 1, taps))
        one[:, :, 0] = 1
        weights = np.concatenate([weights[:, :1], one, weights[:, 1:]], axis=1)
    before = np.searchsorted(start[order, 0], np.arange(fine[0] + 1)).astype(np.int32)
    return Plan(
        (fine[0], fine[1], fine[2]),
        (taps, taps if len(shape) == 3 else 1, taps),
        np.ascontiguousarray(start[order]),
        np.ascontiguousarray(weights[order]),
        order.astype(np.int32),
        before,
        damping,
    )
