"""TIFF stacks: order, flats and darks by name or by request, angle files, damaged and mixed files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.scan_files import COLUMNS, ROWS, VIEWS, cone_dataset, counts, parallel_dataset, result
from tomodiff.errors import ConfigError, DataError
from tomodiff.files import probe, read, read_truth, write_scan

STEP = 180 / VIEWS


def _folder(folder: Path, frames: np.ndarray, name: str = "raw_{}.tif", **how: object) -> Path:
    folder.mkdir(exist_ok=True)
    for i, frame in enumerate(frames):
        tifffile.imwrite(folder / name.format(i), frame, **how)  # type: ignore[arg-type]
    return folder


@pytest.fixture
def stack(tmp_path: Path, rng: np.random.Generator) -> tuple[Path, np.ndarray]:
    """A folder with views (numbered without zeros), a flat, a dark and angles."""
    frames = counts(rng)
    folder = _folder(tmp_path / "scan", frames)
    tifffile.imwrite(folder / "Flat_0.tif", np.full((ROWS, COLUMNS), 60000, np.uint16))
    tifffile.imwrite(folder / "dark_0.tif", np.full((ROWS, COLUMNS), 90, np.uint16))
    np.savetxt(folder / "angles.txt", np.arange(VIEWS) * STEP)
    return folder, frames


def test_names_are_sorted_as_numbers(stack: tuple[Path, np.ndarray]) -> None:
    folder, frames = stack
    back = read(folder)
    np.testing.assert_array_equal(back.data, frames)
    assert back.kind == "counts"
    assert back.flats is not None and back.flats.shape == (1, ROWS, COLUMNS) and back.flats.max() == 60000
    assert back.darks is not None and back.darks.max() == 90
    np.testing.assert_allclose(back.scan.angles, np.deg2rad(np.arange(VIEWS) * STEP), rtol=1e-12)
    info = probe(folder)
    assert (info.format, info.shape, info.dtype, info.n_flats) == ("tiff", (VIEWS, ROWS, COLUMNS), "uint16", 1)


def test_pattern_and_given_files(stack: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    folder, frames = stack
    back = read(f"{folder}/raw_*.tif", flats=folder / "Flat_0.tif", darks=f"{folder}/dark*")
    np.testing.assert_array_equal(back.data, frames)
    assert back.flats is not None and back.darks is not None
    by_array = read(folder, flats=np.full((2, ROWS, COLUMNS), 7), angles=np.arange(VIEWS) * 3.0)
    assert by_array.flats is not None and by_array.flats.shape == (2, ROWS, COLUMNS)
    np.testing.assert_allclose(by_array.scan.angles, np.deg2rad(np.arange(VIEWS) * 3.0))


@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}, {"byteorder": ">"}, {"bigtiff": True}])
def test_multi_page_file(tmp_path: Path, rng: np.random.Generator, how: dict[str, object]) -> None:
    frames = counts(rng)
    tifffile.imwrite(tmp_path / "all.tif", frames, photometric="minisblack", **how)  # type: ignore[arg-type]
    (tmp_path / "all.csv").write_text("view, angle_deg\n" + "".join(f"{i}, {i * STEP}\n" for i in range(VIEWS)))
    back = read(tmp_path / "all.tif", rows=slice(1, 4), views=slice(3, 20, 4))
    np.testing.assert_array_equal(back.data, frames[3:20:4, 1:4])
    np.testing.assert_allclose(back.scan.angles, np.deg2rad(np.arange(3, 20, 4) * STEP), rtol=1e-12)


def test_only_the_views_asked_for_are_opened(stack: tuple[Path, np.ndarray]) -> None:
    folder, frames = stack
    (folder / "raw_20.tif").write_bytes(b"II*\0 and nothing more")
    np.testing.assert_array_equal(read(folder, views=slice(0, 20)).data, frames[:20])
    with pytest.raises(DataError, match=r"raw_20\.tif"):
        read(folder)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_truncated_file_is_named(tmp_path: Path, rng: np.random.Generator, compression: str | None) -> None:
    folder = _folder(tmp_path / "scan", counts(rng), compression=compression)
    whole = (folder / "raw_3.tif").read_bytes()
    (folder / "raw_3.tif").write_bytes(whole[: len(whole) - 20])
    with pytest.raises(DataError, match=r"raw_3\.tif.*readable pixels"):
        read(folder, angles=f"0:180:{VIEWS}")


def test_file_of_another_shape_is_named(stack: tuple[Path, np.ndarray]) -> None:
    folder, _ = stack
    tifffile.imwrite(folder / "raw_5.tif", np.zeros((ROWS, COLUMNS + 1), np.uint16))
    with pytest.raises(DataError, match=r"raw_5\.tif.*\(5, 7\).*\(5, 8\)"):
        read(folder)


def test_colour_images_are_refused(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "scan", np.zeros((3, ROWS, COLUMNS, 3), np.uint8), photometric="rgb")
    with pytest.raises(DataError, match="grey"):
        read(folder, angles="0:180:3")


def test_missing_angles_file_says_what_was_looked_for(stack: tuple[Path, np.ndarray]) -> None:
    folder, _ = stack
    (folder / "angles.txt").unlink()
    with pytest.raises(DataError, match=r"no angles file \(angles\.txt"):
        read(folder)
    with pytest.raises(DataError, match=r"nowhere\.txt"):
        read(folder, angles="nowhere.txt")
    assert any("no angles" in warning for warning in probe(folder).warnings)


def test_flats_of_another_shape(stack: tuple[Path, np.ndarray]) -> None:
    folder, _ = stack
    tifffile.imwrite(folder / "Flat_0.tif", np.zeros((ROWS + 1, COLUMNS), np.uint16))
    with pytest.raises(DataError, match="flats"):
        read(folder)


def test_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a folder with TIFF files"):
        read(tmp_path)


def test_two_subfolders_of_images_are_ambiguous(tmp_path: Path, rng: np.random.Generator) -> None:
    _folder(tmp_path / "first", counts(rng, 2))
    _folder(tmp_path / "second", counts(rng, 2))
    with pytest.raises(DataError, match="first, second"):
        read(tmp_path)


@pytest.mark.parametrize("make", [parallel_dataset, cone_dataset])
def test_our_folder_comes_back(tmp_path: Path, rng: np.random.Generator, make: object) -> None:
    scan, truth = make(rng).replace(weights=None), result(rng)  # type: ignore[operator]
    write_scan(tmp_path / "out", scan, truth)
    back = read(tmp_path / "out")
    assert (back.scan, back.kind) == (scan.scan, scan.kind)
    np.testing.assert_array_equal(back.data, scan.data)
    if scan.flats is not None:
        np.testing.assert_array_equal(back.flats, scan.flats)
    known = read_truth(tmp_path / "out")
    assert known.grid == truth.grid
    np.testing.assert_array_equal(known.volume, truth.volume)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "proj_00003.tif"), scan.data[3])
    np.testing.assert_allclose(np.loadtxt(tmp_path / "out" / "angles.txt"), np.rad2deg(scan.scan.angles), atol=1e-6)
    write_scan(tmp_path / "out", scan.replace(data=scan.data[:4], scan=scan.scan[:4]))  # replaces it as a whole
    assert len(read(tmp_path / "out").data) == 4


def test_folder_with_other_things_is_not_replaced(tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("...")
    with pytest.raises(ConfigError, match="found other things"):
        write_scan(tmp_path / "precious", parallel_dataset(rng))
    assert (tmp_path / "precious" / "thesis.tex").read_text() == "..."
    with pytest.raises(ConfigError, match="weights"):
        write_scan(tmp_path / "new", cone_dataset(rng))
    with pytest.raises(ConfigError, match=r"\.xyz"):
        write_scan(tmp_path / "a.xyz", parallel_dataset(rng))
