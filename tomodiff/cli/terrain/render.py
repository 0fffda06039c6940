"""`tomodiff terrain render`: the image that a camera would take of a DEM."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tomodiff.cli.console import say
from tomodiff.cli.terrain.maps import Cast, Coefficients, Model, Out, Overwrite, free_to_write

if TYPE_CHECKING:
    import numpy as np

    from tomodiff.files.planetary import Observation, Raster


BLOCK_ROWS = 256
"""Rows of the image taken at a time."""


def render(
    dem: Annotated[Path, typer.Argument(metavar="DEM", help="heights in metres above the ellipsoid of its map")],
    camera: Annotated[
        Path,
        typer.Option("--camera", metavar="FILE", help="an ISD (JSON), or an image with RPC, an ISD or SPICE tables"),
    ],
    out: Out,
    sun_azimuth: Annotated[
        float | None, typer.Option("--sun-azimuth", metavar="DEGREES", help="clockwise from north (the ISD's)")
    ] = None,
    sun_elevation: Annotated[
        float | None, typer.Option("--sun-elevation", metavar="DEGREES", help="above the horizon (the ISD's)")
    ] = None,
    albedo: Annotated[Path | None, typer.Option("--albedo", metavar="FILE.tif", help="albedo (1 everywhere)")] = None,
    reflectance_type: Model = "lunar_lambert_mcewen",
    model_coeffs: Coefficients = None,
    shadows: Cast = "penumbra",
    exposure: Annotated[float, typer.Option(metavar="NUMBER", help="brightness of a reflectance of 1")] = 1.0,
    samples: Annotated[int, typer.Option(metavar="N", min=1, max=16, help="N x N lines of sight of each pixel")] = 2,
    crop_win: Annotated[
        str | None, typer.Option("--crop-win", metavar="C,R,W,H", help="part of an image with RPC: column, row, size")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Simulate the image that a camera takes of a DEM: shaded, with cast shadows, hidden ground hidden.

    Pixels that see nothing of the DEM hold nodata. An image with RPC keeps them, so that `terrain fit` takes it.
    """
    import numpy as np

    from tomodiff.errors import DataError
    from tomodiff.files.planetary import onto_grid, read_raster, write_raster
    from tomodiff.files.planetary.cameras import rpc_of
    from tomodiff.geometry.cameras import Rational

    free_to_write(out, overwrite)
    raster, seen = read_raster(dem), _observed(camera)
    window = _window(crop_win, seen.camera)
    ground = np.ones(raster.grid.shape) if albedo is None else onto_grid(read_raster(albedo), raster.grid)
    if raster.grid.crs is None:
        raise DataError(dem, "projection", "one, to find where the camera sees it", "none")
    shade = (
        exposure * ground * _shaded(raster, seen, sun_azimuth, sun_elevation, reflectance_type, model_coeffs, shadows)
    )
    image = _taken(raster, seen, shade, window, samples)
    if not np.isfinite(image).any():
        raise DataError(dem, "map", f"a part that {camera.name} sees", "none")
    rpc = rpc_of(seen.camera, *window[:2]) if isinstance(seen.camera, Rational) else None
    write_raster(out, image, None, "", "simulated", rpc=rpc)
    say(f"{np.isfinite(image).mean():.1%} of {image.shape[1]} x {image.shape[0]} pixels see the DEM")
    say(f"image  {out}")


def _observed(path: Path) -> Observation:
    from tomodiff.errors import DataError
    from tomodiff.files.planetary import read_camera
    from tomodiff.files.planetary.isd import read_isd

    found = read_isd(path) if path.suffix.lower() == ".json" else read_camera(path)
    if found is None:
        raise DataError(path, "camera", "RPC, an ISD beside it, or SPICE tables", "none")
    return found


def _window(text: str | None, camera: Any) -> tuple[int, int, int, int]:
    """Column, row, width and height of the part that is wanted."""
    from tomodiff.errors import ConfigError
    from tomodiff.geometry.cameras import Rational

    rows, columns = camera.shape
    if text is None:
        return 0, 0, columns, rows
    if not isinstance(camera, Rational):
        raise ConfigError("--crop-win: expected an image with RPC, which can be moved along; this camera has none")
    try:
        column, row, width, height = (int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--crop-win: expected four whole numbers C,R,W,H, got {text}") from error
    if not (0 <= column < column + width <= columns and 0 <= row < row + height <= rows):
        raise ConfigError(f"--crop-win: expected a part of {columns} x {rows} pixels, got {text}")
    return column, row, width, height


def _shaded(
    raster: Raster, seen: Observation, azimuth: float | None, elevation: float | None, name: str,
    coefficients: str | None, shadows: str,
) -> np.ndarray:  # fmt: skip
    """The reflectance (ny, nx) of a DEM as its elements show it to the camera, NaN in its holes."""
    import numpy as np

    from tomodiff.cli.terrain.maps import reflectance_of
    from tomodiff.errors import ConfigError
    from tomodiff.files.planetary import Light
    from tomodiff.geometry.cameras.parallax import parallax_of
    from tomodiff.recipes.terrain.views import light_of, towards_camera

    grid = raster.grid
    if (azimuth is None) != (elevation is None):
        raise ConfigError("--sun-azimuth, --sun-elevation: expected both or none")
    told = None if azimuth is None or elevation is None else Light(azimuth, elevation, 0.0, 90.0)
    low, high = float(np.nanmin(raster.values)), float(np.nanmax(raster.values))
    parallax = parallax_of(seen.camera, grid.ellipsoid, *grid.geodetic, low, high, str(raster.path))
    view = towards_camera(parallax, grid)
    light = light_of(seen, grid, view, told)
    if light is None:
        raise ConfigError("--sun-azimuth, --sun-elevation: expected both, as the camera's file does not tell the sun")
    if not light.sun_elevation > 0:
        raise ConfigError(f"the sun stands {-light.sun_elevation:g} degrees below the horizon")
    return reflectance_of(raster, light, name, coefficients, shadows, view)


def _taken(
    raster: Raster, seen: Observation, shade: np.ndarray, window: tuple[int, int, int, int], samples: int
) -> np.ndarray:
    """The image (rows, columns), means over samples x samples lines of sight, NaN where one sees nothing."""
    import numpy as np

    from tomodiff.array import block_mean
    from tomodiff.geometry.cameras.footprint import footprint_of
    from tomodiff.projectors.terrain.camera_image import CameraImage

    column, row, width, height = window
    holes = ~np.isfinite(raster.values)
    ground = np.where(holes, np.nanmin(raster.values), raster.values)
    low, high = float(ground.min()), float(ground.max())
    low, high = low - 1e-3 * (high - low) - 1e-3, high + 1e-3 * (high - low) + 1e-3
    apart = (np.arange(samples) + 0.5) / samples - 0.5
    columns, rows = (
        (first + np.arange(size)[:, None] + apart).ravel() for first, size in ((column, width), (row, height))
    )
    total = np.empty((height, width))
    for first in range(0, height, BLOCK_ROWS):
        some = rows[first * samples : (first + BLOCK_ROWS) * samples]
        found = footprint_of(seen.camera, raster.grid, low, high, columns, some)
        A = CameraImage(raster.grid.shape, found.path, found.middle, found.half, nothing=np.nan, dtype="float64")
        image = A({"height": ground, "shade": shade})
        blocks = block_mean(image, samples)
        total[first : first + len(blocks)] = blocks
    return total
