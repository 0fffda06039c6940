"""Which format a path is in, by what is in it rather than by what it is called."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import h5py

from tomodiff.errors import DataError
from tomodiff.files import dxchange, nxtomo, tiff_scan
from tomodiff.files.hdf5 import Hdf5Stack, dataset_at, nearest, open_hdf5
from tomodiff.files.source import Source
from tomodiff.files.tiff import MAGIC as TIFF_MAGIC

SCANS = (
    "APS Data Exchange (.h5)", "NeXus NXtomo (.nxs, .nx, .h5)", "TIFF stack (folder, 'scan/*.tif', .tif)",
    "Nikon (.xtekct)", "Zeiss (.txrm, .xrm)", "DICOM-CT-PD (folder of .dcm)", "RTK (.xml, .mha, .mhd)",
    "ESRF (folder of .edf)", "tilt stacks (.st, .ali, .mrc)",
    "arrays with a YAML file (.npy, .npz, .png, .mat, .zarr)",
)  # fmt: skip
"""The scans that can be read, in words."""
SCANNERS = {
    ".xtekct": "nikon", ".txrm": "zeiss", ".xrm": "zeiss", ".txm": "zeiss", ".xml": "rtk", ".mha": "rtk", ".mhd": "rtk",
    ".dcm": "ctpd", ".ima": "ctpd", ".st": "imod", ".ali": "imod", ".mrc": "imod", ".mrcs": "imod", ".edf": "edf",
    ".npy": "arrays", ".npz": "arrays", ".png": "arrays", ".mat": "arrays",
}  # fmt: skip
"""Suffixes of files that a module of `tomodiff.files.scanners` reads."""


@contextmanager
def opened(path: Path, data_path: str | None = None) -> Iterator[Source]:
    """The scan at a path, open for reading and found consistent.  Raises DataError for what is no scan."""
    kind = scan_format(path)
    if kind != "hdf5":
        described = tiff_scan if kind == "tiff" else import_module(f"tomodiff.files.scanners.{kind}")
        source: Source = described.describe(path)
        source.check()
        yield source
        return
    with open_hdf5(path) as file:
        if dxchange.is_dxchange(file):
            source = dxchange.describe(file, path, data_path)
        elif nxtomo.is_nxtomo(file):
            source = nxtomo.describe(file, path, data_path)
        elif data_path is not None:
            node = dataset_at(file, data_path)
            source = Source(path, "hdf5", Hdf5Stack(node, str(path), data_path))
            source.no_angles = "an HDF5 file of no known layout"
        else:
            raise _unknown_layout(file, path)
        source.check()
        yield source


def scan_format(path: Path) -> str:
    """The family "hdf5" or "tiff", by the first bytes, or a module of `SCANNERS`.  Raises DataError for others."""
    try:
        if path.suffix.lower() in SCANNERS and path.is_file():
            return SCANNERS[path.suffix.lower()]
        if path.is_dir():
            if path.suffix.lower() == ".zarr":
                return "arrays"
            if any(path.glob("*.xtekct")):
                return "nikon"
            if any(path.glob("*.dcm")) or any(path.glob("*.IMA")):
                return "ctpd"
            if any(path.glob("*.edf")):
                return "edf"
            if tiff_scan.is_folder_of_tiffs(path):
                return "tiff"
            raise DataError(path, "", "a folder with TIFF files", "none", _known())
        if not path.exists():
            if glob.has_magic(str(path)) and glob.glob(str(path)):
                return "tiff"
            raise DataError(path, "", "an existing file or folder", "nothing there")
        with path.open("rb") as stream:
            start = stream.read(8)
    except OSError as error:
        raise DataError(path, "", "a file that can be read", error.strerror or str(error)) from error
    if start.startswith(TIFF_MAGIC):
        return "tiff"
    if start.startswith(b"\x89HDF") or path.suffix.lower() in (".h5", ".hdf5", ".hdf", ".nxs", ".nx"):
        return "hdf5"
    raise DataError(path, "", "a scan in a known format", f"suffix {path.suffix!r}, first bytes {start!r}", _known())


def _known() -> str:
    return f"Readable: {', '.join(SCANS)}."


def _unknown_layout(file: h5py.File, path: Path) -> DataError:
    near = nearest(file, dxchange.DATA)
    hint = (
        f"Name the projections with data_path (--data-path), for example {near[0]} (there are {', '.join(near)})."
        if near
        else ""
    )
    return DataError(path, "", f"{dxchange.DATA} (Data Exchange) or an image_key (NXtomo)", "neither", hint)
