"""MRI from a file to an image: against truths that no part of the reconstruction made, and against CT's projector."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from datasets import make_mri_sample
from tomodiff.analytic.coil_maps import coil_images, estimated_maps, walsh_maps
from tomodiff.analytic.density import density_weights
from tomodiff.cli.demo.mri import relative_error
from tomodiff.cli.main import main
from tomodiff.files import read_volume
from tomodiff.files.kspace import read_kspace
from tomodiff.files.kspace.bart import read_cfl, write_cfl
from tomodiff.files.kspace.ismrmrd_writer import write_ismrmrd
from tomodiff.projectors.mri.fourier import fourier_of
from tomodiff.projectors.mri.off_resonance import OffResonance
from tomodiff.recipes.mri.delays import delayed, find_delays
from tomodiff.recipes.run import Run
from tomodiff.simulate.mri import Spokes, chest, coil_fields, simulate_kspace
from workflows.benchmarks.spokes import agreement

CARDIAC = "data/mri/mri_cardiac_radial/cardiac_radial_25.mrd.h5"
SCAN = Spokes(size=96, coils=6, spokes=32, noise=5e-4, seed=8)
Job = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A file of a third of the spokes that Nyquist asks for, and the truth."""
    path = tmp_path_factory.mktemp("mri") / "scan.h5"
    kspace, truth = simulate_kspace(SCAN)
    write_ismrmrd(path, kspace)
    return path, truth


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Reconstruct from the command line; the image (z, y, x)."""

    def run(path: Path, *options: str, code: int = 0, out: str = "image.npy", report: str = "false") -> np.ndarray:
        options += ("--set", f"output.report={report}")
        found = main(["-q", "mri", "reconstruct", str(path), "-o", str(tmp_path / out), *options])
        assert found == code
        return read_volume(tmp_path / out)[0] if code == 0 else np.empty(0)

    return run


def test_each_method_is_better_than_the_one_before(measured: tuple[Path, np.ndarray], job: Job) -> None:
    """Errors of the modulus against the truth, at a third of the spokes; total variation suits ellipses."""
    path, truth = measured
    methods = ("gridding", "cg-sense", "l1-wavelet", "tv")
    found = {name: relative_error(job(path, "-m", name, out=f"{name}.npy"), truth) for name in methods}
    assert found["cg-sense"] < 0.6 * found["gridding"], found
    assert found["l1-wavelet"] < found["cg-sense"] and found["tv"] < 0.75 * found["cg-sense"], found
    assert found["tv"] < 0.15, found


def test_all_spokes_and_no_noise_give_the_truth(job: Job, tmp_path: Path) -> None:
    """Smoothed, since no band-limited image has the truth's edges; with the coils' own maps, and with those found, that
    are a little wrong at the body's rim."""
    kspace, truth = simulate_kspace(Spokes(size=64, coils=6, spokes=120, noise=0.0))
    write_ismrmrd(tmp_path / "all.h5", kspace)
    fields = coil_fields(64, 6)
    fields /= np.sqrt((np.abs(fields) ** 2).sum(axis=0))
    write_cfl(tmp_path / "maps", fields.transpose(2, 1, 0)[:, :, None])
    for options, bound in ((("--maps", str(tmp_path / "maps.cfl")), 0.04), ((), 0.1)):
        made = job(tmp_path / "all.h5", *options, out=f"{len(options)}.npy")
        smooth = [gaussian_filter(image, 1.0) for image in (made[0], truth[0])]
        assert relative_error(*smooth) < bound, options


def test_the_run_keeps_complex_images_and_coils(measured: tuple[Path, np.ndarray], job: Job, tmp_path: Path) -> None:
    path, _ = measured
    made = job(path, report="true")
    image, maps = read_cfl(tmp_path / "image.run" / "image"), read_cfl(tmp_path / "image.run" / "maps")
    assert maps.shape[:4] == (96, 96, 1, 6)
    np.testing.assert_allclose(np.abs(np.asarray(image)).reshape(96, 96, order="F").T, made[0], rtol=1e-6)
    again = job(path, "--maps", str(tmp_path / "image.run" / "maps.cfl"), out="again.npy")
    np.testing.assert_allclose(again, made, rtol=0, atol=1e-4 * made.max())
    write_cfl(tmp_path / "others", np.ones((8, 8, 1, 6), np.complex64))
    job(path, "--maps", str(tmp_path / "others.cfl"), code=2, out="no.npy")
    report = (tmp_path / "image.run" / "report.html").read_text()
    assert all(title in report for title in ("Coils", "Trajectory", "Convergence"))


