"""The same problem on grids of rising resolution."""

from __future__ import annotations

import numpy as np
import pytest

from tomodiff.core import Linear, Space
from tomodiff.objective import Gaussian
from tomodiff.solvers import Cgls, Level, descend, halvings, resampled


def test_shapes_are_halved_down_to_the_coarsest() -> None:
    assert halvings((100, 64), 16) == [(25, 16), (50, 32), (100, 64)]
    assert halvings((1, 33), 16) == [(1, 17), (1, 33)]
    assert halvings((20, 20), 16) == [(20, 20)]


def test_ramps_stay_ramps_on_other_grids() -> None:
    """Between the middles of voxels; constant beyond the outermost."""
    y, x = ((np.arange(n) + 0.5) / n for n in (8, 12))
    made = resampled(y[:, None] - 2 * x, (16, 24))
    fine_y, fine_x = ((np.arange(n) + 0.5) / n for n in (16, 24))
    expected = fine_y[:, None] - 2 * fine_x
    np.testing.assert_allclose(made[1:-1, 1:-1], expected[1:-1, 1:-1], atol=1e-12)
    assert made[0, 5] == pytest.approx(made[0, 5].clip(expected.min(), expected.max())) and made.dtype == "float64"
    assert resampled(np.ones((3, 3), "float32"), (3, 7)).dtype == "float32"
    with pytest.raises(ValueError, match="expected 2 axes"):
        resampled(np.ones((3, 3)), (3,))


def test_each_level_starts_where_the_one_before_ended() -> None:
    made: list[int] = []

    def level(n: int) -> Level:
        made.append(n)
        space = Space((n,), "float64")
        return Level(Gaussian(np.linspace(0, 1, n)) @ Linear(space, space, np.copy, np.copy), Cgls(), 1)

    shapes = [(4,), (8,), (16,)]
    makers = [lambda n=n: level(n) for (n,) in shapes]
    seen = list(descend(makers, np.zeros(4), lambda x, number: resampled(x, shapes[number])))
    assert [number for number, _ in seen] == [0, 1, 2] and made == [4, 8, 16]
    np.testing.assert_allclose(seen[-1][1].x, np.linspace(0, 1, 16), atol=1e-12)
    again = list(descend(makers, seen[1][1], lambda x, number: resampled(x, shapes[number]), first=1))
    assert [number for number, _ in again] == [2]
