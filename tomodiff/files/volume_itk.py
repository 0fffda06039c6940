"""Volumes as MetaImage (.mha) and NRRD (.nrrd) files, for ITK, RTK, 3D Slicer and ITK-SNAP (the extra `medical`).

Spacing, origin (the middle of the first voxel) and direction are those of the grid in mm, with x, y, z as they are.
ITK calls +x left, +y posterior and +z superior (LPS+); a NIfTI file of the same volume says RAS+ of the same numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import ConfigError, DataError
from tomodiff.extras import library
from tomodiff.geometry import Grid
from tomodiff.result import Result

SUFFIXES = (".mha", ".nrrd")
NEEDED = "MetaImage and NRRD files need"


def check(path: Path, result: Result) -> None:
    """Raise ConfigError where SimpleITK is missing, or has no such numbers."""
    library("SimpleITK", "medical", NEEDED)
    if np.dtype(result.volume.dtype) == np.float16:
        raise ConfigError(f"{path}: expected integers, float32 or float64, found {result.volume.dtype}")


def write(target: Path, result: Result) -> None:
    """Write the file."""
    sitk = library("SimpleITK", "medical", NEEDED)
    image = sitk.GetImageFromArray(np.ascontiguousarray(result.volume))
    placement = result.grid.world_from_index
    spacing = np.linalg.norm(placement[:, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(placement[:, 3].tolist())
    image.SetDirection((placement[:, :3] / spacing).ravel().tolist())
    image.SetMetaData("quantity", result.quantity)
    image.SetMetaData("unit", result.unit)
    sitk.WriteImage(image, str(target))


def read(path: Path) -> tuple[np.ndarray, Grid, dict[str, Any]]:
    """The volume and its grid."""
    sitk = library("SimpleITK", "medical", NEEDED)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise DataError(path, "", "a readable MetaImage or NRRD file", lines[-1].strip()) from error
    volume = sitk.GetArrayFromImage(image)
    if volume.ndim != 3 or volume.dtype.kind not in "iuf":
        found = f"{volume.dtype} with shape {volume.shape}"
        raise DataError(path, "", "real numbers on 3 axes (x, y, z)", found)
    spacing, turn = np.array(image.GetSpacing()), np.array(image.GetDirection()).reshape(3, 3)
    start, meta = np.array(image.GetOrigin()), {}
    if np.linalg.det(turn) < 0:
        start = start + turn[:, 0] * spacing[0] * (volume.shape[2] - 1)
        turn, volume = turn * [-1, 1, 1], volume[:, :, ::-1]
        meta["mirrored"] = "first axis reversed: the file's axes formed a left hand"
    middle = start + turn @ (spacing * (np.array(volume.shape[::-1]) - 1) / 2)
    meta |= {key: image.GetMetaData(key) for key in ("quantity", "unit") if image.HasMetaDataKey(key)}
    try:
        grid = Grid(volume.shape, spacing[::-1].tolist(), middle.tolist(), None if (turn == np.eye(3)).all() else turn)
    except ValueError as error:
        raise DataError(path, "direction, spacing", "those of a grid", str(error)) from error
    return np.ascontiguousarray(volume), grid, meta
