"""The dose filter against numbers worked out from the paper's formula, and on images."""

from __future__ import annotations

import numpy as np
import pytest

from tomodiff.prepare.dose import critical_exposure, dose_attenuation, dose_weighted


def test_critical_exposures_of_the_paper() -> None:
    """0.245 k^-1.665 + 2.81 by hand: at 1/10 A 0.245 * 46.2381 + 2.81, at 1/3 A 0.245 * 6.22884 + 2.81."""
    np.testing.assert_allclose(critical_exposure([0.1, 1 / 3]), [14.13834, 4.33607], rtol=1e-5)
    np.testing.assert_allclose(critical_exposure(0.1, 200), 0.8 * 14.13834, rtol=1e-5)
    assert dose_attenuation(0.0, 100.0) == 1
    np.testing.assert_allclose(dose_attenuation(0.1, 2 * 14.13834), np.exp(-1), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_wave_is_damped_by_the_factor_of_its_frequency(dtype: str) -> None:
    rows, columns, pixel = 30, 48, 2.5
    v, u = np.indices((rows, columns))
    wave = np.cos(2 * np.pi * (3 * v / rows + 5 * u / columns)).astype(dtype)
    images = np.stack([1 + wave, 1 + wave])
    kept = images.copy()
    found = dose_weighted(images, [0.0, 40.0], pixel)
    k = np.hypot(3 / rows, 5 / columns) / pixel
    assert found.dtype == images.dtype
    np.testing.assert_allclose(found[0], images[0], atol=1e-6)
    np.testing.assert_allclose(found[1], 1 + wave * np.exp(-20 / (0.245 * k**-1.665 + 2.81)), atol=1e-6)
    np.testing.assert_array_equal(images, kept)


def test_restored_power_keeps_white_noise_in_the_sum(rng: np.random.Generator) -> None:
    images = rng.standard_normal((6, 64, 64))
    found = dose_weighted(images, np.arange(6) * 10.0, 1.5, restore_power=True)
    k = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None])
    # The mean of the squared factors is one at every frequency, so the power of all images is kept but for chance.
    outer = k > 0.3
    before, after = (np.sum(np.abs(np.fft.fft2(x)) ** 2, 0)[outer].mean() for x in (images, found))
    assert abs(after / before - 1) < 0.05


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (([1.0], 1.0), "dose"),
        (([1.0, -1.0], 1.0), "dose"),
        (([1.0, np.nan], 1.0), "dose"),
        (([1.0, 1.0], 0.0), "pixel"),
        (([1.0, 1.0], 1.0, 120.0), "voltage"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments: tuple[object, ...], names: str) -> None:
    with pytest.raises(ValueError, match=names):
        dose_weighted(np.zeros((2, 8, 8)), *arguments)  # type: ignore[arg-type]
