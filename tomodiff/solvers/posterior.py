"""How certain a result is: the normal approximation of exp(-f) about the minimum of f (Laplace), and draws of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tomodiff.array import Element, inner, namespace, norm, tmap, zeros_like
from tomodiff.core import Functional, weigh
from tomodiff.core.curvature import Product, noise_of, white
from tomodiff.objective import Tilted
from tomodiff.solvers.gauss_newton import GaussNewton, solve_free
from tomodiff.solvers.measures import moved

Advance = Callable[[], None]
PRODUCTS, FORCING = 200, 1e-3
EXHAUSTED = 1e-5
"""What is left of a vector, against the curvature, where a Krylov space is complete to rounding."""


class Posterior:
    """The normal distribution about x whose precision is the second derivative H of f there (`Functional.quadratic`),
    f the negative logarithm of likelihood times prior: exact where f is quadratic.

    solver: its bounds and what is fixed tell which entries are known (an entry at a bound stays there), its products,
    forcing and preconditioner how H^-1 is applied.  Results are arrays in the form of x, real; a complex entry has the
    variance of both its parts together.  TypeError where f has no square root of its second derivative.
    """

    def __init__(
        self,
        f: Functional,
        x: Element,
        solver: GaussNewton = GaussNewton(products=PRODUCTS, forcing=FORCING),  # noqa: B008
    ) -> None:
        _, gradient, self.product = f.quadratic(x)
        self.x, self.solver = x, solver
        self.free = tmap(lambda m: m.real, solver.free(x, gradient))
        self.inverse = solver.inverse(x, self.free, self.product)

    def noise(self, rng: np.random.Generator, product: Product | None = None) -> Element:
        """A random gradient of covariance H, or `product` in place of H, where entries are free."""
        drawn = noise_of(self.product if product is None else product, rng)
        return tmap(lambda g, m: g * m, drawn, self.free)

    def solved(self, b: Element) -> Element:
        """The covariance H^-1 times b."""
        return solve_free(self.product, b, self.free, self.inverse, self.solver.products, self.solver.forcing)[0]

    def draw(self, rng: np.random.Generator) -> Element:
        """One draw, less x: H^-1 of a random gradient, which takes no factorisation (Papandreou and Yuille 2010)."""
        return self.solved(self.noise(rng))

    def perturbed(self, f: Functional, rng: np.random.Generator) -> Tilted:
        """f with a random slope: its minimum, found by any solver, is a draw.  The same as those of `draw` where f is
        quadratic; elsewhere they follow its bends (perturb and optimise; Orieux, Feron and Giovannelli 2012)."""
        return Tilted(f, self.noise(rng))

    def deviation(self, rng: np.random.Generator, draws: int = 64, advance: Advance = lambda: None) -> Element:
        """One standard deviation of each entry, to a part 1/sqrt(2 draws) of it."""
        total = zeros_like(self.free)
        for _ in range(draws):
            total = tmap(lambda t, d: t + abs(d) ** 2, total, self.draw(rng))
            advance()
        return tmap(lambda t: (t / draws) ** 0.5, total)

    def variance(
        self, rng: np.random.Generator, probes: int = 64, steps: int = 0, advance: Advance = lambda: None
    ) -> Element:
        """The variance of each entry, the diagonal of H^-1, by random signs (Hutchinson 1990; Bekas, Kokiopoulou and
        Saad 2007).  What `steps` of `lanczos` know of H^-1 is taken exactly: the signs estimate only the rest."""
        part = self.lanczos(rng, steps)
        total = zeros_like(self.free)
        for _ in range(probes):
            signs = tmap(lambda a, m: m * namespace(a).sign(white(a.real, rng)), self.x, self.free)
            typed = tmap(lambda s, a: s.astype(a.dtype, copy=False), signs, self.x)
            rest = tmap(lambda a, b: a - b, self.solved(typed), part(typed))
            total = tmap(lambda t, s, a: t + s * a.real, total, signs, rest)
            advance()
        return tmap(lambda k, t: k + t / max(probes, 1), part.diagonal(), total)

    def lanczos(self, rng: np.random.Generator, steps: int = 50) -> LowRank:
        """H^-1 within a Krylov space of `steps` vectors (two of the size of x are kept of each, and orthogonal): its
        diagonal is never above the variance (Lanczos 1950; Schneider and Willsky 2001, SIAM J. Sci. Comput. 22, 1840).
        """
        q = tmap(lambda n, m: n * m, white(self.x, rng), self.free)
        q = weigh(q, 1 / norm(q))
        basis: list[Element] = []
        found = LowRank(self.x, [], [])
        below, pivot = 0.0, 1.0
        for _ in range(steps):
            r = tmap(lambda a, m: a * m, self.product(q), self.free)
            share = below / pivot
            pivot = inner(q, r) - share * below
            direction = moved(q, -share, found.directions[-1]) if basis else q
            if not pivot > 0:
                break
            found.directions.append(direction)
            found.pivots.append(pivot)
            basis.append(q)
            for b in [*basis, *basis]:  # twice is enough (Parlett 1998, section 6.9)
                r = moved(r, -inner(b, r), b)
            below = norm(r)
            if not below > EXHAUSTED * pivot:
                break
            q = weigh(r, 1 / below)
        return found


class LowRank:
    """sum of p p' / pivot over directions p."""

    def __init__(self, like: Element, directions: list[Element], pivots: list[float]) -> None:
        self.like, self.directions, self.pivots = like, directions, pivots

    def __call__(self, d: Element) -> Element:
        made = zeros_like(d)
        for p, pivot in zip(self.directions, self.pivots, strict=True):
            made = moved(made, inner(p, d) / pivot, p)
        return made

    def diagonal(self) -> Element:
        """Its diagonal."""
        made = tmap(lambda a: namespace(a).zeros_like(a.real), self.like)
        for p, pivot in zip(self.directions, self.pivots, strict=True):
            made = tmap(lambda t, a: t + abs(a) ** 2, made, weigh(p, pivot**-0.5))
        return made
