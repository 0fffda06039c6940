"""Fourier shell correlation: closed forms, RELION's golden table, and its programs run live over several seeds."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Measured
from tests.cryoem_golden import GOLDEN, PIXEL, golden, relion, star_tables
from tomodiff.analytic.fsc import (
    anisotropy,
    conical_fsc,
    corrected,
    crossing,
    fsc,
    gold_standard,
    masked_fsc,
    randomise_phases,
    resolution,
    resolution_shell,
)
from tomodiff.analytic.masks import automatic_threshold, from_map, soft_sphere
from tomodiff.analytic.shells import back, frequencies, low_pass, shell_index, shell_means, transform
from tomodiff.geometry.orientations import spread_directions

Shared = Callable[[str], Path]
needs_relion = pytest.mark.skipif(shutil.which("relion_postprocess") is None, reason="RELION is not installed")
COLUMNS = {
    "unmasked": "rlnFourierShellCorrelationUnmaskedMaps",
    "masked": "rlnFourierShellCorrelationMaskedMaps",
    "randomised": "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps",
    "corrected": "rlnFourierShellCorrelationCorrected",
}


def noise_of_snr(n: int, snr: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two maps of one white signal with independent noise, of this ratio of powers in each shell (n // 2 + 2,)."""
    spread = np.sqrt(1 / snr)[np.minimum(shell_index(n), n // 2 + 1)]
    signal = transform(rng.standard_normal((n, n, n)))
    halves = [back(signal + spread * transform(rng.standard_normal((n, n, n))), n) for _ in range(2)]
    return halves[0], halves[1]


def test_fsc_of_known_signal_and_noise(rng: np.random.Generator) -> None:
    n = 48
    snr = 10 ** np.linspace(1.5, -1.5, n // 2 + 2)
    a, b = noise_of_snr(n, snr, rng)
    curve = fsc(a, b)
    count = np.bincount(shell_index(n).ravel())[: n // 2 + 1]
    expected = (snr / (1 + snr))[: n // 2 + 1]
    # The deviation of a correlation of m complex pairs is about (1 - F^2) / sqrt(2 m); pairs at kx = 0 count twice.
    deviation = (1 - expected**2) / np.sqrt(count)
    assert (np.abs(curve - expected)[1:] < 5 * deviation[1:]).all()
    assert fsc(a, a) == pytest.approx(1)
    assert fsc(a, -2 * a)[1:] == pytest.approx(-1)
    assert fsc(a.astype(np.float32), b.astype(np.float32)) == pytest.approx(curve, abs=1e-5)


def test_bad_maps_are_refused_by_name() -> None:
    good = np.zeros((4, 4, 4))
    with pytest.raises(ValueError, match="b: expected the shape"):
        fsc(good, np.zeros((6, 6, 6)))
    with pytest.raises(ValueError, match="a: expected a cubic map"):
        fsc(np.zeros((4, 4, 5)), good)
    with pytest.raises(ValueError, match="b: expected finite"):
        fsc(good, good + np.nan)
    with pytest.raises(ValueError, match="mask: expected values between 0 and 1"):
        masked_fsc(good, good, good + 2)
    with pytest.raises(ValueError, match="rng"):
        a, b = np.random.default_rng(0).normal(size=(2, 8, 8, 8))
        gold_standard(a, b, np.ones((8, 8, 8)))


def test_resolution_is_that_of_the_last_good_shell() -> None:
    curve = np.array([1, 0.9, 0.8, 0.4, 0.1, 0.3, 0.2])
    assert resolution(curve, 2.0) == 12 * 2.0 / 3
    assert resolution(curve, 2.0, 0.5) == 12 * 2.0 / 2
    assert crossing(curve, 2.0, 0.25) == pytest.approx(12 * 2.0 / 3.5)
    assert resolution(curve, 2.0, 0.05) == crossing(curve, 2.0, 0.05) == 4.0
    assert resolution(np.array([1, 0.1, 0.1]), 1.0) == math.inf
    assert resolution(curve, 2.0, n=13) == 13 * 2.0 / 3


def test_random_phases_keep_amplitudes_and_what_lies_below(rng: np.random.Generator) -> None:
    volume = rng.standard_normal((24, 24, 24))
    F, G = transform(volume), transform(randomise_phases(volume, 6, rng))
    z, y, x = frequencies(24)
    near = z * z + y * y + x * x < 36
    assert np.abs(F - G)[near].max() < 1e-10
    assert np.abs(np.abs(F) - np.abs(G)).max() < 1e-10
    curve = fsc(volume, back(G, 24))
    assert curve[:5] == pytest.approx(1)
    assert np.abs(curve[7:]).max() < 0.25


def test_correction_takes_away_what_a_mask_adds(rng: np.random.Generator) -> None:
    """A sharp mask smears strong low shells over the noise beyond, which then seems to correlate."""
    n = 48
    strong = np.where(shell_index(n) < 10, 30.0, 0.0) * transform(rng.standard_normal((n, n, n)))
    a, b = (back(strong + transform(rng.standard_normal((n, n, n))), n) for _ in range(2))
    mask = soft_sphere(n, 9, 0)
    curves = gold_standard(a, b, mask, rng)
    assert curves.randomised_from == 10
    assert curves.masked is not None
    assert np.abs(curves.unmasked[11:]).max() < 0.1
    assert resolution_shell(curves.masked) >= 15
    assert resolution_shell(curves.corrected) <= 12  # from where it is corrected
    assert np.array_equal(curves.corrected[:12], curves.masked[:12])
    again = gold_standard(a, b, mask, np.random.default_rng(3))
    assert np.array_equal(again.masked, curves.masked)
    good = gold_standard(a, a, soft_sphere(n, 5, 2))
    assert good.randomised_from is None
    assert good.corrected == pytest.approx(1)


@pytest.mark.real
def test_curves_are_those_of_relion(shared: Shared, measured: Measured) -> None:
    table = star_tables(shared(GOLDEN + "post.star"))["fsc"]
    half1, half2, mask = (golden(shared, f) for f in ("rec_half1.mrc", "rec_half2.mrc", "mask.mrc"))
    curves = gold_standard(half1, half2, mask, np.random.default_rng(1))
    assert curves.randomised_from == 12  # 26.67 angstrom
    assert curves.masked is not None
    assert np.abs(curves.unmasked - table[COLUMNS["unmasked"]]).max() < 1e-5
    assert np.abs(curves.masked - table[COLUMNS["masked"]]).max() < 1e-5
    worst = [np.abs(c - table[COLUMNS[n]]).max() for n, c in (("unmasked", curves.unmasked), ("masked", curves.masked))]
    measured("FSC against relion_postprocess", "<= 1e-3 per shell", unmasked=worst[0], masked=worst[1])
    theirs = corrected(table[COLUMNS["masked"]], table[COLUMNS["randomised"]], 12)
    printed = 1e-6  # six digits, of both, grown by 1 / (1 - random)^2 < 20
    assert np.abs(theirs - table[COLUMNS["corrected"]]).max() < 20 * printed
    assert resolution(table[COLUMNS["corrected"]], PIXEL) == 10.0


@pytest.mark.real
@pytest.mark.relion
@needs_relion
def test_random_phases_scatter_as_those_of_relion(shared: Shared, tmp_path: Path) -> None:
    """Each of our seeds lies among RELION's, within five of their standard deviations; so does the mean of ours."""
    paths = [shared(GOLDEN + f) for f in ("rec_half1.mrc", "rec_half2.mrc", "mask.mrc")]
    theirs: dict[str, list[np.ndarray]] = {"randomised": [], "corrected": []}
    for seed in range(1, 17):
        relion(tmp_path, "relion_postprocess", "--i", paths[0], "--i2", paths[1], "--mask", paths[2], "--angpix",
               PIXEL, "--o", f"post{seed}", "--random_seed", seed)  # fmt: skip
        table = star_tables(tmp_path / f"post{seed}.star")["fsc"]
        for name, found in theirs.items():
            found.append(table[COLUMNS[name]])
    half1, half2, mask = (golden(shared, f) for f in ("rec_half1.mrc", "rec_half2.mrc", "mask.mrc"))
    ours = [gold_standard(half1, half2, mask, np.random.default_rng(seed)) for seed in range(16)]
    for name, found in theirs.items():
        mean, spread = np.mean(found, 0), np.std(found, 0, ddof=1)
        mine = np.array([getattr(curves, name) for curves in ours])
        printed = 1e-5
        assert (np.abs(mine - mean) <= 5 * spread + printed).all(), name
        # Means of 16 and 16: their difference deviates by sqrt(2 / 16) of the spread.
        assert (np.abs(mine.mean(0) - mean) <= 5 * np.sqrt(2 / 16) * spread + printed).all(), name


def test_low_pass_is_a_raised_cosine() -> None:
    response = low_pass(10.0, 2.0, 40)  # shell 8, edge from 7 to 9
    assert response(np.array([0, 7, 7.5, 8, 9, 15])) == pytest.approx([1, 1, 0.5 + 0.5 * np.cos(np.pi / 4), 0.5, 0, 0])
    with pytest.raises(ValueError, match="resolution"):
        low_pass(0, 1, 10)


def test_shell_means_of_powers_of_white_noise(rng: np.random.Generator) -> None:
    n = 32
    F = transform(rng.standard_normal((n, n, n)))
    means = shell_means(np.abs(F) ** 2, n) / n**3
    count = np.bincount(shell_index(n).ravel())[: n // 2 + 1]
    assert (np.abs(means - 1) < 6 / np.sqrt(count)).all()


def test_cones_see_anisotropic_noise(rng: np.random.Generator) -> None:
    """Noise only along z: cones about x and y have FSC 1, the cone about z that of its noise."""
    n = 40
    z, y, x = frequencies(n)
    r = np.sqrt(z * z + y * y + x * x)
    along_z = np.abs(z) >= np.cos(np.radians(30)) * np.maximum(r, 1e-9)
    signal = transform(rng.standard_normal((n, n, n)))
    a, b = (back(signal + along_z * transform(rng.standard_normal((n, n, n))), n) for _ in range(2))
    curves = conical_fsc(a, b, np.eye(3))
    assert curves[:2, 1:] == pytest.approx(1, abs=1e-9)
    assert curves[2, 12:].mean() == pytest.approx(0.5, abs=0.04)
    found = anisotropy(curves, 2.0, threshold=0.8)
    assert found.best == 4.0
    assert found.worst > 8.0
    assert found.cfar == pytest.approx(np.maximum(curves[2], 0).sum() / curves[0].sum(), rel=1e-6)
    even = conical_fsc(a, a, spread_directions(20))
    assert anisotropy(even, 2.0).cfar == pytest.approx(1)
    # One cone over everything is the ordinary curve.
    assert conical_fsc(a, b, np.eye(3)[:1], 1.6)[0] == pytest.approx(fsc(a, b), abs=1e-6)


def test_soft_sphere() -> None:
    mask = soft_sphere(20, 4, 3)
    assert mask.dtype == np.float32
    assert mask[10, 10, 14] == 1
    assert mask[10, 10, 10 + 5] == pytest.approx(0.5 + 0.5 * np.cos(np.pi / 3))
    assert mask[10, 10, 17] == 0
    assert soft_sphere(20, 4, 0).sum() == 257  # integer points within 4 of the origin
    assert soft_sphere(8, 1, 0, (2, 3, 4)).nonzero()[0].mean() == 2


def test_automatic_threshold_parts_a_ball_from_its_noise(rng: np.random.Generator) -> None:
    n = 48
    truth = soft_sphere(n, 10, 0)
    map_ = truth + 0.15 * rng.standard_normal((n, n, n))
    assert 0.3 < automatic_threshold(map_) < 0.7
    mask = from_map(map_, extend=2, edge=3, pixel=2.0, resolution=12.0)
    r = np.sqrt(((np.indices((n, n, n)) - n // 2) ** 2).sum(0))
    assert (mask[r <= 10] == 1).all()
    assert (mask[r > 10 + 2 + 3 + 2] == 0).all()
    with pytest.raises(ValueError, match="threshold"):
        from_map(map_, threshold=1e3)
    with pytest.raises(ValueError, match="constant"):
        automatic_threshold(np.ones((8, 8, 8)))


@pytest.mark.real
@pytest.mark.relion
@needs_relion
@pytest.mark.parametrize(
    ("extend", "edge", "resolution"), [(0, 0, None), (3, 6, None), (2.5, 4.5, 30.0), (-2, 3, 20.0)]
)
def test_masks_are_those_of_relion(
    extend: float, edge: float, resolution: float | None, shared: Shared, tmp_path: Path
) -> None:
    import mrcfile

    path = shared(GOLDEN + "vol70S_64.mrc")
    smooth = ["--lowpass", resolution] if resolution else []
    relion(tmp_path, "relion_mask_create", "--i", path, "--o", "m.mrc", "--ini_threshold", 1.0, "--extend_inimask",
           extend, "--width_soft_edge", edge, "--angpix", PIXEL, *smooth)  # fmt: skip
    theirs = mrcfile.read(tmp_path / "m.mrc")
    ours = from_map(mrcfile.read(path), 1.0, extend, edge, PIXEL, resolution)
    assert 0 < theirs.mean() < 0.9
    assert np.abs(ours - theirs).max() < 1e-5
