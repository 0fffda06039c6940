"""Dataset and Result hold together, and checksums tell files apart."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.scan_files import cone_dataset, parallel_dataset, result
from tomodiff.errors import DataError
from tomodiff.files import checksum


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "photons"}, "kind: expected counts or transmission or line_integrals, found 'photons'"),
        (
            {"data": np.zeros((24, 5, 8))},
            r"data: expected the shape \(24, 5, 7\) that the scan has, found \(24, 5, 8\)",
        ),
        ({"data": np.zeros((5, 7))}, "data: expected 3 axes"),
        ({"data": np.zeros((24, 5, 7), complex)}, "data: expected real numbers, found complex128"),
        ({"flats": np.zeros((3, 5, 8))}, r"flats: expected the shape \('any', 5, 7\)"),
        ({"darks": np.zeros((5, 7))}, "darks: expected 3 axes"),
        ({"weights": np.zeros((23, 5, 7))}, "weights"),
    ],
)
def test_dataset_that_does_not_agree(rng: np.random.Generator, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        parallel_dataset(rng).replace(**change)


def test_dataset_is_a_value(rng: np.random.Generator) -> None:
    scan = cone_dataset(rng)
    noted = scan.noted("log")
    assert noted.history == ("log",) and scan.history == ()
    assert noted.data is scan.data
    with pytest.raises(dataclasses.FrozenInstanceError):
        scan.kind = "counts"  # type: ignore[misc]


def test_result_that_does_not_agree(rng: np.random.Generator) -> None:
    made = result(rng)
    with pytest.raises(DataError, match=r"the grid's shape \(3, 4, 5\)"):
        made.replace(volume=np.zeros((3, 4, 6)))
    with pytest.raises(DataError, match="real numbers"):
        made.replace(volume=np.zeros((3, 4, 5), complex))


def test_checksum_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"tomography")
    assert checksum(tmp_path / "a") == hashlib.sha256(b"tomography").hexdigest()
    with pytest.raises(DataError, match="checksum"):
        checksum(tmp_path / "b")


def test_checksum_of_a_folder_is_of_names_and_contents(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "b.txt").write_text("b")
        (tmp_path / name / "inner" / "a.txt").write_text("a")
    same = checksum(tmp_path / "one")
    assert checksum(tmp_path / "two") == same
    (tmp_path / "two" / ".hidden").write_text("x")
    assert checksum(tmp_path / "two") == same
    (tmp_path / "two" / "inner" / "a.txt").write_text("c")
    assert checksum(tmp_path / "two") != same
    (tmp_path / "two" / "inner" / "a.txt").write_text("a")
    (tmp_path / "two" / "b.txt").rename(tmp_path / "two" / "c.txt")
    assert checksum(tmp_path / "two") != same
