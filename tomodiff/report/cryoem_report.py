"""The sections of a report that only cryo-EM runs have: resolution, views, sharpening, classes.

Of the arrays that a recipe saved it draws these, each where it is there:

    tilt_image        before, after (row, column); view
    fsc               frequency, unmasked, masked, randomised, corrected; pixel
    rounds            frequency, pixel; fsc (round, shell)
    truth_fsc         frequency, pixel; refined, told, true: curves against a simulation's truth
    directions        euler_deg (n, 3)
    guinier           squared, original, weighted, sharpened; slope, intercept
    classes           maps (k, n, n, n), count (k,)
    latents           coordinates (n, k), spread (k,)
    series            projections (k, frames, n, n), at (k, frames), pixel
    local_resolution  resolution (n, n, n), pixel, mask
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tomodiff.report import cryoem_figures as figures
from tomodiff.report import curves, latent_figures
from tomodiff.report.plots import Plot

if TYPE_CHECKING:
    from tomodiff.recipes.run import Run

PLOTS = (
    Plot(
        "tilt_image",
        "Images",
        partial(curves.before_after, rows="row", columns="column", units=("as read", "prepared")),
        "Image of view {view}, as it was read, and as it is reconstructed from: binned, normalised, turned upright",
    ),
    Plot("fsc", "Resolution", figures.fsc_curves, "Fourier shell correlation of the half maps"),
    Plot("rounds", "Round by round", figures.rounds, "Fourier shell correlation of the half maps after each round"),
    Plot("truth_fsc", "Against the truth", figures.truth_curves, "Fourier shell correlation with the true map"),
    Plot("directions", "Directions of view", figures.directions, "How many particles are seen along each direction"),
    Plot(
        "guinier", "Sharpening", figures.guinier, "Guinier plot: amplitudes before and after, and the fitted B factor"
    ),
    Plot("classes", "Classes", figures.class_gallery, "Projections and middle slices of the classes' maps"),
    Plot("latents", "Variability", latent_figures.latents, "Where the particles stand along the components"),
    Plot("series", "Along the components", latent_figures.series, "Projections of maps along each component"),
    Plot("local_resolution", "Local resolution", figures.local_resolution, "Resolution around each voxel"),
)


def highlights(run: Run) -> dict[str, str]:
    """The numbers to see first."""
    facts = run.status["facts"]
    names = {
        "resolution_a": ("resolution (\N{LATIN CAPITAL LETTER A WITH RING ABOVE}, FSC 0.143)", "{:.2f}"),
        "particles": ("particles", "{}"),
        "b_factor_a2": ("B factor (\N{LATIN CAPITAL LETTER A WITH RING ABOVE}\N{SUPERSCRIPT TWO})", "{:.0f}"),
        "symmetry": ("symmetry", "{}"),
    }
    return {title: form.format(facts[name]) for name, (title, form) in names.items() if facts.get(name) is not None}
