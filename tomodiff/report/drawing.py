"""What all figures share: theme, panels of images in true proportion, scale bars, encoding.

Figures are Matplotlib `Figure` objects on the Agg canvas; pyplot and its global state are not used.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodiff.array import block_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Theme:
    """Colours of figure background, text, faint lines and curves."""

    back: str
    ink: str
    faint: str
    curves: tuple[str, ...]


LIGHT = Theme("#ffffff", "#1c2530", "#d5dae1", ("#0b6cb8", "#c2410c", "#15803d", "#7c3aed"))
DARK = Theme("#171c23", "#dfe5ec", "#3a434e", ("#5cb3f5", "#fb923c", "#4ade80", "#c4a5fd"))

Draw = Callable[[Theme], "Figure"]
"""A figure, drawn in a theme."""

DPI = 150
WIDTH = 10.5
"""Width in inches of a figure that fills the page."""


def figure(theme: Theme, width: float, height: float) -> Figure:
    """An empty figure of this size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), dpi=DPI, facecolor=theme.back, layout="constrained")
    FigureCanvasAgg(made)
    return made


def dress(axes: Axes, theme: Theme, *, grid: bool = True) -> None:
    """Colour the axes, ticks and labels of a plot."""
    axes.set_facecolor(theme.back)
    for name, spine in axes.spines.items():
        spine.set_color(theme.faint)
        spine.set_visible(name in ("left", "bottom"))
    axes.tick_params(colors=theme.ink, labelsize=8, color=theme.faint, which="both")
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(theme.ink)
        label.set_fontsize(9)
    axes.title.set_color(theme.ink)
    axes.title.set_fontsize(9.5)
    if grid:
        axes.grid(True, color=theme.faint, linewidth=0.6)
        axes.set_axisbelow(True)


def show_image(axes: Axes, image: np.ndarray, theme: Theme, extent: tuple[float, float], **options: Any) -> Any:
    """Draw an image that is `extent` (width, height) wide, first row at the bottom, without ticks."""
    width, height = extent
    drawn = axes.imshow(
        thinned(image), origin="lower", extent=(0, width, 0, height), interpolation="nearest", **options
    )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.title.set_color(theme.ink)
    axes.title.set_fontsize(9.5)
    return drawn


def scale_bar(axes: Axes, width_mm: float, height_mm: float, unit: str = "mm") -> None:
    """A bar of a round length at the lower left, at most a third of the width."""
    length = round_below(width_mm / 3)
    x, y = 0.04 * width_mm, 0.05 * height_mm
    kwargs: dict[str, Any] = dict(color="white", solid_capstyle="butt", zorder=5)
    axes.plot([x, x + length], [y, y], linewidth=5.5, **(kwargs | {"color": "black"}))
    axes.plot([x, x + length], [y, y], linewidth=3.0, **kwargs)
    text = axes.annotate(
        in_length(length, unit), (x + length / 2, y), (0, 5), textcoords="offset points",
        ha="center", va="bottom", fontsize=8, color="white",
    )  # fmt: skip
    from matplotlib.patheffects import withStroke

    text.set_path_effects([withStroke(linewidth=2, foreground="black")])
    axes.set_xlim(0, width_mm)
    axes.set_ylim(0, height_mm)


def colour_bar(fig: Figure, drawn: Any, axes: Any, theme: Theme, label: str) -> None:
    """A colour bar beside `axes`."""
    bar = fig.colorbar(drawn, ax=axes, shrink=0.85, pad=0.015, aspect=28)
    bar.set_label(label, color=theme.ink, fontsize=9)
    bar.ax.tick_params(colors=theme.ink, labelsize=8)
    bar.outline.set_visible(False)  # type: ignore[operator]


def round_below(length: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is at most `length`."""
    power = 10.0 ** math.floor(math.log10(length))
    return next(m * power for m in (5, 2, 1) if m * power <= length * (1 + 1e-9))


def in_length(length: float, unit: str) -> str:
    """A length as it is written beside a bar."""
    if unit == "mm" and length < 0.1:
        return f"{length * 1000:.3g} µm"
    return f"{length:g} {unit}"


def thinned(image: np.ndarray, most: int = 1400) -> np.ndarray:
    """The image, averaged over blocks so that no side exceeds `most` pixels."""
    step = math.ceil(max(image.shape) / most)
    if step == 1:
        return image
    return np.asarray(block_mean(image, [min(step, n) for n in image.shape]))


def laid_out_like(drawn: Figure, other: Figure) -> Figure:
    """The figure with the layout of another of the same parts that has been drawn, as finding one takes long."""
    drawn.set_layout_engine("none")
    for axes, placed in zip(drawn.axes, other.axes, strict=True):
        axes.set_position(placed.get_position(original=True))
    return drawn


def png(drawn: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    canvas: Any = drawn.canvas
    canvas.print_png(buffer, metadata={"Software": "tomodiff"})  # savefig would draw twice
    return buffer.getvalue()


def encode(drawn: Figure) -> str:
    """The figure as the base64 text of a PNG."""
    return base64.b64encode(png(drawn)).decode("ascii")
