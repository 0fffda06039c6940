"""Rasters on a map: GeoTIFF, COG, ISIS cubes, PDS and what else GDAL reads, through rasterio; FITS through astropy."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import DataError
from tomodiff.extras import library
from tomodiff.files.atomic import replacing
from tomodiff.geometry.map_grid import MapGrid

FITS = (".fits", ".fit", ".fts")
NODATA = -3.4028226550889045e38
"""What ISIS and Ames Stereo Pipeline write where there is nothing."""
SPECIAL = -3.4028226e38
"""Reals below are special pixels of ISIS: null, saturated low or high."""


@dataclass(frozen=True, eq=False)
class Raster:
    """values (ny, nx), NaN where there is nothing; saturated: the elements that were so by their file's own mark.

    projected: whether the file says where the map lies (else its grid counts elements from its lower left corner).
    """

    path: Path
    values: np.ndarray
    grid: MapGrid
    projected: bool
    unit: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    saturated: int = 0


def read_raster(path: Path, band: int | None = None) -> Raster:
    """One band of a raster, scale and offset applied; without `band` the first, or the mean of red, green and blue.

    Raises DataError where the file cannot be read or holds nothing.
    """
    found = _read_fits(path, band) if path.suffix.lower() in FITS else _read_gdal(path, band)
    if not np.isfinite(found.values).any():
        raise DataError(path, f"band {band or 1}", "at least one number", "only nodata, NaN or special pixels")
    return found


def _read_gdal(path: Path, band: int | None) -> Raster:
    with opened(path) as source:
        coloured = band is None and [c.name for c in source.colorinterp[:3]] == ["red", "green", "blue"]
        if coloured:
            grid, projected = _grid(path, source)
            stored = source.read((1, 2, 3), masked=True).astype(np.float64).filled(np.nan)
            scale, offset = (np.array(told[:3])[:, None, None] for told in (source.scales, source.offsets))
            return Raster(path, (stored * scale + offset).mean(0), grid, projected, None, dict(source.tags()))
        band = band or 1
        if not 1 <= band <= source.count:
            raise DataError(path, "bands", f"a band {band}", f"{source.count}")
        stored = source.read(band, masked=True)
        if stored.dtype.kind == "c":
            raise DataError(path, f"band {band}", "real numbers", str(stored.dtype))
        values = stored.astype(np.float64).filled(np.nan)
        # GDAL masks all special pixels, so that those of them that are saturated are to be seen beneath the mask alone.
        raw = stored.data.astype(np.float64) if stored.dtype.kind == "f" else np.zeros(values.shape)
        special, saturated = raw < SPECIAL, int((raw < NODATA * (1 + 1e-8)).sum())
        values[special | ~np.isfinite(values)] = np.nan
        values = values * source.scales[band - 1] + source.offsets[band - 1]
        grid, projected = _grid(path, source)
        tags = {**source.tags(), **source.tags(band), **source.tags(ns="IMD"), **source.tags(ns="IMAGERY")}
        return Raster(path, values, grid, projected, source.units[band - 1], tags, saturated)


def _grid(path: Path, source: Any) -> tuple[MapGrid, bool]:
    """The grid of a raster, and whether its file tells it."""
    t, shape = source.transform, (source.height, source.width)
    crs = None if source.crs is None else source.crs.to_wkt()
    if t.is_identity or (crs is None and source.gcps[0]):
        return MapGrid(shape, (1, 0, 0, 0, -1, shape[0]), None, str(path)), False
    return MapGrid(shape, (t.a, t.b, t.c, t.d, t.e, t.f), crs, str(path)), True


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A raster as rasterio opens it.  Raises DataError where it does not."""
    rasterio = _rasterio()
    if not path.exists():
        raise DataError(path, "", "a raster file", "no file of that name")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                yield source
    except rasterio.errors.RasterioError as error:
        raise DataError(path, "", "a raster that GDAL reads", " ".join(str(error).split())) from error


def _rasterio() -> Any:
    for part in ("rasterio.errors", "rasterio.warp"):
        library(part, "planetary", "maps and planetary images need", "rasterio")
    return library("rasterio", "planetary", "maps and planetary images need")


def _read_fits(path: Path, band: int | None) -> Raster:
    """An image of a FITS file, whose first row is the lowest; its header is the tags."""
    from astropy.io import fits

    if not path.exists():
        raise DataError(path, "", "a FITS file", "no file of that name")
    try:
        with fits.open(path, memmap=False) as units:
            images = [unit for unit in units if unit.data is not None and getattr(unit.data, "ndim", 0) >= 2]
            if not images:
                raise DataError(path, "", "an image", "no unit with an image")
            data = np.asarray(images[0].data, np.float64)
            header = {str(k): str(v) for k, v in images[0].header.items() if k}
    except (OSError, ValueError, TypeError) as error:
        raise DataError(path, "", "a FITS file", " ".join(str(error).split())) from error
    data = data.reshape(-1, *data.shape[-2:])
    band = band or 1
    if not 1 <= band <= len(data):
        raise DataError(path, "bands", f"a band {band}", str(len(data)))
    values = data[band - 1, ::-1].copy()
    values[~np.isfinite(values)] = np.nan
    step = [abs(float(header.get(name, 1))) or 1.0 for name in ("CDELT1", "CDELT2")]
    shape = (values.shape[0], values.shape[1])
    grid = MapGrid(shape, (step[0], 0, 0, 0, -step[1], step[1] * shape[0]), None, str(path))
    return Raster(path, values, grid, "CDELT1" in header, header.get("BUNIT"), header)


