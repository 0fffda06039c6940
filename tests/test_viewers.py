"""Files as other programs read them: one bright voxel lies where the grid has it, in each program's own axes.

ITK-SNAP and 3D Slicer read by ITK, ChimeraX by the header of an MRC, Fiji by ImageJ's description of a TIFF, QGIS by
GDAL; napari asks our plug-in.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import tifffile
import yaml

from tests.kernel_folder import REPOSITORY
from tests.scan_files import result
from tomodiff.cli.main import main
from tomodiff.errors import ConfigError, DataError, TomodiffError
from tomodiff.files import write
from tomodiff.geometry import Grid
from tomodiff.napari_plugin.layers import layers, reader_of, volume_layer
from tomodiff.napari_plugin.panel import command_of, layers_of
from tomodiff.result import Result

SHIPPED = REPOSITORY / "datasets"
BRIGHT = (2, 1, 3)
"""The voxel (k, j, i) that is bright."""
GRID = Grid((4, 5, 6), (0.3, 0.2, 0.1), (1.0, -2.0, 3.5))
PLACE = GRID.world_from_index @ (*BRIGHT[::-1], 1)
"""Where it lies (x, y, z), mm."""


@pytest.fixture
def spot() -> Result:
    volume = np.zeros(GRID.shape, np.float32)
    volume[BRIGHT] = 1.0
    return Result(volume, GRID)


class TestItkSnap:
    """It shows what ITK reads, in ITK's axes (LPS), NIfTI's RAS+ turned into them."""

    @pytest.mark.parametrize("name", ["a.nii.gz", "a.mha", "a.nrrd"])
    def test_the_voxel_is_in_its_place(self, name: str, spot: Result, tmp_path: Path) -> None:
        sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed (the extra medical)")
        write(tmp_path / name, spot)
        image = sitk.ReadImage(str(tmp_path / name))
        seen = sitk.GetArrayFromImage(image)
        k, j, i = np.unravel_index(seen.argmax(), seen.shape)
        x, y, z = image.TransformIndexToPhysicalPoint((int(i), int(j), int(k)))
        turned = -1 if name.endswith(".nii.gz") else 1  # our x, y are NIfTI's R, A but MetaImage's L, P
        np.testing.assert_allclose([turned * x, turned * y, z], PLACE, atol=1e-6)


class TestChimeraX:
    """It multiplies indices with the cell over the samples and adds `origin`, in angstrom."""

    def test_the_voxel_is_in_its_place(self, spot: Result, tmp_path: Path) -> None:
        write(tmp_path / "a.mrc", spot)
        with mrcfile.open(tmp_path / "a.mrc") as mrc:
            head, seen = mrc.header, mrc.data
            assert (head.mapc, head.mapr, head.maps) == (1, 2, 3)
            size = np.array([head.cella[axis] / head[n] for axis, n in zip("xyz", ("mx", "my", "mz"), strict=True)])
            index = np.array(np.unravel_index(seen.argmax(), seen.shape))[::-1]
            place = index * size + [head.origin[axis] for axis in "xyz"]
            np.testing.assert_allclose(place, PLACE * 1e7, rtol=1e-5)
            # the first contour is chosen from these
            assert (head.dmin, head.dmax) == (0, 1) and head.dmean == pytest.approx(1 / 120)
            assert head.rms == pytest.approx(seen.std(), rel=1e-5)


class TestFiji:
    """It reads its own description in a TIFF, and the resolution in the unit said there."""

    def test_it_is_a_stack_in_millimetres(self, spot: Result, tmp_path: Path) -> None:
        write(tmp_path / "a.tif", spot)
        with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
            said = tiff.imagej_metadata
            assert said is not None and said["images"] == said["slices"] == 4
            assert (said["unit"], said["spacing"]) == ("mm", pytest.approx(0.3))
            assert tiff.series[0].axes == "ZYX"
            across = [d / n for n, d in (tiff.pages[0].tags[name].value for name in ("XResolution", "YResolution"))]  # type: ignore[union-attr]
            assert across == pytest.approx([0.1, 0.2])
            assert np.array_equal(tiff.asarray(), spot.volume)


class TestQgis:
    """It reads by GDAL: the projection, the place of each pixel, holes, the unit."""

    def test_a_shaded_map_lies_on_its_dem(self, tmp_path: Path) -> None:
        rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed (the extra planetary)")
        dem, out = SHIPPED / "terrain_sample" / "dem.tif", tmp_path / "shaded.tif"
        given = ["terrain", "shade", str(dem), "-o", str(out), "--sun-azimuth", "90", "--sun-elevation", "30"]
        assert main(["-q", *given]) == 0
        with rasterio.open(dem) as theirs, rasterio.open(out) as ours:
            assert ours.crs == theirs.crs and ours.crs.linear_units == "metre"
            assert ours.transform == theirs.transform and ours.shape == theirs.shape
            assert ours.nodata is not None and ours.descriptions == ("I/F",)
            assert np.isfinite(ours.read(1, masked=True)).all()
            assert theirs.units == ("m",)


class TestNapari:
    def test_the_manifest_is_one_and_its_commands_are_there(self) -> None:
        """Without npe2, which has a plug-in for pytest whose own warnings would be errors here."""
        import tomodiff.napari_plugin

        told = yaml.safe_load((Path(tomodiff.napari_plugin.__path__[0]) / "napari.yaml").read_text())
        assert told["name"] == "tomodiff"
        offered = told["contributions"]
        commands = {one["id"]: one["python_name"].split(":") for one in offered["commands"]}
        for module, function in commands.values():
            assert callable(getattr(import_module(module), function))
        for one in (*offered["readers"], *offered["widgets"]):
            assert one["command"] in commands
        patterns = offered["readers"][0]["filename_patterns"]
        for name in ("a.h5", "a.nii.gz", "a.mrc", "a.zarr", "a.txrm", "vol.run"):
            assert any(Path(name).match(pattern) for pattern in patterns), name

    @pytest.mark.parametrize("name", ["a.h5", "a.mrc", "a.nii", "a.tif"])
    def test_a_volume_is_a_layer_in_its_place(self, name: str, spot: Result, tmp_path: Path) -> None:
        write(tmp_path / name, spot)
        reader = reader_of(str(tmp_path / name))
        assert reader is not None
        ((data, about, kind),) = reader(str(tmp_path / name))
        assert kind == "image" and np.array_equal(data, spot.volume)
        place = np.array(about["translate"]) + np.array(about["scale"]) * BRIGHT
        np.testing.assert_allclose(place, PLACE[::-1], rtol=1e-5)
        assert about["units"] == ("mm",) * 3 and about["axis_labels"] == ("z", "y", "x")

    def test_a_turned_grid_has_a_matrix(self, tmp_path: Path, rng: np.random.Generator) -> None:
        made = result(rng, turned=True)
        write(tmp_path / "a.h5", made)
        _, about, _ = volume_layer(tmp_path / "a.h5")
        place = (about["affine"] @ (2, 1, 3, 1))[:3]
        np.testing.assert_allclose(place, (made.grid.world_from_index @ (3, 1, 2, 1))[::-1], rtol=1e-12)
        assert "scale" not in about

    def test_a_map_is_told_in_angstrom(self) -> None:
        _, about, _ = volume_layer(SHIPPED / "cryoem_sample_truth.mrc")
        assert about["units"] == ("angstrom",) * 3 and about["scale"] == pytest.approx((3.5,) * 3)

    def test_a_scan_shows_its_projections_the_highest_row_first(self) -> None:
        from tomodiff import read

        ((data, about, _),) = layers(str(SHIPPED / "ct_sample.h5"))
        assert np.array_equal(data, read(SHIPPED / "ct_sample.h5").data[:, ::-1])
        assert about["scale"] == (1.0, 0.3, 0.3) and "ConeBeam" in about["metadata"]["tomodiff"]["geometry"]

    def test_what_is_neither_is_refused_with_both_reasons(self, tmp_path: Path) -> None:
        (tmp_path / "a.h5").write_bytes(b"\x89HDF no")
        with pytest.raises(DataError, match=r"a\.h5.*a volume or a scan.*neither"):
            layers(str(tmp_path / "a.h5"))
        assert reader_of(str(tmp_path / "none.h5")) is None
        assert reader_of([str(tmp_path / "a.h5")] * 2) is None

    def test_the_panel_reconstructs_in_a_process_of_its_own(self, tmp_path: Path) -> None:
        out = tmp_path / "volume.h5"
        command = command_of(SHIPPED / "ct_sample.h5", out, "fdk", 8, 0, False)
        ((data, about, _),) = layers_of(command, out)
        assert data.ndim == 3 and about["name"] == "volume.h5" and (tmp_path / "volume.run" / "report.html").exists()
        ((again, _, _),) = layers(str(tmp_path / "volume.run"))
        assert np.array_equal(again, data)
        with pytest.raises(TomodiffError, match="volume"):  # it is there, and was not to be replaced
            layers_of(command, out)
        with pytest.raises(ConfigError, match="expected a file"):
            command_of(tmp_path / "none.h5", out, "auto", 1, 0, False)

    def test_reading_does_not_import_napari(self) -> None:
        code = (
            "import sys, tomodiff.napari_plugin.layers, tomodiff.napari_plugin.panel; sys.exit('napari' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_arguments_are_those_of_the_command() -> None:
    given: Any = command_of(SHIPPED / "ct_sample.h5", Path("v.h5"), "sirt", 2, 30, True)
    scan = str(SHIPPED / "ct_sample.h5")
    told = f"ct reconstruct {scan} -o v.h5 --method sirt --bin 2 --iterations 30 --overwrite"
    assert " ".join(given[3:]) == told
