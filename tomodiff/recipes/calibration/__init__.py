"""Geometry of a scan from its own projections."""
