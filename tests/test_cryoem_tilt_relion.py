"""Tilt series of RELION 5 and Warp, and the images that they name."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tomodiff.errors import ConfigError, DataError
from tomodiff.files.cryoem.tilt_relion import angles_of, read_tomograms_star
from tomodiff.files.cryoem.tilt_series import read_tilt_images, read_tilt_series
from tomodiff.geometry.rotation import about_x, about_y, about_z
from tomodiff.geometry.tilt import TiltSeries
from tomodiff.recipes.cryoem.tomogram import series_of
from tomodiff.recipes.cryoem.tomogram_settings import TiltInput

SIZE = (40, 60, 64)
SHAPE = (60, 64)


def global_star(folder: Path, names: tuple[str, ...] = ("TS_1",)) -> Path:
    lines = ["# version 50001", "", "data_global", "", "loop_"]
    columns = ["Name", "TiltSeriesPixelSize", "SizeX", "SizeY", "SizeZ", "TiltSeriesStarFile", "ImportFractionalDose"]
    lines += [f"_rlnTomo{column} #{i + 1}" for i, column in enumerate(columns)]
    lines += [f"{name} 3.5 {SIZE[2]} {SIZE[1]} {SIZE[0]} tilt_series/{name}.star 2.0" for name in names]
    path = folder / "tomograms.star"
    path.write_text("\n".join(lines) + "\n")
    return path


def tilt_star(folder: Path, columns: list[str], rows: list[list[str]], name: str = "TS_1") -> None:
    (folder / "tilt_series").mkdir(exist_ok=True)
    lines = ["# version 50001", "", f"data_{name}", "", "loop_"]
    lines += [f"_{column} #{i + 1}" for i, column in enumerate(columns)]
    lines += [" ".join(row) for row in rows]
    (folder / "tilt_series" / f"{name}.star").write_text("\n".join(lines) + "\n")


ANGLES = ["rlnMicrographName", "rlnTomoXTilt", "rlnTomoYTilt", "rlnTomoZRot", "rlnTomoXShiftAngst"]
ANGLES += ["rlnTomoYShiftAngst", "rlnMicrographPreExposure", "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"]


def angle_rows(rng: np.random.Generator) -> tuple[np.ndarray, list[list[str]]]:
    values = np.column_stack(
        [
            rng.normal(0, 1, 3),
            [-30.0, 0.0, 30.0],
            rng.normal(85, 1, 3),
            rng.normal(0, 20, (3, 2)),
            [4.0, 0.0, 2.0],
            rng.uniform(2e4, 3e4, (3, 2)),
            rng.uniform(-90, 90, 3),
        ]
    ).round(4)
    return values, [[f"00000{i + 1}@stack.mrcs", *(f"{v:.4f}" for v in row)] for i, row in enumerate(values)]


def stack(folder: Path, rng: np.random.Generator, dtype: str = "float32") -> np.ndarray:
    data = rng.integers(0, 100, (3, *SHAPE)).astype(dtype)
    with mrcfile.new(folder / "stack.mrcs", overwrite=True) as mrc:
        mrc.set_data(data)
        mrc.set_image_stack()
    return data


def test_angles_shifts_and_doses_are_taken_over(tmp_path: Path, rng: np.random.Generator) -> None:
    values, rows = angle_rows(rng)
    tilt_star(tmp_path, ANGLES, rows)
    data = stack(tmp_path, rng)
    series = read_tilt_series(global_star(tmp_path))
    assert (series.pixel, series.image_shape, series.volume_shape) == (3.5, SHAPE, SIZE)
    found = np.rad2deg(np.column_stack([series.x_tilt, series.tilt, series.axis]))
    np.testing.assert_allclose(found, values[:, :3], atol=1e-10)
    np.testing.assert_allclose(series.shift, values[:, 3:5])
    np.testing.assert_array_equal(series.order, [2, 0, 1])
    np.testing.assert_array_equal(series.exposure, 2)
    assert series.defocus is not None
    np.testing.assert_allclose(series.defocus[:, 2], np.deg2rad(values[:, 8]))
    images = read_tilt_images(series[[2, 0]])
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, data[[2, 0]])


def test_matrices_give_the_same_geometry_as_the_angles(tmp_path: Path, rng: np.random.Generator) -> None:
    values, rows = angle_rows(rng)
    tilt_star(tmp_path, ANGLES, rows)
    path = global_star(tmp_path)
    by_angles = read_tomograms_star(path, image_shape=SHAPE)
    P = by_angles.projection_matrices(SIZE)
    columns = ["rlnTomoProjX", "rlnTomoProjY", "rlnTomoProjZ", "rlnTomoProjW"]
    text = [["[" + ",".join(f"{v:.10f}" for v in row) + "]" for row in matrix] for matrix in P]
    tilt_star(tmp_path, columns, text)
    by_matrices = read_tomograms_star(path, image_shape=SHAPE)
    np.testing.assert_allclose(by_matrices.projection_matrices(SIZE), P, atol=1e-7)
    np.testing.assert_allclose(by_matrices.shift, values[:, 3:5], atol=1e-6)


@pytest.mark.parametrize("tilt", [0.0, 1.0, -1.2, np.pi / 2, -np.pi / 2])
def test_the_angles_of_a_rotation_make_it_again(tilt: float) -> None:
    R = about_z(2.5) @ about_y(tilt) @ about_x(0.3)
    x, y, z = angles_of(R)
    np.testing.assert_allclose(about_z(z) @ about_y(y) @ about_x(x), R, atol=1e-12)


def test_a_series_is_chosen_by_name(tmp_path: Path, rng: np.random.Generator) -> None:
    for name in ("TS_1", "TS_2"):
        tilt_star(tmp_path, ANGLES, angle_rows(rng)[1], name)
    path = global_star(tmp_path, ("TS_1", "TS_2"))
    with pytest.raises(DataError, match=r"rlnTomoName: expected the name of one of TS_1, TS_2"):
        read_tomograms_star(path, image_shape=SHAPE)
    with pytest.raises(DataError, match=r"'TS_3' of TS_1, TS_2"):
        read_tomograms_star(path, "TS_3", image_shape=SHAPE)
    assert len(read_tomograms_star(path, "TS_2", image_shape=SHAPE)) == 3


def test_what_is_missing_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    path = global_star(tmp_path)
    with pytest.raises(DataError, match=r"rlnTomoTiltSeriesStarFile: expected a file, found none at tilt_series/TS_1"):
        read_tomograms_star(path)
    tilt_star(tmp_path, ["rlnTomoYTilt"], [["0"]])
    with pytest.raises(DataError, match=r"TS_1\.star: columns: .*none named rlnTomoZRot"):
        read_tomograms_star(path, image_shape=SHAPE)
    tilt_star(tmp_path, ANGLES, angle_rows(rng)[1])
    with pytest.raises(DataError, match="image shape"):
        read_tomograms_star(path)
    columns = ["rlnTomoProjX", "rlnTomoProjY", "rlnTomoProjZ", "rlnTomoProjW"]
    tilt_star(tmp_path, columns, [["[1,0,0,0]", "[0,-1,0,0]", "[0,0,1,0]", "[0,0,0,1]"]])
    with pytest.raises(DataError, match="of tilt 1: expected a right-handed rotation"):
        read_tomograms_star(path, image_shape=SHAPE)
    tilt_star(tmp_path, columns, [["[1,0,0]", "[0,1,0,0]", "[0,0,1,0]", "[0,0,0,1]"]])
    with pytest.raises(DataError, match="four numbers"):
        read_tomograms_star(path, image_shape=SHAPE)
    for number in ("000000", "abc", "-1"):
        rows = [[f"{number}@stack.mrcs", *row[1:]] for row in angle_rows(rng)[1]]
        tilt_star(tmp_path, ANGLES, rows)
        with pytest.raises(DataError, match="rlnMicrographName: expected NUMBER@FILE, counted from 1"):
            read_tomograms_star(path, image_shape=SHAPE)
    tilt_star(tmp_path, ANGLES, angle_rows(rng)[1])
    path.write_text(path.read_text().replace(" 3.5 ", " 3,5 "))
    with pytest.raises(DataError, match=r"rlnTomoTiltSeriesPixelSize: expected a number, found '3,5'"):
        read_tomograms_star(path, image_shape=SHAPE)


TOMOSTAR = """
data_

