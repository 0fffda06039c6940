"""Volumes in HDF5: `/volume` (z, y, x), which also is the signal of a NeXus group for programs that plot.

Attributes of `/volume`: `axes` "z:y:x", `units`, `quantity`, `spacing_mm` (z, y, x), `origin_mm` (x, y, z) of the
centre of voxel [0, 0, 0], `grid` (JSON), `provenance` (JSON), `warnings` (JSON).  `/history` holds the metrics of
the iterations as JSON.  `/entry/data` is an NXdata group with the axes in mm.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.hdf5 import dataset_at, find, nearest, open_hdf5, text
from tomodiff.geometry import Grid
from tomodiff.result import Result

VOLUME = "/volume"


def write(target: Path, result: Result, compression: str | None) -> None:
    """Write the file."""
    grid = result.grid
    chunks = (1, *grid.shape[1:]) if compression else None
    with h5py.File(target, "w") as file:
        file.attrs.update({"NX_class": "NXroot", "default": "entry"})
        volume = file.create_dataset(VOLUME, data=np.asarray(result.volume), chunks=chunks, compression=compression)
        volume.attrs.update({"axes": "z:y:x", "units": result.unit, "quantity": result.quantity})
        volume.attrs["spacing_mm"] = grid.spacing
        volume.attrs["origin_mm"] = grid.world_from_index[:, 3]
        volume.attrs["grid"] = json.dumps(grid.to_dict())
        volume.attrs["warnings"] = json.dumps(list(result.warnings))
        file["provenance"] = json.dumps(result.meta)
        file["history"] = json.dumps(result.history)
        entry = file.create_group("entry")
        entry.attrs.update({"NX_class": "NXentry", "default": "data"})
        data = entry.create_group("data")
        data.attrs.update({"NX_class": "NXdata", "signal": "volume", "axes": ["z", "y", "x"]})
        data["volume"] = volume  # a second name of the same voxels
        for name, along, middle in zip("zyx", grid.axes(), grid.center[::-1], strict=True):
            # positions in space; for a turned grid, along its own edges
            data[name] = along + (middle if grid.rotation is None else 0.0)
            data[name].attrs["units"] = "mm"


def read(path: Path) -> tuple[np.ndarray, Grid, dict[str, Any]]:
    """The volume, its grid, and the unit, quantity, provenance and history."""
    with open_hdf5(path) as file:
        if VOLUME not in file:
            near = nearest(file, VOLUME)
            hint = f"There are {', '.join(near)}." if near else ""
            raise DataError(path, VOLUME, "a volume (z, y, x)", "nothing at that path", hint)
        node = dataset_at(file, VOLUME)
        if node.ndim != 3 or node.dtype.kind not in "iuf":
            raise DataError(path, VOLUME, "real numbers on 3 axes (z, y, x)", f"{node.dtype} with shape {node.shape}")
        if "grid" not in node.attrs:
            raise DataError(path, f"{VOLUME} attribute grid", "the grid of the volume", "none")
        try:
            meta = {
                "unit": text(node.attrs.get("units", "")),
                "quantity": text(node.attrs.get("quantity", "")),
                "warnings": json.loads(text(node.attrs.get("warnings", "[]"))),
                "provenance": _json(find(file, "provenance"), {}),
                "history": _json(find(file, "history"), []),
            }
            grid = Grid.from_dict(json.loads(text(node.attrs["grid"])))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(path, VOLUME, "grid, warnings, provenance and history in JSON", repr(error)) from error
        try:
            return node[()], grid, meta
        except OSError as error:
            raise DataError(path, VOLUME, "readable voxels", str(error)) from error


def _json(node: h5py.Dataset | None, default: Any) -> Any:
    return default if node is None else json.loads(text(node))
