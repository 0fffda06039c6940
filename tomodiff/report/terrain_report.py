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

from typing import TYPE_CHECKING

from tomodiff.report import terrain_figures as figures
from tomodiff.report.page import section, table
from tomodiff.report.plots import Plot

if TYPE_CHECKING:
    from tomodiff.recipes.run import Run

PLOTS = (
    Plot("relief", "Heights", figures.relief, "Hillshades (sun in the north-west) before and after, and the change"),
    Plot("albedo", "Albedo", figures.albedo, "Albedo of the ground"),
    Plot("deviations", "Standard deviations", figures.deviations, "One standard deviation of heights and albedo"),
    Plot("profile", "Profile", figures.profile, "Along the row that changed most, with two standard deviations"),
    Plot("images", "Images", figures.images, "Images as taken, as simulated, and the difference"),
    Plot("slopes", "Slopes and wavelengths", figures.slopes, "How often each slope occurs; power of each wavelength"),
)
COLUMNS = ("rms residual", "of the mean", "noise", "exposure", "haze", "elements used")


def tables(run: Run) -> list[str]:
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
