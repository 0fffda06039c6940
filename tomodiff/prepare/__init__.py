"""Preparation of X-ray scans for reconstruction: from counts to line integrals with a known rotation axis."""

from __future__ import annotations

from tomodiff.prepare.center import CenterEstimate, apply_center, find_center
from tomodiff.prepare.chain import prepare
from tomodiff.prepare.defects import Defects, find_defects, repair_pixels
from tomodiff.prepare.flat_field import flat_field
from tomodiff.prepare.flux import Air, find_air, normalise_flux
from tomodiff.prepare.minus_log import minus_log
from tomodiff.prepare.rings import RingFilter, remove_rings

__all__ = [
    "Air",
    "CenterEstimate",
    "Defects",
    "RingFilter",
    "apply_center",
    "find_air",
    "find_center",
    "find_defects",
    "flat_field",
    "minus_log",
    "normalise_flux",
    "prepare",
    "remove_rings",
    "repair_pixels",
]
