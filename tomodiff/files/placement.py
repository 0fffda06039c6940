"""Where a file says that voxels are: the affine of medical formats, the axes of MRC."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import DataError
from tomodiff.geometry import Grid

SKEW = 1e-4
"""How far, relative to a voxel, the axes of a file may be from perpendicular (headers hold float32)."""


def in_order(data: np.ndarray, axes: Sequence[int], start: Sequence[int]) -> tuple[np.ndarray, list[int]]:
    """An MRC file's array (section, row, column) as (z, y, x), and its `nstart` in the order x, y, z.

    axes: mapc, mapr, maps, which say along which of x (1), y (2) and z (3) columns, rows and sections run; start: of
    columns, rows and sections.
    """
    order = [axes[::-1].index(axis) for axis in (3, 2, 1)]
    return data.transpose(order), [start[axes.index(axis)] for axis in (1, 2, 3)]


def placed(
    volume: np.ndarray, steps: np.ndarray, start: np.ndarray, path: Path
) -> tuple[np.ndarray, Grid, dict[str, Any]]:
    """A volume (z, y, x) on its grid, and what to note.

    steps: (3, 3) mm from voxel to voxel along x, y and z, a column each; start: of the first voxel's middle.  Axes that
    form a left hand are mirrored along x to fit a grid.  DataError where they are not perpendicular.
    """
    meta: dict[str, Any] = {}
    if np.linalg.det(steps) < 0:
        start = start + steps[:, 0] * (volume.shape[2] - 1)
        steps, volume = steps * np.array([-1.0, 1.0, 1.0]), volume[:, :, ::-1]
        meta["mirrored"] = "first axis reversed: the file's axes formed a left hand"
    spacing = np.linalg.norm(steps, axis=0)
    if not (np.isfinite(steps).all() and np.isfinite(start).all() and (spacing > 0).all()):
        raise DataError(path, "spacing, origin", "finite numbers, steps above 0", f"{steps.tolist()}, {start.tolist()}")
    turn = steps / spacing
    if np.abs(turn.T @ turn - np.eye(3)).max() > SKEW:
        raise DataError(path, "affine", "perpendicular axes", f"{steps.tolist()}", "Resample it first.")
    left, _, right = np.linalg.svd(turn)  # the nearest rotation: float32 in the header rounds it
    turn = np.eye(3) if np.allclose(turn, np.eye(3), atol=SKEW * 1e-2) else left @ right
    middle = start + steps @ ((np.array(volume.shape[::-1]) - 1) / 2)
    grid = Grid(volume.shape, spacing[::-1].tolist(), middle.tolist(), turn)
    return np.ascontiguousarray(volume), grid, meta
