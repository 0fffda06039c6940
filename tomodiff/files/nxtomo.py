"""NeXus files after the application definition NXtomo: one stack of frames, and an image key that says what each is.

https://manual.nexusformat.org/classes/applications/NXtomo.html.  Flats and darks may come before, after and
between the projections; the rotation angle is given for every frame.  `image_key_control` (ESRF's extension) tells
alignment images (-1) from projections.
"""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tomodiff.errors import DataError
from tomodiff.files import diamond
from tomodiff.files.angles import unit_name
from tomodiff.files.carried import read_carried
from tomodiff.files.hdf5 import LISTED, Found, Hdf5Stack, dataset_at, linked_file, numbers, text, units, walk
from tomodiff.files.source import RawAngles, Source, in_kev, in_mm
from tomodiff.files.stack import Selection

PROJECTION, FLAT, DARK, INVALID, ALIGNMENT = 0, 1, 2, 3, -1
KEYS = ("image_key", "image_key_control")


def is_nxtomo(file: h5py.File) -> bool:
    """Whether an HDF5 file has an image key anywhere."""
    return any(posixpath.basename(found.path) in KEYS for found in walk(file))


def describe(file: h5py.File, path: Path, data_path: str | None) -> Source:
    """What an NXtomo file holds.  `data_path` names the frames where there are several detectors."""
    names = list(walk(file))
    where = data_path or _frames_path(file, names)
    node = dataset_at(file, where)
    frames = Hdf5Stack(node, str(path), where)
    key = _image_key(file, names, where, len(frames))
    source = Source(path, "nxtomo", frames)
    if (other := linked_file(node, path)) is not None:
        source.meta["linked_file"] = other
    chosen = {k: np.flatnonzero(key == k) for k in (PROJECTION, FLAT, DARK)}
    if not chosen[PROJECTION].size:
        counts = {int(k): int((key == k).sum()) for k in np.unique(key)}
        raise DataError(path, "image_key", "frames that are projections (0)", f"none; keys and frames: {counts}")
    source.projections = Selection(frames, chosen[PROJECTION], frames.name)
    source.flats = Selection(frames, chosen[FLAT], frames.name) if chosen[FLAT].size else None
    source.meta["flat_views"] = np.searchsorted(chosen[PROJECTION], chosen[FLAT]).tolist()
    source.darks = Selection(frames, chosen[DARK], frames.name) if chosen[DARK].size else None
    left_out = int(np.isin(key, (INVALID, ALIGNMENT)).sum())
    if left_out:
        source.notes.append(f"{left_out} frames marked invalid or alignment left out")
    source.kind = "counts" if source.flats is not None else None
    _angles(file, names, source, key, where)
    _setup(names, source, where)
    read_carried(file, source)
    return source


def _named(names: list[Found], *endings: str) -> list[Found]:
    """Names that end so, those that are no mere soft link first, then those nearest to the root."""
    found = [f for f in names if any(f.path.endswith("/" + e) for e in endings)]
    return sorted(found, key=lambda f: (f.soft, f.path.count("/"), f.path))


def _frames_path(file: h5py.File, names: list[Found]) -> str:
    """Where the frames are: `data` beside an image key.  Raises DataError where there is none, or more than one."""
    folders = list(dict.fromkeys(posixpath.dirname(f.path) for f in _named(names, *KEYS) if not f.soft))
    folders = folders or [posixpath.dirname(f.path) for f in _named(names, *KEYS)]
    beside = [f for f in names if posixpath.basename(f.path) == "data" and posixpath.dirname(f.path) in folders]
    stacks = [f.path for f in beside if f.node is not None and f.node.ndim == 3]
    if len(stacks) == 1:
        return stacks[0]
    if len(stacks) > 1:
        raise DataError(
            file.filename,
            "frames",
            "one stack beside an image_key",
            ", ".join(stacks[:LISTED]),
            "Name one of them with data_path.",
        )
    broken = [f for f in beside if f.node is None and f.target]
    return broken[0].path if broken else (beside[0].path if beside else posixpath.join(folders[0], "data"))


def _image_key(file: h5py.File, names: list[Found], where: str, n_frames: int) -> np.ndarray:
    folder = posixpath.dirname(where)
    found = [f for f in _named(names, "image_key_control") if posixpath.dirname(f.path) == folder]
    found += [f for f in _named(names, "image_key") if posixpath.dirname(f.path) == folder]
    found += _named(names, *KEYS)
    present = [f for f in found if f.node is not None]
    if not present:
        dataset_at(file, found[0].path)  # raises with the link that leads nowhere
    key = numbers(file, present[0].node)
    if len(key) != n_frames:
        raise DataError(file.filename, present[0].path, f"{n_frames} keys, one for each frame", str(len(key)))
    unknown = np.setdiff1d(key, (PROJECTION, FLAT, DARK, INVALID, ALIGNMENT))
    if unknown.size:
        raise DataError(
            file.filename, present[0].path, "0 projection, 1 flat, 2 dark or 3 invalid", f"the keys {unknown.tolist()}"
        )
    return key.astype(np.int64)


def _angles(file: h5py.File, names: list[Found], source: Source, key: np.ndarray, where: str) -> None:
    """Find the angles of the projections: measured, else as the plan of the scan has them."""
    entry = where.strip("/").split("/")[0]
    found = [f for f in _named(names, "rotation_angle") if f.path.strip("/").startswith(entry + "/")]
    present = [f for f in found if f.node is not None]
    if present:
        node, path = present[0].node, f"{file.filename}:{present[0].path}"
        values = numbers(file, node)
        if len(values) == len(key):
            values = values[key == PROJECTION]
        source.angles = RawAngles(values, unit_name(units(node), path), path)
        return
    source.angles = diamond.planned_angles(file, names, key)
    if source.angles is not None:
        source.warnings.append(f"angles taken from {source.angles.origin}")
    elif found:
        source.no_angles = f"{found[0].path} linked to {found[0].target}, which is not there"
    else:
        source.no_angles = "no rotation_angle"


def _setup(names: list[Found], source: Source, where: str) -> None:
    """Pixel size, distances, energy and sample, where the file gives them with a unit."""
    detector = posixpath.dirname(where)
    entry = "/" + where.strip("/").split("/")[0] + "/"
    here = [f for f in names if f.node is not None and f.node.size and f.path.startswith(entry)]
    sizes = []
    for name in ("y_pixel_size", "x_pixel_size"):
        mine = [f for f in _named(here, name) if posixpath.dirname(f.path) == detector] or _named(here, name)
        sizes.append(in_mm(_value(mine[0].node), units(mine[0].node)) if mine else None)
    if sizes[0] is not None and sizes[1] is not None:
        source.pixel = (sizes[0], sizes[1])
    for ending, name in (("detector/distance", "detector_distance_mm"), ("source/distance", "source_distance_mm")):
        for f in _named(here, ending)[:1]:
            if (distance := in_mm(_value(f.node), units(f.node))) is not None:
                source.meta[name] = distance
    for f in _named(here, "incident_energy", "monochromator/energy")[:1]:
        if (energy := in_kev(_value(f.node), units(f.node))) is not None:
            source.meta["energy_kev"] = energy
    for f in _named(here, "sample/name")[:1]:
        source.meta["sample"] = text(f.node)


def _value(node: Any) -> float:
    return float(np.ravel(node[()])[0]) if node.dtype.kind in "iuf" else float("nan")
