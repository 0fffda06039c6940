"""Adam in place at those of many voxels that a draw has met: for volumes too large to be gone through at every step."""

from __future__ import annotations

import numpy as np

from tomodiff.array import Array, namespace, zeros_like
from tomodiff.kernels import kernel, lanes

BLOCK = 128


class ListedAdam:
    """Steps of Adam (Kingma and Ba 2015, alg. 1) of `x` (..., channels), which changes in place.

    gradient (copies, ..., channels) is what draws are added to; a step uses its sum over the copies and leaves zeros.
    Only voxels that are `listed` (n,), as flat numbers, and that the gradient meets are moved; the others rest, and
    their averages with them.  `Adam` is the solver for functionals; this one costs what a draw has touched.
    """

    def __init__(
        self,
        x: Array,
        gradient: Array,
        listed: Array,
        betas: tuple[float, float] = (0.9, 0.99),
        least: float = 1e-10,
        mean: Array | None = None,
        square: Array | None = None,
        steps: int = 0,
    ) -> None:
        xp = namespace(x)
        if gradient.shape[1:] != x.shape:
            raise ValueError(f"ListedAdam: gradient: expected (copies, *{x.shape}), got {gradient.shape}")
        self.x, self.gradient, self.betas, self.least, self.steps = x, gradient, betas, least, steps
        self.mean = zeros_like(x) if mean is None else mean
        self.square = zeros_like(x) if square is None else square
        self.listed = xp.ascontiguousarray(xp.asarray(listed), dtype="int32")

    def step(self, rates: np.ndarray) -> None:
        """One move, at `rates` (channels,), in the unit of x."""
        xp, self.steps = namespace(self.x), self.steps + 1
        channels, count = self.x.shape[-1], len(self.listed)
        own = xp.ascontiguousarray(xp.asarray(rates, self.x.dtype))
        if own.shape != (channels,):
            raise ValueError(f"ListedAdam: rates: expected ({channels},), got {own.shape}")
        block = 1 if xp is np else BLOCK
        settled = (1 - beta**self.steps for beta in self.betas)
        arrays = (self.x, self.gradient, self.mean, self.square, self.listed, own)
        sizes = (count, self.x.size // channels, channels, len(self.gradient), *self.betas, *settled, self.least)
        run = kernel("adam_step", xp, str(self.x.dtype))
        run((-(-count // (block * lanes(xp))),), (block,), (*arrays, *sizes))
