"""Scans of RTK (Rit et al. 2014, J. Phys. Conf. Ser. 489, 012079): a geometry in XML, projections as ITK images.

RTK's axis is y and its source starts on +z; here (x, y, z) is (x, -z, y) there, and a gantry angle is an angle of ours.
Each projection's matrix maps mm of the room to mm on the detector, which origin and spacing of the image turn into
pixels.  A stack .mha or .mhd of floats holds line integrals, as RTK's own tools have it; raw projections of linacs
(.his, .hnd, .hnc, .xim) are read by RTK itself, which makes line integrals of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from tomodiff.errors import DataError
from tomodiff.extras import library
from tomodiff.files.source import Source
from tomodiff.files.stack import ArrayStack, Stack, check_frames
from tomodiff.files.tiff import natural
from tomodiff.files.volumes.itk import last_line
from tomodiff.geometry import ConeBeam, ParallelBeam, Scan, Vectors

IMAGES = (".mha", ".mhd")
LINAC = (".his", ".hnd", ".hnc", ".xim")
TO_OURS = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
STRAIGHT = ("SourceOffsetX", "SourceOffsetY", "InPlaneAngle", "OutOfPlaneAngle")
"""Parameters that are 0 where the source circles and the detector faces it upright."""


def describe(path: Path) -> Source:
    """What a geometry (.xml) or projections beside one hold."""
    geometry, images = _files(path)
    if images[0].suffix.lower() in IMAGES:
        stack: Stack = ItkStack(images[0])
        origin, spacing = stack.origin, stack.spacing  # type: ignore[attr-defined]
    else:
        stack, origin, spacing = _linac(images)
    source = Source(path, "rtk", stack)
    source.kind = "counts" if stack.dtype.kind in "iu" else "line_integrals"
    source.scan = read_xml(geometry, stack.shape, origin, spacing)
    source.pixel = source.scan.pixel
    source.notes.append(f"geometry of {geometry}")
    return source


def _files(path: Path) -> tuple[Path, list[Path]]:
    """The geometry and the projections that belong together."""
    folder = path if path.is_dir() else path.parent
    if path.suffix.lower() == ".xml":
        geometry = path
    else:
        named = path.with_suffix(".xml")
        found = [named] if named.exists() else sorted(folder.glob("*.xml"))
        if len(found) != 1:
            told = ", ".join(p.name for p in found) or "none"
            raise DataError(path, "geometry", "one RTK geometry (.xml) beside the projections", told)
        geometry = found[0]
    if path.suffix.lower() in IMAGES:
        return geometry, [path]
    for kinds in (IMAGES, LINAC):
        images = sorted((p for p in folder.iterdir() if p.suffix.lower() in kinds), key=natural)
        if images and (kinds == LINAC or len(images) == 1):
            return geometry, images
    wanted = f"one stack ({', '.join(IMAGES)}) or {', '.join(LINAC)} beside {geometry.name}"
    raise DataError(path, "projections", wanted, "neither, or several stacks")


class ItkStack(Stack):
    """Frames (n, v, u) in an ITK image of which parts are read."""

    def __init__(self, path: Path) -> None:
        self._reader = _reader(path)
        size = self._reader.GetSize()
        if self._reader.GetNumberOfComponents() != 1 or len(size) != 3:
            raise DataError(path, "", "grey images (u, v, view)", f"{len(size)} axes {size}")
        self.path, self.name, self.shape = path, str(path), tuple(size[::-1])
        kind = _numpy_type(self._reader.GetPixelID())
        if kind is None:
            raise DataError(path, "", "integers or real numbers", "other pixels")
        self.dtype = np.dtype(kind)
        self.origin, self.spacing = self._reader.GetOrigin()[:2], self._reader.GetSpacing()[:2]
        direction = np.array(self._reader.GetDirection()).reshape(3, 3)
        if np.abs(direction - np.eye(3)).max() > 1e-6:
            raise DataError(path, "direction", "the identity, as RTK has it", str(direction.ravel().tolist()))
        check_frames(path, "", self.shape, self.dtype)

    def raw(self, frames: np.ndarray, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[1])
        first, last = int(frames[0]), int(frames[-1])
        reader = _reader(self.path)
        reader.SetExtractIndex((0, start, first))
        reader.SetExtractSize((self.shape[2], stop - start, last - first + 1))
        sitk = _sitk(self.path)
        try:
            block: np.ndarray = sitk.GetArrayFromImage(reader.Execute())
        except RuntimeError as error:
            raise DataError(self.path, "", "readable pixels", last_line(error)) from error
        return block[frames - first]


def _sitk(path: Path) -> Any:
    return library("SimpleITK", "medical", f"{path}: reading ITK images needs")


def _reader(path: Path) -> Any:
    reader = _sitk(path).ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise DataError(path, "", "a readable MetaImage", last_line(error)) from error
    return reader


def _numpy_type(pixel: int) -> str | None:
    import SimpleITK as sitk

    names = {
        sitk.sitkUInt8: "u1", sitk.sitkInt8: "i1", sitk.sitkUInt16: "u2", sitk.sitkInt16: "i2",
        sitk.sitkUInt32: "u4", sitk.sitkInt32: "i4", sitk.sitkFloat32: "f4", sitk.sitkFloat64: "f8",
    }  # fmt: skip
    return names.get(pixel)


def _linac(files: list[Path]) -> tuple[Stack, Any, Any]:
    """Raw projections by RTK: the line integrals, origin and spacing of a frame."""
    itk = library("itk", "rtk", f"{files[0]}: reading projections of linacs needs", "itk-rtk")
    reader = itk.RTK.ProjectionsReader[itk.Image[itk.F, 3]].New()
    reader.SetFileNames([str(p) for p in files])
    try:
        reader.Update()
    except RuntimeError as error:
        raise DataError(files[0], "", "projections that RTK reads", last_line(error)) from error
    made = reader.GetOutput()
    stack = ArrayStack(itk.GetArrayFromImage(made), f"{files[0].parent}/*{files[0].suffix}")
    return stack, [made.GetOrigin()[i] for i in range(2)], [made.GetSpacing()[i] for i in range(2)]


# ---- the geometry


def read_xml(path: Path, shape: tuple[int, int, int], origin: Any, spacing: Any) -> Scan:
    """The scan of RTK's geometry for so many (view, v, u) pixels; origin and spacing (u, v) in mm of the images."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise DataError(path, "", "an RTK geometry in XML", str(error)) from error
    if "Geometry" not in root.tag:
        raise DataError(path, "", "RTKThreeDCircularGeometry", root.tag)
    shared = {child.tag: child.text for child in root if child.tag not in ("Projection", "Matrix")}
    views = [shared | {child.tag: child.text for child in view} for view in root.findall("Projection")]
    if len(views) != shape[0]:
        raise DataError(path, "Projection", f"{shape[0]}, as there are images", str(len(views)))
    table = {name: np.array([_number(path, i, view, name) for i, view in enumerate(views)]) for name in NAMES}
    if (table["RadiusCylindricalDetector"] != 0).any():
        raise DataError(path, "RadiusCylindricalDetector", "0, a flat detector", "a cylinder")
    middle = [origin[i] + (n - 1) / 2 * spacing[i] for i, n in enumerate((shape[2], shape[1]))]
    simple = _circular(table, shape, middle, spacing)
    if simple is not None:
        return simple
    if (table["SourceToDetectorDistance"] == 0).any():
        raise DataError(path, "SourceToDetectorDistance", "a cone beam, or an upright parallel one", "another")
    matrices = np.stack([_matrix(path, i, view) for i, view in enumerate(views)])
    try:
        return Vectors(_frames(matrices, -table["SourceToDetectorDistance"], middle, spacing), shape[1:], "cone")
    except ValueError as error:
        raise DataError(path, "Matrix", "projections of a cone beam", str(error)) from error


