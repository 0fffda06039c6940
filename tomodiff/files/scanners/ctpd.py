"""DICOM-CT-PD: the projections of clinical scanners, one DICOM file for each view, in a folder.

Tags are those of the format's dictionary (Chen et al. 2015, Med. Phys. 42, 6964; the sets LDCT-and-Projection-data and
of the AAPM challenge of 2016 come in it).  How the angle, the columns and the rows run is as two programs agree that
read those sets, ODL (`odl.contrib.datasets.ct.mayo`) and helix2fan: with t = -phi - pi the source stands at rho (sin t,
-cos t, z); columns are counted against (cos t, sin t), rows of Siemens against z and those of others along z; the
central element, counted from 1, is where the ray through the axis falls.  z is the table's, growing towards the feet.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tomodiff.errors import DataError
from tomodiff.extras import library
from tomodiff.files.source import Source
from tomodiff.files.stack import Stack
from tomodiff.geometry import Scan, Vectors

ROWS, COLUMNS, SHAPE = 0x70291010, 0x70291011, 0x7029100B
DU, DV = 0x70291002, 0x70291006
PHI, Z, RHO, DISTANCE, CENTRAL = 0x70311001, 0x70311002, 0x70311003, 0x70311031, 0x70311033
DPHI, DZ, DRHO = 0x7033100B, 0x7033100C, 0x7033100D
WATER = 0x70411001
NAMES = {
    ROWS: "NumberofDetectorRows", COLUMNS: "NumberofDetectorColumns", SHAPE: "DetectorShape",
    DU: "DetectorElementTransverseSpacing", DV: "DetectorElementAxialSpacing",
    PHI: "DetectorFocalCenterAngularPosition", Z: "DetectorFocalCenterAxialPosition",
    RHO: "DetectorFocalCenterRadialDistance", DISTANCE: "ConstantRadialDistance", CENTRAL: "DetectorCentralElement",
    DPHI: "SourceAngularPositionShift", DZ: "SourceAxialPositionShift", DRHO: "SourceRadialDistanceShift",
    WATER: "HUCalibrationFactor",
}  # fmt: skip
HEADER = ["Manufacturer", "Rows", "Columns", "InstanceNumber", "BitsAllocated", "RescaleSlope", "RescaleIntercept"]


class View(NamedTuple):
    """What differs from file to file."""

    path: Path
    phi: float
    z: float
    rho: float
    shifts: tuple[float, float, float]
    slope: float
    intercept: float


class Set(NamedTuple):
    """The views in the order in which they were taken, and what they have in common."""

    views: tuple[View, ...]
    shape: tuple[int, int]
    transposed: bool
    flipped: bool
    pixel: tuple[float, float]
    distance: float
    central: tuple[float, float]
    water: float | None


def describe(path: Path) -> Source:
    """What a folder of views (or the folder of the view named) holds.  DataError where files or tags are missing, or do
    not belong together."""
    folder = path if path.is_dir() else path.parent
    files = _files(folder)
    if not files:
        raise DataError(folder, "", "a folder with DICOM files (.dcm)", "none")
    known = _read(folder, len(files), folder.stat().st_mtime_ns)
    source = Source(folder, "dicom-ct-pd", _Views(known, str(folder)), pixel=known.pixel, kind="line_integrals")
    source.scan = _scan(known)
    if known.water is not None:
        source.meta["water_per_mm"] = known.water
    source.notes.append("DICOM-CT-PD: x, y and z are the scanner's, z growing with the table position")
    return source


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in (".dcm", ".ima"))


def _header(path: Path, pixels: bool = False) -> Any:
    pydicom = library("pydicom", "medical", f"{path}: reading DICOM needs")
    try:
        if pixels:
            return pydicom.dcmread(path)
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[*HEADER, *NAMES])
    except Exception as error:  # pydicom lets many kinds through for damaged files
        raise DataError(path, "", "a readable DICOM file", f"{type(error).__name__}: {error}") from error


def _numbers(header: Any, tag: int, path: Path, count: int = 1, default: float | None = None) -> list[float]:
    """So many numbers of a private tag, which files without a dictionary hold as bytes."""
    name = NAMES[tag]
    if tag not in header:
        if default is None:
            raise DataError(path, f"{name} ({tag >> 16:04x},{tag & 0xFFFF:04x})", "a value", "none")
        return [default] * count
    value = header[tag].value
    if isinstance(value, bytes):
        kind = "<u2" if tag in (ROWS, COLUMNS) else "<f4"
        if len(value) < count * np.dtype(kind).itemsize:
            raise DataError(path, name, f"{count} numbers", f"{len(value)} bytes")
        found = np.frombuffer(value, kind, count).tolist()
    else:
        try:
            found = [float(v) for v in (value if count > 1 else [value])]
        except (TypeError, ValueError) as error:
            raise DataError(path, name, f"{count} numbers", repr(value)) from error
    if len(found) != count or not np.isfinite(found).all():
        raise DataError(path, name, f"{count} finite numbers", repr(found))
    return [float(v) for v in found]


@lru_cache(maxsize=4)
def _read(folder: Path, count: int, changed: int) -> Set:
    """All headers of a folder (of which so many files, changed then, are there)."""
    views: list[View] = []
    order: list[int] = []
    common = None
    for path in _files(folder):
        header = _header(path)
        rows, columns = (int(_numbers(header, tag, path)[0]) for tag in (ROWS, COLUMNS))
        shape = header[SHAPE].value if SHAPE in header else "CYLINDRICAL"
        shape = (shape.decode("latin-1") if isinstance(shape, bytes) else str(shape)).strip(" \0")
        if not shape.upper().startswith("CYL"):
            raise DataError(path, NAMES[SHAPE], "CYLINDRICAL", shape)
        stored = (int(header.get("Rows", 0)), int(header.get("Columns", 0)))
        if stored not in ((rows, columns), (columns, rows)):
            raise DataError(
                path, "Rows, Columns", f"{columns} x {rows} detector elements", f"{stored[0]} x {stored[1]}"
            )
        siemens = str(header.get("Manufacturer", "")).upper().startswith("SIEMENS")
        central = _numbers(header, CENTRAL, path, 2)
        water = _numbers(header, WATER, path, default=0.0)[0] or None
        pixel = (_numbers(header, DV, path)[0], _numbers(header, DU, path)[0])
        distance = _numbers(header, DISTANCE, path)[0]
        found = ((rows, columns), stored == (columns, rows), siemens, pixel, distance, (central[0], central[1]), water)
        common = common or found
        if found[:6] != common[:6]:
            raise DataError(path, "detector", f"{common[:6]} as the views before", str(found[:6]))
        dphi, dz, drho = (_numbers(header, tag, path, default=0.0)[0] for tag in (DPHI, DZ, DRHO))
        phi, z, rho = (_numbers(header, tag, path)[0] for tag in (PHI, Z, RHO))
        slope, intercept = (float(header.get(f"Rescale{name}", 1 - k)) for k, name in enumerate(("Slope", "Intercept")))
        views.append(View(path, phi, z, rho, (dphi, dz, drho), slope, intercept))
        order.append(int(header.get("InstanceNumber") or len(order) + 1))
    assert common is not None
    if len(set(order)) < len(order):
        raise DataError(folder, "InstanceNumber", "a number of its own in each view", "the same in several")
    chosen = sorted(range(len(views)), key=order.__getitem__)
    if min(common[3]) <= 0 or common[4] <= 0 or min(v.rho for v in views) <= 0:
        raise DataError(folder, "geometry", "sizes and distances above 0", f"{common[3]}, {common[4]}")
    return Set(tuple(views[i] for i in chosen), *common)


def _scan(known: Set) -> Scan:
    """A cylinder about the focal spot for each view.  Where the spot flies, the cylinder goes with it and is turned so
    that its middle stays where it is seen: outer elements are then off by the spot's shift along the beam times the
    sine of their angle, hundredths of a mm."""
    (rows, columns), (dv, du) = known.shape, known.pixel
    phi, z, rho = (np.array([getattr(view, name) for view in known.views]) for name in ("phi", "z", "rho"))
    shifts = np.array([view.shifts for view in known.views])
    along = ((columns - 1) / 2 - (columns - known.central[0])) * du / known.distance
    middle = (rows - 1) / 2 - (known.central[1] - 1)
    height = (-middle if known.flipped else middle) * dv

    def on_circle(t: np.ndarray, r: np.ndarray) -> np.ndarray:
        return np.stack([r * np.sin(t), -r * np.cos(t)], axis=1)

    t = -phi - np.pi
    centre = on_circle(t, rho) + known.distance * np.stack([-np.sin(t - along), np.cos(t - along)], axis=1)
    source = on_circle(t - shifts[:, 0], rho + shifts[:, 2])
    out = centre - source
    out /= np.linalg.norm(out, axis=1)[:, None]
    frames = np.zeros((len(phi), 12))
    frames[:, :2], frames[:, 2] = source, z + shifts[:, 1]
    frames[:, 3:5], frames[:, 5] = source + known.distance * out, z + height
    frames[:, 6], frames[:, 7], frames[:, 11] = du * out[:, 1], -du * out[:, 0], dv
    return Vectors(frames, known.shape, "cone", known.distance)


class _Views(Stack):
    """The views as (row, column), rows along z and columns along (cos t, sin t)."""

    def __init__(self, known: Set, name: str) -> None:
        self.known, self.name, self.dtype = known, name, np.dtype("f4")
        self.shape = (len(known.views), *known.shape)

    def raw(self, frames: np.ndarray, rows: slice) -> np.ndarray:
        made = np.empty((len(frames), *self.known.shape), np.float32)
        for i, k in enumerate(frames):
            view = self.known.views[int(k)]
            header = _header(view.path, pixels=True)
            wanted = 2 * self.known.shape[0] * self.known.shape[1]
            pixels = header.get("PixelData")
            if pixels is None or len(pixels) < wanted or header.get("BitsAllocated") != 16:
                found = "none" if pixels is None else f"{len(pixels)} bytes of {header.get('BitsAllocated')} bits"
                raise DataError(view.path, "PixelData", f"{wanted} bytes of 16 bits", found)
            flat = np.frombuffer(pixels, "<u2", wanted // 2)
            image = flat.reshape(self.known.shape[::-1]).T if self.known.transposed else flat.reshape(self.known.shape)
            image = image[::-1] if self.known.flipped else image
            made[i] = image[:, ::-1] * np.float32(view.slope) + np.float32(view.intercept)
        return made[:, rows]
