"""Rasters of planets: values, holes, scales and places survive; grids are brought together; tables of suns are read."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.errors
from astropy.io import fits

from tomodiff.errors import DataError
from tomodiff.files.planetary import (
    Light,
    onto_grid,
    read_directions,
    read_exposures,
    read_lights,
    read_raster,
    write_numbers,
    write_raster,
)
from tomodiff.files.planetary.raster import NODATA
from tomodiff.files.planetary.sun_angles import light_of_tags
from tomodiff.geometry.map_grid import MapGrid

POLE = "IAU_2015:30135"
GRID = MapGrid((12, 16), (2.0, 0, 1000, 0, -2.0, 500), POLE)


def write_cube(path: Path, values: np.ndarray) -> None:
    """An ISIS cube that does not say where it lies."""
    (ny, nx), dtype = values.shape, "float32"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="ISIS3", height=ny, width=nx, count=1, dtype=dtype) as target:
            target.write(values.astype(dtype), 1)


@pytest.fixture
def values(rng: np.random.Generator) -> np.ndarray:
    made = rng.uniform(0, 1, GRID.shape).astype(np.float32).astype(np.float64)
    made[3, 4] = np.nan
    return made


def test_a_geotiff_comes_back_as_it_was(tmp_path: Path, values: np.ndarray) -> None:
    write_raster(tmp_path / "a.tif", values, GRID, "m", "height")
    found = read_raster(tmp_path / "a.tif")
    np.testing.assert_array_equal(found.values, values)
    assert found.projected and found.unit == "m" and found.grid.transform == GRID.transform
    assert found.grid.spacing == pytest.approx(GRID.spacing) and found.grid.body_radius == pytest.approx(1737400)
    with rasterio.open(tmp_path / "a.tif") as other:
        assert other.nodata == NODATA and other.descriptions == ("height",)
        assert "Moon (2015) - Sphere / Ocentric / South Polar" in other.crs.to_wkt()
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"], "nothing half-written"


@pytest.mark.parametrize("code", ["IAU_2015:30110", "IAU_2015:49910", "EPSG:32740"])
def test_codes_survive(tmp_path: Path, values: np.ndarray, code: str) -> None:
    write_raster(tmp_path / "a.tif", values, MapGrid(GRID.shape, GRID.transform, code))
    with rasterio.open(tmp_path / "a.tif") as other:
        assert ":".join(other.crs.to_authority()) == code


def test_one_system_in_two_wordings_is_one(tmp_path: Path, values: np.ndarray) -> None:
    write_raster(tmp_path / "a.tif", values, GRID)
    found = read_raster(tmp_path / "a.tif")
    assert found.grid.crs != GRID.crs
    np.testing.assert_array_equal(onto_grid(found, GRID), values)


def test_scale_offset_and_integers(tmp_path: Path) -> None:
    path, stored = tmp_path / "lola.tif", np.arange(20, dtype=np.int16).reshape(4, 5)
    stored[1, 1] = -32768
    profile = dict(driver="GTiff", height=4, width=5, count=2, dtype="int16", nodata=-32768, crs=POLE)
    with rasterio.open(path, "w", transform=rasterio.Affine(1, 0, 50, 0, -1, 70), **profile) as target:
        target.write(stored, 2)
        target.write(stored * 0, 1)
        target.scales, target.offsets = (1, 0.5), (0, 1737400.0)
    found = read_raster(path, band=2)
    assert np.isnan(found.values[1, 1]) and found.values[0, 3] == 1737401.5
    with pytest.raises(DataError, match="a band 3"):
        read_raster(path, band=3)


def test_special_pixels_of_isis_are_holes(tmp_path: Path) -> None:
    path = tmp_path / "a.cub"
    stored = np.full((6, 7), 0.25, np.float32)
    low, high = np.frombuffer(np.array([0xFF7FFFFC, 0xFF7FFFFF], np.uint32).tobytes(), np.float32)
    stored[0, 0], stored[1, 1], stored[2, 2] = NODATA, low, high
    write_cube(path, stored)
    found = read_raster(path)
    assert np.isnan(found.values).sum() == 3 and not found.projected
    assert found.values[3, 3] == 0.25 and found.saturated == 2  # null is a hole, but not saturated


def test_fits_has_its_first_row_at_the_bottom(tmp_path: Path) -> None:
    image = np.arange(30.0).reshape(5, 6)
    header = fits.Header({"CDELT1": 3.0, "CDELT2": 2.0, "BUNIT": "I/F", "SUNAZ": 120.0, "SUNEL": 33.0})
    fits.PrimaryHDU(image, header).writeto(tmp_path / "a.fits")
    found = read_raster(tmp_path / "a.fits")
    np.testing.assert_array_equal(found.values, image[::-1])
    assert found.grid.spacing == (2.0, 3.0) and found.unit == "I/F"
    assert light_of_tags(found.tags) == Light(120.0, 33.0)
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    with pytest.raises(DataError, match="no unit with an image"):
        read_raster(tmp_path / "empty.fits")


def test_a_colour_picture_is_its_grey(tmp_path: Path, rng: np.random.Generator) -> None:
    picture = rng.integers(0, 255, (3, 9, 11)).astype(np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(tmp_path / "a.png", "w", driver="PNG", height=9, width=11, count=3, dtype="uint8") as t:
            t.write(picture)
    found = read_raster(tmp_path / "a.png")
    assert found.values == pytest.approx(picture.mean(0)) and not found.projected
    np.testing.assert_array_equal(read_raster(tmp_path / "a.png", band=2).values, picture[1])
    part = found.grid.cropped(slice(2, 8), slice(3, 10))
    np.testing.assert_array_equal(onto_grid(found, part), found.values[2:8, 3:10])


def test_what_a_colour_picture_leaves_out_is_a_hole(tmp_path: Path) -> None:
    picture = np.full((3, 6, 7), 90, np.uint8)
    picture[:, 2, 3] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(
            tmp_path / "a.tif", "w", driver="GTiff", height=6, width=7, count=3, dtype="uint8", nodata=0,
            photometric="RGB",
        ) as target:  # fmt: skip
            target.write(picture)
    found = read_raster(tmp_path / "a.tif").values
    assert np.argwhere(np.isnan(found)).tolist() == [[2, 3]] and found[0, 0] == 90


class TestOntoAGrid:
    def test_whole_elements_are_copied(self, tmp_path: Path, values: np.ndarray) -> None:
        write_raster(tmp_path / "a.tif", values, GRID)
        part = GRID.cropped(slice(2, 9), slice(5, 16))
        np.testing.assert_array_equal(onto_grid(read_raster(tmp_path / "a.tif"), part), values[2:9, 5:])
        beyond = MapGrid((12, 16), (2.0, 0, 1010, 0, -2.0, 492), POLE)
        moved = onto_grid(read_raster(tmp_path / "a.tif"), beyond)
        np.testing.assert_array_equal(moved[:8, :11], values[4:, 5:])
        assert np.isnan(moved[8:]).all() and np.isnan(moved[:, 11:]).all()

    def test_finer_elements_are_averaged(self, tmp_path: Path, rng: np.random.Generator) -> None:
        fine = MapGrid((48, 64), (0.5, 0, 1000, 0, -0.5, 500), POLE)
        values = rng.uniform(0, 1, fine.shape)
        write_raster(tmp_path / "a.tif", values, fine)
        blocks = values.reshape(12, 4, 16, 4).mean((1, 3))
        assert onto_grid(read_raster(tmp_path / "a.tif"), GRID) == pytest.approx(blocks, abs=1e-6)

    def test_other_projections_are_followed(self, tmp_path: Path) -> None:
        """A map in degrees of a smooth function of longitude and latitude, brought onto metres."""
        degrees = MapGrid((200, 200), (1e-4, 0, 30.0, 0, -1e-4, 0.02), "IAU_2015:30100")
        lon, lat = degrees.xy()
        write_raster(tmp_path / "a.tif", np.sin(400 * lon) + np.cos(300 * lat), degrees)
        metres = MapGrid((40, 40), (3.0, 0, 30 * 30323.35 + 100, 0, -3.0, 400), "IAU_2015:30110")
        made = onto_grid(read_raster(tmp_path / "a.tif"), metres)
        x, y = metres.xy()
        per = np.deg2rad(1) * 1737400
        assert made == pytest.approx(np.sin(400 * x / per) + np.cos(300 * y / per), abs=2e-3)

    def test_what_has_no_place_must_have_the_shape(self, tmp_path: Path, values: np.ndarray) -> None:
        path = tmp_path / "a.cub"
        write_cube(path, np.nan_to_num(values))
        assert onto_grid(read_raster(path), GRID) == pytest.approx(np.nan_to_num(values))
        with pytest.raises(DataError, match=r"georeference.*12 x 16"):
            onto_grid(read_raster(path), GRID.binned(2))

    def test_a_missing_projection_is_named(self, tmp_path: Path, values: np.ndarray) -> None:
        write_raster(tmp_path / "flat.tif", values, MapGrid(GRID.shape, GRID.transform, None))
        with pytest.raises(DataError, match=r"flat.tif: projection: expected one"):
            onto_grid(read_raster(tmp_path / "flat.tif"), GRID)


class TestBadFiles:
    def test_absent_truncated_and_other_files(self, tmp_path: Path, values: np.ndarray) -> None:
        with pytest.raises(DataError, match="no file of that name"):
            read_raster(tmp_path / "absent.tif")
        (tmp_path / "text.tif").write_text("not a raster")
        with pytest.raises(DataError, match="a raster that GDAL reads"):
            read_raster(tmp_path / "text.tif")
        big = MapGrid((300, 300), (1, 0, 0, 0, -1, 0), POLE)
        write_raster(tmp_path / "whole.tif", np.random.default_rng(0).normal(size=big.shape), big)
        whole = (tmp_path / "whole.tif").read_bytes()
        (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match=r"cut.tif"):
            read_raster(tmp_path / "cut.tif")

    def test_nothing_but_holes(self, tmp_path: Path) -> None:
        write_raster(tmp_path / "a.tif", np.full(GRID.shape, np.nan), GRID)
        with pytest.raises(DataError, match="at least one number"):
            read_raster(tmp_path / "a.tif")

    def test_a_raster_turned_by_its_transform(self, tmp_path: Path) -> None:
        profile = dict(driver="GTiff", height=8, width=8, count=1, dtype="float32", crs=POLE)
        with rasterio.open(tmp_path / "a.tif", "w", transform=rasterio.Affine(1, 0.5, 0, 0.5, -1, 0), **profile) as t:
            t.write(np.ones((8, 8), np.float32), 1)
        with pytest.raises(DataError, match=r"a.tif: transform: expected a north-up grid"):
            read_raster(tmp_path / "a.tif")


class TestTables:
    def test_sun_angles(self, tmp_path: Path) -> None:
        path = tmp_path / "suns.txt"
        path.write_text("# ASP\n  data/a.cub 12.5 30\n\nb.tif -40 25.5 180 80 # oblique\n")
        assert read_lights(path) == {"a.cub": Light(12.5, 30), "b.tif": Light(-40, 25.5, 180, 80)}

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("a.tif 1\n", "line 1: expected IMAGE AZIMUTH ELEVATION"),
            ("# x\na.tif one 2\n", "line 2: expected numbers"),
            ("a.tif 400 2\n", "an azimuth in degrees"),
            ("a.tif 40 95\n", "an elevation of the sun"),
            ("a.tif 40 5 0 -95\n", "an elevation of the camera"),
            ("\n", "no lines"),
        ],
    )
    def test_wrong_lines_are_named(self, tmp_path: Path, text: str, said: str) -> None:
        path = tmp_path / "suns.txt"
        path.write_text(text)
        with pytest.raises(DataError, match=said):
            read_lights(path)
        with pytest.raises(DataError, match="a text file"):
            read_lights(tmp_path / "absent.txt")

    def test_directions_of_lights(self, tmp_path: Path) -> None:
        path = tmp_path / "lights.txt"
        path.write_text("# right, up, towards the camera\n0 2 0\n3 0 3\n")
        found = read_directions(path, ["a.png", "b.png"])
        assert found["a.png"] == Light(0.0, 0.0)
        assert (found["b.png"].sun_azimuth, found["b.png"].sun_elevation) == pytest.approx((90, 45))
        path.write_text("b.png 0 -1 1\na.png 0 0 1\n")
        named = read_directions(path, ["a.png", "b.png"])
        assert abs(named["b.png"].sun_azimuth) == 180 and named["a.png"].sun_elevation == pytest.approx(90)
        for text, said in (("0 0 1\n", "a line X Y Z for each of 2"), ("0 0 0\n0 0 1\n", "of some length"),
                           ("a.png 0 0 1\n0 0 1\n", "in every line")):  # fmt: skip
            path.write_text(text)
            with pytest.raises(DataError, match=said):
                read_directions(path, ["a.png", "b.png"])

    def test_tags(self) -> None:
        assert light_of_tags({"MEANSUNAZ": "30.9", "MEANSUNEL": "38.9", "x": "y"}) == Light(30.9, 38.9)
        assert light_of_tags({"SUN_AZIMUTH": "north", "SUN_ELEVATION": "1"}) is None
        assert light_of_tags({}) is None

    def test_numbers_of_images(self, tmp_path: Path) -> None:
        write_numbers(tmp_path / "e.txt", ("a.tif", "b.tif"), (0.1234567890123, 2.0))
        found = read_exposures(tmp_path / "e.txt")
        assert found["a.tif"][0] == pytest.approx(0.123456789, rel=1e-9) and found["b.tif"] == [2.0]
