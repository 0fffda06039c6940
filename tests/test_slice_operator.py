"""The Fourier-slice operator: exact transposes, derivatives in every parameter, fused products, single precision."""

from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.kernel_folder import REPOSITORY
from tests.slice_problems import inputs, moves, operator
from tomodiff.array import inner, norm, to_numpy
from tomodiff.core import Operator, check_adjoint, random_element
from tomodiff.geometry import poses
from tomodiff.projectors.fourier_slice import FourierSlice
from tomodiff.projectors.records import NAMES
from tomodiff.projectors.slicer import Slicer
from tomodiff.projectors.spectrum import Spectrum

KERNELS = ("linear", "kaiser-bessel")
CASES: tuple[dict[str, Any], ...] = (
    {"size": 8, "box": 8},
    {"size": 9, "box": 6, "padding": 1.3},
    {"size": 8, "box": 10, "padding": 1.0, "ctf": "none"},
    {"size": 8, "box": 8, "ewald": 1},
    {"size": 7, "box": 8, "ewald": -1, "r_max": 4.0},
    {"size": 8, "box": 8, "ctf": "phase-flipped", "gridding": "radial"},
    {"size": 8, "box": 12, "r_max": 2.5, "gridding": "none"},
)


def on(xp: ModuleType, x: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: xp.asarray(a) for name, a in x.items()}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("padding", [1.0, 1.3, 2.0])
@pytest.mark.parametrize(("n", "reach"), [(8, None), (7, None), (8, 3.0), (6, 2.5)])
def test_the_spectrum_is_adjoint(
    kernel: str, padding: float, n: int, reach: float | None, rng: np.random.Generator, xp: ModuleType
) -> None:
    A = Spectrum(n, kernel, padding, reach, "separable", "float64")
    assert check_adjoint(A, rng, xp=xp) < 1e-14


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_jacobian_and_linear_part_are_adjoint(
    kernel: str, case: dict[str, Any], rng: np.random.Generator, xp: ModuleType
) -> None:
    A = operator(n=5, rng=rng, kernel=kernel, **case)
    x = on(xp, inputs(A, rng, special=True))
    _, jacobian = A.linearize(x)
    assert check_adjoint(jacobian, rng, xp=xp) < 1e-12
    fixed = A.fix(**{name: a for name, a in x.items() if name != "volume"})
    assert check_adjoint(fixed, rng, xp=xp) < 1e-12


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_fused_gradient_is_that_of_the_parts(
    kernel: str, case: dict[str, Any], rng: np.random.Generator, xp: ModuleType
) -> None:
    A = operator(n=5, rng=rng, kernel=kernel, **case)
    x = on(xp, inputs(A, rng, special=True))
    data = random_element(A.range, rng, xp) * float(xp.abs(A(x)).mean())
    value, gradient = A.residual_grad(x, data)
    expected, parts = Operator.residual_grad(A, x, data)
    assert value == pytest.approx(expected, rel=1e-12)
    for name in A.domain:
        scale = max(float(xp.abs(parts[name]).max()), 1e-300)
        assert float(xp.abs(gradient[name] - parts[name]).max()) <= 1e-9 * scale, name


def slope_errors(
    A: FourierSlice, name: str, rng: np.random.Generator, steps: tuple[float, ...], special: bool = True
) -> list[float]:
    """Errors of the derivative in one parameter by central differences; rotations move on SO(3)."""
    x = inputs(A, rng, special)
    x["magnification"] = np.tile(np.eye(2), (len(A.records), 1, 1)) if name == "rotation" else x["magnification"]
    g = random_element(A.range, rng)
    gradient = A.linearize(x)[1].adjoint(g)[name]
    if name == "rotation":
        w = rng.normal(size=(len(A.records), 3))
        along = x["rotation"] @ poses.cross_matrix(w)

        def turned(h: float) -> float:
            return inner(A(x | {name: x[name] @ poses.exp(h * w)}), g)

        scale, slope = norm(gradient) * norm(along), inner(gradient, along)
        return [abs((turned(h) - turned(-h)) / (2 * h) - slope) / scale for h in steps]
    d = moves(name, x[name].shape, rng)
    return [
        abs((inner(A(x | {name: x[name] + h * d}), g) - inner(A(x | {name: x[name] - h * d}), g)) / (2 * h)
            - inner(gradient, d)) / (norm(gradient) * norm(d))
        for h in steps
    ]  # fmt: skip


