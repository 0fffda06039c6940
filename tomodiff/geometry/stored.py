"""Scans back from the plain dicts in which files keep them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tomodiff.geometry.checks import refuse
from tomodiff.geometry.circular import ConeBeam, ParallelBeam
from tomodiff.geometry.helix import Helix
from tomodiff.geometry.scan import Scan, read_fields
from tomodiff.geometry.vectors import Vectors

SCANS: dict[str, type[Scan]] = {c.__name__: c for c in (ParallelBeam, ConeBeam, Helix, Vectors)}


def scan_from_dict(stored: Mapping[str, Any]) -> Scan:
    """The scan that `scan.to_dict()` described, equal to it. ValueError where the dict describes none."""
    if not isinstance(stored, Mapping):
        raise refuse("stored scan", "a dict", stored)
    name = stored.get("type")
    if name not in SCANS:
        raise refuse("type of the stored scan", f"one of {sorted(SCANS)}", name)
    return read_fields(SCANS[name], stored)
