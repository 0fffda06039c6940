"""The sections of a report that only MRI runs have: image beside gridding, the coils' sensitivities, the trajectory.

Of the arrays that the recipe saved it draws `image`: gridding, image, phase (y, x); `coils`: maps (coil, y, x);
`trajectory`: points (sample, axis) in cycles per pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tomodiff.report.drawing import WIDTH, Theme, dress, figure
from tomodiff.report.plots import Plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tomodiff.recipes.run import Run

BRIGHT = 99.7
"""Percentile that is shown white."""
COLUMNS = 4
MOST_COILS = 16


def highlights(run: Run) -> dict[str, str]:
    """The numbers to see first."""
    facts = run.status["facts"]
    found = {name: str(facts[name]) for name in ("coils", "samples", "frames") if name in facts}
    if "delays_samples" in facts:
        found["delays in samples"] = ", ".join(f"{float(d):.3f}" for d in facts["delays_samples"])
    return found


def images(data: Mapping[str, np.ndarray], theme: Theme) -> Figure:
    """Three pictures side by side."""
    fig = figure(theme, WIDTH, WIDTH / 3 + 0.3)
    for panel, name in zip(fig.subplots(1, 3), ("gridding", "image", "phase"), strict=True):
        values = data[name]
        if name == "phase":
            panel.imshow(values, cmap="twilight", vmin=-np.pi, vmax=np.pi)
        else:
            panel.imshow(values, cmap="gray", vmin=0, vmax=float(np.percentile(values, BRIGHT)))
        panel.set_title(name, color=theme.ink)
        panel.set_axis_off()
    return fig


def coils(data: Mapping[str, np.ndarray], theme: Theme) -> Figure:
    """Each coil's picture."""
    maps = data["maps"][:MOST_COILS]
    rows = -(-len(maps) // COLUMNS)
    fig = figure(theme, WIDTH, rows * WIDTH / COLUMNS)
    for panel in fig.subplots(rows, COLUMNS, squeeze=False).ravel():
        panel.set_axis_off()
    for panel, values in zip(fig.axes, maps, strict=False):
        panel.imshow(values, cmap="gray", vmin=0, vmax=float(maps.max()))
    return fig


def trajectory(data: Mapping[str, np.ndarray], theme: Theme) -> Figure:
    """The samples along the last two axes."""
    fig = figure(theme, WIDTH / 2, WIDTH / 2)
    panel = fig.subplots()
    y, x = data["points"][:, -2:].T
    panel.plot(x, y, ".", color=theme.curves[0], markersize=1)
    panel.set_aspect("equal")
    panel.set_xlabel("k along x")
    panel.set_ylabel("k along y")
    dress(panel, theme)
    return fig


PLOTS = (
    Plot("image", "Image", images, "Modulus of the gridded data and of the result, and the result's phase"),
    Plot("coils", "Coils", coils, "Modulus of the sensitivities"),
    Plot("trajectory", "Trajectory", trajectory, "Samples, in cycles per pixel"),
)
