"""Images of the sky (FITS with a celestial WCS), as parallel lines of sight through a box around an object."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tomodiff.errors import DataError


@dataclass(frozen=True, eq=False)
class SkyImage:
    """values (row, column), NaN where nothing was measured, and where each pixel is, in arc seconds east and north
    of the place `centre` (right ascension, declination in degrees), on the plane that touches the sky there."""

    path: Path
    values: np.ndarray
    east: np.ndarray
    north: np.ndarray
    centre: tuple[float, float]


def read_sky_image(path: Path, centre: tuple[float, float] | None = None, hdu: int | str | None = None) -> SkyImage:
    """An image, about a place on the sky, its own middle if None.  hdu: of the file, None for the first that is an
    image. DataError for what is no image or has no celestial coordinates."""
    from astropy.coordinates import SkyCoord
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyUserWarning
    from astropy.wcs import WCS, FITSFixedWarning, NoConvergence

    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore", FITSFixedWarning)
            warnings.filterwarnings("error", message=".*truncated", category=AstropyUserWarning)
            opened = fits.open(file, memmap=False)
            found = [one for one in opened if one.is_image and one.data is not None] if hdu is None else [opened[hdu]]
            if not found or found[0].data is None:
                raise DataError(path, "image", "an HDU with an image", "none")
            values, wcs = np.squeeze(np.asarray(found[0].data, np.float64)), WCS(found[0].header).celestial
    except (OSError, ValueError, KeyError, IndexError, TypeError, AstropyUserWarning) as error:
        raise DataError(path, "image", "a FITS image with celestial coordinates", str(error)) from error
    if values.ndim != 2:
        raise DataError(path, "image", "two axes", str(values.shape))
    if not wcs.has_celestial:
        raise DataError(path, "WCS", "celestial coordinates (CTYPE RA---TAN, DEC--TAN or others)", "none")
    if not np.isfinite(values).any():
        raise DataError(path, "image", "some finite values", "none")
    rows, columns = np.mgrid[: values.shape[0], : values.shape[1]]
    try:
        places = wcs.pixel_to_world(columns, rows)
        if not isinstance(places, SkyCoord):
            raise ValueError(f"coordinates of the kind {type(places).__name__}")
        places = places.icrs
        if centre is None:
            row, column = (values.shape[0] - 1) / 2, (values.shape[1] - 1) / 2
            middle = wcs.pixel_to_world(column, row).icrs
            centre = float(middle.ra.deg), float(middle.dec.deg)
    except (ValueError, NoConvergence) as error:
        raise DataError(path, "WCS", "coordinates that can be followed", str(error)) from error
    east, north = tangent(places.ra.rad, places.dec.rad, *np.radians(centre))
    return SkyImage(path, values, east, north, centre)


def tangent(
    ascension: np.ndarray, declination: np.ndarray, ascension0: float, declination0: float
) -> tuple[np.ndarray, np.ndarray]:
    """Arc seconds east and north, on the plane that touches the sky at a place, of others; all in radians (Calabretta
    and Greisen 2002, A&A 395, 1077, section 5.1.3)."""
    turn = ascension - ascension0
    ahead = np.sin(declination) * np.sin(declination0) + np.cos(declination) * np.cos(declination0) * np.cos(turn)
    with np.errstate(divide="ignore", invalid="ignore"):
        east = np.where(ahead > 0, np.cos(declination) * np.sin(turn) / ahead, np.nan)
        up = np.sin(declination) * np.cos(declination0) - np.cos(declination) * np.sin(declination0) * np.cos(turn)
        north = np.where(ahead > 0, up / ahead, np.nan)
    arcsec = np.degrees(1) * 3600
    return east * arcsec, north * arcsec
