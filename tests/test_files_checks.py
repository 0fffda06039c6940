"""What `check_dataset` finds, one planted fault at a time, and that it finds nothing in a sound scan."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.scan_files import COLUMNS, ROWS, VIEWS
from tomodiff.files import check_dataset
from tomodiff.geometry import ParallelBeam
from tomodiff.result import Dataset

SHAPE = (VIEWS, ROWS, COLUMNS)


def sound(rng: np.random.Generator) -> Dataset:
    """Counts with flats and darks, over half a turn, with nothing wrong."""
    data = rng.uniform(1000, 50000, SHAPE).astype(np.float32)
    flats = rng.uniform(52000, 54000, (3, ROWS, COLUMNS)).astype(np.float32)
    darks = rng.uniform(90, 110, (2, ROWS, COLUMNS)).astype(np.float32)
    scan = ParallelBeam(np.linspace(0, np.pi, VIEWS, endpoint=False), (ROWS, COLUMNS), 0.01)
    return Dataset(data, scan, "counts", flats, darks, meta={"dtype": "uint16"})


def changed(array: np.ndarray, where: Any, value: float) -> np.ndarray:
    """A copy with one part replaced."""
    copy = array.copy()
    copy[where] = value
    return copy


def test_nothing_in_a_sound_scan(rng: np.random.Generator) -> None:
    assert check_dataset(sound(rng)) == []


@pytest.mark.parametrize(
    ("field", "where", "value", "severity", "message"),
    [
        ("data", (3, 2, slice(0, 4)), np.nan, "error", "4 NaN and 0 infinite values of 840"),
        ("data", (3, 2, 1), -np.inf, "error", "0 NaN and 1 infinite"),
        ("flats", (0, 0, 0), np.nan, "error", "1 NaN"),
        ("data", (5, 1, slice(0, 3)), -2.0, "warning", "3 counts below zero"),
        ("darks", (0, 0, 0), -1.0, "warning", "1 counts below zero"),
        ("flats", (slice(None), 1, 1), 0.0, "warning", "1 pixels not brighter than in the darks"),
        ("flats", slice(None), 0.0, "error", "all zero"),
        ("flats", slice(None), 50.0, "error", "nowhere brighter"),
        ("data", (7, 0, slice(0, 2)), 65535.0, "warning", "2 pixels at the largest value 65535"),
        ("data", 7, 30000.0, "warning", "1 views of one single value, the first is view 7"),
        ("data", slice(None), 0.0, "error", "all zero"),
    ],
)
def test_planted_faults(
    rng: np.random.Generator, field: str, where: Any, value: float, severity: str, message: str
) -> None:
    scan = sound(rng)
    found = check_dataset(scan.replace(**{field: changed(getattr(scan, field), where, value)}))
    assert any(p.severity == severity and p.field == field and message in p.message for p in found), found
    assert [p.severity for p in found] == sorted((p.severity for p in found), key=["error", "warning", "note"].index)


def test_missing_fields(rng: np.random.Generator) -> None:
    assert [p.field for p in check_dataset(sound(rng).replace(flats=None))] == ["flats"]
    assert [p.severity for p in check_dataset(sound(rng).replace(darks=None))] == ["note"]


def test_transmission_beyond_what_it_can_be(rng: np.random.Generator) -> None:
    data = rng.uniform(0.2, 1.0, SHAPE).astype(np.float32)
    scan = sound(rng).replace(data=data, kind="transmission", flats=None, darks=None)
    assert check_dataset(scan) == []
    assert "no logarithm" in check_dataset(scan.replace(data=changed(data, (0, 0, 0), 0.0)))[0].message
    assert "above 1.2" in check_dataset(scan.replace(data=data * 2))[0].message


def test_line_integrals_may_be_negative(rng: np.random.Generator) -> None:
    data = rng.standard_normal(SHAPE).astype(np.float32)
    scan = sound(rng).replace(data=data, kind="line_integrals", flats=None, darks=None)
    assert check_dataset(scan) == []
    found = check_dataset(scan.replace(weights=-np.ones(SHAPE, np.float32)))
    assert [(p.severity, p.field) for p in found] == [("error", "weights")]


@pytest.mark.parametrize(
    ("angles", "message"),
    [
        (np.linspace(0, np.pi / 2, VIEWS), "of 180: limited-angle"),
        (np.delete(np.linspace(0, np.pi, VIEWS + 1), 5), "1 steps differ"),
        (np.concatenate([np.linspace(0, np.pi, VIEWS - 1), [0.0]]), "1 views at the angle of another"),
    ],
)
def test_angles(rng: np.random.Generator, angles: np.ndarray, message: str) -> None:
    found = check_dataset(sound(rng).replace(scan=ParallelBeam(angles, (ROWS, COLUMNS), 0.01)))
    assert any(p.field == "angles" and message in p.message for p in found), found


def test_unknown_pixel_size_is_noted(rng: np.random.Generator) -> None:
    found = check_dataset(sound(rng).replace(meta={"pixel_unknown": True}))
    assert "note: pixel: size unknown" in str(found[0])
