"""Grids of maps: sizes on the ground, which way is up, against closed forms on the sphere."""

from __future__ import annotations

import numpy as np
import pytest

from tomodiff.errors import DataError
from tomodiff.geometry.map_grid import MapGrid

MOON = 1737400.0
POLE = "IAU_2015:30135"
DEGREES = "IAU_2015:30100"


def test_flat_ground_has_no_projection() -> None:
    grid = MapGrid((5, 7), (2.0, 0, 100, 0, -3.0, 50))
    assert grid.spacing == (3.0, 2.0) and grid.body_radius is None and grid.frames is None
    assert grid.to_grid(np.array([0.1, 0.2, 0.9])) == pytest.approx([0.1, 0.2, 0.9])
    x, y = grid.xy()
    assert (x[0, 0], y[0, 0], x[-1, -1], y[-1, -1]) == (101, 48.5, 113, 36.5)


def test_around_the_south_pole_up_is_away_from_the_centre() -> None:
    """Polar stereographic, the pole in the middle: closed forms of the sphere."""
    n, step = 61, 5000.0
    grid = MapGrid((n, n), (step, 0, -n * step / 2, 0, -step, n * step / 2), POLE)
    assert grid.body_radius == pytest.approx(MOON)
    assert grid.spacing == pytest.approx((step, step), rel=1e-4)
    frames = grid.frames
    assert frames is not None
    x, y = grid.xy()
    angle = 2 * np.arctan(np.hypot(x, y) / (2 * MOON))  # from the pole
    assert frames[2, 2] == pytest.approx(np.cos(angle), abs=1e-6)
    outward = np.hypot(frames[2, 0], frames[2, 1])
    assert outward == pytest.approx(np.sin(angle), abs=1e-4)
    assert frames[2, 0, n // 2, -1] > 0 and frames[2, 1, 0, n // 2] > 0, "to the east of the grid, to its north"
    orthogonal = np.einsum("abij,cbij->acij", frames, frames)
    assert orthogonal == pytest.approx(np.broadcast_to(np.eye(3)[:, :, None, None], orthogonal.shape), abs=1e-9)


def test_the_sun_of_true_north_turns_with_the_grid() -> None:
    """Of a polar map, true north at longitude 90 east is the direction away from the south pole: the grid's +x."""
    grid = MapGrid((9, 9), (10.0, 0, 1e5, 0, -10.0, 45.0), POLE)
    assert grid.frames is None, "small enough to be flat"
    assert grid.to_grid(np.array([0.0, 1.0, 0.0])) == pytest.approx([1, 0, 0], abs=1e-3)
    assert grid.to_grid(np.array([1.0, 0.0, 0.0])) == pytest.approx([0, -1, 0], abs=1e-3)
    assert grid.site @ grid.site.T == pytest.approx(np.eye(3), abs=1e-9)


def test_degrees_have_their_length_on_the_ground() -> None:
    grid = MapGrid((20, 20), (1e-3, 0, 30, 0, -1e-3, 60), DEGREES)
    radians = np.deg2rad(1e-3) * MOON
    assert grid.spacing == pytest.approx((radians, radians * np.cos(np.deg2rad(59.99))), rel=1e-4)
    assert grid.site == pytest.approx(np.eye(3), abs=1e-6)
    with pytest.raises(DataError, match="differ by at most 2%"):
        _ = MapGrid((300, 300), (1e-2, 0, 30, 0, -1e-2, 80), DEGREES).spacing


def test_parts_and_blocks_lie_where_they_should() -> None:
    grid = MapGrid((16, 20), (2.0, 0, 100, 0, -2.0, 50), None)
    part = grid.cropped(slice(3, 9), slice(4, 12))
    assert part.shape == (6, 8)
    assert part.xy()[0][0, 0] == grid.xy()[0][3, 4] and part.xy()[1][0, 0] == grid.xy()[1][3, 4]
    coarse = grid.binned(4)
    assert coarse.shape == (4, 5)
    assert coarse.xy()[0][1, 1] == pytest.approx(grid.xy()[0][4:8, 4:8].mean())


@pytest.mark.parametrize("transform", [(1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, -1, 0), (1, 0.1, 0, 0, -1, 0)])
def test_turned_grids_are_refused(transform: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="north-up grid"):
        MapGrid((9, 9), transform)  # type: ignore[arg-type]


def test_nonsense_is_refused() -> None:
    with pytest.raises(DataError, match="at least 4 x 4"):
        MapGrid((2, 9), (1, 0, 0, 0, -1, 0))
    with pytest.raises(DataError, match="PROJ knows"):
        _ = MapGrid((9, 9), (1, 0, 0, 0, -1, 0), "no such system").spacing
    with pytest.raises(DataError, match="lies on the body"):
        _ = MapGrid((9, 9), (1e6, 0, 1e9, 0, -1e6, 1e9), "EPSG:32740").spacing
