"""FBP of rays that rise: what the full turn of a leaning axis sees of an object's spectrum, and its scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.ct_jobs import Jobs, method
from tomodiff.analytic import fbp
from tomodiff.errors import ConfigError
from tomodiff.files import write_scan
from tomodiff.geometry import Grid, ParallelBeam
from tomodiff.result import Dataset
from tomodiff.simulate import Ellipsoids, ellipsoid

TURN = np.linspace(0, 2 * np.pi, 360, endpoint=False)


def plate() -> Ellipsoids:
    """Flat lenses at several heights, as in a stack of chips, within 10 mm of the middle."""
    rng = np.random.default_rng(8)
    made = ellipsoid((0.0, 0.0, 0.0), (3.0, 2.5, 1.2), 0.03)
    for _ in range(14):
        at, size = rng.uniform(-6.5, 6.5, 3) * (1, 1, 0.4), rng.uniform(0.6, 1.6, 3)
        made = made + ellipsoid(tuple(at), tuple(size), float(rng.uniform(0.01, 0.04)))
    return made


def seen(truth: np.ndarray, tilt: float) -> np.ndarray:
    """The truth without the double cone about the axis in its spectrum, on a grid three times as large."""
    size = [3 * n for n in truth.shape]
    kz, ky, kx = np.meshgrid(*(np.fft.fftfreq(n) for n in size), indexing="ij")
    spectrum = np.fft.fftn(truth, size, axes=(0, 1, 2)) * (np.hypot(kx, ky) >= np.abs(kz) * np.tan(tilt))
    return np.asarray(np.fft.ifftn(spectrum).real[tuple(slice(0, n) for n in truth.shape)])


@pytest.mark.parametrize("tilt", [-0.5, *(pytest.param(t, marks=pytest.mark.slow) for t in (0.15, 0.5))])
def test_the_seen_part_of_the_spectrum_is_right(tilt: float) -> None:
    scan = ParallelBeam(TURN, (90, 120), 0.2, axis_tilt=tilt)
    grid = Grid((36, 84, 84), 0.2)
    made = fbp(plate().project(scan, oversample=2), scan, grid)
    level = ParallelBeam(TURN, (90, 120), 0.2)
    upright = fbp(plate().project(level, oversample=2), level, grid)  # of the same blur
    inner = (slice(4, -4), slice(6, -6), slice(6, -6))
    for volume, scale, apart in ((plate().voxelise(grid, 3), 0.05, 0.15), (upright, 0.02, 0.1)):
        expected = seen(volume, abs(tilt))[inner]
        a, b = made[inner] - made[inner].mean(), expected - expected.mean()
        assert float((a * b).sum() / (b * b).sum()) == pytest.approx(1.0, abs=scale)
        assert np.sqrt(np.mean((a - b) ** 2)) < apart * b.std()


def test_without_tilt_it_is_the_plain_inverse() -> None:
    grid, level = Grid((20, 60, 60), 0.3), ParallelBeam(TURN, (60, 90), 0.25)
    nearly = ParallelBeam(TURN, (60, 90), 0.25, axis_tilt=1e-4)
    a, b = (fbp(plate().project(scan), scan, grid) for scan in (level, nearly))
    assert np.abs(a - b).max() < 0.01 * a.max()


def test_half_a_turn_is_not_enough() -> None:
    scan = ParallelBeam(TURN[:180], (20, 30), 0.5, axis_tilt=0.3)
    with pytest.raises(ConfigError, match="full turn"):
        fbp(np.zeros((180, 20, 30)), scan, Grid((4, 8, 8), 1.0))


def test_as_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = ParallelBeam(TURN[::3], (60, 80), 0.3, axis_tilt=0.4)
    data = plate().project(scan).astype(np.float32)
    write_scan(tmp_path / "a.h5", Dataset(data, scan, "line_integrals"))
    jobs = Jobs(tmp_path, monkeypatch)
    whole = jobs(tmp_path / "a.h5", **method("auto"))
    np.testing.assert_allclose(whole.volume, fbp(data, scan, whole.grid), atol=1e-6)
    small = jobs(tmp_path / "a.h5", 2.2e7, **method("auto"))  # rows are no slices: through the disk, not in slabs
    assert any("on disk" in text for text in small.warnings)
    np.testing.assert_allclose(small.volume, whole.volume, atol=1e-5)
