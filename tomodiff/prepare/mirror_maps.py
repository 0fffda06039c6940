"""Which views of a parallel-beam scan see the same rays from the other side, as sparse matrices over the views.

A parallel projection at angle t + pi is the mirror image of that at t.  So each view counts twice on the circle of
angles: as it is, at t ("direct"), and mirrored, at t + pi.  Angles may come in any order, over any range and unevenly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SAME_VIEW = 0.25
"""Fraction of the typical angle step below which two views count as taken at one angle."""

ONE_ANGLE = 0.02
"""Fraction of the typical angle step below which nothing is interpolated between two angles."""

LARGEST_GAP = 3.0
"""Typical angle steps over which values between two views may be interpolated."""


class Circle(NamedTuple):
    """A uniform sampling of the full circle, by direct and by mirrored views; `gap` is the largest hole, in steps."""

    direct: sparse.csr_array
    mirrored: sparse.csr_array
    gap: float


class Opposite(NamedTuple):
    """The views (n,) that were also seen from the other side, and the matrix that interpolates what was seen there."""

    views: NDArray[np.intp]
    seen: sparse.csr_array


class Seam(NamedTuple):
    """A place on the circle where direct views end and mirrored ones begin: views and weights on both sides.

    The weighted direct views plus the weighted mirrored ones are a third difference across the seam: 0 where the
    projections change with the angle as a polynomial of degree 2.
    """

    direct: NDArray[np.intp]
    direct_weights: Floats
    mirrored: NDArray[np.intp]
    mirrored_weights: Floats


def angle_step(angles: Floats) -> float:
    """The typical difference between neighbouring angles on the circle, radians; 2 pi for a single one."""
    on_circle = np.sort(np.mod(angles, 2 * np.pi))
    gaps = np.diff(np.append(on_circle, on_circle[0] + 2 * np.pi))
    return float(np.median(gaps[gaps > 1e-6])) if (gaps > 1e-6).any() else 2 * np.pi


def circle(angles: Floats) -> Circle:
    """Direct and mirrored views on a uniform circle of angles, by linear interpolation; exact where views lie on it."""
    n, step = len(angles), angle_step(angles)
    both = np.mod(np.concatenate([angles, angles + np.pi]), 2 * np.pi)
    order = np.argsort(both, kind="stable")
    start = int(np.argmax(np.diff(both[order], prepend=both[order[-1]] - 2 * np.pi)))  # cut at the largest hole
    order = np.roll(order, -start)
    position = np.mod(both[order] - both[order[0]], 2 * np.pi)
    group = np.concatenate([[0], np.cumsum(np.diff(position) > SAME_VIEW * step)])
    count = np.bincount(group)
    node = np.bincount(group, position) / count
    average = sparse.csr_array((1 / count[group], (group, order)), shape=(len(node), 2 * n))
    gaps = np.diff(np.append(node, node[0] + 2 * np.pi))
    m = max(4, round(2 * np.pi / float(np.median(gaps))))
    wanted = node[0] + 2 * np.pi * np.arange(m) / m
    left = np.clip(np.searchsorted(node, wanted + 1e-9, side="right") - 1, 0, len(node) - 1)
    part = np.clip((wanted - node[left]) / gaps[left], 0, 1)
    part[part < 1e-6] = 0.0
    columns = np.concatenate([left, (left + 1) % len(node)])
    weights = sparse.csr_array(
        (np.concatenate([1 - part, part]), (np.tile(np.arange(m), 2), columns)), shape=(m, len(node))
    )
    whole = (weights @ average).tocsc()
    return Circle(whole[:, :n].tocsr(), whole[:, n:].tocsr(), float(gaps.max() / step))


def opposite(angles: Floats) -> Opposite:
    """The views of which the other side was measured too, at most LARGEST_GAP steps apart around that angle."""
    n, step = len(angles), angle_step(angles)
    on_circle = np.mod(angles, 2 * np.pi)
    order = np.argsort(on_circle, kind="stable")
    node = on_circle[order]
    gaps = np.maximum(np.diff(np.append(node, node[0] + 2 * np.pi)), 1e-12)
    wanted = np.mod(on_circle + np.pi - node[0], 2 * np.pi) + node[0]
    left = np.clip(np.searchsorted(node, wanted + 1e-9, side="right") - 1, 0, n - 1)
    part = np.clip((wanted - node[left]) / gaps[left], 0, 1)
    near = np.minimum(part, 1 - part) * gaps[left] < ONE_ANGLE * step
    part = np.where(near, np.rint(part), part)
    views = np.flatnonzero(near | (gaps[left] < LARGEST_GAP * step))
    columns = np.concatenate([order[left[views]], order[(left[views] + 1) % n]])
    weights = np.concatenate([1 - part[views], part[views]])
    rows = np.tile(np.arange(len(views)), 2)
    return Opposite(views, sparse.csr_array((weights, (rows, columns)), shape=(len(views), n)))


def seams(angles: Floats) -> list[Seam]:
    """Every place where direct views end and mirrored ones take over within LARGEST_GAP steps."""
    n, step = len(angles), angle_step(angles)
    both = np.mod(np.concatenate([angles, angles + np.pi]), 2 * np.pi)
    order = np.argsort(both, kind="stable")
    same = np.diff(both[order], prepend=both[order[0]]) < ONE_ANGLE * step
    order = order[np.lexsort((order >= n, np.cumsum(~same)))]  # at one angle, direct views come first
    found = []
    for i in range(2 * n):
        four = order[np.arange(i - 1, i + 3) % (2 * n)]
        if not ((four[:2] < n).all() and (four[2:] >= n).all()):
            continue  # the seam where mirrored views end is this one, mirrored
        t = np.mod(both[four] - both[four[0]], 2 * np.pi)
        across = np.mod(both[four[2]] - both[four[1]] + np.pi, 2 * np.pi) - np.pi
        if across >= LARGEST_GAP * step:
            continue
        if across < ONE_ANGLE * step:  # one angle, seen from both sides
            weights = np.array([0.0, 1.0, -1.0, 0.0])
        elif t[1] < ONE_ANGLE * step or t[3] - t[2] < ONE_ANGLE * step:
            continue
        else:
            weights = np.array([1 / np.prod(np.delete(t[j] - t, j)) for j in range(4)])
            weights /= np.abs(weights).max()
        found.append(Seam(four[:2], weights[:2], four[2:] - n, weights[2:]))
    return found
