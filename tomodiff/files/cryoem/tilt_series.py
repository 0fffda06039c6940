"""Tilt series from any file that tells their alignment, and their images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import ConfigError, DataError
from tomodiff.files.cryoem.mrc import mapped, read_header
from tomodiff.files.cryoem.tilt_aretomo import read_aln
from tomodiff.files.cryoem.tilt_imod import read_imod
from tomodiff.files.cryoem.tilt_mdoc import read_mdoc
from tomodiff.files.cryoem.tilt_relion import read_tomograms_star, read_tomostar
from tomodiff.geometry.tilt import TiltSeries

SUFFIXES = (".xf", ".aln", ".mdoc", ".star", ".tomostar")


def read_tilt_series(path: Path | str, *, doses: Path | str | None = None, **options: Any) -> TiltSeries:
    """The series that a file aligns: IMOD's .xf, AreTomo's .aln, RELION's .star, Warp's .tomostar, SerialEM's .mdoc.

    doses: an .mdoc from which doses and order are taken, section by section, for formats without.  The options are
    those of `read_imod`, `read_aln`, `read_tomograms_star`, `read_tomostar` and `read_mdoc`.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(f"{path}: expected a tilt series ({', '.join(SUFFIXES)}), found {suffix or 'no suffix'}")
    if suffix in (".xf", ".aln", ".tomostar") and "pixel" not in options:
        raise ConfigError(
            f"{path}: expected the pixel size of the images in angstrom, which {suffix} files do not tell"
        )
    readers = {
        ".xf": read_imod,
        ".aln": read_aln,
        ".mdoc": read_mdoc,
        ".star": read_tomograms_star,
        ".tomostar": read_tomostar,
    }
    series: TiltSeries = readers[suffix](path, **options)  # type: ignore[operator]
    return series if doses is None else with_doses(series, read_mdoc(doses, pixel=series.pixel, image_shape=(1, 1)))


def with_doses(series: TiltSeries, record: TiltSeries) -> TiltSeries:
    """The series with the doses and the order that another series tells of the same sections."""
    expect_one_stack("doses", series)
    places = {int(section): i for i, section in enumerate(record.section)}
    missing = [int(s) for s in series.section if int(s) not in places]
    if missing:
        raise DataError("doses", "ZValue", "every section of the series", f"none for section {missing[0]}")
    index = np.array([places[int(s)] for s in series.section])
    return series.replace(
        dose=record.dose[index],
        exposure=record.exposure[index],
        order=np.argsort(np.argsort(record.order[index])),
        warnings=(*series.warnings, *record.warnings),
    )


def expect_one_stack(name: str, series: TiltSeries) -> None:
    """ConfigError, about the setting `name` that counts sections, where each image has a file of its own."""
    if len(np.unique(series.section)) < len(series):
        raise ConfigError(
            f"{name}: expected images in one stack, whose sections are counted, found a file for each image"
        )


def read_tilt_images(series: TiltSeries, stack: Path | str | None = None) -> np.ndarray:
    """The images (n, row, column) of a series, float32, from its paths or from `stack`, section by section.

    DataError for files that are missing, cut short, of complex numbers, or of another shape than the series.
    """
    paths = (str(stack),) if stack is not None else series.paths
    if not paths:
        raise DataError("tilt series", "images", "a stack, or the path of each image", "none", "Name the stack.")
    images = np.empty((len(series), *series.image_shape), np.float32)
    for path in dict.fromkeys(paths):
        which = [i for i in range(len(series)) if paths[i if len(paths) > 1 else 0] == path]
        _fill(images, Path(path), which, series.section)
    return images


def _fill(images: np.ndarray, path: Path, which: list[int], section: np.ndarray) -> None:
    """Read the images `which` of one file into their places."""
    data = mapped(read_header(path))
    if data.shape[1:] != images.shape[1:]:
        raise DataError(path, "image shape", f"{images.shape[1:]} (rows, columns)", str(data.shape[1:]))
    for i in which:
        if section[i] >= len(data):
            raise DataError(path, "sections", f"section {section[i]} (from 0)", f"{len(data)} sections")
        images[i] = data[section[i]]
