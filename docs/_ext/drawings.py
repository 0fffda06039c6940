"""The figures of the page on conventions, drawn from the package's own geometry where that has an answer to ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

BLUE, RED, GREY, GREEN = "#2a6fb0", "#c0392b", "#777777", "#2e8b57"


def draw_all(folder: Path) -> None:
    """Every figure, as NAME.svg in a folder; white behind it, so that it can be read in the dark theme, too."""
    folder.mkdir(parents=True, exist_ok=True)
    # The same bytes each time, so that Sphinx builds nothing anew.
    with plt.rc_context({"svg.hashsalt": "tomodiff", "font.size": 10, "savefig.facecolor": "white"}):
        for draw in FIGURES:
            figure = draw()
            figure.savefig(folder / f"{draw.__name__}.svg", bbox_inches="tight", metadata={"Date": None})
            plt.close(figure)


def _arrow(axes: Any, start: Any, step: Any, text: str, color: str = BLUE, gap: float = 1.12) -> None:
    start, step = np.asarray(start, float), np.asarray(step, float)
    axes.annotate("", start + step, start, arrowprops={"arrowstyle": "-|>", "color": color, "lw": 1.6})
    axes.text(*(start + gap * step), text, color=color, ha="center", va="center")


def _bare(figure: Any, *all_axes: Any) -> Any:
    for axes in all_axes:
        axes.set_aspect("equal")
        axes.set_axis_off()
    return figure


def scan() -> Any:
    """A cone beam from above and from the side, as `ConeBeam.frames` has it."""
    from tomodiff import ConeBeam

    angle = 0.5
    frames = ConeBeam([angle], source_axis=3.0, source_detector=5.0, detector_shape=(8, 8), pixel=0.4).frames()
    source, middle, across, _ = frames.reshape(4, 3)
    figure, (above, side) = plt.subplots(1, 2, figsize=(10, 5))
    above.set_title("from above, at angle t")
    _arrow(above, (0, 0), (1.3, 0), "x", GREY)
    _arrow(above, (0, 0), (0, 1.3), "y", GREY)
    above.plot(*source[:2], "o", color=RED)
    above.text(source[0] + 0.35, source[1] - 0.15, "source\n(sin t, -cos t)", color=RED, va="top")
    ends = np.array([middle - 4 * across, middle + 4 * across])
    above.plot(*ends[:, :2].T, color="black", lw=3)
    above.text(middle[0] - 1.9, middle[1] + 0.25, "detector D", ha="center")
    _arrow(above, middle[:2], 3.2 * across[:2], "U: columns u", BLUE, 1.6)
    for end in ends:
        above.plot([source[0], end[0]], [source[1], end[1]], color=RED, lw=0.6)
    turn = np.linspace(-np.pi / 2, angle - np.pi / 2, 30)
    above.plot(0.9 * np.cos(turn), 0.9 * np.sin(turn), color=GREEN)
    end, before = (0.9 * np.array([np.cos(turn[i]), np.sin(turn[i])]) for i in (-1, -3))
    above.annotate("", end, before, arrowprops={"arrowstyle": "-|>", "color": GREEN})
    above.text(0.35, -1.2, "t", color=GREEN)
    above.plot([0, 0], [0, -3.2], color=GREY, lw=0.6, ls=":")
    above.set_xlim(-3.4, 3.6)
    side.set_title("from the side")
    _arrow(side, (0, -1.4), (0, 3.2), "z: axis of rotation", GREY)
    side.plot(-3, 0, "o", color=RED)
    side.text(-3, -0.35, "source", color=RED, ha="center")
    side.plot([2, 2], [-1.6, 1.6], color="black", lw=3)
    for end in (-1.6, 1.6):
        side.plot([-3, 2], [0, end], color=RED, lw=0.6)
    _arrow(side, (2.35, -1.2), (0, 2.4), "", BLUE)
    side.text(2.6, 0, "V: rows v", color=BLUE, va="center")
    side.text(2.2, -1.75, "row 0 is the lowest", ha="center")
    side.set_ylim(-2.1, 2.3)
    return _bare(figure, above, side)


def voxels() -> Any:
    """Where the middles of voxels and pixels are: half way between whole numbers where their number is even."""
    figure, all_axes = plt.subplots(1, 2, figsize=(8, 2.6))
    for axes, number in zip(all_axes, (4, 5), strict=True):
        places = np.arange(number) - (number - 1) / 2
        for index, place in enumerate(places):
            axes.add_patch(plt.Rectangle((place - 0.5, -0.5), 1, 1, fill=False, ec=GREY))
            axes.plot(place, 0, "o", color=BLUE, ms=4)
            axes.text(place, 0.62, f"i = {index}", ha="center", fontsize=9)
            axes.text(place, -0.75, f"{place:+.1f} dx" if place else "0", ha="center", va="center", fontsize=9)
        axes.plot([0, 0], [-0.5, 0.5], color=RED, lw=1)
        axes.text(0, -1.1, "the middle of the grid", color=RED, ha="center", va="center", fontsize=9)
        axes.set_xlim(-2.7, 2.7)
        axes.set_ylim(-1.3, 0.9)
    return _bare(figure, *all_axes)


def particle() -> Any:
    """RELION's angles: the direction of view on the sphere, and where the image's axes lie."""
    from tomodiff.geometry.poses import from_euler

    rot, tilt, psi = np.deg2rad([40.0, 50.0, 0.0])
    pose = from_euler(rot, tilt, psi)
    figure = plt.figure(figsize=(5.4, 5))
    axes = figure.add_subplot(projection="3d", azim=20, elev=22)
    for step, name in zip(np.eye(3), "xyz", strict=True):
        axes.quiver(0, 0, 0, *step, color=GREY, arrow_length_ratio=0.08)
        axes.text(*(1.1 * step), name, color=GREY)
    view = pose[2]
    axes.quiver(0, 0, 0, *view, color=RED, arrow_length_ratio=0.1)
    axes.text(*(1.1 * view + (0, 0, 0.15)), "view: third row of A", color=RED, ha="right")
    for row, name in ((pose[0], "x of the image"), (pose[1], "y of the image")):
        axes.quiver(*view, *(0.45 * row), color=BLUE, arrow_length_ratio=0.15)
        axes.text(*(view + 0.55 * row), name, color=BLUE)
    turn = np.linspace(0, rot, 30)
    axes.plot(0.6 * np.cos(turn), 0.6 * np.sin(turn), 0, color=GREEN)
    axes.text(0.72 * np.cos(rot / 2), 0.72 * np.sin(rot / 2), 0, "rot", color=GREEN)
    lean = np.linspace(0, tilt, 30)
    axes.plot(0.5 * np.sin(lean) * np.cos(rot), 0.5 * np.sin(lean) * np.sin(rot), 0.5 * np.cos(lean), color=GREEN)
    half = 0.58 * np.array([np.sin(tilt / 2) * np.cos(rot), np.sin(tilt / 2) * np.sin(rot), np.cos(tilt / 2)])
    axes.text(*half, "tilt", color=GREEN)
    axes.plot([0, view[0]], [0, view[1]], [0, 0], color=GREY, lw=0.7, ls=":")
    axes.plot([view[0]] * 2, [view[1]] * 2, [0, view[2]], color=GREY, lw=0.7, ls=":")
    axes.set(xlim=(-0.3, 1), ylim=(-0.3, 1), zlim=(0, 1.1))
    axes.set_axis_off()
    return figure


def sun() -> Any:
    """Azimuth and elevation on a north-up map."""
    figure, (above, side) = plt.subplots(1, 2, figsize=(9, 4))
    above.set_title("the map")
    above.add_patch(plt.Rectangle((-1.5, -1.2), 3, 2.4, fill=False, ec=GREY))
    above.text(-1.45, 1.05, "row 0, column 0", fontsize=8, va="center")
    _arrow(above, (0, 0), (0, 1.0), "north", GREY)
    _arrow(above, (0, 0), (1.0, 0), "east", GREY, 1.2)
    azimuth = np.deg2rad(120)
    _arrow(above, (0, 0), (np.sin(azimuth), np.cos(azimuth)), "sun", RED, 1.15)
    turn = np.linspace(0, azimuth, 40)
    above.plot(0.5 * np.sin(turn), 0.5 * np.cos(turn), color=GREEN)
    above.text(0.52, 0.4, "azimuth", color=GREEN)
    above.set(xlim=(-1.7, 1.7), ylim=(-1.4, 1.4))
    side.set_title("the ground")
    side.plot([-1.4, 1.4], [0, 0], color="black")
    _arrow(side, (0, 0), (0, 1.0), "up", GREY)
    up = np.deg2rad(35)
    _arrow(side, (0, 0), (1.2 * np.cos(up), 1.2 * np.sin(up)), "to the sun", RED, 1.15)
    lean = np.linspace(0, up, 20)
    side.plot(0.6 * np.cos(lean), 0.6 * np.sin(lean), color=GREEN)
    side.text(0.64, 0.16, "elevation", color=GREEN)
    side.set(xlim=(-1.5, 1.7), ylim=(-0.3, 1.3))
    return _bare(figure, above, side)


def camera() -> Any:
    """A photograph's camera: z ahead, y down, pixel middles at halves."""
    figure, (axes, pixels) = plt.subplots(1, 2, figsize=(9, 3.6))
    axes.set_title("the camera's axes")
    frame = np.array([[1.2, -0.7], [2.2, -1.1], [2.2, 0.5], [1.2, 0.9]])
    axes.add_patch(plt.Polygon(frame, fill=False, ec=GREY))
    for corner in frame:
        axes.plot([0, corner[0]], [0, corner[1]], color=GREY, lw=0.6)
    _arrow(axes, (0, 0), (1.7, -0.1), "z: ahead", RED, 1.25)
    _arrow(axes, (0, 0), (0.75, -0.3), "x: columns", BLUE, 1.2)
    _arrow(axes, (0, 0), (0, -0.8), "y: rows, down", BLUE, 1.15)
    axes.set(xlim=(-0.9, 2.9), ylim=(-1.3, 1.1))
    pixels.set_title("pixels")
    for row in range(2):
        for column in range(3):
            pixels.add_patch(plt.Rectangle((column, -row - 1), 1, 1, fill=False, ec=GREY))
            pixels.plot(column + 0.5, -row - 0.5, "o", color=BLUE, ms=4)
            pixels.text(column + 0.5, -row - 0.75, f"({column + 0.5}, {row + 0.5})", ha="center", fontsize=8)
    pixels.text(0, 0.12, "(0, 0): the picture's corner", fontsize=8, color=RED)
    pixels.set(xlim=(-0.2, 3.2), ylim=(-2.2, 0.5))
    return _bare(figure, axes, pixels)


FIGURES: tuple[Callable[[], Any], ...] = (scan, voxels, particle, sun, camera)
