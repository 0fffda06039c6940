"""The whole way from what was read to line integrals with a known axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.errors import ConfigError
from tomodiff.geometry import ConeBeam, ParallelBeam
from tomodiff.prepare.arriving import Arriving
from tomodiff.prepare.center import apply_center, find_center
from tomodiff.prepare.defects import repair_pixels
from tomodiff.prepare.flux import normalise_flux
from tomodiff.prepare.hardening import Hardening, linearise
from tomodiff.prepare.lag import Terms, remove_lag
from tomodiff.prepare.minus_log import minus_log
from tomodiff.prepare.phase import PhaseRetrieval, retrieve_phase
from tomodiff.prepare.record import record
from tomodiff.prepare.rings import RingFilter, remove_rings
from tomodiff.prepare.scatter import remove_scatter
from tomodiff.prepare.stripes import METHODS, remove_stripes
from tomodiff.prepare.zingers import remove_zingers
from tomodiff.result import Dataset

AT_ONCE = 16
"""Views that are looked at and divided together, while they are still in the cache."""


def prepare(
    dataset: Dataset,
    *,
    defects: bool = True,
    flat_model: str = "auto",
    lag: Terms = (),
    zingers: bool = False,
    scatter: tuple[float, float] | None = None,
    flux: bool = True,
    air: tuple[int, int] | None = None,
    phase: PhaseRetrieval | None = None,
    floor: float | None = None,
    rings: str = "off",
    ring_drift: bool = False,
    hardening: Hardening | None = None,
    center: float | str | None = "auto",
    search: tuple[float, float] | None = None,
    threads: int = 1,
    begun: Arriving | None = None,
) -> tuple[Dataset, dict[str, Any]]:
    """Line integrals of a scan of any kind, and a report of plain (JSON) values.

    In order: defective pixels are looked for in the counts (`defects`), flats and darks divided out (`flat_model`, see
    flat_field), the detector's lag undone (`lag`, see remove_lag), the pixels repaired, `zingers` removed, the scatter
    subtracted (`scatter`: amplitude and width in mm, see remove_scatter), the flux set by the air beside the sample
    (`flux`, `air`), the phase retrieved (`phase`), -log taken (`floor`), rings removed (`rings` "off", "light",
    "normal", "strong", or a method of remove_stripes; `ring_drift`), beam hardening undone (`hardening`), and the axis
    set: `center` a column, a method of find_center, or None to keep the scan's own.  Steps that the dataset's kind
    shows to be done already are left out.  begun: the first two steps, where they were taken while the scan was read.

    The report holds "steps" (the numbers of each step), "history" and "warnings".  ConfigError where lag, zingers,
    scatter or phase are asked for of line integrals.
    """
    first = begun
    if first is None:
        first = Arriving(defects, flat_model, threads)
        for start in range(0, len(dataset.data), AT_ONCE):
            first(dataset, slice(start, min(start + AT_ONCE, len(dataset.data))))
    current, found = first.finished(dataset)

    def made_here() -> bool:
        """Whether the data are no longer the caller's, so that steps may write over them."""
        return first.in_place or current.data is not dataset.data

    if found is None and current.kind != "line_integrals":
        current = record(current, "repair_pixels", "not asked for", {"defective_pixels": None})
    if current.kind == "line_integrals":
        _refuse(lag=bool(lag), zingers=zingers, scatter=scatter is not None, phase=phase is not None)
    if lag:
        current = remove_lag(current, lag)
    if found is not None:
        current = repair_pixels(current, found, reuse=made_here())
    if zingers:
        current = remove_zingers(current, threads)
    if scatter is not None:
        current = remove_scatter(current, *scatter, threads)
    if current.kind == "transmission":
        if flux or air is not None:
            current = normalise_flux(current, air, threads, reuse=made_here())
        if phase is not None:
            current = retrieve_phase(current, phase, threads)
        current = minus_log(current, floor, threads, reuse=made_here())
    if rings in METHODS:
        current = remove_stripes(current, rings, threads)
    elif rings != "off":
        current = remove_rings(current, RingFilter(rings, ring_drift), threads)
    if hardening is not None:
        current = linearise(current, hardening)
    current = _set_center(current, center, search)
    report = {
        "steps": current.meta.get("prepare", {}),
        "history": list(current.history),
        "warnings": list(current.meta.get("warnings", ())),
    }
    return current, report


def _refuse(**asked: bool) -> None:
    """ConfigError that names a step which line integrals come too late for."""
    for name, wanted in asked.items():
        if wanted:
            raise ConfigError(f"prepare.{name}: expected counts or transmissions, the scan has line integrals")


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
