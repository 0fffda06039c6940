"""Corrections of what beam and detector do: zingers, lag, scatter, phase, hardening, flats that change.

Each is held against a model of its own in this file, finer or of another form than the one that is undone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage

from tomodiff.errors import ConfigError, DataError
from tomodiff.geometry import ConeBeam, ParallelBeam
from tomodiff.prepare import (
    PhaseRetrieval,
    flat_field,
    linearise,
    minus_log,
    prepare,
    remove_lag,
    remove_scatter,
    remove_stripes,
    remove_zingers,
    retrieve_phase,
)
from tomodiff.prepare.hardening import of_material, polynomial
from tomodiff.prepare.scatter import scatter_in
from tomodiff.result import Dataset


def dataset(data: np.ndarray, kind: str = "transmission", pixel: float = 1.0, **more: Any) -> Dataset:
    views, nv, nu = data.shape
    scan = ParallelBeam(np.linspace(0, np.pi, views, endpoint=False), (nv, nu), pixel)
    return Dataset(data, scan, kind, **more)


def shadows(views: int = 24, nv: int = 40, nu: int = 90, still: bool = True) -> np.ndarray:
    """Transmissions of a cylinder with sharp edges (if `still`) and a sphere that turns."""
    u, v = np.arange(nu) - nu / 2, np.arange(nv)[:, None] - nv / 2
    made = []
    for angle in np.linspace(0, np.pi, views, endpoint=False):
        path = 2 * np.sqrt(np.maximum(0, 30.0**2 - u**2)) * (np.abs(v) < 15)
        ball = 2 * np.sqrt(np.maximum(0, 8.0**2 - (u - 18 * np.cos(angle)) ** 2 - v**2))
        made.append(np.exp(-0.02 * still * path - 0.05 * ball))
    return np.array(made, np.float32)


def test_zingers_go_and_edges_stay() -> None:
    rng = np.random.default_rng(2)
    clean = shadows()
    noisy = (clean + 0.01 * rng.standard_normal(clean.shape)).astype(np.float32)
    hit = rng.random(clean.shape) < 4e-4
    hit &= ~np.roll(hit, 1, axis=0) & ~np.roll(hit, 1, axis=1) & ~np.roll(hit, 1, axis=2)
    data = noisy + hit * rng.uniform(0.4, 3.0, clean.shape).astype(np.float32)
    done = remove_zingers(dataset(data))
    changed = done.data != data
    assert hit.sum() > 20
    assert changed[hit].mean() > 0.97
    assert changed[~hit].mean() < 1e-4
    assert np.abs(done.data - clean)[hit & changed].max() < 0.2
    assert done.meta["prepare"]["remove_zingers"]["zingers"] == changed.sum()
    assert not (remove_zingers(dataset(noisy)).data != noisy).any()


def test_zingers_in_threads_are_the_same() -> None:
    data = shadows() + (np.random.default_rng(0).random((24, 40, 90)) < 1e-3).astype(np.float32)
    one, two = remove_zingers(dataset(data)), remove_zingers(dataset(data), 2)
    np.testing.assert_array_equal(one.data, two.data)


def test_lag_of_a_panel_that_answers_by_convolution_in_time() -> None:
    clean = shadows(60, 4, 30).astype(np.float64)
    terms = ((0.03, 4.0), (0.02, 25.0))
    long_before = np.repeat(clean[:1], 400, axis=0)
    seen = np.concatenate([long_before, clean])
    k = np.arange(len(seen))
    answer = sum(b * (1 - np.exp(-1 / tau)) * np.exp(-k / tau) for b, tau in terms)
    answer[0] += 1 - sum(b for b, _ in terms)
    read = np.apply_along_axis(lambda values: np.convolve(values, answer)[: len(seen)], 0, seen)[len(long_before) :]
    assert np.abs(read - clean).max() > 0.005
    done = remove_lag(dataset(read.astype(np.float32)), terms)
    assert np.abs(done.data - clean).max() < 3e-6


def test_a_value_that_is_missing_once_leaves_later_views_alone() -> None:
    clean = shadows(20, 4, 30)
    broken = clean.copy()
    broken[0, 1, 2] = broken[5, 2, 3] = np.nan
    terms = ((0.03, 4.0),)
    done, whole = remove_lag(dataset(broken), terms), remove_lag(dataset(clean), terms)
    assert np.argwhere(np.isnan(done.data)).tolist() == [[0, 1, 2], [5, 2, 3]]
    np.testing.assert_allclose(np.delete(done.data[:, 2, 3], 5), np.delete(whole.data[:, 2, 3], 5), atol=1e-3)
    assert np.isfinite(done.meta["prepare"]["remove_lag"]["change_rms"])


@pytest.mark.parametrize("terms", [((0.7, 3.0), (0.4, 9.0)), ((-0.1, 3.0),), ((0.1,),), ()])
def test_lag_that_no_panel_has(terms: Any) -> None:
    with pytest.raises(ConfigError, match="lag"):
        remove_lag(dataset(shadows(4)), terms)


def test_scatter_of_its_own_forward_model_on_full_pixels() -> None:
    """Scatter is made pixel by pixel from the primary itself; the correction sees their sum and works on means."""
    primary = shadows(2, 96, 128).astype(np.float64)
    primary[primary > 0.999] = 1.0
    haze = [0.3 * scipy.ndimage.gaussian_filter(p * -np.log(p), 20.0, mode="constant", truncate=6) for p in primary]
    measured = primary + np.array(haze)
    done = remove_scatter(dataset(measured.astype(np.float32), pixel=0.5), 0.3, 10.0)
    before, after = np.abs(measured - primary).max(), np.abs(done.data - primary).max()
    assert before > 0.01
    assert after < 0.06 * before
    assert 0 < done.meta["prepare"]["remove_scatter"]["share_mean"] < 0.2


def test_scatter_is_linear_in_nothing_but_its_kernel() -> None:
    air = np.ones((30, 40), np.float32)
    np.testing.assert_array_equal(scatter_in(air, 0.5, [8.0, 8.0]), 0 * air)


def test_scatter_needs_a_pixel_in_mm() -> None:
    data = dataset(shadows(2), meta={"pixel_unknown": True})
    with pytest.raises(DataError, match="pixel size"):
        remove_scatter(data, 0.1, 10.0)


def propagated(thickness: np.ndarray, fine_mm: float, mu: float, delta: float, energy: float, z: float) -> np.ndarray:
    """Intensity at distance z by Fresnel's propagator of the complex wave behind a phase object."""
    wavelength = 1.239841984e-6 / energy
    k = 2 * np.pi / wavelength
    wave = np.exp(-mu * thickness / 2 - 1j * k * delta * thickness)
    fy, fx = np.fft.fftfreq(thickness.shape[0], fine_mm)[:, None], np.fft.fftfreq(thickness.shape[1], fine_mm)
    wave = np.fft.ifft2(np.fft.fft2(wave) * np.exp(-1j * np.pi * wavelength * z * (fx**2 + fy**2)))
    return np.asarray(np.abs(wave) ** 2)


