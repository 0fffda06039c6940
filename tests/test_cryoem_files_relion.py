"""Particles from and to RELION's STAR files: values, text that stays, errors, and RELION reading what we write."""

from __future__ import annotations

import dataclasses
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.cryoem_golden import GOLDEN, relion
from tests.cryoem_projects import OPTICS, PARTICLES, ROWS, project, stack
from tomodiff.errors import ConfigError, DataError
from tomodiff.files.cryoem import read_particles, read_star_file, write_particles
from tomodiff.files.cryoem.relion_columns import Given, optics_of, particle_values
from tomodiff.geometry.poses import random_rotations
from tomodiff.particles import Optics, particles_of

Shared = Callable[[str], Path]
DATA = "data/cryoem/"
needs_relion = pytest.mark.skipif(shutil.which("relion_project") is None, reason="RELION is not installed")


def matrices(rot: np.ndarray, tilt: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """RELION's rotations by SciPy, which turns vectors where RELION turns frames."""
    return np.swapaxes(Rotation.from_euler("ZYZ", np.column_stack([rot, tilt, psi]), degrees=True).as_matrix(), 1, 2)


def test_values_of_a_small_project(tmp_path: Path) -> None:
    particles = read_particles(project(tmp_path))
    a, b = (mrcfile.read(tmp_path / f"{name}.mrcs") for name in "ab")
    assert np.array_equal(particles.images[:], [a[1], b[0], a[0]])
    assert [(o.name, o.voltage, o.cs, o.amplitude_contrast, o.pixel) for o in particles.optics] == [
        ("near", 300.0, 2.7, 0.1, 1.5),
        ("far", 200.0, 1.4, 0.07, 1.5),
    ]
    assert particles.group.tolist() == [0, 1, 0] and particles.half.tolist() == [1, 2, 2]
    expected = matrices(*np.array([[10.0, -40.0, 0.0], [20.0, 95.5, 0.0], [30.0, 120.0, 0.0]]))
    assert np.allclose(particles.rotation, expected, atol=1e-14)
    assert particles.shift.tolist() == [[1.5, -3.0], [-6.25, 0.0], [0.0, 0.0]]
    assert np.allclose(particles.defocus[1], [13000.0, 12500.0, np.deg2rad(-10.0)])
    assert particles.has_ctf and particles.has_poses and particles.warnings == ()
    assert particles.scale.tolist() == [1, 1, 1] and not particles.dose.any() and not particles.klass.any()


def test_every_optics_column(tmp_path: Path) -> None:
    extra = {
        "rlnBeamTiltX": (0.5, -1.0), "rlnBeamTiltY": (0.0, 2.0), "rlnOddZernike": ("[0.1,-2,3]", "[]"),
        "rlnEvenZernike": ("[1,2,3,4.5e-3]", "[0]"), "rlnMagMat00": (1.01, 1), "rlnMagMat01": (0.002, 0),
        "rlnMagMat10": (-0.003, 0), "rlnMagMat11": (0.99, 1), "rlnCtfDataAreCtfPremultiplied": (1, 0),
        "rlnCtfDataArePhaseFlipped": (0, 1), "rlnMtfFileName": ("mtf.star", "mtf.star"),
    }  # fmt: skip
    head, first, second = OPTICS.rstrip().rsplit("\n", 2)
    labels = "\n".join(f"_{name} #{i}" for i, name in enumerate(extra, 9))
    rows = [f"{line} " + " ".join(str(v[i]) for v in extra.values()) for i, line in enumerate((first, second))]
    path = project(tmp_path, "\n".join([head, labels, *rows, ""]))
    near, far = read_particles(path).optics
    assert near.beam_tilt == (0.5, 0.0) and far.beam_tilt == (-1.0, 2.0)
    assert near.odd_zernike == (0.1, -2.0, 3.0) and far.odd_zernike == () and near.even_zernike == (1, 2, 3, 4.5e-3)
    assert near.magnification == ((1.01, 0.002), (-0.003, 0.99)) and far.magnification == ((1, 0), (0, 1))
    assert (near.premultiplied, near.phase_flipped, far.premultiplied, far.phase_flipped) == (True, False, False, True)
    write_particles(tmp_path / "again.star", read_particles(path))
    assert (tmp_path / "again.star").read_bytes() == path.read_bytes()


def test_particle_columns_have_their_units(tmp_path: Path) -> None:
    names = ("rlnPhaseShift", "rlnCtfBfactor", "rlnCtfScalefactor", "rlnMicrographPreExposure", "rlnClassNumber")
    labels = "".join(f"_{name} #{i}\n" for i, name in enumerate(names, 13))
    rows = tuple(f"{row} {90 + i} {-13.0 * i} {0.5 + i} {2.5 * i} {i + 1}" for i, row in enumerate(ROWS))
    particles = read_particles(project(tmp_path, particles=PARTICLES + labels, rows=rows))
    assert np.allclose(particles.phase_shift, np.deg2rad([90, 91, 92])) and particles.b_factor.tolist() == [0, -13, -26]
    assert particles.scale.tolist() == [0.5, 1.5, 2.5] and particles.dose.tolist() == [0.0, 2.5, 5.0]
    assert particles.klass.tolist() == [1, 2, 3]


def test_relion_30_makes_groups_of_what_differs(tmp_path: Path) -> None:
    head = "data_images\nloop_\n" + "".join(
        f"_{n}\n" for n in ("rlnImageName", "rlnOriginX", "rlnOriginY", "rlnVoltage", "rlnSphericalAberration",
                            "rlnAmplitudeContrast", "rlnMagnification", "rlnDetectorPixelSize", "rlnDefocusU")
    )  # fmt: skip
    rows = ("2@a.mrcs 2 -4 200 2.7 .1 10000 1.5 9000", "1@a.mrcs 0 1 300 2.7 .1 10000 1.5 8000",
            "3@a.mrcs 1 1 200 2.7 .1 100000 15 7000")  # fmt: skip
    particles = read_particles(project(tmp_path, "", head, rows))
    assert [o.voltage for o in particles.optics] == [200, 300, 200] and particles.group.tolist() == [0, 1, 2]
    assert {o.pixel for o in particles.optics} == {1.5}
    assert particles.shift.tolist() == [[3.0, -6.0], [0.0, 1.5], [1.5, 1.5]]
    assert particles.defocus[:, 1].tolist() == [9000, 8000, 7000] and not particles.has_poses
    assert "no column rlnDefocusV" in particles.warnings[0]
    write_particles(
        tmp_path / "again.star", particles.replace(shift=particles.shift + np.array([[0, 0], [0.75, 0], [0, 0]]))
    )
    lines = (tmp_path / "again.star").read_text().splitlines()
    assert lines[-4] == rows[0] and lines[-2] == rows[2]
    assert lines[-3].split() == ["1@a.mrcs", "0.500000", "1.000000", *rows[1].split()[3:]]


@pytest.mark.real
@pytest.mark.parametrize(
    "name",
    [
        "cryodrgn-empiar10076/empiar_10076_7.star",
        "cryodrgn-sta-ribosome/sta_testing_bin8.star",
        "metadata-parsers/relion31.star",
        "relion-projections-70S/rln_proj_64_shifted.star",
        "relion313-golden/proj_beamtilt.star",
        "volumes-models/test_starfile.star",
    ],
)
def test_real_files_stay_byte_for_byte(shared: Shared, tmp_path: Path, name: str) -> None:
    path = shared(DATA + name)
    particles = read_particles(path)
    # The stacks are elsewhere now, so that their names must change: the rest of the text must not.
    for file in particles.table.places.values():
        os.symlink(file, tmp_path / file.name)
    write_particles(tmp_path / "again.star", particles)
    assert (tmp_path / "again.star").read_bytes() == path.read_bytes()


@pytest.mark.real
def test_moved_files_still_find_their_images(shared: Shared, tmp_path: Path) -> None:
    particles = read_particles(shared(DATA + "relion313-golden/proj_notilt.star"))
    write_particles(tmp_path / "moved.star", particles[::-3])
    again = read_particles(tmp_path / "moved.star")
    assert np.array_equal(again.images[:], particles.images[np.arange(64)[::-3]])
    assert np.array_equal(again.rotation, particles.rotation[::-3]) and again.optics == particles.optics


@pytest.mark.real
def test_real_projections_have_the_expected_poses(shared: Shared) -> None:
    particles = read_particles(shared(DATA + "relion-projections-70S/rln_proj_64_shifted.star"))
    first = matrices(np.array([235.820138]), np.array([113.086030]), np.array([50.468981]))
    assert np.allclose(particles.rotation[0], first[0], atol=1e-12)
    assert particles.shift[0].tolist() == [6.0, 10.0] and not particles.has_ctf
    # RELION made the shifted images from the centred ones: moved by minus the origin.
    centred = read_particles(shared(DATA + "relion-projections-70S/rln_proj_64_centered.star")).images[:]
    for image, middle, (x, y) in zip(particles.images[:], centred, particles.shift.astype(int), strict=True):
        moved = np.roll(middle, (-y, -x), (0, 1))
        assert np.corrcoef(image[16:-16, 16:-16].ravel(), moved[16:-16, 16:-16].ravel())[0, 1] > 0.9999


@pytest.mark.real
def test_real_tilt_images_have_the_poses_that_cryodrgn_reads(shared: Shared) -> None:
    path = shared(DATA + "cryodrgn-sta-ribosome/sta_testing_bin8.star")
    particles = read_particles(path, pixel=15.68)
    rotations, _ = pickle.loads(shared(DATA + "cryodrgn-sta-ribosome/sta_pose.pkl").read_bytes())
    assert len(particles) == 219 and np.abs(particles.rotation - rotations).max() < 2e-6
    ctf = pickle.loads(shared(DATA + "cryodrgn-sta-ribosome/sta_ctf.pkl").read_bytes())
    assert np.allclose(particles.defocus, np.column_stack([ctf[:, 2:4], np.deg2rad(ctf[:, 4])]), rtol=1e-6)
    assert particles.b_factor[:3].tolist() == [-13, -26, -39] and particles.scale[1] == 0.9986
    assert particles.pixel == 15.68 and particles.optics[0].voltage == 300


@pytest.mark.real
def test_real_headers_of_relion_3_0_and_5(shared: Shared) -> None:
    file = read_star_file(shared(DATA + "metadata-parsers/relion5.star"))
    optics = optics_of(file["optics"], 0, "g", Given(), True)
    assert optics.pixel == 0.89 and optics.voltage == 100 and optics.beam_tilt == (0.043489, 0.014097)
    assert optics.odd_zernike[2] == -1.79877045848 and len(optics.even_zernike) == 9
    assert optics.magnification == ((1.001833, -7.04404e-04), (-8.23335e-04, 1.000381))
    old = read_star_file(shared(DATA + "metadata-parsers/FinalRefinement-OriginalParticles-PfCRT.star"))["images"]
    rotations, shifts = pickle.loads(shared(DATA + "metadata-parsers/pose.star.pkl").read_bytes())
    assert optics_of(old, 0, "g", Given(amplitude_contrast=0.1), True).pixel == pytest.approx(1.035)
    values = particle_values(old, np.full(len(old), 1.035))
    assert np.abs(values["rotation"] - rotations).max() < 2e-6
    assert np.allclose(values["shift"] / (1.035 * 300), shifts, atol=1e-6)  # theirs: fractions of the box


@pytest.mark.real
def test_groups_of_different_pixels_are_refused(shared: Shared, tmp_path: Path, rng: np.random.Generator) -> None:
    path = shared(DATA + "metadata-parsers/relion31.6opticsgroups.star")
    stack(tmp_path / "s.mrcs", rng.standard_normal((1000, 8, 8)).astype(np.float32))
    with pytest.raises(DataError, match=r"rlnImageSize of optics group opticsGroup5: expected 8 pixels.*found 196"):
        read_particles(path, stack=tmp_path / "s.mrcs")
    text = path.read_text().replace(" 196 2 ", " 8 2 ")
    (tmp_path / "p.star").write_text(text)
    with pytest.raises(DataError, match=r"optics group opticsGroup3: expected 1\.25 angstrom.*found 1\.24"):
        read_particles(tmp_path / "p.star", stack=tmp_path / "s.mrcs")
    particles = read_particles(tmp_path / "p.star", stack=tmp_path / "s.mrcs", pixel=1.25)
    assert (
        len(particles) == 139 and len(particles.optics) == 6 and particles.optics[5].beam_tilt == (-1.28823, 2.446621)
    )


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    path = project(tmp_path)
    particles = read_particles(path)
    rotation, defocus = particles.rotation.copy(), particles.defocus.copy()
    rotation[1] = matrices(np.array([1.0]), np.array([2.0]), np.array([3.0]))[0]
    defocus[2, 0] += 0.5
    optics = (particles.optics[0], dataclasses.replace(particles.optics[1], beam_tilt=(0.25, -1.0)))
    write_particles(tmp_path / "new.star", particles.replace(rotation=rotation, defocus=defocus, optics=optics))
    old, new = path.read_text().splitlines(), (tmp_path / "new.star").read_text().splitlines()
    assert [line for line in old if line not in new and not line.startswith(("_", "1 near", "2 far"))] == list(ROWS[1:])
    assert ROWS[0] in new and "# version 30001" in new
    row = next(line for line in new if "of two words" in line)
    assert row.split()[:4] == ["000001@b.mrcs", "1.000000", "2.000000", "3.000000"]
    assert row.split()[4:11] == ROWS[1].split()[4:11] and row.strip().endswith("'of two words'")
    assert next(line for line in new if line.endswith("third ")).split()[6:8] == ["14000.500000", "13900.0"]
    again = read_particles(tmp_path / "new.star")
    assert np.allclose(again.rotation, rotation, atol=1e-12) and again.optics == optics


def test_optics_that_30_cannot_tell_make_a_file_of_31(tmp_path: Path) -> None:
    head = "# mine\ndata_\nloop_\n" + "".join(
        f"_{n}\n" for n in ("rlnImageName", "rlnOriginX", "rlnVoltage", "rlnSphericalAberration",
                            "rlnAmplitudeContrast", "rlnPixelSize", "myOwn")
    )  # fmt: skip
    path = project(tmp_path, "", head, ("2@a.mrcs 2.50 300 2.7 .1 1.5 kept", "1@b.mrcs 1 300 2.7 .1 1.5 kept2"))
    particles = read_particles(path)
    optics = (dataclasses.replace(particles.optics[0], odd_zernike=(0.5, 1.0)),)
    write_particles(tmp_path / "new.star", particles.replace(optics=optics))
    again = read_particles(tmp_path / "new.star")
    assert again.optics == optics and np.array_equal(again.shift, particles.shift)
    assert again.meta["format"].endswith("3.1 or later") and again.table.table["myOwn"].tolist() == ["kept", "kept2"]
    assert "rlnVoltage" not in again.table.table and "rlnOriginX" not in again.table.table


def test_a_new_file_from_arrays_comes_with_its_images(tmp_path: Path, rng: np.random.Generator) -> None:
    images = rng.standard_normal((5, 8, 8)).astype(np.float32)
    optics = (
        Optics(300, 2.7, 0.1, 1.1, "a", beam_tilt=(0.1, 0.2)),
        Optics(200, 2.0, 0.07, 1.1, "b", phase_flipped=True),
    )
    defocus = rng.uniform(1e4, 2e4, (5, 3)) * [1, 1, 1e-4]
    particles = particles_of(
        images, random_rotations(5, rng), optics, rng.normal(0, 3, (5, 2)), defocus,
        group=np.array([0, 1, 1, 0, 1]), half=np.array([1, 2, 1, 2, 1]), phase_shift=np.full(5, 0.3),
        klass=np.arange(1, 6), scale=np.linspace(0.5, 1.5, 5), dose=np.arange(5.0), b_factor=np.arange(5.0),
    )  # fmt: skip
    write_particles(tmp_path / "new.star", particles)
    again = read_particles(tmp_path / "new.star")
    assert np.array_equal(again.images[:], images) and again.optics == optics and again.warnings == ()
    for name in ("group", "half", "klass"):
        assert np.array_equal(getattr(again, name), getattr(particles, name))
    for name in ("rotation", "shift", "defocus", "phase_shift", "scale", "dose", "b_factor"):
        assert np.allclose(getattr(again, name), getattr(particles, name), rtol=1e-9, atol=1e-6), name


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


@pytest.mark.real
@pytest.mark.relion
@needs_relion
@pytest.mark.parametrize("anew", [True, False])
def test_relion_projects_the_same_images_by_a_file_of_ours(shared: Shared, tmp_path: Path, anew: bool) -> None:
    particles = read_particles(shared(GOLDEN + "proj_notilt.star"))
    mrcfile.write(tmp_path / "v.mrc", mrcfile.read(shared(GOLDEN + "vol70S_64.mrc")), voxel_size=5.0)
    order = np.random.default_rng(3).permutation(64)[:10]
    chosen = particles[order]
    write_particles(tmp_path / "ours.star", chosen.replace(table=None) if anew else chosen)
    relion(tmp_path, "relion_project", "--i", "v.mrc", "--o", "out", "--ang", "ours.star", "--ctf", "--angpix", 5)
    made = mrcfile.read(tmp_path / "out.mrcs")
    truth = particles.images[order]
    assert np.abs(made - truth).max() < 1e-4 * np.abs(truth).max()


@pytest.mark.real
@pytest.mark.relion
@needs_relion
def test_relion_reconstructs_from_stacks_of_ours(shared: Shared, tmp_path: Path) -> None:
    particles = read_particles(shared(GOLDEN + "proj_beamtilt.star"))
    write_particles(tmp_path / "ours.star", particles.replace(table=None), stack=tmp_path / "ours.mrcs")
    relion(tmp_path, "relion_reconstruct", "--i", "ours.star", "--o", "ours.mrc", "--ctf", "--angpix", 5)
    folder = shared(GOLDEN + "proj_beamtilt.star").parent
    relion(
        folder,
        "relion_reconstruct",
        "--i",
        "proj_beamtilt.star",
        "--o",
        tmp_path / "theirs.mrc",
        "--ctf",
        "--angpix",
        5,
    )
    ours, theirs = mrcfile.read(tmp_path / "ours.mrc"), mrcfile.read(tmp_path / "theirs.mrc")
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()
