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
    detector = (nv, _detector(rng)[1]), (grid.spacing[0], _pixel(rng, reach)[1])
    return grid, ParallelBeam(_angles(rng), *detector, axis_offset=float(rng.normal()))


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
    detector = _detector(rng), _pixel(rng, reach)
    return _grid(rng), Helix(_angles(rng) * 3, *lengths, *detector, turn, -turn, **_mounting(rng))


def _laminography(rng: Random, reach: float) -> Problem:
    near, far = _distances(rng) if rng.random() < 0.5 else (None, None)
    tilt = float(rng.uniform(-1.5, 1.5)) if rng.random() < 0.8 else float(np.pi / 4)
    rest: dict[str, Any] = {"source_axis": near, "source_detector": far, **_mounting(rng)}
    return _grid(rng), Laminography(_angles(rng), tilt, _detector(rng), _pixel(rng, reach), **rest)


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


def exact_problems() -> dict[str, Problem]:
    """Rays at exactly 0, 45 and 90 degrees, through voxel centres, edges and corners; lone pixels, rows and columns."""
    turn = np.deg2rad(np.arange(0.0, 360.0, 45.0))
    even, odd, flat = Grid((4, 4, 4)), Grid((5, 7, 5), (1.0, 0.5, 2.0)), Grid((1, 5, 6))
    problems: dict[str, Problem] = {
        "through centres": (even, ParallelBeam(turn, (4, 4))),
        "through edges": (even, ParallelBeam(turn, (5, 5))),
        "through edges, half pitch": (odd, ParallelBeam(turn, (11, 15), 0.5)),
        "through corners": (even, ParallelBeam(turn, (8, 9), (1.0, 0.5**0.5), axis_tilt=float(np.pi / 4))),
        "beside the box": (even, ParallelBeam(turn, (4, 4), 5.0)),
        "cone through corners": (even, ConeBeam(turn, 4.0, 8.0, (5, 5), 2.0)),
        "cone of 45 degrees": (even, ConeBeam(turn, 8.0, 16.0, (9, 9), 4.0)),
        "one pixel": (odd, ParallelBeam(turn, (1, 1))),
        "one pixel of a cone": (odd, ConeBeam(turn, 20.0, 30.0, (1, 1), 3.0)),
        "one row of a cone": (odd, ConeBeam(turn, 20.0, 30.0, (1, 9), 1.5)),
        "one column of a cone": (odd, ConeBeam(turn, 20.0, 30.0, (9, 1), 1.5)),
        "one slice": (flat, ConeBeam(turn, 20.0, 30.0, (3, 9), 1.5)),
        "one line of voxels": (Grid((1, 1, 6)), ParallelBeam(turn, (3, 9))),
        "one column of voxels": (Grid((6, 1, 1)), ConeBeam(turn, 20.0, 30.0, (8, 4), 1.5)),
        "one voxel": (Grid(1), ConeBeam(turn, 20.0, 30.0, (4, 5), 0.5)),
        "along every axis": (even, Vectors(_axis_frames(), (4, 5), "parallel")),
        "towards every axis": (even, Vectors(_axis_frames(), (4, 5), "cone")),
    }
    return problems


def _axis_frames() -> np.ndarray:
    """Views along +x, -x, +y, ... with steps of one along the two other axes; as a cone the source is near."""
    rows = []
    for axis in range(3):
        for sign in (1.0, -1.0):
            out, u, v = np.roll(np.eye(3), -axis, axis=0)
            rows.append(np.concatenate([-6 * sign * out, 6 * sign * out, u, v]))
    return np.array(rows)


