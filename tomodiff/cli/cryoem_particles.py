"""`tomodiff cryoem convert` and `simulate`: particle files from other particle files, maps or atoms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tomodiff.cli.console import LOG, say

if TYPE_CHECKING:
    import numpy as np

Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace earlier files")]


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
    from tomodiff.errors import ConfigError
    from tomodiff.files import cryoem

    for path in (target, images):
        if path is not None and path.exists() and not overwrite:
            raise ConfigError(f"{path}: exists already; choose another name, or add --overwrite")
    for text in cryoem.convert(
        source, target, images=images, root=root, passthrough=tuple(passthrough or ()), stack=stack, pixel=pixel_a,
        voltage=voltage_kv, cs=cs_mm, amplitude_contrast=amplitude_contrast, invert_eulers=invert_eulers,
    ):  # fmt: skip
        LOG.warning("%s", text)
    say(f"particles  {target}")


def simulate(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="map (.mrc), atoms (.pdb, .cif), or `phantom`")],
    out: Annotated[Path, typer.Argument(metavar="OUT.star", help="new particles; images go to OUT.mrcs")],
    particles: Annotated[int, _option("number of particles")] = 1000,
    box: Annotated[int, _option("pixels along a side", "PIXELS")] = 64,
    pixel_a: Annotated[float | None, _option("pixel in angstrom (default 3.5; a map's own)", "ANGSTROM")] = None,
    snr: Annotated[float, _option("variance of the signal over that of the noise; inf for none")] = 0.1,
    defocus_a: Annotated[tuple[float, float], _option("least and most, angstrom", "LOW HIGH")] = (8e3, 2.2e4),
    ctf: Annotated[bool, typer.Option(help="with a contrast transfer function")] = True,
    shift_a: Annotated[float, _option("standard deviation of shifts, angstrom", "ANGSTROM")] = 3.0,
    b_factor_a2: Annotated[float, _option("decay of amplitudes, angstrom^2", "A2")] = 0.0,
    voltage_kv: Annotated[float, _option("acceleration voltage", "KV")] = 300.0,
    cs_mm: Annotated[float, _option("spherical aberration", "MM")] = 2.7,
    amplitude_contrast: Annotated[float, _option("amplitude contrast, 0 to 1")] = 0.1,
    truth: Annotated[Path | None, typer.Option("--truth", metavar="MAP.mrc", help="write the true map, too")] = None,
    seed: Annotated[int, _option("start of all random numbers")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Simulate particles of a map, of atoms or of a phantom, independently of the models that reconstruct them."""
    import numpy as np

    from tomodiff.errors import ConfigError
    from tomodiff.files.cryoem import write_map, write_particles
    from tomodiff.particles import Optics
    from tomodiff.simulate.particles import Imaging, simulate_particles

    for path in (out, out.with_suffix(".mrcs"), truth):
        if path is not None and path.exists() and not overwrite:
            raise ConfigError(f"{path}: exists already; choose another name, or add --overwrite")
    structure, pixel = _structure(source, box, pixel_a, seed)
    imaging = Imaging(defocus_a if ctf else None, shift=shift_a, snr=snr, b_factor=b_factor_a2)
    optics = Optics(voltage_kv, cs_mm, amplitude_contrast, pixel)
    rng = np.random.default_rng(seed)
    made, known = simulate_particles(structure, particles, box, pixel, rng, optics=optics, imaging=imaging)
    write_particles(out, made, stack=out.with_suffix(".mrcs"))
    if truth is not None:
        write_map(truth, _density(structure, box, pixel), pixel)
    say(f"particles  {out}: {particles} of {box} pixels of {pixel:g} angstrom, noise {known['noise']:.4g}")


def _structure(source: str, box: int, pixel: float | None, seed: int) -> tuple[Any, float]:
    """What is imaged, and the pixel in angstrom."""
    from tomodiff.errors import ConfigError
    from tomodiff.files.cryoem import read_map
    from tomodiff.simulate.blobs import macromolecule
    from tomodiff.simulate.density import DensityMap

    if source == "phantom":
        size = pixel or 3.5
        return macromolecule(seed, 0.35 * box * size, 2.5 * size), size
    path = Path(source)
    if path.suffix.lower() in (".mrc", ".map"):
        volume, own, _ = read_map(path, pixel, cube=True)
        return DensityMap(volume, own), own
    if path.suffix.lower() in (".pdb", ".ent", ".cif", ".mmcif"):
        from tomodiff.simulate.atoms import read_atoms

        return read_atoms(path), pixel or 3.5
    raise ConfigError(f"{source}: expected `phantom`, a map (.mrc) or atoms (.pdb, .cif)")


def _density(structure: Any, box: int, pixel: float) -> np.ndarray:
    import numpy as np

    return np.asarray(structure.volume(box, pixel), np.float32)
