"""Figures made of arrays that a run kept: each is told once, for the report and for the live page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from tomodiff.report.drawing import Theme
from tomodiff.report.page import in_words, picture, section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tomodiff.recipes.run import Run

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Plot:
    """A figure of the arrays of one name, under a heading; plots in a row with the same heading share a section."""

    arrays: str
    heading: str
    draw: Callable[[Arrays, Theme], Figure]
    caption: str
    """Names in braces stand for values among the arrays."""
    worth: Callable[[Arrays], bool] = lambda data: True
    """Whether there is something to see."""

    def told(self, data: Arrays) -> str:
        """The caption of these arrays."""
        values = {name: in_words(value.item()) for name, value in data.items() if np.size(value) == 1}
        return self.caption.format_map(_Known(values))


class _Known(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return in_words(None)


def plot_sections(run: Run, plots: Iterable[Plot]) -> list[str]:
    """A section for each heading that the run has arrays for."""
    found = []
    for heading, group in groupby(plots, lambda plot: plot.heading):
        pictures = [_picture(plot, data) for plot in group if (data := run.report_data(plot.arrays)) is not None]
        found.append(section(heading, *pictures))
    return found


def _picture(plot: Plot, data: Arrays) -> str:
    return picture(lambda theme: plot.draw(data, theme), plot.told(data)) if plot.worth(data) else ""
