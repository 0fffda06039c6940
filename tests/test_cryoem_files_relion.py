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
from tomodiff.errors import DataError
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
