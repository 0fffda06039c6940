"""Density maps as MRC files: the array (z, y, x), the size of a voxel, and where the first voxel is.

The header tells positions in two ways (MRC2014): `origin` in angstrom, `nstart` in voxels.  Programs fill in one or the
other; here an origin that is not zero wins.  RELION ignores both.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.atomic import replacing
from tomodiff.files.cryoem.mrc import MrcHeader, mapped, read_header
from tomodiff.files.placement import in_order

ANISOTROPY = 1e-3
"""Largest relative difference of voxel sizes that passes for rounding of the header's cell lengths."""


def read_map(
    path: Path | str, pixel: float | None = None, cube: bool = False
) -> tuple[np.ndarray, float, tuple[float, float, float]]:
    """(volume float32 (z, y, x), pixel in angstrom, origin in angstrom (x, y, z): the centre of voxel [0, 0, 0]).

    Axes are brought into order whatever mapc, mapr, maps say.  pixel: in place of the header's.  DataError where the
    header tells no voxel size and none is given, for voxels that are no cubes, oblique cells, values that are not
    finite, and with `cube` for volumes that are no cubes.
    """
    header = read_header(Path(path))
    ordered, start = in_order(mapped(header), header.axes, header.start)
    volume = np.ascontiguousarray(ordered, np.float32)
    if cube and len(set(volume.shape)) != 1:
        raise DataError(path, "shape (z, y, x)", "a cube", f"{volume.shape}", "Pad or crop it to a cube.")
    if not np.isfinite(volume).all():
        bad = np.count_nonzero(~np.isfinite(volume))
        raise DataError(path, "data", "finite densities", f"{bad} NaN or infinite of {volume.size}")
    size = _pixel(header) if pixel is None else float(pixel)
    if not size > 0:
        raise ValueError(f"pixel: expected a size above 0 angstrom, got {pixel}")
    if any(header.origin):
        return volume, size, header.origin
    x, y, z = (voxels * size for voxels in start)
    return volume, size, (x, y, z)


def write_map(
    path: Path | str,
    volume: np.ndarray,
    pixel: float,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    label: str = "",
) -> None:
    """Write a map (z, y, x) as float32 (mode 2); the file appears when it is whole.

    pixel: angstrom; origin: angstrom (x, y, z).  ValueError for what are no finite, real numbers on three axes.
    """
    import mrcfile

    path, data = Path(path), np.asarray(volume)
    if data.ndim != 3 or data.dtype.kind not in "fiu":
        raise ValueError(f"volume: expected real numbers (z, y, x), got {data.dtype} of shape {data.shape}")
    if not pixel > 0:
        raise ValueError(f"pixel: expected a size above 0 angstrom, got {pixel}")
    bad = data.size - np.count_nonzero(np.isfinite(data))
    if bad:
        raise ValueError(f"volume: expected finite densities, got {bad} others")
    with replacing(path, 1024 + 4 * data.size) as temporary, mrcfile.new(temporary, overwrite=True) as mrc:
        mrc.set_data(np.ascontiguousarray(data, np.float32))
        mrc.set_volume()
        mrc.voxel_size = float(pixel)
        mrc.nstart = 0
        for axis, position in zip("xyz", origin, strict=True):
            mrc.header.origin[axis] = position
        mrc.add_label(f"tomodiff: {label}"[:79] if label else "tomodiff: map")


def _pixel(header: MrcHeader) -> float:
    """The voxel size that the header tells."""
    if not all(size > 0 and np.isfinite(size) for size in header.voxel):
        found = " x ".join(f"{size:g}" for size in header.voxel)
        raise DataError(header.path, "voxel size", "a size in angstrom", found, "Give it with pixel=.")
    if max(header.voxel) - min(header.voxel) > ANISOTROPY * min(header.voxel):
        found = " x ".join(f"{size:g}" for size in header.voxel) + " angstrom"
        raise DataError(
            header.path, "voxel size", "voxels that are cubes", found, "Resample it to cubes, or give pixel=."
        )
    if any(angle not in (0.0, 90.0) for angle in header.cell_angles):
        raise DataError(header.path, "cell angles", "90 degrees", str(header.cell_angles))
    return float(np.mean(header.voxel))
