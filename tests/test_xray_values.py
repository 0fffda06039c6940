"""The X-ray projectors' numbers: against plain NumPy, against themselves on other paths, and against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests import reference
from tests.xray_problems import (
    KINDS,
    Problem,
    common_problems,
    exact_problems,
    random_problem,
    steep_problems,
)
from tomodiff.geometry import ConeBeam, Grid, Helix, Laminography, ParallelBeam, Scan
from tomodiff.projectors import XRay
from tomodiff.simulate import Ellipsoids

ROUNDING = 1e-9
"""Bound on differences in double precision, relative to the largest value: coordinates reach thousands of voxels."""

SINGLE = 1e-5
"""Bound on |A32 x - A64 x| / |A64 x|: coordinates are rounded to a few millionths of a voxel."""

Array = np.ndarray
every_kind = pytest.mark.parametrize("kind", KINDS)


def over(problems: dict[str, Problem]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("problem", problems.values(), ids=problems.keys())


def tiny_problems(kind: str, count: int, reach: float = 3.0, rays: int = 300) -> list[tuple[int, Problem]]:
    """The first random problems of a kind that have few enough rays and voxels for the twins, with their seeds."""
    found: list[tuple[int, Problem]] = []
    for seed in range(list(KINDS).index(kind), 10_000, len(KINDS)):
        grid, scan = random_problem(seed, reach)
        if len(scan) * np.prod(scan.detector_shape) <= rays and np.prod(grid.shape) <= 2 * rays:
            found.append((seed, (grid, scan)))
        if len(found) == count:
            return found
    raise AssertionError(f"too few small problems of kind {kind}")


def difference(a: Array, b: Array, where: Array | bool = True) -> float:
    """The largest difference, relative to the largest value."""
    scale = np.abs(b).max()
    return float(np.abs(a - b).max(where=where, initial=0.0) / scale) if scale else float(np.abs(a).max())


# ---- against plain NumPy


@every_kind
@pytest.mark.parametrize("path", ["auto", "general"])
def test_every_weight_is_that_of_the_twin_and_of_the_transpose(kind: str, path: str) -> None:
    for seed, (grid, scan) in tiny_problems(kind, 3, rays=80):
        A = XRay(grid, scan, dtype="float64", path=path)
        n, m = A.domain.size, A.range.size
        matrix = A.forward(np.eye(n).reshape(n, *grid.shape)).reshape(n, m)
        transpose = A.adjoint(np.eye(m).reshape(m, *A.range.shape)).reshape(m, n)
        assert np.abs(matrix - transpose.T).max() <= ROUNDING * matrix.max(), f"random_problem({seed})"
        assert matrix.min() >= -ROUNDING
        untied = ~reference.ties(grid, scan)
        for voxel in range(0, n, max(1, n // 5)):
            unit = np.eye(1, n, voxel).reshape(grid.shape)
            twin = reference.joseph(unit, grid, scan)
            error = np.abs(matrix[voxel].reshape(twin.shape) - twin)[untied]
            assert error.max(initial=0) <= ROUNDING * max(matrix.max(), 1), f"random_problem({seed})"


@every_kind
@pytest.mark.parametrize("path", ["auto", "general"])
@pytest.mark.parametrize("reach", [3.0, 20.0])
def test_line_integrals_are_those_of_the_twin(kind: str, path: str, reach: float, rng: np.random.Generator) -> None:
    for seed, (grid, scan) in tiny_problems(kind, 12, reach):
        x = rng.standard_normal(grid.shape)
        twin = reference.joseph(x, grid, scan)
        ours = XRay(grid, scan, dtype="float64", path=path).forward(x)
        assert difference(ours, twin, ~reference.ties(grid, scan)) <= ROUNDING, f"random_problem({seed}, {reach})"


@every_kind
def test_footprints_are_those_of_the_twin(kind: str, rng: np.random.Generator) -> None:
    for seed, (grid, scan) in tiny_problems(kind, 3):
        if scan.radius is not None:
            continue  # there, the kernel takes a pixel's edges along the tangent and the twin along the arc
        x = rng.standard_normal(grid.shape)
        twin = reference.footprint(x, grid, scan)
        ours = XRay(grid, scan, model="footprint", dtype="float64").forward(x)
        assert difference(ours, twin, ~reference.ties(grid, scan)) <= ROUNDING, f"random_problem({seed})"


def test_footprints_on_a_curved_detector_are_nearly_those_of_the_twin(rng: np.random.Generator) -> None:
    grid = Grid((5, 9, 8), (1.0, 0.9, 1.1))
    scan = ConeBeam([0.3, 1.4], 40.0, 80.0, (5, 9), 2.0, curved=True)
    x = rng.random(grid.shape)
    sagitta = (2.0 / 80.0) ** 2 / 8  # of a pixel's arc over its chord, relative to its width
    ours = XRay(grid, scan, model="footprint", dtype="float64").forward(x)
    assert difference(ours, reference.footprint(x, grid, scan)) <= 10 * sagitta


@over({**exact_problems(), **steep_problems()})
@pytest.mark.parametrize("path", ["auto", "general"])
def test_rays_through_edges_and_from_odd_places_are_those_of_the_twin(
    problem: Problem, path: str, rng: np.random.Generator
) -> None:
    grid, scan = problem
    x = rng.standard_normal(grid.shape)
    ours, tied = XRay(grid, scan, dtype="float64", path=path).forward(x), reference.ties(grid, scan)
    assert difference(ours, reference.joseph(x, grid, scan), ~tied) <= ROUNDING
    # a tied ray has one of two or three major axes, and which one is a matter of rounding
    steps = np.abs(reference.ray_lines(grid, scan)[1])
    choices = []
    for axis in range(3):
        longest = steps[..., axis] > steps.max(axis=-1) * (1 - 1e-5)
        axes = np.where(longest, axis, reference.major_axes(steps))
        choices.append(np.abs(ours - reference.joseph(x, grid, scan, axes)))
    assert np.min(choices, axis=0)[tied].max(initial=0) <= ROUNDING * max(1.0, np.abs(ours).max())


# ---- against themselves


@every_kind
def test_the_fast_path_is_the_general_path(kind: str, rng: np.random.Generator) -> None:
    for seed in range(list(KINDS).index(kind), 30 * len(KINDS), len(KINDS)):
        grid, scan = random_problem(seed)
        fast, general = (XRay(grid, scan, dtype="float64", path=path) for path in ("auto", "general"))
        x, y = rng.standard_normal(grid.shape), rng.standard_normal(fast.range.shape)
        tied = reference.ties(grid, scan)
        y[tied] = 0
        assert difference(fast.forward(x), general.forward(x), ~tied) <= ROUNDING, f"random_problem({seed})"
        assert difference(fast.adjoint(y), general.adjoint(y)) <= ROUNDING, f"random_problem({seed})"


def test_fast_paths_are_taken_where_they_should_be() -> None:
    walks = {name: XRay(*problem).walk for name, problem in common_problems().items()}
    tilted = ("tilted parallel", "rolled cone", "rolled curved cone", "cone laminography", "turned grid")
    assert {name for name, walk in walks.items() if walk == "rays"} == {*tilted, "steep laminography", "steep cone"}
    assert walks["rows"] in ("rows", "slices")
    assert {XRay(*problem, path="general").walk for problem in common_problems().values()} == {"rays"}


@over(common_problems())
@pytest.mark.parametrize("walk", ["joseph auto", "joseph general", "footprint auto"])
def test_single_precision_is_double_precision_to_rounding(
    problem: Problem, walk: str, rng: np.random.Generator
) -> None:
    model, path = walk.split()
    double, single = (XRay(*problem, model=model, path=path, dtype=dtype) for dtype in ("float64", "float32"))
    x, y = rng.random(double.domain.shape, "float32"), rng.random(double.range.shape, "float32")
    untied = ~reference.ties(*problem)
    y *= untied
    forward, adjoint = double.forward(x.astype(float)), double.adjoint(y.astype(float))
    assert np.linalg.norm((single.forward(x) - forward)[untied]) <= SINGLE * np.linalg.norm(forward)
    assert np.linalg.norm(single.adjoint(y) - adjoint) <= SINGLE * np.linalg.norm(adjoint)


@pytest.mark.parametrize("walk", ["joseph auto", "joseph general", "footprint auto"])
@pytest.mark.parametrize("distance", [1e3, 1e4, 1e5, 1e6])
def test_single_precision_bears_a_distant_source(distance: float, walk: str, rng: np.random.Generator) -> None:
    """As in nano-CT, where the source is 10^5 voxels away."""
    model, path = walk.split()
    scan = ConeBeam([0.1, 0.9, 2.3], distance, 1.5 * distance, (12, 20), 1.4, detector_tilt=(0.02, 0.0, 0.0))
    double, single = (XRay(Grid((9, 16, 15)), scan, model=model, path=path, dtype=t) for t in ("float64", "float32"))
    x = rng.random(double.domain.shape, "float32")
    exact = double.forward(x.astype(float))
    assert np.linalg.norm(single.forward(x) - exact) <= SINGLE * np.linalg.norm(exact)


# ---- against closed forms


def box_chords(grid: Grid, scan: Scan, grown: float = 0.0) -> Array:
    """How much of each ray, in mm, lies in the grid's box with its faces moved outwards by `grown` voxels."""
    origins, directions = scan.rays()
    affine = grid.index_from_world
    o, d = origins @ affine[:, :3].T + affine[:, 3], directions @ affine[:, :3].T
    faces = np.array([[-0.5 - grown] * 3, [n - 0.5 + grown for n in grid.shape[::-1]]])
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.stack([(face - o) / d for face in faces])
        outside = ((o < faces[0]) | (o > faces[1])) & (d == 0)
    t = np.where(d == 0, np.array([-np.inf, np.inf]).reshape(2, 1, 1, 1, 1), t)
    first, last = t.min(axis=0).max(axis=-1), t.max(axis=0).min(axis=-1)
    first = np.maximum(first, 0) if scan.kind == "cone" else first
    chords: Array = np.where(outside.any(axis=-1), 0.0, np.maximum(last - first, 0.0))
    return chords


