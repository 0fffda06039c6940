"""The whole way from what was read to line integrals with a known axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.errors import ConfigError
from tomodiff.geometry import ConeBeam, ParallelBeam
from tomodiff.prepare.center import apply_center, find_center
from tomodiff.prepare.defects import Defects, find_defects, repair_pixels
from tomodiff.prepare.flat_field import flat_field
from tomodiff.prepare.flux import normalise_flux
from tomodiff.prepare.minus_log import minus_log
from tomodiff.prepare.record import record
from tomodiff.prepare.rings import RingFilter, remove_rings
from tomodiff.result import Dataset


def prepare(
    dataset: Dataset,
    *,
    defects: bool = True,
    flux: bool = True,
    air: tuple[int, int] | None = None,
    floor: float | None = None,
    rings: str = "off",
    ring_drift: bool = False,
    center: float | str | None = "auto",
    search: tuple[float, float] | None = None,
    threads: int = 1,
) -> tuple[Dataset, dict[str, Any]]:
    """Line integrals of a scan of any kind, and a report of plain (JSON) values.

    In order: defective pixels are looked for in the counts (`defects`), flats and darks divided out, the pixels
    repaired, the flux set by the air beside the sample (`flux`, `air`), -log taken (`floor`), rings removed (`rings`
    "off", "light", "normal" or "strong"; `ring_drift`), and the axis set: `center` a column, a method of find_center,
    or None to keep the scan's own.  Steps that the dataset's kind shows to be done already are left out.

    The report holds "steps" (the numbers of each step), "history" and "warnings".
    """
    current = dataset
    found: Defects | None = find_defects(current) if defects else None
    if found is None and current.kind != "line_integrals":
        current = record(current, "repair_pixels", "not asked for", {"defective_pixels": None})
    if current.kind == "counts":
        current = flat_field(current)
    if found is not None:
        current = repair_pixels(current, found)
    if current.kind == "transmission":
        if flux or air is not None:
            current = normalise_flux(current, air)
        current = minus_log(current, floor)
    if rings != "off":
        current = remove_rings(current, RingFilter(rings, ring_drift), threads)
    current = _set_center(current, center, search)
    report = {
        "steps": current.meta.get("prepare", {}),
        "history": list(current.history),
        "warnings": list(current.meta.get("warnings", ())),
    }
    return current, report


def _set_center(dataset: Dataset, center: float | str | None, search: tuple[float, float] | None) -> Dataset:
    scan = dataset.scan
    if center is None:
        return dataset
    if isinstance(center, str):
        if center == "auto" and (not isinstance(scan, ParallelBeam | ConeBeam) or scan.axis_tilt):
            line = f"a {type(scan).__name__} scan keeps the axis of its geometry"
            return record(dataset, "find_center", line, {"center": None}, [line])
        return apply_center(dataset, find_center(dataset, center, search=search))
    if not isinstance(scan, ParallelBeam | ConeBeam):
        raise ConfigError(f"center: a {type(scan).__name__} scan has no single axis column to set")
    column = float(center)
    if not np.isfinite(column):
        raise ConfigError(f"center: expected a detector column, got {center!r}")
    numbers = {"center": column, "method": "given", "confidence": None, "before": scan.axis_column}
    moved = dataset.replace(scan=scan.with_axis_column(column))
    return record(moved, "find_center", f"axis at column {column:g}, as given", numbers)
