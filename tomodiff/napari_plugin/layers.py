"""Files as napari's layers: where voxels lie and how large they are comes along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import ConfigError, DataError
from tomodiff.files import probe, read, read_volume
from tomodiff.geometry import Grid
from tomodiff.geometry.units import told_unit
from tomodiff.html import window
from tomodiff.recipes.run import Run

Layer = tuple[np.ndarray, dict[str, Any], str]
"""Data, properties and kind, as napari's readers give them."""

SEEN = 1 << 20
"""Voxels that are looked at to choose the contrast, at most."""


def reader_of(path: str | Sequence[str]) -> Callable[[Any], list[Layer]] | None:
    """napari's question whether we read this; several files at once are left to others."""
    return layers if isinstance(path, str) and Path(path).exists() else None


def layers(path: str) -> list[Layer]:
    """One layer: of a run directory its volume, of a volume itself, of a scan its projections.

    DataError, with what either reader says, for what is neither.
    """
    place = Path(path)
    if (place / "status.json").is_file():
        return [volume_layer(Run.open(place).volume_path)]
    try:
        return [volume_layer(place)]
    except DataError as no_volume:
        try:
            return [scan_layer(place)]
        except (DataError, ConfigError) as no_scan:
            raise DataError(place, "", "a volume or a scan", f"neither: {no_volume}; {no_scan}") from no_scan


def volume_layer(path: Path) -> Layer:
    """A volume (z, y, x), placed as its grid says."""
    volume, grid, meta = read_volume(path)
    unit, factor = told_unit(grid.spacing)
    about = {"quantity": meta.get("quantity", ""), "unit": meta.get("unit", ""), "path": str(path)}
    return volume, {**_placed(grid, factor, unit), **_look(path.name, volume, about)}, "image"


def scan_layer(path: Path) -> Layer:
    """Projections (view, row, column) as they were measured, the highest row first, as napari draws."""
    info = probe(path)
    data = read(path).data[:, ::-1]
    v, u = info.pixel_mm or (1.0, 1.0)
    about = {"geometry": info.geometry, "kind": info.kind, "path": str(path), "warnings": list(info.warnings)}
    return data, {"scale": (1.0, v, u), **_look(path.name, data, about)}, "image"


def _placed(grid: Grid, factor: float, unit: str) -> dict[str, Any]:
    """Where the voxels are: scale and place of an upright grid, a matrix of one that is turned."""
    world = factor * grid.world_from_index[::-1, [2, 1, 0, 3]]  # of and to (z, y, x)
    placed: dict[str, Any] = {"units": (unit,) * 3, "axis_labels": ("z", "y", "x")}
    if grid.rotation is None:
        return {**placed, "scale": tuple(np.diag(world[:, :3])), "translate": tuple(world[:, 3])}
    return {**placed, "affine": np.vstack([world, (0.0, 0.0, 0.0, 1.0)])}


def _look(name: str, data: np.ndarray, about: dict[str, Any]) -> dict[str, Any]:
    limits = window(data.reshape(-1)[:: max(1, data.size // SEEN)])
    return {"name": name, "colormap": "gray", "contrast_limits": limits, "metadata": {"tomodiff": about}}
