"""`tomodiff terrain shade` and `photometry`: images of a DEM, and images brought to one geometry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tomodiff.cli.console import say
from tomodiff.cli.outputs import refuse_existing

if TYPE_CHECKING:
    import numpy as np

Dem = Annotated[Path, typer.Option("--dem", metavar="DEM", help="heights in metres")]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE.tif", help="where the result goes")]
Azimuth = Annotated[float, typer.Option("--sun-azimuth", metavar="DEGREES", help="clockwise from north")]
Elevation = Annotated[float, typer.Option("--sun-elevation", metavar="DEGREES", help="above the horizon")]
ViewAzimuth = Annotated[float, typer.Option("--view-azimuth", metavar="DEGREES", help="of the camera")]
ViewElevation = Annotated[float, typer.Option("--view-elevation", metavar="DEGREES", help="90: in the zenith")]
Model = Annotated[str, typer.Option("--reflectance-type", metavar="NAME", help="a reflectance model, as in fit")]
Coefficients = Annotated[
    str | None, typer.Option("--model-coeffs", metavar="N,N", help="its parameters, separated by commas")
]
Cast = Annotated[str, typer.Option("--shadows", metavar="NAME", help="penumbra, hard or none")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace the file")]


def shade(
    dem: Annotated[Path, typer.Argument(metavar="DEM", help="heights in metres")],
    out: Out,
    sun_azimuth: Azimuth,
    sun_elevation: Elevation,
    view_azimuth: ViewAzimuth = 0.0,
    view_elevation: ViewElevation = 90.0,
    albedo: Annotated[Path | None, typer.Option("--albedo", metavar="FILE.tif", help="albedo (1 everywhere)")] = None,
    reflectance_type: Model = "lunar_lambert_mcewen",
    model_coeffs: Coefficients = None,
    shadows: Cast = "penumbra",
    overwrite: Overwrite = False,
) -> None:
    """Simulate the image of a DEM under a sun, on its map: reflectance times albedo, with cast shadows."""
    import numpy as np

    from tomodiff.files.planetary import Light, onto_grid, read_raster, write_raster

    free_to_write(out, overwrite)
    light = Light(sun_azimuth, sun_elevation, view_azimuth, view_elevation)
    raster = read_raster(dem)
    ground = np.ones(raster.grid.shape) if albedo is None else onto_grid(read_raster(albedo), raster.grid)
    image = reflectance_of(raster, light, reflectance_type, model_coeffs, shadows) * ground
    write_raster(out, image, raster.grid, "", "I/F")
    say(f"image  {out}")


def photometry(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="an image on the map of the DEM, or another")],
    dem: Dem,
    out: Out,
    sun_azimuth: Azimuth,
    sun_elevation: Elevation,
    view_azimuth: ViewAzimuth = 0.0,
    view_elevation: ViewElevation = 90.0,
    incidence: Annotated[float, typer.Option(metavar="DEGREES", help="of the geometry to correct to")] = 30.0,
    emission: Annotated[float, typer.Option(metavar="DEGREES", help="of that geometry")] = 0.0,
    phase: Annotated[float, typer.Option(metavar="DEGREES", help="of that geometry")] = 30.0,
    reflectance_type: Model = "lunar_lambert_mcewen",
    model_coeffs: Coefficients = None,
    shadows: Cast = "hard",
    largest_incidence: Annotated[
        float, typer.Option(metavar="DEGREES", help="elements lit more obliquely are left out")
    ] = 85.0,
    overwrite: Overwrite = False,
) -> None:
    """Correct an image to a standard geometry (i 30, e 0, g 30): times the reflectance there over that on the DEM."""
    import numpy as np

    from tomodiff.files.planetary import Light, onto_grid, read_raster, write_raster
    from tomodiff.projectors.terrain.photometry import Photometry, geometry_of_angles

    free_to_write(out, overwrite)
    light = Light(sun_azimuth, sun_elevation, view_azimuth, view_elevation)
    raster = read_raster(dem)
    values = onto_grid(read_raster(image), raster.grid)
    least = float(np.cos(np.deg2rad(largest_incidence)))
    shaded = reflectance_of(raster, light, reflectance_type, model_coeffs, shadows)
    oblique = reflectance_of(raster, light, "lambert", None, shadows) < least
    model, parameters = model_of(reflectance_type, model_coeffs)
    standard = geometry_of_angles(*np.deg2rad([incidence, emission, phase]))
    reference = float(Photometry(model, 1)({"geometry": standard, "parameters": parameters})[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        corrected = np.where(oblique | ~(shaded > 0), np.nan, values * reference / shaded)
    write_raster(out, corrected, raster.grid, "", f"at i {incidence:g}, e {emission:g}, g {phase:g}")
    say(f"{int(np.isfinite(corrected).sum())} of {corrected.size} elements corrected; the others are dark or empty")
    say(f"image  {out}")


def reflectance_of(
    raster: Any, light: Any, name: str, coefficients: str | None, shadows: str, view: np.ndarray | None = None
) -> np.ndarray:
    """The reflectance (ny, nx) of a DEM, NaN in its holes; view: towards the camera (3, ny, nx), if it is near."""
    import numpy as np

    from tomodiff.errors import ConfigError, DataError
    from tomodiff.projectors.terrain.images import SHADOWS
    from tomodiff.projectors.terrain.lit_surface import lit_surface
    from tomodiff.projectors.terrain.reflectance import direction

    if shadows not in SHADOWS:
        raise ConfigError(f"--shadows: expected {', '.join(SHADOWS)}, got {shadows!r}")
    if not light.sun_elevation > 0:
        raise ConfigError(f"--sun-elevation: expected degrees above the horizon, got {light.sun_elevation:g}")
    model, parameters = model_of(name, coefficients)
    grid = raster.grid
    if not np.isfinite(raster.values).any():
        raise DataError(raster.path, "heights", "at least one", "only holes")
    vectors = (direction(*np.deg2rad(angles))[None] for angles in (
        (light.sun_azimuth, light.sun_elevation), (light.view_azimuth, light.view_elevation),
    ))  # fmt: skip
    sun, level_view = (grid.to_grid(v) for v in vectors)
    return lit_surface(
        raster.values, grid.spacing, sun, level_view if view is None else view[None], model, parameters=parameters,
        shadows=shadows, body_radius=grid.body_radius, frames=grid.frames,
    )  # fmt: skip


def model_of(name: str, coefficients: str | None) -> tuple[str, np.ndarray]:
    """The name of a reflectance and its parameters."""
    import numpy as np

    from tomodiff.errors import ConfigError
    from tomodiff.projectors.terrain.photometry import model_named

    try:
        model = model_named(name)
        given = model.vector() if coefficients is None else np.array([float(c) for c in coefficients.split(",")])
    except ValueError as error:
        raise ConfigError(f"--reflectance-type, --model-coeffs: {error}") from error
    if len(given) != len(model.parameters):
        names = ", ".join(p.name for p in model.parameters) or "none"
        raise ConfigError(
            f"--model-coeffs: expected {len(model.parameters)} numbers for {name} ({names}), got {len(given)}"
        )
    return name, given


def free_to_write(out: Path, overwrite: bool) -> None:
    """Refuse a place for a GeoTIFF that is taken, or is none."""
    from tomodiff.errors import ConfigError

    if out.suffix.lower() not in (".tif", ".tiff"):
        raise ConfigError(f"--out: expected a name that ends in .tif, got {out}")
    refuse_existing(overwrite, out)
