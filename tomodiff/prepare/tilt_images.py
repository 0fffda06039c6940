"""Images of a tilt series made ready for a tomogram: binned, of zero mean, turned so that the tilt axis is vertical."""

from __future__ import annotations

import numpy as np
import scipy.ndimage

from tomodiff.array import block_mean
from tomodiff.errors import DataError
from tomodiff.geometry.tilt import TiltSeries

NORMALISATIONS = ("mean", "mean-variance", "none")


def bin_images(images: np.ndarray, series: TiltSeries, factor: int) -> tuple[np.ndarray, TiltSeries]:
    """Images (n, row, column) whose pixels average factor x factor old ones, and the series that describes them.

    Rows and columns beyond the last whole bin are dropped.
    """
    check_images(images, series)
    if factor == 1:
        return images, series
    rows, columns = (n // factor for n in series.image_shape)
    if factor < 1 or rows < 2 or columns < 2:
        raise ValueError(f"bin: expected 1 to {min(series.image_shape) // 2}, found {factor}")
    binned = block_mean(images, factor, dtype=images.dtype)
    moved = [(n // 2 - (factor - 1) / 2) / factor - (n // factor) // 2 for n in series.image_shape[::-1]]
    pixel = series.pixel * factor
    volume = None if series.volume_shape is None else tuple(max(1, n // factor) for n in series.volume_shape)
    return binned, series.replace(
        pixel=pixel,
        image_shape=(rows, columns),
        shift=series.shift + np.array(moved) * pixel,
        volume_shape=volume,
    )


def normalised(images: np.ndarray, how: str = "mean-variance") -> np.ndarray:
    """Images of mean 0 ("mean"), and of standard deviation 1 too ("mean-variance"), each by itself.

    A constant image becomes zero.
    """
    if how not in NORMALISATIONS:
        raise ValueError(f"normalise: expected one of {', '.join(NORMALISATIONS)}, found {how!r}")
    if how == "none":
        return images
    out = images - images.mean(axis=(1, 2), keepdims=True, dtype=np.float64).astype(images.dtype)
    if how == "mean":
        return out
    deviation = np.sqrt(np.mean(out * out, axis=(1, 2), keepdims=True, dtype=np.float64))
    return out * np.where(deviation > 0, 1 / np.where(deviation > 0, deviation, 1), 0).astype(images.dtype)


def tapered(images: np.ndarray, width: int) -> np.ndarray:
    """Images that fall to zero over `width` pixels at each border like a cosine; expects images of zero mean."""
    rows, columns = images.shape[1:]
    if not 0 <= width <= min(rows, columns) // 2:
        raise ValueError(f"taper: expected 0 to {min(rows, columns) // 2} pixels, found {width}")
    if width == 0:
        return images
    profiles = []
    for n in (rows, columns):
        inwards = np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5
        profiles.append(0.5 - 0.5 * np.cos(np.pi * np.clip(inwards / width, 0, 1)))
    return images * (profiles[0][:, None] * profiles[1]).astype(images.dtype)


def aligned_images(images: np.ndarray, series: TiltSeries) -> tuple[np.ndarray, np.ndarray, TiltSeries]:
    """Images with the tilt axis along their rows' direction through pixel n // 2, where they were measured, the series.

    Cubic splines (scipy.ndimage); outside of the measured image the value is its mean.  The mask (n, row, column) is
    False there, where neighbours were missing to interpolate from.  The shape of the images stays.
    """
    check_images(images, series)
    still = np.abs(series.axis) + np.abs(series.magnification - 1) < 1e-12
    if (still & (np.abs(series.shift).max(axis=1) < 1e-9 * series.pixel)).all():
        return images, np.ones(images.shape, bool), series
    out, inside = np.empty_like(images), np.empty(images.shape, bool)
    middle = np.array(series.image_shape) // 2
    grid = np.indices(series.image_shape) - middle[:, None, None]
    for i, image in enumerate(images):
        c, s = np.cos(series.axis[i]), np.sin(series.axis[i])
        to_raw = series.magnification[i] * np.array([[c, s], [-s, c]])  # (row, column) of Rz(axis)
        offset = middle + series.shift[i, ::-1] / series.pixel
        at = np.tensordot(to_raw, grid, 1) + offset[:, None, None]
        inside[i] = np.all([(p >= 0) & (p <= n - 1) for p, n in zip(at, series.image_shape, strict=True)], axis=0)
        out[i] = scipy.ndimage.map_coordinates(image, at, order=3, mode="mirror")
        out[i][~inside[i]] = image.mean(dtype=np.float64)
    flat = np.zeros(len(series))
    return out, inside, series.replace(axis=flat, shift=np.zeros((len(series), 2)), magnification=flat + 1)


def check_images(images: np.ndarray, series: TiltSeries) -> None:
    """Raise unless the images are floats (n, row, column) of the series, all finite."""
    shape = (len(series), *series.image_shape)
    if images.shape != shape:
        raise ValueError(f"images: expected shape {shape} (tilt, row, column), found {images.shape}")
    if images.dtype not in (np.float32, np.float64):
        raise TypeError(f"images: expected float32 or float64, found {images.dtype}")
    for i, image in enumerate(images):
        if not np.isfinite(image).all():
            bad = int((~np.isfinite(image)).sum())
            raise DataError("tilt images", f"image {i}", "finite numbers", f"{bad} that are not")
