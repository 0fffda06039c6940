"""`tomodiff optical`: scenes from photographs, and pictures of scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomodiff.cli.options import Overrides, names_of, with_settings
from tomodiff.cli.outputs import Overwrite, refuse_existing

app = typer.Typer(
    help="Photographs: scenes from them, pictures of scenes, where cameras were, normals under lights.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Photographs = Annotated[
    Path, typer.Argument(metavar="PHOTOS", help="transforms.json, or the folder of COLMAP's text files")
]
SceneFile = Annotated[Path, typer.Argument(metavar="SCENE", help="run directory of `optical reconstruct`, or field.h5")]


@app.callback()
def optical() -> None:
    """Photographs: scenes from them, pictures of scenes, where cameras were, normals under lights."""


FOLDER = typer.Option("--out", "-o", metavar="FOLDER", help="where results go")
PICTURE = typer.Option("--out", "-o", metavar="FILE", help="picture, or .npy of brightness")
BRIGHTNESS = typer.Option("--gamma", metavar="N", help="brightness is the file's values to this power (sRGB: 2.2)")
LIGHT = typer.Option("--light", metavar="X,Y,Z[,STRENGTH]", help="right, up, towards the camera; repeatable")
SKY = typer.Option("--sky", metavar="FILE", help="a sky as of `optical sky`")
GAMMA = typer.Option("--gamma", metavar="N", help="of pictures, as of `normals`")
DEGREE = typer.Option("--degree", metavar="N", help="of the sky's harmonics, 0 to 4")
THING = typer.Argument(metavar="NORMALS", help="folder of `optical normals`")


@app.command()
@with_settings(
    *names_of("optical-reconstruct", "input", "fit", "output"), "preview", "seed", kind="optical-reconstruct"
)
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
    overwrite: Overwrite = False,
) -> None:
    """Draw a scene as cameras see it: colours, opacity, depth, normals, or how what they see moves to the next camera.

    A folder has a picture (.png) of each camera; of depth, normals and flow the numbers as well (.npy): depth along the
    camera's axis and normals in the scene's axes, flow in columns and rows to the next camera.
    """
    from tomodiff.cli.optical.render import draw

    refuse_existing(overwrite, out)
    draw(scene, cameras, out, what, turn, bin, per_second)


@app.command()
def locate(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="a photograph, or a radiograph with --xrays")],
    scene: Annotated[Path, typer.Argument(metavar="SCENE", help="run directory, field.h5, or a volume with --xrays")],
    camera: Annotated[
        Path, typer.Option("--camera", metavar="FILE", help="transforms.json with its lens and about where it was")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="transforms.json of the camera")] = Path(
        "located.json"
    ),
    xrays: Annotated[
        str | None,
        typer.Option("--xrays", metavar="lines|transmission", help="SCENE is a volume; what PHOTO holds"),
    ] = None,
    turn: Annotated[float | None, typer.Option("--turn", metavar="DEGREES", help="how wrong the camera may be")] = None,
    shift: Annotated[
        float | None, typer.Option("--shift", metavar="N", help="the same, in parts of its distance, or in mm (X-rays)")
    ] = None,
    starts: Annotated[int, typer.Option("--starts", metavar="N", help="other starts that are tried")] = 8,
    bin: Annotated[int, typer.Option("--bin", metavar="N", help="average so many pixels along rows and columns")] = 1,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="of the starts")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Find where a photograph of a scene was taken, or how a body lay under X-rays, from a camera that is about right.

    The camera of a C-arm is a pinhole: its place is the source, its focal length in pixels from source to detector.
    A pose that fits badly, or is not the only one that fits, is an error, not a result.
    """
    from tomodiff.cli.optical.locate import Search, locate_picture

    refuse_existing(overwrite, out)
    wrong = (10.0, 10.0) if xrays else (5.0, 0.05)
    far = (wrong[0] if turn is None else turn, wrong[1] if shift is None else shift)
    locate_picture(photo, scene, camera, out, xrays, Search(*far, starts, seed, bin))


