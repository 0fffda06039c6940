"""The rotation axis of a parallel-beam scan from the centres of mass of its projections.

The centre of mass of an object that is wholly seen moves as c + a cos t + b sin t about the axis column c (the moment
condition of order 1: Helgason 1965, Ludwig 1966).  It needs no opposite views, so it serves scans over less than 180
degrees; it needs air on both sides.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class MassFit(NamedTuple):
    """The axis column, and its standard error from how well the centres of mass follow the sinusoid."""

    column: float
    error: float


def axis_from_moments(rows: Floats, angles: Floats) -> MassFit:
    """Fit the centres of mass of line integrals (view, row, u), each row weighted by its mass squared."""
    u = np.arange(rows.shape[2], dtype=np.float64)
    basis = np.stack([np.ones(len(angles)), np.cos(angles), np.sin(angles)], axis=1)
    if len(angles) < 4 or np.linalg.cond(basis) > 1e4:
        return MassFit((rows.shape[2] - 1) / 2, float("inf"))
    columns, variances = [], []
    for row in range(rows.shape[1]):
        p = np.asarray(rows[:, row], dtype=np.float64)
        side = max(2, p.shape[1] // 40)
        left, right = p[:, :side].mean(axis=1, keepdims=True), p[:, -side:].mean(axis=1, keepdims=True)
        p = p - left - (right - left) * np.linspace(0, 1, p.shape[1])
        mass = p.sum(axis=1)
        if abs(mass).min() <= 0.05 * abs(mass).max():
            continue
        center = p @ u / mass
        fit, *_ = np.linalg.lstsq(basis, center, rcond=None)
        spread = float(((center - basis @ fit) ** 2).sum()) / (len(angles) - 3)
        columns.append(float(fit[0]))
        variances.append(max(spread * float(np.linalg.inv(basis.T @ basis)[0, 0]), 1e-8))
    if not columns:
        return MassFit((rows.shape[2] - 1) / 2, float("inf"))
    weights = 1 / np.array(variances)
    return MassFit(float(weights @ np.array(columns) / weights.sum()), float(weights.sum() ** -0.5))
