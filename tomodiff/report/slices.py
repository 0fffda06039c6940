"""Figures of volumes: slices through the middle with scale bars, beside the truth, and the spread of values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tomodiff.html import window
from tomodiff.report.drawing import WIDTH, Theme, colour_bar, dress, figure, scale_bar, show_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Arrays = Mapping[str, np.ndarray]
THIN = 0.04
"""A side view flatter than this (height to width) shows nothing and is left out."""
PANELS = {"z": ("y", "x"), "y": ("z", "x"), "x": ("z", "y")}
"""Slice name -> its rows and columns."""


def orthogonal(volume: Arrays, theme: Theme) -> Figure:
    """Three slices through the middle, all on one mm scale, with one colour bar."""
    size = sizes(volume)
    shown = [name for name in PANELS if worth_showing(size, name)]
    widths = [size[PANELS[name][1]] for name in shown]
    tallest = max(size[PANELS[name][0]] for name in shown)
    width = WIDTH
    height = float(np.clip(width * 0.88 * tallest / sum(widths) + 0.5, 1.6, 7.5))
    fig = figure(theme, width if len(shown) > 1 else min(width, height * widths[0] / tallest + 1.6), height)
    axes = fig.subplots(1, len(shown), width_ratios=widths, squeeze=False)[0]
    low, high = (float(v) for v in volume["window"])
    drawn = None
    for panel, name in zip(axes, shown, strict=True):
        rows, columns = PANELS[name]
        extent = size[columns], size[rows]
        drawn = show_image(panel, volume[name], theme, extent, cmap="gray", vmin=low, vmax=max(high, low + 1e-12))
        scale_bar(panel, *extent, length_unit(volume))
        index = int(volume["index"]["zyx".index(name)])
        panel.set_title(f"{rows}{columns} plane, {name} slice {index}")
    colour_bar(fig, drawn, list(axes), theme, label(volume))
    return fig


def against_truth(
    volume: Arrays, truth: Arrays, theme: Theme, titles: tuple[str, str] = ("reconstruction", "truth")
) -> Figure:
    """The middle slice, that of the truth (or of another volume) in the same colours, and their difference."""
    size = sizes(volume)
    extent = size["x"], size["y"]
    fig = figure(theme, WIDTH, float(np.clip(3.1 * extent[1] / extent[0] + 0.5, 1.6, 5)))
    axes = fig.subplots(1, 3)
    low, high = window(volume["z"], truth["z"])
    for panel, image, title in zip(axes, (volume["z"], truth["z"]), titles, strict=False):
        drawn = show_image(panel, image, theme, extent, cmap="gray", vmin=low, vmax=high)
        scale_bar(panel, *extent, length_unit(volume))
        panel.set_title(title)
    colour_bar(fig, drawn, list(axes[:2]), theme, label(volume))
    error = volume["z"].astype(np.float64) - truth["z"]
    reach = max(abs(v) for v in window(error))
    drawn = show_image(axes[2], error, theme, extent, cmap="RdBu_r", vmin=-reach, vmax=reach)
    axes[2].set_title("difference")
    colour_bar(fig, drawn, axes[2], theme, str(volume["unit"]))
    return fig


def profile(volume: Arrays, truth: Arrays, theme: Theme) -> Figure:
    """Values along the middle line of the middle slice, with those of the truth."""
    fig = figure(theme, 7.2, 2.6)
    axes = fig.subplots()
    row = volume["z"].shape[0] // 2
    x = (np.arange(volume["z"].shape[1]) - (volume["z"].shape[1] - 1) / 2) * float(volume["spacing_mm"][2])
    axes.plot(x, truth["z"][row], color=theme.ink, linewidth=1.0, linestyle="--", label="truth")
    axes.plot(x, volume["z"][row], color=theme.curves[0], linewidth=1.2, label="reconstruction")
    axes.set_xlabel(f"x ({length_unit(volume)})")
    axes.set_ylabel(label(volume))
    dress(axes, theme)
    axes.legend(fontsize=8, frameon=False, labelcolor=theme.ink)
    return fig


def histogram(volume: Arrays, theme: Theme) -> Figure:
    """How often each value occurs, on a logarithmic scale."""
    fig = figure(theme, 7.2, 2.6)
    axes = fig.subplots()
    counts, edges = volume["counts"], volume["edges"]
    axes.stairs(np.maximum(counts, 0.5), edges, baseline=0.5, fill=True, color=theme.curves[0], alpha=0.75)
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5)
    axes.set_xlabel(label(volume))
    axes.set_ylabel("voxels")
    dress(axes, theme)
    return fig


def sizes(volume: Arrays) -> dict[str, float]:
    """Extent of the volume in mm along z, y and x."""
    lengths = (float(n) * float(d) for n, d in zip(volume["shape"], volume["spacing_mm"], strict=True))
    return dict(zip("zyx", lengths, strict=True))


def worth_showing(size: Mapping[str, float], name: str) -> bool:
    """Whether a slice is more than a thread; the z slice always is."""
    rows, columns = PANELS[name]
    return name == "z" or size[rows] > THIN * size[columns]


def length_unit(volume: Arrays) -> str:
    """mm, or what the summary says; pixels where the scan's pixel size was not known, a scene's own unit."""
    if "length" in volume:
        return str(volume["length"])
    return {"1/pixel": "pixels", "1/unit": "unit"}.get(str(volume["unit"]), "mm")


def label(volume: Arrays) -> str:
    """Quantity and unit, as an axis is labelled."""
    return f"{volume['quantity']} ({volume['unit']})"
