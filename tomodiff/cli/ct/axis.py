"""The rotation axis of a scan, found from a few of its rows."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import ConfigError, DataError
from tomodiff.files import probe, read
from tomodiff.geometry import ConeBeam, ParallelBeam, fit_grid
from tomodiff.prepare import find_center, prepare
from tomodiff.prepare.center import METHODS
from tomodiff.recipes.ct.settings import CtSettings
from tomodiff.result import Dataset

LOG = logging.getLogger("tomodiff")
ROWS = 32
"""Rows in the middle of the detector that are read, unless others are asked for: enough, and quickly read."""
PANELS = 9
"""Places of the axis that a picture shows, the one found in their middle."""


@dataclass(frozen=True)
class FoundAxis:
    """The axis column (of the binned detector, if it is binned), the corrected rows that it was found from, and the
    numbers of the search."""

    column: float
    rows: Dataset
    numbers: dict[str, Any]


def find_column(settings: CtSettings) -> FoundAxis:
    """The detector column onto which the axis projects."""
    chosen, wanted = settings.input, settings.prepare
    part = chosen.selection()
    if part["rows"] is None:
        n_rows = probe(chosen.path, **chosen.setup()).shape[1]
        wide = min(n_rows, ROWS * chosen.bin) // chosen.bin * chosen.bin or n_rows
        part["rows"] = slice((n_rows - wide) // 2, (n_rows - wide) // 2 + wide)
    dataset = read(chosen.path, **part, **chosen.setup())
    prepared, report = prepare(dataset, **{**wanted.options(), "rings": "off"})
    found = report["steps"]["find_center"]
    if found["center"] is None:
        raise ConfigError(f"{chosen.path}: {prepared.history[-1]}")
    for text in report["warnings"]:
        LOG.warning("%s", text)
    confidence = found["confidence"]
    LOG.info("%s, confidence %s", found["method"], "unknown" if confidence is None else f"{confidence:.2f}")
    return FoundAxis(float(found["center"]), prepared, found)


def by_every_method(found: FoundAxis, search: tuple[float, float] | None) -> list[str]:
    """A line for each method of `find_center`: column and confidence, or why it has none."""
    lines = []
    for method in METHODS[1:]:
        try:
            made = find_center(found.rows, method, search=search)
            lines.append(f"{method:10} {made.center:10.3f}   confidence {made.confidence:.2f}")
        except (ConfigError, DataError) as error:
            lines.append(f"{method:10} {'-':>10}   {error}")
    return lines


def picture(found: FoundAxis, step: float, path: Path) -> None:
    """Write a PNG with a slice for each of nine places of the axis, `step` columns apart."""
    from tomodiff.analytic import fbp, fdk
    from tomodiff.files.atomic import replacing
    from tomodiff.report.axis_slices import axis_slices
    from tomodiff.report.drawing import LIGHT

    if path.suffix.lower() != ".png":
        raise ConfigError(f"--picture: expected a name that ends in .png, got {path}")
    scan = found.rows.scan
    assert isinstance(scan, ParallelBeam | ConeBeam)
    nv = scan.detector_shape[0]
    row = (nv - 1) // 2
    if isinstance(scan, ConeBeam):  # the row that lies in the plane of the source
        row = int(np.clip(round((nv - 1) / 2 - scan.detector_offset[0] / scan.pixel[0]), 0, nv - 1))
    data = np.ascontiguousarray(found.rows.data[:, row : row + 1], np.float32)
    one = scan.rows(row, row + 1).with_axis_column(found.column)
    whole = fit_grid(one)
    grid = whole[(whole.shape[0] - 1) // 2 : (whole.shape[0] - 1) // 2 + 1]
    inverse = fbp if one.kind == "parallel" else fdk
    columns = [found.column + step * (k - PANELS // 2) for k in range(PANELS)]
    slices = [inverse(data, one.with_axis_column(column), grid)[0] for column in columns]
    drawn = axis_slices(slices, columns, found.column, LIGHT)
    with replacing(path, 1 << 20) as target:
        drawn.savefig(target, format="png")
