"""Volumes as TIFF: one file with a page per slice, or a folder with a file per slice, lowest z first.

float32 volumes below 4 GB carry ImageJ's metadata (spacing and unit, which Fiji shows), larger or other ones are
BigTIFF with OME-XML.  Both have resolution tags in pixels per centimetre and our grid as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from tomodiff.errors import ConfigError, DataError
from tomodiff.files.stack import load
from tomodiff.files.tiff import FAULTS, TiffStack, tiffs_in
from tomodiff.geometry import Grid
from tomodiff.result import Result

CLASSIC_BYTES = 2**32 - 2**25
"""Voxels beyond this leave no room for headers within the 4 GiB that offsets of classic TIFF reach."""
SIDECAR = "volume.json"
SLICE = "slice_{:05d}.tif"
CM = 10.0
"""mm in the centimetre of the resolution tags."""


def write(target: Path, result: Result, compression: str | None, big: bool | None = None) -> None:
    """Write one file; `big` forces or forbids BigTIFF, None goes by the size."""
    volume = np.asarray(result.volume)
    big = volume.nbytes > CLASSIC_BYTES if big is None else big
    dz, dy, dx = result.grid.spacing
    common: dict[str, Any] = {
        "photometric": "minisblack",
        "resolution": (CM / dx, CM / dy),
        "compression": "zlib" if compression else None,
        "software": "tomodiff",
    }
    if volume.dtype == np.float32 and not big:
        # ImageJ counts the resolution in its own unit: pixels per mm
        metadata = {"axes": "ZYX", "spacing": dz, "unit": "mm", "Info": _described(result)}
        common["resolution"] = (1 / dx, 1 / dy)
        tifffile.imwrite(target, volume, imagej=True, metadata=metadata, **common)
        return
    metadata = {"axes": "ZYX", "Description": _described(result)}
    for axis, size in zip("ZYX", (dz, dy, dx), strict=True):
        metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "mm"}
    tifffile.imwrite(target, volume, ome=True, bigtiff=big, metadata=metadata, resolutionunit="CENTIMETER", **common)


def write_slices(folder: Path, result: Result, compression: str | None) -> None:
    """Fill a folder with one file per slice and `volume.json`."""
    _, dy, dx = result.grid.spacing
    codec = "zlib" if compression else None
    for k, plane in enumerate(np.asarray(result.volume)):
        tifffile.imwrite(
            folder / SLICE.format(k),
            plane,
            photometric="minisblack",
            compression=codec,
            resolution=(CM / dx, CM / dy),
            resolutionunit="CENTIMETER",
            software="tomodiff",
        )
    (folder / SIDECAR).write_text(_described(result), encoding="utf-8")


def check_folder(folder: Path) -> None:
    """Raise ConfigError rather than replace a folder that holds anything but slices of ours."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder}: expected a folder for the slices, found a file of that name")
    strange = [p.name for p in folder.iterdir() if p.name != SIDECAR and not p.match("slice_*.tif")]
    if strange:
        raise ConfigError(f"{folder}: expected a new folder, or one with slices to replace, found {strange[0]} in it")


def _described(result: Result) -> str:
    return json.dumps({"grid": result.grid.to_dict(), "unit": result.unit, "quantity": result.quantity,
                       "provenance": result.meta})  # fmt: skip


def read(path: Path) -> tuple[np.ndarray, Grid, dict[str, Any]]:
    """The volume in a file of pages, with the grid that we wrote or ImageJ's spacing, else voxels of 1 mm."""
    try:
        with tifffile.TiffFile(path) as tiff:
            volume = tiff.asarray()
            ours, spacing = _ours(tiff), _spacing(tiff)
    except FAULTS as error:
        raise DataError(path, "", "a readable TIFF file", str(error), "It may be truncated.") from error
    volume = volume[None] if volume.ndim == 2 else volume
    if volume.ndim != 3 or volume.dtype.kind not in "iuf":
        raise DataError(path, "", "grey pages (z, y, x)", f"{volume.dtype} with shape {volume.shape}")
    return _with_grid(path, volume, ours, spacing)


def read_slices(folder: Path) -> tuple[np.ndarray, Grid, dict[str, Any]]:
    """The volume in a folder of slices; float32, or float64 where the slices are."""
    stack = TiffStack(tiffs_in(folder), str(folder))
    volume = stack.raw(np.arange(len(stack)), slice(None)) if stack.dtype == np.float64 else load(stack)
    sidecar = folder / SIDECAR
    return _with_grid(folder, volume, sidecar.read_text(encoding="utf-8") if sidecar.exists() else "", None)


def _with_grid(
    path: Path, volume: np.ndarray, ours: str, spacing: list[float] | None
) -> tuple[np.ndarray, Grid, dict[str, Any]]:
    try:
        stored = json.loads(ours)
        grid = Grid.from_dict(stored.pop("grid"))
    except (ValueError, KeyError, AttributeError):
        if spacing is not None:
            return volume, Grid(volume.shape, spacing), {}
        return volume, Grid(volume.shape), {"grid": "not in the file: voxels of 1 mm assumed"}
    if grid.shape != volume.shape:
        raise DataError(path, "grid", f"the shape {volume.shape} of the pages", str(grid.shape))
    return volume, grid, stored


def _ours(tiff: tifffile.TiffFile) -> str:
    """Our JSON from ImageJ's or OME's metadata, or ""."""
    if tiff.imagej_metadata:
        return str(tiff.imagej_metadata.get("Info", ""))
    if tiff.ome_metadata:
        image = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]
        return str(image.get("Description", "")) if isinstance(image, dict) else ""
    return ""


def _spacing(tiff: tifffile.TiffFile) -> list[float] | None:
    """(dz, dy, dx) in mm of a stack that ImageJ wrote with a unit of length, or None."""
    said = tiff.imagej_metadata or {}
    scale = {"mm": 1.0, "micron": 1e-3, "um": 1e-3, "\\u00B5m": 1e-3, "cm": 10.0, "nm": 1e-6}.get(said.get("unit", ""))
    tags = tiff.pages[0].tags  # type: ignore[union-attr]
    if scale is None or "spacing" not in said or "XResolution" not in tags or "YResolution" not in tags:
        return None
    across = [tags[name].value for name in ("YResolution", "XResolution")]
    return [float(said["spacing"]) * scale, *(scale * d / n for n, d in across)]
