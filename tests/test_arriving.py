"""The first corrections are made while the scan is still being read, and come out as if it had been read before."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tomodiff.errors import DataError
from tomodiff.files import read
from tomodiff.files.stack import Stack, ahead, loaded
from tomodiff.prepare import prepare
from tomodiff.prepare.arriving import Arriving

WAIT = 20.0
"""Seconds after which a thread that waits for the other counts as stuck."""


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """Counts of 40 views with a dead, a stuck and a noisy place, flats and darks."""
    rng = np.random.default_rng(5)
    counts = rng.poisson(4000, (40, 12, 64)).astype(np.uint16)
    flats, darks = rng.poisson(9000, (7, 12, 64)), rng.poisson(90, (5, 12, 64))
    counts[:, 3, 30] = 90
    flats[:, 3, 30] = 90
    counts[:, 7, 11] = 4000
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file["exchange/data"] = counts
        file["exchange/data_white"], file["exchange/data_dark"] = flats.astype(np.uint16), darks.astype(np.uint16)
        file["exchange/theta"] = np.linspace(0, 180, 40, endpoint=False)
    return path


@pytest.fixture
def small_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read a few views at a time."""
    monkeypatch.setattr("tomodiff.files.stack.READ_BYTES", 7 * 12 * 64 * 2)


@pytest.mark.usefixtures("small_reads")
@pytest.mark.parametrize("model", ["mean", "interpolated", "eigen"])
def test_views_corrected_as_they_come_are_those_corrected_afterwards(scan: Path, model: str) -> None:
    expected, wanted = prepare(read(scan), flat_model=model, center=None, threads=2)
    begun = Arriving(True, model, 2, in_place=True)
    seen: list[slice] = []

    def watch(dataset: Any, views: slice) -> None:
        seen.append(views)
        begun(dataset, views)

    made, report = prepare(read(scan, watch=watch), flat_model=model, center=None, threads=2, begun=begun)
    assert [v for part in seen for v in range(40)[part]] == list(range(40)) and len(seen) == 6
    np.testing.assert_array_equal(made.data, expected.data)
    assert report == wanted
    assert report["steps"]["repair_pixels"]["reasons"] == {"no response": 1, "stuck": 1}


@pytest.mark.usefixtures("small_reads")
def test_what_is_wrong_with_flats_is_said_before_all_is_read(scan: Path) -> None:
    with h5py.File(scan, "r+") as file:
        file["exchange/data_white"][...] = 0
    with pytest.raises(DataError, match=r"flats: expected counts above 0"):
        read(scan, watch=Arriving(True, "mean", 1, in_place=True))


class Waiting(Stack):
    """Frames of which the second comes only once somebody has worked on the first."""

    name, shape, dtype = "waiting", (3, 2, 2), np.dtype(np.float32)

    def __init__(self) -> None:
        self.worked, self.read = threading.Event(), [threading.Event() for _ in range(3)]

    def raw(self, frames: np.ndarray, rows: slice) -> np.ndarray:
        self.read[frames[0]].set()
        if frames[0] == 1:
            assert self.worked.wait(WAIT), "nobody works while the second frame is read"
        return np.full((1, 2, 2), frames[0], np.float32)


def test_parts_are_read_while_those_before_are_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tomodiff.files.stack.READ_BYTES", 16)
    stack, out = Waiting(), np.zeros((3, 2, 2), np.float32)
    for part in ahead(loaded(stack, np.arange(3), slice(None), (1, 1), out)):
        if part.start == 0:
            assert stack.read[1].wait(WAIT), "the second frame is not read while the first is worked on"
            stack.worked.set()
        np.testing.assert_array_equal(out[part], part.start)
    np.testing.assert_array_equal(out[:, 0, 0], [0, 1, 2])


def test_errors_of_the_reader_reach_the_caller() -> None:
    def parts() -> Any:
        yield slice(0, 1)
        raise DataError("scan.h5", "data", "a whole file", "a truncated one")

    with pytest.raises(DataError, match=r"truncated"):
        list(ahead(parts()))
