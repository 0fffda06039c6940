"""Scans of every kind, with offsets and tilts, for the tests that hold for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tomodiff.geometry import ConeBeam, FanBeam, Helix, Laminography, ParallelBeam, Scan, TurningScan, Vectors

TIGHT = 1e-12
"""Bound on errors of closed forms in lengths of up to a few hundred mm: some tens of roundings of float64."""

ANGLES = np.linspace(0.2, 6.1, 7)
TILTS = (0.1, -0.2, 0.15)


def all_scans() -> dict[str, Scan]:
    mounting: dict[str, Any] = {"axis_offset": 0.7, "detector_offset": (-0.4, 1.1)}
    tilted: dict[str, Any] = {**mounting, "detector_tilt": TILTS}
    rolled: dict[str, Any] = {**mounting, "detector_tilt": (0.1, 0.0, 0.0), "curved": True}
    scans: dict[str, Scan] = {
        "parallel": ParallelBeam(ANGLES, (5, 8), (0.5, 0.4), **tilted, axis_tilt=0.3),
        "plain parallel": ParallelBeam(ANGLES, 8),
        "cone": ConeBeam(ANGLES, 60.0, 110.0, (5, 8), (0.5, 0.4), **tilted, axis_tilt=-0.2),
        "curved cone": ConeBeam(ANGLES, 60.0, 110.0, (5, 8), (0.5, 0.4), **rolled),
        "fan": FanBeam(ANGLES, 60.0, 110.0, 8, 0.4, axis_offset=0.3),
        "helix": Helix(ANGLES * 4, 60.0, 110.0, (5, 8), (0.5, 0.4), 7.0, -3.0, **tilted),
        "curved helix": Helix(ANGLES * 4, 60.0, 110.0, (5, 8), (0.5, 0.4), 7.0, -3.0, **rolled),
        "laminography": Laminography(ANGLES, 0.6, (5, 8), source_axis=60.0, source_detector=110.0),
    }
    scans |= {f"vectors of {name}": Vectors.of(scan) for name, scan in list(scans.items())}
    return scans


every_scan = pytest.mark.parametrize("scan", all_scans().values(), ids=all_scans().keys())

turning_scans = {name: scan for name, scan in all_scans().items() if isinstance(scan, TurningScan)}
every_turning_scan = pytest.mark.parametrize("scan", turning_scans.values(), ids=turning_scans.keys())
