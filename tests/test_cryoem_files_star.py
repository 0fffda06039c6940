"""STAR files: what is not changed stays as it is written, and what is wrong is named with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import SHARED
from tomodiff.errors import DataError
from tomodiff.files.cryoem import StarFile, read_star_file, star_table, write_star_file
from tomodiff.files.cryoem.star import number_text, precise_text

Shared = Callable[[str], Path]
DATA = "data/cryoem/"
FILES = sorted(str(p.relative_to(SHARED)) for p in (SHARED / DATA).rglob("*.star"))

ODD = """# made by hand \r
data_

loop_
_rlnImageName #1
_rlnMicrographName # what is here
_rlnOddZernike
  000001@stack.mrcs   _under.mrc   [0.1,-2,3]\x20
	"2@with blank.mrcs"	"a b.mrc"	[]

000003@data_.mrcs "it's.mrc" [1]
# in between

data_general

_rlnFinalResolution   10.5   # angstrom
_rlnMaskName  'my mask.mrc'

loop_
_rlnSpectralIndex
0
1
data_empty
loop_
_rlnAngleRot #1
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "file.star"
    path.write_bytes(text.encode())
    return path


@pytest.mark.real
@pytest.mark.parametrize("name", FILES or ["none.star"])
def test_every_file_stays_as_it_is_byte_for_byte(shared: Shared, tmp_path: Path, name: str) -> None:
    file = read_star_file(shared(name))
    write_star_file(tmp_path / "again.star", file)
    assert (tmp_path / "again.star").read_bytes() == shared(name).read_bytes()


@pytest.mark.real
@pytest.mark.parametrize("name", FILES or ["none.star"])
def test_every_file_reads_as_gemmi_reads_it(shared: Shared, name: str) -> None:
    cif = pytest.importorskip("gemmi").cif
    blocks = {block.name.strip(): block for block in cif.read_file(str(shared(name)))}
    for table in read_star_file(shared(name)).tables:
        block = blocks[table.name]
        for column in table.columns:
            if table.loop:
                theirs = [cif.as_string(v) for v in block.find_loop("_" + column)]
            else:
                theirs = [cif.as_string(block.find_value("_" + column))]
            assert table[column].tolist() == theirs


def test_odd_but_legal_text(tmp_path: Path) -> None:
    file = read_star_file(written(tmp_path, ODD))
    first, general, loop, empty = file.tables
    assert [t.name for t in file.tables] == ["", "general", "general", "empty"]
    assert first["rlnImageName"].tolist() == ["000001@stack.mrcs", "2@with blank.mrcs", "000003@data_.mrcs"]
    assert first["rlnMicrographName"].tolist() == ["_under.mrc", "a b.mrc", "it's.mrc"]
    assert first["rlnOddZernike"][1] == "[]"
    assert general["rlnFinalResolution"][0] == "10.5" and general["rlnMaskName"][0] == "my mask.mrc"
    assert loop.ints("rlnSpectralIndex").tolist() == [0, 1] and len(empty) == 0 and len(general) == 1


