"""Volume and errors of geometry sought together: Gauss-Newton on both, from coarse pixels to fine.

What a volume can take up of an error (a shifted axis blurs it, a sample that moved looks moved) is accounted for in
every step, since the unknowns are solved for at once; alternating between the two would creep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tomodiff.array import Array, Element, block_mean, fft_of, inner, namespace, norm, tmap, to_numpy, zeros_like
from tomodiff.core import Functional
from tomodiff.core.curvature import Product
from tomodiff.geometry import Grid, Scan, Vectors
from tomodiff.objective import L2, Gaussian, Of
from tomodiff.projectors.geometry_errors import GeometryErrors, MisalignedXRay, is_turn
from tomodiff.recipes.ct.invert import noise_level
from tomodiff.solvers import GaussNewton, State, resampled
from tomodiff.solvers.measures import unit

WIDEST_PIXELS, WIDEST_TURN = 10.0, np.deg2rad(5.0)
"""Deviations of errors of the whole scan before anything is known: shifts in pixels at the detector, turns."""
VIEW_PIXELS, VIEW_TURN = 2.0, np.deg2rad(0.5)
"""Of errors of single views."""
FORCING = 1e-5
"""Small: the errors' part of a gradient, large at first, must not end an iteration before the volume has followed."""
FEWEST_COLUMNS = 24
"""Of the coarsest detector."""


@dataclass(frozen=True)
class Plan:
    """Which errors are sought, and how thoroughly."""

    once: tuple[str, ...] = ("detector_u", "detector_roll", "axis_tilt")
    each: tuple[str, ...] = ()
    levels: tuple[int, ...] | None = None
    """Bins from coarse to fine; None: halvings down to FEWEST_COLUMNS columns."""
    steps: int = 6
    products: int = 30

    def bins(self, scan: Scan) -> tuple[int, ...]:
        """The bins, from coarse to fine."""
        if self.levels is not None:
            return self.levels
        made = [1]
        while scan.detector_shape[1] // (made[0] * 2) >= FEWEST_COLUMNS:
            made.insert(0, made[0] * 2)
        return tuple(made)


@dataclass(frozen=True)
class Level:
    """The problem at one size of pixels."""

    grid: Grid
    data: Array
    errors: GeometryErrors
    noise: float
    """Deviation of a pixel."""
    spread: float
    """Deviation of a voxel before anything is known."""
    operator: MisalignedXRay = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "operator", MisalignedXRay(self.grid, self.errors, self.data.dtype.name))

    def deviation(self, name: str) -> float:
        """Of an error before anything is known, in mm or radians."""
        once = name in self.errors.once
        if is_turn(name):
            return WIDEST_TURN if once else VIEW_TURN
        pixels = WIDEST_PIXELS if once else VIEW_PIXELS
        return pixels * self.errors.scan.pixel[1]

    def misfit(self, x: Element) -> float:
        """The root mean square of what the projections of x miss."""
        return norm(self.operator(x) - self.data) / self.data.size**0.5

    def objective(self, noise: float) -> Functional:
        """Misfit over the noise, and what is known beforehand."""
        total: Functional = Gaussian(self.data, noise**-2) @ self.operator
        total = total + self.spread**-2 * Of("volume", L2())
        for name in self.errors.domain:
            total = total + self.deviation(name) ** -2 * Of(name, L2())
        return total

    def precondition(self, x: Element, product: Product) -> Product:
        """Near the inverse of the second derivative: a ramp filter in the planes across the axis for the volume, whose
        strength a product tells; for errors the diagonal, which one product per name gives exactly, since views are
        independent of each other where the volume is held; and exactly in the span of the motions of the whole volume
        and of the errors of the whole scan, which nearly do the same."""
        xp = namespace(x["volume"])
        zero = zeros_like(x)
        scales = {}
        for name in self.errors.domain:
            signs = 1.0 - 2.0 * (xp.arange(x[name].size) % 2)  # which no motion of the sample looks like
            scales[name] = 1 / to_numpy(signs * product({**zero, name: signs})[name]).clip(1e-30, None)
        ramp = _ramp(self.grid, xp, x["volume"].dtype)
        rough = xp.asarray(np.random.default_rng(0).standard_normal(self.grid.shape), x["volume"].dtype)
        tried = _filtered(product({**zero, "volume": rough})["volume"], ramp)
        strength = inner(tried, rough) / inner(tried, product({**zero, "volume": tried})["volume"])

        slow = [{**zero, "volume": motion} for motion in motions(x["volume"], self.grid)]
        slow += [{**zero, name: xp.ones(1)} for name in self.errors.once]
        units = [unit(e)[1] for e in slow]
        images = [product(e) for e in units]
        coarse = np.array([[inner(a, b) for b in images] for a in units])
        coarse_inverse = np.linalg.pinv(0.5 * (coarse + coarse.T), rcond=1e-12, hermitian=True)

        def inverse(r: Element) -> Element:
            made = {name: xp.asarray(scales[name]) * r[name] for name in scales}
            made["volume"] = strength * _filtered(r["volume"], ramp)
            for share, e in zip(coarse_inverse @ np.array([inner(e, r) for e in units]), units, strict=True):
                made = tmap(lambda a, b, s=float(share): a + s * b, {n: made[n] for n in e}, e)
            return made

        return inverse


