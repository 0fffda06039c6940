"""Maps that vary linearly: closed forms of both steps, and a motion found again from images with noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Measured
from tests.cryoem_toys import ball, blobs, particles
from tomodiff.cli.main import main
from tomodiff.files.cryoem import read_map, read_star_file
from tomodiff.particles import Particles, particles_of
from tomodiff.projectors.slicer import Slicer
from tomodiff.recipes.cryoem.components import (
    Latents,
    LinearModel,
    expect,
    gather,
    maximise,
    persistence,
    posterior,
    random_latents,
    standardised,
)
from tomodiff.recipes.cryoem.data import ParticleData, View

BOX = 24
SMALL = ["--particles", "400", "--box", "32", "--pixel-a", "4", "--snr", "0.2", "--seed", "3"]
QUIET = ("--set", "output.report=false")


def latents(z: np.ndarray) -> Latents:
    """Latents that are known exactly, contrast 1."""
    mean = np.concatenate([np.ones((len(z), 1)), z], 1)
    return Latents(mean, np.zeros((len(z), z.shape[1] + 1, z.shape[1] + 1)))


def noiseless(rng: np.random.Generator, z: np.ndarray) -> tuple[Particles, list[np.ndarray]]:
    """Images of V0 + sum z_k V_k in closed form, and the maps."""
    shapes = [blobs(seed, 60, 28.0, (5.0, 7.0)) for seed in range(z.shape[1] + 1)]
    state = rng.bit_generator.state
    images = 0.0
    for k, shape in enumerate(shapes):
        rng.bit_generator.state = state  # the same poses, shifts and defoci
        made, _ = particles(shape, len(z), rng, box=BOX, snr=np.inf)
        images = images + (1.0 if k == 0 else z[:, k - 1, None, None]) * made.images[:]
    told = particles_of(
        np.asarray(images, np.float32), made.rotation, made.optics[0], shift=made.shift, defocus=made.defocus,
        half=made.half,
    )  # fmt: skip
    return told, [shape.volume(BOX, 3.5) for shape in shapes]


def test_latents_are_the_posterior_of_the_dense_problem(rng: np.random.Generator) -> None:
    """Against Gaussian conditioning written out: z ~ N(mu, D), y = S z + N(0, 1)."""
    S, variance = rng.normal(size=(50, 3)), np.array([0.04, 2.0, 0.3])
    y = S @ np.array([1.1, -1.0, 0.4]) + rng.normal(size=50)
    seen = np.concatenate([y[:, None], S], 1)
    mean, covariance = posterior((seen.T @ seen)[None], variance)
    D, mu = np.diag(variance), np.array([1.0, 0, 0])
    gain = D @ S.T @ np.linalg.inv(S @ D @ S.T + np.eye(50))
    assert mean[0] == pytest.approx(mu + gain @ (y - S @ mu), rel=1e-9)
    assert covariance[0] == pytest.approx(D - gain @ S @ D, rel=1e-8, abs=1e-12)
    fixed, spread = posterior((seen.T @ seen)[None], np.array([0.0, 2.0, 0.3]))
    assert fixed[0, 0] == 1 and not spread[0, 0].any() and not spread[0, :, 0].any()


def test_known_latents_give_the_maps_back(rng: np.random.Generator) -> None:
    """Noiseless images of closed-form slices: the maximisation recovers mean and components, the expectation the
    latents."""
    z = rng.normal(size=(400, 2))
    told, maps = noiseless(rng, z)
    data = ParticleData(told, View(kernel="kaiser-bessel"))
    slicer = Slicer(data.operator.spectrum, BOX, 8.0, data.operator.ctf, False, unique=True)
    noise = np.ones((1, BOX // 2 + 1))
    halves = [
        gather(data, data.values(), latents(z), noise, slicer, np.flatnonzero(told.half == h), np.eye(3)[None])
        for h in (1, 2)
    ]
    found, _ = maximise((halves[0], halves[1]), np.ones((BOX,) * 3))
    radius = np.fft.fftfreq(BOX, 1 / BOX)
    seen = radius[:, None, None] ** 2 + radius[:, None] ** 2 + radius[: BOX // 2 + 1] ** 2 < 6**2
    cover = ball(BOX)
    for made, true in zip(found, maps, strict=True):
        F, T = (np.fft.rfftn(v * cover)[seen] for v in (made, true))
        assert np.linalg.norm(F - T) < 0.05 * np.linalg.norm(T)
    model = LinearModel(np.stack(maps).astype(np.float32), np.array([0.0, 1e6, 1e6]))
    again = expect(data, data.values(), model, noise, slicer, np.arange(400))
    assert np.abs(again.coordinates - z).max() < 0.05


def test_the_frame_of_a_model_does_not_change_what_it_says(rng: np.random.Generator) -> None:
    maps = rng.normal(size=(3, 5, 5, 5))
    z = rng.normal(size=(40, 2)) * [2.0, 0.5] + [0.3, 1.0]
    model, turned = standardised(maps, latents(z), contrast=False)
    before = maps[0] + np.einsum("nk,kxyz->nxyz", z, maps[1:])
    after = model.maps[0] + np.einsum("nk,kxyz->nxyz", turned.coordinates, model.maps[1:])
    assert after == pytest.approx(before, abs=1e-10)
    flat = model.maps[1:].reshape(2, -1)
    assert flat @ flat.T == pytest.approx(np.eye(2), abs=1e-10)
    assert turned.coordinates.mean(0) == pytest.approx([0, 0], abs=1e-10)
    assert np.cov(turned.coordinates.T, bias=True) == pytest.approx(np.diag(model.variance[1:]), abs=1e-9)
    assert model.variance[1] > model.variance[2]


def test_persistence_is_the_posterior_over_the_prior_variance(rng: np.random.Generator) -> None:
    model = LinearModel(np.zeros((2, 3, 3, 3)), np.array([0.0, 4.0]))
    made = random_latents(10, 1, rng)
    made.covariance[:, 1, 1] = 1.0
    assert persistence(model, made) == pytest.approx([0, 0.25])


def correlations(run: Path, truth: Path, components: int) -> np.ndarray:
    """|correlation| of each component's latents with the truth."""
    table, true = (read_star_file(path).tables[-1] for path in (run / "particles.star", truth))
    t = true.floats("tomodiffLatent")
    found = [table.floats(f"tomodiffComponent{k}") for k in range(1, components + 1)]
    return np.array([abs(np.corrcoef(z, t)[0, 1]) for z in found])


