"""Local resolution: two regions of known resolution, and relion_postprocess --locres run live."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tests.cryoem_golden import GOLDEN, PIXEL, golden, relion
from tomodiff.analytic.local_resolution import Field, local_resolution, soft_window
from tomodiff.analytic.shells import filtered

Shared = Callable[[str], Path]
needs_relion = pytest.mark.skipif(shutil.which("relion_postprocess") is None, reason="RELION is not installed")
FINE, COARSE, NOISE = 22, 9, 0.5
"""Shells up to which the two sides of the test map have signal (white, of variance 1); deviation of its noise."""


def two_regions(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Half maps whose signal ends at shell FINE where x < n // 2 and at COARSE elsewhere; the noise is white."""
    signal = rng.standard_normal((n, n, n))
    fine, coarse = (filtered(signal, lambda r, end=end: (r <= end).astype(float)) for end in (FINE, COARSE))
    joined = np.where(np.arange(n) < n // 2, fine, coarse)
    first, second = (joined + NOISE * rng.standard_normal((n, n, n)) for _ in range(2))
    return first, second


def expected_shell(end: int, n: int, window: np.ndarray) -> float:
    """Where the FSC of two such maps in a window passes 0.143: the window smears the step in the signal's power."""
    spread = np.zeros((n, n, n))
    spread[tuple(slice(0, k) for k in window.shape)] = window
    of_window = np.abs(np.fft.fftn(spread)) ** 2
    k = np.fft.fftfreq(n, 1 / n)
    step = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2) <= end
    power = np.fft.ifftn(np.fft.fftn(step) * np.fft.fftn(of_window)).real[: n // 2, 0, 0] / of_window.sum()
    curve = power / (power + NOISE**2)
    first = int(np.argmax(curve < 0.143))
    return first - 1 + (curve[first - 1] - 0.143) / (curve[first - 1] - curve[first])


def test_two_regions_have_their_own_resolutions(rng: np.random.Generator) -> None:
    n, pixel = 64, 2.0
    found = local_resolution(*two_regions(n, rng), pixel, rng, sampling=16.0)
    x = found.centres[:, 2] - n // 2
    inner, edge = 4, 8
    reach = inner + edge
    fine, coarse = (expected_shell(end, n, soft_window(inner, edge)) for end in (FINE, COARSE))
    assert FINE < fine < FINE + 5
    shells = n * pixel / found.of_centres
    step = n / (2 * reach)  # the width of a shell of a window, in shells of the box
    for side, expected in ((x <= -reach, fine), (x >= reach, coarse)):
        assert side.sum() > 20
        # Low shells of a window have few entries: now and then one falls below the threshold by chance.
        assert np.quantile(np.abs(shells[side] - expected), 0.9) <= 2 * step
        assert abs(np.median(shells[side]) - expected) <= step / 2
    middle = found.resolution[n // 2, n // 2]
    assert n * pixel / middle[n // 2 - 16] == pytest.approx(fine, abs=step)
    assert n * pixel / middle[n // 2 + 16] == pytest.approx(coarse, abs=step)
    assert found.resolution[0, 0, 0] == 0
    assert found.filtered[0, 0, 0] == 0


def test_filtered_map_loses_noise_where_resolution_is_low(rng: np.random.Generator) -> None:
    n, pixel = 48, 2.0
    halves = two_regions(n, rng)
    found = local_resolution(*halves, pixel, rng, sampling=12.0)
    mean = (halves[0] + halves[1]) / 2
    core = (slice(18, 30),) * 2
    right, left = (*core, slice(34, 40)), (*core, slice(8, 14))

    def beyond(volume: np.ndarray) -> np.ndarray:
        return volume - filtered(volume.astype(float), lambda r: (r <= 2 * COARSE).astype(float))

    assert np.var(beyond(found.filtered)[right]) < 0.1 * np.var(beyond(mean)[right])
    # Where the signal reaches far it is weighted, not lost.
    kept = np.vdot(beyond(found.filtered)[left], beyond(mean)[left]) / np.vdot(beyond(mean)[left], beyond(mean)[left])
    assert kept > 0.7


def test_windows_go_where_the_mask_is(rng: np.random.Generator) -> None:
    n = 32
    mask = np.zeros((n, n, n), np.float32)
    mask[:, :, :16] = 1
    counted: list[int] = []
    a, b = rng.standard_normal((2, n, n, n))
    found = local_resolution(a, b, 4.0, rng, mask=mask, advance=counted.append)
    assert (found.centres[:, 2] < 16).all()
    assert sum(counted) == len(found.centres) > 5
    assert np.median(found.of_centres) == pytest.approx(50.0)  # nothing correlates: the lowest that is reported
    with pytest.raises(ValueError, match="found none"):
        local_resolution(a, b, 4.0, rng, sampling=200.0)


def test_fields_are_weighted_means_over_windows(rng: np.random.Generator) -> None:
    n, window = 20, soft_window(2, 3)
    centres = np.unique(rng.integers(0, n, (7, 3)), axis=0)
    values = rng.normal(size=len(centres))
    padded = np.zeros((2, n + 10, n + 10, n + 10))
    for (z, y, x), value in zip(centres, values, strict=True):
        padded[:, z : z + 11, y : y + 11, x : x + 11] += window * np.array([value, 1.0])[:, None, None, None]
    top, total = padded[:, 5:-5, 5:-5, 5:-5]
    field = Field(n, centres, window).mean(values)
    there = total > 1e-3
    assert np.abs(field[there] - (top / np.where(there, total, 1))[there]).max() < 1e-3


@pytest.mark.real
@pytest.mark.relion
@needs_relion
def test_maps_agree_with_relion_as_its_own_seeds_do(shared: Shared, tmp_path: Path) -> None:
    paths = [shared(GOLDEN + f"rec_half{h}.mrc") for h in (1, 2)]
    shells, filtered_maps = [], []
    for seed in (1, 2):
        relion(tmp_path, "relion_postprocess", "--i", paths[0], "--i2", paths[1], "--angpix", PIXEL, "--locres",
               "--locres_sampling", 40, "--adhoc_bfac", -100, "--o", "p", "--random_seed", seed)  # fmt: skip
        shells.append(64 * PIXEL / np.maximum(mrcfile.read(tmp_path / "p_locres.mrc"), 1e-3))
        filtered_maps.append(mrcfile.read(tmp_path / "p_locres_filtered.mrc"))
    halves = [golden(shared, f"rec_half{h}.mrc") for h in (1, 2)]
    ours = local_resolution(*halves, PIXEL, np.random.default_rng(1), sampling=40.0, b_factor=-100.0)
    seen = (ours.resolution > 0) & (filtered_maps[0] != 0)
    assert seen.mean() == pytest.approx((filtered_maps[0] != 0).mean(), abs=0.005)
    difference = np.abs(64 * PIXEL / ours.resolution[seen] - shells[0][seen])
    between_seeds = np.abs(shells[0] - shells[1])[seen]
    assert difference.mean() <= 1.2 * between_seeds.mean()
    # RELION filters the sum of the halves, we their mean; random phases move the cut of the last, weak shells.
    scale = np.linalg.norm(filtered_maps[0][seen])
    assert np.linalg.norm(2 * ours.filtered[seen] - filtered_maps[0][seen]) < 0.03 * scale


@pytest.mark.relion
@needs_relion
def test_two_regions_as_relion_sees_them(rng: np.random.Generator, tmp_path: Path) -> None:
    n, pixel = 48, 2.0
    halves = [h.astype(np.float32) for h in two_regions(n, rng)]
    for k, half in enumerate(halves, 1):
        with mrcfile.new(tmp_path / f"half{k}.mrc") as file:
            file.set_data(half)
            file.voxel_size = pixel
    relion(tmp_path, "relion_postprocess", "--i", "half1.mrc", "--i2", "half2.mrc", "--angpix", pixel, "--locres",
           "--locres_sampling", 16, "--o", "p")  # fmt: skip
    theirs = mrcfile.read(tmp_path / "p_locres.mrc")
    ours = local_resolution(*halves, pixel, rng, sampling=16.0).resolution
    seen = (ours > 0) & (theirs > 0)
    difference = n * pixel / ours[seen] - n * pixel / theirs[seen]
    width = n / 24  # of a shell of a window
    assert abs(difference.mean()) < width / 2
    assert np.abs(difference).mean() < width
