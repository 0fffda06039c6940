"""Methods of the CT recipe beside those that it began with: what they reach, weights, where they start, masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.ct_jobs import COUNTED, ITERATIVE, PARALLEL, Jobs, line_integrals, method, phantom
from tomodiff.errors import ConfigError, DataError
from tomodiff.files import write, write_scan
from tomodiff.geometry import Grid, ParallelBeam, fit_grid
from tomodiff.objective import Gaussian, HuberTotalVariation, TotalVariation
from tomodiff.projectors import XRay
from tomodiff.recipes.ct.invert import WARM
from tomodiff.recipes.ct.memory import required_bytes
from tomodiff.result import Dataset, Result
from tomodiff.simulate import ellipsoid, transmissions
from tomodiff.solvers import OsMomentum, solve


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    return Jobs(tmp_path, monkeypatch)


@pytest.mark.parametrize("name", [n for n in ITERATIVE if n not in COUNTED])
def test_data_of_no_weight_have_no_effect(name: str, jobs: Jobs, tmp_path: Path) -> None:
    scan = PARALLEL.rows(16, 24)
    clean = line_integrals(scan)
    weights = np.ones(clean.data.shape, np.float32)
    weights[::3] = 0
    spoilt = clean.data.copy()
    spoilt[::3] = 7.0
    write_scan(tmp_path / "a.h5", clean.replace(weights=weights))
    write_scan(tmp_path / "b.h5", clean.replace(data=spoilt, weights=weights))
    chosen = method(name) | ({"reconstruction__tv_weight": 1e-3} if name in WARM else {})
    if name == "pwls":
        chosen |= {"reconstruction__edge": 0.01, "reconstruction__subsets": 1}
    if name in WARM:  # starts from the analytic inverse, which knows no weights
        chosen["reconstruction__iterations"] = 300
    expected, found = (jobs(tmp_path / f, **chosen).volume for f in ("a.h5", "b.h5"))
    np.testing.assert_allclose(found, expected, atol=(1e-2 if name in WARM else 1e-5) * expected.max())


@pytest.mark.parametrize(("name", "iterations"), [("lsmr", 6), ("os-sart", 4), ("osem", 2), ("mlem", 20)])
def test_other_methods_come_as_near_as_sirt(name: str, iterations: int, jobs: Jobs, tmp_path: Path) -> None:
    """To the truth, in so many passes through the data, where SIRT takes forty; osem and mlem of data without noise,
    and stopped in time: they trust the faintest rays most."""
    scan = PARALLEL.rows(16, 24)
    write_scan(tmp_path / "a.h5", line_integrals(scan, 0 if name in COUNTED else 0.01))
    grid = fit_grid(scan)
    x, y, _ = grid.coordinates()
    truth, seen = phantom().voxelise(grid, 2), np.hypot(x, y) < 4.5
    error = {
        n: float(np.linalg.norm((jobs(tmp_path / "a.h5", **method(n, k)).volume - truth)[seen]))
        for n, k in (("sirt", 40), (name, iterations))
    }
    assert error[name] < 1.2 * error["sirt"]


def test_osem_takes_turns_and_says_what_it_leaves_out(jobs: Jobs, tmp_path: Path) -> None:
    clean = line_integrals(PARALLEL.rows(16, 24))
    write_scan(tmp_path / "a.h5", clean.replace(weights=np.ones(clean.data.shape, np.float32)))
    made = jobs(tmp_path / "a.h5", **method("osem", 2), reconstruction__subsets=4)
    assert any("no use for the weights" in text for text in made.warnings) and made.volume.min() >= 0
    other = jobs(tmp_path / "a.h5", **method("osem", 2), reconstruction__subsets=8)
    assert np.abs(made.volume - other.volume).max() > 0


@pytest.mark.parametrize("weighted", [False, True])
def test_ordered_subsets_with_momentum_end_near_the_minimum(weighted: bool) -> None:
    """The gap of the objective after 12 passes, of that at the start, against the minimum by 600 steps of the same
    method without subsets, which is Nesterov's and converges."""
    scan = PARALLEL.rows(16, 24)
    grid, clean = fit_grid(scan), line_integrals(scan, 0.03).data.astype(np.float64)
    A = XRay(grid, scan, dtype="float64")
    prior = 0.02 * HuberTotalVariation(0.02, grid.spacing)
    misfit = Gaussian(clean, np.exp(-clean) if weighted else None) @ A
    zero = np.zeros(grid.shape)
    best = solve(OsMomentum(prior, 1, low=0.0), misfit, zero, 600).x
    fast = solve(OsMomentum(prior, 4, low=0.0), misfit, zero, 12).x
    slow = solve(OsMomentum(prior, 1, low=0.0), misfit, zero, 12).x
    least, at_start, after, plain = (float(misfit(x) + prior(x)) for x in (best, zero, fast, slow))
    assert (after - least) / (at_start - least) < 0.01
    assert after - least < 0.3 * (plain - least)


