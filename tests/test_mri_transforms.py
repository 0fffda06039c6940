"""Non-uniform Fourier transforms against the exact sum, at the accuracy that was asked for."""

from __future__ import annotations

import pickle
from types import ModuleType

import numpy as np
import pytest

from tests.toys import exact_slope
from tomodiff.array import to_numpy
from tomodiff.core import check_adjoint, check_gradient, random_element
from tomodiff.objective import Gaussian
from tomodiff.projectors.mri.cartesian import Cartesian
from tomodiff.projectors.mri.fourier import Fourier, fourier_of
from tomodiff.projectors.mri.nufft import OVERSAMPLINGS, Nufft, taps_for
from tomodiff.projectors.mri.off_resonance import OffResonance
from tomodiff.projectors.mri.sense import Sense, SenseModel
from tomodiff.solvers import Cgls, solve

SHAPES = [(24, 31), (12, 9, 14)]


def exact(x: np.ndarray, points: np.ndarray, axes: int) -> np.ndarray:
    """The sum itself, over all pixels."""
    shape = x.shape[-axes:]
    places = np.stack(np.meshgrid(*[np.arange(n) - n // 2 for n in shape], indexing="ij"), -1).reshape(-1, axes)
    return x.reshape(*x.shape[:-axes], -1) @ np.exp(-2j * np.pi * places @ points.T)


def relative(made: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(made - wanted) / np.linalg.norm(wanted))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("oversampling", OVERSAMPLINGS)
@pytest.mark.parametrize("accuracy", [1e-2, 1e-3, 1e-4, 1e-6, 1e-8])
def test_the_accuracy_is_the_one_asked_for(
    shape: tuple[int, ...], oversampling: float, accuracy: float, rng: np.random.Generator
) -> None:
    """Points lie beyond half a cycle, too: there the spectrum repeats itself."""
    points = rng.uniform(-0.8, 1.3, (400, len(shape)))
    A = Nufft(shape, points, (3,), accuracy, "complex128", oversampling)
    x = random_element(A.domain, rng)
    assert relative(A(x), exact(x, points, len(shape))) < 2 * accuracy


@pytest.mark.parametrize("shape", SHAPES)
def test_six_taps_in_single_precision(shape: tuple[int, ...], rng: np.random.Generator, xp: ModuleType) -> None:
    assert taps_for(1e-5, 2.0) == 6
    points = rng.uniform(-0.5, 0.5, (1000, len(shape)))
    A = Nufft(shape, points, (4,), 1e-5, "complex64", 2.0)
    x = random_element(A.domain, rng)
    assert relative(to_numpy(A(xp.asarray(x))), exact(x.astype(complex), points, len(shape))) < 2e-5
    assert check_adjoint(A, rng, xp=xp) < 1e-6


def test_what_is_chosen_is_as_accurate(rng: np.random.Generator) -> None:
    """Few samples of a large image, many of a small one: whichever grid is taken."""
    taken = set()
    for n, samples in ((96, 50), (16, 20000)):
        points = rng.uniform(-0.5, 0.5, (samples, 2))
        A = Nufft((n, n), points, (), 1e-5)
        x = random_element(A.domain, rng)
        assert relative(A(x), exact(x.astype(complex), points, 2)) < 2e-5
        taken.add(A.oversampling)
    assert len(taken) == 2


def test_one_pixel_is_a_wave(rng: np.random.Generator) -> None:
    points = rng.uniform(-0.5, 0.5, (50, 2))
    x = np.zeros((10, 7), complex)
    x[5 + 2, 3 - 3] = 2j
    wave = 2j * np.exp(-2j * np.pi * (2 * points[:, 0] - 3 * points[:, 1]))
    np.testing.assert_allclose(Nufft((10, 7), points, (), 1e-10, "complex128")(x), wave, atol=1e-8)


@pytest.mark.parametrize("shape", [(8, 9), (4, 5, 6)])
def test_points_at_nodes_take_plain_transforms(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    nodes = np.stack([rng.integers(-(n // 2), (n + 1) // 2, 30) for n in shape], axis=1)
    points = nodes / np.array(shape)
    A = fourier_of(shape, points, (2,), dtype="complex128")
    assert isinstance(A, Cartesian)
    x = random_element(A.domain, rng)
    np.testing.assert_allclose(A(x), exact(x, points, len(shape)), atol=1e-10)
    off = points.copy()
    off[3, 0] += 0.3 / shape[0]
    assert isinstance(fourier_of(shape, off), Nufft)
    with pytest.raises(ValueError, match=r"Cartesian: points: expected whole cycles"):
        Cartesian(shape, off)


@pytest.mark.parametrize("kind", [Nufft, Cartesian])
def test_the_convolution_is_the_normal_operator(kind: type[Fourier], rng: np.random.Generator) -> None:
    points = np.rint(rng.uniform(-0.5, 0.5, (60, 2)) * (9, 8)) / (9, 8)
    if kind is Nufft:
        points += 0.013
    A = fourier_of((9, 8), points, (2,), 1e-9, "complex128")
    assert type(A) is kind
    x, weights = random_element(A.domain, rng), rng.random(60)
    for w in (None, weights):
        expected = A.adjoint(A(x) if w is None else w * A(x))
        assert relative(A.gram(w)(x), expected) < 1e-8
    each = rng.random((2, 60))
    assert relative(A.gram(each)(x), A.adjoint(each * A(x))) < 1e-12


def test_coils_weigh_the_image(rng: np.random.Generator, xp: ModuleType) -> None:
    points = rng.uniform(-0.5, 0.5, (80, 2))
    maps = rng.standard_normal((3, 12, 11)) + 1j * rng.standard_normal((3, 12, 11))
    A = Sense.at(xp.asarray(maps), points, 1e-9)
    x = random_element(A.domain, rng)
    assert relative(to_numpy(A(xp.asarray(x))), exact(maps * x, points, 2)) < 1e-8
    assert check_adjoint(A, rng, xp=xp) < 1e-13
    weights = xp.asarray(rng.random(80))
    image = xp.asarray(x)
    assert relative(to_numpy(A.gram(weights)(image)), to_numpy(A.adjoint(weights * A(image)))) < 1e-8


@pytest.mark.parametrize("shape", [(11, 12), (6, 7, 5)])
def test_slopes_in_image_coils_and_trajectory(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    A = SenseModel(shape, 3, 90, 1e-12, "complex128")
    x = random_element(A.domain, rng) | {"points": rng.uniform(-0.4, 0.4, (90, len(shape)))}
    data = A(x) + 0.1 * random_element(A.range, rng)
    exact_slope(check_gradient(Gaussian(data) @ A, x, rng, steps=(1e-3, 1e-4, 1e-5)))
    fixed = A.fix(maps=x["maps"], points=x["points"])
    assert isinstance(fixed, Sense)
    assert relative(fixed(x["image"]), A(x)) < 1e-12


def test_sums_do_not_depend_on_threads(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    A = Nufft((40, 33), rng.uniform(-0.5, 0.5, (700, 2)), (5,))
    y, made = random_element(A.range, rng), []
    for threads in ("1", "3"):
        monkeypatch.setenv("TOMODIFF_THREADS", threads)
        made.append(A.adjoint(y))
    np.testing.assert_allclose(made[0], made[1], rtol=0, atol=1e-6 * np.abs(made[0]).max())


def test_what_cannot_be_is_refused(rng: np.random.Generator) -> None:
    points = rng.uniform(-0.5, 0.5, (20, 2))
    with pytest.raises(ValueError, match=r"points: expected \(samples, 3\)"):
        Nufft((4, 4, 4), points)
    with pytest.raises(ValueError, match=r"points: expected finite numbers, got 1"):
        Nufft((4, 4), np.where(np.arange(40).reshape(20, 2) == 7, np.nan, points))
    with pytest.raises(ValueError, match=r"accuracy: expected 1e-12 to 0.1"):
        Nufft((4, 4), points, accuracy=0)
    with pytest.raises(ValueError, match=r"oversampling: expected a number above 1"):
        Nufft((4, 4), points, oversampling=0.5)
    with pytest.raises(ValueError, match=r"oversampling: expected a number above 1"):
        Nufft((4, 4), points, oversampling=0)
    with pytest.raises(TypeError, match=r"Nufft.forward: x: expected dtype complex64"):
        Nufft((4, 4), points)(np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"maps: expected complex"):
        Sense.at(np.zeros((3, 4, 4)), points)


def test_a_transform_that_was_used_can_be_copied(rng: np.random.Generator) -> None:
    A = Nufft((6, 6), rng.uniform(-0.5, 0.5, (9, 2)), (1,), dtype="complex128")
    x = rng.normal(size=A.domain.shape) + 0j
    first = A.forward(x)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(A)).forward(x), first)


def test_a_field_that_is_off(rng: np.random.Generator) -> None:
    """Against the sum itself: 40 Hz up and 90 Hz down over a readout of 20 ms."""
    shape, samples = (14, 11), 120
    points, times = rng.uniform(-0.5, 0.5, (samples, 2)), np.linspace(1e-3, 21e-3, samples)
    y, x = np.mgrid[:14, :11]
    field = 40 * np.sin(y / 3.0) - 50 * (x / 10) ** 2
    A = OffResonance(field, times, points, (2,), 1e-8, "complex128")
    images = random_element(A.domain, rng)
    places = np.stack([(y - 7).ravel(), (x - 5).ravel()], axis=1)
    turns = np.exp(-2j * np.pi * (places @ points.T + np.outer(field.ravel(), times)))
    assert relative(A(images), images.reshape(2, -1) @ turns) < 1e-7
    assert check_adjoint(A, rng) < 1e-13
    assert 4 < len(A.moments) < 16
    even = OffResonance(np.full(shape, 5.0), np.zeros(samples), points, (2,), 1e-8, "complex128")
    assert len(even.moments) == 1
    np.testing.assert_allclose(even(images), Nufft(shape, points, (2,), 1e-8, "complex128")(images), atol=1e-5)
    coils = Sense(rng.standard_normal((2, *shape)) + 0j, A)
    assert check_adjoint(coils, rng) < 1e-13 and check_adjoint(coils.gram(), rng) < 1e-13
    with pytest.raises(ValueError, match=r"times: expected one per sample, 120"):
        OffResonance(field, times[:4], points)
    with pytest.raises(ValueError, match=r"fewer turns than 64 segments"):
        OffResonance(field * 100, times, points)


def test_a_known_field_undoes_the_blur(rng: np.random.Generator) -> None:
    """A spiral of 25 ms: without the field the image is blurred, with it it is the object to the noise."""
    n, samples = 32, 3000
    t = np.linspace(0, 1, samples)
    points = 0.5 * t[:, None] * np.stack([np.sin(2 * np.pi * 24 * t), np.cos(2 * np.pi * 24 * t)], axis=1)
    y, x = np.mgrid[:n, :n] - n // 2
    field, times = 60.0 * np.exp(-((y - 4) ** 2 + x**2) / 60), 25e-3 * t
    body = ((y / 12) ** 2 + (x / 9) ** 2 < 1) * (1.0 + 0j)
    places = np.stack([y.ravel(), x.ravel()], axis=1)
    data = np.exp(-2j * np.pi * (points @ places.T + np.outer(times, field.ravel()))) @ body.ravel()
    found = {}
    for name, A in (("off", OffResonance(field, times, points, dtype="complex128")),
                    ("on", Nufft((n, n), points, dtype="complex128"))):  # fmt: skip
        image = solve(Cgls(), Gaussian(data) @ A, np.zeros((n, n), complex), 25).x
        found[name] = relative(image, body)
    assert found["off"] < 0.15 and found["on"] > 3 * found["off"], found


def test_the_benchmark_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("finufft", reason="finufft is not installed (the extra fourier)")
    from workflows.benchmarks import nufft

    monkeypatch.setenv("TOMODIFF_THREADS", "1")  # so that what main() sets is undone
    assert nufft.main(["--quick", "--reps", "1", "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(nufft.PROBLEMS)
    for line in lines:
        error = float(line.partition("own_error ")[2].split()[0])
        assert error < 3e-5, line
