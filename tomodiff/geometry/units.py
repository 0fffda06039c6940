"""Lengths are mm; molecules are told in angstrom."""

from __future__ import annotations

from collections.abc import Sequence

ANGSTROM_PER_MM = 1e7
MOLECULAR = 1e-4
"""Voxels below this, in mm, are told in angstrom."""


def told_unit(spacing_mm: Sequence[float]) -> tuple[str, float]:
    """The unit in which voxels of this size are told, and how many of it make a mm."""
    return ("angstrom", ANGSTROM_PER_MM) if max(spacing_mm) < MOLECULAR else ("mm", 1.0)
