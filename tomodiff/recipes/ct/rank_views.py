"""A scan shared out among ranks: each reads and corrects some detector rows, then keeps some views of all rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.geometry import Scan
from tomodiff.projectors.xray_blocks import even_parts
from tomodiff.ranks import Comm, own_views
from tomodiff.recipes.ct.correct import axis_column, corrected, corrected_middle, corrected_rows
from tomodiff.recipes.ct.settings import CtSettings
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run
from tomodiff.result import Dataset


def own_part(settings: CtSettings, scan: Scan, run: Run, progress: Progress) -> tuple[Dataset, Scan, dict[str, Any]]:
    """Line integrals of this rank's views (`own_views`), the scan of all views, and the report of the correction.

    Corrections look along the views, so rows are corrected, each by one rank with a margin; the axis is found in the
    middle rows and is the same for all.  A detector of too few rows is corrected as a whole by every rank.
    """
    comm, nv = run.comm, scan.detector_shape[0]
    if nv < 2 * comm.size:
        dataset, report = corrected(settings, run, progress)
        mine = own_views(comm)
        weights = None if dataset.weights is None else dataset.weights[mine]
        own = dataset.replace(data=dataset.data[mine], weights=weights, scan=dataset.scan[mine])
        return own, dataset.scan, report
    _, center, report = shared_middle(settings, nv, run, progress)
    mine = even_parts(nv, comm.size)[comm.rank]
    part, _, kept = corrected_rows(settings, mine, nv, run, progress, center)
    with progress.stage("share out"):
        data = _by_views(part.data[:, kept], comm)
        weights = None if part.weights is None else _by_views(part.weights[:, kept], comm)
    whole = scan if center is None else scan.with_axis_column(center)  # type: ignore[attr-defined]
    return part.replace(data=data, weights=weights, scan=whole[own_views(comm)]), whole, report


def shared_middle(
    settings: CtSettings, nv: int, run: Run, progress: Progress
) -> tuple[Dataset | None, float | None, dict[str, Any]]:
    """The middle rows, corrected by the first rank (None on the others); the column of the axis, and the report."""
    found = corrected_middle(settings, nv, run, progress) if run.comm.leads else None
    center, report = run.comm.share(None if found is None else (axis_column(found[1]), found[1]))
    return None if found is None else found[0], center, report


def _by_views(rows: np.ndarray, comm: Comm) -> np.ndarray:
    """This rank's views of all rows, from all views of its rows."""
    views = (slice(rank, None, comm.size) for rank in range(comm.size))
    return np.concatenate(comm.exchange([np.ascontiguousarray(rows[chosen]) for chosen in views]), 1)