NAMES = (
    "SourceToIsocenterDistance", "SourceToDetectorDistance", "GantryAngle", "ProjectionOffsetX", "ProjectionOffsetY",
    *STRAIGHT, "RadiusCylindricalDetector",
)  # fmt: skip


def _number(path: Path, i: int, view: dict[str, str | None], name: str) -> float:
    text = view.get(name) or "0"
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise DataError(path, f"Projection {i + 1}, {name}", "a number", repr(text))
    return value


def _matrix(path: Path, i: int, view: dict[str, str | None]) -> np.ndarray:
    try:
        made = np.array((view.get("Matrix") or "").split(), np.float64).reshape(3, 4)
    except ValueError as error:
        raise DataError(path, f"Projection {i + 1}, Matrix", "3 x 4 numbers", str(view.get("Matrix"))) from error
    if not np.isfinite(made).all() or abs(np.linalg.det(made[:, :3])) < 1e-12:
        raise DataError(path, f"Projection {i + 1}, Matrix", "that of a cone beam", "one that has no source")
    return made / np.linalg.norm(made[2, :3])


def _circular(
    table: dict[str, np.ndarray], shape: tuple[int, int, int], middle: list[float], spacing: Any
) -> Scan | None:
    """The scan of a source on a circle and an upright detector, the same in all views; None where it is not that."""
    same = all(
        np.ptp(values) <= 1e-9 * max(1.0, np.abs(values).max()) for n, values in table.items() if n != "GantryAngle"
    )
    if not same or any(np.abs(table[name]).max() > 1e-12 for name in STRAIGHT):
        return None
    angles = np.deg2rad(table["GantryAngle"])
    offset = middle[1] + table["ProjectionOffsetY"][0], middle[0] + table["ProjectionOffsetX"][0]
    pixel = float(spacing[1]), float(spacing[0])
    near, far = table["SourceToIsocenterDistance"][0], table["SourceToDetectorDistance"][0]
    try:
        if far == 0:
            return ParallelBeam(angles, shape[1:], pixel, detector_offset=offset)
        return ConeBeam(angles, near, far, shape[1:], pixel, detector_offset=offset)
    except ValueError:
        return None


def _frames(matrices: np.ndarray, depth: np.ndarray, middle: list[float], spacing: Any) -> np.ndarray:
    """(n, 12) source, detector's middle and pixel steps in our room: where the matrix has no depth is the source, and
    (u, v) at the detector's depth is the pixel."""
    back = np.linalg.inv(matrices[:, :, :3])
    source = -(back @ matrices[:, :, 3:])[..., 0]
    columns = depth[:, None, None] * back
    at = source + columns @ np.array([*middle, 1.0])
    parts = (source, at, columns[:, :, 0] * spacing[0], columns[:, :, 1] * spacing[1])
    return np.concatenate([part @ TO_OURS.T for part in parts], 1)
