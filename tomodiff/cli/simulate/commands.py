"""`tomodiff simulate`: labelled pictures of random solids, and the sensor that makes them look like a real picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Labelled pictures by simulation, and sensors that make them look real.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.callback()
def simulate() -> None:
    """Labelled pictures by simulation, and sensors that make them look real."""


@app.command()
def dataset(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG.yml]", help="what to draw; without it, the defaults")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="a new folder")] = Path("dataset"),
    pictures: Annotated[int | None, typer.Option("--pictures", metavar="N", help="instead of the file's")] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="instead of the file's")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="write into a folder that is there")] = False,
    template: Annotated[bool, typer.Option("--template", help="print a settings file and do nothing")] = False,
) -> None:
    """Draw pictures of random solids with exact depth, normals, masks, flow and poses.

    Poses, light, surfaces, exposure, point spread, noise and dead pixels are drawn from the ranges of a settings file;
    every number is recorded. Writes HDF5, BOP and COCO, and checks that the labels agree with each other.
    """
    from tomodiff.cli.simulate.dataset import make, print_template

    if template:
        print_template()
        return
    make(config, out, pictures, seed, overwrite)


@app.command()
def sensor(
    picture: Annotated[Path, typer.Argument(metavar="REAL", help="a real picture")],
    light: Annotated[Path, typer.Argument(metavar="LIGHT", help="simulated light of the same (.npy, or a picture)")],
) -> None:
    """Find gain, black level, blur and noise with which simulated light looks like a real picture, and print them."""
    from tomodiff.cli.simulate.dataset import find_sensor

    find_sensor(picture, light)
