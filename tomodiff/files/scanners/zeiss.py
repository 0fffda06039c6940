"""Zeiss (Xradia) microscopes: .txrm scans and .xrm images, OLE files with one stream for each frame.

What the streams mean is as dxchange (De Carlo et al. 2014, J. Synchrotron Rad. 21, 1224; `reader.read_txrm`) and the
Core Imaging Library (`ZEISSDataReader`) have it: angles in degrees by which the sample turns, against ours; PixelSize
in micrometres at the sample; distances in mm; shifts in pixels by which a view has to be moved to be aligned.  Shifts
become part of the geometry, so that no pixel is interpolated.  ReferenceData is the flat field.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import DataError
from tomodiff.extras import library
from tomodiff.files.source import Source
from tomodiff.files.stack import ArrayStack, Stack, check_frames
from tomodiff.geometry import ConeBeam, ParallelBeam, Scan, Vectors

TYPES = {3: "u1", 5: "<u2", 10: "<f4"}
"""ImageInfo/DataType -> numbers of the frames."""
PER_STORAGE = 100
"""Frames in each of ImageData1, ImageData2, ..."""
CONE = 1
"""ImageInfo/XrayGeometry of a laboratory source; others are parallel (optics in between)."""
SCAN = 0
"""ImageInfo/AcquisitionMode of projections."""
MM = 1e-3
"""Of a micrometre."""


class _Ole:
    """The streams of one file as numbers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._olefile = library("olefile", "scanners", f"{path}: reading Zeiss files needs")

    def __enter__(self) -> _Ole:
        try:
            self._file: Any = self._olefile.OleFileIO(self.path)
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise DataError(self.path, "", "a readable OLE file (Zeiss .txrm, .xrm)", str(error)) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def numbers(self, name: str, dtype: str, count: int) -> np.ndarray | None:
        """So many numbers from the start of a stream; None where there is no such stream.  DataError if it is short."""
        try:
            if not self._file.exists(name):
                return None
            data = self._file.openstream(name).read()
        except (OSError, ValueError, IndexError) as error:
            raise DataError(self.path, name, "a readable stream", str(error)) from error
        wanted = np.dtype(dtype).itemsize * count
        if len(data) < wanted:
            raise DataError(self.path, name, f"{wanted} bytes", str(len(data)), "The file is truncated or damaged.")
        return np.frombuffer(data, dtype, count)

    def need(self, name: str, dtype: str, count: int = 1) -> np.ndarray:
        """The same of a stream that must be there."""
        found = self.numbers(name, dtype, count)
        if found is None:
            raise DataError(self.path, name, "a stream of this name", "none")
        return found

    def whole(self, name: str, least: int = 1) -> int:
        """One whole number."""
        value = int(self.need(name, "<i4")[0])
        if value < least:
            raise DataError(self.path, name, f"a number of at least {least}", str(value))
        return value


class OleStack(Stack):
    """The frames (n, v, u) of a .txrm or .xrm file."""

    def __init__(self, ole: _Ole, shape: tuple[int, int, int]) -> None:
        kind = ole.whole("ImageInfo/DataType")
        if kind not in TYPES:
            raise DataError(ole.path, "ImageInfo/DataType", f"one of {sorted(TYPES)}", str(kind))
        self.path, self.name, self.shape, self.dtype = ole.path, str(ole.path), shape, np.dtype(TYPES[kind])
        check_frames(ole.path, "ImageData1", shape, self.dtype)

    def raw(self, frames: np.ndarray, rows: slice) -> np.ndarray:
        _, nv, nu = self.shape
        with _Ole(self.path) as ole:
            names = (f"ImageData{i // PER_STORAGE + 1}/Image{i + 1}" for i in frames.tolist())
            return np.stack([ole.need(name, self.dtype.str, nv * nu).reshape(nv, nu)[rows] for name in names])


