"""Figures of cryo-EM maps: FSC, directions of view, Guinier plot, classes, local resolution. Lengths in angstrom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tomodiff.analytic.fsc import HALF_MAPS, resolution, side
from tomodiff.analytic.postprocess import NO_AMPLITUDE
from tomodiff.html import window
from tomodiff.report.drawing import WIDTH, Theme, colour_bar, dress, figure, scale_bar, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Arrays = Mapping[str, np.ndarray]
ANGSTROM = "Å"
CURVES = {
    "corrected": "corrected for the mask",
    "masked": "masked",
    "unmasked": "without mask",
    "randomised": "masked, random phases",
}
"""Curves of the FSC figure, and what each is called."""
MOST_PANELS = 5
"""Classes shown in a row."""
CUTS = 8
"""Pieces that a cell of the map of directions is drawn in."""


def fsc_curves(data: Arrays, theme: Theme) -> Figure:
    """Fourier shell correlations against resolution, with the 0.143 line and where the corrected curve falls below it.

    data: frequency (1/angstrom), pixel, and any of `CURVES`, of which masked ones are missing without a mask.
    """
    fig = figure(theme, 7.2, 3.4)
    axes = fig.subplots()
    frequency = np.asarray(data["frequency"], np.float64)
    there = [name for name in CURVES if data.get(name) is not None]
    if "masked" not in there:
        there = [name for name in there if name != "corrected"] or there
    for name, colour in zip(there, theme.curves, strict=False):
        style = "--" if name == "randomised" else "-"
        axes.plot(frequency, data[name], color=colour, linewidth=1.4, linestyle=style, label=CURVES[name])
    axes.axhline(0, color=theme.faint, linewidth=0.8)
    best = data["corrected"] if "corrected" in data else data[there[0]]
    pixel = float(data["pixel"])
    # Of n and the step 1 / (n pixel) only the frequencies are known, which hold for odd boxes, too.
    n = round(1 / (frequency[1] * pixel)) if len(frequency) > 1 else side(best)
    found = resolution(best, pixel, HALF_MAPS, n)
    if np.isfinite(found):
        axes.axvline(1 / found, color=theme.ink, linewidth=0.8, linestyle=":")
        axes.annotate(
            f"{found:.3g} {ANGSTROM}", (1 / found, HALF_MAPS), (4, 4), textcoords="offset points", color=theme.ink,
            fontsize=9,
        )  # fmt: skip
    _dress_fsc(axes, theme, frequency, min(float(np.min(data[name])) for name in there))
    return fig


def truth_curves(data: Arrays, theme: Theme) -> Figure:
    """Fourier shell correlations of maps with the true one, and the line of 0.5.

    data: frequency (1/angstrom), and curves: refined, with the poses as told, with the true poses.
    """
    fig = figure(theme, 7.2, 3.2)
    axes = fig.subplots()
    frequency = np.asarray(data["frequency"], np.float64)
    names = {"refined": "refined", "told": "poses as told", "true": "true poses"}
    for (name, label), colour in zip(names.items(), theme.curves, strict=False):
        if data.get(name) is not None:
            axes.plot(frequency, data[name], color=colour, linewidth=1.4, label=label)
    _dress_fsc(axes, theme, frequency, 0.0, threshold=0.5, label="correlation with the truth")
    return fig


def rounds(data: Arrays, theme: Theme) -> Figure:
    """Fourier shell correlations of the half maps after each round, the later the darker.

    data: frequency (1/angstrom), pixel, fsc (round, shell).
    """
    fig = figure(theme, 7.2, 3.0)
    axes = fig.subplots()
    frequency, curves = np.asarray(data["frequency"], np.float64), np.atleast_2d(data["fsc"])
    for number, curve in enumerate(curves, 1):
        ends = number in (1, len(curves))
        axes.plot(
            frequency, curve, color=theme.curves[0], linewidth=1.4, alpha=0.25 + 0.75 * number / len(curves),
            label=f"round {number}" if ends else None,
        )  # fmt: skip
    _dress_fsc(axes, theme, frequency, float(curves.min()))
    return fig


def _dress_fsc(
    axes: Axes, theme: Theme, frequency: np.ndarray, lowest: float, *, threshold: float = HALF_MAPS,
    label: str = "Fourier shell correlation",
) -> None:  # fmt: skip
    """Axes of correlation against resolution, with a line at the threshold and names of the curves."""
    axes.axhline(threshold, color=theme.ink, linewidth=0.8, linestyle=":")
    axes.set_xlim(0, frequency[-1])
    axes.set_ylim(min(-0.1, lowest - 0.02), 1.05)
    in_angstrom(axes, float(frequency[-1]))
    axes.set_ylabel(label)
    dress(axes, theme)
    axes.legend(fontsize=8, frameon=False, labelcolor=theme.ink)


def in_angstrom(axes: Axes, highest: float) -> None:
    """Label an axis of spatial frequencies with the resolution they stand for."""
    ticks = np.linspace(0, highest, 7)[1:]
    axes.set_xticks(ticks, [f"{1 / tick:.3g}" for tick in ticks])
    axes.set_xlabel(f"resolution ({ANGSTROM})")


def directions(data: Arrays, theme: Theme) -> Figure:
    """How many particles are seen along each direction, in Mollweide's equal-area projection of the sphere.

    data: euler_deg (n, 3) rot, tilt, psi in degrees; longitude is rot, latitude 90 degrees - tilt.
    """
    euler = np.deg2rad(np.asarray(data["euler_deg"], np.float64))
    rot = (euler[:, 0] + np.pi) % (2 * np.pi) - np.pi
    rows = int(np.clip(np.sqrt(len(euler)) / 3, 8, 36))
    heights, longitudes = np.linspace(-1, 1, rows + 1), np.linspace(-np.pi, np.pi, 2 * rows + 1)
    counts, _, _ = np.histogram2d(np.cos(euler[:, 1]), rot, [heights, longitudes])
    fig = figure(theme, 7.2, 3.8)
    axes = fig.add_subplot(projection="mollweide")
    # Cells are drawn with straight sides: cut them so that they follow the outline of the sphere.
    latitudes = np.arcsin(heights)
    cuts = np.append((latitudes[:-1, None] + np.diff(latitudes)[:, None] * np.arange(CUTS) / CUTS).ravel(), np.pi / 2)
    drawn = axes.pcolormesh(longitudes, cuts, np.repeat(counts, CUTS, axis=0), cmap="viridis", vmin=0, rasterized=True)
    axes.set_facecolor(theme.back)
    axes.set_xticks(np.deg2rad([-120, -60, 0, 60, 120]))
    axes.set_yticks(np.deg2rad([-60, -30, 0, 30, 60]))
    axes.tick_params(colors=theme.ink, labelsize=7)
    axes.tick_params(axis="x", colors="white")
    axes.grid(True, color=theme.faint, linewidth=0.4, alpha=0.5)
    axes.set_title(f"{len(euler)} directions of view", color=theme.ink, fontsize=9.5)
    colour_bar(fig, drawn, axes, theme, "particles per equal area")
    return fig


def guinier(data: Arrays, theme: Theme) -> Figure:
    """Logarithms of amplitudes against 1 / d^2, and the straight line that gave the B-factor.

    data: squared (1/angstrom^2), original, weighted, sharpened, and slope and intercept where a line was fitted.
    """
    fig = figure(theme, 7.2, 3.0)
    axes = fig.subplots()
    squared = np.asarray(data["squared"], np.float64)
    lowest, highest = np.inf, -np.inf
    for name, colour in zip(("original", "weighted", "sharpened"), theme.curves, strict=False):
        shown = np.asarray(data[name]) > NO_AMPLITUDE
        axes.plot(squared[shown], data[name][shown], color=colour, linewidth=1.3, label=name)
        if shown.any():
            lowest, highest = min(lowest, data[name][shown].min()), max(highest, data[name][shown].max())
    if "slope" in data and data["slope"] is not None:
        line = float(data["slope"]) * squared + float(data["intercept"])
        label = f"B = {4 * float(data['slope']):.0f} Å²"
        axes.plot(squared, line, color=theme.ink, linewidth=0.9, linestyle="--", label=label)
    if np.isfinite(lowest):
        margin = 0.05 * (highest - lowest) + 1e-3
        axes.set_ylim(lowest - margin, highest + margin)
    axes.set_xlabel("1 / d² (1/Å²)")
    axes.set_ylabel("ln (mean amplitude)")
    dress(axes, theme)
    axes.legend(fontsize=8, frameon=False, labelcolor=theme.ink)
    return fig


def class_gallery(data: Arrays, theme: Theme) -> Figure:
    """Maps of classes side by side: the projection along z above the middle slice, all in the same colours.

    data: maps (k, n, n, n); count (k,) particles of each; pixel in angstrom, without which there is no scale bar.
    """
    maps = np.asarray(data["maps"])
    columns = min(len(maps), MOST_PANELS)
    rows = -(-len(maps) // columns)
    width = min(WIDTH, 2.4 * columns)
    fig = figure(theme, width, 2 * rows * (width / columns) + 0.3 * rows)
    panels = fig.subplots(2 * rows, columns, squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
    size = maps.shape[-1] * float(data.get("pixel", 1.0))
    kinds = maps.sum(1), maps[:, maps.shape[1] // 2]
    total = max(int(np.sum(data["count"])), 1) if "count" in data else 0
    for below, images in enumerate(kinds):
        low, high = window(images)
        for k, image in enumerate(images):
            panel = panels[2 * (k // columns) + below, k % columns]
            panel.set_axis_on()
            show_image(panel, image, theme, (size, size), cmap="gray", vmin=low, vmax=high)
            if below == 0:
                share = f": {int(data['count'][k])} ({int(data['count'][k]) / total:.0%})" if total else ""
                panel.set_title(f"class {k + 1}{share}")
    if "pixel" in data:
        scale_bar(panels[0, 0], size, size, ANGSTROM)
    return fig


def local_resolution(data: Arrays, theme: Theme) -> Figure:
    """Three slices through the middle of a map of local resolution, coloured where it was measured.

    data: resolution (n, n, n) in angstrom, 0 where it was not; pixel; mask (n, n, n), if given, hides the solvent.
    """
    found = np.asarray(data["resolution"], np.float64)
    shown = found > 0
    if data.get("mask") is not None:
        shown &= np.asarray(data["mask"]) > 0.5
    field = np.where(shown, found, np.nan)
    middle = found.shape[0] // 2
    size = found.shape[0] * float(data["pixel"])
    low, high = window(field[shown], low=2.0, high=98.0)
    fig = figure(theme, WIDTH, 3.5)
    axes = fig.subplots(1, 3)
    for panel, image, title in zip(
        axes, (field[middle], field[:, middle], field[:, :, middle]), ("yx", "zx", "zy"), strict=True
    ):
        drawn = show_image(panel, image, theme, (size, size), cmap="viridis_r", vmin=low, vmax=high)
        panel.set_facecolor(theme.faint)
        panel.set_title(f"{title} plane")
    scale_bar(axes[0], size, size, ANGSTROM)
    colour_bar(fig, drawn, list(axes), theme, f"local resolution ({ANGSTROM})")
    return fig
