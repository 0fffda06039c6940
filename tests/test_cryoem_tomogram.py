"""Tomograms against closed forms: absolute values, edges of a slab, the margin of iterations over back projection."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage

from tests.conftest import Measured
from tomodiff.analytic.tilt_filter import exact_weights, sirt_like, tilt_filter
from tomodiff.errors import DataError
from tomodiff.geometry.poses import random_rotations
from tomodiff.geometry.tilt import TiltSeries
from tomodiff.prepare.dose import dose_weighted
from tomodiff.prepare.tilt_images import aligned_images, bin_images, normalised, tapered
from tomodiff.projectors import XRay
from tomodiff.recipes.cryoem.tilt_reconstruct import (
    Prepared,
    narrowed,
    prepared,
    tomogram_iterative,
    tomogram_wbp,
    widened,
)
from tomodiff.simulate import Ellipsoids, ellipsoid
from tomodiff.solvers import State, load, save

MARGIN = 0.05
"""By which the correlation with the truth must exceed that of weighted back projection: from the project's plan."""


def single_axis(tilts: np.ndarray, pixel: float, shape: tuple[int, int]) -> TiltSeries:
    return TiltSeries(np.deg2rad(tilts), pixel, shape)


def slab(seed: int, size: tuple[float, float, float], pixel: float, count: int = 180) -> Ellipsoids:
    """Ellipsoids of 2 to 6 pixels in a slab (x, y, z) that goes on in x beyond what any tilt sees of it."""
    rng = np.random.default_rng(seed)
    x, y, z = size
    centers = rng.uniform(-1, 1, (count, 3)) * np.array([1.6 * x, 0.6 * y, 0.36 * z])
    axes = rng.uniform(2, 6, (count, 3)) * pixel
    return Ellipsoids(centers, axes, random_rotations(count, rng), rng.uniform(0.5, 1.5, count))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("x_tilt", [0.0, 0.2])
def test_all_directions_give_the_density_in_absolute_units(x_tilt: float) -> None:
    """Half a turn of exact line integrals: the mean inside a ball is its density per angstrom."""
    series = single_axis(np.arange(-90, 90, 1.5), 4.0, (40, 48))
    series = series.replace(x_tilt=np.full(len(series), x_tilt))
    ball = ellipsoid((10.0, 4.0, -12.0), (40.0, 36.0, 44.0), 0.25)
    images = ball.project(series.scan(), oversample=2)
    data = prepared(images, series, normalise="none")
    shape = (48, 40, 48)
    volume = tomogram_wbp(data, shape, padding="zero")
    core = ellipsoid((10.0, 4.0, -12.0), (28.0, 26.0, 32.0), 1.0).voxelise(series.grid(shape)) == 1
    outside = ellipsoid((10.0, 4.0, -12.0), (50.0, 46.0, 54.0), 1.0).voxelise(series.grid(shape)) == 0
    assert abs(volume[core].mean() / 0.25 - 1) < 0.01
    assert abs(volume[outside].mean()) < 0.01 * 0.25


def test_exact_weights_are_the_ramp_between_dense_views_and_end_at_one_over_the_thickness() -> None:
    tilt, thickness = np.deg2rad(np.arange(-60, 60.1, 1.0)), 500.0
    k = np.array([0.02, 0.05])
    weights = exact_weights(k, tilt, thickness)[60]  # the untilted view, far from the ends of the range
    # sin(tilt) is not evenly spaced; near the untilted view it is, to the second order.
    np.testing.assert_allclose(weights, k * np.deg2rad(1.0), rtol=0.03)
    assert exact_weights(np.array([10.0]), tilt, thickness).max() <= 1 / thickness + 1e-12
    np.testing.assert_allclose(exact_weights(np.zeros(1), tilt, thickness), 1 / (thickness * len(tilt)))


def test_sirt_like_filter_goes_to_back_projection_and_to_the_ramp() -> None:
    k, thickness = np.array([0.0, 0.001, 0.01, 0.1]), 500.0
    np.testing.assert_allclose(sirt_like(k, thickness, 1), [1, 1, 1 / 5, 1 / 50])
    np.testing.assert_allclose(sirt_like(k, thickness, 10_000), 1)
    assert (np.diff(sirt_like(k, thickness, 20)) <= 0).all()


