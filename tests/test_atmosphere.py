"""Atmospheres: the truth of ISIS, slopes and transposes, no air, and what cannot be."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.toys import exact_slope
from tomodiff.core import check_adjoint, check_gradient
from tomodiff.projectors.terrain.atmosphere import KINDS, TERMS, Atmosphere
from tomodiff.projectors.terrain.forward_scattering import phase_function, transmitted

ISIS = {
    "Isotropic1": "isotropic", "Anisotropic1": "anisotropic", "Isotropic2": "isotropic_2",
    "Anisotropic2": "anisotropic_2", "HapkeAtm1": "hapke", "HapkeAtm2": "hapke_2",
}  # fmt: skip
NAMES = {"Pstd": "path", "Trans": "total", "Trans0": "direct", "Sbar": "sky"}
MARS = {"tau": np.array([0.28]), "wha": np.array([0.95]), "bha": np.array([0.85]), "hga": np.array([0.68])}


def of(kind: str, x: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: x[name] for name in KINDS[kind]}


def several(rng: np.random.Generator, kind: str) -> tuple[Atmosphere, dict[str, np.ndarray]]:
    """Twelve geometries, some at the horizon, and as many kinds of air."""
    mu0, mu = rng.uniform(0.05, 1, (2, 12))
    mu0[0] = mu[1] = 0.0
    A = Atmosphere(mu0, mu, np.cos(rng.uniform(0, 2, 12)), kind)
    air = {"tau": rng.uniform(0.05, 2.5, 12), "wha": rng.uniform(0.2, 0.97, 12), "bha": rng.uniform(0.1, 0.97, 12),
           "hga": rng.uniform(-0.3, 0.8, 12)}  # fmt: skip
    return A, of(kind, air)


@pytest.mark.parametrize("model", ISIS)
def test_the_truth_of_isis(model: str, shared: Callable[[str], Path]) -> None:
    """To the six digits that it is printed with; its rows at angles of 0 are those without air.  What forward
    scattering adds to transmissions ISIS integrates by Romberg's rule to about a thousandth; here it is exact."""
    with shared("reference/planetary/isis_atmosmodel_truth.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["model"] == model]
    assert len(rows) >= 9
    for row in rows:
        angles = np.deg2rad([float(row[f"{name}_deg"]) for name in ("incidence", "emission", "phase")])
        air = MARS | ({"tau": np.array([0.0])} if not angles.any() else {})
        terms = Atmosphere(*np.cos(angles), ISIS[model])(of(ISIS[model], air))[0]
        integrated = model.startswith("Hapke") and row["quantity"] != "Pstd"
        near = pytest.approx(float(row["value"]), rel=1.2e-3 if integrated else 4e-6, abs=1e-8)
        assert terms[TERMS.index(NAMES[row["quantity"]])] == near, row


SKIES = {
    "isotropic": 0.165084,
    "isotropic_2": 0.211278,
    "anisotropic": 0.130632,
    "hapke": 0.0798177,
    "hapke_2": 0.126012,
}


@pytest.mark.parametrize("kind", SKIES)
def test_the_albedo_of_the_sky_is_that_of_isis(kind: str) -> None:
    """Its own numbers for the defaults of Mars."""
    sky = Atmosphere(0.62, 0.78, 0.06, kind)(of(kind, MARS))[0][TERMS.index("sky")]
    assert sky == pytest.approx(SKIES[kind], rel=2e-3 if kind.startswith("hapke") else 4e-6)


def test_forward_scattering_against_adaptive_quadrature() -> None:
    """The same integrals by SciPy's, at a high and at a low sun."""
    from scipy.integrate import dblquad

    tau, w, g = 0.28, 0.95, 0.68
    for incidence in (51.7, 80.0):
        m0, s0 = np.cos(np.deg2rad(incidence)), np.sin(np.deg2rad(incidence))

        def integrand(mu: float, phi: float, whole: bool, m0: float = m0, s0: float = s0) -> float:
            s = np.sqrt(1 - mu * mu)
            more = phase_function(s0 * s * np.cos(phi) - m0 * mu, g) - 1
            near = abs(mu - m0) < 1e-9
            ratio = tau * np.exp(-tau / m0) / m0**2 if near else (np.exp(-tau / m0) - np.exp(-tau / mu)) / (m0 - mu)
            return float((mu if whole else -s * np.cos(phi) * m0 / s0) * more * ratio)

        made = transmitted(*(np.array([a + 0j]) for a in (tau, w, g)), np.array([m0]))
        for found, whole in zip(made, (True, False), strict=True):
            wanted = dblquad(integrand, 0, np.pi, 1e-6, 1, args=(whole,), epsabs=1e-9, epsrel=1e-8)[0]
            assert found[0].real == pytest.approx(w / (2 * np.pi) * wanted, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_slopes_and_transpose(kind: str, rng: np.random.Generator) -> None:
    A, x = several(rng, kind)
    exact_slope(check_gradient(A, x, rng=rng, steps=(1e-3, 1e-4, 1e-5)))
    assert check_adjoint(A.linearize(x)[1], rng=rng) < 1e-12
    assert all(np.isfinite(g).all() for g in A.linearize(x)[1].adjoint(np.ones(A.range.shape)).values())


@pytest.mark.parametrize("kind", KINDS)
def test_light_is_not_made(kind: str, rng: np.random.Generator) -> None:
    """Transmissions and the albedo of the sky lie between 0 and 1, what is transmitted in all is more than the direct
    part, and air that hardly scatters sends no light of its own."""
    A, x = several(rng, kind)
    _, total, direct, sky = A(x).T
    assert (direct >= 0).all() and (total >= direct).all() and (total <= 1).all()
    assert (sky >= 0).all() and (sky < 1).all()
    dark = A(x | {"wha": np.full(12, 1e-6)})
    assert np.abs(dark[:, 0]).max() < 1e-5 and dark[:, 1] == pytest.approx(dark[:, 2], abs=1e-5)


def test_thin_air_scatters_once() -> None:
    """A depth of a thousandth: path radiance w tau / (4 mu), I/F, of isotropic single scattering, and the sun's beam
    weakened along both paths; seen from a planet without curvature."""
    tau, w, mu0, mu = 1e-3, 0.9, 0.6, 0.8
    path, _, direct, _ = Atmosphere(mu0, mu, 0.3, scale_height=1e-9)({"tau": np.array([tau]), "wha": np.array([w])})[0]
    single = w / 4 * mu0 / (mu0 + mu) * (1 - np.exp(-tau * (1 / mu0 + 1 / mu)))
    assert path == pytest.approx(single, rel=5e-3)
    assert direct == pytest.approx(np.exp(-tau * (1 / mu0 + 1 / mu)), rel=1e-6)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="kind: expected one of isotropic, isotropic_2"):
        Atmosphere(1.0, 1.0, 1.0, "thick")
    with pytest.raises(ValueError, match="scale_height"):
        Atmosphere(1.0, 1.0, 1.0, scale_height=0.0)
    A = Atmosphere(1.0, 1.0, 1.0, "anisotropic")
    for name, value in (("tau", -0.1), ("wha", 1.0), ("bha", 1.5)):
        with pytest.raises(ValueError, match=f"{name}: expected"):
            A(of("anisotropic", MARS) | {name: np.array([value])})
