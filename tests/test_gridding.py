"""Fourier gridding against closed-form objects, against FBP, and against the sum that it is made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("finufft", reason="the extra fourier is not installed")

from tests.ct_jobs import PARALLEL, Jobs, line_integrals, method
from tomodiff.analytic import fbp, filter_rows, gridding
from tomodiff.errors import ConfigError
from tomodiff.files import write_scan
from tomodiff.geometry import ConeBeam, Grid, ParallelBeam, fit_grid
from tomodiff.simulate import shepp_logan_3d

N = 96


def scan_over(turn: float, axis: float = 0.0, views: int = 150, rows: int = 5) -> ParallelBeam:
    angles = np.linspace(0, turn, views, endpoint=False)
    return ParallelBeam(angles, (rows, N), 0.5).with_axis_column((N - 1) / 2 + axis)


@pytest.mark.parametrize("window", ["ram-lak", "hann"])
@pytest.mark.parametrize(("turn", "axis"), [(np.pi, 0.0), (np.pi, 2.3), (2 * np.pi, 0.0), (2 * np.pi, -30.0)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_as_near_to_the_truth_as_fbp(window: str, turn: float, axis: float, dtype: type) -> None:
    scan = scan_over(turn, axis)
    grid, phantom = fit_grid(scan), shepp_logan_3d(0.2 * N, 0.02)
    data = phantom.project(scan).astype(dtype)
    truth, (x, y, _) = phantom.voxelise(grid, 3), grid.coordinates()
    seen = np.broadcast_to(np.hypot(x, y) < 0.22 * N, truth.shape)
    direct, fast = fbp(data, scan, grid, window), gridding(data, scan, grid, window)
    assert fast.dtype == dtype and fast.shape == grid.shape
    wrong = [np.sqrt(np.mean((v - truth)[seen] ** 2)) for v in (direct, fast)]
    assert wrong[1] < 1.1 * wrong[0]
    assert fast[seen].mean() == pytest.approx(truth[seen].mean(), rel=2e-3)


def test_the_sum_of_finely_interpolated_rows() -> None:
    """Filtered rows, damped by sinc^2 and interpolated by their band limit, taken at every voxel by hand."""
    scan = scan_over(np.pi, 1.7, views=40, rows=1)
    grid = Grid((1, 30, 26), (0.5, 0.6, 0.7), (2.0, -3.0, 0.0))
    data = shepp_logan_3d(0.18 * N, 0.02).project(scan)
    wide = np.zeros((40, 4 * N))  # filtered on a row that holds all of the filter's tail
    wide[:, N : 2 * N] = data[:, 0]
    rows = filter_rows(wide, scan.pixel[1])
    spectrum = np.fft.fft(rows, axis=1)
    f = np.fft.fftfreq(4 * N)
    spectrum *= np.sinc(f) ** 2 * (np.abs(f) < 0.5)
    x, y, _ = grid.coordinates()
    expected = np.zeros(grid.shape)
    for view in range(40):
        u = scan[view : view + 1].project(np.stack(np.broadcast_arrays(x, y, 0 * x), -1).reshape(-1, 3))[..., 1]
        phase = np.exp(2j * np.pi * f[:, None] * (np.reshape(u, (1, -1)) + N))
        expected += np.real(spectrum[view] @ phase / (4 * N)).reshape(grid.shape) * np.pi / 40
    found = gridding(data, scan, grid)
    # the rows beyond the detector, which the interpolation sees a little of, end sooner in the transform of the product
    assert np.abs(found - expected).max() < 0.01 * np.abs(expected).max()


def test_slices_between_rows_and_beyond_them() -> None:
    scan = scan_over(np.pi)
    grid = Grid((7, 64, 64), (0.45, 0.7, 0.7), (0.0, 0.0, 0.1))
    data = shepp_logan_3d(0.2 * N, 0.02).project(scan)
    direct, fast = fbp(data, scan, grid), gridding(data, scan, grid)
    assert np.std(direct - fast) < 0.15 * np.std(direct)
    outside = Grid((1, 64, 64), (0.5, 0.7, 0.7), (0.0, 0.0, 9.0))
    assert not gridding(data, scan, outside).any()


def test_parts_of_the_views_sum_to_the_whole() -> None:
    scan = scan_over(np.pi)
    grid, data = fit_grid(scan), shepp_logan_3d(0.2 * N, 0.02).project(scan)
    parts = sum(gridding(data[k::3], scan, grid, views=slice(k, None, 3)) for k in range(3))
    whole = gridding(data, scan, grid)
    np.testing.assert_allclose(parts, whole, atol=1e-5 * whole.max())


def test_what_it_does_not_take() -> None:
    cone = ConeBeam([0.0, 1.0], 60.0, 90.0, (5, N), 0.5)
    data = np.zeros((2, 5, N), np.float32)
    with pytest.raises(ConfigError, match="parallel"):
        gridding(data, cone, fit_grid(cone))
    tilted = ParallelBeam([0.0, 1.0], (5, N), 0.5, axis_tilt=0.05)
    with pytest.raises(ConfigError):
        gridding(data, tilted, Grid((5, N, N), 0.5))
    upright = ParallelBeam([0.0, 1.0], (5, N), 0.5)
    with pytest.raises(ValueError, match="shape"):
        gridding(data[:1], upright, fit_grid(upright))
    with pytest.raises(TypeError, match="float32"):
        gridding(data.astype(int), upright, fit_grid(upright))


def test_as_a_job_whole_and_in_slabs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tomodiff.recipes.ct.memory import required_bytes

    jobs = Jobs(tmp_path, monkeypatch)
    write_scan(tmp_path / "a.h5", line_integrals(PARALLEL))
    whole = jobs(tmp_path / "a.h5", **method("gridding"))
    few = 0.75 * required_bytes("gridding", PARALLEL, fit_grid(PARALLEL)) / 0.85
    parts = jobs(tmp_path / "a.h5", few, **method("gridding"))
    assert any("slabs of" in text for text in parts.warnings)
    np.testing.assert_allclose(parts.volume, whole.volume, atol=1e-3 * whole.volume.max())
    direct = jobs(tmp_path / "a.h5", **method("fbp"))
    assert np.std(whole.volume - direct.volume) < 0.15 * np.std(direct.volume)