def test_windows_and_weightings_are_refused_by_name() -> None:
    for wrong in ({"weighting": "r-weighted"}, {"window": "box"}, {"sirt_iterations": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            tilt_filter(128, 1.0, np.zeros(3), 100.0, **wrong)  # type: ignore[arg-type]


def test_binned_images_are_the_projections_of_the_binned_series(rng: np.random.Generator) -> None:
    """The mean of 3 x 3 exact pixels is one exact pixel of three times the size, at the place that the series says."""
    shift = rng.normal(0, 4, (3, 2))
    series = TiltSeries(np.deg2rad([-40.0, 0, 30]), 2.0, (50, 64), axis=[0.3, -1.2, 2.0], shift=shift)
    ball = ellipsoid((5.0, -8.0, 11.0), (24.0, 18.0, 30.0), 1.0)
    binned, coarse = bin_images(ball.project(series.scan()), series, 3)
    np.testing.assert_allclose(binned, ball.project(coarse.scan(), oversample=3), atol=1e-9)


def test_aligned_images_are_the_projections_of_the_aligned_series(rng: np.random.Generator) -> None:
    series = TiltSeries(
        np.deg2rad([-40.0, 0, 30]),
        2.0,
        (60, 63),
        axis=[0.3, -1.2, 2.0],
        shift=rng.normal(0, 5, (3, 2)),
        magnification=[1.02, 1.0, 0.99],
    )
    # A smooth object: cubic splines cannot follow the root at the rim of one ball, a sum of concentric ones is soft.
    radii = np.linspace(12, 34, 12)
    balls = Ellipsoids(
        np.tile([4.0, -6.0, 9.0], (12, 1)), np.tile(radii[:, None], (1, 3)), np.tile(np.eye(3), (12, 1, 1)), np.ones(12)
    )
    images = balls.project(series.scan(), oversample=2)
    found, inside, aligned = aligned_images(images, series)
    assert aligned.aligned
    truth = balls.project(aligned.scan(), oversample=2)
    error = np.linalg.norm((found - truth)[inside]) / np.linalg.norm(truth[inside])
    # The scale of the image changes the area of a pixel but not the line integral through it.
    assert error < 5e-3
    assert 0.6 < inside.mean() < 1


def test_normalised_and_tapered_images(rng: np.random.Generator) -> None:
    images = rng.normal(5, 3, (3, 20, 30)).astype(np.float32)
    images[1] = 7
    found = normalised(images)
    np.testing.assert_allclose(found.mean((1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(found.std((1, 2)), [1, 0, 1], atol=1e-5)
    np.testing.assert_allclose(normalised(images, "mean"), images - images.mean((1, 2), keepdims=True), atol=1e-5)
    assert normalised(images, "none") is images
    soft = tapered(found, 5)
    np.testing.assert_array_equal(soft[:, 5:-5, 5:-5], found[:, 5:-5, 5:-5])
    assert np.abs(soft[:, 0]).max() < 0.05 * np.abs(found).max()
    with pytest.raises(ValueError, match="normalise"):
        normalised(images, "median")


def test_images_with_nan_are_named() -> None:
    images = np.zeros((2, 8, 8), np.float32)
    images[1, 2, 3] = np.nan
    with pytest.raises(DataError, match="image 1: expected finite"):
        prepared(images, single_axis(np.array([0.0, 3.0]), 1.0, (8, 8)))


def test_a_widened_volume_is_crossed_from_top_to_bottom_by_every_ray() -> None:
    series = single_axis(np.linspace(-60, 60, 9), 5.0, (8, 40))
    shape = (16, 8, 40)
    wide = widened(series.image_shape[1], series.tilt, shape)
    A = XRay(series.grid(wide, turned=True), series.scan(turned=True), dtype="float64")
    lengths = A.forward(np.ones(A.domain.shape))
    expected = np.broadcast_to(16 * 5.0 / np.cos(series.tilt)[:, None, None], lengths.shape)
    np.testing.assert_allclose(lengths, expected, rtol=0.02)  # rays between the outermost planes and the faces
    inner = np.arange(np.prod(wide)).reshape(wide)
    assert narrowed(inner, 40).shape == shape
    assert narrowed(inner, 40)[0, 0, 20] == inner[0, 0, wide[2] // 2]


@pytest.fixture(scope="module")
def noisy() -> tuple[Prepared, np.ndarray]:
    """A +-60 degree series of a slab with noise of three times the variance of the images, and the truth.

    Another phantom than those on which the automatic TV weight was chosen, or on which anything here was tried.
    """
    series = single_axis(np.arange(-60, 60.1, 3.0), 10.0, (24, 80))
    shape = (32, 24, 80)
    phantom = slab(714, (800.0, 240.0, 320.0), 10.0)
    images = phantom.project(series.scan(), oversample=2)
    rng = np.random.default_rng(715)
    images += rng.normal(0, np.sqrt(3) * images.std(), images.shape)
    return prepared(images.astype(np.float32), series), phantom.voxelise(series.grid(shape))


def best_of_back_projection(data: Prepared, truth: np.ndarray) -> float:
    """The largest correlation of any weighting, window or low pass, chosen with the truth in hand."""
    found = []
    for options in ({}, {"weighting": "exact"}, {"window": "hann"}, {"sirt_iterations": 10}):
        volume = tomogram_wbp(data, truth.shape, **options)  # type: ignore[arg-type]
        found += [correlation(scipy.ndimage.gaussian_filter(volume, s), truth) for s in (0, 0.7, 1, 1.4, 2, 2.8)]
    return max(found)


def test_total_variation_beats_the_best_back_projection(noisy: tuple[Prepared, np.ndarray], measured: Measured) -> None:
    data, truth = noisy
    reached = correlation(tomogram_iterative(data, truth.shape, "fista-tv", iterations=40), truth)
    rival = best_of_back_projection(data, truth)
    measured("tomogram, correlation with truth", ">= best back projection + 0.05", fista_tv=reached, wbp=rival)
    assert reached >= rival + MARGIN


@pytest.mark.parametrize("method", ["sirt", "cgls"])
def test_least_squares_of_few_iterations_beats_the_plain_ramp(noisy: tuple[Prepared, np.ndarray], method: str) -> None:
    data, truth = noisy
    reached = correlation(tomogram_iterative(data, truth.shape, method, iterations=4), truth)
    assert reached >= correlation(tomogram_wbp(data, truth.shape), truth) + MARGIN


@pytest.mark.parametrize("method", ["sirt", "cgls", "fista-tv"])
def test_a_stopped_iteration_goes_on_to_the_same_bits(
    noisy: tuple[Prepared, np.ndarray], method: str, tmp_path: Path
) -> None:
    data, truth = noisy
    states: list[State] = []
    options = {"tv_weight": 300.0} if method == "fista-tv" else {}
    whole = tomogram_iterative(data, truth.shape, method, iterations=4, on_state=states.append, **options)  # type: ignore[arg-type]
    save(tmp_path / "state", states[1])
    again = tomogram_iterative(
        data,
        truth.shape,
        method,
        iterations=4,
        start=load(tmp_path / "state"),
        **options,  # type: ignore[arg-type]
    )
    np.testing.assert_array_equal(again, whole)


def test_unknown_methods_are_refused(noisy: tuple[Prepared, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="method: expected one of sirt, cgls, fista-tv"):
        tomogram_iterative(noisy[0], noisy[1].shape, "art")


def test_the_dose_of_an_image_is_that_before_it_and_half_of_its_own(rng: np.random.Generator) -> None:
    series = single_axis(np.array([0.0, 3.0]), 2.0, (32, 32)).replace(
        dose=np.array([0.0, 60.0]), exposure=np.array([3.0, 4.0])
    )
    images = rng.standard_normal((2, 32, 32)).astype(np.float32)
    data = prepared(images, series, normalise="none", dose_weighting=True)
    np.testing.assert_array_equal(data.images, dose_weighted(images, [1.5, 62.0], 2.0))
