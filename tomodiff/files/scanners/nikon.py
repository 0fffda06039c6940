"""Nikon XT scanners: an .xtekct file (INI text) and the TIFF images that it names.

The geometry as the Core Imaging Library has it (Jorgensen et al. 2021, Phil. Trans. R. Soc. A 379, 20200192;
`NikonDataReader`, its tests on scanners of several years): the first row of an image is the top and the first column
the right one, seen along the beam, so that images are turned by 180 degrees here; the turntable's angle counts against
ours as long as it is the sample that turns.  The axis is where ObjectOffsetX says in mm at the sample (Inspect-X before
6.8), or CentreOfRotationTop and -Bottom in mm on the detector (since).  There are no flat fields: WhiteLevel is the
intensity without sample.
"""

from __future__ import annotations

from configparser import ConfigParser, Error
from pathlib import Path

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.source import Source
from tomodiff.files.stack import Constant, TurnedRound
from tomodiff.files.tiff import TiffStack, tiffs_in
from tomodiff.geometry import ConeBeam

SUFFIX = ".xtekct"
SECTION = "XTekCT"


class _Fields:
    """The settings of one file, by name, with errors that say where they are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        parser = ConfigParser(strict=False, interpolation=None, comment_prefixes=(";",))
        try:
            parser.read_string(path.read_text(encoding="latin-1"))
        except OSError as error:
            raise DataError(path, "", "a readable file", error.strerror or str(error)) from error
        except Error as error:
            first = str(error).splitlines()[0]
            raise DataError(path, "", f"settings under [{SECTION}]", first) from error
        if not parser.has_section(SECTION):
            raise DataError(path, "", f"settings under [{SECTION}]", ", ".join(parser.sections()) or "none")
        self._values = parser[SECTION]

    def text(self, name: str) -> str | None:
        """The value of a field; None where it is missing or empty."""
        return (self._values.get(name) or "").strip() or None

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number.  DataError where it is none, or missing without a default."""
        found = self.text(name)
        if found is None and default is not None:
            return default
        try:
            value = float(found or "")
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            raise DataError(self.path, name, "a number", repr(found) if found else "none")
        return value

    def positive(self, name: str) -> float:
        """A number above zero."""
        value = self.number(name)
        if value <= 0:
            raise DataError(self.path, name, "a number above 0", f"{value:g}")
        return value

    def count(self, name: str) -> int:
        """A whole number above zero."""
        value = self.positive(name)
        if value != int(value):
            raise DataError(self.path, name, "a whole number", f"{value:g}")
        return int(value)


def describe(path: Path) -> Source:
    """What an .xtekct file, or the only one in a folder, and the images beside it hold."""
    if path.is_dir():
        found = sorted(path.glob(f"*{SUFFIX}"))
        if len(found) != 1:
            raise DataError(path, "", f"one {SUFFIX} file in the folder", ", ".join(p.name for p in found))
        path = found[0]
    fields = _Fields(path)
    views, nv, nu = (fields.count(name) for name in ("Projections", "DetectorPixelsY", "DetectorPixelsX"))
    images = TiffStack(_images(fields, views), str(path))
    if images.shape[1:] != (nv, nu):
        raise DataError(path, "DetectorPixelsY, DetectorPixelsX", f"{images.shape[1:]}, as {images.files[0].name} has",
                        f"({nv}, {nu})")  # fmt: skip
    source = Source(path, "nikon", TurnedRound(images), kind="counts")
    source.flats = Constant(fields.positive("WhiteLevel"), (1, nv, nu), f"{path}:WhiteLevel")
    source.scan = _geometry(fields, views, (nv, nu))
    source.pixel = source.scan.pixel
    source.notes += [
        "images turned by 180 degrees (Nikon's first pixel is top right, seen along the beam)",
        f"flat field: WhiteLevel = {fields.number('WhiteLevel'):g} in every pixel",
    ]
    _check_angles(fields, views, source)
    for name, key in (("Name", "sample"), ("XraykV", "tube_kv"), ("XrayuA", "tube_ua"), ("Filter_Material", "filter")):
        value = fields.text(name)
        if value is not None:
            source.meta[key] = value
    return source


