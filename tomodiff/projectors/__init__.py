"""Operators that model instruments: geometry in, kernels inside."""

from __future__ import annotations

from tomodiff.projectors.xray import XRay

__all__ = ["XRay"]
