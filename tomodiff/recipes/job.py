"""The kinds of job: which settings each has and which recipe carries it out; loaded when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

from tomodiff.errors import ConfigError
from tomodiff.recipes.section import Job


@dataclass(frozen=True)
class Kind:
    """Where a kind of job is at home, each place as module:name."""

    settings: str
    """Its model."""
    recipe: str
    """(settings, run, progress) -> a Result, or None where it has written everything itself."""
    look: str
    """(settings): looks at the input and raises what is wrong."""
    well: str
    """What is well where nothing is wrong."""
    across_ranks: bool = True
    """Whether several processes do it together, under mpiexec or srun."""


_HOME = "tomodiff.recipes"
_SCAN = f"{_HOME}.ct.reconstruct:look_at", "the scan can be read"
_PARTICLES = f"{_HOME}.cryoem.source:look_at", "the file of particles can be read"

KINDS: Mapping[str, Kind] = MappingProxyType({
    "ct": Kind(f"{_HOME}.ct.settings:CtSettings", f"{_HOME}.ct.reconstruct:reconstruct", *_SCAN),
    "ct-calibrate": Kind(
        f"{_HOME}.calibration.settings:CalibrateSettings", f"{_HOME}.calibration.job:calibrate_scan", *_SCAN, False,
    ),
    "cryoem-reconstruct": Kind(
        f"{_HOME}.cryoem.settings:ReconstructSettings", f"{_HOME}.cryoem.reconstruct:reconstruct", *_PARTICLES
    ),
    "cryoem-refine": Kind(f"{_HOME}.cryoem.settings:RefineSettings", f"{_HOME}.cryoem.refine:refine", *_PARTICLES),
    "cryoem-abinitio": Kind(
        f"{_HOME}.cryoem.settings:AbinitioSettings", f"{_HOME}.cryoem.abinitio:abinitio", *_PARTICLES
    ),
    "cryoem-classify": Kind(
        f"{_HOME}.cryoem.heterogeneity_settings:ClassifySettings", f"{_HOME}.cryoem.classify:classify", *_PARTICLES
    ),
    "cryoem-variability": Kind(
        f"{_HOME}.cryoem.heterogeneity_settings:VariabilitySettings", f"{_HOME}.cryoem.variability:variability",
        *_PARTICLES,
    ),
    "cryoem-tomogram": Kind(
        f"{_HOME}.cryoem.tomogram_settings:TomogramSettings", f"{_HOME}.cryoem.tomogram:tomogram",
        f"{_HOME}.cryoem.tomogram:look_at", "the tilt series can be read",
    ),
    "terrain-fit": Kind(
        f"{_HOME}.terrain.settings:TerrainFitSettings", f"{_HOME}.terrain.fit:fit",
        f"{_HOME}.terrain.scene:look_at", "the DEM, the first image and the suns can be read",
    ),
    "mri-reconstruct": Kind(
        f"{_HOME}.mri.settings:MriSettings", f"{_HOME}.mri.reconstruct:reconstruct",
        f"{_HOME}.mri.reconstruct:look_at", "the k-space can be read", False,
    ),
    "optical-reconstruct": Kind(
        f"{_HOME}.optical.settings:OpticalSettings", f"{_HOME}.optical.reconstruct:reconstruct",
        f"{_HOME}.optical.reconstruct:look_at", "the cameras can be read, and the photographs are there", False,
    ),
})  # fmt: skip


def settings_class(kind: str) -> type[Job]:
    """The settings model of a kind of job."""
    found: type[Job] = _named(KINDS[kind].settings)
    return found


def recipe(kind: str) -> Callable[..., Any]:
    """What carries out a kind of job."""
    found: Callable[..., Any] = _named(KINDS[kind].recipe)
    return found


def look(settings: Job) -> str:
    """Look at a job's input without computing, and say what can be read."""
    kind = KINDS[settings.job]
    _named(kind.look)(settings)
    return kind.well


def refuse_ranks(kind: str, ranks: int) -> None:
    """ConfigError for several ranks of a kind of job that one process does."""
    if ranks > 1 and not KINDS[kind].across_ranks:
        together = ", ".join(name for name, known in KINDS.items() if known.across_ranks)
        raise ConfigError(f"{kind}: expected one process, found {ranks}; several ranks work together at: {together}")


def _named(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
