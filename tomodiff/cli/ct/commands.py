"""`tomodiff ct reconstruct`, `center` and `simulate`: X-ray CT from the command line alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomodiff.cli.console import STATE, note, tell
from tomodiff.cli.ct.simulate import simulate
from tomodiff.cli.options import INPUT, OUTPUT, PREPARE, RECONSTRUCTION, Overrides, names_of, with_settings
from tomodiff.cli.outputs import Overwrite, refuse_existing
from tomodiff.recipes.calibration.names import ERRORS

app = typer.Typer(
    help="X-ray computed tomography: reconstruct a scan, find its rotation axis, simulate one.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

ScanFile = Annotated[
    Path,
    typer.Argument(metavar="SCAN", help="a scan: HDF5, TIFFs, Nikon, Zeiss, RTK, EDF, DICOM, MRC ... (docs/files.md)"),
]


@app.command()
@with_settings("output.path", *RECONSTRUCTION, *PREPARE, *INPUT, "preview", *OUTPUT, "seed")
def reconstruct(scan: ScanFile, given: Overrides) -> None:
    """Turn a scan into a volume.

    -o vol.h5 writes the volume there and everything else (report, log, settings, checkpoints) to vol.run/;
    -o NAME without a suffix makes one folder NAME of it all.
    """
    from tomodiff.cli.jobs import start
    from tomodiff.recipes.config_file import settings_from

    start(settings_from({"input.path": (str(scan), "SCAN"), **given}))


@app.command()
@with_settings("prepare.flux", "prepare.dead_pixels", "prepare.center_search", *INPUT)
def center(
    scan: ScanFile,
    given: Overrides,
    compare: Annotated[bool, typer.Option("--compare", help="also say what each method finds by itself")] = False,
    picture: Annotated[
        Path | None, typer.Option(metavar="PNG", help="draw a slice for each of nine columns about the one found")
    ] = None,
    step: Annotated[float, typer.Option(metavar="PX", min=0.01, help="columns from one slice to the next")] = 1.0,
) -> None:
    """Find the rotation axis of a scan and print its detector column (pixels, counted from 0)."""
    from tomodiff.cli.ct import axis
    from tomodiff.recipes.config_file import settings_from

    settings = settings_from({"input.path": (str(scan), "SCAN"), **given})
    found = axis.find_column(settings)
    if STATE.json:
        tell({"column": round(found.column, 3)})
    else:
        print(f"{found.column:.3f}")
    for line in axis.by_every_method(found, settings.prepare.center_search) if compare else ():
        note(line)
    if picture is not None:
        axis.picture(found, step, picture)


@app.command(epilog="Errors: " + "; ".join(f"{name}: {what}" for name, what in ERRORS.items()) + ".")
@with_settings(*names_of("ct-calibrate", "input", "prepare", "calibration", "output"), "seed", kind="ct-calibrate")
def calibrate(scan: ScanFile, given: Overrides) -> None:
    """Find where source, detector and sample were, from the projections themselves.

    Errors of the geometry are sought together with the volume; OUT/geometry.json is what they make of the scan, for
    `tomodiff ct reconstruct SCAN --geometry OUT/geometry.json -m cgls` (or sirt, fista-tv). The report says how well
    each is known, and which the data cannot tell.
    """
    from tomodiff.cli.jobs import start
    from tomodiff.recipes.config_file import settings_from

    chosen = {"job": ("ct-calibrate", "ct-calibrate"), "input.path": (str(scan), "SCAN")}
    start(settings_from({**chosen, **given}))


app.command()(simulate)


@app.command()
@with_settings(*INPUT)
def parts(
    scan: ScanFile,
    parts: Annotated[Path, typer.Argument(metavar="PARTS.yml", help="solids in a tree of joints, about right")],
    given: Overrides,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="the fitted parts")] = Path("fitted.yml"),
    overwrite: Overwrite = False,
) -> None:
    """Find dimensions and poses of parts from a few radiographs, far below a voxel, without making a volume.

    PARTS.yml lists spheres, ellipsoids, boxes, cylinders and capsules: name, kind, half_mm, place_mm, turn_deg, density
    in 1/mm, parent, free.
    """
    from tomodiff.cli.ct.parts import find_parts

    refuse_existing(overwrite, out)
    find_parts(scan, parts, given, out)