@pytest.mark.parametrize("generalised", [False, True])
def test_phase_of_propagated_waves(generalised: bool) -> None:
    """A sphere of 0.2 mm in a wave propagated by 60 mm on a grid twice as fine, by wave optics and not by the filter's
    own equation; the thickness comes back, and its fringes go."""
    n, pixel, energy, mu, delta, z = 192, 0.002, 20.0, 0.5, 6e-7, 60.0
    beta = mu * 1.239841984e-6 / energy / (4 * np.pi)
    fine = (np.arange(2 * n) + 0.5) * pixel / 2 - n * pixel / 2
    radius = np.hypot(fine[:, None], fine[None])
    thickness = 2 * np.sqrt(np.maximum(0, 0.1**2 - radius**2))
    image = propagated(thickness, pixel / 2, mu, delta, energy, z).reshape(n, 2, n, 2).mean(axis=(1, 3))
    truth = mu * thickness.reshape(n, 2, n, 2).mean(axis=(1, 3))
    data = dataset(image[None].astype(np.float32), pixel=pixel, meta={"energy_kev": energy})
    done = retrieve_phase(data, PhaseRetrieval(delta / beta, None, z, generalised))
    plain, found = -np.log(image), -np.log(done.data[0])
    inside = radius[::2, ::2] < 0.085
    assert np.abs(plain - truth)[40:-40, 40:-40].max() > 0.3 * truth.max()
    assert np.abs(found - truth)[inside].max() < 0.02 * truth.max()
    assert np.abs(found - truth).max() < 0.25 * truth.max()


def test_phase_of_a_magnified_image_is_that_of_the_fresnel_scaling() -> None:
    image = shadows(1, 32, 48)
    near = ConeBeam([0.0], 100.0, 400.0, (32, 48), 4.0)
    magnified = Dataset(image, near, "transmission")
    flat = dataset(image, pixel=1.0)
    a = retrieve_phase(magnified, PhaseRetrieval(5e5, 20.0, 300.0)).data
    b = retrieve_phase(flat, PhaseRetrieval(5e5, 20.0, 300.0 / 4)).data
    np.testing.assert_allclose(a, b, atol=1e-6)
    c = retrieve_phase(magnified, PhaseRetrieval(5e5, 20.0)).data
    np.testing.assert_array_equal(a, c)