@app.command()
def parts(
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="transforms.json, or COLMAP's folder")],
    parts: Annotated[Path, typer.Argument(metavar="PARTS.yml", help="solids in a tree of joints, about right")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="the fitted parts")] = Path("fitted.yml"),
    silhouettes: Annotated[
        bool, typer.Option("--silhouettes", help="by the opacity (alpha) of the photographs alone")
    ] = False,
    gamma: Annotated[float, BRIGHTNESS] = 1.0,
    overwrite: Overwrite = False,
) -> None:
    """Find dimensions, poses and colours of parts from a few photographs: metrology, or how joints are bent.

    PARTS.yml is that of `tomodiff ct parts`, in the cameras' unit of length, with colours instead of densities; what
    has a density below 0 is cut out of the rest.
    """
    from tomodiff.cli.optical.parts import find_seen_parts

    refuse_existing(overwrite, out)
    find_seen_parts(photos, parts, silhouettes, gamma, out)


@app.command()
def texture(
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="transforms.json, or COLMAP's folder")],
    mesh: Annotated[Path, typer.Argument(metavar="MESH", help="OBJ, PLY or STL, in the cameras' axes and unit")],
    out: Annotated[Path, FOLDER] = Path("texture"),
    size: Annotated[str, typer.Option("--size", metavar="ROWSxCOLUMNS", help="of the texture")] = "256x512",
    uv: Annotated[bool, typer.Option("--uv/--latlong", help="by the mesh's own coordinates, or longitude")] = False,
    suns: Annotated[
        Path | None,
        typer.Option("--suns", metavar="FILE", help="lines IMAGE X Y Z: towards the sun, in the mesh's axes"),
    ] = None,
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="of reflectance, with --suns")] = "lambert",
    exposures: Annotated[bool, typer.Option("--exposures", help="photographs differ in exposure: seek it")] = False,
    smooth: Annotated[float, typer.Option("--smooth", metavar="N", help="weight of differences between pixels")] = 0.05,
    test: Annotated[
        Path | None, typer.Option("--test", metavar="FILE", help="photographs that are held out, to measure by")
    ] = None,
    gamma: Annotated[float, BRIGHTNESS] = 1.0,
    overwrite: Overwrite = False,
) -> None:
    """Find the colours or the albedo of a body's surface as one picture: a mosaic in longitude and latitude, or a
    texture.

    With --suns what is found is albedo: shading by a reflectance model and shadows are taken off.  What does not fit,
    as highlights and things in front, counts little.
    """
    from tomodiff.cli.optical.texture import find_texture, plan_of

    refuse_existing(overwrite, out)
    find_texture(photos, mesh, suns, test, plan_of(size, uv, model, exposures, smooth), gamma, out)


@app.command()
def emission(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML: images, box, axis, absorption")],
    out: Annotated[Path, FOLDER] = Path("emission"),
    form: Annotated[
        str, typer.Option("--format", metavar="SUFFIX", help="of volumes: nii.gz, h5, mrc, ...")
    ] = "nii.gz",
    overwrite: Overwrite = False,
) -> None:
    """Find the light that a volume gives out, and what absorbs it: flames, nebulae, emission tomography (SPECT).

    Images are photographs with known cameras, a parallel scan, or FITS images of the sky with WCS.  Absorption is none,
    known, or sought; an object may be the same all around an axis, which is what one view of a nebula needs.
    """
    from tomodiff.cli.optical.emission import find_emission

    refuse_existing(overwrite, out)
    find_emission(config, out, form)


