"""The camera that took an image: of an ISD beside it, its own RPC, or the tables of an ISIS cube."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.planetary.isd import Observation, read_isd
from tomodiff.files.planetary.isis_tables import has_tables, read_isis_camera
from tomodiff.files.planetary.raster import opened
from tomodiff.geometry.cameras import Rational

PARTS = ("samp_num_coeff", "samp_den_coeff", "line_num_coeff", "line_den_coeff")


def read_camera(image: Path, isd: Path | None = None) -> Observation | None:
    """The camera of `isd`, or of NAME.json beside the image if that is an ISD, or the image's own; None where there is
    none.  Raises DataError where it does not belong to an image of that size, or cannot be read."""
    beside = image.with_suffix(".json")
    if isd is None and beside.exists() and _is_isd(beside):
        isd = beside
    with opened(image) as source:
        shape = source.height, source.width
        rpc, told = source.rpcs, source.tags(ns="json:ISIS3")
    if isd is not None:
        found: Observation | None = read_isd(isd)
    elif rpc is not None:
        found = Observation(rational_of(image, shape, rpc))
    else:
        label = isis_label(told)
        found = read_isis_camera(image, label) if label is not None and has_tables(label) else None
    if found is not None and isd is not None and found.camera.shape != shape:
        made = found.camera.shape
        raise DataError(
            isd, "image_lines, image_samples", f"{shape[0]} x {shape[1]}, as {image.name} has", f"{made[0]} x {made[1]}"
        )
    return found


def rational_of(path: Path, shape: tuple[int, int], rpc: Any) -> Rational:
    """The camera of GDAL's RPC tags."""
    offset = np.array([rpc.samp_off, rpc.line_off, rpc.long_off, rpc.lat_off, rpc.height_off], np.float64)
    scale = np.array([rpc.samp_scale, rpc.line_scale, rpc.long_scale, rpc.lat_scale, rpc.height_scale], np.float64)
    coefficients = [np.array(getattr(rpc, name), np.float64) for name in PARTS]
    for name, values in zip(PARTS, coefficients, strict=True):
        if values.shape != (20,) or not np.isfinite(values).all():
            raise DataError(path, f"RPC.{name}", "20 numbers", f"{values.size}")
    if not (np.isfinite(offset).all() and (scale > 0).all()):
        raise DataError(path, "RPC scales", "numbers above 0", str(scale))
    return Rational(shape, offset, scale, np.stack(coefficients))


def rpc_of(camera: Rational, column: int = 0, row: int = 0) -> Any:
    """The same for rasterio to write, of a part of the image that begins at this column and row."""
    from rasterio.rpc import RPC

    names = ("long", "lat", "height")
    told = {f"{n}_{what}": float(v) for what, vs in (("off", camera.offset), ("scale", camera.scale))
            for n, v in zip(names, vs[2:], strict=True)}  # fmt: skip
    told |= {"samp_off": camera.offset[0] - column, "line_off": camera.offset[1] - row}
    told |= {"samp_scale": camera.scale[0], "line_scale": camera.scale[1]}
    coefficients = {name: list(map(float, v)) for name, v in zip(PARTS, camera.coefficients, strict=True)}
    return RPC(**{n: float(v) for n, v in told.items()}, **coefficients)


def isis_label(tags: dict[str, str]) -> dict[str, Any] | None:
    """The label of an ISIS cube from GDAL's domain json:ISIS3, which rasterio splits at its first colon."""
    for key, value in tags.items():
        try:
            label = json.loads(f"{key}:{value}")
        except ValueError:
            continue
        return label if isinstance(label, dict) and "IsisCube" in label else None
    return None


def _is_isd(path: Path) -> bool:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and "name_model" in told
