"""The error of a reconstruction where the truth is known, as it is for simulated scans."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from tomodiff.geometry import Grid
from tomodiff.geometry.grid import field_of_view
from tomodiff.report.metrics import psnr, rmse, ssim
from tomodiff.result import Result


def compare(result: Result, truth: Result) -> dict[str, Any]:
    """Error measures inside the field of view, and the truth's middle slices on the grid of the result.

    The field of view is the upright cylinder that fits into the grid: corners that no complete set of views
    reaches do not count.  Of CT numbers the truth, an attenuation, is made one too.
    """
    volume = np.asarray(result.volume)
    known = on_grid(truth, result.grid)
    water = result.meta.get("water_per_mm")
    if water is not None:
        known = 1000 * (known / water - 1)
    mask = np.broadcast_to(field_of_view(result.grid), known.shape)
    measures: dict[str, Any] = {"rmse": rmse(volume, known, mask)}
    inside = known[mask]
    if inside.max() > inside.min():
        measures["psnr_db"] = psnr(volume, known, mask)
        if max(known.shape) >= 11:
            measures["ssim"] = ssim(np.where(mask, volume, 0), np.where(mask, known, 0))
    nz, ny, nx = known.shape
    slices = {"z": known[nz // 2], "y": known[:, ny // 2], "x": known[:, :, nx // 2]}
    return measures | slices


def on_grid(truth: Result, grid: Grid) -> np.ndarray:
    """The truth at the voxels of `grid`, (z, y, x): averaged over a voxel if it is finer, then linear, zero outside.

    Both grids must be upright.  Raises ValueError if one is rotated.
    """
    if truth.grid == grid:
        return np.asarray(truth.volume)
    if grid.rotation is not None or truth.grid.rotation is not None:
        raise ValueError("expected upright grids to compare, got a rotated one")
    fine = np.asarray(truth.volume, dtype=np.float32)
    ratio = [max(1, round(a / b)) for a, b in zip(grid.spacing, truth.grid.spacing, strict=True)]
    if max(ratio) > 1:
        fine = ndimage.uniform_filter(fine, ratio, mode="constant")
    indices = []
    for axis in range(3):
        d, fine_d = grid.spacing[axis], truth.grid.spacing[axis]
        shift = grid.center[2 - axis] - truth.grid.center[2 - axis]  # positions are (x, y, z)
        at = (np.arange(grid.shape[axis]) - (grid.shape[axis] - 1) / 2) * d + shift
        even = 0.5 if ratio[axis] % 2 == 0 and ratio[axis] > 1 else 0.0  # an even window sits half a voxel low
        indices.append(at / fine_d + (truth.grid.shape[axis] - 1) / 2 + even)
    out = np.empty(grid.shape, dtype=np.float32)
    yx = np.meshgrid(indices[1], indices[2], indexing="ij")
    for k, z in enumerate(indices[0]):
        out[k] = ndimage.map_coordinates(fine, [np.full_like(yx[0], z), *yx], order=1, mode="constant")
    return out
