"""The kinds of job: which settings each has and which recipe carries it out; loaded when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

from tomodiff.recipes.section import Job

KINDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "ct": ("tomodiff.recipes.settings:CtSettings", "tomodiff.recipes.ct:reconstruct"),
        "ct-calibrate": (
            "tomodiff.recipes.calibration.settings:CalibrateSettings",
            "tomodiff.recipes.calibration.job:calibrate_scan",
        ),
        "cryoem-reconstruct": (
            "tomodiff.recipes.cryoem.settings:ReconstructSettings",
            "tomodiff.recipes.cryoem.reconstruct:reconstruct",
        ),
        "cryoem-refine": ("tomodiff.recipes.cryoem.settings:RefineSettings", "tomodiff.recipes.cryoem.refine:refine"),
        "cryoem-abinitio": (
            "tomodiff.recipes.cryoem.settings:AbinitioSettings",
            "tomodiff.recipes.cryoem.abinitio:abinitio",
        ),
        "cryoem-classify": (
            "tomodiff.recipes.cryoem.heterogeneity_settings:ClassifySettings",
            "tomodiff.recipes.cryoem.classify:classify",
        ),
        "cryoem-variability": (
            "tomodiff.recipes.cryoem.heterogeneity_settings:VariabilitySettings",
            "tomodiff.recipes.cryoem.variability:variability",
        ),
        "cryoem-tomogram": (
            "tomodiff.recipes.cryoem.tomogram_settings:TomogramSettings",
            "tomodiff.recipes.cryoem.tomogram:tomogram",
        ),
        "terrain-fit": ("tomodiff.recipes.terrain.settings:TerrainFitSettings", "tomodiff.recipes.terrain.fit:fit"),
        "mri-reconstruct": (
            "tomodiff.recipes.mri.settings:MriSettings",
            "tomodiff.recipes.mri.reconstruct:reconstruct",
        ),
        "optical-reconstruct": (
            "tomodiff.recipes.optical.settings:OpticalSettings",
            "tomodiff.recipes.optical.reconstruct:reconstruct",
        ),
    }
)
"""Kind of job -> its settings model and its recipe (settings, run, progress) -> a Result, or None where the recipe has
written everything itself."""


LOOKS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "terrain-fit": (
            "tomodiff.recipes.terrain.scene:look_at", "the DEM, the first image and the suns can be read",
        ),
        "mri-reconstruct": ("tomodiff.recipes.mri.reconstruct:look_at", "the k-space can be read"),
        "optical-reconstruct": (
            "tomodiff.recipes.optical.reconstruct:look_at", "the cameras can be read, and the photographs are there",
        ),
    }
)  # fmt: skip
"""Kind of job -> what looks at its input and raises what is wrong, and what is well where it does not."""


def settings_class(kind: str) -> type[Job]:
    """The settings model of a kind of job."""
    found: type[Job] = _named(KINDS[kind][0])
    return found


def recipe(kind: str) -> Callable[..., Any]:
    """What carries out a kind of job."""
    found: Callable[..., Any] = _named(KINDS[kind][1])
    return found


def look(settings: Job) -> str | None:
    """Look at a job's input without computing, and say what can be read; None where its kind has nothing that looks."""
    if settings.job not in LOOKS:
        return None
    place, well = LOOKS[settings.job]
    _named(place)(settings)
    return well


def _named(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
