"""Sharpened maps: closed forms, RELION's golden map, and relion_postprocess run live."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tests.cryoem_golden import GOLDEN, PIXEL, golden, relion, star_tables
from tomodiff.analytic.masks import soft_sphere
from tomodiff.analytic.postprocess import fsc_weights, guinier_fit, postprocess, sharpen
from tomodiff.analytic.shells import back, filtered, radius, transform
from tomodiff.errors import DataError
from tomodiff.files.cryoem.mtf import read_mtf

Shared = Callable[[str], Path]
CORRECTED = "rlnFourierShellCorrelationCorrected"
needs_relion = pytest.mark.skipif(shutil.which("relion_postprocess") is None, reason="RELION is not installed")


def same(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Relative difference of two maps."""
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def b_factor_of(path: Path) -> float:
    """What RELION sharpened with."""
    found = re.search(r"_rlnBfactorUsedForSharpening\s+(\S+)", path.read_text())
    assert found is not None
    return float(found[1])


def white(n: int, rng: np.random.Generator) -> np.ndarray:
    """A map whose transform has amplitude n^(3/2) and random phases everywhere."""
    F = transform(rng.standard_normal((n, n, n)))
    return back(F / np.abs(F) * n**1.5, n)


def test_b_factor_of_a_gaussian_fall_off_is_found_and_undone(rng: np.random.Generator) -> None:
    n, pixel, B = 48, 1.5, 60.0
    truth = white(n, rng)
    blurred = filtered(truth, lambda r: np.exp(-B / 4 * (r / (n * pixel)) ** 2))
    made, b, guinier = sharpen(blurred, pixel)
    assert b == pytest.approx(-B, rel=2e-3)  # shells are as thick as their means allow
    assert guinier.slope == pytest.approx(-B / 4, rel=2e-3)
    assert guinier.intercept == pytest.approx(np.log(n**-1.5), abs=1e-2)
    inside = radius(n) <= n // 2
    assert same(transform(made)[inside], transform(truth)[inside]) < 5e-3
    assert np.abs(transform(made)[~inside]).max() < 1e-9
    exact, b, _ = sharpen(blurred, pixel, b_factor=-B)
    assert b == -B
    assert same(transform(exact)[inside], transform(truth)[inside]) < 1e-5
    unchanged, b, guinier = sharpen(blurred, pixel, b_factor=None)
    assert b == 0
    assert guinier.slope is None
    assert np.abs(unchanged - blurred).max() < 1e-12


def test_dividing_by_the_mtf_undoes_it(rng: np.random.Generator) -> None:
    n, pixel, detector = 32, 2.0, 1.0
    truth = white(n, rng)
    table = np.stack([np.linspace(0, 0.5, 30), np.linspace(1, 0.3, 30)], 1)
    # A frequency of r / n cycles per pixel is half as many per pixel of the detector, which is half as large.
    seen = filtered(truth, lambda r: 1 - 1.4 * (r / n) * detector / pixel)
    made, _, _ = sharpen(seen, pixel, b_factor=None, mtf=table, mtf_pixel=detector)
    assert same(made, truth) < 1e-6


def test_weights_of_the_fsc() -> None:
    curve = np.array([1, 0.5, 0.2, 0.00005, 0.3])
    assert fsc_weights(curve) == pytest.approx([1, np.sqrt(1 / 1.5), np.sqrt(0.4 / 1.2), 0, 0])


def test_a_fit_needs_shells() -> None:
    with pytest.raises(ValueError, match=r"fit_from.*found 2"):
        guinier_fit(np.array([0, 0.001, 0.01, 0.02]), np.zeros(4), 10.0, 0.0)


def test_low_pass_without_mask_and_with_suspicion(rng: np.random.Generator) -> None:
    n, pixel = 32, 2.0
    signal = filtered(white(n, rng), lambda r: (r <= 8).astype(float))
    halves = [signal + 0.05 * white(n, rng) for _ in range(2)]
    done = postprocess(*halves, pixel, b_factor=None, low_pass_at="resolution", weight_by_fsc=False)
    assert done.masked is None
    assert done.warnings == ()
    assert done.resolution == n * pixel / 8
    F, mean = transform(done.map), transform((halves[0] + halves[1]) / 2)
    assert same(F[radius(n) <= 7], mean[radius(n) <= 7]) < 1e-6
    assert np.abs(F[radius(n) >= 9]).max() < 1e-9 * np.abs(F).max()
    tight = postprocess(*halves, pixel, soft_sphere(n, 3, 0), b_factor=None, rng=rng)
    assert tight.masked is not None
    assert any("softer or wider mask" in said for said in tight.warnings)
    assert np.array_equal(tight.masked, tight.map * soft_sphere(n, 3, 0))


