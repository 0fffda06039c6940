"""Heights and albedo found again from four images that an independent, four times finer model made."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize

from tomodiff.projectors.terrain.reflectance import Reflectance, direction

N, FINE, EDGE = 96, 4, 6
SUNS = direction(np.deg2rad([0.0, 90.0, 180.0, 270.0]), np.deg2rad(35.0))


def terrain(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Heights in elements of the coarse grid, fractal with craters, and albedo, both on the fine grid."""
    n = N * FINE
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n)))
    k[0, 0] = 1
    F = np.fft.fft2(rng.normal(size=(n, n))) * k**-1.9 * (k < 0.45 / FINE)
    F[0, 0] = 0
    height = np.fft.ifft2(F).real
    height *= np.tan(np.deg2rad(10)) / np.sqrt((np.square(np.gradient(height, 1 / FINE))).sum(0).mean())
    y, x = np.mgrid[:n, :n] / FINE
    for _ in range(8):
        radius, (cx, cy) = rng.uniform(3, 12), rng.uniform(0, N, 2)
        d = np.hypot(x - cx, y - cy) / radius
        height += 0.2 * radius * np.where(d < 1, d**2 - 0.8, 0.2 * np.exp(-3 * (d - 1)))
    patches = gaussian_filter(rng.normal(size=(n, n)), 6 * FINE)
    return gaussian_filter(height, 0.8 * FINE), 0.2 * (1 + 0.2 * patches / patches.std())


def mean(fine: np.ndarray) -> np.ndarray:
    """Over the elements of the coarse grid."""
    return np.asarray(fine.reshape(N, FINE, N, FINE).mean((1, 3)))


def rendered(height: np.ndarray, albedo: np.ndarray) -> np.ndarray:
    """(4, N, N) McEwen's Lunar-Lambert model seen from above, written out on the fine grid and averaged."""
    south, east = np.gradient(height, 1 / FINE)
    n = np.stack([-east, south, np.ones_like(height)]) / np.sqrt(1 + east**2 + south**2)
    images = []
    for sun in SUNS:
        mu0, mu = np.einsum("cij,c->ij", n, sun), n[2]
        a = np.rad2deg(np.arccos(sun[2]))
        share = 1 - 0.019 * a + 2.42e-4 * a**2 - 1.46e-6 * a**3
        images.append(mean(np.where(mu0 > 0, albedo * (2 * share * mu0 / (mu0 + mu) + (1 - share) * mu0), 0)))
    return np.array(images)


def slope(height: np.ndarray) -> np.ndarray:
    return np.asarray(np.rad2deg(np.arctan(np.hypot(*np.gradient(height)))))


def test_four_suns_give_heights_and_albedo() -> None:
    """Signal to noise 100, from heights low-passed to 20 elements and one albedo for all: a tenth of an element in
    height, a degree in slope, two per cent in albedo.  Shading does not see the mean height: the start holds it."""
    rng = np.random.default_rng(41)
    fine, patches = terrain(rng)
    truth, albedo = mean(fine), mean(patches)
    images = rendered(fine, patches)
    sigma = images.mean() / 100
    data = images + rng.normal(0, sigma, images.shape)
    A = Reflectance((N, N), 4, "lunar_lambert_mcewen", dtype="float64")
    known = {"parameters": A.photometry.model.vector(), "sun": SUNS, "view": np.tile([0.0, 0.0, 1.0], (4, 1))}
    B = A.fix(**known, exposure=np.ones(4), haze=np.zeros(4))
    start = gaussian_filter(truth, 20 / 2.355)

    def misfit(z: np.ndarray) -> tuple[float, np.ndarray]:
        h, log_albedo = z.reshape(2, N, N)
        a = np.exp(log_albedo)
        value, J = B.linearize({"height": h, "albedo": a})
        residual, anchor = (value - data) / sigma, 1e-2 * (h - start)
        g = J.adjoint(residual / sigma)
        gradient = np.stack([g["height"] + 1e-2 * anchor, g["albedo"] * a])
        return 0.5 * float((residual**2).sum() + (anchor**2).sum()), gradient.ravel()

    first = np.stack([start, np.full((N, N), np.log(0.2))]).ravel()
    found = minimize(misfit, first, jac=True, method="L-BFGS-B", options={"maxiter": 250, "maxcor": 10}).x
    height, made = found.reshape(2, N, N)
    inner = (slice(EDGE, -EDGE),) * 2

    def off(h: np.ndarray) -> float:
        return float((h - truth)[inner].std())

    slopes = (slope(height) - slope(truth))[inner]
    assert off(start) > 0.25, "there is something to find"
    assert off(height) <= 0.13
    assert np.sqrt((slopes**2).mean()) <= 1.0
    assert np.sqrt(((np.exp(made) / albedo - 1)[inner] ** 2).mean()) <= 0.02
