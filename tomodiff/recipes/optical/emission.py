"""Volumes that give out light, and what absorbs it, from images: flames, nebulae, emission tomography.

The light of an image is `EmissionRays`; what is sought is one map of emission, or one for each band, and one of
absorption, on a grid or all around an axis (`Axial`), at least zero and smooth, by L-BFGS-B.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tomodiff.core import Functional, LinearOperator, Operator, Space
from tomodiff.geometry import Grid
from tomodiff.objective.differences import Differences
from tomodiff.projectors.axial import Axial
from tomodiff.projectors.emission import EmissionRays
from tomodiff.solvers import LbfgsB

INNER = 50
"""Iterations from one memory."""
SMOOTHEST, FINER, LEAST = 10.0, 3.0, 1e-3
"""Weights of smoothness that are tried: the first, by how much it falls, and the last."""
CLOSE = 1.05
"""Residual over noise at which smoothness is let go no further."""
LITTLE = 0.96
"""Residual, over that before, above which less smoothness does not help."""
EVEN = 0.1
"""Added to how many voxels see a node, over the mean, by whose root unknowns are scaled."""
START = 0.05
"""Of the first guess, over the scale of what is sought."""


@dataclass(frozen=True, eq=False)
class Seen:
    """Values (ray,) of one image along rays (ray, 3), in one band.  emission, extinction: what this band's are,
    over what is sought; band: which map of emission it shows."""

    origins: np.ndarray
    directions: np.ndarray
    values: np.ndarray
    emission: float = 1.0
    extinction: float = 1.0
    band: int = 0


@dataclass(frozen=True, eq=False)
class Glow:
    """Volumes emission (band, z, y, x) per length and absorption (z, y, x) per length, or None; images as they are
    seen, in the order of the data, `rms`, what they miss over the data's deviation, and the weight of smoothness."""

    emission: np.ndarray
    absorption: np.ndarray | None
    images: list[np.ndarray]
    rms: float
    smooth: float


