"""Figures of terrains: hillshades, albedo, deviations, images against simulations, profiles, spectra. Lengths in m."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodiff.html import window
from tomodiff.report.drawing import WIDTH, Theme, colour_bar, dress, figure, scale_bar, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Arrays = Mapping[str, np.ndarray]
LAMP = np.array([-0.5, 0.5, 0.7071])
"""Towards the sun of hillshades, as maps have it: north-west, 45 degrees high."""


def hillshade(height: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Lambert's cosine of a surface under that sun, 0 to 1."""
    south, east = np.gradient(height, *spacing)
    shade = (-LAMP[0] * east + LAMP[1] * south + LAMP[2]) / np.sqrt(1 + east**2 + south**2)
    return np.clip(shade, 0, 1)


def relief(data: Arrays, theme: Theme) -> Figure:
    """Hillshades before and after, and the change of heights.  data: before, after (ny, nx), spacing."""
    before, after, spacing = data["before"], data["after"], data["spacing"]
    fig = figure(theme, WIDTH, 0.36 * WIDTH)
    axes = fig.subplots(1, 3)
    for ax, height, title in zip(axes, (before, after), ("before", "after"), strict=False):
        _map(ax, hillshade(height, spacing), spacing, theme, title, cmap="gray", vmin=0, vmax=1)
    change = after - before
    most = max(float(np.percentile(np.abs(change), 99.5)), 1e-12)
    drawn = _map(axes[2], change, spacing, theme, "change", cmap="RdBu_r", vmin=-most, vmax=most)
    colour_bar(fig, drawn, axes[2], theme, "m")
    return fig


def albedo(data: Arrays, theme: Theme) -> Figure:
    """The albedo.  data: albedo (ny, nx), spacing."""
    fig = figure(theme, 0.55 * WIDTH, 0.45 * WIDTH)
    ax = fig.subplots()
    low, high = window(data["albedo"])
    drawn = _map(ax, data["albedo"], data["spacing"], theme, "", cmap="gray", vmin=low, vmax=high)
    colour_bar(fig, drawn, ax, theme, "albedo")
    return fig


def deviations(data: Arrays, theme: Theme) -> Figure:
    """Standard deviations.  data: height, albedo (ny, nx), spacing."""
    names = [name for name in ("height", "albedo") if name in data]
    fig = figure(theme, 0.45 * WIDTH * len(names) + 0.1 * WIDTH, 0.42 * WIDTH)
    for ax, name in zip(np.atleast_1d(fig.subplots(1, len(names))), names, strict=True):
        low, high = window(data[name])
        drawn = _map(ax, data[name], data["spacing"], theme, name, cmap="viridis", vmin=low, vmax=high)
        colour_bar(fig, drawn, ax, theme, "m" if name == "height" else "")
    return fig


def images(data: Arrays, theme: Theme) -> Figure:
    """A row for each image: measured, simulated, difference.  data: measured, simulated (m, ny, nx), names, spacing."""
    m = len(data["measured"])
    fig = figure(theme, WIDTH, 0.33 * WIDTH * m)
    axes = np.atleast_2d(fig.subplots(m, 3))
    for row, measured, simulated, name in zip(axes, data["measured"], data["simulated"], data["names"], strict=True):
        low, high = window(measured)
        for ax, image, title in zip(row, (measured, simulated), (str(name), "simulated"), strict=False):
            _map(ax, image, data["spacing"], theme, title, cmap="gray", vmin=low, vmax=high)
        left = measured - simulated
        finite = np.abs(left[np.isfinite(left)])
        most = max(float(np.percentile(finite, 99)), 1e-12) if finite.size else 1.0
        drawn = _map(row[2], left, data["spacing"], theme, "difference", cmap="RdBu_r", vmin=-most, vmax=most)
        colour_bar(fig, drawn, row[2], theme, "")
    return fig


def profile(data: Arrays, theme: Theme) -> Figure:
    """Heights along a row.  data: at, before, after (n), and where known deviation, truth."""
    fig = figure(theme, WIDTH, 0.32 * WIDTH)
    ax = fig.subplots()
    at, after = data["at"], data["after"]
    if "deviation" in data:
        low, high = after - 2 * data["deviation"], after + 2 * data["deviation"]
        ax.fill_between(at, low, high, color=theme.curves[0], alpha=0.25, linewidth=0)
    named = {"truth": "truth", "before": "before", "after": "after"}
    colours = {"after": theme.curves[0], "before": theme.curves[1], "truth": theme.ink}
    for name, label in named.items():
        if name in data:
            ax.plot(at, data[name], color=colours[name], linewidth=1.3, label=label)
    ax.set_xlabel("along the row (m)")
    ax.set_ylabel("height (m)")
    dress(ax, theme)
    ax.legend(fontsize=8, frameon=False, labelcolor=theme.ink)
    return fig


def slopes(data: Arrays, theme: Theme) -> Figure:
    """Distribution of slopes, and power over wavelength, before and after."""
    fig = figure(theme, WIDTH, 0.32 * WIDTH)
    left, right = fig.subplots(1, 2)
    for name, colour in zip(("before", "after"), (theme.curves[1], theme.curves[0]), strict=True):
        left.plot(data["slope_deg"], data[f"slopes_{name}"], color=colour, linewidth=1.3, label=name)
        right.loglog(1 / data["frequency"], data[f"power_{name}"], color=colour, linewidth=1.3, label=name)
    left.set_xlabel("slope (degrees)")
    left.set_ylabel("density")
    right.set_xlabel("wavelength (m)")
    right.set_ylabel("power (m\N{SUPERSCRIPT FOUR})")
    for ax in (left, right):
        dress(ax, theme)
        ax.legend(fontsize=8, frameon=False, labelcolor=theme.ink)
    return fig


def _map(ax: Axes, values: np.ndarray, spacing: np.ndarray, theme: Theme, title: str, **options: Any) -> Any:
    """A map with north up and a scale bar."""
    height, width = values.shape[0] * float(spacing[0]), values.shape[1] * float(spacing[1])
    drawn = show_image(ax, values[::-1], theme, (width, height), **options)
    scale_bar(ax, width, height, "m")
    ax.set_title(title)
    ax.title.set_color(theme.ink)
    return drawn
