"""Maps and images of planets: rasters with a projection, FITS, tables of sun angles, cameras."""

from __future__ import annotations

from tomodiff.files.planetary.cameras import read_camera
from tomodiff.files.planetary.isd import Observation, read_isd
from tomodiff.files.planetary.raster import Raster, onto_grid, read_raster, write_raster
from tomodiff.files.planetary.sun_angles import (
    Light,
    read_directions,
    read_exposures,
    read_lights,
    write_numbers,
)

__all__ = [
    "Light",
    "Observation",
    "Raster",
    "onto_grid",
    "read_camera",
    "read_directions",
    "read_exposures",
    "read_isd",
    "read_lights",
    "read_raster",
    "write_numbers",
    "write_raster",
]
