"""What must agree before particles of different groups and files are used as one set."""

from __future__ import annotations

from pathlib import Path

from tomodiff.errors import DataError
from tomodiff.files.cryoem.stack import Stack
from tomodiff.particles import Optics

SAME_PIXEL = 1e-4
"""Relative difference of pixel sizes that passes for rounding of single precision and six decimals."""
CALIBRATED = 0.05
"""Pixel sizes are recalibrated by some per cent after extraction, and the stack's header keeps the old one; a larger
difference is another binning or a wrong stack."""
NOTICED = 0.005
DEFAULT_PIXEL = 1.0
"""Programs that know no pixel size write this one."""


def check_pixels(path: Path | str, optics: tuple[Optics, ...]) -> None:
    """DataError where optics groups have images of different pixel sizes."""
    first = optics[0]
    for other in optics[1:]:
        if abs(other.pixel - first.pixel) > SAME_PIXEL * first.pixel:
            raise DataError(
                path,
                f"pixel size of optics group {other.name}",
                f"{first.pixel:g} angstrom as of {first.name}",
                f"{other.pixel:g}",
                "Reconstruct the groups one by one, or scale their images to one pixel size.",
            )


def check_header_pixel(path: Path | str, optics: Optics, images: Stack) -> list[str]:
    """A warning, or DataError, where the stack's header tells another pixel size than the particles' file."""
    header = images.pixel
    if header in (0.0, DEFAULT_PIXEL):
        return []
    off = abs(header - optics.pixel) / optics.pixel
    if off > CALIBRATED:
        expected = f"{header:g} angstrom as in the header of {images.paths[0]}"
        hint = "Say which is right with pixel=."
        raise DataError(path, f"pixel size of optics group {optics.name}", expected, f"{optics.pixel:g}", hint)
    if off > NOTICED:
        return [f"{path}: pixel size {optics.pixel:g} angstrom, in the header of {images.paths[0]} {header:g}"]
    return []


def check_boxes(path: Path | str, images: Stack) -> None:
    """DataError for images with an odd number of pixels along a side: RELION moves those by a pixel."""
    box = images.shape[1]
    if box % 2:
        hint = "Extract them again, or crop them, with an even box."
        raise DataError(path, f"box of {images.paths[0]}", "an even number of pixels", f"{box}", hint)