def test_phase_keeps_the_mean_and_needs_its_numbers() -> None:
    image = 0.3 + 0 * shadows(1)
    done = retrieve_phase(dataset(image), PhaseRetrieval(1e5, 20.0, 100.0)).data
    np.testing.assert_allclose(done, 0.3, rtol=1e-5)
    with pytest.raises(DataError, match="energy"):
        retrieve_phase(dataset(image), PhaseRetrieval(1e5, None, 100.0))
    with pytest.raises(DataError, match="distance"):
        retrieve_phase(dataset(image), PhaseRetrieval(1e5, 20.0))
    with pytest.raises(ConfigError, match="delta_beta"):
        PhaseRetrieval(-1.0)
    with pytest.raises(ConfigError, match=r"prepare\.phase"):
        prepare(dataset(image, "line_integrals"), phase=PhaseRetrieval(1.0, 20.0, 1.0), center=None)


def test_a_margin_around_rows_is_enough() -> None:
    how = PhaseRetrieval(2e4, 20.0, 100.0)
    data = dataset(shadows(2, 120, 60), pixel=0.02)
    pad = how.margin(data.scan)
    assert pad < 40
    whole = retrieve_phase(data, how).data[:, 50:70]
    part = retrieve_phase(dataset(data.data[:, 50 - pad : 70 + pad], pixel=0.02), how).data[:, pad:-pad]
    assert np.abs(whole - part).max() < 2e-4


def test_polynomial_of_hardening() -> None:
    curve = polynomial([1.0, 0.05, 0.001])
    p = np.array([-0.1, 0.0, 0.5, 2.0, 6.0, 15.0])
    made = curve(p)
    np.testing.assert_allclose(made[1:5], p[1:5] + 0.05 * p[1:5] ** 2 + 0.001 * p[1:5] ** 3, atol=1e-5)
    assert made[0] == pytest.approx(-0.1, rel=1e-3)
    assert made[5] > made[4]
    with pytest.raises(ConfigError, match="falls"):
        polynomial([1.0, -0.5])
    done = linearise(dataset(np.full((2, 3, 4), 2.0, np.float32), "line_integrals"), curve)
    np.testing.assert_allclose(done.data, 2.208, rtol=1e-5)
    assert done.data.dtype == np.float32


def test_the_curve_of_a_material_makes_a_wedge_straight() -> None:
    pytest.importorskip("spekpy", reason="the extra spectral is not installed")
    from tomodiff.prepare.spectrum import attenuation, tube_spectrum

    energies, photons = tube_spectrum(120.0, {"Al": 2.0}, step_kev=0.5)  # twice as fine as the curve's
    thickness = np.linspace(0, 60, 200)
    mu = attenuation("Al", energies)
    weight = photons * energies / (photons @ energies)
    measured = -np.log(np.exp(-thickness[:, None] * mu) @ weight)
    curve = of_material("Al", 120.0, {"Al": 2.0})
    made = curve(measured)
    slope = made[1:] / thickness[1:]
    assert np.ptp(measured[1:] / thickness[1:]) > 0.3 * slope.mean()
    assert np.ptp(slope) < 0.01 * slope.mean()
    assert slope.mean() == pytest.approx(weight @ mu, rel=0.01)


def test_stripes_by_algotom() -> None:
    pytest.importorskip("algotom", reason="the extra stripes is not installed")
    sinogram = -np.log(shadows(90, 2, 128, still=False))  # wavelets take edges that stay in their column for stripes
    rng = np.random.default_rng(3)
    sinogram = sinogram + 0.005 * rng.standard_normal(sinogram.shape).astype(np.float32)
    offsets = np.where(rng.random(128) < 0.1, 0.1 * rng.standard_normal(128), 0).astype(np.float32)
    striped = dataset(sinogram + offsets, "line_integrals")
    for method in ("vo", "wavelet", "titarenko"):
        done = remove_stripes(striped, method, 2)
        left = (done.data - sinogram).mean(axis=(0, 1))
        left -= scipy.ndimage.median_filter(left, 15)
        inside = slice(16, -16)  # and are at a loss at the ends of rows
        assert (left[inside] ** 2).sum() < 0.5 * (offsets[inside] ** 2).sum(), method
        assert done.meta["prepare"]["remove_rings"]["method"] == method
    with pytest.raises(ConfigError, match="32 views"):
        remove_stripes(dataset(sinogram[:20], "line_integrals"), "vo")
    with pytest.raises(ConfigError, match=r"vo: row 0: .*noise"):
        remove_stripes(dataset(np.zeros((40, 2, 64), np.float32), "line_integrals"), "vo")


