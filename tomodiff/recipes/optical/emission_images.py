"""From files to what `fit_emission` takes: rays and values of photographs, scans and images of the sky, and their
grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tomodiff.errors import ConfigError, DataError
from tomodiff.files import read, read_volume
from tomodiff.files.photographs import read_views
from tomodiff.files.sky_images import read_sky_image
from tomodiff.geometry import Grid
from tomodiff.projectors.axial import Axial
from tomodiff.recipes.optical.box import box_grid, looked_at
from tomodiff.recipes.optical.emission import Seen
from tomodiff.recipes.optical.emission_settings import Axis, EmissionSettings

CHANNELS = ("red", "green", "blue")
Image = tuple[str, np.ndarray]
"""A name, and the values (row, column) of a picture, NaN where nothing was measured."""


def images_of(settings: EmissionSettings, folder: Path) -> tuple[list[Seen], list[Image], Grid]:
    """What is seen, the pictures it came from in the same order, and the grid.  DataError for what cannot be read."""
    if settings.images.photographs is not None:
        return _photographs(settings, folder / settings.images.photographs)
    if settings.images.scan is not None:
        return _scan(settings, folder / settings.images.scan)
    return _sky(settings, [folder / path for path in settings.images.sky or ()])


def _photographs(settings: EmissionSettings, path: Path) -> tuple[list[Seen], list[Image], Grid]:
    seen, pictures, cameras = [], [], []
    chosen, bin = settings.images.channel, settings.images.bin
    for view in read_views(path):
        values = view.numbers(bin)
        camera = view.camera if bin == 1 else view.camera.smaller(bin)
        origins, directions = camera.rays()
        cameras.append(camera)
        if chosen == "all":
            shown = [(name, values[..., min(k, values.shape[2] - 1)], k) for k, name in enumerate(CHANNELS)]
        elif chosen == "mean":
            shown = [("", values.mean(axis=2), 0)]
        else:
            shown = [("", values[..., min(CHANNELS.index(chosen), values.shape[2] - 1)], 0)]
        for name, picture, band in shown:
            pictures.append((f"{view.path.stem} {name}".strip(), picture))
            seen.append(Seen(origins, directions, picture.ravel(), band=band))
    low_high = None
    if settings.box is None:
        try:
            centre, half = looked_at(cameras)
        except ValueError as error:
            raise ConfigError(f"box: {path}: {error}") from error
        low_high = centre - half, centre + half
    return seen, pictures, _grid(settings, low_high)


def _scan(settings: EmissionSettings, path: Path) -> tuple[list[Seen], list[Image], Grid]:
    dataset = read(path)
    scan = dataset.scan
    if scan.kind != "parallel":
        raise DataError(path, "geometry", "a parallel beam, each pixel looking along its collimator", scan.kind)
    data = np.asarray(dataset.data, np.float64)
    high, wide = data.shape[1] * scan.pixel[0], data.shape[2] * scan.pixel[1]
    half = np.array([wide, wide, high]) / 2
    origins, directions = (np.asarray(a, np.float64).reshape(-1, 3) for a in np.broadcast_arrays(*scan.rays()))
    middle = origins - (origins * directions).sum(axis=1, keepdims=True) * directions
    seen = [Seen(middle + 2 * max(high, wide) * directions, -directions, data.ravel())]
    return seen, [(f"view {k}", picture) for k, picture in enumerate(data)], _grid(settings, (-half, half))


def _sky(settings: EmissionSettings, paths: list[Path]) -> tuple[list[Seen], list[Image], Grid]:
    factors = {}
    for name in ("emission", "extinction"):
        given = getattr(settings.bands, name)
        if given is not None and len(given) != len(paths):
            raise ConfigError(f"bands.{name}: expected {len(paths)} numbers, one for each image, got {len(given)}")
        factors[name] = given or (1.0,) * len(paths)
    centre, found = settings.images.centre_deg, []
    for path in paths:
        found.append(read_sky_image(path, centre))
        centre = found[0].centre
    known = [np.isfinite(image.values) & np.isfinite(image.east) for image in found]
    corners = [np.array([[a[k].min(), a[k].max()] for a in (image.east, image.north)])
               for image, k in zip(found, known, strict=True)]  # fmt: skip
    low, high = np.min([c[:, 0] for c in corners], axis=0), np.max([c[:, 1] for c in corners], axis=0)
    deep = max(*(high - low)) / 2
    grid = _grid(settings, (np.append(low, -deep), np.append(high, deep)))
    before = grid.coordinates()[2].min() - 2 * max(grid.spacing)
    seen = []
    for k, (image, inside) in enumerate(zip(found, known, strict=True)):
        east, north = image.east[inside], image.north[inside]
        origins = np.stack([east, north, np.full(east.size, before)], axis=1)
        seen.append(Seen(
            origins, np.tile([0.0, 0.0, 1.0], (east.size, 1)), image.values[inside], factors["emission"][k],
            factors["extinction"][k], k if settings.bands.separate else 0,
        ))  # fmt: skip
    return (
        seen,
        [(image.path.stem, np.where(k, image.values, np.nan)) for image, k in zip(found, known, strict=True)],
        grid,
    )


def _grid(settings: EmissionSettings, seen: tuple[np.ndarray, np.ndarray] | None) -> Grid:
    """Over the box that is given, or that is seen."""
    if settings.box is None:
        assert seen is not None
        return box_grid(*seen, settings.voxels)
    low, high = np.array(settings.box[::2]), np.array(settings.box[1::2])
    if not (high > low).all():
        raise ConfigError(f"box: expected xmin < xmax, ymin < ymax, zmin < zmax, got {settings.box}")
    return box_grid(low, high, settings.voxels)


def axial_of(axis: Axis | None, grid: Grid) -> Axial | None:
    """The symmetry that is asked for.  On the sky x is east, y is north and z is away from us."""
    if axis is None:
        return None
    if axis.direction is not None:
        direction = np.array(axis.direction)
    else:
        turn, tilt = np.radians([axis.position_angle_deg or 0.0, axis.tilt_deg])
        direction = np.array([np.cos(tilt) * np.sin(turn), np.cos(tilt) * np.cos(turn), np.sin(tilt)])
    try:
        return Axial(grid, tuple(direction), axis.through, mirror=axis.mirror)
    except ValueError as error:
        raise ConfigError(f"axis: {error}") from error


def absorption_of(settings: EmissionSettings, folder: Path, grid: Grid) -> np.ndarray | str | None:
    """What is known of absorption: nothing of it, a volume on the grid, or that it is to be sought."""
    if settings.absorption == "none":
        return None
    if settings.absorption == "fit":
        return "fit"
    path = folder / Path(settings.absorption)
    values, found, _ = read_volume(path)
    same = values.shape == grid.shape and np.allclose(found.spacing, grid.spacing, rtol=1e-3)
    if not same or not np.isfinite(values).all() or values.min() < 0:
        expected = f"{grid.shape} voxels of {grid.spacing[0]:g}, finite and at least 0 (give box and voxels to suit)"
        raise DataError(path, "absorption", expected, f"{values.shape} of {found.spacing}")
    return np.asarray(values, np.float32)
