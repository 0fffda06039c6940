"""The X-ray projectors' adjoints are their transposes, for every kind of scan, at every scale, in both precisions."""

from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.xray_problems import (
    KINDS,
    Problem,
    common_problems,
    exact_problems,
    random_problem,
    steep_problems,
    tall_problems,
)
from tomodiff.array import inner
from tomodiff.core import check_adjoint
from tomodiff.core.space import random_element
from tomodiff.kernels import cpu_isa
from tomodiff.projectors import XRay

EXACT = 1e-12
"""Bound on |<Ax, y> - <x, A'y>| / |Ax| |y| in double precision."""

SINGLE = 1e-6
"""Bound in single precision, relative to <Ax, y> of non-negative x and y, or to |Ax|^2."""

WALKS = {"auto": ("joseph", "auto"), "general": ("joseph", "general"), "footprint": ("footprint", "auto")}
EACH = 31
"""Random problems of each kind: 248 in all."""

every_walk = pytest.mark.parametrize("walk", WALKS)


def operator(problem: Problem, walk: str, dtype: str = "float64") -> XRay:
    model, path = WALKS[walk]
    return XRay(*problem, model=model, path=path, dtype=dtype)


def over(problems: dict[str, Problem]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("problem", problems.values(), ids=problems.keys())


def worst_of(seeds: range, reach: float, walk: str, xp: ModuleType = np) -> tuple[float, int]:
    """The largest mismatch over random problems, and the seed that has it."""
    rng = np.random.default_rng(3)
    found = ((check_adjoint(operator(random_problem(seed, reach), walk), rng, 1, xp), seed) for seed in seeds)
    return max(found)


def single_mismatches(problem: Problem, walk: str, xp: ModuleType, rng: np.random.Generator) -> tuple[float, float]:
    """In single precision: (mismatch of a non-negative pair, relative to <Ax, y>; mismatch of |Ax|^2 for signed x)."""
    A = operator(problem, walk, "float32")
    x, y = (random_element(space, rng, xp, nonnegative=True) for space in (A.domain, A.range))
    forward = inner(A.forward(x), y)
    signed = random_element(A.domain, rng, xp)
    image = A.forward(signed)
    gram = inner(image, image)
    return abs(forward - inner(x, A.adjoint(y))) / forward, abs(gram - inner(signed, A.adjoint(image))) / gram


@every_walk
@pytest.mark.parametrize("kind", KINDS)
def test_the_adjoint_is_the_transpose_for_random_geometry(kind: str, walk: str, xp: ModuleType) -> None:
    start = list(KINDS).index(kind)
    worst, seed = worst_of(range(start, EACH * len(KINDS), len(KINDS)), 3.0, walk, xp)
    assert worst <= EXACT, f"random_problem({seed})"


@every_walk
@over({**exact_problems(), **steep_problems(), **common_problems()})
def test_the_adjoint_is_the_transpose_at_edges_and_extremes(
    problem: Problem, walk: str, xp: ModuleType, rng: np.random.Generator
) -> None:
    assert check_adjoint(operator(problem, walk), rng, 2, xp) <= EXACT


@every_walk
@over(tall_problems())
def test_the_adjoint_is_the_transpose_for_many_rows(
    problem: Problem, walk: str, xp: ModuleType, rng: np.random.Generator
) -> None:
    assert check_adjoint(operator(problem, walk), rng, 1, xp) <= EXACT


@every_walk
@over(common_problems())
def test_single_precision_agrees_to_a_millionth(
    problem: Problem, walk: str, xp: ModuleType, rng: np.random.Generator
) -> None:
    assert np.prod(operator(problem, walk).range.shape) >= 1000
    pair, gram = single_mismatches(problem, walk, xp, rng)
    assert pair <= SINGLE
    assert gram <= SINGLE


@every_walk
@over(tall_problems())
def test_single_precision_agrees_for_many_rows(
    problem: Problem, walk: str, xp: ModuleType, rng: np.random.Generator
) -> None:
    pair, gram = single_mismatches(problem, walk, xp, rng)
    assert pair <= SINGLE
    assert gram <= SINGLE


@pytest.mark.slow
@every_walk
@pytest.mark.parametrize("reach", [3.0, 20.0])
def test_a_thousand_more_random_geometries(walk: str, reach: float) -> None:
    worst, seed = worst_of(range(10_000, 11_000), reach, walk)
    assert worst <= EXACT, f"random_problem({seed}, {reach})"


CHILD = """
import numpy as np
from tests import test_xray_adjoint as t
for walk in t.WALKS:
    for reach in (3.0, 20.0):
        worst, seed = t.worst_of(range(20_000, 20_160), reach, walk)
        assert worst <= t.EXACT, f"{walk}, random_problem({seed}, {reach}): {worst:.2e}"
    for name, problem in {**t.common_problems(), **t.tall_problems()}.items():
        worst = t.single_mismatches(problem, walk, np, np.random.default_rng(5))
        assert max(worst) <= t.SINGLE, f"{walk}, {name}: {worst}"
"""


@pytest.mark.slow
@pytest.mark.parametrize("isa", ["v2", "v3", "v4"])
def test_every_instruction_set_has_exact_adjoints(isa: str) -> None:
    known = ["v2", "v3", "v4"]
    if cpu_isa() not in known or known.index(isa) > known.index(cpu_isa()):
        pytest.skip(f"this machine runs {cpu_isa()}, not {isa}")
    environment = {**os.environ, "TOMODIFF_ISA": isa, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", CHILD]
    done = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