def test_what_is_in_a_file_and_whether_a_job_can_be_done(
    measured: tuple[Path, np.ndarray], tmp_path: Path, capsys: Any
) -> None:
    assert main(["info", str(measured[0])]) == 0
    said = capsys.readouterr().out
    assert all(text in said for text in ("ISMRMRD", "radial", "3072, 96 in a readout", "96 x 96", "3.333 x 3.333 mm"))
    write_cfl(tmp_path / "t", np.zeros((3, 4, 5), np.complex64))
    assert main(["info", str(tmp_path / "t.cfl")]) == 0
    assert "3 x 4 x 5" in capsys.readouterr().out
    job = tmp_path / "job.yml"
    job.write_text(f"job: mri-reconstruct\ninput:\n  path: {measured[0]}\noutput:\n  path: {tmp_path / 'x'}\n")
    assert main(["check", str(job)]) == 0
    assert "the k-space can be read" in capsys.readouterr().out


def test_damping_makes_the_image_smaller(measured: tuple[Path, np.ndarray], job: Job) -> None:
    free, damped = job(measured[0]), job(measured[0], "--damping", "0.2", out="damped.npy")
    assert 0.3 < np.linalg.norm(damped) / np.linalg.norm(free) < 0.95


def test_a_series_of_low_rank(job: Job, tmp_path: Path) -> None:
    """A beating heart, 9 spokes an image: images of a few modes are closer to the truth than each for itself."""
    kspace, truth = simulate_kspace(Spokes(size=64, coils=6, spokes=9 * 14, frames=14, noise=3e-4, seed=3))
    write_ismrmrd(tmp_path / "series.h5", kspace)
    each = relative_error(job(tmp_path / "series.h5", out="each.npy"), truth)
    together = relative_error(job(tmp_path / "series.h5", "-m", "low-rank", out="together.npy"), truth)
    assert together < 0.6 * each, (together, each)


def test_late_gradients_are_found_and_undone(job: Job, tmp_path: Path) -> None:
    late = (0.8, -0.5)
    kspace, truth = simulate_kspace(Spokes(size=96, coils=6, spokes=48, noise=3e-4, delays=late, seed=4))
    delays, explained = find_delays(kspace)
    np.testing.assert_allclose(delays, late, atol=0.03)
    assert explained > 0.5
    np.testing.assert_allclose(find_delays(kspace.replace(points=delayed(kspace, np.array(late))))[0], 0, atol=0.03)
    write_ismrmrd(tmp_path / "late.h5", kspace)
    blind, undone = (
        relative_error(job(tmp_path / "late.h5", "--delays", way, out=f"{way}.npy"), truth) for way in ("off", "auto")
    )
    assert undone < 0.7 * blind, (undone, blind)


def test_a_field_map_undoes_the_turns_of_spins(job: Job, tmp_path: Path) -> None:
    """Simulated with the field on the four times finer grid, readouts of 12 ms."""
    n, fine = 64, 256
    at = np.linspace(-0.5, 0.5, fine, endpoint=False) + 0.5 / fine
    field = 250 * np.exp(-((at[:, None] - 0.1) ** 2 + at**2) / 0.03)
    plain, truth = simulate_kspace(Spokes(size=n, coils=4, spokes=90, noise=0.0))
    times = np.tile(np.linspace(0, 12e-3, n, endpoint=False), 90)
    seen = coil_fields(fine, 4) * chest(fine)
    spectrum = OffResonance(field, times, plain.points / 4, (4,), 1e-6, "complex128").forward(seen)
    data = spectrum * np.exp(2j * np.pi * plain.points.sum(axis=1) * 1.5 / 4) / 16
    write_ismrmrd(tmp_path / "off.h5", plain.replace(data=data.astype(np.complex64), times=times))
    averaged = field.reshape(n, 4, n, 4).mean(axis=(1, 3)).astype(np.float32)
    np.save(tmp_path / "field.npy", averaged[None])
    blind = relative_error(job(tmp_path / "off.h5", out="blind.npy"), truth)
    known = relative_error(job(tmp_path / "off.h5", "--field-map", str(tmp_path / "field.npy"), out="known.npy"), truth)
    assert known < 0.6 * blind, (known, blind)


