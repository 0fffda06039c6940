"""The sections of a report that only calibrations have: the errors found, and those of every view.

Of the arrays that the recipe saved it draws `views`: (view,) of each error, in pixels or degrees.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tomodiff.report.drawing import WIDTH, Theme, dress, figure
from tomodiff.report.page import section, table
from tomodiff.report.plots import Plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tomodiff.recipes.run import Run

COLUMNS = ("value", "told by the data", "hard to tell from")


def tables(run: Run) -> list[str]:
    """The errors found."""
    found = run.status["facts"].get("geometry")
    if not found:
        return []
    rows = [[name, *(about.get(column, "") for column in COLUMNS)] for name, about in found.items()]
    return [section("Geometry found", table(["error", *COLUMNS], rows))]


def highlights(run: Run) -> dict[str, str]:
    """The numbers to see first."""
    found = run.status["facts"].get("geometry", {})
    return {name.replace("_", " "): str(about["value"]) for name, about in found.items() if "value" in about}


def by_view(views: Mapping[str, np.ndarray], theme: Theme) -> Figure:
    """Each error against the number of the view."""
    fig = figure(theme, WIDTH, 2.2 * len(views))
    for n, (panel, (name, values)) in enumerate(
        zip(fig.subplots(len(views), 1, squeeze=False)[:, 0], sorted(views.items()), strict=True)
    ):
        panel.plot(np.arange(len(values)), values, color=theme.curves[n % len(theme.curves)], linewidth=1.2)
        panel.set_title(name.replace("_", " "))
        panel.set_xlabel("view")
        dress(panel, theme)
    return fig


PLOTS = (
    Plot("views", "View by view", by_view, "Errors of every view: shifts in pixels of the detector, turns in degrees"),
)
