"""What `tomodiff info` and `check` say of cryo-EM: particles, stacks of images, tilt series, jobs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomodiff.cli.console import note, tell

if TYPE_CHECKING:
    import numpy as np

    from tomodiff.geometry.tilt import TiltSeries
    from tomodiff.particles import Particles

PARTICLES = (".star", ".cs", ".par")
STACKS = (".mrcs", ".st")
SERIES = (".xf", ".aln", ".mdoc", ".tomostar")
KNOWN = (*PARTICLES, *STACKS, *SERIES)
"""Suffixes of files that belong to cryo-EM alone."""
BATCH = 64
"""Images that are looked at in one go."""


def describe(file: Path, root: Path | None = None) -> None:
    """Print what is in a file of one of the `KNOWN` suffixes, and the warnings that reading it gives.

    root: a folder in which to look for stacks.
    """
    suffix = file.suffix.lower()
    if suffix in STACKS:
        tell(_stack(file))
        return
    if suffix == ".par":
        tell(_par(file))
        return
    found: Particles | TiltSeries = _series(file) if suffix in SERIES else _particles(file, root)
    tell(_told_by_series(file, found) if hasattr(found, "tilt") else told_by_particles(found))
    for text in found.warnings:
        note(f"warning: {text}")


def check(file: Path, root: Path | None = None) -> None:
    """Describe a file and look at all its images.  Raises DataError for what cannot be used."""
    describe(file, root)
    suffix = file.suffix.lower()
    if suffix in SERIES:
        return
    if suffix in STACKS:
        from tomodiff.files.cryoem import stack_of

        check_images(stack_of(file))
        return
    if suffix == ".par":
        return
    found = _particles(file, root)
    if not hasattr(found, "tilt"):
        check_images(found.images)


def check_job(settings: Any) -> None:
    """Look for everything that is wrong with a cryo-EM job without doing it; prints what it would take."""
    if settings.job == "cryoem-tomogram":
        from tomodiff.recipes.cryoem.tomogram import series_of, shape_of

        series = series_of(settings.input)
        shape = shape_of(series, settings.reconstruction.thickness_a, settings.input.bin)
        made = f"{' x '.join(map(str, shape))} voxels of {series.pixel * settings.input.bin:g} angstrom"
        tell(_told_by_series(settings.input.path, series) | {"tomogram": made})
        return
    from tomodiff.recipes.cryoem.source import check_memory, particles_of_job, reference_map

    notes: Any = Notes()
    particles = particles_of_job(settings, notes)
    tell(told_by_particles(particles))
    chosen = next(group for name in settings.in_order() if hasattr(group := getattr(settings, name), "padding"))
    _check_poses(settings, chosen, particles)
    for path in (getattr(chosen, "reference", None), *(getattr(chosen, "references", None) or ())):
        if path is not None:
            reference_map(path, particles)
    mask = str(getattr(chosen, "mask", "none"))
    if mask not in ("auto", "none"):
        reference_map(Path(mask), particles)
    check_memory(notes, particles, particles.box, chosen.padding, chosen.dtype, chosen.maps)
    tell({"memory": f"{notes.facts['memory_needed']} needed, {notes.facts['memory_free']} free"})
    for text in notes.warnings:
        note(f"warning: {text}")
    check_images(particles.images)


class Notes:
    """The part of a run that the reading of particles uses, without a run."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self.warnings: list[str] = []

    def record(self, **facts: Any) -> None:
        """Keep facts."""
        self.facts |= facts

    def warn(self, text: str) -> None:
        """Keep a warning."""
        self.warnings.append(text)


def check_images(images: Any) -> None:
    """Read all images, which raises DataError for one that is not finite, and say which are without contrast."""
    from tomodiff.files.cryoem import batches

    flat = []
    for part, values in batches(images, BATCH):
        spread = values.std(axis=(1, 2))
        flat += [part.start + i + 1 for i in range(len(values)) if not spread[i] > 0]
    if flat:
        shown = ", ".join(map(str, flat[:5])) + (", ..." if len(flat) > 5 else "")
        note(f"warning: {len(flat)} images are constant: {shown}")
    else:
        note("no problems found")


