"""The sections of a report that only terrain runs have: relief, albedo, deviations, images, profile, slopes.

Of the arrays that a recipe saved it draws these, each where it is there:

    relief      before, after (ny, nx) m; spacing (dy, dx) m
    albedo      albedo (ny, nx); spacing
    deviations  height (m), albedo: standard deviations; spacing
    images      measured, simulated (m, ny, nx), names; spacing
    profile     at, before, after, deviation (n), m; row; truth (n)
    slopes      slope_deg, slopes_before, slopes_after; frequency (1/m), power_before, power_after
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodiff.report import terrain_figures as figures
from tomodiff.report.drawing import Draw
from tomodiff.report.page import picture, section, table

if TYPE_CHECKING:
    from tomodiff.recipes.run import Run

PICTURES = (
    ("relief", "Heights", figures.relief, "Hillshades (sun in the north-west) before and after, and the change"),
    ("albedo", "Albedo", figures.albedo, "Albedo of the ground"),
    ("deviations", "Standard deviations", figures.deviations, "One standard deviation of heights and albedo"),
    ("profile", "Profile", figures.profile, "Along the row that changed most, with two standard deviations"),
    ("images", "Images", figures.images, "Images as taken, as simulated, and the difference"),
    ("slopes", "Slopes and wavelengths", figures.slopes, "How often each slope occurs; power of each wavelength"),
)
"""Name of the arrays, heading, figure, caption."""
COLUMNS = ("rms residual", "of the mean", "noise", "exposure", "haze", "elements used")


def sections(run: Run) -> list[str]:
    """The sections that the run's arrays and facts allow."""
    found = []
    for name, heading, draw, caption in PICTURES:
        data = run.report_data(name)
        if data is not None:
            found.append(section(heading, picture(_drawn(draw, data), caption)))
    return [*found, *_images(run)]


def _drawn(draw: Callable[..., Any], data: Mapping[str, np.ndarray]) -> Draw:
    return lambda theme: draw(data, theme)


def _images(run: Run) -> list[str]:
    """Which images were used, why others were not, and how well each is met."""
    facts = run.status["facts"]
    used, fits = facts.get("images"), facts.get("image_fit", {})
    if not used:
        return []
    rows = [
        [name, about.get("used"), f"{100 * about.get('counts', 0):.1f} %"]
        + [fits.get(name, {}).get(column) for column in COLUMNS]
        for name, about in used.items()
    ]
    return [section("Images used", table(["image", "used", "of the DEM", *COLUMNS], rows))]


def highlights(run: Run) -> dict[str, str]:
    """The numbers to see first."""
    facts = run.status["facts"]
    shown: dict[str, str] = {}
    if facts.get("images"):
        taken = sum(about.get("used") == "yes" for about in facts["images"].values())
        shown["images used"] = f"{taken} of {len(facts['images'])}"
    if facts.get("spacing_m"):
        shown["element (m)"] = " \N{MULTIPLICATION SIGN} ".join(f"{d:.4g}" for d in facts["spacing_m"])
    left = [f["of the mean"] for f in facts.get("image_fit", {}).values() if f.get("of the mean") is not None]
    if left:
        shown["residual of the mean brightness"] = f"{100 * max(left):.2g} %"
    truth = facts.get("against the truth", {})
    return shown | {name: str(value) for name, value in truth.items()}
