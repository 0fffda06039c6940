"""Maps with holes."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt


def filled(values: np.ndarray) -> np.ndarray:
    """The values, holes with that of their nearest neighbour; 0 where there are only holes."""
    holes = ~np.isfinite(values)
    if not holes.any():
        return values
    if holes.all():
        return np.zeros_like(values)
    nearest = distance_transform_edt(holes, return_distances=False, return_indices=True)
    return np.asarray(values[tuple(nearest)])
