"""Which errors of a geometry projections can tell at all, from geometry alone.

A scan sees points of the sample; were some of them marked, their shadows would be measured and points and errors
adjusted together (a bundle adjustment, Triggs et al. 2000).  What that leaves undetermined no object can tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tomodiff.geometry import Grid, Scan, Vectors
from tomodiff.projectors.geometry_errors import GeometryErrors

POINTS = 4
"""Marked points along each axis of the grid."""
MOST_VIEWS = 60
SHADOW = 0.1
"""Deviation of a shadow's place, in pixels."""
LOOSE = 1e3
"""How far, in sizes of the grid, points may be: nothing is known of where they are."""
STEP = 1e-4
"""Of differences, in mm and radians."""
ALIKE = 0.95
"""Correlation from which two errors are named as doing the same."""


@dataclass(frozen=True)
class Certainty:
    """How well an error of the whole scan can be known: its deviation given the shadows of the points, and before
    any."""

    name: str
    after: float
    before: float
    like: tuple[str, ...] = ()
    """Errors that do nearly the same, so that only a sum with them is told well."""

    @property
    def told(self) -> bool:
        """Whether data can tell it: they take a tenth of its deviation at least."""
        return self.after < 0.9 * self.before


def certainties(
    scan: Scan, grid: Grid, once: tuple[str, ...], each: tuple[str, ...], before: dict[str, float]
) -> list[Certainty]:
    """For each error of the whole scan; before: deviations of all errors, by name, in mm and radians."""
    some = scan[np.unique(np.linspace(0, len(scan) - 1, min(len(scan), MOST_VIEWS)).astype(int))]
    model = GeometryErrors(some, once, each)
    points = np.stack(np.meshgrid(*[np.linspace(-0.3, 0.3, POINTS) * s for s in grid.size[::-1]], indexing="ij"), -1)
    points = points.reshape(-1, 3) + np.array(grid.center)
    still = {name: np.zeros(space.shape) for name, space in model.domain.items()}

    def shadows(errors: dict[str, np.ndarray], at: np.ndarray) -> np.ndarray:
        return Vectors(model(errors), some.detector_shape, some.kind).project(at)

    columns, priors = [], []
    for name, values in still.items():
        for i in range(values.size):
            unit = np.zeros(values.shape)
            unit[i] = STEP
            moved = shadows({**still, name: unit}, points) - shadows({**still, name: -unit}, points)
            columns.append(moved.ravel() / (2 * STEP))
            priors.append(1 / before[name] ** 2)
    for axis in range(3):
        away = STEP * np.eye(3)[axis]
        moved = (shadows(still, points + away) - shadows(still, points - away)) / (2 * STEP)
        for p in range(len(points)):
            alone = np.zeros_like(moved)
            alone[:, p] = moved[:, p]
            columns.append(alone.ravel())
            priors.append(1 / (LOOSE * max(grid.size)) ** 2)
    J = np.stack(columns, axis=1) / SHADOW
    covariance = np.linalg.inv(J.T @ J + np.diag(priors))
    deviations = np.sqrt(np.diag(covariance))
    alike = covariance / np.outer(deviations, deviations)
    places = {name: i for i, name in enumerate(once)}
    made = []
    for name, i in places.items():
        like = tuple(other for other, j in places.items() if other != name and abs(alike[i, j]) > ALIKE)
        made.append(Certainty(name, float(deviations[i]), before[name], like))
    return made
