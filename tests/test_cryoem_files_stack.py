"""Stacks of images and maps: what mrcfile wrote is what we read, and the other way round."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tests.cryoem_projects import stack
from tomodiff.errors import DataError
from tomodiff.files.cryoem import batches, open_stack, read_map, stack_of, write_map, write_stack
from tomodiff.files.cryoem.mrc import HEADER_BYTES

Shared = Callable[[str], Path]
KINDS = {"int8": 0, "int16": 1, "float32": 2, "uint16": 6, "float16": 12}


def images_of(rng: np.random.Generator, n: int = 5, box: int = 8) -> np.ndarray:
    return rng.standard_normal((n, box, box)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_all_modes_in_both_orders_of_bytes(tmp_path: Path, rng: np.random.Generator, kind: str, order: str) -> None:
    data = rng.integers(0, 100, (3, 8, 8)).astype(np.dtype(kind).newbyteorder(order))
    stack(tmp_path / "s.mrcs", data)
    with mrcfile.open(tmp_path / "s.mrcs") as mrc:
        assert int(mrc.header.mode) == KINDS[kind]
    read = stack_of(tmp_path / "s.mrcs")[:]
    assert read.dtype == np.float32 and read.dtype.isnative and np.array_equal(read, data)


def test_any_order_over_files_as_arrays_do(tmp_path: Path, rng: np.random.Generator) -> None:
    parts = [stack(tmp_path / f"{name}.mrcs", images_of(rng, n)) for name, n in (("a", 4), ("b", 3), ("c", 5))]
    file, index = rng.permutation([(f, i) for f, part in enumerate(parts) for i in range(len(part))]).T
    sign = rng.choice([-1.0, 1.0], len(file))
    images = open_stack([tmp_path / f"{name}.mrcs" for name in "abc"], file, index, sign)
    truth = np.array([parts[f][i] for f, i in zip(file, index, strict=True)]) * sign[:, None, None].astype(np.float32)
    assert images.shape == truth.shape
    for which in (
        slice(None),
        slice(7, 2, -2),
        rng.permutation(12)[:5],
        np.array([3, 3, 3]),
        sign > 0,
        np.array([], int),
    ):
        assert np.array_equal(images[which], truth[which])
    for prefetch in (True, False):
        for size in (1, 5, 12, 50):
            got = list(images.batches(size, prefetch))
            assert np.array_equal(np.concatenate([block for _, block in got]), truth)
            assert all(np.array_equal(block, truth[part]) for part, block in got)


def test_a_batch_is_read_ahead_and_an_error_in_it_arrives(rng: np.random.Generator) -> None:
    class Watched:
        shape = (6, 2, 2)
        asked: list[tuple[int, str]] = []  # noqa: RUF012

        def __getitem__(self, which: slice) -> np.ndarray:
            self.asked.append((which.start, threading.current_thread().name))
            if which.start == 4:
                raise DataError("x", "image 5", "finite pixels", "none")
            return np.zeros((2, 2, 2), np.float32)

    images = Watched()
    stream = batches(images, 2)
    next(stream)
    next(stream)
    assert all(thread != threading.current_thread().name for _, thread in images.asked)
    with pytest.raises(DataError, match="image 5"):
        next(stream)
    assert [start for start, _ in images.asked] == [0, 2, 4]
    with pytest.raises(ValueError, match="size: expected at least 1"):
        next(batches(images, 0))


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_a_stack_is_written_piece_by_piece(tmp_path: Path, rng: np.random.Generator, kind: type) -> None:
    images = images_of(rng, 7)
    write_stack(tmp_path / "s.mrcs", iter([images[:3], images[3], images[4:]]), 7, 8, 1.25, kind)
    assert mrcfile.validate(tmp_path / "s.mrcs")
    with mrcfile.open(tmp_path / "s.mrcs") as mrc:
        assert mrc.is_image_stack() and int(mrc.header.mode) == KINDS[np.dtype(kind).name]
        assert np.array_equal(mrc.data, images.astype(kind))
        assert [float(mrc.voxel_size[a]) for a in "xy"] == [1.25, 1.25]
        assert float(mrc.header.rms) == pytest.approx(float(images.std()), rel=1e-3)
    assert np.array_equal(stack_of(tmp_path / "s.mrcs")[:], images.astype(kind))
    assert stack_of(tmp_path / "s.mrcs").pixel == 1.25


def test_a_stack_that_fails_leaves_nothing(tmp_path: Path, rng: np.random.Generator) -> None:
    images = images_of(rng, 3)

    def failing() -> Iterator[np.ndarray]:
        yield images[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_stack(tmp_path / "s.mrcs", failing(), 3, 8, 1.0)
    with pytest.raises(ValueError, match="expected 4 of them, got 3"):
        write_stack(tmp_path / "s.mrcs", images, 4, 8, 1.0)
    with pytest.raises(ValueError, match="expected real images of 9 x 9"):
        write_stack(tmp_path / "s.mrcs", images, 3, 9, 1.0)
    with pytest.raises(ValueError, match=r"finite values that fit float16.*image 1 on"):
        write_stack(tmp_path / "s.mrcs", images * np.float32(1e6), 3, 8, 1.0, np.float16)
    with pytest.raises(ValueError, match="float32 or float16, got float64"):
        write_stack(tmp_path / "s.mrcs", images, 3, 8, 1.0, np.float64)
    assert list(tmp_path.iterdir()) == []


def test_bad_stacks_are_named(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "s.mrcs"
    images = stack(path, images_of(rng))
    whole = path.read_bytes()
    with pytest.raises(DataError, match=r"s\.mrcs: images: expected images 1 to 5, found image 6 for particle 2"):
        open_stack([path], np.array([0, 0]), np.array([4, 5]))
    path.write_bytes(whole[: HEADER_BYTES + 3 * 256 + 10])
    with pytest.raises(DataError, match=r"5 sections of 8 x 8 pixels.*end in section 4.*cut short"):
        stack_of(path)
    path.write_bytes(whole[:100])
    with pytest.raises(DataError, match="header of 1024 bytes, found 100 bytes"):
        stack_of(path)
    path.write_bytes(b"data_particles" * 200)
    with pytest.raises(DataError, match="header: expected an MRC file"):
        stack_of(path)
    with pytest.raises(DataError, match="No such file"):
        stack_of(tmp_path / "none.mrcs")
    stack(path, images)
    stack(tmp_path / "t.mrcs", images_of(rng, 2, 10))
    with pytest.raises(DataError, match=r"t\.mrcs: box: expected 8 pixels as in .*s\.mrcs, found 10"):
        open_stack([path, tmp_path / "t.mrcs"], np.array([0, 1]), np.array([0, 0]))
    stack(tmp_path / "t.mrcs", rng.standard_normal((2, 8, 10)).astype(np.float32))
    with pytest.raises(DataError, match="expected square images, found 8 x 10"):
        stack_of(tmp_path / "t.mrcs")
    with mrcfile.new(tmp_path / "c.mrcs") as mrc:
        mrc.set_data(np.zeros((2, 8, 8), np.complex64))
    with pytest.raises(DataError, match=r"mode: expected real numbers.*found complex numbers \(mode 4"):
        stack_of(tmp_path / "c.mrcs")


def test_images_that_are_not_finite_are_named_when_read(tmp_path: Path, rng: np.random.Generator) -> None:
    images = images_of(rng)
    images[3, 2, 2], images[1] = np.nan, np.float32(3e38)  # the sum of image 2 is not finite, its pixels are
    stack(tmp_path / "s.mrcs", images)
    read = open_stack([tmp_path / "s.mrcs"], np.zeros(3, int), np.array([1, 0, 3]))
    assert np.array_equal(read[:2], images[[1, 0]])
    with pytest.raises(DataError, match=r"s\.mrcs: image 4 \(particle 3\): expected finite pixels, found 1 NaN"):
        read[1:]


def test_files_without_the_word_map_are_read(tmp_path: Path, rng: np.random.Generator) -> None:
    images = stack(tmp_path / "s.mrcs", images_of(rng))
    raw = bytearray((tmp_path / "s.mrcs").read_bytes())
    raw[208:216] = bytes(8)  # MAP and the machine stamp
    (tmp_path / "s.mrcs").write_bytes(raw)
    assert np.array_equal(stack_of(tmp_path / "s.mrcs")[:], images)


@pytest.mark.real
@pytest.mark.parametrize(
    "name",
    [
        "cryodrgn-sta-ribosome/ay19102021_L3_position6_ribo_it09_bin8_1.82A.mrcs",
        "cryodrgn-empiar10076/empiar_10076_7.mrc",
        "metadata-parsers/relion31.mrcs",
        "relion313-golden/proj_notilt.mrcs",
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_real_stacks_read_as_mrcfile_reads_them(shared: Shared, name: str) -> None:
    path = shared("data/cryoem/" + name)
    with mrcfile.open(path, permissive=True) as mrc:
        assert np.array_equal(stack_of(path)[:], mrc.data)


def test_a_map_comes_back(tmp_path: Path, rng: np.random.Generator) -> None:
    volume = rng.standard_normal((6, 7, 8)).astype(np.float32)
    write_map(tmp_path / "m.mrc", volume, 1.5, (3.0, -2.0, 1.0), "half map 1")
    assert mrcfile.validate(tmp_path / "m.mrc")
    with mrcfile.open(tmp_path / "m.mrc") as mrc:
        assert np.array_equal(mrc.data, volume) and mrc.is_volume() and int(mrc.header.nxstart) == 0
        assert any("half map 1" in label for label in mrc.get_labels())
    again, pixel, origin = read_map(tmp_path / "m.mrc")
    assert np.array_equal(again, volume) and pixel == 1.5 and origin == (3.0, -2.0, 1.0)
    with pytest.raises(DataError, match=r"expected a cube, found \(6, 7, 8\)"):
        read_map(tmp_path / "m.mrc", cube=True)


@pytest.mark.parametrize("axes", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (2, 1, 3)])
def test_axes_in_any_order(tmp_path: Path, rng: np.random.Generator, axes: tuple[int, int, int]) -> None:
    volume = rng.standard_normal((4, 5, 6)).astype(np.float32)  # z, y, x
    stored = volume.transpose([3 - axis for axis in axes[::-1]])  # section, row, column
    starts = {1: -3, 2: 5, 3: 7}
    with mrcfile.new(tmp_path / "m.mrc") as mrc:
        mrc.set_data(np.ascontiguousarray(stored))
        mrc.header.mapc, mrc.header.mapr, mrc.header.maps = axes
        mrc.header.mx, mrc.header.my, mrc.header.mz = 6, 5, 4
        mrc.header.cella = (12.0, 10.0, 8.0)
        mrc.header.nxstart, mrc.header.nystart, mrc.header.nzstart = (starts[axis] for axis in axes)
    again, pixel, origin = read_map(tmp_path / "m.mrc")
    assert np.array_equal(again, volume) and pixel == 2.0 and origin == (-6.0, 10.0, 14.0)


def test_an_origin_wins_over_nstart(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "m.mrc") as mrc:
        mrc.set_data(np.zeros((4, 4, 4), np.float32))
        mrc.voxel_size = 2.0
        mrc.nstart = (1, 2, 3)
        mrc.header.origin = (0.0, 9.0, 0.0)
    assert read_map(tmp_path / "m.mrc")[2] == (0.0, 9.0, 0.0)


def test_bad_maps_are_named(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "m.mrc"

    def made(volume: np.ndarray, voxel: object) -> Path:
        with mrcfile.new(path, overwrite=True) as mrc:
            mrc.set_data(volume)
            mrc.voxel_size = voxel
        return path

    zeros = np.zeros((4, 4, 4), np.float32)
    with pytest.raises(DataError, match=r"voxel size: expected a size in angstrom, found 0 x 0 x 0.*pixel="):
        read_map(made(zeros, 0.0))
    assert read_map(path, pixel=1.7)[1] == 1.7
    with pytest.raises(DataError, match="voxels that are cubes, found 1 x 1 x 2 angstrom"):
        read_map(made(zeros, (1.0, 1.0, 2.0)))
    with mrcfile.mmap(made(zeros, 1.0), "r+") as mrc:
        mrc.data[1, 1, 1] = np.inf
    with pytest.raises(DataError, match="finite densities, found 1 NaN or infinite of 64"):
        read_map(path)
    with pytest.raises(ValueError, match="volume: expected finite densities, got 64 others"):
        write_map(path, zeros * np.nan, 1.0)
    with pytest.raises(ValueError, match="pixel: expected a size above 0"):
        write_map(path, zeros, 0.0)
    with pytest.raises(ValueError, match="volume: expected real numbers"):
        write_map(path, zeros.astype(complex), 1.0)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "pixel"), [("relion313-golden/rec_half1.mrc", 5.0), ("volumes-models/3j9g_potential_ps4_4.mrc", 4.4)]
)
def test_real_maps(shared: Shared, name: str, pixel: float) -> None:
    volume, size, origin = read_map(shared("data/cryoem/" + name), cube=True)
    assert np.array_equal(volume, mrcfile.read(shared("data/cryoem/" + name)))
    assert size == pytest.approx(pixel, rel=1e-6) and origin == (0.0, 0.0, 0.0)