class EmissionMisfit(Functional):
    """{"emission" (band, ...), "absorption" (...)} in units of their scales -> half the mean squared residual over the
    data's variance, plus smooth / 2 times the mean of the squared differences between neighbours.

    absorption: volume (z, y, x) that is known, None for none, or "fit".
    """

    def __init__(
        self, grid: Grid, seen: list[Seen], axial: Axial | None, absorption: np.ndarray | str | None, smooth: float
    ) -> None:
        self.seen, self.axial, self.smooth = seen, axial, smooth
        self.fits = isinstance(absorption, str)
        shape = axial.domain.shape if axial is not None else grid.shape
        self.bands = 1 + max(one.band for one in seen)
        values = np.concatenate([one.values for one in seen])
        self.count, self.deviation = values.size, max(float(values.std()), 1e-30)
        depth = max(n * s for n, s in zip(grid.shape, grid.spacing, strict=True)) / 4
        self.scale = {"emission": max(float(np.abs(values).max()), 1e-30) / depth, "absorption": 1 / depth}
        self.domain: dict[str, Space] = {"emission": Space((self.bands, *shape), "float64")}
        if self.fits:
            self.domain["absorption"] = Space(shape, "float64")
        # unknowns are scaled alike: nodes far from the axis are seen in many voxels
        seen_in = np.ones(shape) if axial is None else axial.adjoint(np.ones(grid.shape, np.float32)).astype(np.float64)
        self.even = 1 / np.sqrt(seen_in / seen_in.mean() + EVEN)
        self.differences: LinearOperator = Differences(shape, dtype="float64")
        self.models = [self._model(grid, one, absorption) for one in seen]

    def _model(self, grid: Grid, one: Seen, absorption: np.ndarray | str | None) -> Operator:
        rays = len(one.values)
        A = EmissionRays(grid, rays, 1, absorption is not None, extinction=(one.extinction,))
        fixed = {"origins": one.origins, "directions": one.directions, "background": np.zeros((1, rays))}
        if isinstance(absorption, np.ndarray):
            fixed["absorption"] = absorption
        return A.fix(**{name: np.ascontiguousarray(a, np.float32) for name, a in fixed.items()})

    def volumes(self, x: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Emission (band, z, y, x) and absorption (z, y, x) in single precision, of what is sought."""
        made = {name: (self.scale[name] * self.even * values).astype(np.float32) for name, values in x.items()}
        if self.axial is not None:
            axial = self.axial
            made["emission"] = np.stack([axial.forward(one) for one in made["emission"]])
            made |= {name: axial.forward(made[name]) for name in made if name == "absorption"}
        return made

    def images(self, x: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """What is seen (ray,) in each."""
        volumes = self.volumes(x)
        return [A(self._input(A, volumes, one))[0] for A, one in zip(self.models, self.seen, strict=True)]

    def value_and_grad(self, x: Mapping[str, np.ndarray]) -> tuple[float, dict[str, np.ndarray]]:
        volumes, total = self.volumes(x), 0.0
        g = {name: np.zeros_like(a) for name, a in volumes.items()}
        for A, one in zip(self.models, self.seen, strict=True):
            image, J = A.linearize(self._input(A, volumes, one))
            residual = (image[0] - one.values) / self.deviation
            total += 0.5 * float(residual @ residual) / self.count
            pulled = J.adjoint((residual / self.deviation / self.count)[None].astype(np.float32))
            own = pulled if isinstance(pulled, Mapping) else {"emission": pulled}
            g["emission"][one.band] += one.emission * own["emission"][0]
            if self.fits:
                g["absorption"] += own["absorption"]
        made = {}
        for name, values in x.items():
            parts = [self._back(one) for one in (g[name] if name == "emission" else g[name][None])]
            maps = values if name == "emission" else values[None]
            for part, one in zip(parts, maps, strict=True):
                slopes = self.differences.forward(self.even * one)
                total += 0.5 * self.smooth * float((slopes**2).sum()) / one.size
                part *= self.scale[name]
                part += self.smooth / one.size * self.differences.adjoint(slopes)
                part *= self.even
            made[name] = np.stack(parts) if name == "emission" else parts[0]
        return total, made

    def _input(self, A: Operator, volumes: dict[str, np.ndarray], one: Seen) -> np.ndarray | dict[str, np.ndarray]:
        emitted = np.float32(one.emission) * volumes["emission"][one.band : one.band + 1]
        if not isinstance(A.domain, Mapping):
            return emitted
        return {"emission": emitted, **({"absorption": volumes["absorption"]} if self.fits else {})}

    def _back(self, g: np.ndarray) -> np.ndarray:
        """The gradient in what is sought, from that in a volume."""
        made = g if self.axial is None else self.axial.adjoint(g)
        return made.astype(np.float64)


def fit_emission(
    grid: Grid,
    seen: list[Seen],
    axial: Axial | None = None,
    absorption: np.ndarray | str | None = None,
    smooth: float | None = None,
    noise: float = 0.0,
    iterations: int = 200,
    advance: Callable[[float], object] = lambda rms: None,
) -> Glow:
    """The volumes that images show; see `EmissionMisfit`.

    smooth: None for the most with which the images' residual is that of their noise (its standard deviation), to
    `CLOSE`, or does not fall by much any more (Morozov's discrepancy principle).  advance is called with the rms after
    each `INNER` iterations.
    """
    f = EmissionMisfit(grid, seen, axial, absorption, SMOOTHEST if smooth is None else smooth)
    start = {name: np.broadcast_to(START / f.even, space.shape).copy() for name, space in f.domain.items()}
    solver = LbfgsB(bounds={name: (0.0, None) for name in start}, inner=INNER, pairs=20)
    state, before = solver.start(f, start), np.inf
    while smooth is None:
        state = solver.step(f, solver.start(f, state.x))
        rms = _rms(f, state.x)[1]
        advance(rms)
        if rms <= CLOSE * noise / f.deviation or rms > LITTLE * before or f.smooth < LEAST:
            break
        before, f.smooth = rms, f.smooth / FINER
    for _ in range(-(-iterations // INNER)):
        state = solver.step(f, state)
        advance(_rms(f, state.x)[1])
        if not state.metrics["length"]:
            break
    volumes = f.volumes(state.x)
    images, rms = _rms(f, state.x)
    known = absorption if isinstance(absorption, np.ndarray) else None
    return Glow(volumes["emission"], volumes.get("absorption", known), images, rms, f.smooth)


def noise_of(picture: np.ndarray) -> float:
    """The standard deviation of noise that differs from pixel to pixel (row, column), NaN where nothing was measured
    (Immerkaer 1996, CVIU 64, 300, by the median)."""
    rows = picture[:-2] - 2 * picture[1:-1] + picture[2:]
    both = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    known = both[np.isfinite(both)]
    return float(np.median(np.abs(known))) / 0.6745 / 6 if known.size else 0.0


def _rms(f: EmissionMisfit, x: Mapping[str, np.ndarray]) -> tuple[list[np.ndarray], float]:
    """The images, and what they miss, over the data's deviation."""
    images = f.images(x)
    square = sum(float(((image - one.values) ** 2).sum()) for image, one in zip(images, f.seen, strict=True))
    return images, float(np.sqrt(square / f.count)) / f.deviation
