"""The sections of a report that only scenes from photographs have: pictures beside what they should be, and depth.

Of the arrays that the recipe saved it draws `view0` and so on: truth and picture (rows, columns, 3), and depth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tomodiff.report.drawing import WIDTH, Theme, figure
from tomodiff.report.page import picture, section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tomodiff.recipes.run import Run

MOST = 6


def sections(run: Run) -> list[str]:
    """The sections that the run's arrays allow."""
    found = [data for data in (run.report_data(f"view{i}") for i in range(MOST)) if data is not None]
    if not found:
        return []
    which = "that were held out" if "psnr_held_out_db" in run.status["facts"] else "that were fitted"
    caption = f"Photographs {which}, what the scene looks like there, the difference (times 4, about grey), and depth"
    return [section("Views", picture(partial(views, found), caption))]


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


def views(found: Sequence[Mapping[str, np.ndarray]], theme: Theme) -> Figure:
    """A row for each view."""
    rows, columns = found[0]["depth"].shape
    fig = figure(theme, WIDTH, len(found) * WIDTH / 4 * rows / columns + 0.3)
    for line, data in zip(fig.subplots(len(found), 4, squeeze=False), found, strict=True):
        difference = (0.5 + 4 * (data["picture"] - data["truth"])).clip(0, 1)
        for panel, title, values in zip(
            line, ("photograph", "scene", "difference"), (data["truth"], data["picture"], difference), strict=False
        ):
            panel.imshow(values.clip(0, 1))
            panel.set_title(title, color=theme.ink)
        line[3].imshow(data["depth"], cmap="viridis_r")
        line[3].set_title("depth", color=theme.ink)
        for panel in line:
            panel.set_axis_off()
    return fig
