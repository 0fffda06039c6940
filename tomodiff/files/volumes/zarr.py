"""Volumes as OME-Zarr folders (.zarr; OME-NGFF 0.4): a pyramid in chunks, for napari, Fiji, Neuroglancer and clouds.

Level 0 has all voxels, each next one means over two along every axis that is still long.  Scale and translation are
those of the grid in mm (the translation is the middle of the first voxel).  A turned grid cannot be said there.  The
extra `zarr` installs the library.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.array import block_mean
from tomodiff.errors import ConfigError, DataError
from tomodiff.extras import library
from tomodiff.files.placement import placed
from tomodiff.geometry import Grid
from tomodiff.result import Result

NEEDED = "OME-Zarr files need"
CHUNK = 64
"""Voxels along each side of a chunk."""
SMALLEST = 64
"""An axis of so few voxels is not halved."""
VERSION = "0.4"


def check(path: Path, result: Result) -> None:
    """Raise ConfigError where zarr is missing, or the grid is turned."""
    library("zarr", "zarr", NEEDED)
    if result.grid.rotation is not None and not np.allclose(result.grid.rotation, np.eye(3)):
        raise ConfigError(f"{path}: expected a grid along the axes for OME-Zarr, found a turned one; write .h5 or .nii")


def write(folder: Path, result: Result) -> None:
    """Write the pyramid into a folder that is there."""
    zarr = library("zarr", "zarr", NEEDED)
    root = zarr.open_group(str(folder), mode="w", zarr_format=2)
    level = np.asarray(result.volume)
    datasets: list[dict[str, Any]] = []
    spacing, start = np.array(result.grid.spacing), result.grid.world_from_index[::-1, 3].copy()
    while True:
        name = str(len(datasets))
        chunks = tuple(min(CHUNK, n) for n in level.shape)
        array = root.create_array(name, shape=level.shape, chunks=chunks, dtype=level.dtype,
                                  chunk_key_encoding={"name": "v2", "separator": "/"})  # fmt: skip
        array[...] = level
        moves = [{"type": "scale", "scale": spacing.tolist()}, {"type": "translation", "translation": start.tolist()}]
        datasets.append({"path": name, "coordinateTransformations": moves})
        factors = tuple(2 if n > SMALLEST else 1 for n in level.shape)
        if max(factors) == 1:
            break
        level = _halved(level, factors)
        start = start + (np.array(factors) - 1) / 2 * spacing
        spacing = spacing * factors
    axes = [{"name": name, "type": "space", "unit": "millimeter"} for name in "zyx"]
    image = {"version": VERSION, "name": "volume", "type": "mean", "axes": axes, "datasets": datasets}
    root.attrs["multiscales"] = [image]
    root.attrs["tomodiff"] = {"quantity": result.quantity, "unit": result.unit, "provenance": result.meta}


def _halved(level: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Means over blocks; what does not fill a last block is left out."""
    return np.asarray(block_mean(level, factors, (0, 1, 2), np.float64), level.dtype)


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a Zarr group, of either version."""
    return (folder / ".zgroup").is_file() or (folder / "zarr.json").is_file()


def read(folder: Path) -> tuple[np.ndarray, Grid, dict[str, Any]]:
    """The volume of the finest level, and its grid.  DataError for what is no image of three axes in space."""
    zarr = library("zarr", "zarr", NEEDED)
    try:
        root = zarr.open_group(str(folder), mode="r")
        attributes = dict(root.attrs)
        images = attributes.get("ome", attributes)["multiscales"][0]
        first = images["datasets"][0]
        axes, moves = [axis["name"] for axis in images["axes"]], first["coordinateTransformations"]
        volume = np.asarray(root[first["path"]][...])
        steps = next(t["scale"] for t in moves if t["type"] == "scale")
        start = next((t["translation"] for t in moves if t["type"] == "translation"), [0.0] * len(steps))
        units = {axis.get("unit") for axis in images["axes"] if axis.get("type") == "space"}
    except (KeyError, IndexError, TypeError, StopIteration, ValueError, OSError, RuntimeError) as error:
        raise DataError(folder, "multiscales", "an OME-Zarr image", f"{type(error).__name__}: {error}") from error
    lone = tuple(0 if name not in "zyx" and volume.shape[i] == 1 else slice(None) for i, name in enumerate(axes))
    if [name for name, part in zip(axes, lone, strict=True) if part != 0] != ["z", "y", "x"]:
        raise DataError(folder, "axes", "z, y, x, and others of length 1", f"{', '.join(axes)} {volume.shape}")
    factor = {"millimeter": 1.0, "micrometer": 1e-3, "nanometer": 1e-6, "angstrom": 1e-7, "meter": 1e3}
    unit = units.pop() if len(units) == 1 else None
    if unit not in (*factor, None):
        raise DataError(folder, "axes", f"a unit of {', '.join(factor)}", repr(unit))
    spacing, origin = (np.array(v, float)[-3:] * factor.get(unit or "", 1.0) for v in (steps, start))
    found, grid, _ = placed(volume[lone], np.diag(spacing[::-1]), origin[::-1], folder)
    meta = dict(attributes.get("tomodiff", {}))
    if unit is None:
        meta["grid"] = "no unit in the file: taken as mm"
    return found, grid, meta
