"""Plain arrays as scans: .npy, .npz, .png, .zarr and MATLAB files, with a YAML file beside them that says the rest.

    # sinogram.yml beside sinogram.npy (also .npz, .png, .mat, .zarr)
    kind: line_integrals            # or transmission, counts
    angles_deg: 0:360:120           # start:stop:n, a list, or a file of angles
    pixel_mm: 0.35                  # or [v, u]
    source_axis_mm: 110             # of a cone or fan beam; without them the beam is parallel
    source_detector_mm: 300
    detector_offset_mm: [0, 0.27]   # (v, u), see the geometry
    axis_column: 163.2              # where the axis projects, from 0
    axes: u view                    # the order in the file; "view u" or "view v u" else
    array: sinogram                 # which one, of several in a file

Of a Zarr group the array is the one named, or the finest level of an OME-Zarr image.  MATLAB files of the HelTomo
toolbox (FIPS, University of Helsinki: a struct CtData) need none: a fan beam as ASTRA's fanflat.
"""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, PositiveFloat, ValidationError

from tomodiff.errors import ConfigError, DataError
from tomodiff.extras import library
from tomodiff.files.angles import fitted, given_angles, in_radians
from tomodiff.files.source import Source
from tomodiff.files.stack import ArrayStack
from tomodiff.geometry import ConeBeam, FanBeam, ParallelBeam, Scan

SIDECARS = (".yml", ".yaml")
FAULTS = (
    OSError, ValueError, EOFError, TypeError, KeyError, IndexError, OverflowError, MemoryError, NotImplementedError,
    SyntaxError, struct.error, zlib.error, tokenize.TokenError, zipfile.BadZipFile,
)  # fmt: skip
"""What NumPy, SciPy and Pillow raise on damaged files."""


class Layout(BaseModel):
    """What the YAML file may say."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["line_integrals", "transmission", "counts"] | None = None
    angles_deg: str | list[float] | None = None
    pixel_mm: PositiveFloat | tuple[PositiveFloat, PositiveFloat] | None = None
    source_axis_mm: PositiveFloat | None = None
    source_detector_mm: PositiveFloat | None = None
    detector_offset_mm: tuple[float, float] = (0.0, 0.0)
    axis_column: float | None = None
    axes: str | None = None
    array: str | None = None


def describe(path: Path) -> Source:
    """What an array and the YAML beside it hold."""
    layout, beside = _layout(path)
    found = _arrays(path, layout.array)
    if isinstance(found, dict):
        return _heltomo(path, found)
    source = Source(path, path.suffix[1:].lower(), ArrayStack(_frames(path, found, layout.axes), str(path)))
    source.kind = layout.kind
    if beside is None:
        source.no_angles = f"no {path.stem}.yml beside it"
        return source
    source.scan = _scan(source, layout, beside)
    source.pixel = source.scan.pixel
    source.notes.append(f"geometry of {beside}")
    if layout.pixel_mm is None:
        source.meta["pixel_unknown"] = True
        source.notes.append("pixel size unknown, taken as 1 mm: attenuation comes out per pixel (pixel_mm)")
    return source


def _layout(path: Path) -> tuple[Layout, Path | None]:
    beside = next((p for s in SIDECARS if (p := path.with_suffix(s)).is_file()), None)
    if beside is None:
        return Layout(), None
    import yaml

    try:
        stored: Any = yaml.safe_load(beside.read_text(encoding="utf-8"))
        return Layout.model_validate(stored), beside
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(beside, "", "a readable YAML file", str(error)) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "layout"
        unknown = first["type"] == "extra_forbidden"
        wanted = f"one of {', '.join(Layout.model_fields)}" if unknown else first["msg"]
        raise DataError(beside, field, wanted, repr(first["input"])) from error


# ---- the array


def _arrays(path: Path, name: str | None) -> np.ndarray | dict[str, Any]:
    """The array that is named, or the only one; of a HelTomo file its CtData."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
            return array
        if suffix == ".zarr":
            return _zarr(path, name)
        if suffix == ".png":
            return _image(path)
        if suffix == ".npz":
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                return np.asarray(stored[_chosen(path, list(stored.files), name)])
        return _matlab(path, name)
    except FAULTS as error:
        if isinstance(error, DataError):
            raise
        raise DataError(path, "", f"a readable {suffix} file", str(error) or type(error).__name__) from error


def _zarr(path: Path, name: str | None) -> np.ndarray:
    zarr = library("zarr", "zarr", f"{path}: reading Zarr needs")
    opened = zarr.open(str(path), mode="r")
    if not hasattr(opened, "shape"):
        scales = dict(opened.attrs).get("ome", dict(opened.attrs)).get("multiscales")
        levels = [level["path"] for level in scales[0]["datasets"]] if scales else []
        names = levels[:1] or sorted(key for key, _ in opened.arrays())
        opened = opened[_chosen(path, names, name if name is not None or len(names) != 1 else names[0])]
    array = np.asarray(opened[...])
    extra = array.ndim - 3
    return array.reshape(array.shape[extra:]) if extra > 0 and set(array.shape[:extra]) == {1} else array


def _image(path: Path) -> np.ndarray:
    image = library("PIL.Image", "scanners", f"{path}: reading PNG needs", "pillow")
    with image.open(path) as opened:
        array = np.asarray(opened)
    if array.ndim != 2:
        raise DataError(path, "", "a grey image", f"{array.ndim} axes {array.shape} (colour?)")
    return array


