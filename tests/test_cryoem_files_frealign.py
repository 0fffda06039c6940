"""Particles of FREALIGN and cisTEM: three widths of .par, cisTEM's STAR, and both readings of the angles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.cryoem_projects import project, stack
from tomodiff.errors import ConfigError, DataError
from tomodiff.files.cryoem import convert, dialect, read_particles, write_particles

HOW = {"pixel": 1.5, "voltage": 300.0, "cs": 2.7, "amplitude_contrast": 0.07}
OLD = """C FREALIGN parameter file
C           PSI   THETA     PHI     SHX     SHY    MAG   FILM      DF1      DF2  ANGAST  CCMAX
      2   30.00   20.00   10.00    1.00   -2.00  50000      1  12000.0  11000.0   45.00  12.50
      1  120.00   95.50  -40.00    0.00    0.50  50000      2  13000.0  12500.0  -10.00  11.00
"""
NINE = """C           PSI   THETA     PHI       SHX       SHY     MAG  FILM      DF1      DF2  ANGAST     OCC     LogP      SIGMA   SCORE  CHANGE
      2   30.00   20.00   10.00      1.50     -3.00   50000     1  12000.0  11000.0   45.00  100.00     -500     1.0000   20.00    0.10
      1  120.00   95.50  -40.00      0.00      0.75   50000     2  13000.0  12500.0  -10.00  100.00     -500     1.0000   20.00    0.10
C  Total particles included, overall score           2   20.00
"""  # noqa: E501
TEN = """C           PSI   THETA     PHI       SHX       SHY     MAG  FILM      DF1      DF2  ANGAST  PSHIFT     OCC      LogP      SIGMA   SCORE  CHANGE
      2   30.00   20.00   10.00      1.50     -3.00   50000     1  12000.0  11000.0   45.00    1.57  100.00      -500     1.0000   20.00    0.10
      1  120.00   95.50  -40.00      0.00      0.75   50000     2  13000.0  12500.0  -10.00    0.00  100.00      -500     1.0000   20.00    0.10
"""  # noqa: E501
CISTEM = """# Written by cisTEM

data_

loop_
_cisTEMPositionInStack #1
_cisTEMAnglePsi #2
_cisTEMAngleTheta #3
_cisTEMAnglePhi #4
_cisTEMXShift #5
_cisTEMYShift #6
_cisTEMDefocus1 #7
_cisTEMDefocus2 #8
_cisTEMDefocusAngle #9
_cisTEMPhaseShift #10
_cisTEMOccupancy #11
_cisTEMPixelSize #12
_cisTEMMicroscopeVoltagekV #13
_cisTEMMicroscopeCsMM #14
_cisTEMAmplitudeContrast #15
_cisTEMBeamTiltX #16
_cisTEMBeamTiltY #17
_cisTEMStackFilename #18
#    POS     PSI   THETA     PHI       SHX       SHY      DF1      DF2  ANGAST  PSHIFT     OCC
       2   30.00   20.00   10.00      1.50     -3.00  12000.0  11000.0   45.00    1.57  100.00 1.5 300 2.7 0.07 0.1 0.2 'a.mrcs'
       1  120.00   95.50  -40.00      0.00      0.75  13000.0  12500.0  -10.00    0.00  100.00 1.5 300 2.7 0.07 0.1 0.2 'a.mrcs'
