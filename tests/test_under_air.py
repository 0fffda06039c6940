"""Terrains through air: closed forms, slopes and transposes, hemispheric albedos, mixtures and their composition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from tests.toys import exact_slope
from tomodiff.core import check_adjoint, check_gradient
from tomodiff.objective import Gaussian
from tomodiff.projectors.terrain.atmosphere import Atmosphere
from tomodiff.projectors.terrain.images import TerrainImages
from tomodiff.projectors.terrain.photometry import model_named
from tomodiff.projectors.terrain.reflectance import direction
from tomodiff.projectors.terrain.under_air import Mixture, UnderAir, hemispheric_albedos

SHAPE = (9, 11)
SUN = np.stack([direction(0.4, 0.8), direction(2.5, 0.6)])
VIEW = np.stack([direction(1.0, 1.3), direction(0.0, 1.2)])


def made(kind: str, model: str = "lambert", shadows: str = "none") -> tuple[UnderAir, dict[str, np.ndarray]]:
    parameters = model_named(model).vector()
    terrain = TerrainImages(SHAPE, VIEW, model, shadows=shadows, sun_radius=0.05, dtype="float64")
    A = UnderAir(terrain, kind, SUN, VIEW, parameters)
    rng = np.random.default_rng(2)
    x = {
        "height": 0.3 * rng.normal(size=SHAPE), "albedo": 0.3 + 0.05 * rng.normal(size=SHAPE), "sun": SUN,
        "parameters": parameters, "exposure": np.array([1.0, 1.3]), "haze": np.array([0.02, 0.0]),
        "tau": np.array([0.3, 0.6]), "wha": np.array([0.9, 0.95]), "bha": np.array([0.8, 0.7]),
        "hga": np.array([0.6, 0.5]),
    }  # fmt: skip
    return A, {n: x[n] for n in A.domain}


def test_level_lambertian_ground_in_closed_form() -> None:
    """I = path + rho mu0 total / (1 - rho sky) of ISIS: on level Lambertian ground the direct parts cancel."""
    A, x = made("isotropic")
    x |= {"height": np.zeros(SHAPE), "albedo": np.full(SHAPE, 0.3), "haze": np.array([0.0, 0.1])}
    terms = Atmosphere(SUN[:, 2], VIEW[:, 2], (SUN * VIEW).sum(1))({"tau": x["tau"], "wha": x["wha"]})
    for k, (path, total, _, sky) in enumerate(terms):
        bright = path + 0.3 * SUN[k, 2] * total / (1 - 0.3 * sky)
        assert np.allclose(A(x)[k], x["exposure"][k] * bright + x["haze"][k], rtol=1e-6)


def test_without_air_nothing_changes() -> None:
    A, x = made("anisotropic_2", "lunar_lambert_mcewen", "penumbra")
    x["tau"] = np.zeros(2)
    dry = {n: x[n] for n in A.terrain.domain}
    added = A(x) - A.terrain(dry)
    assert np.abs(added).max() < 1e-12


@pytest.mark.parametrize(("kind", "model"), [("isotropic", "lunar_lambert_mcewen"), ("anisotropic_2", "lambert"),
                                             ("hapke", "minnaert")])  # fmt: skip
def test_slopes_and_transpose(kind: str, model: str, rng: np.random.Generator) -> None:
    A, x = made(kind, model, "penumbra" if kind == "isotropic" else "none")
    some = A.fix(sun=x["sun"])
    at = {n: x[n] for n in some.domain}
    value, J = A.linearize(x)
    assert np.allclose(A(x), value, rtol=0, atol=1e-13) and check_adjoint(J, rng) < 1e-12
    steps = (1e-2, 1e-3, 1e-4, 1e-5)
    exact_slope(check_gradient(Gaussian(np.zeros(value.shape)) @ some, at, rng, steps), 1e-7)


def test_albedos_over_the_hemisphere() -> None:
    """Lambert: 1 and 1.  Lommel-Seeliger: 1 - mu0 log((1 + mu0) / mu0), whose mean over the sky is 4/3 (1 - log 2)."""
    mu0 = np.array([0.2, 0.6, 1.0])
    of_sun, bond = hemispheric_albedos("lambert", np.zeros(0), mu0)
    assert np.allclose(of_sun, 1, atol=1e-12) and bond == pytest.approx(1, abs=1e-12)
    of_sun, bond = hemispheric_albedos("lommel_seeliger", model_named("lommel_seeliger").vector(), mu0)
    shape = of_sun / (1 - mu0 * np.log((1 + mu0) / mu0))
    assert np.allclose(shape, shape[0], rtol=1e-5)
    assert bond / shape[0] == pytest.approx(4 / 3 * (1 - np.log(2)), rel=1e-5)


def bands() -> Mixture:
    """Four bands; dust that is grey and scatters, and a gas that absorbs in two of them."""
    dust, gas = np.array([0.5, 0.5, 0.48, 0.45]), np.array([0.0, 0.6, 0.1, 1.2])
    albedo = np.stack([[0.95, 0.94, 0.96, 0.97], np.full(4, 1e-3)], 1)
    return Mixture(np.stack([dust, gas], 1), albedo, ("hga", np.stack([np.full(4, 0.6), np.zeros(4)], 1)))


def test_mixtures(rng: np.random.Generator) -> None:
    M = bands()
    x = {"amount": np.array([0.7, 0.3])}
    value, J = M.linearize(x)
    assert value["tau"][1] == pytest.approx(0.7 * 0.5 + 0.3 * 0.6)
    assert value["hga"] == pytest.approx(0.6, rel=2e-3)
    assert check_adjoint(J, rng) < 1e-12
    exact_slope(check_gradient(M, x, rng))
    with pytest.raises(ValueError, match="amount: expected amounts of at least 0"):
        M({"amount": np.zeros(2)})
    with pytest.raises(ValueError, match="two tables"):
        Mixture(np.ones((2, 3)), np.ones((3, 2)))


def test_the_composition_of_the_air_from_several_bands() -> None:
    """Level ground of known albedo in four bands: amounts of dust and gas from the brightness of each, by the exact
    derivatives, from noisy data."""
    M, truth = bands(), np.array([0.8, 0.35])
    sun, view = np.tile(SUN[:1], (4, 1)), np.tile(VIEW[:1], (4, 1))
    terrain = TerrainImages((4, 4), view, "lambert", shadows="none", dtype="float64")
    A = UnderAir(terrain, "hapke", sun, view, np.zeros(0))
    fixed = {
        "height": np.zeros((4, 4)), "albedo": np.full((4, 4), 0.25), "sun": sun, "parameters": np.zeros(0),
        "exposure": np.ones(4), "haze": np.zeros(4),
    }  # fmt: skip
    air = A.fix(**fixed)

    def bright(amount: np.ndarray) -> np.ndarray:
        return np.asarray(air(M({"amount": amount})))[:, 0, 0]

    def slopes(amount: np.ndarray) -> np.ndarray:
        mixed, by_amount = M.linearize({"amount": amount})
        by_air = air.linearize(mixed)[1]
        return np.stack([by_air.forward(by_amount.forward({"amount": e}))[:, 0, 0] for e in np.eye(2)], 1)

    data = bright(truth) * (1 + 0.002 * np.random.default_rng(1).normal(size=4))
    found = least_squares(lambda a: bright(a) - data, [0.3, 0.1], slopes, bounds=(1e-6, 5.0))
    assert np.abs(found.x - truth).max() < 0.03
