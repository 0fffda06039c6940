"""Figures of maps that vary: where particles stand along the components, and what maps look like on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tomodiff.html import window
from tomodiff.report.drawing import WIDTH, Theme, dress, figure, scale_bar, show_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Arrays = Mapping[str, np.ndarray]
MOST = 4
"""Components that are shown."""
BINS = 40


def latents(data: Arrays, theme: Theme) -> Figure:
    """A histogram of each component, and below it how the particles are spread over it and the first one.

    data: coordinates (n, k); spread (k,) standard deviations of the prior.
    """
    z = np.asarray(data["coordinates"], np.float64)[:, :MOST]
    count = z.shape[1]
    fig = figure(theme, min(WIDTH, 3.2 * count), 2.4 if count == 1 else 4.6)
    panels = fig.subplots(1 if count == 1 else 2, count, squeeze=False)
    for k in range(count):
        axes = panels[0, k]
        axes.hist(z[:, k], BINS, color=theme.curves[0])
        axes.set_xlabel(f"component {k + 1}")
        dress(axes, theme)
        if k == 0:
            axes.set_ylabel("particles")
        if count == 1:
            continue
        below = panels[1, k]
        if k == 0:
            below.set_axis_off()
            continue
        below.hexbin(z[:, 0], z[:, k], gridsize=BINS, cmap="viridis", mincnt=1)
        below.set_xlabel("component 1")
        below.set_ylabel(f"component {k + 1}")
        dress(below, theme)
    return fig


def series(data: Arrays, theme: Theme) -> Figure:
    """Projections of maps along z, one row a component, from low to high latents; below them how they differ from
    the mean of the row.

    data: projections (k, frames, n, n); at (k, frames) the latents; pixel in angstrom.
    """
    shown = np.asarray(data["projections"], np.float64)[:MOST]
    count, frames = shown.shape[:2]
    columns = np.unique(np.linspace(0, frames - 1, min(frames, 5)).round().astype(int))
    side = WIDTH / len(columns)
    fig = figure(theme, WIDTH, 2 * count * side * 1.12)
    panels = fig.subplots(2 * count, len(columns), squeeze=False)
    size = shown.shape[-1] * float(data["pixel"])
    low, high = window(shown)
    away = shown - shown.mean(1, keepdims=True)
    most = float(np.abs(away).max()) or 1.0  # of all components: one that the images do not show stays blank
    for k in range(count):
        for column, frame in enumerate(columns):
            above, below = panels[2 * k, column], panels[2 * k + 1, column]
            show_image(above, shown[k, frame], theme, (size, size), cmap="gray", vmin=low, vmax=high)
            show_image(below, away[k, frame], theme, (size, size), cmap="RdBu_r", vmin=-most, vmax=most)
            above.set_title(f"component {k + 1}: {float(data['at'][k, frame]):.3g}", fontsize=8)
    scale_bar(panels[0, 0], size, size, "\N{LATIN CAPITAL LETTER A WITH RING ABOVE}")
    return fig