def motions(volume: Array, grid: Grid) -> list[Array]:
    """How a volume changes as it moves along x, y, z and turns about them, per mm and per radian."""
    xp = namespace(volume)
    along = []
    for axis in (2, 1, 0):
        made = xp.zeros_like(volume)
        if volume.shape[axis] > 1:
            inside, before, after = ([slice(None)] * 3 for _ in range(3))
            inside[axis], before[axis], after[axis] = slice(1, -1), slice(None, -2), slice(2, None)
            made[tuple(inside)] = (volume[tuple(after)] - volume[tuple(before)]) / (2 * grid.spacing[axis])
        along.append(made)
    z, y, x = (xp.asarray(a, volume.dtype) for a in grid.axes())
    places = x, y[:, None], z[:, None, None]
    turned = [places[a] * along[b] - places[b] * along[a] for a, b in ((1, 2), (2, 0), (0, 1))]
    return [m for m in along + turned if bool((m != 0).any())]


def _ramp(grid: Grid, xp: Any, dtype: Any) -> Array:
    """|k| (ny, nx // 2 + 1) in cycles per mm, at least that of a quarter of a period over the width of the grid."""
    _, ny, nx = grid.shape
    _, dy, dx = grid.spacing
    radius = np.hypot(np.fft.fftfreq(ny, dy)[:, None], np.fft.rfftfreq(nx, dx))
    return xp.asarray(np.maximum(radius, 0.25 / max(ny * dy, nx * dx)), dtype)


def _filtered(x: Array, ramp: Array) -> Array:
    fft = fft_of(namespace(x))
    made: Array = fft.irfft2(fft.rfft2(x) * ramp, s=x.shape[1:])
    return made.astype(x.dtype, copy=False)


def levels(data: Array, scan: Scan, grid: Grid, plan: Plan) -> Iterator[Level]:
    """The problems from coarse to fine; made one after the other."""
    for b in plan.bins(scan):
        binned, coarse = _binned(data, b), scan.bin(b) if b > 1 else scan
        smaller = Grid([-(-n // b) for n in grid.shape], [d * b for d in grid.spacing], grid.center, grid.rotation)
        errors = GeometryErrors(coarse, plan.once, plan.each)
        yield Level(smaller, binned, errors, noise_of(binned), spread_of(binned, smaller))


def calibrate(
    data: Array,
    scan: Scan,
    grid: Grid,
    plan: Plan,
    each: Callable[[int, Level, State, float], None] = lambda number, level, state, misfit: None,
    onward: tuple[int, int, Element] | None = None,
) -> tuple[dict[str, np.ndarray], Array, Level]:
    """(errors by name, volume, finest level) of line integrals (view, v, u); `each` sees every step: the number of the
    level from the coarsest, it, the state, and the misfit after it.

    onward: number of the level, steps done there and the unknowns then, where an earlier run stopped; it goes on to the
    same bits.
    """
    xp = namespace(data)
    errors: dict[str, np.ndarray] = {}
    volume: Array | None = None
    level: Level | None = None
    for number, level in enumerate(levels(data, scan, grid, plan)):
        if onward is not None and number < onward[0]:
            continue
        start = errors or {name: np.zeros(s.shape) for name, s in level.errors.domain.items()}
        if onward is not None and number == onward[0]:
            done, x = onward[1], onward[2]
        else:
            done, x = 0, {name: xp.asarray(a) for name, a in start.items()}
            blank = volume is None
            x["volume"] = xp.zeros(level.grid.shape, data.dtype) if blank else resampled(volume, level.grid.shape)
        solver = GaussNewton(precondition=level.precondition, products=plan.products, forcing=FORCING)
        state, misfit = State("GaussNewton", x, done), level.misfit(x)
        for _ in range(done, plan.steps):
            state = solver.step(level.objective(max(level.noise, misfit)), state)
            misfit = level.misfit(state.x)
            each(number, level, state, misfit)
            if state.metrics["length"] == 0 or (state.iteration > 1 and _settled(state, x, level)):
                break
            x = state.x
        errors = {name: level.errors.freed(name, to_numpy(state.x[name])) for name in start}
        volume = state.x["volume"]
    assert level is not None and volume is not None
    return errors, volume, level


SETTLED = 0.002
"""A step that moves no error by more than this share of a pixel (at the detector's edge, for turns) is the last."""


def _settled(state: State, before: Element, level: Level) -> bool:
    pixel = level.errors.scan.pixel[1]
    reach = 0.5 * pixel * max(level.errors.scan.detector_shape)
    moved = [
        float(abs(to_numpy(state.x[name] - before[name])).max()) * (reach if is_turn(name) else 1)
        for name in level.errors.domain
    ]
    return max(moved) < SETTLED * pixel


def _binned(data: Array, b: int) -> Array:
    """Means of b x b pixels; what is left over at the far edges is dropped, as `Scan.bin` does."""
    if b == 1:
        return data
    return block_mean(data, b, dtype="float64").astype(data.dtype)


def noise_of(data: Array) -> float:
    """The deviation of the noise, a thousandth of the largest integral at least."""
    return max(noise_level(data), 1e-3 * (float(abs(data).max()) or 1.0))


def spread_of(data: Array, grid: Grid) -> float:
    """The size of voxels: the mean square of the data over the length of rays in the grid."""
    length = 0.5 * (grid.size[1] + grid.size[2])
    return max(norm(data) / data.size**0.5 / length * 4, 1e-12)


def calibrated(scan: Scan, plan: Plan, errors: dict[str, np.ndarray]) -> Vectors:
    """The scan with its errors."""
    frames = GeometryErrors(scan, plan.once, plan.each)(errors)
    return Vectors(frames, scan.detector_shape, scan.kind)
