"""Radiance fields: closed forms, exact adjoints, slopes, and what may be left out."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from tests.test_emission import around
from tests.toys import exact_slope
from tomodiff.array import to_numpy
from tomodiff.core import check_adjoint, check_gradient
from tomodiff.geometry import Grid
from tomodiff.objective import Gaussian
from tomodiff.projectors.march import gathered
from tomodiff.projectors.radiance import ACTIVATIONS, RadianceField

GRID = Grid((5, 6, 7), (0.9, 1.0, 1.1), (0.2, -0.1, 0.3))
Inputs = dict[str, np.ndarray]


def inputs(A: RadianceField, rng: np.random.Generator) -> Inputs:
    """A point in the domain, in float64."""
    rays = A.range.shape[0]
    origins, directions = around(rays, rng)
    field = 0.4 * rng.normal(size=A.domain["field"].shape)
    return {"field": field, "origins": origins, "directions": directions, "background": rng.random((rays, 3))}


@pytest.mark.parametrize("degree", [0, 1, 2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_adjoints(degree: int, activation: str, rng: np.random.Generator, xp: ModuleType) -> None:
    for stop in (0.0, 0.3):
        A = RadianceField(GRID, 30, degree, activation, stop=stop, dtype="float64")
        x = {name: xp.asarray(a) for name, a in inputs(A, rng).items()}
        value, jacobian = A.linearize(x)
        assert check_adjoint(jacobian, rng, xp=xp) < 1e-13
        assert bool((A(x) == value).all())
        g = xp.asarray(rng.normal(size=A.range.shape))
        found, gradient = A.gradient(x, value - g)
        into = A.copies(xp)
        added = A.gradient(x, value - g, into)[1]["field"].sum(axis=0)
        for name, exact in (item for item in jacobian.adjoint(g).items() if item[0] in gradient):
            np.testing.assert_allclose(to_numpy(gradient[name]), to_numpy(exact), rtol=0, atol=1e-12)
        np.testing.assert_allclose(to_numpy(added), to_numpy(gradient["field"]), rtol=0, atol=1e-12)
        assert found == pytest.approx(0.5 * float((g**2).sum()))


@pytest.mark.parametrize("activation", ["softplus", "exp"])
def test_slopes_in_field_and_background(activation: str, rng: np.random.Generator) -> None:
    A = RadianceField(GRID, 25, 2, activation, stop=0, dtype="float64")
    x = inputs(A, rng)
    x["field"][..., 1:] *= 0.2  # colours stay above zero, where there is a kink
    data = A(x) + 0.1 * rng.normal(size=A.range.shape)
    assert not A.linear_in  # affine in the background: a field has a colour of its own
    fixed = A.fix(origins=x["origins"], directions=x["directions"])
    point = {name: x[name] for name in ("field", "background")}
    exact_slope(check_gradient(Gaussian(data) @ fixed, point, rng, steps=(1e-2, 1e-3, 1e-4)))


def test_slopes_as_rays_move(rng: np.random.Generator) -> None:
    """Central differences with a step so small that hardly a sample crosses a plane of voxels."""
    A = RadianceField(GRID, 40, 2, stop=0, dtype="float64")
    x = inputs(A, rng)
    jacobian = A.linearize(x)[1]
    for name in ("origins", "directions"):
        change, h = rng.normal(size=(40, 3)), 1e-6
        ahead, behind = (A({**x, name: x[name] + s * h * change}) for s in (1, -1))
        slope = jacobian.forward({k: change if k == name else np.zeros_like(v) for k, v in x.items()})
        difference = np.abs((ahead - behind) / (2 * h) - slope)
        assert np.median(difference) < 1e-8 * np.abs(slope).max()
        assert np.percentile(difference, 90) < 1e-5 * np.abs(slope).max()


@pytest.mark.parametrize("sigma", [0.01, 0.5, 3.0])
def test_a_block_of_one_colour(sigma: float) -> None:
    """C = c (1 - exp(-sigma L)) + background exp(-sigma L), the ends' fall over a voxel included."""
    grid = Grid((40, 9, 9), 0.5)
    A = RadianceField(grid, 1, 1, "relu", step=0.05, stop=0, dtype="float64")
    field = np.zeros((*grid.shape, 13))
    field[15:25, ..., 0] = sigma
    field[..., [1, 5, 9]] = (0.4, -0.2, 0.9)  # the same in all directions
    field[..., [3, 7, 11]] = (0.3, 0.1, -0.2)  # along z
    along = np.array([[0.0, 0.0, 1.0]])
    background = np.array([[0.1, 0.9, 0.4]])
    seen, left = A.seen({"field": field, "origins": -30 * along, "directions": along, "background": background})
    y0, y1 = 0.5 / np.sqrt(np.pi), 0.5 * np.sqrt(3 / np.pi)
    colour = 0.5 + y0 * np.array([0.4, -0.2, 0.9]) + y1 * np.array([0.3, 0.1, -0.2])
    through = np.exp(-sigma * 10 * 0.5)
    np.testing.assert_allclose(seen[0], colour * (1 - through) + through * background[0], rtol=1e-9)
    np.testing.assert_allclose(left, through, rtol=1e-9)


