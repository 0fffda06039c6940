"""The rotation axis of a fan or cone beam scan, from rays that run through the object in opposite directions.

With c the axis column, the ray of view t and fan angle g = atan((u - c) du / distance) is seen again, from the other
side, in view t + pi - 2 g at column 2 c - u (both rays have the parallel-beam coordinates t - g and SOD sin g, up to
sign; Kak & Slaney 1988, section 3.4).  In a cone beam that holds for the plane of the source's orbit only, so the rows
next to it are used.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from tomodiff.prepare.mirror_maps import LARGEST_GAP

Floats = NDArray[np.float64]

NEIGHBOURS = 4
"""Views through which the value at an angle between two of them is interpolated (a cubic)."""


class FanViews(NamedTuple):
    """Line integrals (view, row, u), smoothed, at rising angles; `fan_step` radians (curved) or tangent a column."""

    rows: Floats
    angles: Floats
    fan_step: float
    curved: bool


class Misfit(NamedTuple):
    """The mean square difference of opposite rays over their mean square, and the number of pairs of rays."""

    value: float
    pairs: int


def fan_views(rows: Floats, angles: Floats, fan_step: float, curved: bool) -> FanViews:
    """Views sorted by angle modulo a full turn, low-passed by 1 column, their smooth background removed."""
    on_circle = np.mod(angles - angles.min(), 2 * np.pi)
    order = np.argsort(on_circle, kind="stable")
    p = np.array(rows[order], dtype=np.float64)
    p = scipy.ndimage.gaussian_filter1d(p, 1.0, axis=2, mode="nearest")
    p -= scipy.ndimage.gaussian_filter1d(p, max(4.0, p.shape[2] / 10), axis=2, mode="nearest")
    return FanViews(p, on_circle[order], fan_step, curved)


def misfit(views: FanViews, column: float, stride: int = 1, backwards: bool = False) -> Misfit:
    """How much opposite rays differ if the axis projects onto `column`; every stride-th view is compared.

    `backwards` takes the angles with the other sign.
    """
    width = views.rows.shape[2]
    half = min(column, width - 1 - column)
    u = np.arange(int(np.ceil(column - half)), int(np.floor(column + half)) + 1)
    offset = (u - column) * views.fan_step
    fan = offset if views.curved else np.arctan(offset)
    turn = np.pi + 2 * fan if backwards else np.pi - 2 * fan
    wanted = views.angles[::stride, None] + turn
    nodes, weights, known = _between(views.angles, np.mod(wanted, 2 * np.pi))
    rim: Floats = np.clip((half + 0.5 - np.abs(u - column)) / (0.1 * half + 1), 0, 1) * known
    shift = np.asarray(2 * column - u, dtype=np.float64)
    difference = total = 0.0
    for row in range(views.rows.shape[1]):
        here = views.rows[::stride, row][:, u]
        mirrored = _columns(views.rows[:, row], shift)
        there = sum(w * mirrored[n, np.arange(len(u))] for n, w in zip(nodes, weights, strict=True))
        difference += float((rim * (here - there) ** 2).sum())
        total += float((rim * (here**2 + there**2)).sum())
    return Misfit(difference / total if total > 0 else 1.0, int(np.count_nonzero(known)))


def search_fan(views: FanViews, search: tuple[float, float]) -> tuple[float, Floats, Floats]:
    """The axis column with the smallest misfit within `search`, and the curve (columns, values) that was looked at."""
    stride = max(1, len(views.angles) // 90)
    columns = np.arange(search[0], search[1] + 0.5)
    values = np.array([misfit(views, c, stride).value for c in columns])
    best = float(columns[np.argmin(values)])
    for step in (0.5, 0.25, 0.125):
        near = np.clip(best + step * np.arange(-2, 3), *search)
        found = np.array([misfit(views, c).value for c in near])
        best = float(near[np.argmin(found)])
    below, at, above = (misfit(views, best + d).value for d in (-0.25, 0.0, 0.25))
    bend = below - 2 * at + above
    if bend > 0:
        best += float(np.clip(0.125 * (below - above) / bend, -0.25, 0.25))
    return float(np.clip(best, *search)), columns, values


def _columns(image: Floats, position: Floats) -> Floats:
    """The image (view, u) at fractional columns `position`, by cubic splines."""
    filtered = scipy.ndimage.spline_filter1d(image, 3, axis=1, mode="mirror")
    base = np.floor(position).astype(np.intp)
    t = position - base
    spline = ((1 - t) ** 3 / 6, (4 - 6 * t**2 + 3 * t**3) / 6, (1 + 3 * t + 3 * t**2 - 3 * t**3) / 6, t**3 / 6)
    last = image.shape[1] - 1
    columns = [np.abs(base + k - 1) for k in range(4)]
    columns = [np.where(c > last, 2 * last - c, c) for c in columns]
    return np.asarray(sum(w * filtered[:, c] for w, c in zip(spline, columns, strict=True)))


def _between(angles: Floats, wanted: Floats) -> tuple[list[NDArray[np.intp]], list[Floats], NDArray[np.bool_]]:
    """Views around each wanted angle (modulo a turn), their cubic Lagrange weights, and where gaps are small enough."""
    n = len(angles)
    keep = np.flatnonzero(np.diff(angles, append=angles[0] + 2 * np.pi) > 1e-6)
    nodes = angles[keep]
    m = len(nodes)
    if m < NEIGHBOURS:
        return [np.zeros(wanted.shape, np.intp)] * NEIGHBOURS, [np.zeros(wanted.shape)] * NEIGHBOURS, wanted < -1
    left = np.searchsorted(nodes, wanted, side="right") - 1
    index = [(left + k) for k in (-1, 0, 1, 2)]
    t = [nodes[i % m] + 2 * np.pi * (i // m) for i in index]
    gaps = np.diff(np.append(nodes, nodes[0] + 2 * np.pi))
    known = t[2] - t[1] < LARGEST_GAP * np.median(gaps)
    inside = known & (t[1] - t[0] < LARGEST_GAP * np.median(gaps)) & (t[3] - t[2] < LARGEST_GAP * np.median(gaps))
    weights = []
    for j in range(NEIGHBOURS):
        cubic = np.ones(wanted.shape)
        for i in range(NEIGHBOURS):
            if i != j:
                cubic *= (wanted - t[i]) / (t[j] - t[i])
        linear = np.zeros(wanted.shape)
        if j in (1, 2):
            linear = np.abs(wanted - t[3 - j]) / (t[2] - t[1])
        weights.append(np.where(inside, cubic, linear))
    return [np.minimum(keep[i % m], n - 1) for i in index], weights, known