def told_by_particles(found: Particles) -> dict[str, str]:
    """What a particle file tells."""
    import numpy as np

    halves = ", ".join(f"{h}: {n}" for h, n in zip(*np.unique(found.half, return_counts=True), strict=True))
    shown = {
        "format": str(found.meta.get("format", "")),
        "particles": str(len(found)),
        "images": f"{found.box} x {found.box} pixels of {found.pixel:g} angstrom",
        "poses": "yes" if found.has_poses else "no: tomodiff cryoem abinitio, or refine --mode global, finds them",
        "CTF": _defocus(found.defocus) if found.has_ctf else "no",
        "half sets": halves if found.half.any() else "no",
        "classes": ", ".join(map(str, np.unique(found.klass))) if found.klass.any() else "",
    }
    for number, o in enumerate(found.optics, 1):
        members = int((found.group == number - 1).sum())
        tilt = f", beam tilt {o.beam_tilt[0]:g}, {o.beam_tilt[1]:g} mrad" if any(o.beam_tilt) else ""
        shown[f"optics {number}"] = (
            f"{o.name}: {members} particles, {o.voltage:g} kV, Cs {o.cs:g} mm, contrast {o.amplitude_contrast:g}{tilt}"
        )
    return shown


def _particles(file: Path, root: Path | None) -> Any:
    """The particles of a file, or the tilt series of a STAR file that has no particles."""
    from tomodiff.errors import ConfigError, DataError
    from tomodiff.files.cryoem import read_particles

    try:
        return read_particles(file, root=root)
    except DataError as no_particles:
        try:
            return _series(file) if file.suffix.lower() == ".star" else None
        except (ConfigError, DataError):
            raise no_particles from None


def _series(file: Path) -> TiltSeries:
    from tomodiff.files.cryoem.tilt_series import read_tilt_series

    options: dict[str, Any] = {"pixel": 1.0} if _tells_no_pixel(file) else {}
    return read_tilt_series(file, **options)


def _tells_no_pixel(file: Path) -> bool:
    return file.suffix.lower() in (".xf", ".aln", ".tomostar")


def _told_by_series(file: Path, found: Any) -> dict[str, str]:
    import numpy as np

    tilts, axis = np.rad2deg(found.tilt), np.rad2deg(found.axis)
    r, c = found.image_shape
    pixel = "" if _tells_no_pixel(file) and found.pixel == 1.0 else f" of {found.pixel:g} angstrom"
    dose = found.dose + found.exposure
    return {
        "tilt series": str(file),
        "format": str(found.meta.get("program", "")),
        "views": f"{len(found)} of {r} rows x {c} columns{pixel}",
        "tilts": f"{tilts.min():.1f} to {tilts.max():.1f} degrees",
        "tilt axis": f"{axis.mean():.2f} degrees",
        "dose": f"up to {dose.max():.1f} electrons per square angstrom" if dose.any() else "not told",
        "left out": ", ".join(str(n + 1) for n in found.excluded),
        "pixel": "not told by this file; say --pixel-a" if not pixel else "",
    }


def _stack(file: Path) -> dict[str, str]:
    from tomodiff.files.cryoem.mrc import read_header

    header = read_header(file)
    n, r, c = header.shape
    pixel = f" of {header.pixel:g} angstrom" if header.pixel else ", of no stated size"
    return {"images": str(file), "shape": f"{n} of {r} x {c} pixels{pixel}, {header.dtype}"}


def _par(file: Path) -> dict[str, str]:
    """What a .par tells, which names neither its images nor the microscope."""
    import numpy as np

    from tomodiff.files.cryoem.frealign import par_table

    kept = par_table(file, False)
    defocus = np.stack([kept.table.floats("DF1"), kept.table.floats("DF2")], 1)
    return {
        "format": "FREALIGN or cisTEM .par",
        "particles": str(len(kept.table)),
        "columns": ", ".join(kept.table.columns),
        "shifts": "in pixels" if kept.in_pixels else "in angstrom",
        "CTF": _defocus(defocus),
        "not told": "images, pixel, voltage, Cs, contrast: --stack --pixel-a --voltage-kv --cs-mm --amplitude-contrast",
    }


def _check_poses(settings: Any, chosen: Any, particles: Particles) -> None:
    from tomodiff.recipes.cryoem.source import need_poses

    if settings.job != "cryoem-abinitio" and getattr(chosen, "mode", "local") == "local":
        need_poses(particles, settings.input.path, settings.job.partition("-")[2])


def _defocus(defocus: np.ndarray) -> str:
    """The range of the defoci in micrometres."""
    mean = defocus[:, :2].mean(1) / 1e4
    return f"defocus {mean.min():.2f} to {mean.max():.2f} micrometres"