def test_momentum_needs_a_bounded_curvature() -> None:
    A = XRay(Grid((2, 4, 4), 1.0), PARALLEL.rows(0, 2))
    with pytest.raises(TypeError, match="bounded curvature"):
        solve(OsMomentum(TotalVariation()), Gaussian(np.zeros(A.range.shape, np.float32)) @ A, np.zeros((2, 4, 4)), 1)


def test_pwls_beats_fbp_and_tells_its_prior(jobs: Jobs, tmp_path: Path) -> None:
    """On a third of the views, with noise of few photons from closed-form projections."""
    scan = PARALLEL.rows(16, 24)[::3]
    exact = phantom().project(scan)
    rng = np.random.default_rng(3)
    counts = np.maximum(rng.poisson(2e3 * np.exp(-exact)), 1)
    write_scan(tmp_path / "a.h5", line_integrals(scan).replace(data=-np.log(counts / 2e3).astype(np.float32)))
    grid = fit_grid(scan)
    x, y, _ = grid.coordinates()
    truth, seen = phantom().voxelise(grid, 2), np.hypot(x, y) < 4.5
    made = {n: jobs(tmp_path / "a.h5", **method(n, 12)).volume for n in ("fbp", "pwls")}
    error = {n: float(np.linalg.norm((v - truth)[seen])) for n, v in made.items()}
    assert error["pwls"] < 0.5 * error["fbp"]
    assert made["pwls"].min() >= 0


@pytest.mark.parametrize("name", ["pwls", "fista-tv"])
def test_pwls_in_slabs_has_one_prior(name: str, jobs: Jobs, tmp_path: Path) -> None:
    write_scan(tmp_path / "a.h5", line_integrals(PARALLEL))
    run = jobs.open(tmp_path / "a.h5", **method(name, 6))
    whole = jobs.carry_out(run)
    needed = required_bytes(name, PARALLEL, fit_grid(PARALLEL))
    parts = jobs(tmp_path / "a.h5", 0.75 * needed / 0.85, **method(name, 6))
    assert any("slabs of" in text for text in parts.warnings)
    assert np.sqrt(np.mean((parts.volume - whole.volume) ** 2)) < 0.01 * whole.volume.max()


def test_a_volume_to_start_from(jobs: Jobs, tmp_path: Path) -> None:
    """Three iterations and three more from what they gave are no worse than the first; another grid is refused."""
    scan = PARALLEL.rows(16, 24)
    write_scan(tmp_path / "a.h5", line_integrals(scan))
    run = jobs.open(tmp_path / "a.h5", **method("sirt", 3))
    first = jobs.carry_out(run)
    made = next(run.path.glob("volume.h5"))
    again = jobs(tmp_path / "a.h5", **method("sirt", 3), reconstruction__start=str(made))
    six = jobs(tmp_path / "a.h5", **method("sirt", 6))
    np.testing.assert_allclose(again.volume, six.volume, atol=2e-6 * six.volume.max())
    assert np.abs(first.volume - six.volume).max() > 1e-3 * six.volume.max()
    counted = jobs(tmp_path / "a.h5", **method("osem", 1), reconstruction__start=str(made))
    assert np.isfinite(counted.volume).all()
    with pytest.raises(DataError, match="as the reconstruction has"):
        jobs(tmp_path / "a.h5", **method("sirt", 3), reconstruction__start=str(made), reconstruction__voxel_mm=0.5)
    with pytest.raises(ConfigError, match="does not iterate"):
        jobs(tmp_path / "a.h5", reconstruction__method="fbp", reconstruction__start=str(made))


@pytest.mark.parametrize("name", ["fbp", "cgls", "osem", "pwls", "fista-tv"])
def test_nothing_is_put_outside_of_a_mask(name: str, jobs: Jobs, tmp_path: Path) -> None:
    scan = PARALLEL.rows(16, 24)
    write_scan(tmp_path / "a.h5", line_integrals(scan))
    grid = fit_grid(scan)
    x, y, _ = np.broadcast_arrays(*grid.coordinates())
    circle = jobs(tmp_path / "a.h5", **method(name, 3), reconstruction__mask="circle").volume
    radius = np.hypot(x - grid.center[0], y - grid.center[1])
    assert not circle[radius > 0.5 * grid.shape[1] * grid.spacing[1]].any()
    assert circle[radius < 0.4 * grid.shape[1] * grid.spacing[1]].any()
    half = (x < 0).astype(np.float32)
    write(tmp_path / "mask.npy", Result(half, grid))
    made = jobs(tmp_path / "a.h5", **method(name, 3), reconstruction__mask=str(tmp_path / "mask.npy")).volume
    assert not made[half == 0].any() and made[half > 0].any()
    write(tmp_path / "empty.npy", Result(0 * half, grid))
    with pytest.raises(ConfigError, match="above 0"):
        jobs(tmp_path / "a.h5", **method(name, 3), reconstruction__mask=str(tmp_path / "empty.npy"))


