"""What the matter of a volume carries, as an eye sees it: places (and so depth and flow), normals, labels."""

from __future__ import annotations

import numpy as np

from tomodiff.array import Array, namespace
from tomodiff.geometry import Grid
from tomodiff.projectors.radiance import RadianceField

FIRST = 0.5 / float(np.sqrt(np.pi))
"""The spherical harmonic of degree 0."""


def carried(
    grid: Grid, density: Array, values: Array, origins: Array, directions: Array, activation: str = "relu",
    occupied: Array | None = None, step: float | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """Mean of three `values` (z, y, x, 3) of the matter that each ray (ray, 3) sees, and its opacity (ray).

    The mean is over where along the ray the light that arrives comes from, times opacity, as colours are; values may
    be of any size.  density (z, y, x): before `activation`, as `RadianceField` has it.
    """
    xp = namespace(density)
    low, high = values.min(axis=(0, 1, 2)), values.max(axis=(0, 1, 2))
    width = xp.where(high > low, high - low, 1).astype(density.dtype)
    scaled = ((values - low) / width - 0.5) / FIRST  # so that the colour, which is never below zero, is from 0 to 1
    field = xp.concatenate([density[..., None], scaled], axis=-1).astype(density.dtype)
    A = RadianceField(grid, len(origins), 0, activation, step, occupied=occupied, dtype=str(density.dtype))
    dark = xp.zeros_like(origins)
    seen, left = A.seen({"field": field, "origins": origins, "directions": directions, "background": dark})
    opacity = 1 - left
    return seen * width + opacity[:, None] * low.astype(density.dtype), opacity


def outward(grid: Grid, density: np.ndarray) -> np.ndarray:
    """Normals (z, y, x, 3) in the world: against the slope of the density, of length one or zero."""
    slope = np.stack(np.gradient(density, *grid.spacing)[::-1], axis=-1) @ grid.matrix.T
    length = np.linalg.norm(slope, axis=-1, keepdims=True)
    made: np.ndarray = np.where(length > 0, -slope / np.maximum(length, np.finfo(np.float32).tiny), 0)
    return made.astype(density.dtype)
