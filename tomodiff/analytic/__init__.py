"""Closed-form inverses: starting points and baselines."""

from __future__ import annotations

from tomodiff.analytic.fbp import fbp, fdk
from tomodiff.analytic.gridding import gridding
from tomodiff.analytic.ramp import filter_rows, ramp_response
from tomodiff.analytic.rebinning import feldkamp, helical

__all__ = ["fbp", "fdk", "feldkamp", "filter_rows", "gridding", "helical", "ramp_response"]
