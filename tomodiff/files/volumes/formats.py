"""Volumes into files and back, the format by the suffix when writing and by the content when reading."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np

from tomodiff.errors import ConfigError, DataError
from tomodiff.files.atomic import replacing
from tomodiff.files.tiff import MAGIC as TIFF_MAGIC
from tomodiff.files.tiff import tiffs_in
from tomodiff.files.volumes import dicom, hdf5, itk, mrc, nifti, npy, tiff, zarr
from tomodiff.geometry import Grid
from tomodiff.result import Result

FORMATS: Mapping[str, ModuleType] = MappingProxyType(
    {
        ".h5": hdf5, ".hdf5": hdf5, ".tif": tiff, ".tiff": tiff, ".mrc": mrc,
        ".nii": nifti, ".nii.gz": nifti, ".mha": itk, ".nrrd": itk, ".npy": npy,
        ".zarr": zarr, ".dcm": dicom,
    }
)  # fmt: skip
"""Suffix -> the module that writes it; its `check`, where it has one, refuses what the format cannot hold."""
SUFFIXES = tuple(FORMATS)
PACKED = (".h5", ".hdf5", ".tif", ".tiff")
"""Formats that may be compressed."""
FOLDERS = (".zarr", ".dcm")
"""Formats that are folders."""


def write(path: str | Path, result: Result, *, compression: str | None = None) -> None:
    """Write a reconstructed volume: .h5, .tif (one file), .mrc, .nii, .nii.gz, .mha, .nrrd, .npy, .zarr (OME-Zarr),
    .dcm (a DICOM series in a folder), or "folder/" for a TIFF per slice.

    All carry the grid in mm and the unit; how exactly is said in the module of each format.  `compression` "gzip"
    applies to .h5 and TIFF.  The file appears whole or not at all and takes the place of one that is there.  Raises
    ConfigError for an unknown suffix, a place that cannot be written to, or a volume that the format cannot hold;
    DataError for a full disk.
    """
    folder, path = str(path).endswith("/"), Path(path)
    if compression not in (None, "gzip"):
        raise ConfigError(f"compression: expected gzip or none, found {compression!r}")
    suffix = suffix_of(path)
    if compression and not (folder or suffix in PACKED):
        raise ConfigError(f"{path}: expected no compression for {suffix} (.nii.gz is compressed), found {compression}")
    n_bytes = int(np.prod(result.volume.shape)) * np.dtype(result.volume.dtype).itemsize
    if folder:
        tiff.check_folder(path)
        with replacing(path, n_bytes, folder=True) as temporary:
            tiff.write_slices(temporary, result, compression)
        return
    if suffix not in SUFFIXES:
        raise ConfigError(f"{path}: expected one of {', '.join(SUFFIXES)}, or a folder (ending in /), found {suffix!r}")
    module, options = FORMATS[suffix], (compression,) if suffix in PACKED else ()
    if hasattr(module, "check"):
        module.check(path, result)
    with replacing(path, n_bytes, folder=suffix in FOLDERS) as temporary:
        module.write(temporary, result, *options)
    if suffix == ".npy":
        npy.write_sidecar(path, result)


def read_volume(path: str | Path) -> tuple[np.ndarray, Grid, dict[str, Any]]:
    """A volume (z, y, x) from a file, the grid it lies on, and what else the file says (unit, quantity, provenance).

    Reads what `write` writes, and plain files of these formats by others: a TIFF or a .npy without a voxel size gets
    voxels of 1 mm, and `meta["grid"]` tells.  Raises DataError for what is no volume.
    """
    path = Path(path)
    try:
        if path.is_dir():
            if zarr.is_zarr(path):
                return zarr.read(path)
            if dicom.is_series(path):
                return dicom.read(path)
            if not tiffs_in(path):
                raise DataError(path, "", "a folder with TIFF or DICOM slices, or OME-Zarr", "none")
            return tiff.read_slices(path)
        with path.open("rb") as stream:
            start = stream.read(8)
    except OSError as error:
        raise DataError(path, "", "a file that can be read", error.strerror or str(error)) from error
    suffix = suffix_of(path)
    if start.startswith(b"\x89HDF"):
        return hdf5.read(path)
    if start.startswith(TIFF_MAGIC):
        return tiff.read(path)
    if start.startswith(b"\x93NUMPY"):
        return npy.read(path)
    if suffix in (".nii", ".nii.gz"):
        return nifti.read(path)
    if suffix in (*itk.SUFFIXES, ".mhd"):
        return itk.read(path)
    if suffix in (".mrc", ".map", ".rec", ".st", ".ali"):
        return mrc.read(path)
    raise DataError(path, "", f"a volume in one of {', '.join(SUFFIXES)}", f"suffix {suffix!r}, first bytes {start!r}")


def suffix_of(path: Path) -> str:
    """The suffix in lower case, both parts of .nii.gz."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()
