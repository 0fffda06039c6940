"""What of a projection the volume does not explain: one view of it, projected and compared, for the report."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tomodiff.array import Array, to_numpy
from tomodiff.geometry import Grid
from tomodiff.projectors import XRay
from tomodiff.recipes.run import Run
from tomodiff.result import Dataset


def keep_residual(
    run: Run, dataset: Dataset, grid: Grid, volume: np.ndarray, model: str, device: Callable[[np.ndarray], Array]
) -> None:
    """Keep the first view (v, u) as measured and as the volume gives it, and record how far they are apart.

    Rays that leave the grid through its sides see what is not in it: there the difference tells of the grid's size.
    """
    A = XRay(grid, dataset.scan[[0]], model=model)
    simulated = to_numpy(A(device(np.asarray(volume, A.dtype))))[0]
    measured = np.asarray(dataset.data[0])
    run.save_report_data("residual", {"measured": measured, "simulated": simulated, "view": 0})
    size = float(np.sqrt(np.nanmean(np.square(measured, dtype=np.float64))))
    if size > 0:
        left = float(np.sqrt(np.nanmean(np.square(measured - simulated, dtype=np.float64))))
        run.record(left_of_the_first_view=round(left / size, 5))