@pytest.mark.real
def test_map_b_factor_and_guinier_plot_are_those_of_relion(shared: Shared) -> None:
    """With RELION's own curve, whose random phases nobody else can draw, everything else is determined."""
    tables = star_tables(shared(GOLDEN + "post.star"))
    mean = (golden(shared, "rec_half1.mrc").astype(float) + golden(shared, "rec_half2.mrc")) / 2
    made, b, guinier = sharpen(mean, PIXEL, tables["fsc"][CORRECTED], fit_from=25.0)
    assert b == pytest.approx(b_factor_of(shared(GOLDEN + "post.star")), rel=1e-6)
    assert same(made, golden(shared, "post.mrc")) < 1e-6
    assert guinier.r_squared == pytest.approx(0.961275, abs=1e-6)
    for name, theirs in (("original", "Original"), ("weighted", "Weighted"), ("sharpened", "Sharpened")):
        assert np.abs(getattr(guinier, name) - tables["guinier"]["rlnLogAmplitudes" + theirs]).max() < 1e-5
    assert guinier.squared == pytest.approx(tables["guinier"]["rlnResolutionSquared"], abs=1e-6)


@pytest.mark.real
@pytest.mark.relion
@needs_relion
def test_with_an_mtf_and_a_low_pass_as_relion(shared: Shared, tmp_path: Path) -> None:
    x = np.arange(101) * 0.005
    rows = "\n".join(f"{f:.4f} {v:.6f}" for f, v in zip(x, np.exp(-3 * x * x) * (1 - 0.5 * x), strict=True))
    mtf = tmp_path / "mtf.star"
    mtf.write_text(f"data_\n\nloop_\n_rlnResolutionInversePixel #1\n_rlnMtfValue #2\n{rows}\n")
    paths = [shared(GOLDEN + f) for f in ("rec_half1.mrc", "rec_half2.mrc", "mask.mrc")]
    relion(tmp_path, "relion_postprocess", "--i", paths[0], "--i2", paths[1], "--mask", paths[2], "--angpix", PIXEL,
           "--auto_bfac", "--autob_lowres", 25, "--autob_highres", 12, "--o", "post", "--random_seed", 1,
           "--mtf", mtf, "--mtf_angpix", 2.5, "--low_pass", -1)  # fmt: skip
    tables = star_tables(tmp_path / "post.star")
    mean = (golden(shared, "rec_half1.mrc").astype(float) + golden(shared, "rec_half2.mrc")) / 2
    made, b, guinier = sharpen(mean, PIXEL, tables["fsc"][CORRECTED], "auto", 25.0, 12.0, read_mtf(mtf), 2.5, 10.0)
    # RELION interpolates the table with the step of one row too many: a part of the second differences.
    assert b == pytest.approx(b_factor_of(tmp_path / "post.star"), rel=1e-5)
    assert same(made, mrcfile.read(tmp_path / "post.mrc")) < 1e-3
    # It leaves out the corners, half of the last shell.
    assert np.abs(guinier.weighted - tables["guinier"]["rlnLogAmplitudesWeighted"])[:-1].max() < 5e-4


@pytest.mark.real
@pytest.mark.relion
@needs_relion
def test_b_factor_scatters_as_that_of_relion(shared: Shared, tmp_path: Path) -> None:
    paths = [shared(GOLDEN + f) for f in ("rec_half1.mrc", "rec_half2.mrc", "mask.mrc")]
    theirs = []
    for seed in range(1, 9):
        relion(tmp_path, "relion_postprocess", "--i", paths[0], "--i2", paths[1], "--mask", paths[2], "--angpix", PIXEL,
               "--auto_bfac", "--autob_lowres", 25, "--o", "p", "--random_seed", seed, "--force_mask")  # fmt: skip
        theirs.append(b_factor_of(tmp_path / "p.star"))
    half1, half2, mask = (golden(shared, f) for f in ("rec_half1.mrc", "rec_half2.mrc", "mask.mrc"))
    ours = [
        postprocess(half1, half2, PIXEL, mask, fit_from=25.0, rng=np.random.default_rng(seed)).b_factor
        for seed in range(8)
    ]
    spread = np.std(theirs, ddof=1)
    assert np.abs(np.array(ours) - np.mean(theirs)).max() < 5 * spread
    assert abs(np.mean(ours) - np.mean(theirs)) < 5 * spread / 2  # means of eight differ by half a spread


def test_mtf_files(tmp_path: Path) -> None:
    plain = tmp_path / "mtf.txt"
    plain.write_text("0 1\n0.25 0.8\n0.5 0.4\n")
    assert read_mtf(plain).tolist() == [[0, 1], [0.25, 0.8], [0.5, 0.4]]
    plain.write_text("0 1\n0.5 0.4\n0.25 0.8\n")
    with pytest.raises(DataError, match="frequencies that rise"):
        read_mtf(plain)
    plain.write_text("0 1\n0.5 0\n")
    with pytest.raises(DataError, match="values above 0"):
        read_mtf(plain)
    star = tmp_path / "mtf.star"
    star.write_text("data_\nloop_\n_rlnMtfValue #1\n_rlnResolutionInversePixel #2\n1 0\n0.5 0.5\n")
    assert read_mtf(star).tolist() == [[0, 1], [0.5, 0.5]]
    star.write_text("data_\nloop_\n_rlnMtfValue #1\n_rlnOther #2\n1 0\n0.5 0.5\n")
    with pytest.raises(DataError, match="rlnResolutionInversePixel"):
        read_mtf(star)
