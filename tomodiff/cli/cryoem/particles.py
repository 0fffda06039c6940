"""`tomodiff cryoem convert` and `simulate`: particle files from other particle files, maps or atoms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomodiff.cli.console import LOG, say
from tomodiff.cli.outputs import Overwrite, refuse_existing

DEFAULT_PIXEL = 3.0
"""Angstrom, of a phantom or of atoms."""


def _option(help: str, metavar: str = "N") -> typer.models.OptionInfo:
    info: typer.models.OptionInfo = typer.Option(help=help, metavar=metavar)
    return info


def convert(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help=".star, .cs or .par")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help=".star, .cs or .par")],
    passthrough: Annotated[
        list[Path] | None, typer.Option("--passthrough", metavar="FILE.cs", help="completes a .cs; may be repeated")
    ] = None,
    root: Annotated[Path | None, typer.Option("--root", metavar="FOLDER", help="where to look for stacks")] = None,
    stack: Annotated[Path | None, typer.Option("--stack", metavar="FILE", help="the images (a .par needs it)")] = None,
    images: Annotated[
        Path | None, typer.Option("--images", metavar="OUT.mrcs", help="write the images, too, and refer to them")
    ] = None,
    pixel_a: Annotated[float | None, _option("pixel in angstrom", "ANGSTROM")] = None,
    voltage_kv: Annotated[float | None, _option("acceleration voltage", "KV")] = None,
    cs_mm: Annotated[float | None, _option("spherical aberration", "MM")] = None,
    amplitude_contrast: Annotated[float | None, _option("amplitude contrast, 0 to 1")] = None,
    invert_eulers: Annotated[
        bool, typer.Option("--invert-eulers", help="a .par whose angles turn the other way round")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Translate particles between RELION, cryoSPARC and FREALIGN / cisTEM; unknown columns stay within a dialect."""
    from tomodiff.files import cryoem

    refuse_existing(overwrite, target, images)
    for text in cryoem.convert(
        source, target, images=images, root=root, passthrough=tuple(passthrough or ()), stack=stack, pixel=pixel_a,
        voltage=voltage_kv, cs=cs_mm, amplitude_contrast=amplitude_contrast, invert_eulers=invert_eulers,
    ):  # fmt: skip
        LOG.warning("%s", text)
    say(f"particles  {target}")


def simulate(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="map (.mrc), atoms (.pdb, .cif), or `phantom`")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT.star", help="new particles; images and truth lie beside: OUT.mrcs, OUT_truth")
    ],
    particles: Annotated[int, _option("number of particles")] = 1000,
    box: Annotated[int, _option("pixels along a side", "PIXELS")] = 64,
    pixel_a: Annotated[float | None, _option("pixel in angstrom (default 3; a map's own)", "ANGSTROM")] = None,
    snr: Annotated[float, _option("variance of the signal over that of the noise; inf for none")] = 0.1,
    defocus_a: Annotated[tuple[float, float], _option("least and most, angstrom", "LOW HIGH")] = (8e3, 2.2e4),
    ctf: Annotated[bool, typer.Option(help="with a contrast transfer function")] = True,
    shift_a: Annotated[float, _option("standard deviation of shifts, angstrom", "ANGSTROM")] = 3.0,
    b_factor_a2: Annotated[float, _option("decay of amplitudes, angstrom^2", "A2")] = 0.0,
    voltage_kv: Annotated[float, _option("acceleration voltage", "KV")] = 300.0,
    cs_mm: Annotated[float, _option("spherical aberration", "MM")] = 2.7,
    amplitude_contrast: Annotated[float, _option("amplitude contrast, 0 to 1")] = 0.1,
    beam_tilt_mrad: Annotated[tuple[float, float], _option("beam tilt", "X Y")] = (0.0, 0.0),
    resolution_a: Annotated[float, _option("atoms are blurred to this", "ANGSTROM")] = 0.0,
    symmetry: Annotated[str, _option("of the phantom", "GROUP")] = "C1",
    conformations: Annotated[int, _option("of the phantom, 1 or 2")] = 1,
    motion: Annotated[bool, typer.Option("--motion", help="a phantom whose head turns")] = False,
    pose_error_deg: Annotated[float, _option("by which the poses in OUT.star are off", "DEGREES")] = 0.0,
    shift_error_a: Annotated[float, _option("by which the shifts in OUT.star are off", "ANGSTROM")] = 0.0,
    half: Annotated[bool, typer.Option("--float16", help="images in 16 bits")] = False,
    seed: Annotated[int, _option("start of all random numbers")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Simulate particles of a map, of atoms or of a phantom, independently of the models that reconstruct them."""
    from tomodiff.errors import ConfigError
    from tomodiff.simulate.particle_set import ParticleSet, write_set
    from tomodiff.simulate.particles import Imaging

    stem = out.with_suffix("").name
    beside = (out.with_name(stem + end) for end in (".mrcs", "_truth.star", "_truth.mrc", "_truth1.mrc"))
    refuse_existing(overwrite, out, *beside)
    structure = None if source == "phantom" else Path(source)
    try:
        imaging = Imaging(defocus_a if ctf else None, shift=shift_a, snr=snr, b_factor=b_factor_a2)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    what = ParticleSet(
        structure, particles, box, _pixel(structure) if pixel_a is None else pixel_a, voltage=voltage_kv, cs=cs_mm,
        amplitude_contrast=amplitude_contrast, beam_tilt=beam_tilt_mrad, imaging=imaging, conformations=conformations,
        motion=motion, symmetry=symmetry, resolution=resolution_a, pose_error=pose_error_deg,
        shift_error=shift_error_a, half=half, seed=seed,
    )  # fmt: skip
    for role, path in zip(("particles", "images", "true poses", *["true map"] * 3), write_set(out, what), strict=False):
        say(f"{role:<10}  {path}")


def _pixel(structure: Path | None) -> float:
    """A map's own pixel, else the default one; angstrom.  ConfigError for a map that tells none."""
    from tomodiff.simulate.particle_set import MAPS

    if structure is None or structure.suffix.lower() not in MAPS:
        return DEFAULT_PIXEL
    from tomodiff.errors import ConfigError
    from tomodiff.files.cryoem.mrc import read_header

    header = read_header(structure)
    if not any(header.voxel):
        raise ConfigError(f"{structure}: expected --pixel-a for a map that tells no voxel size, found none")
    return header.pixel or DEFAULT_PIXEL  # what it tells of other voxels is refused where the map is read
