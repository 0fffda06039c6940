"""Displacement fields: adjoints, slopes, places known in closed form, and motion found from a scan."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from tests.toys import exact_slope
from tomodiff.core import Plugged, check_adjoint, check_gradient, random_element
from tomodiff.geometry import Grid
from tomodiff.projectors.dynamic import Dynamic
from tomodiff.projectors.warp import FreeForm, Warp

GRID = Grid((6, 7, 9), (0.5, 1.0, 2.0), (3.0, -1.0, 0.5))


def _x(rng: np.random.Generator, grid: Grid = GRID, times: int = 2, reach: float = 2.5) -> dict[str, np.ndarray]:
    volume = rng.standard_normal(grid.shape)
    d = reach * rng.uniform(-1, 1, (times, 3, *grid.shape)) * np.array(grid.spacing)[:, None, None, None]
    return {"volume": volume, "displacement": d}


@pytest.mark.parametrize("reach", [0.3, 2.5, 40.0])
def test_the_adjoints_of_a_warp(reach: float, rng: np.random.Generator, xp: ModuleType) -> None:
    A = Warp(GRID, 2, "float64")
    x = {k: xp.asarray(v) for k, v in _x(rng, reach=reach).items()}
    value, jacobian = A.linearize(x)
    assert check_adjoint(jacobian, rng, xp=xp) < 1e-13
    fixed = A.fix(displacement=x["displacement"])
    assert check_adjoint(fixed, rng, xp=xp) < 1e-13  # type: ignore[arg-type]
    assert bool((fixed(x["volume"]) == value).all()) and bool((A(x) == value).all())


def test_the_adjoint_does_not_depend_on_threads(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    A, x = Warp(GRID, 2, "float32"), {k: v.astype("float32") for k, v in _x(rng).items()}
    made = []
    for threads in ("1", "3"):
        monkeypatch.setenv("TOMODIFF_THREADS", threads)
        made.append(A.linearize(x)[1].adjoint(A(x)))
    assert all((made[0][k] == made[1][k]).all() for k in x)


def test_the_slope_in_the_displacement(rng: np.random.Generator) -> None:
    x = _x(rng)
    scaled = x["displacement"] / np.array(GRID.spacing)[:, None, None, None]
    keep = np.floor(scaled) + 0.3 + 0.4 * (scaled - np.floor(scaled))  # far from the planes where the model has kinks
    x["displacement"] = keep * np.array(GRID.spacing)[:, None, None, None]
    slopes = check_gradient(Warp(GRID, 2, "float64"), x, rng, (1e-2, 1e-3, 1e-4))
    exact_slope(slopes)


def test_a_warp_is_scipys(rng: np.random.Generator) -> None:
    x = _x(rng, reach=3.0)
    made = Warp(GRID, 2, "float64")(x)
    places = np.indices(GRID.shape) + x["displacement"] / np.array(GRID.spacing)[:, None, None, None]
    for warped, place in zip(made, places, strict=True):
        wide = np.pad(x["volume"], 2)
        expected = map_coordinates(wide, place + 2, order=1, mode="constant", prefilter=False)
        np.testing.assert_allclose(warped, expected, atol=1e-12)


def test_what_is_no_place_is_nothing(rng: np.random.Generator) -> None:
    x = _x(rng)
    x["displacement"][0, 1, 2, 3, 4], x["displacement"][1, 0, 0, 0, 0] = np.nan, np.inf
    value, jacobian = Warp(GRID, 2, "float64").linearize(x)
    back = jacobian.adjoint(np.ones_like(value))
    assert value[0, 2, 3, 4] == 0 and value[1, 0, 0, 0] == 0 and np.isfinite(value).all()
    assert all(np.isfinite(b).all() for b in back.values())
    with pytest.raises(ValueError, match="displacement"):
        Warp(GRID, 3, "float64")(x)


def test_free_form_fields(rng: np.random.Generator) -> None:
    A = FreeForm((4, 5, 6), GRID.shape, (2, 3), "float64")
    assert check_adjoint(A, rng) < 1e-13
    np.testing.assert_allclose(A(np.ones(A.domain.shape)), 1, rtol=1e-13)
    ramp = np.broadcast_to(np.arange(6.0) - 1, A.domain.shape)  # cubic splines keep straight lines
    expected = (np.arange(9) + 0.5) / 9 * 3
    np.testing.assert_allclose(A(np.ascontiguousarray(ramp))[0, 0, 0, 0], expected, atol=1e-12)
    with pytest.raises(ValueError, match="at least 4"):
        FreeForm((3, 5, 6), GRID.shape)


def test_each_view_sees_its_time(rng: np.random.Generator) -> None:
    from tomodiff.geometry import ParallelBeam
    from tomodiff.projectors import XRay

    A = XRay(GRID, ParallelBeam(np.linspace(0, 3, 5), (6, 9), 1.0), dtype="float64")
    D = Dynamic(A, [1, 0, 1, 3, 0])
    x = random_element(D.domain, rng)
    assert D.domain.shape == (4, *GRID.shape) and check_adjoint(D, rng) < 1e-13
    for view, t in enumerate(D.times):
        np.testing.assert_allclose(D(x)[view], A[[view]](x[t])[0], rtol=1e-12)
    np.testing.assert_array_equal(D[1:4](x), D(x)[1:4])
    for bad, message in (([0, 1], "one per view"), ([0.5] * 5, "whole"), ([0, 0, 0, 0, -1], "from 0")):
        with pytest.raises(ValueError, match=message):
            Dynamic(A, bad)
    with pytest.raises(ValueError, match="to 1, got 0 to 3"):
        Dynamic(A, [1, 0, 1, 3, 0], 2)


def test_a_chain_of_motion_and_projection(rng: np.random.Generator) -> None:
    field = FreeForm((4, 4, 4), GRID.shape, (2, 3), "float64")
    moving = Plugged(Warp(GRID, 2, "float64"), "displacement", field, "knots")
    assert moving.linear_in == frozenset()
    x = {"volume": rng.standard_normal(GRID.shape), "knots": 0.3 + 0.1 * rng.random(field.domain.shape)}
    assert check_adjoint(moving.linearize(x)[1], rng) < 1e-13
