"""Total generalised variation: its prox against another solver's, its null space, warm starts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import optimize

from tests.toys import dense, matrix_of
from tomodiff.array import Array
from tomodiff.objective import Differences, Gaussian, GroupL1, Strains, TotalGeneralizedVariation, TotalVariation
from tomodiff.solvers import MaxIterations, Pdhg, iterate


def test_the_prox_is_that_of_the_dual_problem(rng: np.random.Generator) -> None:
    """prox(x) = x - D' E' q, where q minimises |x - D' E' q| among |q| <= step ratio, |E' q| <= step at every place:
    solved by SciPy's SLSQP with matrices."""
    shape, spacing, step, ratio = (3, 4), (1.0, 0.5), 0.3, 1.5
    x = rng.standard_normal(shape)
    D, E = Differences(shape, spacing, dtype="float64"), Strains(shape, spacing, "float64")
    d, e = matrix_of(D), matrix_of(E)

    def slack(q: np.ndarray) -> np.ndarray:
        p = (e.T @ q).reshape(2, -1)
        return np.concatenate([step**2 - (p**2).sum(0), (step * ratio) ** 2 - (q.reshape(3, -1) ** 2).sum(0)])

    def jacobian(q: np.ndarray) -> np.ndarray:
        p, n = (e.T @ q).reshape(2, -1), x.size
        of_p = sum((-2 * p[k][:, None] * e.T[k * n : (k + 1) * n] for k in range(2)), np.zeros((n, q.size)))
        of_q = np.zeros((n, q.size))
        for k in range(3):
            of_q[np.arange(n), k * n + np.arange(n)] = -2 * q.reshape(3, -1)[k]
        return np.vstack([of_p, of_q])

    both = d.T @ e.T
    found = optimize.minimize(
        lambda q: 0.5 * ((x.ravel() - both @ q) ** 2).sum(), np.zeros(e.shape[0]),
        jac=lambda q: -both.T @ (x.ravel() - both @ q), method="SLSQP",
        constraints={"type": "ineq", "fun": slack, "jac": jacobian}, options={"maxiter": 500, "ftol": 1e-14},
    )  # fmt: skip
    assert found.success
    made = TotalGeneralizedVariation(spacing, ratio, 20000, 1e-12).prox(x, step)
    np.testing.assert_allclose(made.ravel(), x.ravel() - both @ found.x, atol=2e-5)


def test_the_value_is_the_least_over_fields(rng: np.random.Generator) -> None:
    """Against a smoothed objective that SciPy minimises over w."""
    x = rng.standard_normal((3, 4))
    D, E, eps = Differences(x.shape, dtype="float64"), Strains(x.shape, dtype="float64"), 1e-5
    g = D.forward(x)

    def misfit(w: np.ndarray) -> tuple[float, np.ndarray]:
        w = w.reshape(g.shape)
        a, b = GroupL1(eps=eps).value_and_grad(g - w), GroupL1(eps=eps).value_and_grad(E.forward(w))
        return a[0] + 2 * b[0], (2 * E.adjoint(b[1]) - a[1]).ravel()

    found = optimize.minimize(
        misfit, 0.5 * g.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 20000, "maxfun": 40000}
    )
    assert TotalGeneralizedVariation(ratio=2.0, iterations=20000, accuracy=1e-10)(x) == pytest.approx(
        found.fun, rel=2e-3
    )


def test_tgv_does_not_charge_ramps(rng: np.random.Generator) -> None:
    """A ramp has a total variation but no second one, and noise on it goes."""
    z, y = np.mgrid[:24, :20].astype(float)
    ramp = 0.3 * z - 0.2 * y
    f = TotalGeneralizedVariation(iterations=2000, accuracy=1e-6)
    assert f(ramp) < 1e-3 * TotalVariation()(ramp)
    noisy = ramp + 0.1 * rng.standard_normal(ramp.shape)
    errors = [np.abs(g.prox(noisy, 0.4) - ramp).mean() for g in (f, TotalVariation(iterations=2000))]
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize("shape", [(9,), (5, 6), (4, 5, 6)])
def test_a_warm_start_ends_where_a_cold_one_does(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    x = rng.standard_normal(shape)
    kept = x.copy()
    f = TotalGeneralizedVariation(iterations=5000, accuracy=1e-9)
    z, memory = f.prox_warm(x, 0.3, {})
    again, _ = TotalGeneralizedVariation(iterations=200, accuracy=1e-9).prox_warm(x, 0.3, memory)
    np.testing.assert_allclose(again, z, atol=1e-5)
    np.testing.assert_array_equal(x, kept)
    assert z.dtype == x.dtype and f.prox(x, 0.0) == pytest.approx(x) and f(np.ones(shape)) == 0


def test_a_primal_dual_method_goes_on_from_the_prox_before(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In half of the inner iterations that a prox and a value from nothing take; what it measures is the value."""
    x = np.add.outer(np.linspace(0, 1, 14), np.linspace(1, 0, 11)) + (np.arange(11) > 5)
    A = dense(rng, x.shape, (90,))
    misfit = Gaussian(A.forward(x) + 0.02 * rng.standard_normal(90)) @ A
    rounds, forward = [], Strains.forward

    def counted(self: Strains, w: np.ndarray) -> np.ndarray:
        rounds.append(1)
        return forward(self, w)

    monkeypatch.setattr(Strains, "forward", counted)
    taken = []
    for prior in (TotalGeneralizedVariation(), _Cold()):
        rounds.clear()
        *_, found = iterate(Pdhg(), misfit + 0.05 * prior, np.zeros(x.shape), MaxIterations(60))
        taken.append(len(rounds))
        exact = 0.05 * TotalGeneralizedVariation(iterations=5000, accuracy=1e-8)(found.x)
        assert found.metrics["value"] == pytest.approx(misfit(found.x) + exact, rel=1e-3)
    assert taken[0] < 0.5 * taken[1]


class _Cold(TotalGeneralizedVariation):
    """Which forgets where it ended."""

    def prox_warm(self, x: Array, step: Any, memory: dict[str, Any]) -> tuple[Array, dict[str, Any]]:
        return super().prox_warm(x, step, {})[0], {}


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="expected ratio > 0"):
        TotalGeneralizedVariation(ratio=0.0)
    with pytest.raises(ValueError, match="step: expected a number >= 0"):
        TotalGeneralizedVariation().prox(np.zeros((3, 3)), -1.0)
    with pytest.raises(ValueError, match="spacing: expected 2 numbers > 0"):
        TotalGeneralizedVariation((1.0, 0.0)).prox(np.zeros((3, 3)), 1.0)
