"""From the settings of a cryo-EM job to its particles: read, selected, checked, with what it will take of memory."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import ConfigError, DataError, MemoryNeeded
from tomodiff.files.atomic import in_units
from tomodiff.files.cryoem import dialect, read_map, read_particles
from tomodiff.particles import Particles
from tomodiff.recipes.cryoem.data import BATCH_BYTES, KEEP_BYTES
from tomodiff.recipes.cryoem.subtomogram import tilt_particles
from tomodiff.recipes.memory import USABLE, free_bytes
from tomodiff.recipes.run import Run

LOG = logging.getLogger("tomodiff")
SPECTRUM_ARRAYS = 9
"""Arrays like a padded half transform, 8 bytes a point, that a reconstruction of two halves takes at its peak:
two sums of 16 bytes a point, data and weights of one, transform and its padded copy."""


def look_at(settings: Any) -> None:
    """Raise what is wrong with the file of particles, as far as its kind tells."""
    dialect(settings.input.path)


def particles_of_job(settings: Any, run: Run) -> Particles:
    """The particles that the job's input names; warnings of the files go to the run."""
    chosen = settings.input
    particles = read_particles(chosen.path, **chosen.reading())
    for text in particles.warnings:
        run.warn(text)
    if getattr(chosen, "class_number", None) is not None:
        kept = particles.klass == chosen.class_number
        if not kept.any():
            there = ", ".join(map(str, np.unique(particles.klass)))
            raise ConfigError(f"input.class_number: expected one of {there}, found {chosen.class_number}")
        particles = particles[kept]
    if getattr(chosen, "tilt_images", False):
        try:
            particles = tilt_particles(particles)
        except DataError as error:
            particles = tilt_particles(particles, keep=False)
            run.warn(f"half sets divided anew, by subtomogram: {error}")
    if getattr(chosen, "half", None) is not None:
        particles = particles[particles.half == chosen.half]
    if not len(particles):
        raise DataError(chosen.path, "particles", "at least one", "none")
    run.record(particles=len(particles), box=particles.box, pixel_a=particles.pixel)
    return particles


def need_poses(particles: Particles, path: Path, what: str) -> None:
    """Raise DataError unless the file told poses."""
    if not particles.has_poses:
        raise DataError(
            path, "rlnAngleRot, rlnAngleTilt, rlnAnglePsi", f"poses, from which to {what}", "none",
            "Find them with: tomodiff cryoem refine --mode global, or tomodiff cryoem abinitio.",
        )  # fmt: skip


def check_memory(run: Run, particles: Particles, size: int, padding: float, dtype: str, maps: int = 1) -> None:
    """Say how much memory the job will take, and refuse it where that is more than there is."""
    item = 4 if dtype == "float32" else 8
    side = 2 * round(padding * size / 2) + 4
    spectrum = side * side * (side // 2 + 2) * 2 * item
    images = len(particles) * particles.box * (particles.box // 2 + 1) * 2 * item
    kept = images if images <= KEEP_BYTES else 4 * BATCH_BYTES
    needed = (SPECTRUM_ARRAYS + 3 * (maps - 1)) * spectrum + kept
    free = free_bytes()
    run.record(memory_needed=in_units(needed), memory_free=in_units(free))
    LOG.info("memory: about %s needed, %s free", in_units(needed), in_units(free))
    if needed > USABLE * free:
        raise MemoryNeeded(
            f"{len(particles)} particles of {particles.box} pixels with padding {padding:g} take about "
            f"{in_units(needed)}, {in_units(free)} are free; take --padding 1, or bin the particles"
        )


def reference_map(path: Path, particles: Particles) -> np.ndarray:
    """A map on the grid of the particles.  Raises DataError where box or pixel differ."""
    volume, pixel, _ = read_map(path)
    if volume.shape != (particles.box,) * 3 or abs(pixel - particles.pixel) > 1e-3 * particles.pixel:
        raise DataError(
            path, "reference", f"{particles.box} voxels of {particles.pixel:g} angstrom a side, as the images",
            f"{volume.shape} voxels of {pixel:g} angstrom", "Resample it first.",
        )  # fmt: skip
    return volume
