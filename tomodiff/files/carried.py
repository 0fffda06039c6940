"""What our own scan files hold beyond the plain fields: `/measurement/tomodiff`, the exact geometry and the truth.

scan              JSON of the scan's to_dict()
attribute kind    counts, transmission or line_integrals
meta, history     JSON
weights           (view, v, u), if the dataset has any
truth/volume      (z, y, x) of the phantom that was simulated, if known; truth/grid: JSON
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile

from tomodiff.errors import DataError
from tomodiff.files.hdf5 import Hdf5Stack, find, open_hdf5, packing, text
from tomodiff.files.source import Source
from tomodiff.geometry import Grid, Scan, scan_from_dict
from tomodiff.result import Dataset, Result

GROUP = "/measurement/tomodiff"
NO_TRUTH = (ValueError, KeyError, TypeError, AttributeError)
"""What a damaged description of the truth raises."""


def write_carried(file: h5py.File, dataset: Dataset, truth: Result | None, compression: str | None) -> None:
    """Add the group to a file that is being written."""
    group = file.create_group(GROUP)
    group.attrs["kind"] = dataset.kind
    group["scan"] = json.dumps(dataset.scan.to_dict())
    group["meta"] = json.dumps(dataset.meta)
    group["history"] = json.dumps(list(dataset.history))
    if dataset.weights is not None:
        weights = np.asarray(dataset.weights)
        group.create_dataset("weights", data=weights, **packing(weights.shape, compression))
    if truth is not None:
        known = np.asarray(truth.volume)
        volume = group.create_dataset("truth/volume", data=known, **packing(known.shape, compression))
        volume.attrs.update({"units": truth.unit, "quantity": truth.quantity, "axes": "z:y:x"})
        group["truth/grid"] = json.dumps(truth.grid.to_dict())


def read_carried(file: h5py.File, source: Source) -> None:
    """Fill in what the group of an open file says, if it is there."""
    if GROUP not in file:
        return
    group = file[GROUP]
    source.scan = stored_scan(_json(file, "scan"), f"{file.filename}:{GROUP}/scan")
    source.kind = text(group.attrs["kind"]) if "kind" in group.attrs else None
    source.meta = {**source.meta, **_json(file, "meta")}
    source.notes = [*_json(file, "history"), *source.notes]
    weights = find(file, f"{GROUP}/weights")
    if weights is not None:
        source.weights = Hdf5Stack(weights, file.filename, f"{GROUP}/weights")


def stored_scan(stored: Any, where: str) -> Scan:
    """The scan whose to_dict() is in a file.  Raises DataError where that makes no scan."""
    try:
        return scan_from_dict(stored)
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(where, "geometry", "a scan as tomodiff stores it", str(error)) from error


def read_truth(path: str | Path) -> Result:
    """The volume from which our own scan file was simulated.  Raises DataError where the file has none."""
    path = Path(path)
    if path.is_dir():
        return _truth_in_folder(path)
    with open_hdf5(path) as file:
        volume = find(file, f"{GROUP}/truth/volume")
        if volume is None:
            raise DataError(path, f"{GROUP}/truth", "the volume that was simulated", "none")
        try:
            grid = Grid.from_dict(_json(file, "truth/grid"))
            return Result(volume[()], grid, text(volume.attrs["quantity"]), text(volume.attrs["units"]))
        except NO_TRUTH as error:
            raise DataError(path, f"{GROUP}/truth", "a volume, its grid, quantity and unit", repr(error)) from error


def _truth_in_folder(folder: Path) -> Result:
    import yaml

    image, sidecar = folder / "truth" / "truth.tif", folder / "truth" / "grid.yml"
    if not image.exists() or not sidecar.exists():
        raise DataError(folder, "truth", "the volume that was simulated in truth/", "none")
    try:
        stored = yaml.safe_load(sidecar.read_text(encoding="utf-8"))
        grid = Grid.from_dict(stored["grid"])
        volume = tifffile.imread(image).reshape(grid.shape)  # tifffile drops an axis of one slice
        return Result(volume, grid, stored["quantity"], stored["unit"])
    except (*NO_TRUTH, yaml.YAMLError, tifffile.TiffFileError) as error:
        raise DataError(folder, "truth", "a volume, its grid, quantity and unit", repr(error)) from error


def _json(file: h5py.File, name: str) -> Any:
    node = find(file, f"{GROUP}/{name}")
    try:
        return json.loads(text(node)) if node is not None else {}
    except json.JSONDecodeError as error:
        raise DataError(file.filename, f"{GROUP}/{name}", "JSON", f"text that is not ({error})") from error
