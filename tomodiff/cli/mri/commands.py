"""`tomodiff mri`: from raw data of a scanner to images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomodiff.cli.options import Overrides, names_of, with_settings

app = typer.Typer(
    help="MRI: images from raw data of scanners.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

KSpace = Annotated[Path, typer.Argument(metavar="KSPACE", help="ISMRMRD (.h5, .mrd), or .cfl of BART")]


@app.callback()
def mri() -> None:
    """MRI: images from raw data of scanners."""


@app.command()
@with_settings(
    *names_of("mri-reconstruct", "reconstruction", "input", "output"), "preview", "seed", kind="mri-reconstruct"
)
def reconstruct(kspace: KSpace, given: Overrides) -> None:
    """Turn samples of k-space into an image and a report.

    -o image.nii.gz puts the image's modulus there and all else beside it, in image.run/: its complex values
    (image.cfl), the coils' sensitivities (maps.cfl), the report.
    """
    from tomodiff.cli.jobs import start
    from tomodiff.recipes.config_file import settings_from

    kind = "mri-reconstruct"
    start(settings_from({"job": (kind, kind), "input.path": (str(kspace), "the file"), **given}))
