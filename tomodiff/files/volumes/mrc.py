"""Volumes as MRC2014 files (Cheng et al. 2015, J. Struct. Biol. 192, 146): mode 2 (float32), lengths in angstrom.

1 mm is 1e7 angstrom.  The header's origin is the position of the centre of voxel [0, 0, 0]; where it is zero, as in
CCP4's maps, `nstart` tells it in voxels.  Readers: axes are brought into order (mapc, mapr, maps), mode 12 (float16) is
widened to float32, other modes are returned as they are.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import ConfigError, DataError
from tomodiff.files.placement import in_order
from tomodiff.geometry import Grid
from tomodiff.geometry.units import ANGSTROM_PER_MM
from tomodiff.result import Result

LABEL = "tomodiff: {quantity} in {unit}"


def check(path: Path, result: Result) -> None:
    """Raise ConfigError for what an MRC file cannot hold: other numbers than float32, a turned grid, huge lengths."""
    if np.dtype(result.volume.dtype) != np.float32:
        raise ConfigError(
            f"{path}: expected a float32 volume for MRC, found {result.volume.dtype}; "
            "convert it with astype, or write .h5"
        )
    if result.grid.rotation is not None:
        raise ConfigError(f"{path}: expected an upright grid for MRC, found one with a rotation; write .h5 or .nii")
    lengths = np.array([*result.grid.size, *result.grid.world_from_index[:, 3]]) * ANGSTROM_PER_MM
    limits = np.finfo(np.float32)
    if np.abs(lengths).max() > limits.max or np.array(result.grid.spacing).min() * ANGSTROM_PER_MM < limits.tiny:
        raise ConfigError(
            f"{path}: expected lengths that float32 can hold in angstrom, found voxels of {result.grid.spacing} mm"
        )


def write(target: Path, result: Result) -> None:
    """Write the file."""
    import mrcfile

    grid = result.grid
    with mrcfile.new(target, overwrite=True) as mrc:
        mrc.set_data(np.ascontiguousarray(result.volume))
        mrc.set_volume()
        mrc.header.cella.z, mrc.header.cella.y, mrc.header.cella.x = (length * ANGSTROM_PER_MM for length in grid.size)
        for name, position in zip("xyz", grid.world_from_index[:, 3], strict=True):
            mrc.header.origin[name] = position * ANGSTROM_PER_MM
        mrc.add_label(LABEL.format(quantity=result.quantity, unit=result.unit)[:79])


def read(path: Path) -> tuple[np.ndarray, Grid, dict[str, Any]]:
    """The volume and its grid; the voxel size is 1 mm, as `meta["grid"]` tells, where the header leaves it zero."""
    import mrcfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # mrcfile warns of files that are cut short
            with mrcfile.open(path) as mrc:
                volume = mrc.data.copy()
                size = np.array([mrc.voxel_size.z, mrc.voxel_size.y, mrc.voxel_size.x], np.float64)
                origin = np.array([mrc.header.origin.x, mrc.header.origin.y, mrc.header.origin.z], np.float64)
                labels = [str(label) for label in mrc.get_labels()]
                axes = [int(mrc.header[name]) for name in ("mapc", "mapr", "maps")]
                start = [int(mrc.header[name]) for name in ("nxstart", "nystart", "nzstart")]
    except (ValueError, OSError, RuntimeWarning) as error:
        raise DataError(path, "", "a readable MRC file", str(error)) from error
    if volume.ndim != 3 or volume.dtype.kind not in "iuf":
        raise DataError(path, "data", "real numbers on 3 axes (z, y, x)", f"{volume.dtype} with shape {volume.shape}")
    volume = volume.astype(np.float32) if volume.dtype == np.float16 else volume
    if any(axes):
        if sorted(axes) != [1, 2, 3]:
            raise DataError(path, "mapc, mapr, maps", "1, 2 and 3 in some order", str(axes))
        volume, start = in_order(volume, axes, start)
        volume = np.ascontiguousarray(volume)
    if not origin.any():
        origin = np.array(start) * size[::-1]
    meta: dict[str, Any] = {"labels": labels}
    for label in labels:
        if label.startswith("tomodiff: ") and " in " in label:
            meta["quantity"], meta["unit"] = label.removeprefix("tomodiff: ").rsplit(" in ", 1)
    if not np.all(size > 0):
        meta["grid"] = "not in the header: voxels of 1 mm assumed"
        return volume, Grid(volume.shape), meta
    spacing = size / ANGSTROM_PER_MM
    centre = origin / ANGSTROM_PER_MM + ((np.array(volume.shape) - 1) / 2 * spacing)[::-1]
    return volume, Grid(volume.shape, spacing.tolist(), centre.tolist()), meta
