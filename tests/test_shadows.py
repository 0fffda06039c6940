"""Shadows: a wall and its penumbra in closed form, an independent march, slopes in heights and sun, hard shadows."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from tests.toys import exact_slope
from tomodiff.core import check_adjoint, check_gradient
from tomodiff.projectors.terrain.reflectance import direction
from tomodiff.projectors.terrain.shadows import SUN_RADIUS, Ray, Shadows

WIDE = np.deg2rad(4.0)
"""Radius of a sun that has broad penumbras."""


def wall(ny: int, nx: int, column: int, height: float) -> np.ndarray:
    made = np.zeros((ny, nx))
    made[:, column] = height
    return made


def disc(x: np.ndarray) -> np.ndarray:
    """The part of a disc above a line x radii below its centre, by its integral."""
    grid = np.linspace(-1, 1, 200001)
    chords = np.sqrt(1 - grid**2)
    area = np.concatenate([[0], np.cumsum((chords[1:] + chords[:-1]) / 2)]) * (grid[1] - grid[0]) * 2 / np.pi
    return np.interp(x, grid, area)


def hills(ny: int, nx: int, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:ny, :nx]
    return np.asarray(sum(2 * a * np.sin(0.5 * b * x + 0.5 * c * y + a) for a, b, c in rng.normal(size=(6, 3))))


def test_a_wall_darkens_what_lies_behind_it() -> None:
    """Sun in the east at 20 degrees, a wall 5 m high: the disc is cut at the angle of the wall's top."""
    elevation = np.deg2rad(20)
    A = Shadows((3, 40), 1.0, radius=WIDE, dtype="float64")
    lit = A({"height": wall(3, 40, 30, 5.0), "sun": direction(np.pi / 2, elevation)})
    distance = 30.0 - np.arange(30)
    wanted = disc((elevation - np.arctan(5 / distance)) / WIDE)
    assert lit[:, :30] == pytest.approx(np.tile(wanted, (3, 1)), abs=1e-5)
    assert (lit[:, 30:] == 1).all(), "the wall itself and what lies to the sun"
    assert (lit[:, 28] == 0).all() and (lit[:, 0] == 1).all()


@pytest.mark.parametrize("azimuth", np.deg2rad([3.0, 45.0, 77.0, 140.0, 200.0, 271.0, 333.0]))
def test_shadows_of_any_azimuth_are_those_of_a_simple_march(azimuth: float, rng: np.random.Generator) -> None:
    """Every element by itself, heights interpolated with NumPy, spacing 2 m north to south, 3 m west to east."""
    ny, nx, (dy, dx) = 14, 17, (2.0, 3.0)
    height, sun = hills(ny, nx, rng) * 3, direction(azimuth, np.deg2rad(25))
    lit = Shadows((ny, nx), (dy, dx), radius=WIDE, dtype="float64")({"height": height, "sun": sun})
    step = np.array([-sun[1] / dy, sun[0] / dx])
    step /= np.abs(step).max()
    length = np.hypot(step[0] * dy, step[1] * dx)
    for j in range(ny):
        for i in range(nx):
            top = -np.inf
            for t in range(1, max(ny, nx)):
                y, x = j + t * step[0], i + t * step[1]
                if not (-1e-9 <= y <= ny - 1 + 1e-9 and -1e-9 <= x <= nx - 1 + 1e-9):
                    break
                if abs(y - round(y)) < abs(x - round(x)):
                    line = height[round(y)]
                    value = np.interp(x, np.arange(nx), line)
                else:
                    value = np.interp(y, np.arange(ny), height[:, round(x)])
                top = max(top, (value - height[j, i]) / (t * length))
            wanted = disc(np.array((np.deg2rad(25) - np.arctan(top)) / WIDE))
            assert lit[j, i] == pytest.approx(wanted, abs=1e-5), (j, i)