def _chosen(path: Path, names: list[str], name: str | None) -> str:
    if name is None and len(names) == 1:
        return names[0]
    if name not in names:
        said = repr(name) if name else "none named"
        raise DataError(path, "array", f"one of {', '.join(names) or 'no arrays'}", said)
    return name


def _matlab(path: Path, name: str | None) -> np.ndarray | dict[str, Any]:
    with path.open("rb") as stream:
        modern = b"MATLAB 7.3" in stream.read(128)
    if modern:
        import h5py

        with h5py.File(path, "r") as file:
            names = [key for key in file if not key.startswith("#")]
            return np.asarray(file[_chosen(path, names, name)]).T  # columns first there
    stored = _by_scipy(path)
    names = [key for key in stored if not key.startswith("__")]
    if name is None and len(names) == 1 and isinstance(stored[names[0]], dict):
        return dict(stored[names[0]])
    return np.asarray(stored[_chosen(path, names, name)])


BY_SCIPY = """\
import pickle, sys, scipy.io
pickle.dump(scipy.io.loadmat(sys.argv[1], simplify_cells=True), sys.stdout.buffer, 5)
"""


def _by_scipy(path: Path) -> dict[str, Any]:
    """What is in a MATLAB file before version 7.3, read by a process of its own: some damaged ones make SciPy crash."""
    done = subprocess.run([sys.executable, "-c", BY_SCIPY, str(path.resolve())], capture_output=True)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        found = said[-1] if said and done.returncode > 0 else "damaged data, at which SciPy crashes"
        raise DataError(path, "", "a readable MATLAB file", found)
    return dict(pickle.loads(done.stdout))


def _frames(path: Path, array: np.ndarray, axes: str | None) -> np.ndarray:
    """The array as (view, v, u)."""
    if array.ndim not in (2, 3):
        raise DataError(path, "", "2 axes (view, u) or 3 (view, v, u)", f"{array.ndim} axes {array.shape}")
    names = (axes or ("view u" if array.ndim == 2 else "view v u")).split()
    wanted = ["view", "u"] if array.ndim == 2 else ["view", "v", "u"]
    if sorted(names) != sorted(wanted):
        raise DataError(path, "axes", f"{' '.join(wanted)}, in the file's order", axes or "none")
    moved = array.transpose([names.index(name) for name in wanted])
    return moved[:, None] if moved.ndim == 2 else moved


# ---- its geometry


def _scan(source: Source, layout: Layout, beside: Path) -> Scan:
    n, nv, nu = source.projections.shape
    if layout.angles_deg is None:
        raise DataError(beside, "angles_deg", "start:stop:n, a list or a file", "none")
    angles: Any = layout.angles_deg
    if isinstance(angles, str) and angles.count(":") < 2:
        angles = str(beside.parent / angles)
    try:
        given = given_angles(angles if isinstance(angles, str) else np.array(angles, float), f"{beside}: angles_deg")
        given.values, warning = fitted(given.values, n, given.origin, (n, nv, nu))
        radians, _ = in_radians(given, "deg")
        if warning:
            source.warnings.append(warning)
        pixel = layout.pixel_mm or 1.0
        offset: dict[str, Any] = {"detector_offset": layout.detector_offset_mm}
        near, far = layout.source_axis_mm, layout.source_detector_mm
        if (near is None) != (far is None):
            raise DataError(beside, "source_axis_mm, source_detector_mm", "both, of a cone beam, or none", "one")
        if near is None or far is None:
            scan: ParallelBeam | ConeBeam = ParallelBeam(radians, (nv, nu), pixel, **offset)
        else:
            scan = ConeBeam(radians, near, far, (nv, nu), pixel, **offset)
        return scan if layout.axis_column is None else scan.with_axis_column(layout.axis_column)
    except (ValueError, ConfigError) as error:
        raise DataError(beside, "geometry", "that of a scan", str(error)) from error


def _heltomo(path: Path, data: dict[str, Any]) -> Source:
    """A fan beam as the HelTomo toolbox gives it to ASTRA: angles in degrees, lengths in mm, a centred detector."""
    parameters, sinogram = data.get("parameters"), data.get("sinogram")
    if not isinstance(parameters, dict) or not isinstance(sinogram, np.ndarray) or data.get("type", "2D") != "2D":
        wanted = "a sinogram, or CtData of a 2D scan (HelTomo)"
        raise DataError(path, "", wanted, ", ".join(map(str, data)) or "nothing")
    names = ("distanceSourceDetector", "distanceSourceOrigin", "geometricMagnification", "angles")
    pixel = next((parameters[k] for k in ("effectivePixelSizePost", "effectivePixelSize") if k in parameters), None)
    missing = [name for name in names if name not in parameters] + ([] if pixel is not None else ["effectivePixelSize"])
    if missing:
        raise DataError(path, "CtData.parameters", ", ".join(missing), "none")
    angles = np.deg2rad(np.atleast_1d(np.asarray(parameters["angles"], float)))
    source = Source(path, "heltomo", ArrayStack(_frames(path, sinogram, None), str(path)), kind="line_integrals")
    width = float(pixel) * float(parameters["geometricMagnification"])  # type: ignore[arg-type]
    try:
        far, near = (float(parameters[name]) for name in names[:2])
        source.scan = FanBeam(angles, near, far, sinogram.shape[1], width)
    except (ValueError, TypeError) as error:
        raise DataError(path, "CtData.parameters", "the geometry of a fan beam", str(error)) from error
    source.pixel = source.scan.pixel
    source.notes.append("geometry of CtData (HelTomo), the axis taken on the detector's middle")
    return source
