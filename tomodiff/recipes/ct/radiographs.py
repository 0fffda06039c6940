"""Dimensions and poses of parts from a few radiographs: solids in a tree of joints, fitted to line integrals.

What a part adds to a ray is its attenuation times the length inside.  No volume is made, so dimensions come far below a
voxel (dimensional metrology).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from tomodiff.array import block_mean
from tomodiff.geometry import Scan
from tomodiff.geometry.vectors import Vectors
from tomodiff.recipes.parts import Part, deviations, get, limits, placed, replaced, scale_of, unknowns
from tomodiff.result import Dataset

SUB = 3
"""Rays along each side of a pixel."""
COARSE = 4
"""Pixels that are averaged along each side at first."""


@dataclass(frozen=True, eq=False)
class FittedParts:
    """The parts, one standard deviation of each unknown by its name ("shaft.half_x"), root mean square of what is left,
    and what is left (view, v, u)."""

    parts: list[Part]
    deviations: dict[str, float]
    rms: float
    residual: np.ndarray


def fit_parts(
    dataset: Dataset, parts: Sequence[Part], steps: int = 60, advance: Callable[[], Any] = lambda: None
) -> FittedParts:
    """Fit parts to line integrals, from coarse pixels to fine, by Gauss and Newton's method with a loss that outliers
    do not move.  ValueError for parts that cannot be, or nothing that is free."""
    names = unknowns(parts)
    data, vectors = np.asarray(dataset.data, np.float64), Vectors.of(dataset.scan)
    x = np.array([get(parts, name) for name in names])
    scale = np.array([scale_of(parts, name) for name in names])
    noise = max(0.02 * float(np.percentile(data, 99)), 1e-9)
    found: Any = None
    for bin in (COARSE, 1):
        model, seen = PartsModel(_rays(vectors, dataset.scan, bin)), block_mean(data, bin)

        def misfit(u: np.ndarray, model: PartsModel = model, seen: np.ndarray = seen) -> np.ndarray:
            advance()
            return (model(replaced(parts, names, u * scale)) - seen).ravel()

        found = least_squares(
            misfit, x / scale, x_scale="jac", loss="soft_l1", f_scale=noise, max_nfev=steps, diff_step=1e-5,
            bounds=limits(names, scale), xtol=1e-10, ftol=1e-12,
        )  # fmt: skip
        x = found.x * scale
    residual = found.fun.reshape(data.shape)
    rms = float(np.sqrt(np.mean(residual**2)))
    return FittedParts(replaced(parts, names, x), deviations(names, scale, found.jac, rms), rms, residual)


class PartsModel:
    """Line integrals (view, v, u) of parts along rays (view, v, u, sub, 3), as a detector has them that averages the
    transmission over each pixel; what a solid adds is kept for as long as it stays as it was."""

    def __init__(self, rays: tuple[np.ndarray, np.ndarray]) -> None:
        self.shape = rays[0].shape[:-1]
        self.origins, self.directions = (np.ascontiguousarray(a.reshape(-1, 3)) for a in rays)
        self._kept: dict[tuple[Any, ...], np.ndarray] = {}

    def __call__(self, parts: Sequence[Part]) -> np.ndarray:
        total, kept = np.zeros(len(self.origins)), self._kept
        for part, solid in zip(parts, placed(parts), strict=True):
            key = (solid.kind, solid.half, solid.pose.tobytes())
            if key not in kept:
                kept[key] = solid.chords(self.origins, self.directions)
            total += part.density * kept[key]
            kept[key] = kept.pop(key)  # the last that was used
        while len(kept) > 2 * len(parts):
            kept.pop(next(iter(kept)))
        made: np.ndarray = -np.log(np.exp(-total).reshape(self.shape).mean(axis=-1))
        return made


def _rays(vectors: Vectors, scan: Scan, bin: int) -> tuple[np.ndarray, np.ndarray]:
    """Origins and directions (view, v, u, sub, 3) of SUB x SUB rays to each pixel of bin x bin."""
    nv, nu = (n // bin for n in scan.detector_shape)
    inner = ((np.arange(SUB) + 0.5) / SUB - 0.5) * bin
    middle = (bin - 1) / 2
    v = (np.arange(nv)[:, None] * bin + middle + inner).ravel()
    u = (np.arange(nu)[:, None] * bin + middle + inner).ravel()
    made = []
    for part in zip(*(vectors.rays(view, v=v, u=u) for view in range(len(scan))), strict=True):
        whole = np.stack([np.broadcast_to(a[0], (len(v), len(u), 3)) for a in part])
        split = whole.reshape(len(scan), nv, SUB, nu, SUB, 3).transpose(0, 1, 3, 2, 4, 5)
        made.append(split.reshape(len(scan), nv, nu, SUB * SUB, 3))
    return made[0], made[1]