def changing_beam(views: int, shape: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A beam profile with fixed structure that moves up and down in it: profile(t) (v, u) for random positions t."""
    rng = np.random.default_rng(seed)
    v, u = np.arange(shape[0])[:, None], np.arange(shape[1])[None]
    fixed = 1 + 0.1 * np.random.default_rng(77).standard_normal(shape)
    at = rng.normal(0, 1.5, views)
    ripples = np.array([np.exp(-(((v - shape[0] / 2 - a) / 30) ** 2)) * (1 + 0.08 * np.cos((v - a) / 3)) for a in at])
    return 20000 * fixed * ripples * (1 + 0 * u), at


def test_eigen_flats_follow_a_beam_that_moves() -> None:
    shape, views = (40, 90), 24
    through = shadows(views, *shape)
    rng = np.random.default_rng(5)
    flats = rng.poisson(changing_beam(30, shape, 1)[0]) + 100
    beam = changing_beam(views, shape, 2)[0]
    counts = rng.poisson(beam * through) + 100
    darks = np.full((5, *shape), 100, np.uint16)
    data = dataset(counts.astype(np.uint16), "counts", flats=flats.astype(np.uint16), darks=darks)
    truth = np.log((counts - 100) / beam)  # with its photon noise, which no flat can take away
    error = {m: np.std(np.log(flat_field(data, m).data) - truth) for m in ("mean", "eigen")}
    assert error["eigen"] < 0.3 * error["mean"]
    assert flat_field(data, "eigen").meta["prepare"]["flat_field"]["modes"] in (1, 2, 3)
    broken = counts.astype(np.float32)
    broken[3, 20, 40] = np.nan
    made = flat_field(data.replace(data=broken), "eigen").data
    assert np.argwhere(np.isnan(made)).tolist() == [[3, 20, 40]]


def test_eigen_flats_of_a_steady_beam_are_the_mean() -> None:
    rng = np.random.default_rng(5)
    flats = rng.poisson(np.full((20, 30, 50), 10000.0)).astype(np.uint16)
    counts = rng.poisson(np.full((6, 30, 50), 8000.0)).astype(np.uint16)
    data = dataset(counts, "counts", flats=flats)
    done = flat_field(data, "eigen")
    assert done.meta["prepare"]["flat_field"]["modes"] == 0
    np.testing.assert_array_equal(done.data, flat_field(data, "mean").data)


def test_flats_between_two_times() -> None:
    shape, views = (4, 12), 11
    through = 0.6
    level = np.linspace(1000.0, 2000.0, views)
    counts = (level[:, None, None] * through * np.ones(shape)).astype(np.float32)
    flats = np.concatenate([np.full((3, *shape), 1000.0), np.full((5, *shape), 2000.0)]).astype(np.float32)
    known = dataset(counts, "counts", flats=flats, meta={"flat_views": [0.0] * 3 + [views - 1.0] * 5})
    done = flat_field(known)
    assert done.meta["prepare"]["flat_field"]["model"] == "interpolated"
    np.testing.assert_allclose(done.data, through, rtol=1e-5)
    assert np.ptp(flat_field(known, "mean").data) > 0.29
    unknown = dataset(counts, "counts", flats=flats[[0, 1, 3, 4]])
    assert flat_field(unknown).meta["prepare"]["flat_field"]["model"] == "mean"
    guessed = flat_field(unknown, "interpolated")
    assert "half before" in guessed.meta["warnings"][-1]
    with pytest.raises(ConfigError, match="flat_model"):
        flat_field(known, "median")
    with pytest.raises(DataError, match="two or more"):
        flat_field(dataset(counts, "counts", flats=flats[:1]), "interpolated")


def test_the_chain_with_all_of_them() -> None:
    counts = (5000 * shadows(40, 24, 64)).astype(np.uint16)
    flats = np.full((4, 24, 64), 5000, np.uint16)
    data = dataset(counts, "counts", flats=flats, meta={"energy_kev": 20.0, "detector_distance_mm": 10.0})
    made, report = prepare(
        data,
        lag=((0.01, 3.0),),
        zingers=True,
        scatter=(0.05, 20.0),
        phase=PhaseRetrieval(100.0),
        rings="normal",
        hardening=polynomial([1.0, 0.02]),
        center=None,
    )
    steps = list(report["steps"])
    order = ["flat_field", "remove_lag", "repair_pixels", "remove_zingers", "remove_scatter", "retrieve_phase",
             "minus_log", "remove_rings", "linearise"]  # fmt: skip
    assert [s for s in steps if s in order] == order
    assert np.isfinite(made.data).all()
    assert minus_log(flat_field(data)).data.shape == made.data.shape
