"""Particles of cryoSPARC: poses that another program expects, passthrough files, round trips, and RELION's view."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.cryoem_golden import GOLDEN, relion
from tests.cryoem_projects import stack
from tomodiff.errors import DataError
from tomodiff.files.cryoem import convert, read_particles, write_particles
from tomodiff.files.cryoem.cryosparc import optics_groups, particle_values, read_table
from tomodiff.files.cryoem.relion_columns import Given

Shared = Callable[[str], Path]
DATA = "data/cryoem/"
FIELDS: list[Any] = [
    ("uid", "<u8"), ("blob/path", "S12"), ("blob/idx", "<u4"), ("blob/shape", "<u4", (2,)), ("blob/psize_A", "<f4"),
    ("blob/sign", "<f4"), ("ctf/exp_group_id", "<u4"), ("ctf/accel_kv", "<f4"), ("ctf/cs_mm", "<f4"),
    ("ctf/amp_contrast", "<f4"), ("ctf/df1_A", "<f4"), ("ctf/df2_A", "<f4"), ("ctf/df_angle_rad", "<f4"),
    ("ctf/phase_shift_rad", "<f4"), ("ctf/bfactor", "<f4"), ("ctf/scale", "<f4"), ("ctf/tilt_A", "<f4", (2,)),
    ("ctf/anisomag", "<f4", (4,)), ("ctf/tetra_A", "<f4", (4,)),
]  # fmt: skip
ALIGNED: list[Any] = [
    ("uid", "<u8"), ("alignments3D/pose", "<f4", (3,)), ("alignments3D/shift", "<f4", (2,)),
    ("alignments3D/psize_A", "<f4"), ("alignments3D/split", "<u4"), ("alignments3D/class", "<u4"),
    ("alignments3D/error", "<f4"),
]  # fmt: skip


def blobs(folder: Path, rng: np.random.Generator, n: int = 6) -> tuple[Path, np.ndarray, np.ndarray]:
    """A .cs of images in folder/s.mrc in mixed order, its table and the images as the stack holds them."""
    images = stack(folder / "s.mrc", rng.standard_normal((n, 8, 8)).astype(np.float32), 1.25)
    table = np.zeros(n, FIELDS)
    table["uid"] = rng.integers(0, 2**64 - 1, n, np.uint64)
    table["blob/path"], table["blob/idx"], table["blob/shape"] = b">s.mrc", rng.permutation(n), 8
    table["blob/psize_A"], table["blob/sign"] = 1.25, -1
    table["ctf/exp_group_id"] = np.arange(n) % 2
    table["ctf/accel_kv"], table["ctf/cs_mm"], table["ctf/amp_contrast"], table["ctf/scale"] = 300, 2.7, 0.1, 1
    table["ctf/df1_A"], table["ctf/df2_A"] = rng.uniform(1e4, 2e4, (2, n))
    table["ctf/df_angle_rad"] = rng.uniform(-1, 1, n)
    np.save(folder / "p.npy", table)
    (folder / "p.npy").rename(folder / "p.cs")
    return folder / "p.cs", table, images


def alignments(folder: Path, table: np.ndarray, rng: np.random.Generator) -> tuple[Path, np.ndarray]:
    """A passthrough file with poses of the particles of `table`, in another order and with one more."""
    n = len(table)
    poses = np.zeros(n + 1, ALIGNED)
    poses["uid"] = rng.permutation(np.append(table["uid"], np.uint64(12)))
    poses["alignments3D/pose"] = rng.normal(0, 1, (n + 1, 3))
    poses["alignments3D/shift"] = rng.normal(0, 2, (n + 1, 2))
    poses["alignments3D/psize_A"], poses["alignments3D/split"] = 2.5, rng.integers(0, 2, n + 1)
    np.save(folder / "a.npy", poses)
    (folder / "a.npy").rename(folder / "a.cs")
    return folder / "a.cs", poses


@pytest.mark.real
def test_real_poses_are_those_that_cryodrgn_reads(shared: Shared) -> None:
    table = read_table(shared(DATA + "metadata-parsers/cryosparc_P12_J24_001_particles.cs"))
    optics, group = optics_groups("x", table, Given(), True)
    values = particle_values("x", table, optics, group)
    rotations, shifts = pickle.loads(shared(DATA + "metadata-parsers/pose.cs.pkl").read_bytes())
    assert np.abs(values["rotation"] - rotations).max() < 1e-6
    assert np.abs(values["shift"] / (180 * 2.95) - shifts).max() < 1e-7  # theirs: fractions of the box
    ctf = pickle.loads(shared(DATA + "metadata-parsers/ctf2.pkl").read_bytes())
    assert np.allclose(values["defocus"], np.column_stack([ctf[:, 2:4], np.deg2rad(ctf[:, 4])]), rtol=1e-6)
    assert [(o.voltage, o.cs, o.amplitude_contrast, o.pixel) for o in optics] == [(200, 2.0, 0.07, 2.95)]
    assert values["half"].tolist() == (table["alignments3D/split"] + 1).tolist() and values["has_poses"]


@pytest.mark.real
def test_real_particles_are_those_of_the_star_file_with_bright_protein(shared: Shared, tmp_path: Path) -> None:
    path = shared(DATA + "cryodrgn-empiar10076/empiar_10076_7.cs")
    particles, star = read_particles(path), read_particles(path.with_suffix(".star"))
    assert np.allclose(particles.defocus, star.defocus, rtol=1e-6) and not particles.has_poses
    assert particles.pixel == pytest.approx(star.pixel, rel=1e-6)
    assert np.array_equal(particles.images[:], -star.images[:])  # blob/sign is -1; a STAR file has none
    write_particles(tmp_path / "again.cs", particles)
    assert read_table(tmp_path / "again.cs").tobytes() == read_table(path).tobytes()


@pytest.mark.real
def test_real_2d_alignments_tell_the_angle_in_the_plane(shared: Shared) -> None:
    table = read_table(shared(DATA + "metadata-parsers/cryosparc_J2_particles_exported.cs"))
    optics, group = optics_groups("x", table, Given(), True)
    values = particle_values("x", table, optics, group)
    psi = table["alignments2D/pose"].astype(float)
    assert np.allclose(values["rotation"][:, 0, 0], np.cos(psi)) and np.allclose(
        values["rotation"][:, 0, 1], np.sin(psi)
    )
    assert not values["has_poses"] and np.allclose(values["shift"], table["alignments2D/shift"] * 1.345, rtol=1e-6)
    assert values["klass"].tolist() == (table["alignments2D/class"] + 1).tolist()


def test_passthrough_fields_are_matched_by_uid(tmp_path: Path, rng: np.random.Generator) -> None:
    path, table, images = blobs(tmp_path, rng)
    other, poses = alignments(tmp_path, table, rng)
    particles = read_particles(path, passthrough=[other])
    assert np.array_equal(particles.images[:], -images[table["blob/idx"]])
    rows = [int(np.flatnonzero(poses["uid"] == uid)[0]) for uid in table["uid"]]
    turned = Rotation.from_rotvec(poses["alignments3D/pose"][rows].astype(float)).as_matrix()
    assert np.allclose(particles.rotation, np.swapaxes(turned, 1, 2), atol=1e-14)
    assert np.allclose(particles.shift, poses["alignments3D/shift"][rows] * 2.5, rtol=1e-6)
    assert particles.half.tolist() == (poses["alignments3D/split"][rows] + 1).tolist()
    assert [o.name for o in particles.optics] == ["opticsGroup1", "opticsGroup2"]
    assert particles.group.tolist() == [0, 1, 0, 1, 0, 1]


def test_the_best_of_several_classes_is_taken(tmp_path: Path, rng: np.random.Generator) -> None:
    path, table, _ = blobs(tmp_path, rng, 3)
    shapes = {"pose": (2, 3), "shift": (2, 2), "class_posterior": (2,), "psize_A": ()}
    multi = np.zeros(3, [("uid", "<u8"), *((f"alignments3D_multi/{name}", "<f4", s) for name, s in shapes.items())])
    multi["uid"] = table["uid"]
    multi["alignments3D_multi/pose"], multi["alignments3D_multi/shift"] = (
        rng.normal(0, 1, (3, 2, 3)),
        rng.normal(0, 1, (3, 2, 2)),
    )
    multi["alignments3D_multi/class_posterior"] = [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]]
    multi["alignments3D_multi/psize_A"] = 1.25
    np.save(tmp_path / "m.npy", multi)
    particles = read_particles(path, passthrough=[tmp_path / "m.npy"])
    best = [0, 1, 1]
    turned = Rotation.from_rotvec(multi["alignments3D_multi/pose"][np.arange(3), best].astype(float)).as_matrix()
    assert np.allclose(particles.rotation, np.swapaxes(turned, 1, 2), atol=1e-14) and particles.klass.tolist() == [
        1,
        2,
        2,
    ]
    assert np.allclose(particles.shift, multi["alignments3D_multi/shift"][np.arange(3), best] * 1.25)
    new = particles.rotation[[1, 2, 0]]
    write_particles(tmp_path / "new.cs", particles.replace(rotation=new))
    assert np.allclose(read_particles(tmp_path / "new.cs").rotation, new, atol=1e-6)


def test_only_what_changed_is_written(tmp_path: Path, rng: np.random.Generator) -> None:
    path, table, _ = blobs(tmp_path, rng)
    other, _ = alignments(tmp_path, table, rng)
    particles = read_particles(path, passthrough=[other])
    shift, optics = particles.shift.copy(), list(particles.optics)
    shift[2] += 1.0
    object.__setattr__(optics[1], "beam_tilt", (0.5, -0.25))
    write_particles(tmp_path / "new.cs", particles.replace(shift=shift, optics=tuple(optics)))
    new = read_table(tmp_path / "new.cs")
    differ = {name for name in new.dtype.names or () if not np.array_equal(new[name], particles.table[name])}
    assert differ == {"alignments3D/shift", "ctf/tilt_A"}
    assert np.flatnonzero((new["alignments3D/shift"] != particles.table["alignments3D/shift"]).any(1)).tolist() == [2]
    # Cs sin(tilt): 2.7e7 angstrom times half a milliradian.
    assert np.allclose(new["ctf/tilt_A"][1], [2.7e7 * 0.5e-3, -2.7e7 * 0.25e-3], rtol=1e-6)
    again = read_particles(tmp_path / "new.cs")
    assert np.allclose(again.shift, shift, atol=1e-5) and np.allclose(
        again.optics[1].beam_tilt, (0.5, -0.25), rtol=1e-6
    )


def test_a_part_is_written_as_a_part(tmp_path: Path, rng: np.random.Generator) -> None:
    path, table, images = blobs(tmp_path, rng)
    particles = read_particles(path)
    write_particles(tmp_path / "part.cs", particles[np.array([4, 1])])
    assert np.array_equal(read_table(tmp_path / "part.cs"), table[[4, 1]])
    assert np.array_equal(read_particles(tmp_path / "part.cs").images[:], -images[table["blob/idx"][[4, 1]]])


def test_conversion_to_relion_and_back(tmp_path: Path, rng: np.random.Generator) -> None:
    path, table, _ = blobs(tmp_path, rng)
    other, _ = alignments(tmp_path, table, rng)
    first = read_particles(path, passthrough=[other])
    said = convert(path, tmp_path / "p.star", passthrough=[other])
    assert any("protein is dark in the images" in line for line in said)
    assert any("does not hold alignments3D/error" in line for line in said)
    assert convert(path, tmp_path / "q.star", passthrough=[other], images=tmp_path / "q.mrcs")[-1].endswith(
        "alignments3D/error"
    )
    star = read_particles(tmp_path / "q.star")
    assert np.array_equal(star.images[:], first.images[:])  # turned to bright protein
    said = convert(tmp_path / "q.star", tmp_path / "back.cs")
    last = read_particles(tmp_path / "back.cs")
    for name, size in (("rotation", 1e-6), ("shift", 1e-5), ("defocus", 2e-3), ("group", 0), ("half", 0)):
        assert np.abs(getattr(last, name) - getattr(first, name)).max() <= size, name
        assert np.abs(getattr(star, name) - getattr(first, name)).max() <= size, name
    assert np.array_equal(last.images[:], first.images[:]) and said == ()
    assert len(np.unique(read_table(tmp_path / "back.cs")["uid"])) == 6


def test_what_was_given_in_place_of_a_field_can_be_written(tmp_path: Path, rng: np.random.Generator) -> None:
    _, table, _ = blobs(tmp_path, rng)
    without = [name for name in table.dtype.names or () if name not in ("blob/psize_A", "ctf/accel_kv")]
    np.save(tmp_path / "q.npy", np.array(table[without].tolist(), [(n, table.dtype[n]) for n in without]))
    (tmp_path / "q.npy").rename(tmp_path / "q.cs")
    particles = read_particles(tmp_path / "q.cs", pixel=1.25, voltage=300)
    write_particles(tmp_path / "r.cs", particles.replace(defocus=particles.defocus + 100))
    again = read_particles(tmp_path / "r.cs", pixel=1.25, voltage=300)
    np.testing.assert_allclose(again.defocus[:, 0], table["ctf/df1_A"] + 100, rtol=1e-6)


def test_micrographs_and_coordinates_go_along(tmp_path: Path, rng: np.random.Generator) -> None:
    path, table, _ = blobs(tmp_path, rng, 2)
    where = np.zeros(2, [("uid", "<u8"), ("location/micrograph_path", "S8"), ("location/micrograph_shape", "<u4", (2,)),
                         ("location/center_x_frac", "<f4"), ("location/center_y_frac", "<f4")])  # fmt: skip
    where["uid"], where["location/micrograph_path"], where["location/micrograph_shape"] = (
        table["uid"],
        b">m.mrc",
        (300, 400),
    )
    where["location/center_x_frac"], where["location/center_y_frac"] = (0.25, 0.5), (0.75, 0.5)
    np.save(tmp_path / "w.npy", where)
    convert(path, tmp_path / "p.star", passthrough=[tmp_path / "w.npy"])
    table31 = read_particles(tmp_path / "p.star").table.table
    assert table31["rlnMicrographName"].tolist() == ["m.mrc", "m.mrc"]
    assert table31.floats("rlnCoordinateX").tolist() == [100, 200] and table31.floats("rlnCoordinateY").tolist() == [
        75,
        150,
    ]


def test_bad_files_are_named(tmp_path: Path, rng: np.random.Generator) -> None:
    path, table, _ = blobs(tmp_path, rng)

    def saved(array: Any, name: str = "bad.cs") -> Path:
        with (tmp_path / name).open("wb") as file:
            np.save(file, array, allow_pickle=True)
        return tmp_path / name

    with pytest.raises(DataError, match=r"Python objects \(pickled\)"):
        read_particles(saved(np.array([{"a": 1}, None], object)))
    with pytest.raises(DataError, match="an array without named fields"):
        read_particles(saved(np.zeros(3)))
    with pytest.raises(DataError, match="fields: expected blob/path, found uid"):
        read_particles(saved(table[["uid", "blob/idx"]]))
    with pytest.raises(DataError, match="fields: expected ctf/cs_mm, found ctf/df1_A without it"):
        read_particles(saved(table[[n for n in table.dtype.names or () if n != "ctf/cs_mm"]]))
    with pytest.raises(DataError, match=r"bad\.cs: uid: expected the 6 particles of .*p\.cs, found 2 of them missing"):
        read_particles(path, passthrough=[saved(table[:4])])
    with pytest.raises(DataError, match="each uid once, found 1 repeated"):
        read_particles(path, passthrough=[saved(table[[0, 1, 2, 3, 4, 5, 5]])])
    with pytest.raises(DataError, match="expected particles, found a table without rows"):
        read_particles(saved(table[:0]))
    for name, value, message in (
        ("blob/idx", 6, "images 1 to 6, found image 7 for particle 3"),
        ("blob/shape", (8, 10), "blob/shape of particle 3: expected 8 x 8.*found 8 x 10"),
        ("blob/psize_A", 1.5, r"optics group opticsGroup3: expected 1\.25 angstrom.*found 1\.5"),
        ("blob/path", b"none.mrc", r"image file none\.mrc: expected a file"),
        ("ctf/df1_A", np.nan, "defocus: expected finite numbers"),
    ):
        changed = table.copy()
        changed[name][2] = value
        with pytest.raises(DataError, match=message):
            read_particles(saved(changed))
    (tmp_path / "text.cs").write_bytes((tmp_path / "bad.cs").read_bytes()[:300])
    with pytest.raises(DataError, match=r"text\.cs: expected a \.cs file"):
        read_particles(tmp_path / "text.cs")
    changed = table.copy()
    changed["ctf/tetra_A"][1, 2] = 3
    assert "ctf/tetra_A have no published definition" in read_particles(saved(changed)).warnings[0]


@pytest.mark.real
@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_project") is None, reason="RELION is not installed")
def test_relion_projects_the_same_images_after_a_detour_by_cryosparc(shared: Shared, tmp_path: Path) -> None:
    particles = read_particles(shared(GOLDEN + "proj_notilt.star"))[:12]
    write_particles(tmp_path / "p.cs", particles)
    convert(tmp_path / "p.cs", tmp_path / "p.star")
    mrcfile.write(tmp_path / "v.mrc", mrcfile.read(shared(GOLDEN + "vol70S_64.mrc")), voxel_size=5.0)
    relion(tmp_path, "relion_project", "--i", "v.mrc", "--o", "out", "--ang", "p.star", "--ctf", "--angpix", 5)
    truth = particles.images[:]
    assert np.abs(mrcfile.read(tmp_path / "out.mrcs") - truth).max() < 1e-4 * np.abs(truth).max()
