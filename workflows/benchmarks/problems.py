"""The scans on which projectors are timed.

par512   parallel beam, 64 x 512 x 512 voxels (z, y, x) of 1 mm; 64 x 512 pixels of 1 mm, so that detector rows are
         slices; 360 views over half a turn.
cone256  circular cone beam, 256^3 voxels of 1 mm; 256 x 256 pixels of 2 mm, magnification 2 (source to axis 512 mm,
         to detector 1024 mm); 180 views over a full turn.
cone512  512^3 voxels of 1 mm; 768 x 1024 (v, u) pixels of 4/3 mm, magnification 2; 360 views.  For GPUs.

With `quick` each is small enough to see in seconds that everything runs; such figures say nothing about speed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tomodiff.geometry import ConeBeam, Grid, ParallelBeam, Vectors
from tomodiff.geometry.scan import Scan

ROLL = 1.0
"""Degrees about the beam by which the rolled detector is turned: no column of it is parallel to the axis any more."""


@dataclass(frozen=True)
class Problem:
    """A volume and the scan of it."""

    name: str
    grid: Grid
    scan: Scan

    @property
    def updates(self) -> float:
        """Voxels times views: what speeds in updates per second count, whatever a program really does inside."""
        return float(np.prod(self.grid.shape)) * len(self.scan)

    @property
    def projections(self) -> tuple[int, int, int]:
        """The shape (view, v, u) of the projections."""
        return (len(self.scan), *self.scan.detector_shape)


def par512(quick: bool = False) -> Problem:
    """The stack of slices in parallel beam."""
    nz, n, views = (64, 64, 30) if quick else (64, 512, 360)
    scan = ParallelBeam(np.arange(views) * np.pi / views, (nz, n), 1.0)
    return Problem("par512", Grid((nz, n, n), 1.0), scan)


def cone256(quick: bool = False) -> Problem:
    """The circular cone beam with an upright detector."""
    n, views = (32, 20) if quick else (256, 180)
    scan = ConeBeam(np.arange(views) * 2 * np.pi / views, 2.0 * n, 4.0 * n, (n, n), 2.0)
    return Problem("cone256", Grid((n, n, n), 1.0), scan)


def cone512(quick: bool = False) -> Problem:
    """The circular cone beam at a size that a GPU needs to show its speed."""
    n, views = (32, 20) if quick else (512, 360)
    scan = ConeBeam(np.arange(views) * 2 * np.pi / views, 2.0 * n, 4.0 * n, (3 * n // 2, 2 * n), 4 / 3)
    return Problem("cone512", Grid((n, n, n), 1.0), scan)


def rolled(problem: Problem, degrees: float = ROLL) -> Problem:
    """The same problem with the detector rolled about the beam, given as per-view vectors."""
    table = np.array(problem.scan.frames())
    angle = np.deg2rad(degrees)
    u, v = table[:, 6:9].copy(), table[:, 9:12].copy()
    table[:, 6:9] = np.cos(angle) * u + np.sin(angle) * v
    table[:, 9:12] = np.cos(angle) * v - np.sin(angle) * u
    scan = Vectors(table, problem.scan.detector_shape, problem.scan.kind)
    return Problem(f"{problem.name}-roll", problem.grid, scan)
