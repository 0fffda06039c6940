"""`tomodiff terrain mesh`: a map of heights of a part of a small body's shape model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomodiff.cli.console import say
from tomodiff.cli.terrain.maps import Out, Overwrite, free_to_write


def mesh(
    shape: Annotated[Path, typer.Argument(metavar="MESH", help="OBJ, PLY, STL or DSK (.bds)")],
    out: Out,
    lon: Annotated[float, typer.Option(metavar="DEGREES", help="east longitude of the map's middle")],
    lat: Annotated[float, typer.Option(metavar="DEGREES", help="latitude of the map's middle")],
    size: Annotated[float, typer.Option(metavar="METRES", help="side of the map")],
    spacing: Annotated[float, typer.Option(metavar="METRES", help="side of an element")],
    radius: Annotated[
        float | None, typer.Option(metavar="METRES", help="of the sphere below the map (the mean of the vertices)")
    ] = None,
    unit: Annotated[str, typer.Option(metavar="km|m", help="of OBJ, PLY and STL")] = "km",
    overwrite: Overwrite = False,
) -> None:
    """Resample a part of a shape model as heights above a sphere, on an orthographic map: a DEM for fit and render."""
    import numpy as np

    from tomodiff.errors import ConfigError, DataError
    from tomodiff.files.planetary import write_raster
    from tomodiff.files.planetary.mesh import read_mesh
    from tomodiff.geometry.map_grid import MapGrid

    free_to_write(out, overwrite)
    if not (size > 0 and spacing > 0 and size / spacing >= 4):
        raise ConfigError(
            f"--size, --spacing: expected lengths above 0 and at least 4 elements, got {size:g}, {spacing:g}"
        )
    body = read_mesh(shape, unit)
    below, n = radius or body.radius, round(size / spacing)
    if size > below:
        raise ConfigError(f"--size: expected at most the radius {below:.0f} m of the sphere below, got {size:g}")
    crs = f"+proj=ortho +lat_0={lat:g} +lon_0={lon:g} +R={below:.3f} +units=m +no_defs"
    grid = MapGrid((n, n), (spacing, 0, -n * spacing / 2, 0, -spacing, n * spacing / 2), crs, str(out))
    heights = body.heights(grid.places, grid.ellipsoid.axes(*grid.geodetic)[2])
    if not np.isfinite(heights).any():
        raise DataError(shape, "shape", "a surface below the map", "none")
    write_raster(out, heights, grid, "m", "height")
    say(
        f"{np.isfinite(heights).mean():.1%} of {n} x {n} elements, from {np.nanmin(heights):.1f} to "
        f"{np.nanmax(heights):.1f} m"
    )
    say(f"heights  {out}")
