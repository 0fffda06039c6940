"""The X-ray kernels one by one on small problems, and what `XRay` promises about the arrays it takes and returns.

Small enough for the sanitizer build; the same tests run on a GPU.
"""

from __future__ import annotations

import pickle
import tracemalloc
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests import reference
from tests.xray_problems import Problem, common_problems, exact_problems, steep_problems
from tomodiff import kernels
from tomodiff.array import Array, to_numpy
from tomodiff.geometry import ConeBeam, Grid, ParallelBeam, Vectors
from tomodiff.kernels import kernel, lanes
from tomodiff.projectors import XRay
from tomodiff.projectors.layout import PAD, Columns, as_table, gather, scatter
from tomodiff.projectors.ray_tables import projection_matrices

ROUNDING = 1e-12
ANGLES = np.linspace(0.1, 6.0, 5)
CONE = ConeBeam(ANGLES, 40.0, 80.0, (6, 9), (1.7, 1.9), axis_offset=0.7)
GRID = Grid((7, 5, 6), (0.9, 1.0, 1.1), (0.3, -0.4, 0.2))

SMALL: dict[str, Problem] = {
    "rows": (Grid((6, 7, 5)), ParallelBeam(ANGLES, (6, 8))),
    "many rows": (Grid((83, 3, 4)), ParallelBeam(ANGLES, (83, 5))),
    "rows above and below": (Grid((4, 6, 5)), ParallelBeam(ANGLES, (10, 7))),
    "fewer rows than slices": (Grid((10, 6, 5)), ParallelBeam(ANGLES, (4, 7))),
    "columns": (GRID, CONE),
    "rays": (GRID, Vectors(CONE.frames() + 0.01, (6, 9), "cone")),
}
"""One problem, or a few, for each family of kernels."""

WALKS = {
    **{name: (problem, "joseph", "auto") for name, problem in SMALL.items()},
    "general": ((GRID, CONE), "joseph", "general"),
    "footprint": ((GRID, CONE), "footprint", "auto"),
}
every_walk = pytest.mark.parametrize("walk", WALKS)
both_precisions = pytest.mark.parametrize("dtype", ["float32", "float64"])


def operator(walk: str, dtype: str = "float64") -> XRay:
    problem, model, path = WALKS[walk]
    return XRay(*problem, model=model, path=path, dtype=dtype)


def draw(shape: tuple[int, ...], dtype: str, xp: ModuleType, rng: np.random.Generator) -> Array:
    return xp.asarray(rng.standard_normal(shape).astype(dtype))


def same_adjoint(walk: str, a: Array, b: Array) -> bool:
    """The same bits, but on a GPU where its rays add to voxels in any order."""
    if walk not in ("rows", "slices") and not isinstance(a, np.ndarray):
        return bool(abs(a - b).max() <= (1e-12 if a.dtype == "float64" else 1e-5) * abs(b).max())
    return same_bits(a, b)


def same_bits(a: Array, b: Array) -> bool:
    return bool((a == b).all()) and a.shape == b.shape and a.dtype == b.dtype


# ---- one by one


@both_precisions
@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 4, 5), (70, 3, 17), (2, 131, 33)])
def test_copies_turn_planes_into_columns_and_back(
    shape: tuple[int, int, int], stacked: bool, dtype: str, xp: ModuleType, rng: np.random.Generator
) -> None:
    x = draw(shape, dtype, xp, rng)
    planes, rows = (shape[0], shape[1]) if stacked else (shape[1], shape[0])
    to = Columns.of(planes, shape[2], rows, 2, skew=16)
    buffer = gather(x, to, xp, stacked)
    held = to_numpy(buffer)[: planes * to.plane_step].reshape(planes, to.plane_step)[:, : shape[2] * to.width]
    twin = reference.columns(to_numpy(x), stacked, 2, to.width)
    assert np.array_equal(held.reshape(twin.shape), twin)
    assert not to_numpy(buffer)[planes * to.plane_step :].any()
    assert same_bits(scatter(buffer, to, xp.empty(shape, dtype), xp, stacked), x)


@pytest.mark.parametrize("offset", [-3, -1, 1, 4])
def test_copies_shift_rows_and_leave_zeros_behind(offset: int, xp: ModuleType) -> None:
    x = xp.asarray(np.arange(1.0, 25.0).reshape(4, 2, 3))
    to = Columns.of(2, 3, 6, 0)
    shifted = scatter(gather(x, to, xp, False, offset), to, xp.empty((6, 2, 3)), xp, False)
    expected = np.zeros((6, 2, 3))
    for r in range(4):
        if 0 <= r + offset < 6:
            expected[r + offset] = to_numpy(x)[r]
    assert np.array_equal(to_numpy(shifted), expected)


FLAT = {name: p for name, p in {**common_problems(), **exact_problems()}.items() if p[1].radius is None}


