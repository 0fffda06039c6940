"""Helices, curved and tilted detectors by Feldkamp's inverse: attenuation in uniform regions of closed-form objects."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.ct_jobs import Jobs, method
from tomodiff.analytic import fdk, feldkamp, helical
from tomodiff.analytic.rebinning import flat_twin, flattened, twin_for_fdk
from tomodiff.errors import ConfigError
from tomodiff.files import write_scan
from tomodiff.geometry import ConeBeam, Grid, Helix, ParallelBeam, Scan
from tomodiff.result import Dataset
from tomodiff.simulate import Ellipsoids
from tomodiff.simulate.phantoms import ellipsoid

BODY = ellipsoid((1.0, -0.5, 2.0), (26.0, 22.0, 30.0), 0.02)
PARTS = {(-8.0, 4.0, 3.0): 0.03, (9.0, -6.0, -2.0): -0.01, (2.0, 10.0, 1.0): 0.01}
"""Centres of spheres of 5 mm in the body, and what they add."""
WHOLE: Ellipsoids = BODY
for _at, _more in PARTS.items():
    WHOLE = WHOLE + ellipsoid(_at, (5.0, 5.0, 5.0), _more)
UNIFORM = {at: 0.02 + more for at, more in PARTS.items()} | {(-4.0, -9.0, 2.0): 0.02}
"""Where balls of 2.5 mm radius are uniform, and their attenuation."""


def measured(scan: Scan, parts: int = 3) -> np.ndarray:
    """Line integrals of WHOLE averaged over each pixel."""
    (nv, nu), (dv, du) = scan.detector_shape, scan.pixel
    fine = dataclasses.replace(scan, detector_shape=(nv * parts, nu * parts), pixel=(dv / parts, du / parts))  # type: ignore[type-var]
    return WHOLE.project(fine).reshape(len(scan), nv, parts, nu, parts).mean(axis=(2, 4))


def errors(volume: np.ndarray, grid: Grid) -> list[float]:
    """Relative errors of the mean over each uniform region."""
    x, y, z = grid.coordinates()
    found = []
    for at, value in UNIFORM.items():
        inside = np.broadcast_to((x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2 < 2.5**2, volume.shape)
        assert inside.sum() > 20
        found.append(abs(float(volume[inside].mean()) / value - 1))
    return found


def helix(pitch: float, curved: bool, sign: float = 1.0, rows: int = 24, offset: float = 0.0) -> Helix:
    """Three turns or more past the object; `pitch` in heights of the detector at the axis."""
    rise = pitch * rows * 0.8
    turns = 2 * (16 / rise + 1.1)
    angles = sign * np.linspace(0, 2 * np.pi * turns, int(240 * turns), endpoint=False)
    start = -rise * turns / 2
    return Helix(angles, 300.0, 500.0, (rows, 96), 0.8 * 5 / 3, sign * rise, start, curved=curved, axis_offset=offset)


@pytest.mark.parametrize(
    ("pitch", "curved"),
    [pytest.param(0.5, True, marks=pytest.mark.slow), (1.0, False), pytest.param(0.5, False, marks=pytest.mark.slow),
     pytest.param(1.0, True, marks=pytest.mark.slow)],
)  # fmt: skip
def test_a_helix_is_right_within_two_percent(pitch: float, curved: bool) -> None:
    scan = helix(pitch, curved)
    grid = Grid((26, 70, 80), (0.9, 0.8, 0.7), (0.5, -1.0, 0.7))  # neither cubes nor about the origin
    volume = feldkamp(measured(scan), scan, grid)
    assert max(errors(volume, grid)) < 0.02


@pytest.mark.parametrize("sign", [-1.0, pytest.param(1.0, marks=pytest.mark.slow)])
def test_either_sense_and_an_offset_axis(sign: float) -> None:
    scan = helix(0.7, True, sign, offset=1.7)
    grid = Grid((20, 64, 64), (1.0, 0.9, 0.9), (0.0, 0.0, 0.5))
    assert max(errors(helical(measured(scan, 2).astype(np.float32), scan, grid), grid)) < 0.02


def test_slices_that_are_not_covered_stay_empty() -> None:
    scan = helix(1.0, False)
    grid = Grid((60, 24, 24), (1.0, 2.5, 2.5))
    volume = helical(measured(scan, 1), scan, grid)
    full = np.flatnonzero(volume.any(axis=(1, 2)))
    assert 20 < len(full) < 60 and (np.diff(full) == 1).all()


def test_helices_that_cannot_be_done() -> None:
    short = helix(1.0, False)[:100]
    with pytest.raises(ConfigError, match="no slice"):
        helical(np.zeros((100, 24, 96)), short, Grid((4, 16, 16), 1.0))
    steep = helix(2.6, False)
    with pytest.raises(ConfigError, match="pitch is too large"):
        helical(np.zeros((len(steep), 24, 96)), steep, Grid((4, 16, 16), 1.0))
    flat = ConeBeam(np.linspace(0, 2 * np.pi, 40), 300.0, 500.0, (8, 16), 1.0)
    with pytest.raises(ConfigError, match="rise"):
        helical(np.zeros((40, 8, 16)), flat, Grid((4, 16, 16), 1.0))


CIRCLE = np.linspace(0, 2 * np.pi, 240, endpoint=False)


@pytest.mark.parametrize(
    "changes",
    [{"curved": True}, {"curved": True, "detector_offset": (3.0, 20.0)}, {"detector_tilt": (0.0, 0.0, 0.06)},
     {"detector_tilt": (0.05, 0.08, 0.0)}],
    ids=["curved", "curved and offset", "rolled", "tilted"],
)  # fmt: skip
def test_other_detectors_of_a_circle(changes: dict[str, object]) -> None:
    scan = ConeBeam(CIRCLE, 300.0, 500.0, (40, 110), 0.8 * 5 / 3, **changes)  # type: ignore[arg-type]
    grid = Grid((12, 64, 64), (0.8, 0.9, 0.8), (0.5, 0.0, 1.0))
    assert twin_for_fdk(scan) is not None
    volume = feldkamp(measured(scan, 2), scan, grid)
    plain = ConeBeam(CIRCLE, 300.0, 500.0, (40, 110), 0.8 * 5 / 3)
    expected = fdk(measured(plain, 2), plain, grid)
    assert max(errors(volume, grid)) < 0.01
    assert np.abs(volume - expected).mean() < 0.02 * expected.max()


def test_the_flat_twin_sees_what_the_curved_detector_sees() -> None:
    scan = ConeBeam(CIRCLE[:6], 300.0, 500.0, (20, 110), 0.8 * 5 / 3, curved=True, detector_offset=(2.0, 9.0))
    twin = flat_twin(scan)
    ends = [c.pixels(views=[0], v=9.5)[0, 0, [0, -1]] - c.frames()[0, :3] for c in (scan, twin)]
    angle = [np.arctan2(e[:, 0], e[:, 1]) for e in ends]
    assert np.all(np.abs(angle[0] - angle[1]) < 1.5 * 0.8 * 5 / 3 / 500)
    wanted = WHOLE.project(twin)
    found = flattened(WHOLE.project(scan), scan, twin)
    inner = (slice(None), slice(3, -3), slice(3, -3))
    assert np.sqrt(np.mean((found - wanted)[inner] ** 2)) < 0.01 * wanted.max()


def test_parts_of_the_views_of_a_curved_detector_sum_to_the_whole() -> None:
    scan = ConeBeam(CIRCLE[::4], 300.0, 500.0, (20, 110), 0.8 * 5 / 3, curved=True)
    data, grid = WHOLE.project(scan), Grid((4, 20, 20), 2.0)
    parts = sum(feldkamp(data[k::2], scan, grid, views=slice(k, None, 2)) for k in range(2))
    np.testing.assert_allclose(parts, feldkamp(data, scan, grid), atol=1e-6)
    rising = helix(1.0, False)
    with pytest.raises(ConfigError, match="one process"):
        feldkamp(np.zeros((len(rising), 24, 96))[::2], rising, grid, views=slice(0, None, 2))


def test_what_no_inverse_takes_is_said() -> None:
    laminography = ConeBeam(CIRCLE, 300.0, 500.0, (20, 30), 2.0, axis_tilt=0.5)
    with pytest.raises(ConfigError):
        feldkamp(np.zeros((240, 20, 30)), laminography, Grid((4, 8, 8), 2.0))
    with pytest.raises(ConfigError):
        feldkamp(np.zeros((2, 20, 30)), ParallelBeam([0.0, 1.0], (20, 30), 2.0), Grid((4, 8, 8), 2.0))


@pytest.mark.slow
def test_a_helix_as_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = helix(1.0, True)
    write_scan(tmp_path / "helix.h5", Dataset(measured(scan, 2).astype(np.float32), scan, "line_integrals"))
    made = Jobs(tmp_path, monkeypatch)(tmp_path / "helix.h5", **method("auto"))
    assert made.meta["method"] == "fdk"
    assert max(errors(made.volume, made.grid)) < 0.02
