"""Standard deviations of heights and albedo: fits to random noise around the result, as the posterior has them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter

from tomodiff.array import Element, inner, tmap
from tomodiff.recipes.terrain import estimates
from tomodiff.recipes.terrain.preconditioner import TerrainPreconditioner
from tomodiff.recipes.terrain.problem import Problem
from tomodiff.solvers.gauss_newton import GaussNewton, solve_free

SMOOTHED = 1.0
"""Elements over which variances are averaged, as a few samples scatter."""
PRODUCTS, TOLERANCE = 80, 0.03


class Posterior:
    """Draws from the posterior's normal approximation at x, less x (Papandreou and Yuille 2010: perturb and solve)."""

    def __init__(
        self, problem: Problem, x: Element, valid: np.ndarray, threshold: float, rng: np.random.Generator,
        products: int = PRODUCTS,
    ) -> None:  # fmt: skip
        _, gradient, self.product = problem.objective(valid, threshold).quadratic(x)
        self.perturbed = problem.perturbed(x, valid, threshold, rng)
        self.inverse = TerrainPreconditioner(problem)(x, self.product)
        self.free = GaussNewton(bounds=problem.bounds()).free(x, gradient)
        self.products = products

    def draw(self) -> Element:
        """One draw."""
        return self.solved(self.noise())

    def noise(self, priors: bool = True) -> Element:
        """A gradient as the noise of images and, unless told otherwise, priors make it."""
        return tmap(lambda g, m: g * m, self.perturbed(priors), self.free)

    def solved(self, b: Element) -> Element:
        """The posterior's covariance times b."""
        return solve_free(self.product, b, self.free, self.inverse, self.products, TOLERANCE)[0]


def deviations(
    problem: Problem, x: Element, valid: np.ndarray, ground: np.ndarray, threshold: float, samples: int,
    rng: np.random.Generator, advance: Callable[[], None] = lambda: None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """name -> one standard deviation of each entry of x, from `samples` draws of the posterior.

    It holds the noise of the images and what is known beforehand; not errors of the model itself.  Noise that was found
    from residuals is set right for what the fit absorbed, one product of the posterior with noise.  Heights are meant
    about the mean of the `ground` (ny, nx) that is lit well, as images say nothing of that mean.
    """
    posterior = Posterior(problem, x, valid, threshold, rng)
    total = tmap(lambda a: np.zeros(a.shape), x)
    for _ in range(samples):
        d = posterior.draw()
        if "height" in d:
            d["height"] = d["height"] - d["height"][ground].mean()
        total = tmap(lambda t, e: t + np.asarray(e, np.float64) ** 2, total, d)
        advance()
    variance = {n: t / samples for n, t in total.items()}
    scale = 1.0
    assumed = estimates.part_left(x, valid)
    if problem.settings.fit.noise == "auto" and assumed is not None:
        b = posterior.noise(priors=False)
        scale = assumed / max(1 - inner(b, posterior.solved(b)) / max(int(valid.sum()), 1), assumed)
    wide = {n: gaussian_filter(v, SMOOTHED) if v.shape == problem.scene.shape else v for n, v in variance.items()}
    return {n: np.sqrt(scale * v) for n, v in wide.items()}