@over({**common_problems(), **exact_problems(), **steep_problems()})
@pytest.mark.parametrize("walk", ["joseph auto", "joseph general", "footprint auto"])
def test_a_constant_volume_has_the_box_as_its_chord(problem: Problem, walk: str) -> None:
    grid, scan = problem
    model, path = walk.split()
    ours = XRay(grid, scan, model=model, path=path, dtype="float64").forward(np.ones(grid.shape))
    steps = np.abs(reference.ray_lines(grid, scan)[1])
    voxel = 1 / steps.max(axis=-1)  # the ray's length from one grid plane to the next
    assert (ours >= 0).all()
    assert (ours <= np.linalg.norm(grid.size) + voxel).all()
    if model == "joseph":  # the ramp of the interpolation ends half a voxel from the face
        assert (ours <= box_chords(grid, scan, 0.5) + voxel).all()
        assert (ours >= box_chords(grid, scan, -0.5) - voxel).all()
        assert not ours[box_chords(grid, scan, 0.5 + 1e-6) == 0].any()


@pytest.mark.parametrize("model", ["joseph", "footprint"])
def test_axis_aligned_rays_measure_exactly_the_box(model: str) -> None:
    grid = Grid((4, 6, 5), (0.7, 1.3, 0.9))
    scan = ParallelBeam(np.deg2rad([0, 90, 180, 270]), (3, 3), 0.5)
    integrals = XRay(grid, scan, model=model, dtype="float64").forward(np.ones(grid.shape))
    expected = np.array([6 * 1.3, 5 * 0.9, 6 * 1.3, 5 * 0.9])[:, None, None]
    assert_allclose(integrals, np.broadcast_to(expected, integrals.shape), rtol=1e-12)