loop_
_wrpMovieName #1
_wrpAngleTilt #2
_wrpAxisAngle #3
_wrpDose #4
_wrpAxisOffsetX #5
_wrpAxisOffsetY #6
  frames/b.mrc   -3.02  -95.5   3.0   4.0  -6.5
  frames/a.mrc    0.00  -95.5   0.0   0.0   1.5
"""


def test_tomostar_of_warp(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "TS_1.tomostar"
    path.write_text(TOMOSTAR)
    (tmp_path / "frames").mkdir()
    images = rng.normal(size=(2, *SHAPE)).astype(np.float32)
    for name, image in zip("ba", images, strict=True):
        with mrcfile.new(tmp_path / "frames" / f"{name}.mrc") as mrc:
            mrc.set_data(image)
    series = read_tilt_series(path, pixel=2.0)
    np.testing.assert_allclose(np.rad2deg(series.tilt), [-3.02, 0])
    np.testing.assert_allclose(np.rad2deg(series.axis), -95.5)
    np.testing.assert_allclose(series.shift, [[4, -6.5], [0, 1.5]])
    np.testing.assert_array_equal(series.order, [1, 0])
    np.testing.assert_array_equal(read_tilt_images(series), images)
    (tmp_path / "ts.mdoc").write_text("[ZValue = 0]\nTiltAngle = 0\nExposureDose = 2\nPriorRecordDose = 4\n")
    with pytest.raises(ConfigError, match="doses: expected images in one stack"):
        read_tilt_series(path, pixel=2.0, doses=tmp_path / "ts.mdoc")
    with pytest.raises(ConfigError, match=r"input\.exclude: expected images in one stack"):
        series_of(TiltInput(path=path, pixel_a=2.0, exclude=(1,)))


def test_doses_of_an_mdoc_join_an_alignment(tmp_path: Path) -> None:
    (tmp_path / "ts.xf").write_text("1 0 0 1 0 0\n" * 3)
    (tmp_path / "ts.tlt").write_text("-3\n0\n3\n")
    sections = [
        f"[ZValue = {z}]\nTiltAngle = 0\nExposureDose = 2\nPriorRecordDose = {d}\n" for z, d in ((0, 4), (1, 0), (2, 2))
    ]
    (tmp_path / "ts.mdoc").write_text("".join(sections))
    series = read_tilt_series(tmp_path / "ts.xf", pixel=1.0, image_shape=SHAPE, doses=tmp_path / "ts.mdoc")
    np.testing.assert_array_equal(series.dose, [4, 0, 2])
    (tmp_path / "ts.mdoc").write_text("".join(sections[:2]))
    with pytest.raises(DataError, match="none for section 2"):
        read_tilt_series(tmp_path / "ts.xf", pixel=1.0, image_shape=SHAPE, doses=tmp_path / "ts.mdoc")


def test_images_that_do_not_fit_are_named(tmp_path: Path, rng: np.random.Generator) -> None:
    data = stack(tmp_path, rng, "int16")
    file = tmp_path / "stack.mrcs"
    series = TiltSeries(np.zeros(3), 1.0, SHAPE, paths=(str(file),))
    np.testing.assert_array_equal(read_tilt_images(series), data)
    with pytest.raises(DataError, match="expected section 5"):
        read_tilt_images(series.replace(section=np.array([0, 1, 5])))
    with pytest.raises(DataError, match="image shape"):
        read_tilt_images(series.replace(image_shape=(60, 60)))
    with pytest.raises(DataError, match="images: expected a stack"):
        read_tilt_images(series.replace(paths=()))
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(DataError, match="cut short"):
        read_tilt_images(series)


def test_unknown_suffixes_and_missing_pixel_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a tilt series \(\.xf"):
        read_tilt_series(tmp_path / "ts.tlt")
    with pytest.raises(ConfigError, match="expected the pixel size"):
        read_tilt_series(tmp_path / "ts.aln")
