"""Maps taken coarser, and their holes filled."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt


def block_mean(values: np.ndarray, factor: int) -> np.ndarray:
    """Means over the last two axes; what does not fill a block at their ends is left out."""
    ny, nx = (n // factor * factor for n in values.shape[-2:])
    blocks = values[..., :ny, :nx].reshape(*values.shape[:-2], ny // factor, factor, nx // factor, factor)
    return np.asarray(blocks.mean((-3, -1)))


def filled(values: np.ndarray) -> np.ndarray:
    """The values, holes with that of their nearest neighbour; 0 where there are only holes."""
    holes = ~np.isfinite(values)
    if not holes.any():
        return values
    if holes.all():
        return np.zeros_like(values)
    nearest = distance_transform_edt(holes, return_distances=False, return_indices=True)
    return np.asarray(values[tuple(nearest)])
