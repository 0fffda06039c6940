"""Angles from files and users: units, tables, surplus lines, ranges, and lists that cannot be right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.scan_files import COLUMNS, ROWS, VIEWS, counts, write_foreign_dx
from tomodiff.errors import ConfigError, DataError
from tomodiff.files import read
from tomodiff.files.angles import fitted, given_angles, in_radians, read_angles
from tomodiff.files.source import RawAngles


@pytest.mark.parametrize(
    ("text", "values", "unit"),
    [
        ("0\n90\n", [0, 90], None),
        ("# degrees\n0\n\n90\n", [0, 90], None),
        ("angle (rad)\n0\n1.5\n", [0, 1.5], "rad"),
        ("view;theta_deg\n1;0\n2;90\n", [0, 90], "deg"),
        ("time,rotation,x\n5,0,1\n6,90,1\n", [0, 90], None),
        ("0 10\n1 20\n2 30\n", [10, 20, 30], None),
        ("1, 10\n2, 20\n", [10, 20], None),
        ("\ufeff0\r\n90\r\n", [0, 90], None),
        ("1e1\n-2.5E+1", [10, -25], None),
    ],
)
def test_text_and_tables(tmp_path: Path, text: str, values: list[float], unit: str | None) -> None:
    (tmp_path / "a.txt").write_text(text, encoding="utf-8", newline="")
    angles = read_angles(tmp_path / "a.txt")
    np.testing.assert_array_equal(angles.values, values)
    assert angles.unit == unit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0\n90\nabc\n", "line 3"),
        ("", "no lines"),
        ("angle\n", "only the line"),
        ("0 1 2\n3 4 5\n", "3 columns"),
        ("7 1\n3 4\n", "2 columns"),
        ("a,b\n0,1\n", "one column named"),
        ("angle,theta\n0,1\n", "one column named"),
        ("view,angle\n0,1\n2\n", "line 3"),
    ],
)
def test_unreadable_tables_name_the_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_angles(tmp_path / "a.csv")


def test_binary_file_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(bytes(range(128, 256)))
    with pytest.raises(DataError, match="not text"):
        read_angles(tmp_path / "a.txt")


def test_ranges() -> None:
    np.testing.assert_allclose(given_angles("0:180:4").values, [0, 45, 90, 135])
    np.testing.assert_allclose(given_angles("0:180:5:closed").values, [0, 45, 90, 135, 180])
    np.testing.assert_allclose(given_angles("-90:90.0:2").values, [-90, 0])
    for wrong in ("0:180:0", "0:180:x", "0:180:4:open", "a:b:c"):
        with pytest.raises(ConfigError, match="angles"):
            given_angles(wrong)
    with pytest.raises(ConfigError, match="row of numbers"):
        given_angles(np.zeros((2, 2)))


def test_repeated_ends_explain_surplus_angles() -> None:
    true = np.arange(-90.0, 91.0, 2.0)
    logged = np.concatenate([[true[0]] * 10, true, [true[-1] + 1e-4] * 10])  # an encoder is never quite still
    kept, warning = fitted(logged, len(true), "log")
    np.testing.assert_allclose(kept, true, atol=1e-3)
    assert "first is repeated 10 times and the last 10 times" in warning
    kept, warning = fitted(logged[:-10], len(true), "log")
    np.testing.assert_array_equal(kept, true)
    assert "last 0 times" in warning


@pytest.mark.parametrize("n_views", [90, 92, 101, 110, 112])
def test_other_surplus_is_an_error(n_views: int) -> None:
    true = np.arange(-90.0, 91.0, 2.0)
    logged = np.concatenate([[true[0]] * 10, true, [true[-1]] * 10])
    with pytest.raises(DataError, match=rf"expected {n_views}, one for each view, found 111"):
        fitted(logged, n_views, "log")


def test_count_mismatch_and_transposed_order(tmp_path: Path, rng: np.random.Generator) -> None:
    data = counts(rng)
    path = write_foreign_dx(tmp_path / "a.h5", data, np.arange(VIEWS + 1) * 7.0)
    with pytest.raises(DataError, match=rf"theta: angles: expected {VIEWS}, one for each view, found {VIEWS + 1}"):
        read(path)
    path = write_foreign_dx(tmp_path / "sinograms.h5", data.swapaxes(0, 1), np.arange(VIEWS) * 7.0)
    with pytest.raises(DataError, match=r"Axis 1 of the projections .* order"):
        read(path)
    path = write_foreign_dx(tmp_path / "last.h5", np.moveaxis(data, 0, 2), np.arange(VIEWS) * 7.0)
    with pytest.raises(DataError, match=r"Axis 2 of the projections"):
        read(path)


def test_radians_called_degrees_are_found_out(tmp_path: Path, rng: np.random.Generator) -> None:
    radians = np.linspace(0, np.pi, VIEWS)
    path = write_foreign_dx(tmp_path / "a.h5", counts(rng), radians, "degrees")
    with pytest.raises(DataError, match="--angle-unit rad"):
        read(path)
    np.testing.assert_array_equal(read(path, angle_unit="rad").scan.angles, radians)
    np.testing.assert_allclose(read(path, angle_unit="deg").scan.angles, np.deg2rad(radians))
    with pytest.raises(ConfigError, match="angle_unit"):
        read(path, angle_unit="gon")


def test_degrees_called_radians_are_found_out() -> None:
    called = RawAngles(np.arange(180.0), "rad", "scan.h5:/exchange/theta")
    with pytest.raises(DataError, match=r"as of degrees.*--angle-unit deg"):
        in_radians(called, "auto")
    np.testing.assert_allclose(in_radians(called, "deg")[0], np.deg2rad(called.values))
    np.testing.assert_array_equal(in_radians(called, "rad")[0], called.values)  # golden-ratio scans do look so
    turns = RawAngles(np.arange(720.0) * np.deg2rad(4), "rad", "scan.h5:/exchange/theta")
    np.testing.assert_array_equal(in_radians(turns, "auto")[0], turns.values)


def test_unit_that_is_none_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write_foreign_dx(tmp_path / "a.h5", counts(rng), np.arange(VIEWS) * 7.5, "furlong")
    with pytest.raises(DataError, match="furlong"):
        read(path)


def test_angles_must_be_finite(tmp_path: Path, rng: np.random.Generator) -> None:
    theta = np.arange(VIEWS) * 7.5
    theta[5] = np.nan
    with pytest.raises(DataError, match="1 that are not, the first at 5"):
        read(write_foreign_dx(tmp_path / "a.h5", counts(rng), theta))


def test_angles_and_flats_from_inside_another_hdf5_file(tmp_path: Path, rng: np.random.Generator) -> None:
    flats = counts(rng, 2)
    other = write_foreign_dx(tmp_path / "other.h5", counts(rng), np.linspace(0, 3, VIEWS), "rad", flats)
    path = write_foreign_dx(tmp_path / "a.h5", counts(rng), None)
    back = read(path, angles=f"{other}:/exchange/theta", flats=f"{other}:/exchange/data_white")
    np.testing.assert_array_equal(back.scan.angles, np.linspace(0, 3, VIEWS))
    np.testing.assert_array_equal(back.flats, flats)
    assert back.data.shape == (VIEWS, ROWS, COLUMNS)