def steep_problems() -> dict[str, Problem]:
    """Sources beside, in and behind the volume, rays that miss it, and detectors far larger or finer than voxels."""
    turn, roll = np.linspace(0.1, 6.0, 4), dict[str, Any](detector_tilt=(0.3, 0.0, 0.0))
    coarse, fine = ((5, 6), 40.0), ((40, 21), 0.1)
    cube, wide = Grid((9, 8, 7)), Grid((3, 20, 21))
    return {
        "source beside the box": (cube, ConeBeam(turn, 6.5, 13.0, (21, 12), 2.0)),
        "source in the box": (cube, ConeBeam(turn, 2.0, 30.0, (13, 12), 5.0)),
        "source at the origin of space": (Grid(5, 1.0, (0, 12, 0)), _at_origin()),
        "box behind the source": (Grid(6, 1.0, (0, -60, 0)), ConeBeam(turn * 0.05, 30.0, 60.0, (6, 9), 2.0)),
        "box on both sides of the orbit": (wide, ConeBeam(turn, 7.3, 20.0, (5, 9), 2.0)),
        "all rays miss": (Grid(5, 1.0, (300, 200, 100)), ConeBeam(turn, 900.0, 1000.0, (5, 6), 1.0)),
        "some views miss": (Grid(5, 1.0, (0, 0, 40)), Helix(turn * 4, 60.0, 120.0, (7, 9), 2.0, 30.0, 0.0)),
        "pixels 20 times the voxel": (cube, ConeBeam(turn, 60.0, 120.0, *coarse)),
        "pixels 20 times the voxel, rolled": (cube, ConeBeam(turn, 60.0, 120.0, *coarse, **roll)),
        "pixels a 20th of the voxel": (cube, ConeBeam(turn, 60.0, 120.0, *fine)),
        "pixels a 20th of the voxel, rolled": (cube, ConeBeam(turn, 60.0, 120.0, *fine, **roll)),
        "rays to both sides of a near source": (cube, _both_sides()),
        "rows that crowd together beyond the last": _crowding_rows(),
        "columns that end where a voxel does": _ending_columns(),
        "across a turned detector": (cube, ConeBeam(turn, 40.0, 80.0, (9, 10), 2.0, detector_tilt=(0.0, 1.2, -1.1))),
    }


def _at_origin() -> Vectors:
    return Vectors([[0, 0, 0, 0, 30, 0, 2, 0.1, 0, 0.1, 0, 2]], (5, 6), "cone")


def _both_sides() -> Vectors:
    """Two rows, one to each side of the source along x, which both rays have as their major axis."""
    return Vectors([[0, -2, 0, 0, -1.5, 0.2, 0.1, 0.3, 0, 40, 0, 1.0]], (2, 3), "cone")


def _crowding_rows() -> Problem:
    """A tilted detector near a steep source: the spacing of its rows, in slices, changes much from row to row."""
    grid = Grid((5, 5, 7), (1.1258, 0.6487, 0.917), (-2.489, -0.2045, -0.2047))
    mounting: dict[str, Any] = {"axis_offset": 0.239, "detector_offset": (-0.224, -1.771)}
    tilt = (-0.10045, -0.30008, 0.32358)
    return grid, Helix(
        [2.3562, 0.0], 11.065, 16.4845, (8, 3), (3.452, 2.356), 9.23, -9.23, detector_tilt=tilt, **mounting
    )


def _ending_columns() -> Problem:
    """The shadow of a voxel's edge rounds to a whole column, the last but one."""
    angles = [1.9329086754349791, 1.6826316628067461, 2.5070243268564534]
    return Grid(7), ParallelBeam(angles, (71, 3), (0.756689731570103, 1.4395731728952752))


