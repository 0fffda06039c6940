"""`tomodiff cryoem`: from particles and tilt series to validated maps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomodiff.cli.cryoem import maps
from tomodiff.cli.cryoem.particles import convert, simulate
from tomodiff.cli.options import Overrides, names_of, with_settings

app = typer.Typer(
    help="Cryo-EM: reconstruct and refine particles, make tomograms, measure and sharpen maps.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Particles = Annotated[
    Path, typer.Argument(metavar="PARTICLES", help=".star of RELION 3 to 5, .cs of cryoSPARC, .par of FREALIGN")
]
Alignment = Annotated[Path, typer.Argument(metavar="SERIES", help=".xf, .aln, .star, .tomostar or .mdoc")]


@app.command()
@with_settings(*names_of("cryoem-reconstruct", "reconstruction", "input", "output"), "seed", kind="cryoem-reconstruct")
def reconstruct(particles: Particles, given: Overrides) -> None:
    """Turn particles with poses into a map, its half maps, their FSC, a sharpened map and a report.

    -o map.mrc puts the map there and all else beside it, in map.run/.
    """
    _start("cryoem-reconstruct", particles, given)


@app.command()
@with_settings(*names_of("cryoem-refine", "refinement", "input", "output"), "preview", "seed", kind="cryoem-refine")
def refine(particles: Particles, given: Overrides) -> None:
    """Refine poses, shifts and CTF with independent half sets, from the file's poses or (--mode global) from a map."""
    _start("cryoem-refine", particles, given)


@app.command()
@with_settings(
    *names_of("cryoem-abinitio", "reconstruction", "input", "output"), "preview", "seed", kind="cryoem-abinitio"
)
def abinitio(particles: Particles, given: Overrides) -> None:
    """Find one map or several from particles whose poses are unknown."""
    _start("cryoem-abinitio", particles, given)


@app.command()
@with_settings(
    *names_of("cryoem-classify", "reconstruction", "input", "output"), "preview", "seed", kind="cryoem-classify"
)
def classify(particles: Particles, given: Overrides) -> None:
    """Divide particles with poses into classes, and make a map of each.

    The fullest class is the map itself; the others are map_class2.mrc and so on in the folder of the run.
    """
    _start("cryoem-classify", particles, given)


@app.command()
@with_settings(
    *names_of("cryoem-variability", "reconstruction", "input", "output"), "preview", "seed", kind="cryoem-variability"
)
def variability(particles: Particles, given: Overrides) -> None:
    """Find the components along which the map varies from particle to particle, and where each particle stands."""
    _start("cryoem-variability", particles, given)


@app.command()
@with_settings(*names_of("cryoem-tomogram", "reconstruction", "input", "output"), "seed", kind="cryoem-tomogram")
def tomogram(series: Alignment, given: Overrides) -> None:
    """Turn a tilt series into a tomogram."""
    _start("cryoem-tomogram", series, given)


for command in (maps.fsc, maps.postprocess, maps.mask, convert, simulate):
    app.command()(command)


def _start(kind: str, path: Path, given: Overrides) -> None:
    from tomodiff.cli.jobs import start
    from tomodiff.recipes.config_file import settings_from

    start(settings_from({"job": (kind, kind), "input.path": (str(path), "the file"), **given}))
