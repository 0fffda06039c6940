"""Random and awkward pairs of grid and scan for the X-ray projectors: every kind, at every scale, with exact angles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tomodiff.geometry import ConeBeam, Grid, Helix, Laminography, ParallelBeam, Scan, Vectors

Problem = tuple[Grid, Scan]
Random = np.random.Generator


def _grid(rng: Random, cube: bool = False) -> Grid:
    """Up to 9 voxels along each axis, often one, of any spacing, off centre, upright or turned."""
    shape = [int(n) for n in np.where(rng.random(3) < 0.15, 1, rng.integers(2, 10, 3))]
    spacing = [1.0] * 3 if cube or rng.random() < 0.3 else [float(s) for s in np.exp(rng.uniform(-0.7, 0.7, 3))]
    center = [0.0] * 3 if rng.random() < 0.5 else [float(c) for c in rng.normal(0, 2, 3)]
    turn = rng.random()
    if turn < 0.6:
        return Grid(shape, spacing, center)
    return Grid.from_rotvec(shape, (0, 0, rng.uniform(0, 6)) if turn < 0.8 else rng.normal(0, 1, 3), spacing, center)


def _angles(rng: Random) -> np.ndarray:
    """A few views, at any angles or at exact multiples of 45 degrees."""
    n = int(rng.integers(1, 5))
    if rng.random() < 0.4:
        return np.deg2rad(45.0 * rng.integers(0, 8, n))
    return np.asarray(rng.uniform(0, 2 * np.pi, n))


def _detector(rng: Random) -> tuple[int, int]:
    one = rng.random(2) < 0.15
    nv, nu = (1 if o else int(rng.integers(2, 12)) for o in one)
    return (nv, nu) if rng.random() < 0.9 else (int(rng.integers(30, 300)), min(nu, 3))


def _pixel(rng: Random, reach: float) -> tuple[float, float]:
    """Pixels from `1/reach` to `reach` mm; often near one."""
    spread = np.log(reach) if rng.random() < 0.4 else 0.4
    v, u = np.exp(rng.uniform(-spread, spread, 2))
    return float(v), float(u)


def _mounting(rng: Random, tilted: float = 0.3, curved: bool = False) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if rng.random() < 0.6:
        values["axis_offset"] = float(rng.normal())
        values["detector_offset"] = tuple(float(o) for o in rng.normal(0, 1.5, 2))
    if rng.random() < tilted:
        values["detector_tilt"] = tuple(float(t) for t in rng.normal(0, 0.3, 3) * (1, not curved, not curved))
    return values


def _distances(rng: Random) -> tuple[float, float]:
    """Source to axis and to detector: from inside or beside the volume to nearly parallel rays."""
    near = float(np.exp(rng.uniform(np.log(3.0), np.log(60.0)))) if rng.random() < 0.9 else float(rng.uniform(500, 9e4))
    return near, near * float(rng.uniform(1.02, 3.0))


def _rows(rng: Random, reach: float) -> Problem:
    grid = _grid(rng, cube=rng.random() < 0.5)
    grid = Grid(grid.shape, grid.spacing, (*grid.center[:2], 0.0))
    nz, nv = grid.shape[0], _detector(rng)[0]
    nv += (nz - nv) % 2  # rows meet slices
    return grid, ParallelBeam(_angles(rng), (nv, _detector(rng)[1]), (grid.spacing[0], _pixel(rng, reach)[1]), axis_offset=float(rng.normal()))


def _parallel(rng: Random, reach: float) -> Problem:
    return _grid(rng), ParallelBeam(_angles(rng), _detector(rng), _pixel(rng, reach), **_mounting(rng))


def _cone(rng: Random, reach: float) -> Problem:
    return _grid(rng), ConeBeam(_angles(rng), *_distances(rng), _detector(rng), _pixel(rng, reach), **_mounting(rng))


def _curved(rng: Random, reach: float) -> Problem:
    near, far = _distances(rng)
    (nv, nu), (dv, du) = _detector(rng), _pixel(rng, reach)
    mounting = _mounting(rng, curved=True)
    aside = abs(mounting.get("axis_offset", 0.0) - mounting.get("detector_offset", (0.0, 0.0))[1])
    far = max(far, (nu * du / 2 + aside) / 1.5)
    return _grid(rng), ConeBeam(_angles(rng), near, max(far, near * 1.02), (nv, nu), (dv, du), curved=True, **mounting)


def _helix(rng: Random, reach: float) -> Problem:
    lengths, turn = _distances(rng), float(rng.normal(0, 6))
    return _grid(rng), Helix(_angles(rng) * 3, *lengths, _detector(rng), _pixel(rng, reach), turn, -turn, **_mounting(rng))


def _laminography(rng: Random, reach: float) -> Problem:
    near, far = _distances(rng) if rng.random() < 0.5 else (None, None)
    tilt = float(rng.uniform(-1.5, 1.5)) if rng.random() < 0.8 else float(np.pi / 4)
    detector = _detector(rng), _pixel(rng, reach)
    return _grid(rng), Laminography(_angles(rng), tilt, *detector, source_axis=near, source_detector=far, **_mounting(rng))


def _vectors(rng: Random, reach: float) -> Problem:
    """Directions from anywhere, detectors that may be sheared, rolled, or seen from behind."""
    n, kind = int(rng.integers(1, 5)), ("parallel", "cone")[int(rng.integers(2))]
    out = rng.normal(size=(n, 3))
    out /= np.linalg.norm(out, axis=1)[:, None]
    v, u = _pixel(rng, reach)
    centre = out * rng.uniform(0, 20) + rng.normal(0, 1, (n, 3))
    frames = np.concatenate([-out * rng.uniform(7, 50) if kind == "cone" else out, centre], axis=1)
    steps = np.concatenate([rng.normal(0, u, (n, 3)), rng.normal(0, v, (n, 3))], axis=1)
    return _grid(rng), Vectors(np.concatenate([frames, steps], axis=1), _detector(rng), kind)


def _flipped(rng: Random, reach: float) -> Problem:
    """A circular scan whose detector is read from the other side, from the top, or both."""
    grid, scan = (_parallel, _cone, _curved, _rows)[int(rng.integers(4))](rng, reach)
    signs = np.repeat([1.0, 1.0, *rng.choice([-1.0, 1.0], 2)], 3)
    return grid, Vectors(scan.frames() * signs, scan.detector_shape, scan.kind, scan.radius)


KINDS: dict[str, Callable[[Random, float], Problem]] = {
    "rows": _rows,
    "parallel": _parallel,
    "cone": _cone,
    "curved": _curved,
    "helix": _helix,
    "laminography": _laminography,
    "vectors": _vectors,
    "flipped": _flipped,
}


def random_problem(seed: int, reach: float = 3.0) -> Problem:
    """Problem number `seed`, of each kind in turn; pixels are between 1/reach and reach mm, voxels about 1 mm."""
    rng = np.random.default_rng([seed, 7])
    return list(KINDS.values())[seed % len(KINDS)](rng, reach)
