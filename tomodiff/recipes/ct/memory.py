"""What a CT job will need of memory, before it starts."""

from __future__ import annotations

from tomodiff.analytic.fbp import CHUNK_BYTES
from tomodiff.geometry import Grid, Scan

ANALYTIC = ("fbp", "fdk", "gridding")

PREPARE_COPIES = 6
"""Arrays of the size of the projections that correcting them takes at its peak: counts, two stages, temporaries."""

FILTER_COPIES = 16
"""Arrays of the size of a chunk that filtering it takes: itself, its weights, padded fourfold, spectrum, result."""

PER_SUBSET = ("os-sart", "osem")
"""Methods that keep a volume for each subset of the views."""

POINT_COPIES = 40
"""Arrays of the size of one detector row in all views that Fourier gridding takes: points, factors, spectrum, order."""

SOLVER_ARRAYS = {
    # method: (volumes, projection sets), beside the operator's own buffers, as tests/test_memory.py measures them
    "fbp": (2, 0),
    "fdk": (2, 0),
    "gridding": (2, 0),
    "sirt": (8, 4),
    "cgls": (11, 2),
    "lsmr": (16, 3),
    "os-sart": (9, 5),
    "osem": (9, 5),
    "mlem": (9, 5),
    "pwls": (14, 5),
    "fista-tv": (18, 3),
}


def required_bytes(
    method: str, scan: Scan, grid: Grid, n_references: int = 0, item: int = 4, subsets: int | None = None
) -> int:
    """Bytes at the peak of a job: correction of the projections, or the reconstruction, whichever is more.

    n_references: flat and dark frames; item: bytes of a number; subsets: how many the views are parted into.
    """
    n_pixels = scan.detector_shape[0] * scan.detector_shape[1]
    projections = len(scan) * n_pixels * item
    volume = grid.shape[0] * grid.shape[1] * grid.shape[2] * item
    volumes, stacks = SOLVER_ARRAYS[method]
    volumes += (subsets or 0) if method in PER_SUBSET else 0
    operator = 0 if method in ANALYTIC else int(1.3 * (volume + projections))
    correct = PREPARE_COPIES * projections + 2 * n_references * n_pixels * item
    chunk = max(n_pixels, min(len(scan) * n_pixels, CHUNK_BYTES // 8)) * item
    resampled = 2 * projections if method == "fdk" and scan.radius is not None else 0  # onto a flat detector
    if method == "gridding":
        resampled = POINT_COPIES * len(scan) * scan.detector_shape[1] * item
    filters = method in (*ANALYTIC, "pwls", "fista-tv")  # or starts there
    filtering = resampled + (2 * volume + FILTER_COPIES * chunk if filters else 0)
    solving = volumes * volume + stacks * projections + operator
    return max(correct, projections + filtering, projections + solving)
