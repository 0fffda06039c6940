"""Volumes: every format read back by us and by the library that its users have."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from tests.scan_files import result
from tomodiff.errors import ConfigError, DataError
from tomodiff.files import read_volume, write
from tomodiff.files.volumes import tiff as volume_tiff
from tomodiff.geometry import Grid
from tomodiff.result import Result

EXACT = ["a.h5", "a.hdf5", "a.tif", "a.tiff", "slices/", "a.npy"]


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("turned", [False, True])
def test_comes_back_exactly(tmp_path: Path, rng: np.random.Generator, name: str, turned: bool) -> None:
    made = result(rng, turned=turned)
    write(f"{tmp_path}/{name}", made)
    volume, grid, meta = read_volume(f"{tmp_path}/{name}")
    np.testing.assert_array_equal(volume, made.volume)
    assert volume.dtype == np.float32
    assert grid == made.grid
    assert (meta["unit"], meta["quantity"]) == ("1/mm", "attenuation")
    assert meta["provenance"] == made.meta
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("name", ["a.mrc", "a.nii", "a.nii.gz", "a.mha", "a.nrrd"])
def test_comes_back_with_the_precision_of_the_header(tmp_path: Path, rng: np.random.Generator, name: str) -> None:
    pytest.importorskip("nibabel" if ".nii" in name else "SimpleITK" if name[2:] in ("mha", "nrrd") else "mrcfile")
    made = result(rng, turned=name != "a.mrc")
    write(tmp_path / name, made)
    volume, grid, meta = read_volume(tmp_path / name)
    np.testing.assert_array_equal(volume, made.volume)
    assert grid.shape == made.grid.shape
    np.testing.assert_allclose(grid.world_from_index, made.grid.world_from_index, rtol=1e-6, atol=1e-6)
    assert (meta["unit"], meta["quantity"]) == ("1/mm", "attenuation")


@pytest.mark.parametrize("name", ["a.h5", "a.tif", "slices/"])
def test_compressed(tmp_path: Path, rng: np.random.Generator, name: str) -> None:
    made = result(rng)
    made = made.replace(volume=np.zeros((3, 400, 500), np.float32), grid=Grid((3, 400, 500)))
    write(f"{tmp_path}/{name}", made, compression="gzip")
    volume, grid, _ = read_volume(f"{tmp_path}/{name}")
    np.testing.assert_array_equal(volume, made.volume)
    assert grid == made.grid
    size = sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file())
    assert size < made.volume.nbytes / 20


@pytest.mark.parametrize("name", ["a.h5", "a.tif", "slices/", "a.npy", "a.nii"])
def test_double_precision_is_kept(tmp_path: Path, rng: np.random.Generator, name: str) -> None:
    made = result(rng)
    made = made.replace(volume=made.volume.astype(np.float64) / 3)
    write(f"{tmp_path}/{name}", made)
    volume, _, _ = read_volume(f"{tmp_path}/{name}")
    assert volume.dtype == np.float64
    np.testing.assert_array_equal(volume, made.volume)


def test_one_slice(tmp_path: Path, rng: np.random.Generator) -> None:
    made = Result(rng.random((1, 4, 5)).astype(np.float32), Grid((1, 4, 5), 0.1))
    for name in [*EXACT, "a.mrc"]:
        write(f"{tmp_path}/{name}", made)
        volume, grid, _ = read_volume(f"{tmp_path}/{name}")
        np.testing.assert_array_equal(volume, made.volume)
        np.testing.assert_allclose(grid.world_from_index, made.grid.world_from_index, rtol=1e-6)


def test_hdf5_by_h5py(tmp_path: Path, rng: np.random.Generator) -> None:
    made = result(rng)
    write(tmp_path / "a.h5", made)
    with h5py.File(tmp_path / "a.h5") as file:
        volume, data = file["volume"], file["entry/data"]
        np.testing.assert_array_equal(volume, made.volume)
        assert volume.attrs["units"] == "1/mm"
        np.testing.assert_allclose(volume.attrs["spacing_mm"], made.grid.spacing)
        x, y, z = (c[0, 0, 0] for c in made.grid.coordinates())
        np.testing.assert_allclose(volume.attrs["origin_mm"], (x, y, z))
        assert data.attrs["NX_class"] == "NXdata" and data.attrs["signal"] == "volume"
        assert data["volume"].id == volume.id or data["volume"] == volume
        assert list(data.attrs["axes"]) == ["z", "y", "x"]
        np.testing.assert_allclose(data["z"], made.grid.coordinates()[2][:, 0, 0])
        np.testing.assert_allclose(data["x"], made.grid.coordinates()[0][0, 0, :])
        assert data["x"].attrs["units"] == "mm"
        assert json.loads(file["provenance"][()]) == made.meta
        assert json.loads(file["history"][()]) == made.history


def test_tiff_by_tifffile(tmp_path: Path, rng: np.random.Generator) -> None:
    made = result(rng)
    write(tmp_path / "a.tif", made)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), made.volume)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        said, tags = tiff.imagej_metadata, tiff.pages[0].tags  # type: ignore[union-attr]
        assert said is not None and said["unit"] == "mm" and said["spacing"] == 0.3
        n, d = tags["XResolution"].value
        assert d / n == pytest.approx(0.1)
        n, d = tags["YResolution"].value
        assert d / n == pytest.approx(0.2)
        assert not tiff.is_bigtiff


def assert_pixels_per_cm(tiff: tifffile.TiffFile) -> None:
    """The resolution tags of `result`: 0.2 mm along y, 0.1 mm along x."""
    tags = tiff.pages[0].tags  # type: ignore[union-attr]
    across = {name: np.divide(*tags[name].value) for name in ("XResolution", "YResolution")}
    assert across == {"XResolution": pytest.approx(100), "YResolution": pytest.approx(50)}
    assert tags["ResolutionUnit"].value == 3  # centimetre


def test_big_tiff_carries_ome(tmp_path: Path, rng: np.random.Generator) -> None:
    made = result(rng)
    volume_tiff.write(tmp_path / "a.tif", made, None, big=True)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.is_bigtiff and tiff.ome_metadata
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
        assert [pixels[f"PhysicalSize{a}"] for a in "ZYX"] == [0.3, 0.2, 0.1]
        assert {pixels[f"PhysicalSize{a}Unit"] for a in "ZYX"} == {"mm"}
        np.testing.assert_array_equal(tiff.asarray(), made.volume)
        assert_pixels_per_cm(tiff)
    volume, grid, _ = read_volume(tmp_path / "a.tif")
    np.testing.assert_array_equal(volume, made.volume)
    assert grid == made.grid


def test_more_than_4_gib_is_big(tmp_path: Path) -> None:
    """Without 4 GiB of memory: pages of zeros that share one row, and a writer that only looks."""
    huge = np.broadcast_to(np.zeros((1, 1, 1), np.float32), (1100, 1024, 1024))
    seen: dict[str, object] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tifffile, "imwrite", lambda target, volume, **how: seen.update(how))
        volume_tiff.write(tmp_path / "a.tif", Result(huge, Grid(huge.shape)), None)
    assert seen["bigtiff"] is True


def test_slices_by_tifffile(tmp_path: Path, rng: np.random.Generator) -> None:
    made = result(rng)
    write(f"{tmp_path}/out/", made)
    assert sorted(p.name for p in (tmp_path / "out").glob("*.tif")) == [f"slice_0000{k}.tif" for k in range(3)]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "slice_00002.tif"), made.volume[2])
    with tifffile.TiffFile(tmp_path / "out" / "slice_00000.tif") as tiff:
        assert_pixels_per_cm(tiff)
    write(f"{tmp_path}/out/", made.replace(volume=made.volume[:2], grid=Grid((2, 4, 5))))  # replaced as a whole
    assert len(list((tmp_path / "out").glob("*.tif"))) == 2
    (tmp_path / "out" / "notes.txt").write_text("keep me")
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        write(f"{tmp_path}/out/", made)
    assert (tmp_path / "out" / "notes.txt").read_text() == "keep me"


def test_mrc_by_mrcfile(tmp_path: Path, rng: np.random.Generator) -> None:
    mrcfile = pytest.importorskip("mrcfile")
    made = result(rng)
    write(tmp_path / "a.mrc", made)
    assert mrcfile.validate(tmp_path / "a.mrc")
    with mrcfile.open(tmp_path / "a.mrc") as mrc:
        assert int(mrc.header.mode) == 2
        assert mrc.is_volume()
        np.testing.assert_array_equal(mrc.data, made.volume)
        size = [mrc.voxel_size[a] for a in "zyx"]
        np.testing.assert_allclose(size, np.array(made.grid.spacing) * 1e7, rtol=1e-6)
        origin = [mrc.header.origin[a] for a in "xyz"]
        np.testing.assert_allclose(origin, made.grid.world_from_index[:, 3] * 1e7, rtol=1e-6)


def test_mrc_of_others_has_any_order_of_axes_and_counts_its_start_in_voxels(tmp_path: Path) -> None:
    """As CCP4 writes maps: columns along z, the origin left at zero."""
    mrcfile = pytest.importorskip("mrcfile")
    volume = np.arange(24, dtype=np.float32).reshape(2, 3, 4)  # (z, y, x)
    with mrcfile.new(tmp_path / "a.map") as mrc:
        mrc.set_data(volume.transpose(2, 1, 0).copy())
        mrc.header.mapc, mrc.header.mapr, mrc.header.maps = 3, 2, 1
        mrc.header.mx, mrc.header.my, mrc.header.mz = 4, 3, 2
        mrc.voxel_size = (2.0, 3.0, 5.0)  # x, y, z
        mrc.header.nxstart, mrc.header.nystart, mrc.header.nzstart = 7, -1, 10  # of columns, rows, sections
    found, grid, _ = read_volume(tmp_path / "a.map")
    np.testing.assert_array_equal(found, volume)
    np.testing.assert_allclose(np.array(grid.spacing) * 1e7, [5, 3, 2], rtol=1e-6)
    np.testing.assert_allclose(grid.world_from_index[:, 3] * 1e7, [20, -3, 35], rtol=1e-6)


def test_mrc_refuses_what_it_cannot_hold(tmp_path: Path, rng: np.random.Generator) -> None:
    made = result(rng)
    with pytest.raises(ConfigError, match="float32 volume"):
        write(tmp_path / "a.mrc", made.replace(volume=made.volume.astype(np.float64)))
    with pytest.raises(ConfigError, match="upright"):
        write(tmp_path / "a.mrc", result(rng, turned=True))
    with pytest.raises(ConfigError, match="lengths"):
        write(tmp_path / "a.mrc", made.replace(grid=Grid((3, 4, 5), 1e35)))
    assert not list(tmp_path.iterdir())


def test_nifti_by_nibabel(tmp_path: Path, rng: np.random.Generator) -> None:
    nibabel = pytest.importorskip("nibabel")
    made = result(rng, turned=True)
    write(tmp_path / "a.nii.gz", made)
    image = nibabel.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), made.volume.transpose(2, 1, 0))
    assert image.header.get_xyzt_units()[0] == "mm"
    x, y, z = (c[2, 1, 3] for c in made.grid.coordinates())
    np.testing.assert_allclose(image.affine @ [3, 1, 2, 1], [x, y, z, 1], rtol=1e-6)


def test_nifti_in_other_units(tmp_path: Path, rng: np.random.Generator) -> None:
    nibabel = pytest.importorskip("nibabel")
    for unit, factor in (("micron", 1e-3), ("meter", 1e3), ("unknown", 1.0)):
        image = nibabel.Nifti1Image(rng.normal(size=(4, 3, 2)).astype(np.float32), np.diag([10.0, 20.0, 30.0, 1.0]))
        image.header.set_xyzt_units(unit)
        nibabel.save(image, tmp_path / "a.nii")
        np.testing.assert_allclose(read_volume(tmp_path / "a.nii")[1].spacing, np.array([30, 20, 10]) * factor)


def test_left_handed_nifti_keeps_every_voxel_in_its_place(tmp_path: Path, rng: np.random.Generator) -> None:
    nibabel = pytest.importorskip("nibabel")
    data = rng.random((5, 4, 3)).astype(np.float32)
    affine = np.array([[-2.0, 0, 0, 10], [0, 3, 0, -7], [0, 0, 4, 1], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(data, affine), tmp_path / "a.nii")
    volume, grid, meta = read_volume(tmp_path / "a.nii")
    assert "left hand" in meta["mirrored"]
    at = np.array([1, 2, 0])
    i, j, k = np.rint(grid.index_from_world @ [*(affine @ [*at, 1])[:3], 1]).astype(int)
    assert volume[k, j, i] == data[tuple(at)]


def test_missing_nibabel_names_the_extra(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ConfigError, match=r"tomodiff\[medical\]"):
        write(tmp_path / "a.nii", result(rng))


def test_npy_by_numpy(tmp_path: Path, rng: np.random.Generator) -> None:
    made = result(rng)
    write(tmp_path / "a.npy", made)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), made.volume)
    (tmp_path / "a.npy.json").unlink()
    _, grid, meta = read_volume(tmp_path / "a.npy")
    assert grid == Grid((3, 4, 5)) and "assumed" in meta["grid"]


def test_imagej_stack_of_others_has_its_spacing(tmp_path: Path, rng: np.random.Generator) -> None:
    metadata = {"axes": "ZYX", "spacing": 2.5, "unit": "um"}
    volume = rng.random((3, 4, 5)).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", volume, imagej=True, resolution=(2, 4), metadata=metadata)
    assert read_volume(tmp_path / "a.tif")[1].spacing == pytest.approx((2.5e-3, 0.25e-3, 0.5e-3))


def test_unknown_suffix_lists_the_known(tmp_path: Path, rng: np.random.Generator) -> None:
    with pytest.raises(ConfigError, match=r"\.h5, .*\.mrc.*found '\.raw'"):
        write(tmp_path / "a.raw", result(rng))
    with pytest.raises(ConfigError, match="compression"):
        write(tmp_path / "a.mrc", result(rng), compression="gzip")


@pytest.mark.parametrize("name", ["a.h5", "a.tif", "a.npy", "a.mrc", "a.nii", "a.nii.gz", "slices/"])
def test_truncated_volume_is_no_volume(tmp_path: Path, rng: np.random.Generator, name: str) -> None:
    if ".nii" in name:
        pytest.importorskip("nibabel")
    write(f"{tmp_path}/{name}", result(rng))
    target = tmp_path / name if not name.endswith("/") else tmp_path / name / "slice_00001.tif"
    whole = target.read_bytes()
    target.write_bytes(whole[: len(whole) - len(whole) // 3])
    with pytest.raises(DataError, match=target.name):
        read_volume(f"{tmp_path}/{name}")


@pytest.mark.parametrize("written", ["{not json", "[]", "{}", '{"grid": {"shape": [3]}}', '{"grid": 5}'])
def test_a_damaged_grid_is_named(tmp_path: Path, rng: np.random.Generator, written: str) -> None:
    made = result(rng)
    write(tmp_path / "a.npy", made)
    (tmp_path / "a.npy.json").write_text(written)
    with pytest.raises(DataError, match=r"a\.npy\.json: grid"):
        read_volume(tmp_path / "a.npy")
    write(tmp_path / "a.h5", made)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["volume"].attrs["grid"] = written if written[0] != "{" or "grid" not in written else written[9:-1]
    with pytest.raises(DataError, match=r"a\.h5: /volume"):
        read_volume(tmp_path / "a.h5")


def test_what_is_no_volume(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(DataError, match="a volume in one of"):
        read_volume(tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"nothing\.h5"):
        read_volume(tmp_path / "nothing.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["result/stack"] = np.zeros((2, 2, 2))
    with pytest.raises(DataError, match="/result/stack"):
        read_volume(tmp_path / "b.h5")
    np.save(tmp_path / "c.npy", np.zeros(3))
    with pytest.raises(DataError, match="3 axes"):
        read_volume(tmp_path / "c.npy")
    with pytest.raises(DataError, match="slices"):
        read_volume(tmp_path)


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd"])
def test_itk_finds_every_voxel_where_the_grid_has_it(tmp_path: Path, rng: np.random.Generator, name: str) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed (the extra medical)")
    made = result(rng, turned=True)
    write(tmp_path / name, made)
    image = sitk.ReadImage(str(tmp_path / name))
    for index in ((0, 0, 0), (2, 1, 0), tuple(n - 1 for n in made.grid.shape[::-1])):
        place = made.grid.world_from_index @ [*index, 1]
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index), place, atol=1e-5)
        assert image.GetPixel(*index) == made.volume[index[::-1]]


def test_a_left_handed_image_is_mirrored(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed (the extra medical)")
    image = sitk.GetImageFromArray(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    image.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, 1))
    image.SetOrigin((10.0, 0.0, 0.0))
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    volume, grid, meta = read_volume(tmp_path / "a.mha")
    assert "mirrored" in meta and volume[0, 0, 3] == 0
    np.testing.assert_allclose(grid.world_from_index @ [3, 0, 0, 1], [10, 0, 0], atol=1e-9)
    (tmp_path / "b.mha").write_bytes((tmp_path / "a.mha").read_bytes()[:-40])
    with pytest.raises(DataError, match=r"b\.mha"):
        read_volume(tmp_path / "b.mha")
