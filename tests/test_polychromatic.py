"""Beams of many energies: exact derivatives, closed forms, tables, beam hardening and dual energy."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import Measured
from tests.toys import exact_slope
from tomodiff.core import check_adjoint, check_gradient
from tomodiff.core.batched import Batched
from tomodiff.errors import ConfigError
from tomodiff.geometry import Grid, ParallelBeam
from tomodiff.objective import L2, Gaussian
from tomodiff.prepare.spectrum import attenuation, tube_spectrum
from tomodiff.projectors import XRay
from tomodiff.projectors.polychromatic import Fractions, Polychromatic
from tomodiff.simulate.ellipsoids import Ellipsoids
from tomodiff.solvers import Cgls, GaussNewton, GradientNorm, Lbfgs, MaxIterations, solve

SPECTRA = np.array([[0.2, 0.5, 0.3], [0.0, 0.4, 0.6]])
MU = np.array([[0.5, 0.3, 0.2], [2.0, 0.8, 0.4]])


def test_derivatives(rng: np.random.Generator) -> None:
    A = Polychromatic((3, 4), SPECTRA, MU, "float64")
    x = rng.random(A.domain.shape)
    y, jacobian = A.linearize(x)
    assert check_adjoint(jacobian, rng) < 1e-14
    exact_slope(check_gradient(A, x, rng, (1e-1, 1e-2, 1e-3)))
    np.testing.assert_allclose(y, A(x), rtol=1e-14)
    np.testing.assert_allclose(y, -np.log(np.einsum("ce,evu->cvu", SPECTRA, np.exp(-np.einsum("me,mvu->evu", MU, x)))))
    fractions = Fractions(rng.random((2, 3, 4)))
    assert check_adjoint(fractions, rng) < 1e-14 and check_adjoint(Batched(fractions, 3), rng) < 1e-14


def test_closed_forms(rng: np.random.Generator) -> None:
    """One energy: a product.  Nothing in the way: nothing.  A little: the mean attenuation.  A lot: the least."""
    x = rng.random((1, 5)).astype("float32")
    one = Polychromatic((5,), [1.0], [[0.7]])
    np.testing.assert_allclose(one(x), 0.7 * x, rtol=1e-6)
    two = Polychromatic((5,), SPECTRA, MU, "float64")
    assert np.abs(two(np.zeros((2, 5)))).max() < 1e-15
    thin = two.linearize(np.zeros((2, 5)))[1].forward(np.stack([np.ones(5), np.zeros(5)]))
    np.testing.assert_allclose(thin, np.repeat(two.effective()[:, :1], 5, 1), rtol=1e-12)
    thick, jacobian = Polychromatic((5,), SPECTRA, MU).linearize(np.full((2, 5), 5e3, "float32"))
    np.testing.assert_allclose(thick, np.full((2, 5), 5e3 * 0.6), rtol=1e-3)
    np.testing.assert_allclose(jacobian.adjoint(np.ones((2, 5), "float32"))[:, 0], 2 * MU[:, 2], rtol=1e-5)


def test_what_cannot_be_is_refused() -> None:
    for spectra, mu, message in (
        ([[1.0, 2.0]], [[1.0]], "same energies"), ([[-1.0]], [[1.0]], "spectra: expected numbers >= 0"),
        ([[1.0]], [[np.nan]], "attenuation: expected numbers >= 0"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            Polychromatic((2,), spectra, mu)
    with pytest.raises(ValueError, match="expected an array"):
        Fractions(np.array([-1.0]))


def test_tables_are_those_of_nist() -> None:
    """Mass attenuation of water, aluminium and cortical bone at 60 keV (Hubbell and Seltzer 1995): cm^2/g."""
    for name, density, wanted in (("H2O", 1.0, 0.2059), ("Al", 2.699, 0.2778), ("Bone, Cortical (ICRP)", 1.85, 0.3148)):
        found = attenuation(name, 60.0, density)[0] * 10 / density
        assert found == pytest.approx(wanted, rel=0.02)
    assert attenuation("Al", 60.0)[0] == pytest.approx(0.1 * 2.699 * 0.2778, rel=0.01)
    with pytest.raises(ConfigError, match="expected its density"):
        attenuation("H2O", 60.0)
    with pytest.raises(ConfigError, match="attenuation: Xx"):
        attenuation("Xx", 60.0, 1.0)
    energies, photons = tube_spectrum(100.0, {"Al": 2.0})
    mean = float((energies * photons).sum() / photons.sum())
    assert 45 < mean < 58 and energies.max() < 100
    harder = tube_spectrum(100.0, {"Al": 2.0, "Cu": 0.5})
    assert float((harder[0] * harder[1]).sum() / harder[1].sum()) > mean + 5
    with pytest.raises(ConfigError, match="10 to 500 kV"):
        tube_spectrum(1.0)


# ---- a disc of water with two rods of bone, in a parallel beam: integrals in closed form, in spectra of finer steps

SIZE, RADIUS = 64, 80.0
RODS = ((35.0, 0.0), (-35.0, 0.0))
ROD = 12.0


def materials(n: int = 1) -> tuple[Ellipsoids, Ellipsoids]:
    """Water around the rods, and the rods, with density 1."""
    turn = np.eye(3)[None]

    def cylinder(x: float, y: float, radius: float, density: float) -> Ellipsoids:
        return Ellipsoids(np.array([[x, y, 0.0]]), np.array([[radius, radius, 1e5]]), turn, np.array([density]))

    water, bone = cylinder(0, 0, RADIUS, 1.0), None
    for x, y in RODS:
        water = water + cylinder(x, y, ROD, -1.0)
        rod = cylinder(x, y, ROD, 1.0)
        bone = rod if bone is None else bone + rod
    assert bone is not None
    return water, bone


def measured_with(kv: float, filters: dict[str, float], scan: ParallelBeam) -> np.ndarray:
    """-log of what is left of a beam, in steps of 0.5 keV."""
    energies, photons = tube_spectrum(kv, filters, step_kev=0.5)
    lengths = [part.project(scan, 2) for part in materials()]
    mu = [attenuation("H2O", energies, 1.0), attenuation("Bone, Cortical (ICRP)", energies)]
    weights = photons / photons.sum()
    left = sum(w * np.exp(-a * lengths[0] - b * lengths[1]) for w, a, b in zip(weights, *mu, strict=True) if w > 1e-9)
    return -np.log(left).astype("float32")


def model(kv: float, filters: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Spectrum and attenuation of water and bone, in steps of 4 keV."""
    energies, photons = tube_spectrum(kv, filters, step_kev=4.0)
    mu = np.stack([attenuation("H2O", energies, 1.0), attenuation("Bone, Cortical (ICRP)", energies)])
    return photons, mu


