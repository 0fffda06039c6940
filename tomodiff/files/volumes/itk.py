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
from tomodiff.files.placement import placed
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
        raise DataError(path, "", "a readable MetaImage or NRRD file", last_line(error)) from error
    volume = sitk.GetArrayFromImage(image)
    if volume.ndim != 3 or image.GetDimension() != 3 or volume.dtype.kind not in "iuf":
        found = f"{volume.dtype} with shape {volume.shape}"
        raise DataError(path, "", "real numbers on 3 axes (x, y, z)", found)
    turn = np.array(image.GetDirection()).reshape(3, 3)
    made, grid, meta = placed(volume, turn * np.array(image.GetSpacing()), np.array(image.GetOrigin()), path)
    meta |= {key: image.GetMetaData(key) for key in ("quantity", "unit") if image.HasMetaDataKey(key)}
    return made, grid, meta


def last_line(error: RuntimeError) -> str:
    """What SimpleITK and ITK say was wrong, without where in their code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