def closed_form_scans(n: int, pixel: float) -> dict[str, Scan]:
    """Scans whose rays cross the middle of a box of 2 x 2 x 2 mm, with n x n pixels."""
    angles = np.array([0.13, 0.71, 1.9, 4.4])
    tilt: dict[str, Any] = {"detector_tilt": (0.1, 0.05, -0.05)}
    return {
        "parallel": ParallelBeam(angles, (n, n), pixel),
        "cone": ConeBeam(angles, 6.0, 12.0, (n, n), 2 * pixel),
        "curved cone": ConeBeam(angles, 6.0, 12.0, (n, n), 2 * pixel, curved=True),
        "tilted cone": ConeBeam(angles, 6.0, 12.0, (n, n), 2 * pixel, **tilt),
        "helix": Helix(angles, 6.0, 12.0, (n, n), 2 * pixel, 0.5),
        "laminography": Laminography(angles, 0.6, (n, n), pixel),
    }


def box_grid(n: int) -> Grid:
    """The box of 2 mm in n planes of n rows, with voxels of three sizes, turned and a little off centre."""
    turn, center = (0.1, 0.0, 0.2), (0.02, -0.03, 0.01)
    whole = Grid.from_size((n, n * 3 // 4, n // 2), 2.0)
    return Grid.from_rotvec(whole.shape, turn, whole.spacing, center)


def errors_by_size(sizes: tuple[int, ...], name: str, model: str, values: Any, integrals: Any, fixed: bool) -> Array:
    """Relative L2 errors of projections of `values(grid)` against `integrals(scan)`, for each number of voxels."""
    errors = []
    for n in sizes:
        grid = box_grid(n)
        pixels = sizes[0] if fixed else n
        scan = closed_form_scans(pixels, 1.6 / pixels)[name]
        exact = integrals(scan)
        ours = XRay(grid, scan, model=model, dtype="float64").forward(values(grid))
        errors.append(np.linalg.norm(ours - exact) / np.linalg.norm(exact))
    return np.array(errors)


WIDTH = 0.15


def gaussian(grid: Grid) -> Array:
    """exp(-|r|^2 / 2 WIDTH^2) at the voxel centres."""
    return np.asarray(np.exp(-sum(c**2 for c in grid.coordinates()) / (2 * WIDTH**2)))


def gaussian_integrals(scan: Scan) -> Array:
    origins, directions = scan.rays()
    along = (origins * directions).sum(axis=-1, keepdims=True)
    distance2 = ((origins - along * directions) ** 2).sum(axis=-1)
    return np.asarray(np.sqrt(2 * np.pi) * WIDTH * np.exp(-distance2 / (2 * WIDTH**2)))


@pytest.mark.parametrize("name", closed_form_scans(2, 1.0))
def test_the_error_on_a_smooth_object_falls_with_the_square_of_the_voxel(name: str) -> None:
    errors = errors_by_size((16, 32, 64), name, "joseph", gaussian, gaussian_integrals, fixed=True)
    orders = np.log2(errors[:-1] / errors[1:])
    assert (np.abs(orders - 2) <= 0.25).all(), errors


@pytest.mark.parametrize("name", closed_form_scans(2, 1.0))
def test_the_error_of_footprints_on_a_smooth_object_falls_with_voxel_and_pixel(name: str) -> None:
    """To first order at least: to the footprint model a voxel is a box of constant attenuation."""
    errors = errors_by_size((16, 32, 64), name, "footprint", gaussian, gaussian_integrals, fixed=False)
    orders = np.log2(errors[:-1] / errors[1:])
    assert (orders >= 1).all(), errors


def some_ellipsoids() -> Ellipsoids:
    """Three ellipsoids of different shapes, turned, one of them a hole."""
    turn = Grid.from_rotvec(1, (0.3, -0.5, 0.8)).matrix
    centers = [(0.0, 0.05, -0.03), (0.2, -0.15, 0.1), (-0.25, 0.1, 0.0)]
    semi_axes = [(0.7, 0.5, 0.6), (0.2, 0.3, 0.15), (0.15, 0.15, 0.15)]
    return Ellipsoids(np.array(centers), np.array(semi_axes), np.array([turn] * 3), np.array([1.0, 0.5, -0.6]))


@pytest.mark.parametrize("model", ["joseph", "footprint"])
@pytest.mark.parametrize("name", ["parallel", "cone", "tilted cone"])
def test_the_error_on_ellipsoids_falls_with_the_voxel(name: str, model: str) -> None:
    """To first order: in a band along the edge as wide as a voxel h, chords of the order of sqrt(h) are misjudged."""
    phantom, sizes = some_ellipsoids(), (16, 32, 64)
    errors = errors_by_size(sizes, name, model, lambda grid: phantom.voxelise(grid, 4), phantom.project, fixed=False)
    orders = np.log2(errors[:-1] / errors[1:])
    assert (np.abs(orders - 1) <= 0.25).all(), errors
    voxels = np.array([max(box_grid(n).spacing) for n in sizes])
    assert (errors <= voxels / 0.5).all()  # a voxel over the smallest half-width of the large ellipsoid
