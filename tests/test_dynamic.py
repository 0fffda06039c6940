"""What moves or changes while it is scanned, from exact line integrals of moving ellipsoids to volumes."""

from __future__ import annotations

import numpy as np

from tomodiff.core import Functional, Plugged
from tomodiff.geometry import Grid, ParallelBeam, Scan
from tomodiff.objective import L2, Gaussian, GroupL1, Of
from tomodiff.objective.differences import Differences
from tomodiff.projectors import XRay
from tomodiff.projectors.dynamic import Dynamic
from tomodiff.projectors.warp import FreeForm, Warp
from tomodiff.simulate import Ellipsoids
from tomodiff.simulate.phantoms import rod, sphere
from tomodiff.solvers import Cgls, GaussNewton, Pdhg, solve

GRID = Grid((1, 48, 48), 1.0)
TIMES, GOLDEN = 6, np.pi * (5**0.5 - 1) / 2
NOISE = 0.01


def _scan(n: int) -> Scan:
    return ParallelBeam(GOLDEN * np.arange(n) % (2 * np.pi), (1, 68), 1.0)


def _measured(phantoms: list[Ellipsoids], scan: Scan, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    exact = np.stack([phantoms[t].project(scan[[v]], 2)[0] for v, t in enumerate(times)])
    return (exact + NOISE * rng.standard_normal(exact.shape)).astype("float32")


def _error(x: np.ndarray, truth: np.ndarray) -> float:
    return float(np.linalg.norm(x - truth) / np.linalg.norm(truth))


def _swelling(t: int) -> Ellipsoids:
    """A still body in which a round inclusion grows and another fades."""
    still = rod(19.0, 4.0, 0.02) + rod(3.0, 4.0, 0.02, -9.0, 5.0)
    return still + rod(2.0 + 0.8 * t, 4.0, 0.03, 5.0, -4.0) + rod(3.0, 4.0, 0.03 - 0.005 * t, -4.0, -8.0)


def test_a_prior_along_time(rng: np.random.Generator) -> None:
    """Eight views per time: total variation in space and time sees more than in space alone, and than a still scan."""
    phantoms, scan, times = [_swelling(t) for t in range(TIMES)], _scan(8 * TIMES), np.repeat(np.arange(TIMES), 8)
    truth = np.stack([p.voxelise(GRID) for p in phantoms]).astype("float32")
    data = _measured(phantoms, scan, times, rng)
    A = Dynamic(XRay(GRID, scan), times)
    misfit, start = Gaussian(data, NOISE**-2) @ A, np.zeros(A.domain.shape, "float32")

    def found(axes: tuple[int, ...]) -> float:
        """The error at the better of two weights."""
        prior = GroupL1() @ Differences(A.domain.shape, 1.0, axes)
        return min(_error(solve(Pdhg(), misfit + w * prior, start, 150).x, truth) for w in (200.0, 600.0))

    space, both = found((2, 3)), found((0, 2, 3))
    still = solve(Cgls(), Gaussian(data) @ XRay(GRID, scan), start[0], 12).x
    assert both < 0.9 * space and both < 0.5 * _error(np.broadcast_to(still, truth.shape), truth), (both, space)


def test_motion_found_with_the_volume(rng: np.random.Generator) -> None:
    """A body that shifts and swells: seen as still it is blurred, with its motion known or found it is sharp.

    The motion is affine, so that every state is made of ellipsoids: the data come from no warp.
    """
    body = rod(15.0, 4.0, 0.02) + rod(2.5, 4.0, 0.03, 6.0, 4.0) + rod(2.0, 4.0, -0.02, -5.0, 3.0)
    body = body + sphere((2.0, -7.0, 0.0), 3.0, 0.03)
    shifts, sizes = (0.0, 1.0, 2.0), (1.0, 1.04, 1.08)
    phantoms = [body.scaled(s).moved((d, 0.0, 0.0)) for s, d in zip(sizes, shifts, strict=True)]
    scan, times = _scan(72), np.arange(72) % 3
    data = _measured(phantoms, scan, times, rng)
    truth = phantoms[0].voxelise(GRID).astype("float32")
    misfit = Gaussian(data, NOISE**-2)

    # place in the first state of what a voxel holds later: p + d(p) = (p - shift) / size
    at = np.indices(GRID.shape) - (np.array(GRID.shape)[:, None, None, None] - 1) / 2
    steps = np.array([[0, 0, d] for d in shifts])[..., None, None, None]
    known = (at - steps) / np.array(sizes)[:, None, None, None, None] - at
    known = np.ascontiguousarray(known.astype("float32"))
    dynamic = Dynamic(XRay(GRID, scan), times)
    moving = Plugged(Warp(GRID, 3), "displacement", FreeForm((4, 4, 4), GRID.shape, (3, 3)), "knots")
    start = np.zeros(GRID.shape, "float32")
    smooth = 60.0 * (L2() @ Differences(GRID.shape))

    def quality(f: Functional) -> float:
        return _error(solve(Cgls(), f, start, 15).x, truth)

    still = quality(misfit @ XRay(GRID, scan))
    right = quality(misfit @ (dynamic @ Warp(GRID, 3).fix(displacement=known)))  # type: ignore[operator]
    knots = np.zeros((3, 3, 4, 4, 4), "float32")
    held = np.zeros(knots.shape, bool)
    held[0] = True  # the first state is the one that is asked for
    held[:, 0] = True  # and nothing moves along the axis of a single slice
    f = misfit @ (dynamic @ moving) + Of("volume", smooth) + Of("knots", 3.0 * L2())
    solver = GaussNewton(fixed={"knots": held}, products=40)
    x = solve(solver, f, {"volume": start, "knots": knots}, 5).x
    found = quality(misfit @ (dynamic @ Warp(GRID, 3).fix(displacement=moving.A(x["knots"]))))  # type: ignore[operator]
    assert right < 0.6 * still and found < 1.05 * right, (still, right, found)