def tall_problems() -> dict[str, Problem]:
    """More rows or columns than a CPU thread takes at a time (256, 1024), steep and shallow, far finer than voxels."""
    turn, tall = [0.3, 1.9], Grid((1100, 2, 3))
    return {
        "rows": (tall, ParallelBeam(turn, (1100, 4))),
        "wide slices": (Grid((1, 3, 1050)), ParallelBeam([0.02, 0.3], (1, 1100), axis_offset=0.3)),
        "wide coarse slices": (Grid((1, 4, 1300)), ParallelBeam([0.02, 0.3], (1, 600), 2.6)),
        "wide fine slices": (Grid((1, 40, 41)), ParallelBeam([0.02, 0.7, 1.6], (1, 1100), 0.05)),
        "parallel": (tall, ParallelBeam(turn, (1031, 4), 1.07)),
        "tilted parallel": (tall, ParallelBeam(turn, (1031, 4), 1.07, axis_tilt=0.2, detector_tilt=(0.1, 0.0, 0.0))),
        "cone": (tall, ConeBeam(turn, 800.0, 1600.0, (1300, 4), 2.0)),
        "rolled cone": (tall, ConeBeam(turn, 800.0, 1600.0, (1300, 4), 2.0, detector_tilt=(0.01, 0.1, 0.0))),
        "coarse cone": (Grid((1300, 2, 2)), ConeBeam(turn, 2600.0, 2700.0, (260, 3), (5.2, 1.0))),
        "fine cone": (Grid((40, 3, 4)), ConeBeam(turn, 900.0, 1000.0, (2100, 4), (0.04, 1.0))),
        "helix": (tall, Helix(turn, 900.0, 1800.0, (1025, 4), 2.0, 400.0, -100.0)),
    }


def common_problems() -> dict[str, Problem]:
    """The scans people make, with more than a thousand rays each, on an off-centre grid of oblong voxels."""
    grid, cube = Grid((13, 14, 15), (0.9, 1.0, 1.1), (0.3, -0.4, 0.2)), Grid((12, 14, 15))
    turned = Grid.from_rotvec((12, 13, 15), (0.2, -0.3, 0.5), (1.0, 0.8, 1.2), (0.5, 0.1, -0.2))
    turn = np.linspace(0.1, 6.0, 7)
    far: dict[str, Any] = {"source_axis": 60.0, "source_detector": 120.0}
    cone = ConeBeam(turn, 60.0, 120.0, (14, 18), 1.9, axis_offset=0.7, detector_offset=(1.0, -2.0))
    flipped = cone.frames() * np.repeat([1.0, 1.0, -1.0, -1.0], 3)
    roll: dict[str, Any] = {"detector_tilt": (0.1, 0.0, 0.0)}
    return {
        "rows": (cube, ParallelBeam(turn, (12, 19), (1.0, 0.9), axis_offset=0.3)),
        "parallel": (grid, ParallelBeam(turn, (13, 18), 1.1)),
        "tilted parallel": (grid, ParallelBeam(turn, (13, 18), 1.1, detector_tilt=(0.1, 0.05, -0.1), axis_tilt=0.1)),
        "fan": (Grid((1, 40, 41)), ConeBeam(turn, 100.0, 150.0, (1, 160), (1.5, 0.45))),
        "cone": (grid, cone),
        "steep cone": (grid, ConeBeam(turn, 16.0, 32.0, (15, 18), 2.2)),
        "rolled cone": (grid, ConeBeam(turn, 60.0, 120.0, (14, 18), 1.9, detector_tilt=(0.05, 0.02, -0.03))),
        "curved cone": (grid, ConeBeam(turn, 60.0, 120.0, (14, 18), 1.9, curved=True)),
        "rolled curved cone": (grid, ConeBeam(turn, 60.0, 120.0, (14, 18), 1.9, curved=True, **roll)),
        "helix": (grid, Helix(turn * 3, 60.0, 120.0, (14, 18), 1.9, 5.0, -6.0)),
        "curved helix": (grid, Helix(turn * 3, 60.0, 120.0, (14, 18), 1.9, 5.0, -6.0, curved=True)),
        "laminography": (grid, Laminography(turn, 0.5, (14, 18), 1.1)),
        "steep laminography": (grid, Laminography(turn, 1.2, (14, 18), 1.1)),
        "cone laminography": (grid, Laminography(turn, 0.5, (14, 18), 1.9, **far)),
        "flipped cone": (grid, Vectors(flipped, (14, 18), "cone")),
        "turned grid": (turned, cone),
    }
