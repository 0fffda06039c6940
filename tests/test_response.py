"""Gains, exposures, offsets and scatter as named inputs of an operator."""

from __future__ import annotations

import numpy as np
import pytest

from tests.toys import Attenuated, dense, exact_slope
from tomodiff.core import Batched, Plugged, check_adjoint, check_gradient, random_element
from tomodiff.geometry import Grid, ParallelBeam
from tomodiff.objective import L2, Gaussian, Of
from tomodiff.projectors import XRay
from tomodiff.projectors.response import Response
from tomodiff.solvers import GaussNewton, solve

SHAPE = (4, 3, 5)
FACTORS, TERMS = {"exposure": (4, 1, 1), "gain": (1, 3, 5)}, {"scatter": (4, 1, 1), "offset": (1, 3, 5)}


def test_derivatives_and_values(rng: np.random.Generator) -> None:
    A = Response(SHAPE, FACTORS, TERMS, "float64")
    x = random_element(A.domain, rng)
    y, jacobian = A.linearize(x)
    np.testing.assert_allclose(y, x["signal"] * x["exposure"] * x["gain"] + x["scatter"] + x["offset"])
    assert check_adjoint(jacobian, rng) < 1e-13
    exact_slope(check_gradient(A, x, rng, (1e-1, 1e-2, 1e-3)))
    assert Response(SHAPE, FACTORS).linear_in == {"signal"} and not A.linear_in
    for bad, message in (
        ({"factors": {"gain": (2, 1, 1)}}, "broadcasts"), ({"factors": {"signal": SHAPE}}, "names apart"),
        ({"factors": {"a": SHAPE}, "terms": {"a": SHAPE}}, "names apart"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            Response(SHAPE, **bad)  # type: ignore[arg-type]


def test_an_input_that_another_operator_makes(rng: np.random.Generator) -> None:
    inner = dense(rng, (6,), (4,))
    outer = Attenuated(rng.random((5, 4)))
    A = Plugged(outer, "x", inner)
    assert set(A.domain) == {"volume", "depth"} and A.linear_in == {"volume"}
    x = random_element(A.domain, rng)
    np.testing.assert_allclose(A(x), outer({"x": inner(x["volume"]), "depth": x["depth"]}))
    y, jacobian = A.linearize(x)
    assert check_adjoint(jacobian, rng) < 1e-13 and y == pytest.approx(A(x))
    exact_slope(check_gradient(A, x, rng, (1e-1, 1e-2, 1e-3)))
    assert check_adjoint(A.fix(depth=x["depth"]), rng) < 1e-13  # type: ignore[arg-type]
    twice = Plugged(Response((5,), {"gain": (1,)}, dtype="float64"), "signal", A)
    x |= {"gain": np.array([1.5])}
    np.testing.assert_allclose(twice(x), 1.5 * A({k: x[k] for k in A.domain}))
    exact_slope(check_gradient(twice, x, rng, (1e-1, 1e-2, 1e-3)))
    with pytest.raises(ValueError, match="is in"):
        Plugged(outer, "x", dense(rng, (6,), (3,)))
    with pytest.raises(ValueError, match="with an input 'y'"):
        Plugged(outer, "y", inner)
    with pytest.raises(ValueError, match="both have"):
        Plugged(outer, "x", inner, "depth")


def test_batches_are_entries(rng: np.random.Generator) -> None:
    A = dense(rng, (3, 2), (5, 2))
    B = Batched(A, 4)
    x = rng.standard_normal((4, 3, 2))
    np.testing.assert_allclose(B(x)[2], A(x[2]))
    assert check_adjoint(B, rng) < 1e-13
    out = np.empty((4, 5, 2))
    assert B.forward(x, out) is out and out == pytest.approx(B(x))
    np.testing.assert_allclose(B[1:3](x), B(x)[:, 1:3])


def test_exposures_are_found_beside_the_volume(rng: np.random.Generator) -> None:
    """Views whose brightness drifts by a few per cent, known on the average: found to a tenth of that."""
    grid = Grid((1, 16, 16), 1.0)
    X = XRay(grid, ParallelBeam(np.linspace(0, np.pi, 40, endpoint=False), (1, 24), 1.0), dtype="float64")
    A = Plugged(Response(X.range.shape, {"exposure": (40, 1, 1)}, dtype="float64"), "signal", X)
    x, y, _ = grid.coordinates()
    volume = np.exp(-((x - 1) ** 2 + 1.5 * (y + 1) ** 2) / 16)
    exposure = 1 + 0.05 * rng.standard_normal((40, 1, 1))
    data = A({"volume": volume, "exposure": exposure})
    f = Gaussian(data, 1e4) @ A + 1e-2 * Of("volume", L2()) + 1e2 * Of("exposure", L2(np.ones((40, 1, 1))))
    found = solve(GaussNewton(products=80, forcing=1e-6), f, {"volume": 0 * volume, "exposure": 0 * exposure + 1}, 12).x
    scale = exposure.mean() / found["exposure"].mean()
    assert (found["exposure"] * scale - exposure).std() < 0.005