def onto_grid(raster: Raster, grid: MapGrid) -> np.ndarray:
    """The raster's values on another grid (ny, nx), NaN beyond it and beside holes.

    Where the grids agree up to whole elements they are copied; else elements that are finer than the grid's are
    averaged, others interpolated by cubics.  A raster without place must have the grid's shape.  Raises DataError
    where a projection is missing.
    """
    if not raster.projected:
        part = _whole_shift(raster.grid, grid)
        if part is not None:  # a part of a picture like this one
            return _shifted(raster.values, grid.shape, *part)
        if raster.grid.shape != grid.shape:
            raise DataError(
                raster.path, "georeference", "a map projection, or the shape of the DEM "
                f"({grid.shape[0]} x {grid.shape[1]})", f"none, and {raster.grid.shape[0]} x {raster.grid.shape[1]}",
            )  # fmt: skip
        return raster.values
    if (raster.grid.crs is None) != (grid.crs is None):
        without = raster.path if raster.grid.crs is None else grid.name
        other = grid.name if raster.grid.crs is None else raster.path
        raise DataError(without, "projection", f"one, as {other} has", "none: it cannot be told where the two overlap")
    shift = _whole_shift(raster.grid, grid)
    if shift is not None:
        return _shifted(raster.values, grid.shape, *shift)
    rasterio = _rasterio()
    made = np.full(grid.shape, np.nan)
    flat = "EPSG:3857"  # two maps without a projection share one plane; any plane will do
    source, target = raster.grid.crs or flat, grid.crs or flat
    finer = raster.grid.spacing[0] < 0.75 * grid.spacing[0]
    way = rasterio.warp.Resampling.average if finer else rasterio.warp.Resampling.cubic
    rasterio.warp.reproject(
        raster.values, made, src_transform=_affine(raster.grid), src_crs=source, src_nodata=np.nan,
        dst_transform=_affine(grid), dst_crs=target, dst_nodata=np.nan, resampling=way,
    )  # fmt: skip
    return made


def _affine(grid: MapGrid) -> Any:
    return _rasterio().Affine(*grid.transform)


def _whole_shift(a: MapGrid, b: MapGrid) -> tuple[int, int] | None:
    """The row and column of `a` at which `b` begins, where their elements coincide; else None."""
    if a.crs != b.crs and not _same_crs(a.crs, b.crs):
        return None
    size = b.transform[0], b.transform[4]
    if not np.allclose((a.transform[0], a.transform[4]), size, rtol=1e-7):
        return None
    column, row = (b.transform[2] - a.transform[2]) / size[0], (b.transform[5] - a.transform[5]) / size[1]
    whole = round(row), round(column)
    return whole if max(abs(row - whole[0]), abs(column - whole[1])) < 1e-3 else None


def _same_crs(a: str | None, b: str | None) -> bool:
    if a is None or b is None:
        return a is b
    first, second = (_rasterio().crs.CRS.from_user_input(text) for text in (a, b))
    # GeoTIFF keeps the meaning of the IAU's polar systems, but not all of their wording.
    return bool(first == second or (first.to_proj4() and first.to_proj4() == second.to_proj4()))


def _shifted(values: np.ndarray, shape: tuple[int, int], row: int, column: int) -> np.ndarray:
    made = np.full(shape, np.nan)
    (ny, nx), (my, mx) = shape, values.shape
    rows, columns = slice(max(0, -row), min(ny, my - row)), slice(max(0, -column), min(nx, mx - column))
    if rows.stop > rows.start and columns.stop > columns.start:
        made[rows, columns] = values[rows.start + row : rows.stop + row, columns.start + column : columns.stop + column]
    return made


def write_raster(
    path: Path, values: np.ndarray, grid: MapGrid | None, unit: str = "", description: str = "",
    rpc: Any = None,
) -> None:  # fmt: skip
    """A GeoTIFF with the grid's projection, NaN as the nodata value of ISIS and Ames Stereo Pipeline; appears whole.

    grid: None for an image that lies on no map; rpc: its camera, as rasterio has it.
    """
    rasterio = _rasterio()
    stored = np.where(np.isfinite(values), values, NODATA).astype(np.float32)
    profile = {
        "driver": "GTiff", "height": values.shape[0], "width": values.shape[1], "count": 1, "dtype": "float32",
        "nodata": NODATA, "compress": "deflate", "predictor": 3,
    }  # fmt: skip
    if grid is not None:
        profile |= {"crs": grid.crs, "transform": _affine(grid)}
    if rpc is not None:
        profile["rpcs"] = rpc
    if min(values.shape) >= 256:
        profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
    with replacing(path, stored.nbytes) as temporary:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                with rasterio.open(temporary, "w", **profile) as target:
                    target.write(stored, 1)
                    target.set_band_description(1, description)
                    target.set_band_unit(1, unit)
        except rasterio.errors.RasterioError as error:
            raise OSError(str(error)) from error
