"""What renderers along rays share: rays in voxels, and the step between samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.array import Array, namespace
from tomodiff.geometry import Grid
from tomodiff.kernels import kernel, lanes

OVER_VOXEL = 0.5
"""The default step, in parts of the smallest spacing."""
GPU_BLOCK = 128
COPIES = 8
"""Copies of a volume's gradient on a CPU, each of which one thread fills: as many whatever the threads, so that sums do
not depend on their number."""


def launch(name: str, xp: Any, dtype: str, rays: int, *arguments: Any) -> None:
    """A kernel over rays: LANES of them to a thread, one where it adds atomically; or a thread for each of `COPIES`."""
    if name.endswith("_copies"):
        kernel(name, xp, dtype)((COPIES,), (1,), (*arguments, COPIES))
        return
    share = (1 if xp is np else GPU_BLOCK) * (1 if name.endswith("_atomic") else lanes(xp))
    kernel(name, xp, dtype)((-(-rays // share),), (1 if xp is np else GPU_BLOCK,), arguments)


def gathered(copies: Array) -> Array:
    """The sum over copies (count, ...), which are left at zero, to be added to again."""
    if len(copies) == 1:
        made, copies[0] = copies[0].copy(), 0
        return made
    xp, n = namespace(copies), copies[0].size
    made = xp.empty(copies.shape[1:], copies.dtype)
    block = 1 if xp is np else GPU_BLOCK
    kernel("copies_gather", xp, str(copies.dtype))(
        (-(-n // (block * lanes(xp))),), (block,), (copies, made, n, len(copies))
    )
    return made


def step_of(grid: Grid, step: float | None, name: str) -> float:
    """The distance of samples.  ValueError where it is none."""
    made = OVER_VOXEL * min(grid.spacing) if step is None else float(step)
    if not (np.isfinite(made) and made > 0):
        raise ValueError(f"{name}: step: expected a length above 0, got {step}")
    return made


def in_voxels(grid: Grid, origins: Array, directions: Array, points: bool = True) -> tuple[Array, Array]:
    """Origins and directions (ray, z y x) in voxels, from (ray, x y z) in the world; points=False: changes of them."""
    xp, affine, dtype = namespace(origins), grid.index_from_world, origins.dtype
    turn = xp.asarray(affine[::-1, :3].T, dtype)
    moved = origins @ turn
    if points:
        moved = moved + xp.asarray(affine[::-1, 3], dtype)
    return xp.ascontiguousarray(moved), xp.ascontiguousarray(directions @ turn)


def in_world(grid: Grid, gradient: Array) -> Array:
    """The gradient in an origin or a direction of the world, from that in voxels."""
    xp = namespace(gradient)
    return gradient @ xp.asarray(grid.index_from_world[::-1, :3], gradient.dtype)
