"""`tomodiff optical`: scenes from photographs, and pictures of scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomodiff.cli.options import Overrides, names_of, with_settings

app = typer.Typer(
    help="Photographs: scenes from them, and pictures of scenes.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Photographs = Annotated[
    Path, typer.Argument(metavar="PHOTOS", help="transforms.json, or the folder of COLMAP's text files")
]
SceneFile = Annotated[Path, typer.Argument(metavar="SCENE", help="run directory of `optical reconstruct`, or field.h5")]


@app.callback()
def optical() -> None:
    """Photographs: scenes from them, and pictures of scenes."""


@app.command()
@with_settings(*names_of("optical-reconstruct", "input", "fit", "output"), "seed", kind="optical-reconstruct")
def reconstruct(photographs: Photographs, given: Overrides) -> None:
    """Turn photographs with known cameras into a scene that can be looked at from anywhere, and a report.

    -o lego.nii.gz puts the density there and all else beside it, in lego.run/: the scene (field.h5), pictures (views/),
    the report.
    """
    from tomodiff.cli.jobs import start
    from tomodiff.recipes.config_file import settings_from

    kind = "optical-reconstruct"
    start(settings_from({"job": (kind, kind), "input.path": (str(photographs), "the file"), **given}))


@app.command()
def render(
    scene: SceneFile,
    cameras: Annotated[
        Path, typer.Option("--cameras", metavar="PHOTOS", help="where to look from: transforms.json or COLMAP")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="OUT", help="folder of pictures, or a film (.gif .webp .png .mp4)")
    ] = Path("pictures"),
    what: Annotated[
        str, typer.Option("--what", metavar="colour|opacity|depth|normals|flow", help="what to draw")
    ] = "colour",
    turn: Annotated[
        int | None, typer.Option("--turn", metavar="N", help="N pictures once around the scene, from the first camera")
    ] = None,
    bin: Annotated[int, typer.Option("--bin", metavar="N", help="pixels of pictures, N times as large")] = 1,
    per_second: Annotated[float, typer.Option("--per-second", metavar="N", help="pictures of a film")] = 20.0,
) -> None:
    """Draw a scene as cameras see it: colours, opacity, depth, normals, or how what they see moves to the next camera.

    A folder has a picture (.png) of each camera; of depth, normals and flow the numbers as well (.npy): depth along the
    camera's axis and normals in the scene's axes, flow in columns and rows to the next camera.
    """
    from tomodiff.cli.optical_render import draw

    draw(scene, cameras, out, what, turn, bin, per_second)
