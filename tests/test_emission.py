"""Emission and absorption along rays: closed forms, slopes, and volumes from images that another model made."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from tests.toys import exact_slope
from tomodiff.array import to_numpy
from tomodiff.core import check_adjoint, check_gradient
from tomodiff.geometry import Grid, ParallelBeam
from tomodiff.objective import L2, Gaussian, NonNegative
from tomodiff.objective.differences import Differences
from tomodiff.projectors.emission import EmissionProjection, EmissionRays
from tomodiff.solvers import Cgls, Fista, solve

GRID = Grid((5, 6, 7), (0.9, 1.0, 1.1), (0.2, -0.1, 0.3))
ROUGHNESS = 5.0
"""Weight of the squared differences between voxels, in units of the squared residuals."""
Inputs = dict[str, np.ndarray]


def around(n: int, rng: np.random.Generator, away: float = 12.0) -> tuple[np.ndarray, np.ndarray]:
    """Origins all around, and directions of length one towards places near the middle."""
    origins = rng.normal(size=(n, 3))
    origins *= away / np.linalg.norm(origins, axis=1, keepdims=True)
    directions = rng.uniform(-2, 2, (n, 3)) - origins
    return origins, directions / np.linalg.norm(directions, axis=1, keepdims=True)


def inputs(A: EmissionRays, rng: np.random.Generator) -> Inputs:
    """A point in the domain, in float64."""
    bands, rays = A.range.shape
    origins, directions = around(rays, rng)
    made = {"emission": rng.random((bands, *A.grid.shape)), "origins": origins, "directions": directions}
    made["background"] = rng.random((bands, rays))
    return made | ({"absorption": 0.3 * rng.random(A.grid.shape)} if A.absorbing else {})


@pytest.mark.parametrize("absorbing", [True, False])
def test_adjoints(absorbing: bool, rng: np.random.Generator, xp: ModuleType) -> None:
    A = EmissionRays(GRID, 40, 2, absorbing, dtype="float64")
    x = {name: xp.asarray(a) for name, a in inputs(A, rng).items()}
    value, jacobian = A.linearize(x)
    assert check_adjoint(jacobian, rng, xp=xp) < 1e-13
    assert bool((A(x) == value).all())
    dark = xp.zeros(A.range.shape)
    fixed = A.fix(**{n: a for n, a in x.items() if n not in ("emission", "background")}, background=dark)
    assert isinstance(fixed, EmissionProjection) and check_adjoint(fixed, rng, xp=xp) < 1e-13
    np.testing.assert_allclose(to_numpy(fixed(x["emission"])), to_numpy(A({**x, "background": dark})), rtol=1e-13)


def test_slopes_in_volumes_and_background(rng: np.random.Generator) -> None:
    A = EmissionRays(GRID, 30, 2, dtype="float64", extinction=(1.0, 1.7))
    x = inputs(A, rng)
    one = {**x, "absorption": 1.7 * x["absorption"]} | {name: x[name][1:] for name in ("emission", "background")}
    alone = EmissionRays(GRID, 30, 1, dtype="float64")(one)
    np.testing.assert_allclose(A(x)[1:], alone, rtol=1e-12)
    data = A(x) + 0.1 * rng.normal(size=A.range.shape)
    fixed = A.fix(origins=x["origins"], directions=x["directions"])
    point = {name: x[name] for name in ("emission", "absorption", "background")}
    exact_slope(check_gradient(Gaussian(data) @ fixed, point, rng, steps=(1e-2, 1e-3, 1e-4)))


def test_slopes_as_rays_move(rng: np.random.Generator) -> None:
    """Volumes without kinks: a product of parabolas is trilinear nowhere, so a volume that is linear in each coordinate
    and rays that stay inside of it are taken."""
    grid = Grid((9, 9, 9), 1.0)
    z, y, x = np.meshgrid(*[np.arange(9.0) - 4] * 3, indexing="ij")
    A = EmissionRays(grid, 6, 1, step=0.25, dtype="float64")
    origins = rng.uniform(-1, 1, (6, 3))
    directions = rng.normal(size=(6, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    ramp = {"emission": (2 + 0.1 * x - 0.2 * y + 0.15 * z)[None], "absorption": 0.2 + 0.01 * x + 0.02 * y - 0.01 * z}
    seen = ramp | {"origins": origins, "directions": directions, "background": np.zeros((1, 6))}
    jacobian = A.linearize(seen)[1]
    for name in ("origins", "directions"):
        change = rng.normal(size=(6, 3))
        for h in (1e-4, 1e-5):
            ahead, behind = (A({**seen, name: seen[name] + s * h * change}) for s in (1, -1))
            slope = jacobian.forward({k: change if k == name else np.zeros_like(v) for k, v in seen.items()})
            inside = np.abs(slope[0]) > 0
            # at the rim, where the volume ends, samples meet the fall to zero: there are kinks, of the size of one step
            difference = np.abs((ahead - behind) / (2 * h) - slope)[0][inside]
            assert np.median(difference / np.abs(slope[0][inside])) < 1e-5


def slab(thickness: int) -> tuple[EmissionRays, Inputs]:
    """Along z through a block that is `thickness` voxels thick, in the middle of a larger volume."""
    grid = Grid((40, 9, 9), 0.5)
    A = EmissionRays(grid, 1, 1, step=0.05, dtype="float64")
    block = np.zeros(grid.shape)
    block[20 - thickness // 2 : 20 + thickness // 2] = 1
    rays = {"origins": np.array([[0.0, 0.0, -30.0]]), "directions": np.array([[0.0, 0.0, 1.0]])}
    return A, {"emission": block[None], "absorption": block, "background": np.zeros((1, 1)), **rays}


@pytest.mark.parametrize("kappa", [1e-5, 0.02, 1.0, 4.0])
def test_a_block_that_glows_and_absorbs(kappa: float) -> None:
    """I = j / kappa (1 - exp(-kappa L)) + background exp(-kappa L) where both share a profile: its ends fall over a
    voxel, which changes nothing."""
    A, x = slab(10)
    x["emission"], x["absorption"], x["background"] = 3 * x["emission"], kappa * x["absorption"], np.array([[7.0]])
    length = 10 * 0.5
    expected = 3 / kappa * -np.expm1(-kappa * length) + 7 * np.exp(-kappa * length)
    np.testing.assert_allclose(A(x), expected, rtol=2e-6)


def test_an_eye_inside_sees_what_is_ahead() -> None:
    A, x = slab(20)
    x["absorption"] = 0 * x["absorption"]
    x["origins"] = np.array([[0.0, 0.0, 0.0]])  # the middle of the block, ten voxels of half a mm from its ends
    np.testing.assert_allclose(A(x), 5.0, rtol=1e-9)
    x["directions"] = -x["directions"]
    np.testing.assert_allclose(A(x), 5.0, rtol=1e-9)
    x["origins"] = np.array([[50.0, 0.0, 0.0]])
    assert A(x) == 0


def test_single_precision_is_close(rng: np.random.Generator, xp: ModuleType) -> None:
    A, B = (EmissionRays(GRID, 200, 2, dtype=t) for t in ("float64", "float32"))
    x = inputs(A, rng)
    value, jacobian = A.linearize(x)
    single = {name: xp.asarray(a.astype(np.float32)) for name, a in x.items()}
    close, its = B.linearize(single)
    np.testing.assert_allclose(to_numpy(close), value, rtol=2e-5)
    g = rng.random(A.range.shape)
    pulled, exact = its.adjoint(xp.asarray(g.astype(np.float32))), jacobian.adjoint(g)
    for name in ("emission", "absorption", "background"):
        assert np.linalg.norm(to_numpy(pulled[name]) - exact[name]) < 1e-5 * np.linalg.norm(exact[name]), name


def blobs(p: np.ndarray) -> np.ndarray:
    """Radiance per mm at places (..., 3): three soft sources, the strongest off the axis."""
    sources = (((3.0, -2.0, 1.0), 2.2, 1.0), ((-4.0, 2.0, -2.0), 2.6, 0.6), ((0.0, 5.0, 3.0), 2.0, 0.8))
    return sum(a * np.exp(-((p - c) ** 2).sum(-1) / (2 * s * s)) for c, s, a in sources)


def body(p: np.ndarray) -> np.ndarray:
    """Attenuation per mm: a soft-edged ellipsoid with a denser core."""
    r = np.sqrt((p[..., 0] / 10) ** 2 + (p[..., 1] / 9) ** 2 + (p[..., 2] / 10) ** 2)
    return 0.05 / (1 + np.exp((r - 0.9) / 0.06)) + 0.04 * np.exp(-((p - (2.0, 1.0, 0.0)) ** 2).sum(-1) / 18)


def measured(
    origins: np.ndarray, directions: np.ndarray, kappa: Callable[[np.ndarray], np.ndarray] | None
) -> np.ndarray:
    """The images by a rule of midpoints six times finer than the operator's, of the functions themselves."""
    step = 1 / 12
    total, depth = np.zeros(len(origins)), np.zeros(len(origins))
    for i in range(int(44 / step)):
        p = origins + (i + 0.5) * step * directions
        tau = step * kappa(p) if kappa is not None else np.zeros(len(p))
        total += np.exp(-depth - tau / 2) * blobs(p) * step
        depth += tau
    return total


