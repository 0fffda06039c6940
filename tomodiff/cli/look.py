"""`tomodiff info`, `check` and `doctor`: commands that only look."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tomodiff.cli.console import note, tell
from tomodiff.cli.cryoem import look as cryoem_look
from tomodiff.cli.mri import look as mri_look
from tomodiff.cli.optical import look as optical_look
from tomodiff.cli.options import INPUT, Overrides, with_settings

if TYPE_CHECKING:
    from tomodiff.files import ScanInfo
    from tomodiff.recipes.ct.settings import CtSettings
    from tomodiff.recipes.section import Job

Root = Annotated[Path | None, typer.Option("--root", metavar="FOLDER", help="particles: where to look for stacks")]

VOLUMES = (".mrc", ".map", ".rec", ".nii", ".nii.gz", ".nrrd")
"""Suffixes of files that are volumes and never scans."""

MOST_CHECKED = 1_000_000_000
"""Bytes of projections that `check` reads, at most; of a larger scan it takes every so-manieth view."""


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (info, check, doctor):
        app.command()(command)


@with_settings(*INPUT)
def info(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="scan, particles, tilt series, k-space, photographs, volume or run")
    ],
    given: Overrides,
    root: Root = None,
) -> None:
    """Say what is in a scan, a file of particles, a tilt series, k-space, a volume or a run directory."""
    from tomodiff.errors import DataError
    from tomodiff.files import probe
    from tomodiff.recipes.output import volume_suffix
    from tomodiff.recipes.place import read_status

    if read_status(file) is not None:
        tell(_run(file))
        return
    if file.suffix.lower() in cryoem_look.KNOWN:
        cryoem_look.describe(file, root)
        return
    if mri_look.is_kspace(file):
        mri_look.describe(file)
        return
    if optical_look.is_photographs(file):
        optical_look.describe(file)
        return
    if volume_suffix(file) in VOLUMES:
        tell(_volume(file))
        return
    try:
        found = probe(file, **_settings(file, given).input.setup())
    except DataError as no_scan:
        try:
            tell(_volume(file))
        except DataError:
            raise no_scan from None
        return
    if found.angles_deg is None and _is_volume(file):
        tell(_volume(file))
        return
    tell(_scan(found))
    for text in found.warnings:
        note(f"warning: {text}")


@with_settings(*INPUT)
def check(
    file: Annotated[
        Path, typer.Argument(metavar="CONFIG.yml|SCAN", help="settings file, scan, particles, k-space or photographs")
    ],
    given: Overrides,
    root: Root = None,
) -> None:
    """Look for everything that is wrong with settings, a scan, particles, k-space or photographs; computes nothing."""
    from tomodiff.recipes.config_file import load_settings

    if file.suffix.lower() in (".yml", ".yaml"):
        settings: Any = load_settings(file, given)
        if settings.job.startswith("ct"):
            _check_scan(settings)
            if settings.job == "ct":
                tell(_plan(settings))
            else:
                note(f"{settings.job}: nothing is wrong with its settings")
        elif settings.job.startswith("cryoem"):
            cryoem_look.check_job(settings)
        else:
            from tomodiff.recipes.job import look

            note(f"{settings.job}: {look(settings)}")
        _check_place(settings)
    elif file.suffix.lower() in cryoem_look.KNOWN:
        cryoem_look.check(file, root)
    elif mri_look.is_kspace(file):
        mri_look.describe(file)
    elif optical_look.is_photographs(file):
        optical_look.describe(file)
    else:
        _check_scan(_settings(file, given))


def doctor() -> None:
    """Print what this installation has and can do: paste it into a bug report."""
    from tomodiff.cli.diagnosis import diagnosis

    tell(diagnosis())


def _settings(file: Path, given: Overrides) -> CtSettings:
    from tomodiff.recipes.config_file import settings_from

    return settings_from({"input.path": (str(file), "FILE"), **given})


def _check_scan(settings: CtSettings) -> None:
    """Print what is found about a scan; raise DataError if it cannot be reconstructed."""
    from tomodiff.errors import DataError
    from tomodiff.files import check_dataset, probe, read

    found = probe(settings.input.path, **settings.input.setup())
    tell(_scan(found))
    part = settings.input.selection()
    size = 4 * found.shape[0] * found.shape[1] * found.shape[2]
    if part["views"] is None and part["rows"] is None and size > MOST_CHECKED:
        step = -(-size // MOST_CHECKED)
        part["views"] = slice(None, None, step)
        note(f"every {step}th view is looked at")
    problems = check_dataset(read(settings.input.path, **settings.input.setup(), **part))
    for text in found.warnings:
        note(f"warning: {text}")
    for problem in problems:
        note(str(problem))
    errors = [p for p in problems if p.severity == "error"]
    if errors:
        raise DataError(
            settings.input.path, errors[0].field, "a scan without errors", f"{len(errors)}: {errors[0].message}"
        )
    if not problems and not found.warnings:
        note("no problems found")


def _plan(settings: CtSettings) -> dict[str, str]:
    """What the job would make, and the memory that it takes.  Raises ConfigError for settings that do not fit."""
    from tomodiff.files import probe
    from tomodiff.files.atomic import in_units
    from tomodiff.geometry import check_pair
    from tomodiff.recipes.ct.correct import grid_of
    from tomodiff.recipes.ct.memory import required_bytes
    from tomodiff.recipes.ct.reconstruct import selected
    from tomodiff.recipes.memory import free_bytes

    found = probe(settings.input.path, **settings.input.setup())
    scan = selected(found, settings)
    grid = grid_of(scan, settings)
    check_pair(scan, grid)
    method = settings.reconstruction.method_for(scan.kind)
    item = 4 if settings.reconstruction.dtype == "float32" else 8
    subsets = settings.reconstruction.subsets
    needed = required_bytes(method, scan, grid, found.n_flats + found.n_darks, item, subsets)
    return {
        "method": method,
        "volume": f"{' x '.join(map(str, grid.shape))} voxels of {' x '.join(f'{d:.5g}' for d in grid.spacing)} mm",
        "memory": f"{in_units(needed)} needed, {in_units(free_bytes())} free",
    }


def _check_place(settings: Job) -> None:
    """Say where results would go; raise ConfigError if something is in the way."""
    from tomodiff.errors import ConfigError
    from tomodiff.recipes.place import Place

    place = Place.of(settings.output)
    tell({"run directory": str(place.run), "volume": str(place.volume)})
    taken = next((p for p in (place.volume, place.run) if p.exists()), None)
    if taken is not None and not settings.output.overwrite:
        raise ConfigError(f"{taken}: exists already; choose another output, or set output.overwrite to true")


def _scan(found: ScanInfo) -> dict[str, str]:
    n, v, u = found.shape
    angles = found.angles_deg
    pixel = found.pixel_mm
    table = {
        "scan": found.path,
        "format": found.format,
        "projections": f"{n} views of {v} rows x {u} columns, {found.dtype}",
        "numbers are": found.kind or "unknown (say --kind)",
        "flat, dark fields": f"{found.n_flats}, {found.n_darks}",
        "angles": f"{angles[0]:.6g} to {angles[1]:.6g} degrees, step {angles[2]:.4g}" if angles else "unknown",
        "pixel": f"{pixel[0]:.6g} x {pixel[1]:.6g} mm" if pixel else "unknown",
        "geometry": found.geometry,
    }
    return table | {name: str(value) for name, value in found.meta.items() if isinstance(value, str | int | float)}


def _is_volume(file: Path) -> bool:
    """Whether a file that might be a scan without angles says of itself that it has voxels of some size."""
    from tomodiff.errors import DataError
    from tomodiff.files import read_volume

    try:
        return "grid" not in read_volume(file)[2]
    except DataError:
        return False


def _volume(file: Path) -> dict[str, str]:
    import numpy as np

    from tomodiff.files import read_volume
    from tomodiff.geometry.units import told_unit

    volume, grid, meta = read_volume(file)
    finite = volume[np.isfinite(volume)] if volume.dtype.kind == "f" else volume
    unit, scale = told_unit(grid.spacing)
    spacing = " x ".join(f"{d * scale:.6g}" for d in grid.spacing)
    table = {
        "volume": str(file),
        "voxels (z, y, x)": " x ".join(str(n) for n in volume.shape) + f", {volume.dtype}",
        "voxel size (z, y, x)": f"{spacing} {unit}",
        "centre (x, y, z)": ", ".join(f"{c * scale:.6g}" for c in grid.center) + f" {unit}",
        "values": f"{finite.min():.5g} to {finite.max():.5g}, mean {finite.mean():.5g}"
        if finite.size
        else "none finite",
        "not finite": str(volume.size - finite.size) if finite.size < volume.size else "",
    }
    return table | {name: str(value) for name, value in meta.items() if isinstance(value, str | int | float)}


def _run(folder: Path) -> dict[str, str]:
    from tomodiff.recipes.run import Run
    from tomodiff.report.page import in_words

    run = Run.open(folder)
    env, metrics = run.environment(), run.metrics()
    table = {
        "run": str(run.path),
        "state": run.status["state"],
        "message": str(run.status.get("message", "")),
        "scan" if run.settings.job.startswith("ct") else "input": str(run.settings.input.path),
        "method": run.settings.method,
        "started": str(env.get("started", "")),
        "iterations": str(max((m["iteration"] for m in metrics if "iteration" in m), default="")),
        "volume": str(run.volume_path) if run.volume_path.exists() else "",
        "warnings": "; ".join(run.warnings),
    }
    facts = run.status["facts"].items()
    return table | {name: in_words(value) for name, value in facts if not isinstance(value, dict)}
