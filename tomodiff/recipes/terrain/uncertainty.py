"""Standard deviations of heights and albedo: fits to random noise around the result, as the posterior has them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter

from tomodiff.array import Element, inner, tmap
from tomodiff.recipes.terrain import estimates
from tomodiff.recipes.terrain.preconditioner import TerrainPreconditioner
from tomodiff.recipes.terrain.problem import Problem
from tomodiff.solvers import GaussNewton, Posterior

SMOOTHED = 1.0
"""Elements over which variances are averaged, as a few samples scatter."""
PRODUCTS, TOLERANCE = 80, 0.03


def posterior_of(
    problem: Problem, x: Element, valid: np.ndarray, threshold: float, products: int = PRODUCTS
) -> Posterior:  # fmt: skip
    """The normal approximation of the posterior at x, where entries at a bound stay."""
    inverse = TerrainPreconditioner(problem)
    solver = GaussNewton(problem.bounds(), precondition=inverse, products=products, forcing=TOLERANCE)
    return Posterior(problem.objective(valid, threshold), x, solver)


def deviations(
    problem: Problem, x: Element, valid: np.ndarray, ground: np.ndarray, threshold: float, samples: int,
    rng: np.random.Generator, advance: Callable[[], None] = lambda: None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """name -> one standard deviation of each entry of x, from `samples` draws of the posterior.

    It holds the noise of the images and what is known beforehand; not errors of the model itself.  Noise that was found
    from residuals is set right for what the fit absorbed, one product of the posterior with noise.  Heights are meant
    about the mean of the `ground` (ny, nx) that is lit well, as images say nothing of that mean.
    """
    posterior = posterior_of(problem, x, valid, threshold)
    total = tmap(lambda a: np.zeros(a.shape), x)
    for _ in range(samples):
        d = posterior.draw(rng)
        if "height" in d:
            d["height"] = d["height"] - d["height"][ground].mean()
        total = tmap(lambda t, e: t + np.asarray(e, np.float64) ** 2, total, d)
        advance()
    variance = {n: t / samples for n, t in total.items()}
    scale = 1.0
    assumed = estimates.part_left(x, valid)
    if problem.settings.fit.noise == "auto" and assumed is not None:
        b = posterior.noise(rng, problem.misfit(valid, threshold).quadratic(x)[2])
        scale = assumed / max(1 - inner(b, posterior.solved(b)) / max(int(valid.sum()), 1), assumed)
    wide = {n: gaussian_filter(v, SMOOTHED) if v.shape == problem.scene.shape else v for n, v in variance.items()}
    return {n: np.sqrt(scale * v) for n, v in wide.items()}