@pytest.mark.parametrize("ending", ["", "\n", "\n\n", " \n"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_ends_and_the_end_of_the_file_stay(tmp_path: Path, ending: str, newline: str) -> None:
    text = ("\n# c\ndata_a\n\nloop_\n_x #1\n_y #2\n 1 2 \n3\t4" + ending).replace("\n", newline)
    path = written(tmp_path, text)
    file = read_star_file(path)
    assert file.text().encode() == path.read_bytes()
    assert file["a"].rows == [["1", "2"], ["3", "4"]]


def test_random_tables_round_trip_through_other_columns_and_rows(tmp_path: Path, rng: np.random.Generator) -> None:
    for _ in range(20):
        n, k = int(rng.integers(1, 30)), int(rng.integers(1, 12))
        columns = {f"c{i}": number_text(rng.standard_normal(n) * 10.0 ** rng.integers(-6, 8)) for i in range(k)}
        columns["name"] = np.array([("plain", "two words", "it's", "#1", "")[i] for i in rng.integers(0, 5, n)])
        write_star_file(tmp_path / "t.star", StarFile((star_table("t", columns),)))
        table = read_star_file(tmp_path / "t.star")["t"]
        assert all(np.array_equal(table[c], columns[c]) for c in columns)
        rows = rng.permutation(n)[: max(1, n // 2)]
        part = table[rows].without(["c0"]).replaced({"name": columns["name"][rows][::-1], "new": np.arange(len(rows))})
        write_star_file(tmp_path / "p.star", StarFile((part,)))
        again = read_star_file(tmp_path / "p.star")["t"]
        assert again.columns == (*(c for c in columns if c != "c0"), "new")
        assert np.array_equal(again["name"], columns["name"][rows][::-1])
        assert all(np.array_equal(again[c], columns[c][rows]) for c in columns if c not in ("c0", "name"))


def test_one_changed_cell_changes_one_line(tmp_path: Path) -> None:
    path = written(tmp_path, "data_t\nloop_\n_a #1\n_b #2\n  1.10   x\n  2.20   y\n  3.30   z\n")
    file = read_star_file(path)
    new = file.with_table(0, file["t"].replaced({"a": ["1.10", "9.0", "3.30"]})).text().split("\n")
    old = path.read_text().split("\n")
    assert [i for i, (x, y) in enumerate(zip(old, new, strict=True)) if x != y] == [5] and new[5].split() == [
        "9.0",
        "y",
    ]


def test_an_added_column_leaves_the_text_of_the_others(tmp_path: Path) -> None:
    file = read_star_file(written(tmp_path, "# mine\ndata_t\nloop_\n_a #1\n  1.10e0\n"))
    text = file.with_table(0, file["t"].replaced({"b": ["7"]})).text()
    assert "  1.10e0" in text and text.startswith("# mine\n") and "_b #2" in text


def test_numbers_as_text() -> None:
    values = [0.0, 1.5, -1e-5, 123456.789, 3e12]
    assert number_text(values).tolist() == ["0.000000", "1.500000", "-1.000000e-05", "123456.789000", "3.000000e+12"]
    odd = [1.3099979040033536, 0.07, 1e-7 / 3]
    assert precise_text(odd).astype(float).tolist() == odd and precise_text([0.07])[0] == "0.070000"


def test_equal_columns_are_a_warning_and_stay(tmp_path: Path) -> None:
    path = written(tmp_path, "data_t\nloop_\n_a #1\n_b #2\n_a #3\n1.0 x 1.00\n2 y 2\n")
    file = read_star_file(path)
    assert file["t"].floats("a").tolist() == [1.0, 2.0]
    assert len(file.warnings) == 1 and "a stands 2 times" in file.warnings[0]
    assert file.text() == path.read_text()
    assert file.with_table(0, file["t"].replaced({"b": ["u", "v"]})).text().count("_a #") == 2


BAD = {
    "not a STAR": ("x y z\n", "line 1: expected data_NAME before anything else"),
    "no tables": ("# nothing\n", "expected a STAR file"),
    "empty": ("", "found an empty file"),
    "cut short": (
        "data_t\nloop_\n_a\n_b\n1 2\n\n3\n",
        "line 7, row 2 of data_t: expected 2 values.*found 1.*cut short",
    ),
    "unquoted blank": ("data_t\nloop_\n_a\n_b\n1 2\n3 my file\n4 5\n", "line 6, row 2.*found 3.*need quotes"),
    "no loop_": ("data_t\n_a #1\n_b #2\n1 2\n", "line 2: expected a value for _a"),
    "different twice": (
        "data_t\nloop_\n_a\n_b\n_a\n1 2 1\n1 2 3\n",
        "two, labels 1 and 3, that differ in row 2: 1 and 3",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_text_is_named(tmp_path: Path, case: str) -> None:
    text, message = BAD[case]
    with pytest.raises(DataError, match=f"(?s)file.star.*{message}|{message}"):
        read_star_file(written(tmp_path, text))


def test_binary_missing_and_wrong_values_are_named(tmp_path: Path) -> None:
    (tmp_path / "b.star").write_bytes(b"\0\1\2")
    with pytest.raises(DataError, match="a binary file"):
        read_star_file(tmp_path / "b.star")
    with pytest.raises(DataError, match="No such file"):
        read_star_file(tmp_path / "none.star")
    table = read_star_file(written(tmp_path, "data_t\nloop_\n_a\n_b\n1 2\nx 2.5\nnan 1\n"))["t"]
    with pytest.raises(DataError, match="a, row 2 of data_t: expected a finite number, found 'x'"):
        table.floats("a")
    with pytest.raises(DataError, match=r"b, row 2 of data_t: expected a whole number, found '2\.5'"):
        table.ints("b")
    with pytest.raises(DataError, match="a column c, found the columns a b"):
        table["c"]
    with pytest.raises(DataError, match="a table data_u, found data_t"):
        read_star_file(tmp_path / "file.star")["u"]
    with pytest.raises(ValueError, match="expected 3 values"):
        table.replaced({"a": ["1"]})
