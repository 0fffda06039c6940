"""Volumes that are folders: OME-Zarr and DICOM series, read back by us and by the libraries that others use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.scan_files import result
from tomodiff.cli.main import main
from tomodiff.errors import ConfigError, DataError
from tomodiff.files import read_volume, write
from tomodiff.geometry import Grid
from tomodiff.result import Result


class TestZarr:
    @pytest.fixture(autouse=True)
    def needs(self) -> Any:
        return pytest.importorskip("zarr", minversion="3", reason="zarr 3 is not installed (the extra zarr)")

    def test_comes_back_exactly(self, tmp_path: Path, rng: np.random.Generator) -> None:
        made = result(rng)
        write(tmp_path / "a.zarr", made)
        volume, grid, meta = read_volume(tmp_path / "a.zarr")
        np.testing.assert_array_equal(volume, made.volume)
        np.testing.assert_allclose(grid.world_from_index, made.grid.world_from_index, atol=1e-12)
        assert (meta["unit"], meta["quantity"], meta["provenance"]) == ("1/mm", "attenuation", made.meta)
        write(tmp_path / "a.zarr", made)  # takes the place of the first
        assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]

    def test_levels_lie_on_each_other(self, tmp_path: Path, rng: np.random.Generator, needs: Any) -> None:
        """A blob has its centre of mass at one place in all levels; odd sizes and uneven voxels included."""
        shape = (40, 131, 258)
        grid = Grid(shape, (0.5, 0.2, 0.1), (3.0, -2.0, 7.0))
        x, y, z = grid.coordinates()
        blob = np.exp(-((z - 7.5) ** 2 + (y + 3) ** 2 / 4 + (x - 1) ** 2 / 4)).astype(np.float32)
        write(tmp_path / "a.zarr", Result(blob, grid))
        root = needs.open_group(str(tmp_path / "a.zarr"), mode="r")
        levels = root.attrs["multiscales"][0]["datasets"]
        assert [root[level["path"]].shape for level in levels] == [shape, (40, 65, 129), (40, 32, 64)]
        for level in levels:
            values = np.asarray(root[level["path"]])
            scale, translation = (next(iter(v for k, v in t.items() if k != "type")) for t in
                                  level["coordinateTransformations"])  # fmt: skip
            for axis, wanted in enumerate((7.5, -3.0, 1.0)):
                along = values.sum(tuple(i for i in range(3) if i != axis), dtype=float)
                at = translation[axis] + scale[axis] * np.arange(len(along))
                assert (along * at).sum() / along.sum() == pytest.approx(wanted, abs=0.02)

    def test_what_it_cannot_hold_is_refused(self, tmp_path: Path, rng: np.random.Generator) -> None:
        with pytest.raises(ConfigError, match="turned"):
            write(tmp_path / "a.zarr", result(rng, turned=True))
        (tmp_path / "b.zarr").mkdir()
        (tmp_path / "b.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
        with pytest.raises(DataError, match="multiscales"):
            read_volume(tmp_path / "b.zarr")


class TestDicom:
    @pytest.fixture(autouse=True)
    def needs(self) -> Any:
        return pytest.importorskip("pydicom", reason="pydicom is not installed (the extra medical)")

    @pytest.mark.parametrize("turned", [False, True])
    def test_comes_back_within_its_levels(self, turned: bool, tmp_path: Path, rng: np.random.Generator) -> None:
        made = result(rng, turned=turned)
        write(tmp_path / "a.dcm", made)
        volume, grid, meta = read_volume(tmp_path / "a.dcm")
        assert np.abs(volume - made.volume).max() <= 0.6 * np.ptp(made.volume) / 65535
        np.testing.assert_allclose(grid.world_from_index, made.grid.world_from_index, atol=1e-6)
        assert meta["unit"] == "1/mm"

    def test_another_library_sees_the_same(self, tmp_path: Path, rng: np.random.Generator) -> None:
        """GDCM, as ITK has it: voxels, rescaling, positions."""
        sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed (the extra medical)")
        made = result(rng)
        write(tmp_path / "a.dcm", made)
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "a.dcm")))
        image = reader.Execute()
        np.testing.assert_allclose(sitk.GetArrayFromImage(image), made.volume, atol=np.ptp(made.volume) / 60000)
        last = tuple(n - 1 for n in made.grid.shape[::-1])
        place = made.grid.world_from_index @ [*last, 1]
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(last), place, atol=1e-5)

    def test_a_missing_slice_is_noticed(self, tmp_path: Path, rng: np.random.Generator) -> None:
        made = result(rng).replace(volume=np.zeros((6, 4, 5), np.float32), grid=Grid((6, 4, 5)))
        write(tmp_path / "a.dcm", made)
        (tmp_path / "a.dcm" / "00003.dcm").unlink()
        with pytest.raises(DataError, match="even steps"):
            read_volume(tmp_path / "a.dcm")
        one = tmp_path / "a.dcm" / "00004.dcm"
        one.write_bytes(one.read_bytes()[:-30])
        with pytest.raises(DataError, match="DICOM series"):
            read_volume(tmp_path / "a.dcm")


def test_a_job_writes_a_tiff_for_each_slice(tmp_path: Path) -> None:
    scan, out = tmp_path / "s.h5", tmp_path / "run"
    assert main(["-q", "ct", "simulate", str(scan), "--views", "20", "--rows", "4", "--columns", "24"]) == 0
    given = ["-o", str(out), "--set", "output.report=false", "--set", "output.format=tiffs"]
    assert main(["-q", "ct", "reconstruct", str(scan), *given]) == 0
    assert len(list((out / "volume").glob("*.tif"))) == 4 and read_volume(out / "volume")[0].shape == (4, 24, 24)


@pytest.mark.parametrize("suffix", ["zarr", "dcm", "nrrd", "mha"])
def test_a_job_writes_it(suffix: str, tmp_path: Path) -> None:
    library = {"zarr": "zarr", "dcm": "pydicom"}.get(suffix, "SimpleITK")
    pytest.importorskip(library, reason=f"{library} is not installed")
    scan = tmp_path / "s.h5"
    assert main(["-q", "ct", "simulate", str(scan), "--views", "20", "--rows", "4", "--columns", "24"]) == 0
    for name in (f"v.{suffix}", "truth.npy"):
        given = ["-o", str(tmp_path / name), "--set", "output.report=false"]
        assert main(["-q", "ct", "reconstruct", str(scan), *given]) == 0
    volume, _, _ = read_volume(tmp_path / f"v.{suffix}")
    truth = np.load(tmp_path / "truth.npy")
    np.testing.assert_allclose(volume, truth, atol=np.ptp(truth) / 60000)