def camera_rays(views: int, n: int, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """Parallel rays of a collimator that turns about z, starting in front of the body."""
    scan = ParallelBeam(np.linspace(0, 2 * np.pi, views, endpoint=False), (n, n), pixel)
    origins, directions = (np.asarray(a, float).reshape(-1, 3) for a in np.broadcast_arrays(*scan.rays()))
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    middle = origins - (origins * directions).sum(axis=1, keepdims=True) * directions
    return middle - 22 * directions, directions


@pytest.mark.parametrize("absorbing", [True, False])
def test_emission_tomography(absorbing: bool, rng: np.random.Generator) -> None:
    """SPECT with known attenuation, and a flame without: at most 5 % off the truth.  Noise of 0.5 % of the brightest
    ray, and a prior against roughness."""
    grid = Grid((24, 24, 24), 1.0)
    origins, directions = camera_rays(40, 24, 1.0)
    data = measured(origins, directions, body if absorbing else None)
    noisy = data + 0.005 * data.max() * rng.normal(size=data.shape)
    z, y, x = np.meshgrid(*[np.arange(24) - 11.5] * 3, indexing="ij")
    places = np.stack([x, y, z], axis=-1)
    A = EmissionRays(grid, len(data), 1, absorbing)
    known = {"origins": origins, "directions": directions, "background": np.zeros((1, len(data)))}
    if absorbing:
        known["absorption"] = body(places)
    B = A.fix(**{name: a.astype(np.float32) for name, a in known.items()})
    start, truth = np.zeros((1, 24, 24, 24), np.float32), blobs(places)
    f = Gaussian(noisy[None].astype(np.float32)) @ B
    smooth = ROUGHNESS * (L2() @ Differences(start.shape, axes=(1, 2, 3)))
    found = solve(Fista(NonNegative()), f + smooth, start, 40).x[0]
    assert np.linalg.norm(found - truth) < 0.05 * np.linalg.norm(truth)
    if absorbing:  # what is attenuated cannot be had without knowing it
        C = EmissionRays(grid, len(data), 1, False).fix(
            **{name: known[name].astype(np.float32) for name in ("origins", "directions", "background")}
        )
        wrong = solve(Cgls(), Gaussian(noisy[None].astype(np.float32)) @ C, start, 10).x[0]
        assert np.linalg.norm(wrong - truth) > 0.2 * np.linalg.norm(truth)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"EmissionRays: step: expected a length above 0"):
        EmissionRays(GRID, 3, step=0)
    with pytest.raises(ValueError, match=r"EmissionRays: extinction: expected 2 numbers"):
        EmissionRays(GRID, 3, 2, extinction=(1.0,))
    with pytest.raises(ValueError, match=r"EmissionRays: x: expected the names"):
        EmissionRays(GRID, 3)({"emission": np.zeros((1, 5, 6, 7), np.float32)})
