"""`tomodiff terrain`: heights and albedo from images of planets and the Earth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomodiff.cli.options import Overrides, names_of, with_settings
from tomodiff.cli.terrain import maps
from tomodiff.cli.terrain.mesh import mesh
from tomodiff.cli.terrain.render import render

app = typer.Typer(
    help="Terrain: fit heights and albedo to images, simulate and correct images.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Images = Annotated[
    list[Path], typer.Argument(metavar="IMAGES...", help="GeoTIFF, ISIS cube, PDS or FITS, on the map of the DEM")
]
OPTIONS = tuple(name for name in names_of("terrain-fit", "input", "light", "fit", "output") if name != "input.images")


@app.command()
@with_settings(*OPTIONS, "preview", "seed", kind="terrain-fit")
def fit(images: Images, given: Overrides) -> None:
    """Refine a DEM (--dem) by the shading and shadows of images, and find the ground's albedo.

    OUT/ holds run-DEM-final.tif, run-albedo-final.tif, their standard deviations, exposures, haze, and each image as
    measured and as simulated; -o name.tif puts the heights there and all else into name.run/.
    """
    from tomodiff.cli.jobs import start
    from tomodiff.recipes.config_file import settings_from

    chosen = {"job": ("terrain-fit", "terrain-fit"), "input.images": ([str(p) for p in images], "the images")}
    start(settings_from({**chosen, **given}))


for command in (maps.shade, maps.photometry, render, mesh):
    app.command()(command)