@pytest.mark.parametrize("problem", FLAT.values(), ids=FLAT.keys())
def test_back_projection_takes_what_each_voxel_sees(problem: Problem, xp: ModuleType, rng: np.random.Generator) -> None:
    grid, scan = problem
    (nz, ny, nx), (nv, nu), n = grid.shape, scan.detector_shape, len(scan)
    y = draw((n, nv, nu), "float64", xp, rng)
    matrices = projection_matrices(grid, scan)
    stack = Columns.of(n, nu, nv, PAD)
    twin = reference.backproject(to_numpy(y), grid, scan)
    upright = np.abs(matrices[:, [2, 10]]).max() <= 1e-12 * np.abs(matrices).max()
    for name in ("backproject", "backproject_columns") if upright else ("backproject",):
        volume = xp.zeros((ny, nx, nz))
        arrays = (volume, gather(y, stack, xp, True), as_table(matrices, xp, "float64"))
        block = 128 if lanes(xp) == 1 else 1
        launch = (-(-nz // (block * lanes(xp))), nx, ny), (block, 1, 1)
        kernel(name, xp, "float64")(*launch, (*arrays, nx, ny, nz, nu, nv, n, stack.width, nx * nz))
        assert_allclose(to_numpy(volume).transpose(2, 0, 1), twin, rtol=0, atol=1e-9 * max(np.abs(twin).max(), 1))


@pytest.mark.parametrize("path", ["auto", "general", "footprint"])
@pytest.mark.parametrize("name", [*common_problems(), *steep_problems()])
def test_walks_of_the_cpu_and_of_the_gpu_are_the_same_adjoint(
    name: str, path: str, xp: ModuleType, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each device runs all: the walk of planes, the gathering one, and rays that add atomically."""
    problem = {**common_problems(), **steep_problems()}[name]
    model = {"model": "footprint"} if path == "footprint" else {"path": path}
    A = XRay(*problem, dtype="float64", **model)
    y = draw(A.range.shape, "float64", xp, rng)
    kernels_of = {
        "planes": {"column": "column", "ray": "ray", "curved": "ray", "footprint": "footprint"},
        "gather": {"column": "column", "ray": "ray"},
        "atomic": {"ray": "ray", "curved": "ray", "footprint": "footprint"},
    }
    monkeypatch.setitem(kernels.UPRIGHT_CONE, xp is np, "columns")
    found = []
    for walk, roles in kernels_of.items():
        for role, kernel_name in roles.items():
            monkeypatch.setitem(kernels.PREFERRED, (f"{role}_adjoint", xp is np), f"xray_{kernel_name}_adjoint_{walk}")
        found.append(to_numpy(A.adjoint(y)))
    for other in found[1:]:
        assert np.abs(found[0] - other).max() <= ROUNDING * max(np.abs(found[0]).max(), 1)


@every_walk
@both_precisions
def test_two_runs_and_any_number_of_threads_give_the_same_bits(
    walk: str, dtype: str, xp: ModuleType, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    A = operator(walk, dtype)
    x, y = draw(A.domain.shape, dtype, xp, rng), draw(A.range.shape, dtype, xp, rng)
    first = A.forward(x), A.adjoint(y)
    for threads in ("1", "3"):
        monkeypatch.setenv("TOMODIFF_THREADS", threads)
        assert same_bits(A.forward(x), first[0])
        assert same_adjoint(walk, A.adjoint(y), first[1])


# ---- the operator's promises


@every_walk
def test_out_is_filled_and_returned(walk: str, xp: ModuleType, rng: np.random.Generator) -> None:
    A = operator(walk)
    x, y = draw(A.domain.shape, "float64", xp, rng), draw(A.range.shape, "float64", xp, rng)
    for method, given in ((A.forward, x), (A.adjoint, y)):
        expected = method(given)
        out = xp.full(expected.shape, xp.nan)
        assert method(given, out=out) is out
        assert same_adjoint(walk, out, expected)


@every_walk
def test_leading_axes_are_batches(walk: str, xp: ModuleType, rng: np.random.Generator) -> None:
    A = operator(walk)
    x = draw((2, 3, *A.domain.shape), "float64", xp, rng)
    image = A.forward(x)
    assert image.shape == (2, 3, *A.range.shape)
    assert same_bits(image[1, 2], A.forward(x[1, 2]))
    back = A.adjoint(image)
    assert back.shape == x.shape
    assert same_adjoint(walk, back[0, 1], A.adjoint(image[0, 1]))


@every_walk
@pytest.mark.parametrize("views", [slice(1, 4), slice(None, None, -2), [3, 0, 3], [True, False, True, False, True]])
def test_views_of_the_operator_are_slices_of_its_result(
    walk: str, views: Any, xp: ModuleType, rng: np.random.Generator
) -> None:
    A = operator(walk)
    x = draw(A.domain.shape, "float64", xp, rng)
    some = A[views]
    assert (some.model, some.dtype, some.path) == (A.model, A.dtype, A.path)
    assert same_bits(some.forward(x), A.forward(x)[np.asarray(views) if isinstance(views, list) else views])


def test_adjoints_of_views_add_up_to_the_adjoint(xp: ModuleType, rng: np.random.Generator) -> None:
    A = operator("columns")
    y = draw(A.range.shape, "float64", xp, rng)
    parts = A[::2].adjoint(y[::2]) + A[1::2].adjoint(y[1::2])
    assert_allclose(to_numpy(parts), to_numpy(A.adjoint(y)), rtol=0, atol=1e-12)


@every_walk
def test_any_memory_order_is_taken_and_nothing_is_modified(walk: str, xp: ModuleType, rng: np.random.Generator) -> None:
    A = operator(walk)
    for method, shape in ((A.forward, A.domain.shape), (A.adjoint, A.range.shape)):
        plain = draw(shape, "float64", xp, rng)
        before = plain.copy()
        expected = method(plain)
        assert same_bits(plain, before)
        wide = xp.zeros((shape[0], 2 * shape[1], shape[2]))
        wide[:, ::2] = plain
        turned = xp.ascontiguousarray(plain.transpose(2, 0, 1)).transpose(1, 2, 0)
        reversed_ = xp.ascontiguousarray(plain[::-1, :, ::-1])[::-1, :, ::-1]
        for other in (xp.asfortranarray(plain), wide[:, ::2], turned, reversed_):
            assert same_adjoint(walk, method(other), expected)


def test_read_only_inputs_are_taken(rng: np.random.Generator) -> None:
    for walk in WALKS:
        A = operator(walk)
        x = rng.random(A.domain.shape)
        x.setflags(write=False)
        image = A.forward(x)
        image.setflags(write=False)
        A.adjoint(image)


@every_walk
def test_an_operator_pickles_after_use(walk: str, xp: ModuleType, rng: np.random.Generator) -> None:
    A = operator(walk)
    x = draw(A.domain.shape, "float64", xp, rng)
    expected = A.forward(x)
    again = pickle.loads(pickle.dumps(A))
    assert (again.grid, again.scan, repr(again)) == (A.grid, A.scan, repr(A))
    assert same_bits(again.forward(x), expected)


def test_wrong_arrays_are_refused_by_name(xp: ModuleType) -> None:
    A = operator("columns")
    x, y = xp.zeros(A.domain.shape), xp.zeros(A.range.shape)
    with pytest.raises(TypeError, match=r"XRay\.forward: x: expected dtype float64, got float32"):
        A.forward(x.astype("float32"))
    with pytest.raises(TypeError, match=r"XRay\.adjoint: y: expected dtype float64, got int"):
        A.adjoint(y.astype(int))
    with pytest.raises(ValueError, match=r"XRay\.forward: x: expected shape .*7, 5, 6"):
        A.forward(x[:, :-1])
    with pytest.raises(ValueError, match=r"XRay\.adjoint: y: expected shape .*5, 6, 9"):
        A.adjoint(y[0])
    with pytest.raises(TypeError, match=r"XRay\.forward: x"):
        A.forward([1.0, 2.0])


def test_wrong_outs_are_refused(xp: ModuleType) -> None:
    A = operator("columns")
    x = xp.zeros(A.domain.shape)
    image = xp.zeros(A.range.shape)
    for out in (image[:, :, :-1], image.astype("float32"), xp.asfortranarray(image), image[None]):
        with pytest.raises(ValueError, match=r"XRay\.forward: out must be a C-contiguous float64"):
            A.forward(x, out=out)
    square = XRay(Grid((5, 6, 9)), CONE, dtype="float64")
    memory = xp.zeros((5, 6, 9))
    with pytest.raises(ValueError, match="out shares memory with the input"):
        square.forward(memory, out=memory)


@pytest.mark.parametrize(
    ("argument", "value"), [("model", "siddon"), ("dtype", "float16"), ("dtype", "int32"), ("path", "fast")]
)
def test_unknown_choices_are_refused(argument: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{argument}: expected one of .*, found '{value}'"):
        XRay(GRID, CONE, **{argument: value})


def test_nan_and_infinity_stay_on_the_rays_that_meet_them(xp: ModuleType) -> None:
    """What a broken voxel spoils is what it takes part in, no more."""
    for walk in WALKS:
        A = operator(walk)
        x = xp.zeros(A.domain.shape)
        x[tuple(n // 2 for n in x.shape)] = 1.0
        touched = to_numpy(A.forward(x)) > 0
        nearby = to_numpy(A.forward(xp.ones_like(x))) > 0
        x[x > 0] = xp.nan
        spoilt = np.isnan(to_numpy(A.forward(x)))
        assert spoilt[touched].all(), walk
        assert not spoilt[~nearby].any(), walk


@every_walk
def test_the_memory_of_an_application_is_known_beforehand(walk: str, rng: np.random.Generator) -> None:
    problem, model, path = WALKS[walk]
    grid = Grid((problem[0].shape[0], 40, 41), problem[0].spacing)  # large enough for the arrays to outweigh the rest
    A = XRay(grid, problem[1], model=model, path=path)
    x, y = rng.random(A.domain.shape, "float32"), rng.random(A.range.shape, "float32")
    image, volume = A.forward(x), A.adjoint(y)
    tracemalloc.start()
    A.forward(x, out=image)
    forward = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    A.adjoint(y, out=volume)
    adjoint = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    bookkeeping = 50_000
    assert max(forward, adjoint) <= A.working_bytes + bookkeeping
    assert A.working_bytes <= 2 * max(forward, adjoint) + bookkeeping
