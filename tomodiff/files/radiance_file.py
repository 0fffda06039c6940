"""Radiance fields in HDF5: `/field` (z, y, x, 1 + 3 K) and `/background` (9, 3), with the grid they are on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.atomic import replacing
from tomodiff.files.hdf5 import dataset_at, open_hdf5, text
from tomodiff.geometry import Grid

FIELD, BACKGROUND = "/field", "/background"
DEGREES = {4: 0, 13: 1, 28: 2}
"""Numbers of a voxel -> degree of its colours."""


@dataclass(frozen=True, eq=False)
class StoredField:
    """What `RadianceField` renders: field (z, y, x, 1 + 3 K) on a grid, and the background (9, 3) in harmonics.

    activation: of the density.  unit: of the grid's lengths, as far as it is known.  psnr_db: of the worst picture that
    it was compared with.
    """

    grid: Grid
    field: np.ndarray
    background: np.ndarray
    activation: str = "relu"
    unit: str = "scene"
    psnr_db: float | None = None

    @property
    def degree(self) -> int:
        """Of the colours."""
        return DEGREES[self.field.shape[-1]]


def write_field(path: str | Path, stored: StoredField) -> None:
    """Write one; a file appears whole or not at all."""
    field = np.asarray(stored.field, np.float32)
    with replacing(Path(path), field.nbytes) as target, h5py.File(target, "w") as file:
        node = file.create_dataset(FIELD, data=field)
        node.attrs.update({"axes": "z:y:x:number", "activation": stored.activation, "unit": stored.unit})
        if stored.psnr_db is not None:
            node.attrs["psnr_db"] = stored.psnr_db
        node.attrs["grid"] = json.dumps(stored.grid.to_dict())
        file[BACKGROUND] = np.asarray(stored.background, np.float64)


def read_field(path: str | Path) -> StoredField:
    """Read one; of a run directory its `field.h5`.  DataError for what is none, or broken."""
    path = Path(path)
    if path.is_dir():
        path = path / "field.h5"
    with open_hdf5(path) as file:
        for name in (FIELD, BACKGROUND):
            if name not in file:
                raise DataError(path, name, "a radiance field of tomodiff", "nothing at that path")
        node = dataset_at(file, FIELD)
        try:
            grid = Grid.from_dict(json.loads(text(node.attrs["grid"])))
            field, background = node[()], np.asarray(dataset_at(file, BACKGROUND)[()], np.float64)
            worst = float(node.attrs["psnr_db"]) if "psnr_db" in node.attrs else None
            activation, unit = text(node.attrs["activation"]), text(node.attrs.get("unit", "scene"))
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise DataError(path, FIELD, "numbers, their grid and activation", str(error)) from error
    if field.ndim != 4 or field.shape[:3] != grid.shape or field.shape[-1] not in DEGREES:
        raise DataError(path, FIELD, f"{grid.shape} voxels of 4, 13 or 28 numbers", str(field.shape))
    if background.shape != (9, 3) or not (np.isfinite(field).all() and np.isfinite(background).all()):
        raise DataError(path, FIELD, "finite numbers, and a background (9, 3)", f"others, {background.shape}")
    return StoredField(grid, np.ascontiguousarray(field, np.float32), background, activation, unit, worst)
