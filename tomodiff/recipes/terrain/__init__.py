"""Terrain jobs: heights and albedo from images of planets and the Earth."""