def _images(fields: _Fields, views: int) -> list[Path]:
    """The images that the file names: NAME, a separator, a number; as many as there are views."""
    folder = fields.path.parent / (fields.text("InputFolderName") or "").replace("\\", "/")
    if not folder.is_dir():
        folder = fields.path.parent  # a path of the scanner's own computer
    found, name = tiffs_in(folder), fields.text("Name") or fields.path.stem
    start = f"{name}{fields.text('InputSeparator') or ''}".lower()
    chosen = [p for p in found if p.name.lower().startswith(start) and p.stem[len(start) :].lstrip("_").isdigit()]
    chosen = chosen or found
    if len(chosen) < views:
        raise DataError(fields.path, "Projections", f"{views} TIFF images in {folder}", str(len(chosen)))
    return chosen[:views]


def _geometry(fields: _Fields, views: int, shape: tuple[int, int]) -> ConeBeam:
    near, far = fields.positive("SrcToObject"), fields.positive("SrcToDetector")
    if far <= near:
        raise DataError(fields.path, "SrcToDetector", f"more than SrcToObject, {near:g} mm", f"{far:g}")
    pixel = fields.positive("DetectorPixelSizeY"), fields.positive("DetectorPixelSizeX")
    top, bottom = fields.number("CentreOfRotationTop", 0.0), fields.number("CentreOfRotationBottom", 0.0)
    aside = fields.number("ObjectOffsetX", (top + bottom) / 2 * near / far)
    height = shape[0] * pixel[0]
    roll = np.deg2rad(fields.number("ObjectRoll", float(-np.rad2deg(np.arctan2(top - bottom, height)))))
    tilt = np.deg2rad(fields.number("ObjectTilt", 0.0))
    turned = np.arctan2(aside, near)  # from the detector's normal to the ray through the axis
    angles = np.deg2rad(fields.number("InitialAngle", 0.0) - 180) + turned + _steps(fields, views)
    try:
        return ConeBeam(
            angles, float(np.hypot(near, aside)), float(far / np.cos(turned)), shape, pixel,
            detector_offset=(0.0, aside * far / near), detector_tilt=(-roll, 0.0, -turned), axis_tilt=tilt,
        )  # fmt: skip
    except ValueError as error:
        raise DataError(fields.path, "geometry", "a cone beam", str(error)) from error


def _steps(fields: _Fields, views: int) -> np.ndarray:
    """The angles of the views from the first, in radians."""
    return np.deg2rad(fields.number("AngularStep", 360.0 / views)) * np.arange(views)


def _check_angles(fields: _Fields, views: int, source: Source) -> None:
    """Warn where the angles that the turntable told (_ctdata.txt) are not the equal steps of the plan."""
    file = fields.path.with_name(f"{fields.path.stem}_ctdata.txt")
    if not file.exists():
        return
    rows = [line.split("\t") for line in file.read_text(encoding="latin-1").splitlines()[3:]]
    try:
        told = np.array([float(row[1]) for row in rows if len(row) > 1])
    except ValueError:
        told = np.zeros(0)
    if len(told) != views:
        source.warnings.append(f"{file.name}: expected the angles of {views} views, found {len(told)}")
        return
    told, step = np.unwrap(np.deg2rad(told - told[0])), _steps(fields, views)
    off = np.abs(np.abs(told) - np.abs(step)).max()
    if off > 0.5 * np.abs(step[1:2]).max(initial=0):
        source.warnings.append(
            f"{file.name}: its angles are up to {np.rad2deg(off):.3g} degrees from the steps of {fields.path.name}, "
            "which were taken; give others with --angles"
        )
