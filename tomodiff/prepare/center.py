"""Finding the column onto which the rotation axis projects ("centre of rotation")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tomodiff.errors import ConfigError, DataError
from tomodiff.geometry import ConeBeam, ParallelBeam
from tomodiff.prepare import center_fan, center_moments
from tomodiff.prepare.center_mirror import Located, MirrorViews, locate
from tomodiff.prepare.defects import repair
from tomodiff.prepare.flat_field import response, transmission
from tomodiff.prepare.minus_log import line_integrals, noise_floor
from tomodiff.prepare.mirror_maps import LARGEST_GAP
from tomodiff.prepare.record import record, source
from tomodiff.result import Dataset

Floats = NDArray[np.float64]

METHODS = ("auto", "opposite", "wedge", "seam", "moments", "fan")

MOST_ROWS = 12
"""Detector rows used where none are named: those in which the object moves most."""

ENOUGH_OPPOSITE = 0.1
"""Share of views seen from both sides from which on these alone decide."""

HALVES_AGREE = 0.7
"""Confidence where two halves of the rows, each by itself, give the same column although the criterion has rivals."""

LEAST_CONFIDENCE = 0.3
"""Confidence below which the axis deserves a look by a person."""


@dataclass(frozen=True, eq=False)
class CenterEstimate:
    """Where the rotation axis projects.

    `center`: the detector column, 0-based, fractional; `confidence` 0..1: how much deeper the criterion is there than
    at the best other place (0: another column is as likely), or how well two halves of the rows agree; `method`: the
    criterion; `columns`, `values`: the criterion over the columns searched (small is good); `notes`: what a person
    should know.
    """

    center: float
    confidence: float
    method: str
    columns: Floats
    values: Floats
    notes: tuple[str, ...] = ()

    @property
    def curve(self) -> tuple[Floats, Floats]:
        """Columns searched and the criterion there."""
        return self.columns, self.values


def find_center(
    dataset: Dataset,
    method: str = "auto",
    rows: Sequence[int] | None = None,
    search: tuple[float, float] | None = None,
) -> CenterEstimate:
    """The axis column of a circular parallel, fan or cone beam scan, from the data alone.

    `dataset` of any kind (counts are corrected here, line integrals are best); `rows`: detector rows to use, by default
    those with most movement (parallel) or next to the plane of the source (cone); `search`: columns (first, last), by
    default all but the outer tenth.  Methods: "opposite" (views from both sides), "wedge" and "seam" (180 degrees),
    "moments" (centre of mass; less than 180 degrees), "fan"; "auto" picks.  ConfigError for scans that have no single
    axis column.
    """
    if method not in METHODS:
        raise ConfigError(f"method: expected one of {METHODS}, got {method!r}")
    scan = dataset.scan
    if not isinstance(scan, ParallelBeam | ConeBeam):
        raise ConfigError(f"axis finding: a {type(scan).__name__} scan has no single axis column; give its geometry")
    if scan.axis_tilt:
        raise ConfigError("axis finding: views of a scan with a tilted axis do not mirror each other; give axis_offset")
    width = scan.detector_shape[1]
    if width < 8 or len(scan) < 3:
        raise DataError(source(dataset), "scan", "at least 8 columns and 3 views", f"{width} and {len(scan)}")
    limits = (0.1 * (width - 1), 0.9 * (width - 1)) if search is None else search
    if not 0 <= limits[0] < limits[1] <= width - 1:
        raise ConfigError(f"search: expected columns (first, last) within 0 to {width - 1}, got {search}")
    if isinstance(scan, ConeBeam):
        if method not in ("auto", "fan"):
            raise ConfigError(f"method: {method!r} is for parallel beams; a {type(scan).__name__} scan takes 'fan'")
        return _fan(dataset, scan, rows, limits)
    if method == "fan":
        raise ConfigError("method: 'fan' is for fan and cone beams; this scan is parallel")
    used = _integrals(dataset, _rows_that_move(dataset) if rows is None else rows)
    return _parallel(used, np.asarray(scan.angles), method, limits)


def apply_center(dataset: Dataset, estimate: CenterEstimate) -> Dataset:
    """The dataset whose scan has the axis at the estimated column, with the estimate in its history."""
    scan = dataset.scan
    if not isinstance(scan, ParallelBeam | ConeBeam):
        raise ConfigError(f"axis: a {type(scan).__name__} scan has no single axis column")
    numbers = {
        "center": estimate.center,
        "confidence": estimate.confidence,
        "method": estimate.method,
        "before": scan.axis_column,
        "curve": {"columns": estimate.columns.tolist(), "values": estimate.values.tolist()},
    }
    warnings = list(estimate.notes)
    if estimate.confidence < LEAST_CONFIDENCE:
        warnings.append(f"the axis at column {estimate.center:.2f} is uncertain (confidence {estimate.confidence:.2f})")
    line = f"axis at column {estimate.center:.3f} ({estimate.method}, confidence {estimate.confidence:.2f})"
    moved = dataset.replace(scan=scan.with_axis_column(estimate.center))
    return record(moved, "find_center", line, numbers, warnings)


def _parallel(rows: Floats, angles: Floats, method: str, limits: tuple[float, float]) -> CenterEstimate:
    views = MirrorViews(rows, angles)
    notes: list[str] = []
    enough = len(views.opposite.views) >= max(3, ENOUGH_OPPOSITE * len(angles))
    closed = views.circle.gap <= LARGEST_GAP
    chosen = method
    if method == "auto":
        chosen = "opposite" if enough else "wedge" if closed else "moments"
    possible = {"opposite": len(views.opposite.views) > 0, "wedge": closed, "seam": bool(views.seams)}
    if not possible.get(chosen, True):
        raise ConfigError(f"method: {chosen!r} needs opposite views, and the angles cover less than 180 degrees")
    truncated = views.leaves_the_view()
    if chosen == "moments":
        fit = center_moments.axis_from_moments(rows, angles)
        if truncated:
            notes.append("the object leaves the field of view: its centre of mass says little")
        if method == "auto":
            notes.append("the angles cover less than 180 degrees: the axis comes from the centre of mass alone")
        confidence = 0.0 if truncated else float(np.exp(-fit.error))
        return CenterEstimate(fit.column, confidence, chosen, np.array([fit.column]), np.zeros(1), tuple(notes))
    final = None
    if chosen == "wedge" and method == "auto" and truncated:
        notes.append("the object leaves the field of view")
        final = next((kind for kind in ("opposite", "seam") if possible[kind]), None)
    found = locate(views, chosen, limits, final)
    name = f"{chosen}+{final}" if final else chosen
    confidence = _confidence(found)
    if confidence < HALVES_AGREE and rows.shape[1] > 1:
        halves = [locate(MirrorViews(rows[:, part::2], angles), chosen, limits).column for part in (0, 1)]
        confidence = max(confidence, HALVES_AGREE * float(np.exp(-((halves[0] - halves[1]) ** 2))))
    return CenterEstimate(found.column, confidence, name, found.columns, found.values, tuple(notes))


def _confidence(found: Located) -> float:
    """How far the best rival stays behind: as a fraction of its own value, or of what typical columns reach."""
    typical = max(float(np.median(found.values)), found.rival)
    lead = found.rival - found.value
    if lead <= 0:
        return 0.0
    return float(np.clip(max(lead / found.rival, lead / (typical - found.value)), 0, 1))


def _fan(dataset: Dataset, scan: ConeBeam, rows: Sequence[int] | None, limits: tuple[float, float]) -> CenterEstimate:
    nv = scan.detector_shape[0]
    if rows is None:
        middle = (nv - 1) / 2 - scan.detector_offset[0] / scan.pixel[0]
        nearest = sorted(range(nv), key=lambda v: abs(v - middle))[:2]
        rows = nearest[:1] if abs(nearest[0] - middle) < 0.25 else nearest
        if abs(rows[0] - middle) > 2:
            raise ConfigError(
                f"axis finding: the detector's rows do not reach the plane of the source (row {middle:.1f} of {nv}); "
                "name `rows` to use others all the same"
            )
    used = _integrals(dataset, rows)
    step = scan.pixel[1] / scan.source_detector
    views = center_fan.fan_views(used, np.asarray(scan.angles), step, scan.radius is not None)
    best, columns, values = center_fan.search_fan(views, limits)
    there = center_fan.misfit(views, best)
    other = values[np.abs(columns - best) > 2]
    rival = float(other.min()) if other.size else 1.0
    found = Located(best, there.value, rival, columns, values)
    notes, confidence = [], _confidence(found)
    if there.pairs == 0:
        notes.append("no ray was measured from both sides: the axis cannot be found from this scan")
        confidence = 0.0
    reverse = center_fan.misfit(views, best, backwards=True).value
    if there.pairs and reverse < 0.5 * there.value:
        notes.append("opposite rays agree better if the rotation is reversed: check the sign of the angles")
    return CenterEstimate(best, confidence, "fan", columns, values, tuple(notes))


def _integrals(dataset: Dataset, rows: Sequence[int]) -> Floats:
    """Line integrals (view, row, u) of some detector rows, repaired where they are not finite."""
    index = np.asarray(rows, dtype=np.intp)
    nv = dataset.data.shape[1]
    if index.ndim != 1 or not index.size or index.min() < 0 or index.max() >= nv:
        raise ConfigError(f"rows: expected detector rows of 0 to {nv - 1}, got {list(rows)}")
    data: NDArray[Any] = np.asarray(dataset.data[:, index])
    if dataset.kind == "counts":
        if dataset.flats is None:
            raise DataError(source(dataset), "flats", "at least one flat field", "none")
        darks = None if dataset.darks is None else dataset.darks[:, index]
        data = transmission(data, *response(dataset.flats[:, index], darks))
    finite = np.isfinite(data)
    if not finite.all():
        data, _ = repair(data, ~finite.any(axis=0))
    if dataset.kind != "line_integrals":
        data, _ = line_integrals(data, noise_floor(data))
    return np.asarray(data, dtype=np.float64)


def _rows_that_move(dataset: Dataset) -> list[int]:
    """Up to MOST_ROWS rows, evenly taken from those in which the object moves at least half as much as anywhere."""
    nv = dataset.data.shape[1]
    if nv <= MOST_ROWS:
        return list(range(nv))
    few = dataset.replace(
        data=dataset.data[:: max(1, len(dataset.data) // 12)],
        scan=dataset.scan[:: max(1, len(dataset.data) // 12)],
        weights=None,
    )
    p = _integrals(few, range(nv))
    side = max(1, p.shape[2] // 64)
    whole = p.shape[2] // side * side
    smooth = p[:, :, :whole].reshape(*p.shape[:2], -1, side).mean(axis=3)
    movement = smooth.std(axis=0).mean(axis=1)
    good = np.flatnonzero(movement >= 0.5 * np.percentile(movement, 95))
    return [int(v) for v in good[np.unique(np.linspace(0, len(good) - 1, MOST_ROWS).astype(int))]]