@pytest.mark.parametrize("azimuth", np.deg2rad([10.0, 100.0, 190.0, 300.0]))
@pytest.mark.parametrize("body", [None, 300.0])
def test_slopes_in_heights_and_sun(azimuth: float, body: float | None, rng: np.random.Generator) -> None:
    """Steps so small that no other height becomes the horizon."""
    A = Shadows((12, 15), (2.0, 3.0), radius=2 * WIDE, body_radius=body, dtype="float64")
    x = {"height": hills(12, 15, rng), "sun": direction(azimuth, np.deg2rad(25)) * 1.3}
    value, J = A.linearize(x)
    assert ((value > 0.01) & (value < 0.99)).sum() > 5, "penumbras"
    for name, other in (("height", "sun"), ("sun", "height")):
        exact_slope(check_gradient(A.fix(**{other: x[other]}), x[name], rng=rng, steps=(1e-4, 1e-5)))
    assert check_adjoint(J, rng) < 1e-12


def test_the_blocking_height_is_reached() -> None:
    """Behind a wall the derivative in the wall's height is minus that of the element, and both have closed forms."""
    elevation = np.deg2rad(20)
    A = Shadows((2, 40), 1.0, radius=WIDE, dtype="float64")
    _, J = A.linearize({"height": wall(2, 40, 30, 5.0), "sun": direction(np.pi / 2, elevation)})
    seen = np.zeros((2, 40))
    seen[1, 17] = 1  # 13 m before the wall
    g = J.adjoint(seen)["height"]
    x = (elevation - np.arctan(5 / 13)) / WIDE
    wanted = -2 / np.pi * np.sqrt(1 - x**2) / WIDE / (1 + (5 / 13) ** 2) / 13
    assert g[1, 30] == pytest.approx(wanted) and g[1, 17] == pytest.approx(-wanted)
    assert np.count_nonzero(g) == 2


def test_hard_shadows_are_the_limit(rng: np.random.Generator) -> None:
    x = {"height": hills(30, 40, rng).astype("f4"), "sun": direction(0.4, np.deg2rad(15))}
    hard, J = Shadows((30, 40), radius=0.0).linearize(x)
    soft = Shadows((30, 40), radius=1e-5)(x)
    assert set(np.unique(hard)) == {0.0, 1.0}
    assert (hard == np.round(soft)).mean() > 0.999
    assert not J.adjoint(hard)["height"].any()


def test_the_disc_of_the_sun_is_half_a_degree() -> None:
    assert 2 * np.rad2deg(SUN_RADIUS) == pytest.approx(0.533, abs=1e-3)


def test_curvature_hides_distant_mountains() -> None:
    """A peak 100 m high, 2 km away on a body of 10 km: its top sinks by 200 m."""
    height = wall(2, 201, 200, 100.0).astype("f4")
    x = {"height": height, "sun": direction(np.pi / 2, np.deg2rad(1.5))}
    flat, curved = (Shadows((2, 201), 10.0, body_radius=R)(x)[0, 0] for R in (None, 1e4))
    assert flat == 0 and curved == 1


def test_float32_and_other_devices_agree(rng: np.random.Generator, xp: ModuleType) -> None:
    exact, single = (Shadows((50, 600), radius=WIDE, dtype=d) for d in ("float64", "float32"))
    x = {"height": hills(50, 600, rng), "sun": direction(1.2, np.deg2rad(20))}
    there = {"height": xp.asarray(x["height"].astype("float32")), "sun": xp.asarray(x["sun"])}
    made = single(there)
    made = made if isinstance(made, np.ndarray) else made.get()
    assert np.abs(made - exact(x)).max() < 1e-3


def test_suns_without_shadows_are_refused() -> None:
    with pytest.raises(ValueError, match="sun: expected a sun above the horizon, got the vector"):
        Ray.towards(np.array([1.0, 0, -0.1]), (1.0, 1.0))
    with pytest.raises(ValueError, match="beside the zenith"):
        Ray.towards(np.array([0.0, 0, 1.0]), (1.0, 1.0))
    with pytest.raises(ValueError, match=r"radius: expected 0 to 0\.5 radians, got 2"):
        Shadows((4, 4), radius=2.0)


def test_heights_that_are_none_are_refused() -> None:
    S = Shadows((5, 6), dtype="float64")
    height = np.zeros((5, 6))
    height[2, 3] = np.nan
    with pytest.raises(ValueError, match="expected finite heights"):
        S({"height": height, "sun": np.array([0.6, 0.0, 0.8])})