def test_cartesian_data_of_bart_with_every_second_line(job: Job, tmp_path: Path) -> None:
    """Twice undersampled but for the middle; six coils undo the fold."""
    n = 64
    fields, body = coil_fields(n, 6), chest(n)
    lines = np.zeros((n, n), bool)
    lines[::2], lines[n // 2 - 8 : n // 2 + 8] = True, True
    at = np.argwhere(lines)
    samples = fourier_of((n, n), (at - n // 2) / n, (6,), dtype="complex128")(fields * body)
    grid = np.zeros((6, n, n), np.complex64)
    grid[:, lines] = samples
    write_cfl(tmp_path / "k", grid.transpose(2, 1, 0)[:, :, None])
    made = job(tmp_path / "k.cfl", "--iterations", "20")
    combined = np.abs(body) * np.sqrt((np.abs(fields) ** 2).sum(axis=0))
    assert relative_error(made[0], combined) < 0.05


def test_maps_are_those_of_the_coils() -> None:
    """Up to a phase that all coils share, where there is a signal."""
    n = 64
    kspace, truth = simulate_kspace(Spokes(size=n, coils=6, spokes=100, noise=0.0))
    weights = density_weights(kspace.shape, kspace.points)
    maps = estimated_maps(kspace.data, kspace.points, kspace.shape, weights)
    fields = coil_fields(n, 6)
    fields /= np.sqrt((np.abs(fields) ** 2).sum(axis=0))
    likeness = np.abs((maps.conj() * fields).sum(axis=0))
    seen = gaussian_filter(truth[0], 1.5) > 0.15 * truth.max()
    assert np.percentile(likeness[seen], 5) > 0.975
    np.testing.assert_allclose(np.linalg.norm(maps, axis=0), 1, atol=1e-4)
    whole = walsh_maps(coil_images(kspace.data, kspace.points, (n, n), weights))
    assert np.percentile(np.abs((whole.conj() * fields).sum(axis=0))[seen], 5) > 0.97


def test_weights_of_spokes_are_a_ramp() -> None:
    """Area of the ring between two radii over the samples in it."""
    angles, along = np.arange(201) * np.pi / 201, (np.arange(64) - 32) / 64
    points = np.stack([np.outer(np.sin(angles), along).ravel(), np.outer(np.cos(angles), along).ravel()], axis=1)
    radius = np.linalg.norm(points, axis=1)
    weights = density_weights((64, 64), points)
    inner = (radius > 0.05) & (radius < 0.45)
    np.testing.assert_allclose(weights[inner].mean() / radius[inner].mean(), np.pi / 201 / 64, rtol=0.02)
    assert np.corrcoef(weights[inner], radius[inner])[0, 1] > 0.95
    assert np.pi / 4 * 0.95 < weights.sum() < np.pi / 4 * 1.1


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("-m", "low-rank"), 2, "low-rank needs a series of images"),
        (("-m", "gridding", "--iterations", "5"), 2, "method gridding has none"),
        (("--slice", "3"), 3, "slice 3: expected acquisitions of an image"),
        (("-m", "cg"), 2, "method"),
        (("-m", "l1-wavelet", "--wavelet", "bior2.2"), 2, "wavelet: expected an orthogonal one"),
    ],
)
def test_what_does_not_fit_is_said(
    measured: tuple[Path, np.ndarray], job: Job, options: Any, code: int, message: str, capsys: Any
) -> None:
    job(measured[0], *options, code=code)
    assert message in capsys.readouterr().err


def test_too_few_samples_are_refused(job: Job, tmp_path: Path, capsys: Any) -> None:
    kspace = simulate_kspace(Spokes(size=64, coils=2, spokes=4))[0]
    write_ismrmrd(tmp_path / "few.h5", kspace)
    job(tmp_path / "few.h5", code=3)
    assert "samples: expected 1024 or more of all coils for 4096 pixels, found 512" in capsys.readouterr().err


def test_an_interrupted_run_resumes_to_the_same_image(
    measured: tuple[Path, np.ndarray], job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, options = measured[0], ("-m", "tv", "--iterations", "12")
    whole = job(path, *options)
    with monkeypatch.context() as patched:
        patched.setattr(Run, "stop_requested", property(lambda run: len(run.metrics()) == 7))
        job(path, *options, "--format", "npy", out="cut", code=75)
    assert main(["-q", "resume", str(tmp_path / "cut")]) == 0
    np.testing.assert_array_equal(read_volume(tmp_path / "cut" / "image.npy")[0], whole)


def test_the_sample_is_what_its_script_makes() -> None:
    kept = read_kspace(Path(make_mri_sample.__file__).parent / "mri_sample.h5")
    made, _ = simulate_kspace(make_mri_sample.SAMPLE)
    np.testing.assert_allclose(kept.data, made.data, rtol=0, atol=1e-5 * np.abs(made.data).max())


def test_the_demonstration(tmp_path: Path) -> None:
    assert main(["-q", "demo", "mri", "-o", str(tmp_path / "demo")]) == 0


def test_spokes_through_the_projector_of_ct_give_the_same_heart(shared: Callable[[str], Path]) -> None:
    found = agreement(read_kspace(shared(CARDIAC)))[0]
    assert found["low"] < 0.02 and found["full"] < 0.2, found


@pytest.mark.slow
def test_spokes_through_the_projector_of_ct_give_the_same_chest() -> None:
    found = agreement(simulate_kspace(Spokes(size=128, coils=6, spokes=60, noise=5e-4))[0])[0]
    assert found["low"] < 0.04 and found["full"] < 0.2, found
