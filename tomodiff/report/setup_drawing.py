"""A drawing of the set-up: the volume's box, where source and detector stood, and which way everything runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.geometry import Grid, Scan, Vectors
from tomodiff.geometry.checks import Array

DRAWN_VIEWS = 6
"""Views drawn when none are chosen: enough to see the sense of rotation."""

MARGIN = 1.5
"""Distance of a parallel beam's detector and entry from the volume's middle, in half diagonals of its box."""

EDGE_POINTS = 33
"""Points along each edge of a detector's outline, so that a curved one looks it."""

BOX_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b).bit_count() == 1]

FIRST, OTHER, VOLUME = "tab:red", "tab:gray", "tab:blue"


def draw(scan: Scan, grid: Grid, views: Any = None, ax: Any = None) -> Any:
    """Draw box, rotation axis, source path, and detectors and outer rays of some views, in mm; returns the figure.

    views: which views (slice, indices, mask); default: some evenly spread ones. The first of them is red and carries
        arrows along growing columns (u) and rows (v).
    ax: a 3-D matplotlib axes to draw in; default: a new figure that also shows the set-up from above.
    """
    from matplotlib.figure import Figure

    chosen = _chosen(scan, views)
    if ax is not None:
        _draw_space(ax, scan, chosen, grid)
        return ax.figure
    figure = Figure(figsize=(11, 5), layout="constrained")
    _draw_space(figure.add_subplot(1, 2, 1, projection="3d"), scan, chosen, grid)
    draw_top(scan, grid, views, figure.add_subplot(1, 2, 2))
    return figure


def draw_top(scan: Scan, grid: Grid, views: Any = None, ax: Any = None) -> Any:
    """The same seen from +z, with y upwards; returns the figure."""
    from matplotlib.figure import Figure

    if ax is None:
        ax = Figure(figsize=(5.5, 5), layout="constrained").add_subplot()
    corners = grid.corners()
    for a, b in BOX_EDGES:
        ax.plot(corners[[a, b], 0], corners[[a, b], 1], color=VOLUME)
    ax.plot(0, 0, "+", color="black", label="rotation axis")
    _plot_path(ax, scan, 2)
    for number, one in enumerate(_each(_chosen(scan, views))):
        colour = OTHER if number else FIRST
        outline, starts, ends, middle, u_tip, _ = _parts(one, grid)
        ax.plot(outline[:, 0], outline[:, 1], color=colour, linewidth=2)
        for start, end in zip(starts, ends, strict=True):
            ax.plot([start[0], end[0]], [start[1], end[1]], color=colour, linewidth=0.6)
        if number == 0:
            ax.annotate("", u_tip[:2], middle[:2], arrowprops={"arrowstyle": "->", "color": colour})
            ax.text(*u_tip[:2], "u", color=colour)
    ax.set(xlabel="x (mm)", ylabel="y (mm)", title="from above (+z)", aspect="equal")
    return ax.figure


def _draw_space(ax: Any, scan: Scan, chosen: Scan, grid: Grid) -> None:
    corners = grid.corners()
    for a, b in BOX_EDGES:
        ax.plot(*corners[[a, b]].T, color=VOLUME)
    low, high = corners[:, 2].min(), corners[:, 2].max()
    overhang = (high - low) / 2
    ax.plot([0, 0], [0, 0], [low - overhang, high + overhang], "--", color="black", linewidth=1)
    _plot_path(ax, scan, 3)
    for number, one in enumerate(_each(chosen)):
        colour = OTHER if number else FIRST
        outline, starts, ends, middle, u_tip, v_tip = _parts(one, grid)
        ax.plot(*outline.T, color=colour)
        for start, end in zip(starts, ends, strict=True):
            ax.plot(*np.stack([start, end]).T, color=colour, linewidth=0.6)
        if number == 0:
            for name, tip in (("u", u_tip), ("v", v_tip)):
                ax.quiver(*middle, *(tip - middle), color=colour)
                ax.text(*tip, name, color=colour)
    ax.set(xlabel="x (mm)", ylabel="y (mm)", zlabel="z (mm)", title=str(scan).split(":")[0])
    ax.locator_params(axis="z", nbins=4)
    ax.set_aspect("equal")


def _plot_path(ax: Any, scan: Scan, dimensions: int) -> None:
    """The source's path through all views; a parallel beam has none."""
    if scan.kind == "cone":
        ax.plot(*scan.frames()[:, :dimensions].T, ".-", color="tab:orange", markersize=3, linewidth=0.8)


def _chosen(scan: Scan, views: Any) -> Scan:
    if views is not None:
        return scan[views]
    return scan[np.unique(np.linspace(0, len(scan), min(DRAWN_VIEWS, len(scan)), endpoint=False).astype(int))]


def _each(scan: Scan) -> list[Scan]:
    return [scan[i] for i in range(len(scan))]


def _parts(one: Scan, grid: Grid) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Of a one-view scan: detector outline (n, 3), starts and ends of its outer rays, middle and tips of u and v."""
    nv, nu = one.detector_shape
    seen = _drawn_apart(one, grid) if one.kind == "parallel" else one
    grid_points = seen.pixels(v=np.linspace(-0.5, nv - 0.5, EDGE_POINTS), u=np.linspace(-0.5, nu - 0.5, EDGE_POINTS))[0]
    outline = np.concatenate(
        [grid_points[0], grid_points[:, -1], grid_points[-1, ::-1], grid_points[::-1, 0]]  # once around, closed
    )
    ends = grid_points[[0, 0, -1, -1], [0, -1, 0, -1]]
    if one.kind == "parallel":
        direction = one.rays(v=0, u=0)[1][0, 0, 0]
        starts = ends - 2 * _clearance(grid) * direction
    else:
        starts = np.broadcast_to(one.frames()[0, :3], ends.shape)
    half = EDGE_POINTS // 2
    middle, u_tip, v_tip = grid_points[half, half], grid_points[half, -1], grid_points[-1, half]
    return outline, starts, ends, middle, u_tip, v_tip


def _clearance(grid: Grid) -> float:
    return MARGIN * float(np.linalg.norm(grid.size)) / 2


def _drawn_apart(one: Scan, grid: Grid) -> Vectors:
    """The one parallel view with its detector pushed along the beam to beyond the volume, which changes no ray."""
    frames = one.frames().copy()
    direction = frames[:, :3] / np.linalg.norm(frames[:, :3], axis=1, keepdims=True)
    frames[:, 3:6] += (_clearance(grid) + (np.array(grid.center) - frames[:, 3:6]) @ direction[0]) * direction
    return Vectors(frames, one.detector_shape, "parallel")
