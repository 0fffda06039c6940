"""Grids and scans as values in physical units: lengths in mm, angles in radians, positions as (x, y, z)."""

from __future__ import annotations

from tomodiff.geometry.astra import astra_volume, from_astra, grid_from_astra, to_astra
from tomodiff.geometry.circular import ConeBeam, FanBeam, Laminography, ParallelBeam
from tomodiff.geometry.fit import check_pair, fit_grid
from tomodiff.geometry.grid import Grid
from tomodiff.geometry.helix import Helix
from tomodiff.geometry.scan import Scan
from tomodiff.geometry.stored import scan_from_dict
from tomodiff.geometry.turning import TurningScan
from tomodiff.geometry.vectors import Vectors

__all__ = [
    "ConeBeam",
    "FanBeam",
    "Grid",
    "Helix",
    "Laminography",
    "ParallelBeam",
    "Scan",
    "TurningScan",
    "Vectors",
    "astra_volume",
    "check_pair",
    "fit_grid",
    "from_astra",
    "grid_from_astra",
    "scan_from_dict",
    "to_astra",
]
