"""
Few views: filtered back projection, least squares, total variation
====================================================================

Thirty views of a fan beam, noisy. Data are exact line integrals of ellipsoids, averaged over each pixel: another model
than the one that reconstructs.

Above the pictures stand root mean square errors in 1/mm.
"""

import matplotlib.pyplot as plt
import numpy as np

from tomodiff import FanBeam, Grid, XRay, fdk
from tomodiff.objective import Gaussian, TotalVariation
from tomodiff.simulate import shepp_logan_3d
from tomodiff.solvers import Cgls, Fista, solve

angles = np.linspace(0, 2 * np.pi, 30, endpoint=False)
scan = FanBeam(angles, 200.0, 300.0, 180, 0.4)  # mm from the source to the axis, to the detector; columns; pixel
grid = Grid((1, 120, 120), 0.36)
head = shepp_logan_3d(radius=20.0, density=0.05)
exact = head.project(scan, oversample=3)
data = (exact + np.random.default_rng(0).normal(0, 0.01, exact.shape)).astype(np.float32)

# %%
# What is minimised is written as it is said: a misfit after the projector, plus a prior.

A = XRay(grid, scan)
misfit = Gaussian(data) @ A
start = fdk(data, scan, grid, window="hann")
tv = solve(Fista(0.004 * TotalVariation(grid.spacing, low=0.0)), misfit, start, 60).x
least_squares = solve(Cgls(), misfit, np.zeros(grid.shape, np.float32), 10).x

# %%
# The truth is the phantom, averaged over each voxel.

truth = head.voxelise(grid)
figure, all_axes = plt.subplots(1, 4, figsize=(12, 3.4), layout="constrained")
for axes, (name, x) in zip(
    all_axes, {"truth": truth, "FDK": start, "CGLS": least_squares, "TV": tv}.items(), strict=True
):
    axes.imshow(x[0], cmap="gray", vmin=0, vmax=0.03, origin="lower")
    axes.set(title=f"{name}: {np.sqrt(np.mean((x - truth) ** 2)):.4f}", xticks=[], yticks=[])
plt.show()
