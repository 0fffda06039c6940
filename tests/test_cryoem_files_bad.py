"""Particle files that are wrong: the error names table, column, row, file and numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.cryoem_golden import GOLDEN
from tests.cryoem_projects import OPTICS, PARTICLES, ROWS, project, stack
from tomodiff.errors import ConfigError, DataError
from tomodiff.files.cryoem import read_particles, write_particles

Shared = Callable[[str], Path]
DATA = "data/cryoem/"

BAD = {
    "no such group": (
        ("near", "near"),
        ("45.0 1 1", "45.0 7 1"),
        "rlnOpticsGroup, row 1.*optics groups 1, 2, found group 7",
    ),
    "no defocus V": (("", ""), ("12000.1 11000.2", "12000.1 x"), "rlnDefocusV, row 1.*finite number, found 'x'"),
    "image 0": (("", ""), ("000002@a", "000000@a"), "rlnImageName, row 1.*counted from 1, found '000000@a.mrcs'"),
    "past the end": (
        ("", ""),
        ("000002@a", "000004@a"),
        r"a\.mrcs: images: expected images 1 to 3, found image 4 for particle 1",
    ),
    "group twice": (("2 far", "1 far"), ("", ""), r"a number once for each group, found \[1, 1\]"),
    "other pixel": (
        ("0.070000 1.500000", "0.070000 1.600000"),
        ("", ""),
        r"group far: expected 1\.5 .*near, found 1\.6",
    ),
    "other box": (
        ("1.500000 16 2\n2", "1.500000 32 2\n2"),
        ("", ""),
        "rlnImageSize of optics group near: expected 16.*found 32",
    ),
    "volumes": (
        ("1.500000 16 2\n2", "1.500000 16 3\n2"),
        ("", ""),
        r"rlnImageDimensionality of optics group near: expected 2",
    ),
    "no voltage": (
        ("_rlnVoltage", "_myVoltage"),
        ("", ""),
        "data_optics: expected a column rlnVoltage, found none.*voltage=",
    ),
    "no pixel": (
        ("_rlnImagePixelSize", "_myPixel"),
        ("", ""),
        "near: expected a pixel size: rlnImagePixelSize.*Give pixel=",
    ),
    "no names": (
        ("", ""),
        ("_rlnImageName", "_myName"),
        "a table of particles with a column rlnImageName, found data_optics",
    ),
    "wrong header": (
        ("1.500000 16", "3.000000 16"),
        ("", ""),
        r"expected 1\.5 angstrom as in the header of .*a\.mrcs, found 3",
    ),
    "not a number": (("2.700000", "_"), ("", ""), "rlnSphericalAberration, row 1 of data_optics.*found '_'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_projects_are_named(tmp_path: Path, case: str) -> None:
    optics, particles, message = BAD[case]
    path = project(tmp_path, OPTICS.replace(*optics), PARTICLES.replace(*particles),
                   tuple(row.replace(*particles) if i == 0 else row for i, row in enumerate(ROWS)))  # fmt: skip
    with pytest.raises(DataError, match=message):
        read_particles(path)


def test_more_bad_projects(tmp_path: Path, rng: np.random.Generator) -> None:
    labels = OPTICS.rsplit("\n", 3)[0]
    with pytest.raises(DataError, match="data_optics: expected at least one optics group, found a table without rows"):
        read_particles(project(tmp_path, labels + "\n"))
    with pytest.raises(DataError, match=r"data_optics: expected a table of optics groups.*Give pixel="):
        read_particles(project(tmp_path, ""))
    given = {"pixel": 1.5, "voltage": 300, "cs": 2.7, "amplitude_contrast": 0.1}
    assert [o.name for o in read_particles(project(tmp_path, ""), **given).optics] == ["opticsGroup1", "opticsGroup2"]
    with pytest.raises(DataError, match="data_particles: expected particles, found a table without rows"):
        read_particles(project(tmp_path, rows=()))
    line = len((OPTICS + PARTICLES).splitlines()) + 3
    with pytest.raises(DataError, match=f"line {line}, row 3 of data_particles: expected 12 values.*cut short"):
        read_particles(project(tmp_path, rows=(*ROWS[:2], ROWS[2][:40])))
    idle = read_particles(project(tmp_path, rows=(ROWS[0],)))
    assert [o.name for o in idle.optics] == ["near"] and "no particle is of optics group 2" in idle.warnings[0]
    both = PARTICLES + "_rlnOriginX #13\n_rlnOriginY #14\n"
    twice = read_particles(project(tmp_path, particles=both, rows=tuple(f"{r} 9 9" for r in ROWS)))
    assert twice.shift[0].tolist() == [1.5, -3.0] and "those in angstrom are used" in twice.warnings[0]
    images = rng.standard_normal((3, 16, 16)).astype(np.float32)
    images[0, 3, 3] = np.nan
    path = project(tmp_path)
    stack(tmp_path / "a.mrcs", images)
    with pytest.raises(DataError, match=r"a\.mrcs: image 1 \(particle 3\): expected finite pixels, found 1 NaN"):
        read_particles(path).images[:]
    stack(tmp_path / "b.mrcs", images[:, :8, :8])
    with pytest.raises(DataError, match=r"b\.mrcs: box: expected 16 pixels as in .*a\.mrcs, found 8"):
        read_particles(path)
    with pytest.raises(ConfigError, match="pixel: expected a number above 0, found -1"):
        read_particles(path, pixel=-1)


def test_a_missing_stack_names_all_places(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    path = project(tmp_path / "job")
    (tmp_path / "job" / "b.mrcs").rename(tmp_path / "b.mrcs")
    assert len(read_particles(path)) == 3  # found in the folder above, where RELION's project would be
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "b.mrcs").rename(tmp_path / "elsewhere" / "b.mrcs")
    with pytest.raises(DataError) as error:
        read_particles(path)
    assert all(str(folder / "b.mrcs") in str(error.value) for folder in (tmp_path / "job", tmp_path, Path.cwd()))
    assert "root=" in str(error.value)
    assert len(read_particles(path, root=tmp_path / "elsewhere")) == 3


def test_odd_boxes_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    path = project(tmp_path, OPTICS.replace(" 16 2", " 15 2"))
    for name, n in (("a", 3), ("b", 2)):
        stack(tmp_path / f"{name}.mrcs", rng.standard_normal((n, 15, 15)).astype(np.float32))
    with pytest.raises(DataError, match="expected an even number of pixels, found 15"):
        read_particles(path)


@pytest.mark.real
def test_wrong_dialects_are_named(shared: Shared, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a table of particles with a column rlnImageName, found data_general"):
        read_particles(shared(GOLDEN + "post.star"))
    with pytest.raises(DataError, match=r"particles: a \.star, \.cs or \.par file"):
        read_particles(shared(GOLDEN + "mask.mrc"))
    with pytest.raises(DataError, match="pickled"):
        read_particles(shared(DATA + "metadata-parsers/pose.cs.pkl"))
    (tmp_path / "empty.star").write_text("\n")
    with pytest.raises(DataError, match="an empty file"):
        read_particles(tmp_path / "empty.star")
    with pytest.raises(ConfigError, match=r"ends in \.star, \.cs or \.par, found \.txt"):
        write_particles(tmp_path / "x.txt", read_particles(shared(GOLDEN + "proj_notilt.star")))
    with pytest.raises(ConfigError, match=r"passthrough: expected none for .* no \.cs file"):
        read_particles(shared(GOLDEN + "proj_notilt.star"), passthrough=["x.cs"])