@pytest.mark.parametrize("ewald", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_slopes(name: str, ewald: int, rng: np.random.Generator) -> None:
    """The error falls like the step squared until the jumps of 1e-8 between the taps show; the identity and both
    poles are among the poses.  With the smooth kernel, as a linear one has kinks."""
    A = operator(8, 8, 5, rng, kernel="kaiser-bessel", ewald=ewald)
    errors = slope_errors(A, name, rng, (1e-3, 1e-4, 1e-5))
    assert errors[1] < max(3e-2 * errors[0], 1e-9) and errors[2] < max(3e-2 * errors[1], 1e-7)
    assert errors[2] < 1e-6


def test_the_linear_kernel_has_the_slope_of_its_pieces(rng: np.random.Generator) -> None:
    """A small turn moves few of the points across an entry of the spectrum, where linear interpolation has a kink: of
    80 pairs of pose and direction at least half must meet none and then show the exact slope."""
    exact = [slope_errors(operator(8, 8, 5, rng), "rotation", rng, (1e-6,), False)[0] < 1e-6 for _ in range(16)]
    assert np.mean(exact) >= 0.5


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("ewald", [0, 1])
def test_normal_matrices_are_products_of_pushes(kernel: str, ewald: int, rng: np.random.Generator) -> None:
    A = operator(8, 8, 4, rng, kernel=kernel, ewald=ewald)
    x = inputs(A, rng)
    data = A(x) + random_element(A.range, rng)
    slicer = Slicer(A.spectrum, 8, A.r_max, "ctf", bool(ewald), unique=True)
    spectrum, records = A.spectrum.forward(x["volume"]), A.records(x)
    weights = rng.random((1, 9))
    shell = np.floor(np.hypot(*np.meshgrid(np.arange(5), np.fft.fftfreq(8, 1 / 8))) + 0.5).astype(int)
    w = weights[0][shell]
    w[np.hypot(*np.meshgrid(np.arange(5), np.fft.fftfreq(8, 1 / 8))) > A.r_max] = 0
    w[(np.arange(5)[None] == 0) & (np.fft.fftfreq(8)[:, None] < 0) & (np.arange(8)[:, None] != 4)] = 0  # once each
    axes = records[:, :9].reshape(-1, 3, 3)
    for ctf in (False, True):
        value, gradient, matrix = slicer.normal(spectrum, data, records, weights, ctf=ctf)
        columns = []
        if ctf:
            columns = [np.eye(48)[10], np.eye(48)[11], np.eye(48)[12], np.eye(48)[37]]
            columns = [np.tile(c, (4, 1)) for c in columns]
        else:
            for a in range(3):
                moved = np.zeros((4, 48))
                moved[:, :9] = np.cross(np.eye(3)[a], axes).reshape(-1, 9)
                columns.append(moved)
            columns += [np.tile(np.eye(48)[i], (4, 1)) for i in (25, 26)]
        J = np.stack([slicer.push(spectrum, records, c) for c in columns], 1)
        residual = slicer.images(spectrum, records) - data
        assert np.allclose(value, 0.5 * (w * np.abs(residual) ** 2).sum((1, 2)), rtol=1e-10)
        assert np.allclose(gradient, (w * J.conj() * residual[:, None]).real.sum((2, 3)), rtol=1e-8)
        expected = np.einsum("yx,nayx,nbyx->nab", w, J.conj(), J).real
        assert np.allclose(matrix, expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())


def test_several_records_may_share_an_image(rng: np.random.Generator) -> None:
    A = operator(8, 8, 4, rng)
    x = inputs(A, rng)
    data, spectrum, records = A(x) + random_element(A.range, rng), A.spectrum.forward(x["volume"]), A.records(x)
    weights, image_of = np.ones((1, 9)), np.array([3, 3, 0], np.int32)
    direct, _ = A.slicer.residual(spectrum, np.ascontiguousarray(data[image_of]), records[:3], weights)
    shared, _ = A.slicer.residual(spectrum, data, records[:3], weights, image_of=image_of)
    assert np.array_equal(direct, shared)


@pytest.mark.parametrize("kernel", KERNELS)
def test_single_precision(kernel: str, rng: np.random.Generator, xp: ModuleType) -> None:
    """<A x, y> for non-negative volumes, and the Gram test, from which uniform vectors hide no mistake."""
    A = operator(24, 24, 6, rng, kernel=kernel, dtype="float32", ctf="none", dose=None)
    x = on(xp, inputs(A, rng))
    fixed = A.fix(**{name: a for name, a in x.items() if name != "volume"})
    assert check_adjoint(fixed, rng, xp=xp, nonnegative=True) < 1e-6
    v = random_element(fixed.domain, rng, xp)
    Av = fixed.forward(v)
    assert abs(inner(Av, Av) - inner(v, fixed.adjoint(Av))) / inner(Av, Av) < 1e-6


def test_subsets_are_the_same_particles(rng: np.random.Generator) -> None:
    A = operator(8, 8, 5, rng)
    x = inputs(A, rng)
    part = {name: a if name == "volume" else a[[3, 1]] for name, a in x.items()}
    assert np.allclose(A[[3, 1]](part), A(x)[[3, 1]], rtol=1e-12, atol=1e-12)


def test_any_number_of_threads_gives_the_same_bits() -> None:
    code = """
import numpy as np
from tests.slice_problems import inputs, operator
rng = np.random.default_rng(3)
A = operator(12, 12, 20, rng, dtype="float32")
x = inputs(A, rng)
value, gradient = A.residual_grad(x, 0.5 * A(x))
import hashlib
print(repr(value), *(hashlib.sha256(np.ascontiguousarray(g).tobytes()).hexdigest() for g in gradient.values()))
"""
    said = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=REPOSITORY, text=True, capture_output=True, check=True,
            env={**os.environ, "TOMODIFF_THREADS": threads, "PYTHONPATH": str(REPOSITORY)},
        ).stdout
        for threads in ("1", "2")
    }  # fmt: skip
    assert len(said) == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"volume": np.zeros((8, 8, 8), np.float32)}, "volume.*float64"),
        ({"shift": np.zeros((4, 2))}, r"shift.*\(5, 2\)"),
    ],
)
def test_wrong_arrays_are_refused_by_name(change: dict[str, np.ndarray], says: str, rng: np.random.Generator) -> None:
    A = operator(8, 8, 5, rng)
    with pytest.raises((TypeError, ValueError), match=says):
        A(inputs(A, rng) | change)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kernel": "cubic"}, "kernel: expected one of linear, kaiser-bessel"),
        ({"padding": 0.5}, "padding: expected a number between 1 and 8"),
        ({"ctf": "maybe"}, "ctf: expected one of none, ctf, phase-flipped"),
        ({"ewald": 2}, "ewald: expected -1, 0 or 1"),
        ({"ewald": 1, "ctf": "none"}, "ewald: expected ctf='ctf'"),
        ({"box": 7}, "box: expected an even number"),
    ],
)
def test_impossible_models_are_refused(options: dict[str, Any], says: str, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=says):
        operator(**{"size": 8, "box": 8, "n": 2, "rng": rng} | options)


def test_the_host_gets_what_the_device_made(rng: np.random.Generator, xp: ModuleType) -> None:
    """The same numbers on both devices to rounding."""
    A = operator(8, 8, 5, rng, kernel="kaiser-bessel")
    x = inputs(A, rng)
    assert np.allclose(to_numpy(A(on(xp, x))), A(x), rtol=1e-10, atol=1e-10)