"""  # noqa: E501
ANGLES = np.array([[10.0, 20.0, 30.0], [-40.0, 95.5, 120.0]])  # phi, theta, psi


@pytest.fixture
def images(tmp_path: Path, rng: np.random.Generator) -> np.ndarray:
    return stack(tmp_path / "a.mrcs", rng.standard_normal((3, 8, 8)).astype(np.float32))


def written(tmp_path: Path, text: str, name: str = "p.par") -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


def matrices(angles: np.ndarray) -> np.ndarray:
    return np.swapaxes(Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix(), 1, 2)


@pytest.mark.parametrize("text", [OLD, NINE, TEN], ids=["12 columns", "16 columns", "17 columns"])
def test_all_widths_say_the_same(tmp_path: Path, images: np.ndarray, text: str) -> None:
    path = written(tmp_path, text)
    particles = read_particles(path, stack=tmp_path / "a.mrcs", **HOW)
    assert dialect(path) == "frealign" and np.array_equal(particles.images[:], images[[1, 0]])
    assert np.allclose(particles.rotation, matrices(ANGLES), atol=1e-14)
    assert particles.shift.tolist() == [[-1.5, 3.0], [0.0, -0.75]]  # old files count in pixels of 1.5 angstrom
    assert np.allclose(particles.defocus, [[12000, 11000, np.pi / 4], [13000, 12500, np.deg2rad(-10)]])
    assert particles.phase_shift.tolist() == ([1.57, 0.0] if text is TEN else [0.0, 0.0])
    assert particles.optics[0].voltage == 300 and particles.pixel == 1.5
    write_particles(tmp_path / "again.par", particles)
    assert (tmp_path / "again.par").read_text() == text


def test_angles_can_be_those_of_the_inverse(tmp_path: Path, images: np.ndarray) -> None:
    path = written(tmp_path, NINE)
    inverted = read_particles(path, stack=tmp_path / "a.mrcs", invert_eulers=True, **HOW)
    assert np.allclose(inverted.rotation, matrices(-ANGLES[:, ::-1]), atol=1e-14)
    assert np.allclose(inverted.rotation, np.swapaxes(matrices(ANGLES), 1, 2), atol=1e-14)
    turned = inverted.replace(rotation=inverted.rotation[::-1])
    write_particles(tmp_path / "new.par", turned)
    again = read_particles(tmp_path / "new.par", stack=tmp_path / "a.mrcs", invert_eulers=True, **HOW)
    assert np.allclose(again.rotation, turned.rotation, atol=1e-7)


def test_cistem_star(tmp_path: Path, images: np.ndarray) -> None:
    path = written(tmp_path, CISTEM, "p.star")
    particles = read_particles(path)
    assert dialect(path) == "cistem" and np.array_equal(particles.images[:], images[[1, 0]])
    assert np.allclose(particles.rotation, matrices(ANGLES), atol=1e-14)
    assert particles.shift.tolist() == [[-1.5, 3.0], [0.0, -0.75]] and particles.phase_shift.tolist() == [1.57, 0.0]
    optics = particles.optics[0]
    assert (optics.pixel, optics.voltage, optics.cs, optics.amplitude_contrast) == (1.5, 300, 2.7, 0.07)
    assert optics.beam_tilt == (0.1, 0.2) and len(particles.optics) == 1
    write_particles(tmp_path / "again.star", particles)
    assert (tmp_path / "again.star").read_text() == CISTEM
    shift = particles.shift + np.array([[0, 0], [1, 0]])
    write_particles(tmp_path / "new.star", particles.replace(shift=shift))
    assert read_particles(tmp_path / "new.star").shift.tolist() == shift.tolist()
    assert (tmp_path / "new.star").read_text().splitlines()[-2] == CISTEM.splitlines()[-2]


def test_only_what_changed_is_written(tmp_path: Path, images: np.ndarray) -> None:
    particles = read_particles(written(tmp_path, TEN), stack=tmp_path / "a.mrcs", **HOW)
    write_particles(tmp_path / "new.par", particles.replace(shift=particles.shift * [[1, 1], [1, 2]]))
    old, new = TEN.splitlines(), (tmp_path / "new.par").read_text().splitlines()
    assert new[:2] == old[:2] and new[2].split()[:6] == ["1", "120.00", "95.50", "-40.00", "0.000000", "1.500000"]
    assert new[2].split()[6:] == old[2].split()[6:]


def test_from_relion_and_back(tmp_path: Path, rng: np.random.Generator) -> None:
    source = project(tmp_path)
    first = read_particles(source)[np.array([0, 2])]
    write_particles(tmp_path / "part.star", first)
    said = convert(tmp_path / "part.star", tmp_path / "p.par")
    assert any("lensOfMyOwn" in line for line in said)
    last = read_particles(tmp_path / "p.par", stack=tmp_path / "a.mrcs", **HOW)
    assert np.allclose(last.rotation, first.rotation, atol=1e-7) and np.allclose(last.shift, first.shift, atol=1e-6)
    assert np.allclose(last.defocus, first.defocus, atol=1e-5) and np.array_equal(last.images[:], first.images[:])
    with pytest.raises(ValueError, match=r"images of one stack.*got several"):
        convert(source, tmp_path / "q.par")
    convert(source, tmp_path / "q.par", images=tmp_path / "q.mrcs")
    write_particles(tmp_path / "c.star", read_particles(source), stack=tmp_path / "q.mrcs", cistem=True)
    both = read_particles(tmp_path / "c.star", stack=tmp_path / "q.mrcs")
    assert np.allclose(both.rotation, read_particles(source).rotation, atol=1e-7) and len(both.optics) == 2
    assert np.array_equal(both.images[:], read_particles(source).images[:])


def test_half_sets_classes_and_doses_go_where_there_is_room(tmp_path: Path, images: np.ndarray) -> None:
    told = {"half": np.array([1, 2]), "klass": np.array([3, 1]), "dose": np.array([0.0, 2.5])}
    first = read_particles(written(tmp_path, CISTEM, "p.star")).replace(**told)
    new = first.replace(table=None)  # so that a file is made, not one that was read changed
    for particles in (first, new):
        assert write_particles(tmp_path / "c.star", particles, cistem=True) == ()
        again = read_particles(tmp_path / "c.star", stack=tmp_path / "a.mrcs")
        assert all(np.array_equal(getattr(again, name), value) for name, value in told.items())
    (said,) = write_particles(tmp_path / "p.par", new)
    assert said == "a .par does not hold half sets, classes, doses"


def test_a_pixel_size_that_is_given_stands(tmp_path: Path, images: np.ndarray) -> None:
    stack(tmp_path / "b.mrcs", images, 1.5)
    particles = read_particles(written(tmp_path, TEN), stack=tmp_path / "b.mrcs", **{**HOW, "pixel": 2.0})
    assert particles.pixel == 2.0
    with pytest.raises(DataError, match=r"1\.5 angstrom as in the header.*pixel="):
        read_particles(written(tmp_path, CISTEM.replace(" 1.5 300", " 2.0 300"), "p.star"), stack=tmp_path / "b.mrcs")


def test_bad_files_are_named(tmp_path: Path, images: np.ndarray) -> None:
    path = written(tmp_path, TEN)
    with pytest.raises(ConfigError, match=r"a \.par does not name its images: expected stack="):
        read_particles(path, **HOW)
    with pytest.raises(ConfigError, match=r"a \.par does not tell voltage, cs"):
        read_particles(path, stack=tmp_path / "a.mrcs", pixel=1.5, amplitude_contrast=0.1)
    rows = TEN.splitlines()
    for text, message in (
        ("\n".join([*rows[:2], rows[2][:60]]), "line 3: expected 17 columns as in the first row, found 7"),
        (f"{rows[0]}\n{rows[1]} 5\n", "line 2: expected 12, 13, 16, 17 columns of a .par, found 18"),
        (f"{rows[0]}\n", "expected particles, found no rows"),
        (TEN.replace("120.00", "12O.00"), "PSI, row 2.*finite number, found '12O.00'"),
        (TEN.replace("      2 ", "      4 "), "images 1 to 3, found image 4 for particle 1"),
    ):
        with pytest.raises(DataError, match=message):
            read_particles(written(tmp_path, text), stack=tmp_path / "a.mrcs", **HOW)
    with pytest.raises(DataError, match=r"expected a column cisTEMPixelSize, found none.*pixel="):
        read_particles(written(tmp_path, CISTEM.replace("PixelSize", "Size"), "p.star"))
    with pytest.raises(ConfigError, match="the file does not name its stack"):
        read_particles(written(tmp_path, CISTEM.replace("StackFilename", "File"), "p.star"))
    with pytest.raises(ConfigError, match="invert_eulers: expected False"):
        read_particles(project(tmp_path), invert_eulers=True)
