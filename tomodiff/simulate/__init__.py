"""Simulated scans: phantoms with exact line integrals and an instrument with real faults."""

from __future__ import annotations

from tomodiff.simulate.acquire import simulate_scan, transmissions
from tomodiff.simulate.ellipsoids import Ellipsoids
from tomodiff.simulate.instrument import Beam, Detector, Misalignment
from tomodiff.simulate.phantoms import bead_pack, ellipsoid, foam, rod, sample, shepp_logan_3d, sphere

__all__ = [
    "Beam",
    "Detector",
    "Ellipsoids",
    "Misalignment",
    "bead_pack",
    "ellipsoid",
    "foam",
    "rod",
    "sample",
    "shepp_logan_3d",
    "simulate_scan",
    "sphere",
    "transmissions",
]
