"""Isotropic total variation of images and volumes, by the kernels of `cuda_kernels/tv.cu`.

TV(x) = sum over voxels of |D x|, D the forward differences over the spacing of each axis, zero across the border. The
sum is plain (no cell volumes): with spacing 1 it counts differences between voxels, with a spacing in mm it is in
units of x per mm. An infinite spacing decouples an axis, so that `spacing=(inf, 1, 1)` denoises slice by slice.
"""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from tomodiff.array import Array, inner, namespace
from tomodiff.core import Functional
from tomodiff.kernels import kernel, lanes

CHECK_EVERY = 5
"""Dual iterations between two looks at the duality gap, which costs about one iteration."""
PLANES = 16
"""Planes summed up by one thread: TV_PLANES of tv.cu."""
MOMENTUM = 4
"""The a of Chambolle and Dossal's sequence; theirs converges for a > 2, larger is steadier and slower at first."""
_GPU_BLOCK = (64, 4, 1)


class _Stencil:
    """The shape of an image or volume as the kernels see it, the weights 1/spacing, and launches over its voxels."""

    def __init__(self, x: Array, spacing: Any, where: str) -> None:
        if x.ndim not in (1, 2, 3) or x.dtype.name not in ("float32", "float64") or not x.flags.c_contiguous:
            layout = "" if x.flags.c_contiguous else ", not C-contiguous"
            raise TypeError(
                f"{where}: x: expected a C-contiguous float32 or float64 array of 1 to 3 axes, "
                f"got {x.dtype} of shape {x.shape}{layout}"
            )
        steps = (float(spacing),) * x.ndim if isinstance(spacing, Real) else tuple(float(s) for s in spacing)
        if len(steps) != x.ndim or not all(s > 0 for s in steps):
            raise ValueError(f"{where}: spacing: expected {x.ndim} numbers > 0 for shape {x.shape}, got {spacing}")
        self.shape = (1,) * (3 - x.ndim) + x.shape
        self.weights = (0.0,) * (3 - x.ndim) + tuple(1 / s for s in steps)
        self.xp, self.precision = namespace(x), x.dtype.name

    @property
    def norm_squared(self) -> float:
        """An upper bound of |D|^2: 4 sum 1/spacing^2 over the axes with more than one voxel."""
        return 4 * sum(w * w for n, w in zip(self.shape, self.weights, strict=True) if n > 1)

    def dual(self) -> Array:
        """A zero dual field."""
        return self.xp.zeros((3, *self.shape), self.precision)

    def run(self, name: str, arrays: tuple[Array, ...], *scalars: float) -> None:
        """Launch a kernel with one thread for every `lanes` voxels of a row."""
        nz, ny, nx = self.shape
        self._launch(name, nz, (*arrays, nz, ny, nx, *self.weights, *scalars))

    def total(self, name: str, arrays: tuple[Array, ...], *scalars: float) -> float:
        """The sum that a kernel takes over blocks of planes, finished in double precision."""
        nz, ny, nx = self.shape
        slabs = -(-nz // PLANES)
        sums = self.xp.empty((slabs, ny, nx), self.precision)
        self._launch(name, slabs, (*arrays, sums, nz, ny, nx, *self.weights, *scalars))
        return float(sums.sum(dtype=np.float64))

    def _launch(self, name: str, depth: int, args: tuple[Any, ...]) -> None:
        block = (1, 1, 1) if self.xp is np else _GPU_BLOCK
        across = -(-self.shape[2] // lanes(self.xp))
        grid = (-(-across // block[0]), -(-self.shape[1] // block[1]), -(-depth // block[2]))
        kernel(name, self.xp, self.precision)(grid, block, args)


class TotalVariation(Functional):
    """TV(x), with the constraint low <= x <= high where bounds are given, and its exact proximal map.

    The prox is the fast gradient projection of Beck and Teboulle (2009, IEEE TIP 18, 2419, section IV) on the dual
    problem, with the momentum (k - 1)/(k + 4) of Chambolle and Dossal (2015, J. Optim. Theory Appl. 166, 968). It ends
    after `iterations`, or sooner (looking every five) once the duality gap proves |z - exact| <= accuracy * |x|; the
    true error is often ten times smaller. Rounding adds about n * step * 1e-7 across a plateau of n voxels in float32.
    `prox_warm` starts from the dual field of the call before and leaves {"dual", "gap", "iterations"}.
    Memory: seven arrays of the size of x during the call, of which z and the three of the dual field are kept.
    """

    def __init__(
        self,
        spacing: Any = 1.0,
        low: float | None = None,
        high: float | None = None,
        iterations: int = 50,
        accuracy: float = 1e-3,
    ) -> None:
        if low is not None and high is not None and not low <= high:
            raise ValueError(f"TotalVariation: expected low <= high, got low={low}, high={high}")
        if iterations < 1 or accuracy < 0:
            raise ValueError(f"TotalVariation: expected iterations >= 1, accuracy >= 0, got {iterations}, {accuracy}")
        self.spacing = spacing
        self.low, self.high = (None if bound is None else float(bound) for bound in (low, high))
        self.iterations, self.accuracy = iterations, accuracy

    @property
    def _bounds(self) -> tuple[float, float]:
        return (-np.inf if self.low is None else self.low, np.inf if self.high is None else self.high)

    def __call__(self, x: Array) -> float:
        low, high = self._bounds
        if x.size and (float(x.min()) < low or float(x.max()) > high):
            return float("inf")
        return _Stencil(x, self.spacing, "TotalVariation").total("tv_value", (x,), 0.0, 0.0)

    def prox(self, x: Array, step: float) -> Array:
        return self.prox_warm(x, step, {})[0]

    def prox_warm(self, x: Array, step: float, memory: dict[str, Any]) -> tuple[Array, dict[str, Any]]:
        stencil = _Stencil(x, self.spacing, "TotalVariation.prox")
        low, high = self._bounds
        step = float(step)
        if not step >= 0:
            raise ValueError(f"TotalVariation.prox: step: expected a number >= 0, got {step}")
        p = memory["dual"].copy() if memory else stencil.dual()
        if step == 0 or stencil.norm_squared == 0:
            return x.clip(low, high), {"dual": p, "gap": 0.0, "iterations": 0}
        q, z = p.copy(), stencil.xp.empty_like(x)
        ascent = 1 / (step * stencil.norm_squared)
        target = 0.5 * self.accuracy**2 * inner(x, x)  # the primal objective is 1-strongly convex
        for k in range(1, self.iterations + 1):
            beta = (k - 1) / (k + MOMENTUM)
            stencil.run("tv_primal", (x, p, q, z), beta, step, low, high)
            stencil.run("tv_dual", (z, p, q), beta, ascent)
            p, q = q, p
            if (self.accuracy and k % CHECK_EVERY == 0) or k == self.iterations:
                stencil.run("tv_primal", (x, p, p, z), 0.0, step, low, high)
                gap = step * stencil.total("tv_gap", (z, p))
                if gap <= target:
                    break
        return z, {"dual": p, "gap": gap, "iterations": k}


class HuberTotalVariation(Functional):
    """TV smoothed near zero: the sum of |d|^2 / (2 eps) where |d| = |D x| <= eps, of |d| - eps/2 beyond.

    Differentiable, for gradient methods; the gradient is Lipschitz with 4 sum(1/spacing^2) / eps. `eps` has the unit
    of D x: choose it well below the gradients of the edges to be kept.
    """

    def __init__(self, eps: float, spacing: Any = 1.0) -> None:
        if not eps > 0:
            raise ValueError(f"HuberTotalVariation: eps: expected a number > 0, got {eps}")
        self.eps, self.spacing = float(eps), spacing
        sizes = (spacing,) * 3 if isinstance(spacing, Real) else spacing
        self.curvature_bound = 4 * sum(1 / float(s) ** 2 for s in sizes) / self.eps

    def __call__(self, x: Array) -> float:
        stencil = _Stencil(x, self.spacing, "HuberTotalVariation")
        return stencil.total("tv_value", (x,), self.eps, 0.5 / self.eps)

    def value_and_grad(self, x: Array) -> tuple[float, Array]:
        gradient = namespace(x).empty_like(x)
        _Stencil(x, self.spacing, "HuberTotalVariation").run("tv_gradient", (x, gradient), self.eps)
        return self(x), gradient
