"""
A helix over a column of beads
==============================

Source and detector turn while the sample moves along the axis. `helical` rebins each slice into a fan beam; CGLS takes
all rays as they are.

Above the pictures stand root mean square errors in 1/mm.
"""

import matplotlib.pyplot as plt
import numpy as np

from tomodiff import Grid, Helix, XRay
from tomodiff.analytic import helical
from tomodiff.objective import Gaussian
from tomodiff.simulate import bead_pack
from tomodiff.solvers import Cgls, solve

views_a_turn, turns = 90, 3
angles = np.arange(-turns * views_a_turn // 2, turns * views_a_turn // 2) * (2 * np.pi / views_a_turn)
scan = Helix(angles, 100.0, 150.0, (16, 72), 0.75, pitch=4.0)
beads = bead_pack(np.random.default_rng(1), radius=9.0, height=8.0, beads=60)
data = beads.project(scan, oversample=2).astype(np.float32)

grid = Grid((12, 72, 72), 0.35)
rebinned = helical(data, scan, grid)
least_squares = solve(Cgls(), Gaussian(data) @ XRay(grid, scan), np.zeros(grid.shape, np.float32), 12).x
truth = beads.voxelise(grid)

figure, all_axes = plt.subplots(2, 3, figsize=(9, 4.6), layout="constrained")
for column, (name, x) in enumerate({"truth": truth, "rebinned": rebinned, "CGLS": least_squares}.items()):
    for axes, shown in zip(all_axes[:, column], (x[6], x[:, 36]), strict=True):
        axes.imshow(shown, cmap="gray", vmin=0, vmax=0.08, origin="lower")
        axes.set(xticks=[], yticks=[])
    all_axes[0, column].set_title(f"{name}: {np.sqrt(np.mean((x - truth) ** 2)):.4f}")
plt.show()
