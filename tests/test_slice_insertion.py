"""Insertion, its weights and folding; shells of weights; a spectrum is undone by its inverse."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.slice_problems import inputs, operator
from tomodiff.array import to_numpy
from tomodiff.core import Operator, random_element
from tomodiff.projectors.fourier_slice import FourierSlice
from tomodiff.projectors.slicer import Slicer
from tomodiff.projectors.spectrum import Spectrum

KERNELS = ("linear", "kaiser-bessel")
BOX = 8
SHELL = np.floor(np.hypot(*np.meshgrid(np.arange(BOX // 2 + 1), np.fft.fftfreq(BOX, 1 / BOX))) + 0.5).astype(int)


def looked_up(table: np.ndarray) -> np.ndarray:
    """(rows, BOX, BOX // 2 + 1) of a table of shells; zero beyond its last."""
    longer = np.pad(table, ((0, 0), (0, max(SHELL.max() + 1 - table.shape[1], 0))))
    return np.asarray(longer[:, SHELL])


def scene(kernel: str, ewald: int, rng: np.random.Generator, xp: ModuleType) -> tuple[FourierSlice, Any, Any, Any]:
    """An operator, and the spectrum, records and data of some particles, on a device."""
    A = operator(7, BOX, 5, rng, kernel=kernel, ewald=ewald)
    x = inputs(A, rng, special=True)
    records, volume = A.records(x), xp.asarray(x["volume"])
    return A, A.spectrum.forward(volume), xp.asarray(records), random_element(A.range, rng, xp)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("ewald", [0, -1])
def test_insertion_is_the_adjoint_with_weights(
    kernel: str, ewald: int, rng: np.random.Generator, xp: ModuleType
) -> None:
    A, spectrum, records, data = scene(kernel, ewald, rng, xp)
    table, groups = rng.random((2, 5)), np.array([0, 1, 1, 0, 1], np.int32)
    weights = looked_up(table)[groups]
    for unique in (False, True):
        slicer = Slicer(A.spectrum, BOX, A.r_max, "ctf", bool(ewald), unique)
        once = np.ones((BOX, BOX // 2 + 1))
        if unique:
            once[BOX // 2 + 1 :, 0] = 0  # the conjugates of rows 1 .. BOX / 2 - 1
        sums = xp.zeros((*spectrum.shape, 4))
        slicer.insert(sums, data, records, xp.asarray(groups), xp.asarray(table))
        plain = A.slicer.adjoint(xp.ascontiguousarray(data * xp.asarray(once * weights)), records)
        sums = to_numpy(sums)
        assert np.allclose(sums[..., 0] + 1j * sums[..., 1], to_numpy(plain), rtol=1e-11, atol=1e-11)
        assert (sums[..., 3] == 0).all() and sums[..., 2].max() > 0


def test_the_weight_is_that_of_the_factor_squared(rng: np.random.Generator, xp: ModuleType) -> None:
    """A spectrum of ones shows the factor f itself, as weights of linear interpolation add up to one; inserted again it
    must leave its square in both places."""
    A, spectrum, records, _ = scene("linear", 0, rng, xp)
    factor = A.slicer.images(xp.ones_like(spectrum), records)
    sums = xp.zeros((*spectrum.shape, 4))
    A.slicer.insert(sums, factor, records, None, None)
    sums = to_numpy(sums)
    assert np.allclose(sums[..., 0], sums[..., 2], rtol=1e-11, atol=1e-12)
    assert np.abs(sums[..., 1]).max() < 1e-12 * sums[..., 0].max()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("shells", [3, 5, 12])
def test_shells_of_weights_are_looked_up(
    kernel: str, rows: int, shells: int, rng: np.random.Generator, xp: ModuleType
) -> None:
    """The fused gradient against the general one with a weight for every point; also beyond r_max and the table."""
    A = operator(BOX, BOX, 5, rng, kernel=kernel, r_max=2.6)
    x = {name: xp.asarray(a) for name, a in inputs(A, rng, special=True).items()}
    data, table = A(x) + random_element(A.range, rng, xp), rng.random((rows, shells))
    value, gradient = A.residual_grad(x, data, xp.asarray(table))
    full = xp.asarray(np.broadcast_to(looked_up(table), A.range.shape).copy())
    expected, parts = Operator.residual_grad(A, x, data, full)
    assert value == pytest.approx(expected, rel=1e-12)
    for name in A.domain:
        assert float(xp.abs(gradient[name] - parts[name]).max()) <= 1e-11 * float(xp.abs(parts[name]).max()), name
    number, _ = A.residual_grad(x, data, 3.0)
    assert number == pytest.approx(3 * Operator.residual_grad(A, x, data)[0], rel=1e-12)
    with pytest.raises(ValueError, match="weights: expected 1 or 5 rows"):
        A.residual_grad(x, data, xp.ones((2, 5)))


def test_without_data_the_gradient_is_the_gram(rng: np.random.Generator, xp: ModuleType) -> None:
    A, spectrum, records, _ = scene("kaiser-bessel", 0, rng, xp)
    table, grown = rng.random((1, 5)), xp.zeros_like(spectrum)
    A.slicer.residual(spectrum, None, records, xp.asarray(table), g_spectrum=grown, params=False)
    images = A.slicer.images(spectrum, records) * xp.asarray(looked_up(table))
    assert np.allclose(to_numpy(grown), to_numpy(A.slicer.adjoint(images, records)), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("n", "padding"), [(8, 2.0), (7, 2.0), (9, 1.3), (6, 1.0)])
def test_the_inverse_undoes_the_transform_but_for_the_correction(
    kernel: str, n: int, padding: float, rng: np.random.Generator
) -> None:
    S = Spectrum(n, kernel, padding, dtype="float64")
    x = rng.normal(size=(n, n, n))
    assert np.allclose(S.inverse(S.forward(x)), x * S.correction() ** 2, rtol=1e-11, atol=1e-11)


def test_folding_adds_what_points_and_their_conjugates_hold(rng: np.random.Generator) -> None:
    """On the plane x = 0 a sum over half of the points, folded, is that over all of them: Hermitian, and its columns
    beside the faces are left out of account."""
    S = Spectrum(8, "kaiser-bessel", 2.0, 5.0, dtype="float64")
    y = rng.normal(size=S.range.shape) + 1j * rng.normal(size=S.range.shape)
    folded = S.folded(y)
    zero = folded[:, :, S.skirt]
    assert np.array_equal(zero, zero[::-1, ::-1].conj())
    beside = y[:, :, S.skirt + 1] + y[::-1, ::-1, S.skirt - 1].conj()  # x = 1 also got what fell on x = -1
    assert np.array_equal(folded[:, :, S.skirt + 1], beside)
    assert np.array_equal(zero, y[:, :, S.skirt] + y[::-1, ::-1, S.skirt].conj())