def describe(path: Path) -> Source:
    """What a .txrm or .xrm file holds."""
    with _Ole(path) as ole:
        mode = ole.numbers("ImageInfo/AcquisitionMode", "<i4", 1)
        if path.suffix.lower() == ".txm" and (mode is None or mode[0] != SCAN):
            raise DataError(path, "ImageInfo/AcquisitionMode", "projections (.txrm)", "a reconstruction (.txm)")
        shape = tuple(ole.whole(f"ImageInfo/{name}") for name in ("NoOfImages", "ImageHeight", "ImageWidth"))
        taken = ole.numbers("ImageInfo/ImagesTaken", "<i4", 1)
        source = Source(path, "zeiss", OleStack(ole, shape))  # type: ignore[arg-type]
        if taken is not None and 0 < taken[0] < shape[0]:
            raise DataError(path, "ImageInfo/ImagesTaken", f"{shape[0]} images, as planned", str(taken[0]),
                            f"The scan was ended early: read views 0:{taken[0]} of a copy.")  # fmt: skip
        source.kind = "counts" if source.projections.dtype.kind == "u" else None
        flat = ole.numbers("ReferenceData/Image", _reference_type(ole), shape[1] * shape[2])
        if flat is not None:
            source.flats, source.kind = ArrayStack(flat.reshape(1, *shape[1:]), f"{path}:ReferenceData"), "counts"
        _geometry(ole, source)
        for name, key, unit in (("Voltage", "tube_kv", 1.0), ("Energy", "energy_kev", 1e-3)):
            found = ole.numbers(f"ImageInfo/{name}", "<f4", 1)
            if found is not None and found[0] > 0:
                source.meta[key] = float(found[0]) * unit
    return source


def _reference_type(ole: _Ole) -> str:
    found = ole.numbers("ReferenceData/DataType", "<i4", 1)
    return TYPES.get(10 if found is None else int(found[0]), "<f4")


def _geometry(ole: _Ole, source: Source) -> None:
    n, nv, nu = source.projections.shape
    angles = ole.numbers("ImageInfo/Angles", "<f4", n)
    size = ole.numbers("ImageInfo/PixelSize", "<f4", 1)
    if angles is None or size is None:
        source.no_angles = "no ImageInfo/Angles or PixelSize"
        return
    at_sample = float(size[0]) * MM
    turns, beam = -np.deg2rad(angles.astype(np.float64)), ole.numbers("ImageInfo/XrayGeometry", "<i4", 1)
    try:
        if beam is not None and beam[0] == CONE:
            near, far = (abs(float(ole.need(f"ImageInfo/{name}Distance", "<f4", n)[0])) for name in ("StoRA", "DtoRA"))
            times = (near + far) / near if near else np.inf
            scan: Scan = ConeBeam(turns, near, near + far, (nv, nu), at_sample * times)
        else:
            scan = ParallelBeam(turns, (nv, nu), at_sample)
    except ValueError as error:
        raise DataError(source.path, "ImageInfo", "the geometry of a scan", str(error)) from error
    source.scan, source.pixel = _shifted(ole, scan, source), scan.pixel


def _shifted(ole: _Ole, scan: Scan, source: Source) -> Scan:
    """The scan with each view's detector moved by its shifts."""
    shifts = [ole.numbers(f"Alignment/{axis}-Shifts", "<f4", len(scan)) for axis in "XY"]
    u, v = (np.zeros(len(scan)) if s is None else s.astype(np.float64) for s in shifts)
    if not (np.isfinite(u).all() and np.isfinite(v).all()):
        raise DataError(source.path, "Alignment", "finite shifts", "some that are not")
    if not (u.any() or v.any()):
        return scan
    source.notes.append(f"shifts of up to {np.abs([u, v]).max():.3g} pixels (Alignment) taken into the geometry")
    table = scan.frames().copy()
    table[:, 3:6] += u[:, None] * table[:, 6:9] + v[:, None] * table[:, 9:12]
    return Vectors(table, scan.detector_shape, scan.kind)
