"""Scans as NXtomo files: flats, then darks, then projections in one stack, with image keys and angles."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from tomodiff.files.azimuth import azimuths
from tomodiff.files.carried import write_carried
from tomodiff.files.hdf5 import packing
from tomodiff.files.nxtomo import DARK, FLAT, PROJECTION
from tomodiff.result import Dataset, Result


def write_nxtomo(target: Path, dataset: Dataset, truth: Result | None, compression: str | None) -> None:
    """Write a scan as an NXtomo file with our own geometry beside the plain fields.

    Flats and darks carry the angle of the first view, where the stage waits for the scan.  Frames are written in
    the widest number type among them.
    """
    parts = [(FLAT, dataset.flats), (DARK, dataset.darks), (PROJECTION, dataset.data)]
    stacks = [(key, np.asarray(frames)) for key, frames in parts if frames is not None]
    keys = np.concatenate([np.full(len(frames), key, np.int32) for key, frames in stacks])
    angles = np.rad2deg(azimuths(dataset.scan))
    with h5py.File(target, "w") as file:
        file.attrs.update({"NX_class": "NXroot", "default": "entry"})
        entry = _group(file, "entry", "NXentry")
        entry.attrs["default"] = "data"
        entry["definition"] = "NXtomo"
        entry["title"] = str(dataset.meta.get("sample", ""))
        instrument = _group(entry, "instrument", "NXinstrument")
        detector = _group(instrument, "detector", "NXdetector")
        shape = (len(keys), *dataset.data.shape[1:])
        dtype = np.result_type(*(frames.dtype for _, frames in stacks))
        data = detector.create_dataset("data", shape, dtype, **packing(shape, compression))
        data.attrs["interpretation"] = "image"
        start = 0
        for _, frames in stacks:
            data[start : start + len(frames)] = frames
            start += len(frames)
        detector["image_key"] = keys
        for name, size in zip(("y_pixel_size", "x_pixel_size"), dataset.scan.pixel, strict=True):
            _with_unit(detector, name, size, "mm")
        _distances(dataset, instrument, detector)
        if "energy_kev" in dataset.meta:
            _with_unit(_group(instrument, "beam", "NXbeam"), "incident_energy", dataset.meta["energy_kev"], "keV")
        sample = _group(entry, "sample", "NXsample")
        sample["name"] = str(dataset.meta.get("sample", ""))
        standing = np.full(len(keys) - len(angles), angles[0])
        _with_unit(sample, "rotation_angle", np.concatenate([standing, angles]), "degree")
        _links(file, entry)
        write_carried(file, dataset, truth, compression)


def _group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def _with_unit(group: h5py.Group, name: str, value: object, unit: str) -> None:
    group[name] = value
    group[name].attrs["units"] = unit


def _distances(dataset: Dataset, instrument: h5py.Group, detector: h5py.Group) -> None:
    """Sample to detector, and source to sample (negative: upstream), for a cone beam in its first view."""
    source = _group(instrument, "source", "NXsource")
    source["probe"] = "x-ray"
    frame = dataset.scan[:1].frames()[0]
    if dataset.scan.kind == "cone":
        out = frame[3:6] - frame[0:3]
        axis = float(-frame[0:3] @ out / np.linalg.norm(out))
        _with_unit(source, "distance", -axis, "mm")
        _with_unit(detector, "distance", float(np.linalg.norm(out)) - axis, "mm")
    elif "detector_distance_mm" in dataset.meta:
        _with_unit(detector, "distance", float(dataset.meta["detector_distance_mm"]), "mm")


def _links(file: h5py.File, entry: h5py.Group) -> None:
    """The NXdata group that plotting programs open first."""
    group = _group(entry, "data", "NXdata")
    group.attrs["signal"] = "data"
    for name, path in (("data", "instrument/detector/data"), ("image_key", "instrument/detector/image_key"),
                       ("rotation_angle", "sample/rotation_angle")):  # fmt: skip
        file[f"/entry/{path}"].attrs["target"] = f"/entry/{path}"
        group[name] = h5py.SoftLink(f"/entry/{path}")
