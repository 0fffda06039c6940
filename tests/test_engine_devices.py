"""Functionals and solvers on a GPU against what they compute on the CPU."""

from __future__ import annotations

import copy
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.test_calibration import EACH, ONCE, crooked, misses, phantom, taken
from tests.test_functionals import EXAMPLES, GRADIENT, PROX, SHAPE
from tests.test_solvers import SOLVERS, objective, problem
from tests.toys import Dense
from tomodiff.array import to_numpy
from tomodiff.core import Functional, LinearOperator
from tomodiff.geometry import Grid
from tomodiff.objective import L2, Gaussian, TotalGeneralizedVariation
from tomodiff.objective.denoiser import Wiener
from tomodiff.recipes.calibration.joint import Plan, calibrate
from tomodiff.solvers import Posterior, solve

ON_THE_CPU_ALONE = {"Wavelet": "PyWavelets", "LbfgsB": "SciPy"}


def moved(value: Any, xp: ModuleType) -> Any:
    """The same object with its arrays on the device."""
    if isinstance(value, np.ndarray):
        return xp.asarray(value)
    if isinstance(value, list | tuple):
        return type(value)(moved(v, xp) for v in value)
    if isinstance(value, Functional | Wiener) or (isinstance(value, LinearOperator) and not isinstance(value, Dense)):
        made = copy.copy(value)
        for name, inner in vars(value).items():
            object.__setattr__(made, name, moved(inner, xp))
        return made
    return value


def on_a_gpu(xp: ModuleType, name: str = "") -> None:
    if xp is np:
        pytest.skip("compares a GPU with the CPU; `make test-gpu` runs it")
    if name in ON_THE_CPU_ALONE:
        pytest.skip(f"{name} computes by {ON_THE_CPU_ALONE[name]}, on the CPU alone")


@pytest.mark.parametrize("name", EXAMPLES)
def test_functionals(name: str, xp: ModuleType, rng: np.random.Generator) -> None:
    on_a_gpu(xp, name)
    x = 0.3 + 0.5 * rng.standard_normal(SHAPE)
    here, there = EXAMPLES[name], moved(EXAMPLES[name], xp)
    assert there(xp.asarray(x)) == pytest.approx(here(x), rel=1e-10)
    if name in GRADIENT:
        made = there.value_and_grad(xp.asarray(x))[1]
        np.testing.assert_allclose(to_numpy(made), here.value_and_grad(x)[1], rtol=1e-9, atol=1e-11)
    if name in PROX:
        np.testing.assert_allclose(to_numpy(there.prox(xp.asarray(x), 0.3)), here.prox(x, 0.3), rtol=1e-9, atol=1e-11)


def test_generalised_variation(xp: ModuleType, rng: np.random.Generator) -> None:
    on_a_gpu(xp)
    f, x = TotalGeneralizedVariation(iterations=100), rng.standard_normal((5, 6, 7))
    np.testing.assert_allclose(to_numpy(f.prox(xp.asarray(x), 0.3)), f.prox(x, 0.3), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", SOLVERS)
def test_solvers(name: str, xp: ModuleType) -> None:
    on_a_gpu(xp, name)
    A, data, weights, x = problem()
    here = solve(SOLVERS[name], objective(name, A, data, weights), x, 6)
    solver = SOLVERS[name]
    if name == "DiffPir":
        solver = type(solver)(moved(solver.denoiser, xp), solver.sigmas)
    there = solve(solver, objective(name, A, xp.asarray(data), xp.asarray(weights)), xp.asarray(x), 6)
    assert not isinstance(there.x, np.ndarray)
    np.testing.assert_allclose(to_numpy(there.x), here.x, rtol=1e-6, atol=1e-8)
    assert there.metrics["value"] == pytest.approx(here.metrics["value"], rel=1e-6)


def test_posterior(xp: ModuleType) -> None:
    """Draws come from NumPy's generator on either device: the same ones."""
    on_a_gpu(xp)
    A, data, weights, x = problem()
    found = []
    for on in (np, xp):
        f = Gaussian(on.asarray(data), on.asarray(weights)) @ A + 0.1 * L2()
        posterior = Posterior(f, on.asarray(x))
        rng = np.random.default_rng(4)
        found.append([posterior.deviation(rng, 4), posterior.variance(rng, 4, steps=5)])
    for here, there in zip(*found, strict=True):
        np.testing.assert_allclose(to_numpy(there), here, rtol=1e-4)


def test_calibration(xp: ModuleType, rng: np.random.Generator) -> None:
    on_a_gpu(xp)
    scan, truth, true = crooked(32, rng)
    plan = Plan(ONCE, EACH, levels=(2, 1), steps=6, products=20)
    found, volume, _ = calibrate(xp.asarray(taken(phantom(rng), true, rng)), scan, Grid((32,) * 3, 1.5), plan)
    off = misses(scan, truth, found)
    assert off["axis_px"] < 0.05 and off["jitter_px"] < 0.1 and not isinstance(volume, np.ndarray)
