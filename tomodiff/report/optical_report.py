"""The sections of a report that only scenes from photographs have: pictures beside what they should be, and depth.

Of the arrays that the recipe saved it draws `view0` and so on: truth and picture (rows, columns, 3), depth, and how the
photograph was used: fitted or held out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tomodiff.report.drawing import WIDTH, Theme, figure
from tomodiff.report.plots import Plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tomodiff.recipes.run import Run

MOST = 6
"""Photographs that are shown."""


def highlights(run: Run) -> dict[str, str]:
    """The numbers to see first."""
    facts = run.status["facts"]
    names = {
        "photographs": "photographs",
        "psnr_held_out_db": "PSNR of views held out",
        "psnr_fitted_db": "PSNR of views",
    }
    found = {title: facts[name] for name, title in names.items() if name in facts}
    return {title: f"{value:.2f} dB" if isinstance(value, float) else str(value) for title, value in found.items()}


def view(data: Mapping[str, np.ndarray], theme: Theme) -> Figure:
    """A photograph, the scene from there, the difference, and depth."""
    rows, columns = data["depth"].shape
    fig = figure(theme, WIDTH, WIDTH / 4 * rows / columns + 0.3)
    difference = (0.5 + 4 * (data["picture"] - data["truth"])).clip(0, 1)
    shown = {"photograph": data["truth"], "scene": data["picture"], "difference": difference, "depth": data["depth"]}
    for panel, (title, values) in zip(fig.subplots(1, 4), shown.items(), strict=True):
        panel.imshow(values if title == "depth" else values.clip(0, 1), cmap="viridis_r")
        panel.set_title(title, color=theme.ink)
        panel.set_axis_off()
    return fig


CAPTION = "Photograph {name} ({use}), what the scene looks like there, the difference (times 4, about grey), and depth"
PLOTS = tuple(Plot(f"view{i}", "Views", view, CAPTION) for i in range(MOST))
