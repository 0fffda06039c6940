"""What few noisy views of a cone beam come to: the prior against Feldkamp's inverse, subsets against the minimum.

Photons are counted through closed-form line integrals of a head phantom, several rays for each pixel; the truth is its
voxels, each from several points.  The priors' weights are those that the recipe finds by itself.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import scipy.ndimage

from tests.conftest import Measured
from tomodiff.analytic import fdk
from tomodiff.geometry import ConeBeam, fit_grid
from tomodiff.objective import Gaussian, HuberTotalVariation, TotalVariation
from tomodiff.projectors import XRay
from tomodiff.recipes.ct.invert import PROX_ITERATIONS, automatic_edge, automatic_tv_weight, photons_of
from tomodiff.simulate import shepp_logan_3d, transmissions
from tomodiff.solvers import Fista, MaxIterations, OsMomentum, RelativeChange, solve

VIEWS, PHOTONS = 60, 1e4
WINDOWS = ("ram-lak", "shepp-logan", "cosine", "hamming", "hann")
BLURS = (0.0, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Gaussians in voxels that Feldkamp's inverse may be smoothed with, beside its windows; the best is taken."""


@cache
def problem(n: int) -> tuple[XRay, np.ndarray, np.ndarray]:
    """The projector of n^3 voxels, noisy line integrals, and the true volume."""
    angles = np.linspace(0, 2 * np.pi, VIEWS, endpoint=False)
    scan = ConeBeam(angles, 2.0 * n, 4.0 * n, (n, n), 2.0)
    phantom = shepp_logan_3d(0.42 * n, 4.0 / n)
    counts = np.random.default_rng(11).poisson(PHOTONS * transmissions(phantom, scan, 2))
    data = -np.log(np.maximum(counts, 1) / PHOTONS).astype(np.float32)
    grid = fit_grid(scan)
    return XRay(grid, scan), data, phantom.voxelise(grid, 2).astype(np.float32)


def psnr(volume: np.ndarray, truth: np.ndarray) -> float:
    return float(10 * np.log10(np.ptp(truth) ** 2 / np.mean((volume - truth) ** 2, dtype=np.float64)))


def best_of_fdk(n: int) -> float:
    A, data, truth = problem(n)
    made = (fdk(data, A.scan, A.grid, window) for window in WINDOWS)
    return max(psnr(scipy.ndimage.gaussian_filter(v, blur), truth) for v in made for blur in BLURS)


@pytest.mark.parametrize(("n", "wanted"), [(64, 3), pytest.param(256, 6, marks=pytest.mark.slow)])
def test_total_variation_gains_six_decibels_over_fdk(n: int, wanted: int, measured: Measured) -> None:
    """Six of 256^3; of 64^3, where most voxels lie next to an edge and the voxels' own blur bounds both, three."""
    A, data, truth = problem(n)
    prior = automatic_tv_weight(A, data, A.grid) * TotalVariation(A.grid.spacing, low=0.0, iterations=PROX_ITERATIONS)
    start = fdk(data, A.scan, A.grid, "hann").clip(0, None)
    state = solve(Fista(prior), Gaussian(data) @ A, start, MaxIterations(100) | RelativeChange(1e-4))
    before, after = best_of_fdk(n), psnr(state.x, truth)
    measured(f"cone, 60 views, {n}^3, fista-tv over the best fdk", f">= {wanted} dB", fdk=before, fista_tv=after)
    assert after - before >= wanted


@pytest.mark.parametrize("n", [48, pytest.param(256, marks=pytest.mark.slow)])
def test_subsets_reach_the_minimum_in_a_dozen_passes(n: int, measured: Measured) -> None:
    A, data, _ = problem(n)
    weights = photons_of(data)
    weight = automatic_tv_weight(A, data, A.grid, weights=weights)
    prior = weight * HuberTotalVariation(automatic_edge(A, data, A.grid), A.grid.spacing)
    misfit = Gaussian(data, weights) @ A
    start = np.zeros(A.domain.shape, np.float32)
    fast = solve(OsMomentum(prior, 5, low=0.0), misfit, start, 12).x
    best = solve(OsMomentum(prior, 1, low=0.0), misfit, fast, 300 if n < 100 else 100).x
    least, first, after = (float(misfit(x) + prior(x)) for x in (best, start, fast))
    gap = (after - least) / (first - least)
    measured(f"cone, 60 views, {n}^3, pwls after 12 passes", "gap < 0.01", gap=gap)
    assert gap < 0.01