@app.command()
def normals(
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE...", help="pictures, or the folder they are in")],
    lights: Annotated[
        Path, typer.Option("--lights", metavar="FILE", help="lines [IMAGE] X Y Z: right, up, towards the camera")
    ],
    out: Annotated[Path, FOLDER] = Path("normals"),
    mask: Annotated[
        Path | None, typer.Option("--mask", metavar="FILE", help="picture that is bright where pixels count")
    ] = None,
    gamma: Annotated[float, BRIGHTNESS] = 1.0,
    glossy: Annotated[bool, typer.Option("--glossy/--matt", help="whether to seek one gloss of all pixels")] = True,
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="what is matt: lambert, oren_nayar, minnaert, hapke_2002 ...")
    ] = "lambert",
    free: Annotated[
        str | None, typer.Option("--free", metavar="A,B", help="parameters of the model that are sought")
    ] = None,
    sky: Annotated[
        int | None, typer.Option("--sky", metavar="DEGREE", help="seek a light that all pictures share, 0 to 4")
    ] = None,
    unequal: Annotated[bool, typer.Option("--unequal", help="lights differ in strength")] = False,
    uncertain: Annotated[
        float, typer.Option("--uncertain", metavar="DEGREES", help="how wrong directions of lights may be")
    ] = 0.0,
    overwrite: Overwrite = False,
) -> None:
    """Find normals, albedo, gloss and heights of a thing from pictures under several lights.

    The camera and the thing stay, one distant light is on in each picture.  Shadows and highlights are found as what
    does not fit.  What the pictures do not tell of lights, sky and reflectance is said.
    """
    from tomodiff.cli.optical.normals import find_normals, plan_of

    refuse_existing(overwrite, out)
    find_normals(pictures, lights, mask, gamma, plan_of(model, free, glossy, sky, unequal, uncertain), out)


@app.command()
def relight(
    found: Annotated[Path, THING],
    light: Annotated[list[str] | None, LIGHT] = None,
    sky: Annotated[Path | None, SKY] = None,
    out: Annotated[Path, PICTURE] = Path("relit.png"),
    ambient: Annotated[float, typer.Option("--ambient", metavar="N", help="light from everywhere")] = 0.0,
    gamma: Annotated[float, GAMMA] = 1.0,
    overwrite: Overwrite = False,
) -> None:
    """Show a thing whose normals were found under other lights and skies, with the shadows that its heights cast."""
    from tomodiff.cli.optical.relight import show

    refuse_existing(overwrite, out)
    show(found, light or [], sky, out, ambient, gamma)


@app.command()
def sky(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="picture of the thing, pixel by pixel")],
    found: Annotated[Path, THING],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="of the sky")] = Path("sky.json"),
    degree: Annotated[int, DEGREE] = 2,
    gamma: Annotated[float, GAMMA] = 1.0,
    overwrite: Overwrite = False,
) -> None:
    """Find the light all around under which a thing of known normals, albedo and heights was photographed.

    It is in spherical harmonics; combinations that the thing does not tell are left at zero, and counted.
    """
    from tomodiff.cli.optical.relight import find_sky

    refuse_existing(overwrite, out)
    find_sky(found, photo, degree, gamma, out)


@app.command()
def insert(
    thing: Annotated[Path, THING],
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="picture of the scene, pixel by pixel")],
    scene: Annotated[Path, typer.Option("--scene", metavar="FOLDER", help="of `optical normals` for the scene")],
    at: Annotated[str, typer.Option("--at", metavar="ROW,COLUMN", help="where the thing's first pixel comes to")],
    light: Annotated[list[str] | None, LIGHT] = None,
    sky: Annotated[Path | None, SKY] = None,
    out: Annotated[Path, PICTURE] = Path("inserted.png"),
    degree: Annotated[int, DEGREE] = 2,
    gamma: Annotated[float, GAMMA] = 1.0,
    overwrite: Overwrite = False,
) -> None:
    """Put a thing into the photograph of a scene, under the scene's own light.

    The light is what --light and --sky say, or else the sky that the photograph tells.  Both cast shadows upon each
    other; the photograph changes where its light does.
    """
    from tomodiff.cli.optical.relight import insert as put

    refuse_existing(overwrite, out)
    put(thing, scene, photo, at, light or [], sky, degree, gamma, out)
