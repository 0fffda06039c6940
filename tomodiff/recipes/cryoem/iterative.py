"""A map by preconditioned conjugate gradients: the exact regularised least-squares solution, without gridding weights.

Minimises sum over images and points of |f V(k) - F|^2 / (2 noise) + sum of |V(k)|^2 / (2 tau^2), with the projector's
own adjoint; one pass over the particles' records for each step, over their images only once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tomodiff.analytic.shells import shell_index
from tomodiff.array import Array, fft_of, namespace
from tomodiff.recipes.cryoem.data import ParticleData
from tomodiff.solvers.conjugate import NormalCg
from tomodiff.solvers.state import State

Advance = Callable[[int], None]


class NormalEquations:
    """H and b of some particles; with a point group every image counts in all its equivalent poses."""

    def __init__(
        self, data: ParticleData, values: dict[str, np.ndarray], index: np.ndarray, noise: np.ndarray,
        group: np.ndarray, inverse_tau2: np.ndarray,
    ) -> None:  # fmt: skip
        self.data, self.values, self.index, self.group = data, values, data.mine(index), group
        self.table = data.view.device((1 / noise).astype(data.view.dtype))
        self.prior = data.view.device(self._by_shell(inverse_tau2).astype(data.view.dtype))
        self.half_size = data.operator.size**3 / 2  # |V(k)|^2 summed over half the transform is half of n^3 |x|^2

    def right_hand_side(self, advance: Advance | None = None) -> Array:
        """b = A' W F."""
        xp = namespace(self.table)
        zero = xp.zeros(self.data.operator.spectrum.range.shape, self.data.slicer.complex)
        grown = xp.zeros_like(zero)
        for part, F in self.data.batches(self.index, advance):
            self._add(zero, F, part, grown)
        self.data.comm.sum(grown)
        return -self.data.operator.spectrum.adjoint(grown)

    def __call__(self, x: Array) -> Array:
        """H x = A' W A x + x / tau^2."""
        xp = namespace(x)
        spectrum = self.data.operator.spectrum.forward(x)
        grown = xp.zeros_like(spectrum)
        for start in range(0, len(self.index), self.data.batch):
            self._add(spectrum, None, self.index[start : start + self.data.batch], grown)
        self.data.comm.sum(grown)
        return self.data.operator.spectrum.adjoint(grown) + self.half_size * self._filtered(x, self.prior)

    def preconditioner(self, weight: np.ndarray) -> Callable[[Array], Array]:
        """Division by the mean weight of each shell and the prior (both in the units of `halves.mean_weight`)."""
        held = np.maximum(self._by_shell(weight) * self.data.operator.spectrum.padding**3, 1e-3 * weight.max())
        strength = self.data.view.device((1 / held).astype(self.data.view.dtype))
        filter_ = strength / (1 + self.prior * strength)
        return lambda r: self._filtered(r, filter_) / self.half_size

    def _by_shell(self, curve: np.ndarray) -> np.ndarray:
        """The value of a curve at every point of the volume's transform, that of the last shell in the corners."""
        return curve[np.minimum(shell_index(self.data.operator.size), len(curve) - 1)]

    def _add(self, spectrum: Array, F: Array | None, part: np.ndarray, grown: Array) -> None:
        xp = namespace(spectrum)
        groups = xp.asarray(self.data.particles.group[part].astype(np.int32))
        own = {name: v for name, v in self.values.items()}
        for S in self.group:
            turned = own | {"rotation": self.values["rotation"] @ S}
            records = self.data.records(turned, part)
            self.data.slicer.residual(spectrum, F, records, self.table, groups, None, grown, params=False)

    @staticmethod
    def _filtered(x: Array, window: Array) -> Array:
        fft = fft_of(namespace(x))
        return fft.irfftn(fft.rfftn(x) * window, x.shape).astype(x.dtype)


def conjugate_gradients(
    equations: NormalEquations, weight: np.ndarray, steps: int, b: Array, start: Array | State | None = None,
    each: Callable[[State], None] | None = None, tolerance: float = 1e-3,
) -> State:  # fmt: skip
    """Solve the equations; `start` is a map or a State to go on from."""
    solver = NormalCg(equations, equations.preconditioner(weight))
    if start is None:
        start = namespace(b).zeros_like(b)
    state = start if isinstance(start, State) else solver.start(b, start)
    for reached in solver.iterate(b, state, steps, tolerance):
        state = reached
        if each is not None:
            each(state)
    return state
