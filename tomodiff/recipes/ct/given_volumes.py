"""Volumes that a CT job is given: where it starts, and where it may be other than zero."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np

from tomodiff.array import Array, namespace
from tomodiff.errors import ConfigError, DataError
from tomodiff.files.volumes.formats import read_volume
from tomodiff.geometry import Grid
from tomodiff.geometry.grid import field_of_view
from tomodiff.recipes.ct.settings import Reconstruction

CIRCLE = "circle"


def given_start(path: str, grid: Grid, like: Array, positive: bool = False) -> Array:
    """The volume of a file, as an array like `like`.  `positive`: zeros, which some methods never change, become a
    thousandth of the mean.  DataError where it is of another grid or not finite."""
    values = _on_grid(Path(path), grid)
    if not np.isfinite(values).all():
        raise DataError(path, "volume", "finite values", f"{int((~np.isfinite(values)).sum())} others")
    if positive:
        values = np.maximum(values, max(1e-3 * float(values.mean()), float(np.finfo(np.float32).tiny)))
    return namespace(like).asarray(np.ascontiguousarray(values, like.dtype))


def mask_of(chosen: Reconstruction, grid: Grid, xp: ModuleType) -> Array | None:
    """1 where the volume may be other than 0, and 0 elsewhere (z, y, x); None where it may be anywhere."""
    if chosen.mask is None:
        return None
    if chosen.mask == CIRCLE:
        return xp.asarray(np.broadcast_to(field_of_view(grid), grid.shape).astype(chosen.dtype))
    inside = _on_grid(Path(chosen.mask), grid) > 0
    if not inside.any():
        raise ConfigError(f"reconstruction.mask: {chosen.mask}: expected values above 0 somewhere, found none")
    return xp.asarray(inside.astype(chosen.dtype))


def _on_grid(path: Path, grid: Grid) -> np.ndarray:
    values, found, meta = read_volume(path)
    unknown = "grid" in meta
    if values.shape != grid.shape or not (unknown or np.allclose(found.spacing, grid.spacing, rtol=1e-3)):
        wanted = f"{grid.shape} voxels of {grid.spacing} mm, as the reconstruction has"
        raise DataError(path, "volume", wanted, f"{values.shape} of {found.spacing}")
    return np.asarray(values)
