"""Closed-form inverses: starting points and baselines."""

from __future__ import annotations

from tomodiff.analytic.fbp import fbp, fdk
from tomodiff.analytic.gridding import gridding
from tomodiff.analytic.ramp import filter_rows, ramp_response

__all__ = ["fbp", "fdk", "filter_rows", "gridding", "ramp_response"]