def geometry() -> tuple[ParallelBeam, Grid]:
    pixel = 2.2 * RADIUS / SIZE
    return ParallelBeam(np.linspace(0, np.pi, 100, endpoint=False), (1, 80), pixel), Grid((1, SIZE, SIZE), pixel)


def regions(grid: Grid) -> dict[str, np.ndarray]:
    """Voxels well inside of the water's middle and rim, and of the rods."""
    x, y, _ = grid.coordinates()
    r = np.hypot(x, y)
    away = np.min([np.hypot(x - a, y - b) for a, b in RODS], axis=0)
    water = away > ROD + 8
    rim = (r > 60) & (r < 70)
    return {"middle": (r < 15) & water, "rim": rim & water, "rods": away < ROD - 6, "water": (r < 70) & water}


def test_beam_hardening_of_two_materials_is_corrected(measured: Measured) -> None:
    scan, grid = geometry()
    filters = {"Al": 1.0}
    data = measured_with(100.0, filters, scan)
    A, where = XRay(grid, scan), regions(grid)
    plain = solve(Cgls(), Gaussian(data) @ A, np.zeros(grid.shape, "float32"), 15).x
    before = abs(float(plain[where["middle"]].mean() / plain[where["rim"]].mean()) - 1)
    bone = plain > 0.5 * (plain[where["water"]].mean() + plain[where["rods"]].mean())
    fractions = np.stack([~bone, bone]).astype("float32")
    photons, mu = model(100.0, filters)
    beam = Polychromatic(data.shape, photons, mu)
    f = Gaussian(data[None]) @ (beam @ (Batched(A, 2) @ Fractions(fractions)))
    density = solve(Lbfgs(), f, np.ones(grid.shape, "float32"), GradientNorm(1e-3) | MaxIterations(60)).x
    after = abs(float(density[where["middle"]].mean() / density[where["rim"]].mean()) - 1)
    off = max(abs(float(density[where[name]].mean()) - 1) for name in ("water", "rods"))
    measured("beam hardening of two materials", "cupping of 2 %", before=before, after=after, density=off)
    assert before > 0.05 and after <= 0.02 and off <= 0.02


def test_two_energies_tell_two_materials(measured: Measured) -> None:
    scan, grid = geometry()
    beams = ((80.0, {"Al": 1.0}), (140.0, {"Al": 1.0, "Cu": 1.0}))
    data = np.stack([measured_with(*beam, scan) for beam in beams])
    energies = [tube_spectrum(*beam, step_kev=4.0) for beam in beams]
    every = np.union1d(*[e for e, _ in energies])
    spectra = [np.interp(every, e, s, left=0, right=0) * np.isin(every, e) for e, s in energies]
    mu = np.stack([attenuation("H2O", every, 1.0), attenuation("Bone, Cortical (ICRP)", every)])
    A, where = XRay(grid, scan), regions(grid)
    model_ = Polychromatic(data.shape[1:], np.stack(spectra), mu) @ Batched(A, 2)
    f = Gaussian(data, 1e6) @ model_ + 1e-1 * L2()
    start = np.stack([np.ones(grid.shape), np.zeros(grid.shape)]).astype("float32")
    water, bone = solve(GaussNewton(products=60, forcing=1e-3), f, start, 8).x
    off = {
        "water": abs(float(water[where["water"]].mean()) - 1), "bone": abs(float(bone[where["rods"]].mean()) - 1),
        "bone in water": abs(float(bone[where["water"]].mean())),
        "water in bone": abs(float(water[where["rods"]].mean())),
    }  # fmt: skip
    measured("dual energy", "materials within 5 %", **{name.replace(" ", "_"): value for name, value in off.items()})
    assert max(off.values()) < 0.05