def test_metal_leaves_no_streaks(jobs: Jobs, tmp_path: Path) -> None:
    """Two rods of so much that hardly a photon comes through, in a body with holes: errors outside of the metal."""
    body = ellipsoid((0, 0, 0), (4.0, 3.6, 30), 0.08) + ellipsoid((0.2, 1.6, 0), (0.8, 0.8, 30), -0.05)
    metal = ellipsoid((-2.0, 0.1, 0), (0.45, 0.45, 30), 6.0) + ellipsoid((1.9, -0.6, 0), (0.4, 0.4, 30), 6.0)
    scan = ParallelBeam(np.linspace(0, np.pi, 120, endpoint=False), (4, 96), 0.1)
    counts = np.random.default_rng(4).poisson(1e4 * transmissions(body + metal, scan, 3))
    data = -np.log(np.maximum(counts, 0.5) / 1e4).astype(np.float32)
    write_scan(tmp_path / "a.h5", Dataset(data, scan, "line_integrals"))
    grid = fit_grid(scan)
    truth, x, y = body.voxelise(grid, 3), *grid.coordinates()[:2]
    away = (np.hypot(x + 2.0, y - 0.1) > 0.8) & (np.hypot(x - 1.9, y + 0.6) > 0.8) & (np.hypot(x, y) < 4.3)
    away = np.broadcast_to(away, truth.shape)
    error = {}
    for name, more in (("with", {}), ("without", {"reconstruction__metal": 0.6})):
        made = jobs(tmp_path / "a.h5", **method("fbp"), **more).volume
        error[name] = float(np.sqrt(np.mean((made - truth)[away] ** 2)))
    assert error["without"] < 0.5 * error["with"]
    inside = np.broadcast_to(np.hypot(x + 2.0, y - 0.1) < 0.25, truth.shape)
    assert made[inside].min() > 0.6  # the metal itself is there
    with pytest.raises(ConfigError, match="above all but the metal"):
        jobs(tmp_path / "a.h5", **method("fbp"), reconstruction__metal=0.001)


@pytest.mark.parametrize("free", [1.0, 0.75])
def test_ct_numbers(free: float, jobs: Jobs, tmp_path: Path) -> None:
    """In memory and, of a job in slabs, in a file of their own."""
    write_scan(tmp_path / "a.h5", line_integrals(PARALLEL))
    whole = jobs(tmp_path / "a.h5", **method("fbp"))
    budget = free * required_bytes("fbp", PARALLEL, fit_grid(PARALLEL)) / 0.85 * 1.01
    made = jobs(tmp_path / "a.h5", budget, **method("fbp"), reconstruction__water=0.05)
    assert any("slabs" in text for text in made.warnings) == (free < 1)
    assert (made.unit, made.quantity) == ("HU", "CT number") and made.meta["water_per_mm"] == 0.05
    np.testing.assert_allclose(made.volume, 1000 * (whole.volume / 0.05 - 1), atol=0.2)
    with pytest.raises(DataError, match="attenuation of water"):
        jobs(tmp_path / "a.h5", **method("fbp"), reconstruction__water="file")


def test_phase_is_retrieved_alike_in_slabs_and_previews(jobs: Jobs, tmp_path: Path) -> None:
    """The filter blurs over a dozen rows: slabs and single slices are given them."""
    exact = line_integrals(PARALLEL, 0.0).data
    write_scan(tmp_path / "a.h5", Dataset(np.exp(-exact), PARALLEL, "transmission"))
    phase = {
        "prepare__phase": "paganin",
        "prepare__delta_beta": 2e4,
        "prepare__energy_kev": 25.0,
        "prepare__propagation_mm": 1500.0,
    }
    whole = jobs(tmp_path / "a.h5", **method("fbp"), **phase)
    few = 0.75 * required_bytes("fbp", PARALLEL, fit_grid(PARALLEL)) / 0.85
    slabs = jobs(tmp_path / "a.h5", few, **method("fbp"), **phase)
    assert any("slabs of" in text for text in slabs.warnings)
    np.testing.assert_allclose(slabs.volume, whole.volume, atol=2e-3 * whole.volume.max())
    quick = jobs(tmp_path / "a.h5", **method("fbp"), **phase, preview=True)
    at = [
        int(k)
        for k in next(t for t in quick.warnings if "a preview" in t).split("slices ")[1].split(" of")[0].split(",")
    ]
    np.testing.assert_allclose(quick.volume, whole.volume[at], atol=2e-3 * whole.volume.max())
    plain = jobs(tmp_path / "a.h5", **method("fbp"))
    assert np.abs(plain.volume - whole.volume).max() > 0.05 * whole.volume.max()
