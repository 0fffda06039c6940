"""Levenberg-Marquardt on many small problems, and conjugate gradients on a system known by its action."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tomodiff.errors import Diverged
from tomodiff.solvers.conjugate import NormalCg
from tomodiff.solvers.levenberg import Levenberg, Parameters

N = 40


def rosenbrock(x: Parameters, which: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residuals (10 (b - a^2), c_i - a) with a target c_i of each problem's own: the minimum is (c_i, c_i^2)."""
    a, b = x["p"].T
    c = TARGETS[which]
    r = np.stack([10 * (b - a * a), c - a], 1)
    J = np.zeros((len(a), 2, 2))
    J[:, 0, 0], J[:, 0, 1], J[:, 1, 0] = -20 * a, 10, -1
    return 0.5 * (r * r).sum(1), np.einsum("nri,nr->ni", J, r), np.einsum("nri,nrj->nij", J, J)


TARGETS = np.linspace(0.3, 1.4, N)


def shifted(x: Parameters, step: np.ndarray) -> Parameters:
    return {"p": x["p"] + step}


def test_every_problem_finds_its_own_minimum(rng: np.random.Generator) -> None:
    start = {"p": rng.normal(0, 1, (N, 2))}
    before = start["p"].copy()
    x, value, matrix = Levenberg(200, 1e-20)(rosenbrock, shifted, start)
    assert np.allclose(x["p"], np.stack([TARGETS, TARGETS**2], 1), atol=1e-6)
    assert (value < 1e-12).all() and matrix.shape == (N, 2, 2)
    assert np.array_equal(start["p"], before), "the start was written into"


def test_the_value_never_rises(rng: np.random.Generator) -> None:
    start = {"p": rng.normal(0, 3, (N, 2))}
    everyone = np.arange(N)
    values = [rosenbrock(start, everyone)[0]]
    for steps in (1, 2, 4, 8):
        values.append(Levenberg(steps, 0.0)(rosenbrock, shifted, start)[1])
    assert all((later <= earlier + 1e-12).all() for earlier, later in pairwise(values))


def test_a_step_is_no_longer_than_allowed(rng: np.random.Generator) -> None:
    start = {"p": np.full((N, 2), 50.0)}
    x, _, _ = Levenberg(1, 0.0, largest=(0.5, 2.0))(rosenbrock, shifted, start)
    moved = np.abs(x["p"] - start["p"])
    assert (moved[:, 0] <= 0.5 + 1e-12).all() and (moved[:, 1] <= 2.0 + 1e-12).all() and (moved > 0).any()


def test_a_singular_problem_stays_where_it_is() -> None:
    def flat(x: Parameters, which: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        n = len(which)
        return np.zeros(n), np.zeros((n, 2)), np.zeros((n, 2, 2))

    x, value, _ = Levenberg(5)(flat, shifted, {"p": np.ones((3, 2))})
    assert np.array_equal(x["p"], np.ones((3, 2))) and not value.any()


def test_conjugate_gradients_solve_in_as_many_steps_as_there_are_eigenvalues(rng: np.random.Generator) -> None:
    basis, _ = np.linalg.qr(rng.normal(size=(30, 30)))
    H = basis @ np.diag(np.repeat([1.0, 10.0, 1000.0], 10)) @ basis.T
    truth = rng.normal(size=30)
    states = list(NormalCg(lambda x: H @ x).iterate(H @ truth, np.zeros(30), 3))
    assert np.allclose(states[-1].x, truth, rtol=1e-9, atol=1e-9)
    assert states[-1].metrics["value"] == pytest.approx(-0.5 * truth @ H @ truth, rel=1e-9)


def test_the_exact_preconditioner_needs_one_step(rng: np.random.Generator) -> None:
    scale = rng.uniform(0.1, 100, 30)
    truth = rng.normal(size=30)
    solver = NormalCg(lambda x: scale * x, lambda r: r / scale)
    (state,) = solver.iterate(scale * truth, np.zeros(30), 1)
    assert np.allclose(state.x, truth)


def test_a_stopped_solution_goes_on_to_the_same_bits(rng: np.random.Generator) -> None:
    M = rng.normal(size=(30, 30))
    H, b = M @ M.T + np.eye(30), rng.normal(size=30)
    solver = NormalCg(lambda x: H @ x)
    whole = list(solver.iterate(b, np.zeros(30), 8))[-1]
    half = list(solver.iterate(b, np.zeros(30), 4))[-1]
    assert np.array_equal(list(solver.iterate(b, half, 8))[-1].x, whole.x)


def test_an_indefinite_system_is_refused(rng: np.random.Generator) -> None:
    solver = NormalCg(lambda x: -x)
    with pytest.raises(Diverged, match="expected a positive system"):
        list(solver.iterate(np.ones(3), np.zeros(3), 2))
