"""
A denoiser of mine as a prior
=============================

Anything with `denoise(x, sigma)` can stand where a prior stands: a network, a filter of yours. Here it is a median of
three by three pixels, mixed in by as much as `sigma` says.

Above the pictures stand root mean square errors in 1/mm.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import median_filter

from tomodiff import Grid, ParallelBeam, XRay, fbp
from tomodiff.objective import Gaussian, PlugAndPlay
from tomodiff.simulate import foam
from tomodiff.solvers import Admm, solve


class Median:
    """The middle of three by three pixels, by as much as `sigma` exceeds a hundredth of 0.03 1/mm."""

    def denoise(self, x, sigma):
        part = sigma / (sigma + 3e-4)
        return (1 - part) * x + part * median_filter(x, (1, 3, 3))


scan = ParallelBeam(np.linspace(0, np.pi, 60, endpoint=False), (1, 150), 0.2)
grid = Grid((1, 110, 110), 0.22)
body = foam(np.random.default_rng(3), radius=10.0)
exact = body.project(scan, oversample=3)
data = (exact + np.random.default_rng(0).normal(0, 0.01, exact.shape)).astype(np.float32)

A = XRay(grid, scan)
filtered = fbp(data, scan, grid)
found = solve(Admm(0.3 * PlugAndPlay(Median())), Gaussian(data) @ A, filtered, 15).x

truth = body.voxelise(grid)
figure, all_axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for axes, (name, x) in zip(all_axes, {"truth": truth, "FBP": filtered, "median": found}.items(), strict=True):
    axes.imshow(x[0], cmap="gray", vmin=0, vmax=0.04, origin="lower")
    axes.set(title=f"{name}: {np.sqrt(np.mean((x - truth) ** 2)):.4f}", xticks=[], yticks=[])
plt.show()

# %%
# The same object goes to the solvers `DiffPir` and `ScoreDistillation`'s gradient; networks of PyTorch come by
# `tomodiff.interop`.
