"""`tomodiff ct simulate`: a scan of an ellipsoid phantom, with the faults of a real instrument, as a scan file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tomodiff.cli.console import say
from tomodiff.cli.outputs import refuse_existing

if TYPE_CHECKING:
    import numpy as np

    from tomodiff.geometry import TurningScan
    from tomodiff.simulate import Ellipsoids

PHANTOMS = ("sample", "shepp-logan", "beads", "foam", "sphere")
FILL = 0.8
"""Radius of a phantom, in half widths of the field of view."""


def _option(help: str, panel: str, metavar: str = "N") -> typer.models.OptionInfo:
    info: typer.models.OptionInfo = typer.Option(help=help, rich_help_panel=panel, metavar=metavar)
    return info


def simulate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="new scan: .h5 Data Exchange, .nxs NXtomo, or a folder")],
    phantom: Annotated[str, _option(", ".join(PHANTOMS), "Object", "NAME")] = "sample",
    density: Annotated[
        float, _option("attenuation of the object, 1/mm (default: half the beam passes)", "Object")
    ] = 0.0,
    views: Annotated[int, _option("number of projections", "Geometry")] = 180,
    arc: Annotated[float, _option("range of angles in degrees (default: 180, cone beam 360)", "Geometry")] = 0.0,
    rows: Annotated[int, _option("detector rows", "Geometry")] = 64,
    columns: Annotated[int, _option("detector columns", "Geometry")] = 96,
    pixel_mm: Annotated[float, _option("size of a detector pixel in mm", "Geometry", "MM")] = 0.1,
    source_axis_mm: Annotated[float, _option("cone beam: distance source to axis", "Geometry", "MM")] = 0.0,
    source_detector_mm: Annotated[float, _option("cone beam: distance source to detector", "Geometry", "MM")] = 0.0,
    photons: Annotated[float, _option("photons per pixel without sample", "Instrument")] = 1e5,
    noise: Annotated[bool, typer.Option(help="photon noise", rich_help_panel="Instrument")] = True,
    electronic_noise: Annotated[float, _option("read-out noise, counts", "Instrument")] = 2.0,
    rings: Annotated[float, _option("relative gain errors of the pixels, which make rings", "Instrument")] = 0.0,
    dead_pixels: Annotated[int, _option("number of dead pixels", "Instrument")] = 0,
    drift: Annotated[float, _option("fraction of the flux lost during the scan", "Instrument")] = 0.0,
    flicker: Annotated[float, _option("relative changes of flux from view to view", "Instrument")] = 0.0,
    axis_shift: Annotated[
        float, _option("pixels by which the axis lies off the stated column", "Instrument", "PX")
    ] = 0.0,
    roll: Annotated[float, _option("degrees by which the detector is rolled", "Instrument", "DEG")] = 0.0,
    oversample: Annotated[int, _option("rays per pixel along each side", "Instrument")] = 2,
    truth: Annotated[bool, typer.Option(help="keep the phantom as voxels in the file")] = True,
    dtype: Annotated[str, _option("float32, or uint16 as a camera writes", "Output", "NAME")] = "float32",
    compress: Annotated[bool, typer.Option("--compress", help="compress the file")] = False,
    seed: Annotated[int, _option("start of the random numbers", "Output")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an earlier file")] = False,
) -> None:
    """Simulate the scan of an ellipsoid phantom by exact line integrals."""
    import numpy as np

    from tomodiff.files import write_scan
    from tomodiff.geometry import fit_grid
    from tomodiff.result import Result
    from tomodiff.simulate import Beam, Detector, Misalignment, simulate_scan

    refuse_existing(overwrite, out)
    scan = _scan(views, arc, (rows, columns), pixel_mm, source_axis_mm, source_detector_mm)
    rng = np.random.default_rng(seed)
    grid = fit_grid(scan)
    radius = FILL * min(grid.size[1], grid.size[2]) / 2
    made = _phantom(phantom, radius, density or np.log(2) / (1.2 * radius), grid.size[0], rng)
    dataset = simulate_scan(
        made,
        scan,
        rng=rng,
        beam=Beam(i0=photons, drift=drift, flicker=flicker),
        detector=Detector(
            photon_noise=noise,
            electronic_noise=electronic_noise,
            gain_error=rings,
            dead_pixels=dead_pixels,
            dtype=dtype,
        ),
        misalignment=Misalignment(axis_shift=axis_shift, detector_roll=np.deg2rad(roll)),
        oversample=oversample,
    )
    kept = Result(made.voxelise(grid).astype(np.float32), grid) if truth else None
    write_scan(out, dataset, kept, compression="gzip" if compress else None)
    say(f"scan    {out}\n        {scan}")
    say(f"object  {phantom}, {len(made)} ellipsoids, radius {radius:.4g} mm; {'with' if truth else 'without'} truth")


def _scan(
    views: int, arc: float, shape: tuple[int, int], pixel: float, source_axis: float, source_detector: float
) -> TurningScan:
    import numpy as np

    from tomodiff.errors import ConfigError
    from tomodiff.geometry import ConeBeam, ParallelBeam

    if views < 1 or min(shape) < 1:
        raise ConfigError(f"expected at least one view, row and column, got {views} views of {shape[0]} x {shape[1]}")
    if (source_axis > 0) != (source_detector > 0):
        raise ConfigError("--source-axis-mm and --source-detector-mm go together; only one is given")
    cone = source_axis > 0
    span = arc or (360.0 if cone else 180.0)
    angles = np.deg2rad(np.arange(views) * span / views)
    if cone:
        return ConeBeam(angles, source_axis, source_detector, shape, pixel)
    return ParallelBeam(angles, shape, pixel)


def _phantom(name: str, radius: float, density: float, height: float, rng: np.random.Generator) -> Ellipsoids:
    from tomodiff import simulate as made
    from tomodiff.errors import ConfigError

    size = (0.06 * radius, 0.2 * radius)
    if name == "sample":
        return made.sample(rng, radius, density)
    if name == "shepp-logan":
        return made.shepp_logan_3d(radius, density)
    if name == "beads":
        return made.bead_pack(rng, radius, height, 60, size, density)
    if name == "foam":
        return made.foam(rng, radius, height, 60, size, density)
    if name == "sphere":
        return made.sphere((0.0, 0.0, 0.0), radius, density)
    raise ConfigError(f"--phantom {name}: expected {', '.join(PHANTOMS)}")