def simulate(folder: Path, *given: str) -> Path:
    assert main(["-q", "cryoem", "simulate", "phantom", str(folder / "p.star"), "--motion", *given]) == 0
    return folder / "p.star"


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("motion"), *SMALL)


def test_a_motion_is_the_first_component(moving: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    given = ["--components", "2", "--frames", "3"]
    assert main(["-q", "cryoem", "variability", str(moving), "-o", str(run), *given]) == 0
    found = correlations(run, moving.with_name("p_truth.star"), 2)
    assert found[0] >= 0.85 and found[1] < 0.4
    shown = (run / "report.html").read_text()
    assert "Variability" in shown and "Along the components" in shown
    ends = [read_map(run / "series" / f"component1_{k:02d}.mrc")[0] for k in (1, 3)]
    true = [read_map(moving.with_name(f"p_truth{k}.mrc"))[0] for k in (1, 3)]
    # The series goes from one end of the motion to the other, whichever comes first.
    assert abs(np.corrcoef((ends[1] - ends[0]).ravel(), (true[1] - true[0]).ravel())[0, 1]) > 0.6
    component = read_map(run / "component1.mrc")[0]
    assert np.linalg.norm(component) == pytest.approx(1, rel=1e-3)


def test_contrast_is_told_beside_the_components(moving: Path, tmp_path: Path) -> None:
    given = ["--components", "1", "--contrast", "--mask", "none", *QUIET]
    assert main(["-q", "cryoem", "variability", str(moving), "-o", str(tmp_path / "run"), *given]) == 0
    assert correlations(tmp_path / "run", moving.with_name("p_truth.star"), 1)[0] >= 0.8
    contrast = read_star_file(tmp_path / "run" / "particles.star").tables[-1].floats("tomodiffContrast")
    assert contrast.mean() == pytest.approx(1, abs=0.1) and contrast.std() > 0


def test_an_analysis_goes_on_to_the_same_bits(moving: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tomodiff.recipes.run import Run

    given = ["cryoem", "variability", str(moving), "--components", "1", "--iterations", "4", *QUIET]
    assert main(["-q", *given, "-o", str(tmp_path / "whole")]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(Run, "stop_requested", property(lambda self: True))
        assert main(["-q", *given, "-o", str(tmp_path / "parts")]) == 75
    watched = [Run.open(tmp_path / "parts").report_data(name) for name in ("latents", "preview")]
    assert watched[0] is not None and watched[0]["coordinates"].shape[1] == 1 and watched[1] is not None
    assert main(["-q", "resume", str(tmp_path / "parts")]) == 0
    whole, parts = (read_map(tmp_path / run / "component1.mrc")[0] for run in ("whole", "parts"))
    assert np.array_equal(whole, parts)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_motion_is_followed_at_a_tenth_of_the_noise(seed: int, tmp_path: Path, measured: Measured) -> None:
    """2000 particles of 64 pixels, SNR 0.1: a domain turns by an angle of each particle's own."""
    given = ["--particles", "2000", "--box", "64", "--pixel-a", "3.5", "--snr", "0.1", "--seed", str(seed)]
    path = simulate(tmp_path, *given)
    assert main(["-q", "cryoem", "variability", str(path), "-o", str(tmp_path / "run"), *QUIET]) == 0
    found = correlations(tmp_path / "run", path.with_name("p_truth.star"), 3)[0]
    measured("motion at SNR 0.1, correlation of the first latent", ">= 0.9", seed=seed, correlation=found)
    assert found >= 0.9
