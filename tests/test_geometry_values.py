"""Scans as values: they print, compare, store, join, move, and refuse what cannot be."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.scans import ANGLES, TIGHT, every_scan
from tomodiff.geometry import (
    ConeBeam,
    FanBeam,
    Grid,
    Laminography,
    ParallelBeam,
    Scan,
    Vectors,
    scan_from_dict,
)

# --- values: print, compare, store ----------------------------------------------------------------------------------


@every_scan
def test_repr_dict_pickle_and_copy_give_the_same_scan(scan: Scan) -> None:
    names: dict[str, object] = {}
    exec("from tomodiff.geometry import *\nfrom numpy import array", names)
    stored = json.loads(json.dumps(scan.to_dict()))
    for again in (
        eval(repr(scan), names),
        scan_from_dict(stored),
        pickle.loads(pickle.dumps(scan)),
        copy.deepcopy(scan),
    ):
        assert again == scan and hash(again) == hash(scan) and type(again) is type(scan)
        assert np.array_equal(again.frames(), scan.frames())
    assert str(scan).startswith(type(scan).__name__)


def test_long_irregular_angles_survive_repr(rng: np.random.Generator) -> None:
    scan = ParallelBeam(rng.uniform(0, 6, 3000), 8)
    assert eval(repr(scan), {"ParallelBeam": ParallelBeam, "array": np.array}) == scan


def test_scans_compare_by_value_and_type() -> None:
    scan = ParallelBeam(ANGLES, (5, 8), 0.4)
    assert scan == ParallelBeam(list(ANGLES), [5, 8], (0.4, 0.4)) and scan != ParallelBeam(ANGLES, (5, 8), 0.5)
    assert scan != Vectors.of(scan) and scan != "scan"
    assert len({scan, ParallelBeam(ANGLES.copy(), (5, 8), 0.4)}) == 1
    assert hash(ParallelBeam([-0.0], 8)) == hash(ParallelBeam([0.0], 8))


def test_scans_do_not_change() -> None:
    mine = ANGLES.copy()
    scan = ParallelBeam(mine, (5, 8))
    mine[0] = 99.0
    assert scan.angles[0] == ANGLES[0]
    with pytest.raises(ValueError, match="read-only"):
        scan.angles[0] = 1.0
    with pytest.raises(AttributeError):
        scan.pixel = (1.0, 1.0)  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        pickle.loads(pickle.dumps(scan)).angles[0] = 1.0


def test_stored_scans_of_unknown_type_or_field_are_refused() -> None:
    with pytest.raises(ValueError, match="Spiral"):
        scan_from_dict({"type": "Spiral"})
    with pytest.raises(ValueError, match="colour"):
        scan_from_dict({**ParallelBeam(ANGLES, 8).to_dict(), "colour": 1})


def test_vectors_join_and_move(rng: np.random.Generator) -> None:
    scan = ConeBeam(ANGLES, 60.0, 110.0, (5, 8), 0.4, curved=True)
    assert Vectors.of(scan[:3], scan[3:]) == Vectors.of(scan)
    with pytest.raises(ValueError, match=r"scans\[1\].detector_shape"):
        Vectors.of(scan, scan.rows(0, 2))
    grid = Grid.from_rotvec(1, (0.3, -0.2, 0.9))
    points, shift = rng.normal(size=(6, 3)), np.array([1.0, -2.0, 0.5])
    moved = Vectors.of(scan).moved(grid.matrix, shift)
    assert_allclose(moved.project(points @ grid.matrix.T + shift), scan.project(points), rtol=0, atol=1e-10)
    each = Vectors.of(scan).moved(np.stack([grid.matrix] * 7), np.broadcast_to(shift, (7, 3)))
    assert_allclose(each.frames(), moved.frames(), rtol=0, atol=TIGHT)


def test_magnification() -> None:
    cone = ConeBeam(ANGLES, 60.0, 110.0, (5, 8), 0.4)
    assert cone.magnification == pytest.approx(110 / 60) == Vectors.of(cone).magnification
    assert ParallelBeam(ANGLES, 8).magnification == 1.0 == Vectors.of(ParallelBeam(ANGLES, 8)).magnification


# --- refusals -------------------------------------------------------------------------------------------------------

CONE = {"angles": ANGLES, "source_axis": 60.0, "source_detector": 110.0, "detector_shape": (5, 8), "pixel": 0.4}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"angles": []}, "angles.*at least one view"),
        ({"angles": [0.0, np.nan]}, r"angles\[1\].*finite"),
        ({"angles": [[0.0]]}, "angles.*shape"),
        ({"angles": ["a"]}, "angles.*real numbers"),
        ({"angles": np.arange(180.0)}, "angles.*degrees.*deg2rad"),
        ({"source_axis": 0.0}, "source_axis.*above 0"),
        ({"source_axis": np.inf}, "source_axis.*finite"),
        ({"source_axis": "60"}, "source_axis.*number"),
        ({"source_detector": 60.0}, "source_detector.*more than source_axis"),
        ({"detector_shape": (0, 8)}, r"detector_shape\[0\]"),
        ({"detector_shape": (5, 8, 1)}, "detector_shape.*2 values"),
        ({"detector_shape": (5, 8.0)}, r"detector_shape\[1\].*whole number"),
        ({"pixel": -0.4}, "pixel.*above 0"),
        ({"pixel": (0.4, 0.0)}, r"pixel\[1\].*above 0"),
        ({"axis_offset": np.nan}, "axis_offset.*finite"),
        ({"detector_offset": 1.0}, "detector_offset.*2 values"),
        ({"detector_tilt": (0.0, 2.0, 0.0)}, "detector_tilt.*right angle"),
        ({"detector_tilt": (0.0, 0.1, 0.0), "curved": True}, "detector_tilt.*curved"),
        ({"curved": 1}, "curved.*True or False"),
        ({"curved": True, "detector_shape": (5, 900)}, "detector_shape.*quarter turn"),
        ({"axis_tilt": 90.0}, "axis_tilt.*radians"),
    ],
)
def test_impossible_arguments_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConeBeam(**{**CONE, **change})  # type: ignore[arg-type]


def test_impossible_vectors_are_named() -> None:
    cone = Vectors.of(ConeBeam(**CONE)).table.copy()  # type: ignore[arg-type]
    parallel_steps, edge_on = cone.copy(), cone.copy()
    parallel_steps[2, 9:] = parallel_steps[2, 6:9]
    edge_on[3, :3] = edge_on[3, 3:6] + edge_on[3, 6:9]
    for bad, message in ((parallel_steps, r"frames\[2\].*independent"), (edge_on, r"frames\[3\].*along its surface")):
        with pytest.raises(ValueError, match=message):
            Vectors(bad, (5, 8), "cone")
    for arguments, message in (
        ((cone, (5, 8), "fan"), "kind"),
        ((cone[:, :9], (5, 8), "cone"), "frames.*12"),
        ((cone, (5, 8), "parallel", 110.0), "radius.*parallel"),
        ((cone, (5, 8), "cone", 100.0), r"frames\[0\].*radius"),
    ):
        with pytest.raises(ValueError, match=message):
            Vectors(*arguments)
    with pytest.raises(ValueError, match="single row"):
        FanBeam(ANGLES, 60.0, 110.0, (2, 8), 0.4)
    with pytest.raises(ValueError, match=r"both .* or neither"):
        Laminography(ANGLES, 0.5, (5, 8), source_axis=60.0)
