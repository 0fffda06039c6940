"""Volumes as bare NumPy arrays, the grid beside them in `NAME.npy.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.atomic import replacing
from tomodiff.geometry import Grid
from tomodiff.result import Result


def write(target: Path, result: Result) -> None:
    """Write the array."""
    with target.open("wb") as stream:
        np.save(stream, np.asarray(result.volume), allow_pickle=False)


def write_sidecar(path: Path, result: Result) -> None:
    """Write the grid, unit and provenance beside the array."""
    stored = {"grid": result.grid.to_dict(), "unit": result.unit, "quantity": result.quantity,
              "provenance": result.meta}  # fmt: skip
    written = json.dumps(stored, indent=1)
    with replacing(sidecar(path), len(written)) as temporary:
        temporary.write_text(written, encoding="utf-8")


def sidecar(path: Path) -> Path:
    """Where the grid of an array is."""
    return path.with_name(path.name + ".json")


def read(path: Path) -> tuple[np.ndarray, Grid, dict[str, Any]]:
    """The array and its grid; without a grid beside it, voxels of 1 mm, as `meta["grid"]` tells."""
    try:
        volume = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(path, "", "a NumPy array of numbers", str(error)) from error
    if volume.ndim != 3 or volume.dtype.kind not in "iuf":
        raise DataError(path, "", "real numbers on 3 axes (z, y, x)", f"{volume.dtype} with shape {volume.shape}")
    if not sidecar(path).exists():
        return volume, Grid(volume.shape), {"grid": "not in the file: voxels of 1 mm assumed"}
    try:
        stored = json.loads(sidecar(path).read_text(encoding="utf-8"))
        grid = Grid.from_dict(stored.pop("grid"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(sidecar(path), "grid", "the grid of the array beside it in JSON", repr(error)) from error
    if grid.shape != volume.shape:
        raise DataError(sidecar(path), "grid", f"the shape {volume.shape} of the array beside it", str(grid.shape))
    return volume, grid, stored
