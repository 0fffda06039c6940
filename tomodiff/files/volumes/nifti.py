"""Volumes as NIfTI-1 files, for programs of medical imaging (the extra `medical` installs nibabel).

Voxels go in the order (x, y, z), with the affine of the grid in mm and code 1 ("scanner").  NIfTI calls +x right, +y
anterior and +z superior (RAS+).  The coordinates of a `Grid` know no patient: they are written as they are, so that +x
of the grid is "right".  Programs that think in LPS (ITK, Slicer on screen) show x and y with the other sign.
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

MM = {"meter": 1e3, "micron": 1e-3}
"""Units that are not mm, in mm."""


def check(path: Path, result: Result) -> None:
    """Raise ConfigError where nibabel is missing, or for an axis too long for a NIfTI-1 header."""
    library("nibabel", "medical", "NIfTI files need")
    if max(result.grid.shape) > np.iinfo(np.int16).max:
        raise ConfigError(f"{path}: expected at most 32767 voxels along an axis for NIfTI, found {result.grid.shape}")
    if np.dtype(result.volume.dtype).itemsize == 8 and np.dtype(result.volume.dtype).kind in "iu":
        raise ConfigError(f"{path}: expected numbers of at most 32 bits, or float64, found {result.volume.dtype}")


def write(target: Path, result: Result) -> None:
    """Write the file, compressed if its name ends in .gz."""
    nibabel = library("nibabel", "medical", "NIfTI files need")
    affine = np.vstack([result.grid.world_from_index, [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(np.asarray(result.volume).transpose(2, 1, 0), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    image.header["descrip"] = f"{result.quantity} in {result.unit}".encode()[:79]
    nibabel.save(image, target)


def read(path: Path) -> tuple[np.ndarray, Grid, dict[str, Any]]:
    """The volume and its grid.  A file whose axes form a left hand is mirrored along its first axis to fit a grid."""
    nibabel = library("nibabel", "medical", "NIfTI files need")
    try:
        image = nibabel.load(path)
        data = np.asanyarray(image.dataobj)
    except (nibabel.filebasedimages.ImageFileError, OSError, ValueError, EOFError) as error:
        raise DataError(path, "", "a readable NIfTI file", str(error)) from error
    if data.ndim != 3 or data.dtype.kind not in "iuf":
        raise DataError(path, "", "real numbers on 3 axes (x, y, z)", f"{data.dtype} with shape {data.shape}")
    affine = np.asarray(image.affine, np.float64) * MM.get(image.header.get_xyzt_units()[0], 1.0)
    volume, grid, meta = placed(data.transpose(2, 1, 0), affine[:3, :3], affine[:3, 3], path)
    described = bytes(image.header["descrip"]).rstrip(b"\0").decode("utf-8", "replace")
    if " in " in described:
        meta["quantity"], meta["unit"] = described.rsplit(" in ", 1)
    return volume, grid, meta
