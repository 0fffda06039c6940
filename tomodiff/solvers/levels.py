"""From coarse to fine: the same problem on grids of rising resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tomodiff.array import Array, Element, namespace
from tomodiff.core import Functional
from tomodiff.solvers.iterate import iterate
from tomodiff.solvers.state import State
from tomodiff.solvers.stopping import Stop


@dataclass(frozen=True)
class Level:
    """A problem at one resolution: its functional, a solver, and when to stop."""

    f: Functional
    solver: Any
    stop: Stop | int


def descend(
    levels: Sequence[Callable[[], Level]],
    x: Element,
    refine: Callable[[Element, int], Element],
    first: int = 0,
) -> Iterator[tuple[int, State]]:
    """(number of the level, state) after each step, from the coarsest level to the finest.

    levels: makers of levels, called when their turn comes, so that one is in memory at a time; refine(x, level): the
    start of `level` from the end of the one before (`resampled`, say).  To go on from a checkpoint, give its State as x
    and its level as `first`.
    """
    for number in range(first, len(levels)):
        if number > first:
            x = refine(x.x if isinstance(x, State) else x, number)
        level = levels[number]()
        for state in iterate(level.solver, level.f, x, level.stop):
            x = state
            yield number, state


def halvings(shape: Sequence[int], coarsest: int = 32) -> list[tuple[int, ...]]:
    """Shapes from coarse to fine: each half of the next, rounded up, until an axis would fall below `coarsest`."""
    shapes = [tuple(int(n) for n in shape)]
    while min(n for n in shapes[0] if n > 1) >= 2 * coarsest:
        shapes.insert(0, tuple(-(-n // 2) for n in shapes[0]))
    return shapes


def resampled(x: Array, shape: Sequence[int]) -> Array:
    """x on another grid over the same box, linear between the middles of voxels, constant beyond the outermost."""
    xp = namespace(x)
    if x.ndim != len(shape):
        raise ValueError(f"resampled: shape: expected {x.ndim} axes, got {tuple(shape)}")
    for axis, n in enumerate(shape):
        old = x.shape[axis]
        if n == old:
            continue
        at = ((xp.arange(n) + 0.5) * (old / n) - 0.5).clip(0, old - 1)
        low = xp.floor(at).astype("int64").clip(0, max(old - 2, 0))
        share = (at - low).astype(x.dtype).reshape([-1 if k == axis else 1 for k in range(x.ndim)])
        below, above = xp.take(x, low, axis=axis), xp.take(x, (low + 1).clip(0, old - 1), axis=axis)
        x = below + share * (above - below)
    return x