def test_empty_cells_may_be_left_out(rng: np.random.Generator) -> None:
    grid = Grid((12, 12, 12), 1.0)
    plain = RadianceField(grid, 60, 1, "relu", stop=0, dtype="float64")
    x = inputs(plain, rng)
    full = np.zeros(grid.shape, bool)
    full[3:7, 4:9, 5:8] = True
    x["field"][..., 0] = np.where(full, 1 + x["field"][..., 0], -1.0)
    around_full = np.zeros(grid.shape, int)
    around_full[2:8, 3:10, 4:9] = 1
    quick = RadianceField(grid, 60, 1, "relu", stop=0, occupied=around_full, dtype="float64")
    np.testing.assert_allclose(quick(x), plain(x), rtol=1e-13)
    g = rng.normal(size=plain.range.shape)
    for name, gradient in plain.linearize(x)[1].adjoint(g).items():
        np.testing.assert_allclose(quick.linearize(x)[1].adjoint(g)[name], gradient, atol=1e-12)
    nothing = RadianceField(grid, 60, 1, "relu", occupied=np.zeros(grid.shape, int), dtype="float64")
    np.testing.assert_array_equal(nothing(x), x["background"])


def test_a_ray_that_stops_leaves_the_rest_to_the_background(rng: np.random.Generator) -> None:
    whole = RadianceField(GRID, 80, stop=0, dtype="float64")
    x = inputs(whole, rng)
    x["field"][..., 0] += 4
    early = RadianceField(GRID, 80, stop=1e-3, dtype="float64")
    assert 0 < np.abs(early(x) - whole(x)).max() < 2e-3


def test_single_precision_is_close(rng: np.random.Generator, xp: ModuleType) -> None:
    A, B = (RadianceField(GRID, 200, 2, stop=0, dtype=t) for t in ("float64", "float32"))
    x = inputs(A, rng)
    value, jacobian = A.linearize(x)
    close, its = B.linearize({name: xp.asarray(a.astype(np.float32)) for name, a in x.items()})
    np.testing.assert_allclose(to_numpy(close), value, atol=2e-5)
    g = rng.random(A.range.shape)
    pulled, exact = its.adjoint(xp.asarray(g.astype(np.float32))), jacobian.adjoint(g)
    for name in ("field", "background"):
        assert np.linalg.norm(to_numpy(pulled[name]) - exact[name]) < 1e-4 * np.linalg.norm(exact[name]), name


def test_what_cannot_be_is_refused() -> None:
    for given, message in (
        ({"degree": 3}, "degree: expected 0, 1 or 2"),
        ({"activation": "sigmoid"}, "activation: expected one of relu, softplus, exp"),
        ({"step": -1}, "RadianceField: step: expected a length above 0"),
        ({"occupied": np.ones((2, 2, 2))}, "occupied: expected shape"),
    ):
        with pytest.raises(ValueError, match=message):
            RadianceField(GRID, 3, **given)  # type: ignore[arg-type]


def test_copies_are_gathered_and_left_at_zero(rng: np.random.Generator, xp: ModuleType) -> None:
    for count in (1, 3):
        some = rng.normal(size=(count, 5, 301))
        copies = xp.asarray(some.copy())
        np.testing.assert_allclose(to_numpy(gathered(copies)), some.sum(axis=0), rtol=1e-12, atol=1e-14)
        assert not to_numpy(copies).any()
