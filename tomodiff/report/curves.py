"""Figures of how the volume came about: corrected projections and sinograms, axis search, convergence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodiff.html import window
from tomodiff.report.drawing import WIDTH, Theme, colour_bar, dress, figure, show_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Arrays = Mapping[str, np.ndarray]
NOT_CURVES = ("iteration", "seconds")


def before_after(pair: Arrays, theme: Theme, rows: str, columns: str, units: tuple[str, str]) -> Figure:
    """Two images of the same, before and after the correction, each with its own colour bar."""
    height, width = pair["before"].shape
    aspect = float(np.clip(height / width, 0.25, 0.8))
    fig = figure(theme, WIDTH, 4.3 * aspect + 0.7)
    axes = fig.subplots(1, 2)
    for panel, name, unit in zip(axes, ("before", "after"), units, strict=True):
        image = np.asarray(pair[name])
        low, high = window(image)
        shape = image.shape[1], image.shape[0]
        drawn = show_image(panel, image, theme, shape, cmap="gray", vmin=low, vmax=high, aspect="auto")
        panel.set_title(f"{name} correction")
        panel.set_xlabel(columns, color=theme.ink, fontsize=9)
        panel.set_ylabel(rows, color=theme.ink, fontsize=9)
        colour_bar(fig, drawn, panel, theme, unit)
    return fig


def residual(view: Arrays, theme: Theme) -> Figure:
    """A projection as measured, that of the volume in the same colours, and what is left."""
    measured, simulated = (np.asarray(view[name], np.float64) for name in ("measured", "simulated"))
    height, width = measured.shape
    fig = figure(theme, WIDTH, 3.0 * float(np.clip(height / width, 0.25, 1.2)) + 0.7)
    axes = fig.subplots(1, 3)
    low, high = window(measured, simulated)
    for panel, image, title in zip(axes, (measured, simulated), ("measured", "of the volume"), strict=False):
        drawn = show_image(panel, image, theme, (width, height), cmap="gray", vmin=low, vmax=high, aspect="auto")
        panel.set_title(title)
    colour_bar(fig, drawn, list(axes[:2]), theme, "line integral")
    left = measured - simulated
    reach = max(abs(v) for v in window(left)) or 1.0
    drawn = show_image(axes[2], left, theme, (width, height), cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto")
    axes[2].set_title("what is left")
    colour_bar(fig, drawn, axes[2], theme, "line integral")
    return fig


def axis_search(center: Arrays, theme: Theme) -> Figure:
    """How well each candidate for the rotation axis explains the scan, and the one that was chosen."""
    fig = figure(theme, 7.2, 2.6)
    axes = fig.subplots()
    order = np.argsort(center["candidates"])
    marker = "." if len(order) <= 60 else ""
    x, y = center["candidates"][order], center["scores"][order]
    axes.plot(x, y, marker=marker, color=theme.curves[0], linewidth=1.3)
    found = float(center["center"])
    axes.axvline(found, color=theme.curves[1], linewidth=1.2)
    axes.annotate(
        f"{found:.2f}", (found, 1), (4, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
        color=theme.curves[1], fontsize=9, va="top",
    )  # fmt: skip
    axes.set_xlabel("detector column of the axis (pixels)")
    axes.set_ylabel(str(center.get("score", "mismatch")))
    dress(axes, theme)
    return fig


def convergence(metrics: Sequence[Mapping[str, Any]], theme: Theme) -> Figure:
    """Each metric against the iteration, logarithmic where all its values are positive."""
    return _panels({"": metrics}, curve_names(metrics), theme)


def shared_names(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """The metrics that all runs have."""
    return [n for n in curve_names(next(iter(runs.values()))) if all(n in curve_names(m) for m in runs.values())]


def both(runs: Mapping[str, Sequence[Mapping[str, Any]]], theme: Theme) -> Figure:
    """Each metric that all runs have against the iteration, a curve for each run."""
    fig = _panels(runs, shared_names(runs), theme)
    fig.axes[0].legend(fontsize=8, frameon=False, labelcolor=theme.ink)
    return fig


def _panels(runs: Mapping[str, Sequence[Mapping[str, Any]]], names: Sequence[str], theme: Theme) -> Figure:
    """A panel for each of the first four names, logarithmic where all is positive; of one run each in its own colour,
    of several each run in its own."""
    names, alone = names[:4], len(runs) == 1
    fig = figure(theme, WIDTH if len(names) > 1 else 7.2, 2.9)
    axes = fig.subplots(1, len(names), squeeze=False)[0]
    for at, (panel, name) in enumerate(zip(axes, names, strict=True)):
        positive = True
        for n, (run, metrics) in enumerate(runs.items()):
            x, y = points(metrics, name)
            wide = 3.2 if n == 0 and not alone else 1.4  # what is the same shows on both sides
            colour, marker = theme.curves[at if alone else n], "." if len(x) < 40 else ""
            panel.plot(x, y, color=colour, linewidth=wide, marker=marker, label=run)
            positive &= bool((y > 0).all())
        if positive:
            panel.set_yscale("log")
        panel.set_title(name.replace("_", " "))
        panel.set_xlabel("iteration")
        dress(panel, theme)
    return fig


def points(metrics: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Iterations, and a metric's values there."""
    found = [(m["iteration"], m[name]) for m in metrics if _is_number(m.get(name)) and "iteration" in m]
    x, y = (np.array(values, dtype=np.float64) for values in zip(*found, strict=True))
    return x, y


def curve_names(metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """The metrics that change from iteration to iteration, in the order in which they appear."""
    values: dict[str, list[float]] = {}
    for entry in metrics:
        if "iteration" in entry:
            for name, value in entry.items():
                if name not in NOT_CURVES and _is_number(value):
                    values.setdefault(name, []).append(value)
    return [name for name, seen in values.items() if len(set(seen)) > 1]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
