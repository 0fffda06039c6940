"""APS Data Exchange files (De Carlo et al. 2014, J. Synchrotron Rad. 21, 1224): `/exchange/data` and its company."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tomodiff.files.angles import unit_name
from tomodiff.files.azimuth import azimuths
from tomodiff.files.carried import read_carried, write_carried
from tomodiff.files.hdf5 import Hdf5Stack, dataset_at, find, linked_file, numbers, packing, text, units
from tomodiff.files.source import RawAngles, Source, in_kev, in_mm
from tomodiff.files.stack import Stack
from tomodiff.result import Dataset, Result

DATA, FLATS, DARKS, THETA = "/exchange/data", "/exchange/data_white", "/exchange/data_dark", "/exchange/theta"
INSTRUMENT = "/measurement/instrument"
RESOLUTION = f"{INSTRUMENT}/detection_system/objective/resolution"
MAGNIFICATION = f"{INSTRUMENT}/detection_system/objective/magnification"
PIXELS = (
    (RESOLUTION, RESOLUTION),
    (f"{INSTRUMENT}/detector/actual_pixel_size_y", f"{INSTRUMENT}/detector/actual_pixel_size_x"),
    (f"{INSTRUMENT}/detector/y_pixel_size", f"{INSTRUMENT}/detector/x_pixel_size"),
    (f"{INSTRUMENT}/detector/pixel_size_y", f"{INSTRUMENT}/detector/pixel_size_x"),
)
"""Where the size of a pixel at the sample is found, the most direct first: (v, u)."""
CAMERA_PIXEL = f"{INSTRUMENT}/detector/pixel_size"
"""The size of a pixel of the camera chip: at the sample it is smaller by the magnification of the objective."""
DISTANCES = (f"{INSTRUMENT}/detector/distance", f"{INSTRUMENT}/detector_motor_stack/setup/z",
             f"{INSTRUMENT}/camera_motor_stack/setup/camera_distance")  # fmt: skip
ENERGIES = (f"{INSTRUMENT}/monochromator/energy", f"{INSTRUMENT}/source/energy")


def is_dxchange(file: h5py.File) -> bool:
    """Whether an HDF5 file is laid out as Data Exchange."""
    return "exchange" in file and DATA in file


def describe(file: h5py.File, path: Path, data_path: str | None) -> Source:
    """What a Data Exchange file holds.  `data_path` names other projections than `/exchange/data`."""
    where = data_path or DATA
    node = dataset_at(file, where)
    source = Source(path, "dxchange", Hdf5Stack(node, str(path), where))
    if (other := linked_file(node, path)) is not None:
        source.meta["linked_file"] = other
    source.flats, source.darks = _fields(file, path, FLATS), _fields(file, path, DARKS)
    theta = find(file, THETA)
    if theta is not None:
        unit = unit_name(units(theta), f"{path}:{THETA}")
        source.angles = RawAngles(numbers(file, theta).reshape(-1), unit, f"{path}:{THETA}")
    else:
        source.no_angles = f"no {THETA}"
    if (units(node) or "").lower() == "counts":
        source.kind = "counts"
    source.pixel = _pixel(file, source)
    _meta(file, source)
    read_carried(file, source)
    return source


def _fields(file: h5py.File, path: Path, name: str) -> Stack | None:
    node = find(file, name)
    if node is None or node.shape is None or 0 in node.shape:
        return None
    return Hdf5Stack(node, str(path), name, single=True)


def _scalar(file: h5py.File, name: str) -> tuple[float, str | None] | None:
    node = find(file, name)
    if node is None or node.dtype.kind not in "iuf" or node.size == 0:
        return None
    return float(np.ravel(node[()])[0]), units(node)


def _pixel(file: h5py.File, source: Source) -> tuple[float, float] | None:
    """The size (v, u) of a pixel at the sample in mm, where the file says it with a unit."""
    for names in PIXELS:
        sizes = [in_mm(*found) for name in names if (found := _scalar(file, name)) is not None]
        if len(sizes) == 2 and sizes[0] is not None and sizes[1] is not None:
            source.notes.append(f"pixel size from {names[1]}")
            return sizes[0], sizes[1]
    camera, objective = _scalar(file, CAMERA_PIXEL), _scalar(file, MAGNIFICATION)
    if camera is not None and (size := in_mm(*camera)) is not None:
        times = objective[0] if objective is not None and objective[0] > 0 else 1.0
        source.notes.append(f"pixel size from {CAMERA_PIXEL}, magnified {times:g} times")
        return size / times, size / times
    return None


def _meta(file: h5py.File, source: Source) -> None:
    found: Any
    for name in DISTANCES:
        if (found := _scalar(file, name)) is not None and (distance := in_mm(*found)) is not None:
            source.meta["detector_distance_mm"] = distance
            break
    for name in ENERGIES:
        if (found := _scalar(file, name)) is not None and (energy := in_kev(*found)) is not None:
            source.meta["energy_kev"] = energy
            break
    sample = find(file, "/measurement/sample/name")
    if sample is not None:
        source.meta["sample"] = text(sample)


def write_dxchange(target: Path, dataset: Dataset, truth: Result | None, compression: str | None) -> None:
    """Write a scan as a Data Exchange file with our own geometry beside the plain fields."""
    with h5py.File(target, "w") as file:
        file["implements"] = "exchange:measurement"
        _write_frames(file, DATA, dataset.data, "theta:y:x", compression)
        file[DATA].attrs["units"] = {"counts": "counts", "transmission": "1", "line_integrals": "1"}[dataset.kind]
        file[DATA].attrs["description"] = dataset.kind
        for name, frames, axes in ((FLATS, dataset.flats, "theta_white:y:x"), (DARKS, dataset.darks, "theta_dark:y:x")):
            if frames is not None:
                _write_frames(file, name, frames, axes, compression)
                file[name].attrs["units"] = "counts"
        file[THETA] = np.rad2deg(azimuths(dataset.scan))
        file[THETA].attrs["units"] = "degrees"
        detector = file.create_group(f"{INSTRUMENT}/detector")
        for name, size in zip(("y_pixel_size", "x_pixel_size"), dataset.scan.pixel, strict=True):
            detector[name] = size
            detector[name].attrs["units"] = "mm"
        if "energy_kev" in dataset.meta:
            file[ENERGIES[0]] = float(dataset.meta["energy_kev"])
            file[ENERGIES[0]].attrs["units"] = "keV"
        file["/measurement/sample/name"] = str(dataset.meta.get("sample", ""))
        write_carried(file, dataset, truth, compression)


def _write_frames(file: h5py.File, name: str, frames: Any, axes: str, compression: str | None) -> None:
    file.create_dataset(name, data=np.asarray(frames), **packing(frames.shape, compression))
    file[name].attrs["axes"] = axes
