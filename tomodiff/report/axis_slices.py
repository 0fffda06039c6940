"""One slice for each of several places of the rotation axis, side by side: the eye finds the sharp one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tomodiff.html import window
from tomodiff.report.drawing import WIDTH, Theme, figure, show_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 3


def axis_slices(slices: Sequence[np.ndarray], centers: Sequence[float], found: float, theme: Theme) -> Figure:
    """Slices (y, x) in one grey scale, each with its axis column; the one that was found is framed."""
    rows = -(-len(slices) // COLUMNS)
    height, width = slices[0].shape
    fig = figure(theme, WIDTH, float(np.clip(WIDTH / COLUMNS * height / width * rows + 0.3, 2, 20)))
    axes = fig.subplots(rows, COLUMNS, squeeze=False)
    low, high = window(*slices)
    for panel in axes.flat[len(slices) :]:
        panel.set_visible(False)
    for panel, image, center in zip(axes.flat, slices, centers, strict=False):
        show_image(panel, image, theme, (float(width), float(height)), cmap="gray", vmin=low, vmax=high)
        panel.set_title(f"column {center:.2f}")
        if abs(center - found) < 1e-6:
            for spine in panel.spines.values():
                spine.set(visible=True, color=theme.curves[1], linewidth=2)
    return fig
