"""Adam at listed voxels: the textbook's steps where a draw has met, rest everywhere else."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from tomodiff.array import to_numpy
from tomodiff.solvers.listed_adam import ListedAdam


def test_steps_are_those_of_the_textbook(rng: np.random.Generator, xp: ModuleType) -> None:
    """Three copies of gradients, of which some voxels have none at all and some are not listed."""
    n, rates, betas = 300, np.array([0.5, 0.1]), (0.8, 0.95)
    x = rng.normal(size=(n, 2))
    listed = np.sort(rng.permutation(n)[:200])
    adam = ListedAdam(xp.asarray(x), xp.zeros((3, n, 2)), listed, betas, least=1e-12)
    mean, square = np.zeros_like(x), np.zeros_like(x)
    for step in range(1, 6):
        gradient = rng.normal(size=(3, n, 2)) * (rng.random((3, n, 1)) < 0.3)
        adam.gradient[...] = xp.asarray(gradient)
        adam.step(rates)
        total = gradient.sum(axis=0)
        met = np.isin(np.arange(n), listed) & (gradient != 0).any(axis=(0, 2))
        mean[met] = betas[0] * mean[met] + (1 - betas[0]) * total[met]
        square[met] = betas[1] * square[met] + (1 - betas[1]) * total[met] ** 2
        x[met] -= rates * (mean[met] / (1 - betas[0] ** step)) / (np.sqrt(square[met] / (1 - betas[1] ** step)) + 1e-12)
        np.testing.assert_allclose(to_numpy(adam.x), x, rtol=1e-10, atol=1e-12)
        left = to_numpy(adam.gradient)
        assert (left[:, listed] == 0).all()  # ready for the next draw
        others = np.setdiff1d(np.arange(n), listed)
        np.testing.assert_array_equal(left[:, others], gradient[:, others])
    assert adam.steps == 5


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="gradient: expected"):
        ListedAdam(np.zeros((4, 2), np.float32), np.zeros((1, 4, 3), np.float32), np.arange(4))
    with pytest.raises(ValueError, match="rates: expected"):
        ListedAdam(np.zeros((4, 2), np.float32), np.zeros((1, 4, 2), np.float32), np.arange(4)).step(np.ones(3))
