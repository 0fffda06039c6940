"""Photographs with known cameras: `transforms.json` of NeRF, instant-ngp and nerfstudio, and COLMAP's text files.

Those of NeRF have cameras that look along -z with y up (OpenGL); COLMAP's look along z with y down, from the world to
the camera.  Ours are camera to world, z ahead and y down.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from tomodiff.array import block_mean
from tomodiff.errors import DataError
from tomodiff.extras import library
from tomodiff.files.pictures import read_picture
from tomodiff.geometry.cameras.photograph import Photograph

SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".JPG", ".PNG")
"""What NeRF's files leave off the names of images."""
FROM_OPENGL = np.diag([1.0, -1.0, -1.0])
LENS = ("k1", "k2", "p1", "p2", "k3")
COLMAP = {
    "SIMPLE_PINHOLE": ("f", "cx", "cy"),
    "PINHOLE": ("fl_x", "fl_y", "cx", "cy"),
    "SIMPLE_RADIAL": ("f", "cx", "cy", "k1"),
    "RADIAL": ("f", "cx", "cy", "k1", "k2"),
    "OPENCV": ("fl_x", "fl_y", "cx", "cy", "k1", "k2", "p1", "p2"),
}
"""The parameters of COLMAP's cameras (src/colmap/sensor/models.h) that are understood."""


@dataclass(frozen=True, eq=False)
class View:
    """One photograph: the file, and its camera."""

    path: Path
    camera: Photograph

    def pixels(self, background: float | None = 1.0, bin: int = 1) -> np.ndarray:
        """The image (rows, columns, 3) in float32 from 0 to 1 as the file has it (usually sRGB), averaged over
        bin x bin pixels; transparent ones over a background, or None to refuse them.

        DataError where it cannot be read, or has not the size of its camera.
        """
        colours, alpha = self.layers(bin)
        if background is None and alpha.min() < 1:
            raise DataError(self.path, "alpha", "an opaque image, or a background", "transparent pixels")
        made: np.ndarray = colours + np.float32(1.0 if background is None else background) * (1 - alpha[..., None])
        return made

    def numbers(self, bin: int = 1) -> np.ndarray:
        """The image (row, column, channel) as numbers that `read_picture` reads, of any kind of file and brightness,
        averaged over bin x bin pixels.  DataError where it cannot be read, or has not the size of its camera."""
        values = read_picture(self.path)
        if values.shape[:2] != self.camera.shape:
            expected = f"{self.camera.shape[0]} x {self.camera.shape[1]} pixels as its camera has"
            raise DataError(self.path, "size", expected, f"{values.shape[0]} x {values.shape[1]}")
        return values if bin == 1 else np.asarray(block_mean(values, bin, (0, 1)))

    def layers(self, bin: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Colours times opacity (rows, columns, 3), and opacity (rows, columns), averaged over bin x bin pixels."""
        image = library("PIL.Image", "scanners", f"{self.path}: reading photographs needs", "pillow")
        try:
            with image.open(self.path) as opened:
                size, kind = (opened.height, opened.width), opened.mode
                deep = kind.startswith("I")
                values = np.array(opened if deep else opened.convert("RGBA"), np.float32) / (65535 if deep else 255)
        except (OSError, ValueError, SyntaxError) as error:
            raise DataError(self.path, "image", "a photograph that can be read", str(error)) from error
        wanted = self.camera.shape
        if size != wanted:
            expected = f"{wanted[0]} x {wanted[1]} pixels as its camera has"
            raise DataError(self.path, "size", expected, f"{size[0]} x {size[1]}")
        if deep:
            values = np.stack([values, values, values, np.ones_like(values)], axis=2)
        values[..., :3] *= values[..., 3:]
        if min(size) < bin:
            raise DataError(self.path, "size", f"{bin} x {bin} pixels or more, to average", f"{size[0]} x {size[1]}")
        whole = block_mean(values, bin, (0, 1))
        return whole[..., :3], whole[..., 3]


def read_views(path: str | Path, images: bool = True) -> list[View]:
    """The photographs that a `transforms.json`, or the folder of COLMAP's `cameras.txt` and `images.txt`, names.

    Lengths are in the file's own unit.  images=False: only the cameras are wanted.  DataError for what is missing or
    wrong: images that are not there, poses that are not rigid or mirrored, cameras of a kind that is not known.
    """
    path = Path(path)
    if path.is_dir():
        views = list(_colmap(path)) if (path / "images.txt").exists() else _transforms(path / "transforms.json")
    else:
        views = _transforms(path)
    missing = [view.path for view in views if images and not view.path.is_file()]
    if missing:
        names = ", ".join(str(name) for name in missing[:3])
        raise DataError(path, "images", f"{len(views)} files", f"{len(missing)} that are not there: {names}")
    return views


def _transforms(path: Path) -> list[View]:
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(path, "", "a transforms.json", str(error)) from error
    frames = whole.get("frames") if isinstance(whole, dict) else None
    if not isinstance(frames, list) or not frames:
        raise DataError(path, "frames", "a list of photographs", repr(frames)[:60])
    views = []
    for number, frame in enumerate(frames):
        name = f"frames[{number}]"
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
            raise DataError(path, f"{name}.file_path", "the name of an image", repr(frame)[:60])
        given = {**whole, **frame}
        file = _image_at(path.parent / frame["file_path"])
        pose = _numbers(path, f"{name}.transform_matrix", frame.get("transform_matrix"))
        if pose.shape not in ((4, 4), (3, 4)):
            raise DataError(path, f"{name}.transform_matrix", "4 x 4 numbers", str(pose.shape))
        opencv = np.column_stack([pose[:3, :3] @ FROM_OPENGL, pose[:3, 3]])
        views.append(View(file, _camera(path, name, given, opencv, file)))
    return views


def _image_at(file: Path) -> Path:
    """The file of an image whose suffix may be left off."""
    for suffix in SUFFIXES:
        whole = file.with_name(file.name + suffix)
        if whole.is_file():
            return whole
    return file


def _camera(path: Path, name: str, given: Mapping[str, Any], pose: np.ndarray, file: Path) -> Photograph:
    """The camera that fields of instant-ngp's names describe."""

    def field(key: str, default: float | None = None) -> float:
        value = given.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise DataError(path, f"{name}.{key}", "a number", repr(value)[:40])
        return float(value)

    if "w" in given and "h" in given:
        shape = (int(field("h")), int(field("w")))
    elif "w" in given and "h" not in given:
        shape = (int(field("w")), int(field("w")))
    else:
        shape = _size_of(file)
    if "fl_x" in given:
        focal = field("fl_x"), field("fl_y", field("fl_x"))
    else:
        angle = field("camera_angle_x")
        if not 0 < angle < math.pi:
            raise DataError(path, f"{name}.camera_angle_x", "radians between 0 and pi", f"{angle}")
        focal = (0.5 * shape[1] / math.tan(0.5 * angle),) * 2
    centre = field("cx", shape[1] / 2), field("cy", shape[0] / 2)
    kind = str(given.get("camera_model", "OPENCV")).upper()
    if "FISHEYE" in kind or given.get("is_fisheye"):
        raise DataError(path, f"{name}.camera_model", "a pinhole with or without distortion", kind)
    try:
        return Photograph(shape, focal, centre, pose, tuple(field(key, 0.0) for key in LENS))
    except ValueError as error:
        field_name, _, rest = str(error).partition(": expected ")
        expected, _, found = rest.partition(", found ")
        raise DataError(path, f"{name}.{field_name}", expected, found) from error


def _size_of(file: Path) -> tuple[int, int]:
    """(rows, columns) of an image's file."""
    image = library("PIL.Image", "scanners", f"{file}: reading photographs needs", "pillow")
    try:
        with image.open(file) as opened:
            return opened.height, opened.width
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(file, "image", "a photograph that can be read", str(error)) from error


def _numbers(path: Path, name: str, value: Any) -> np.ndarray:
    try:
        made = np.array(value, np.float64)
    except (TypeError, ValueError):
        made = np.array(np.nan)
    if not np.isfinite(made).all():
        raise DataError(path, name, "finite numbers", repr(value)[:60])
    return made


def _colmap(folder: Path) -> Iterator[View]:
    """COLMAP's text format: cameras.txt, and two lines for each image in images.txt, the second with points."""
    cameras: dict[str, Mapping[str, Any]] = {}
    for number, line in _lines(folder / "cameras.txt"):
        words, place = line.split(), f"line {number}"
        if len(words) < 5 or words[1] not in COLMAP or len(words) != 4 + len(COLMAP[words[1]]):
            wanted = f"ID, a model ({', '.join(COLMAP)}), width, height and its parameters"
            raise DataError(folder / "cameras.txt", place, wanted, line[:60])
        values = _floats(folder / "cameras.txt", place, words[2:])
        made = dict(zip(("w", "h", *COLMAP[words[1]]), values, strict=True))
        if "f" in made:
            made["fl_x"] = made["fl_y"] = made.pop("f")
        cameras[words[0]] = made
    path = folder / "images.txt"
    images = [(number, line) for number, line in _lines(path, blank=True)]
    for number, line in images[::2]:
        words, place = line.split(maxsplit=9), f"line {number}"
        if len(words) != 10 or words[8] not in cameras:
            raise DataError(path, place, "ID QW QX QY QZ TX TY TZ CAMERA NAME", line[:60])
        numbers = np.array(_floats(path, place, words[1:8]))
        if not np.linalg.norm(numbers[:4]) > 0:
            raise DataError(path, place, "a quaternion", " ".join(words[1:5]))
        turn = Rotation.from_quat(np.roll(numbers[:4], -1)).as_matrix()
        pose = np.column_stack([turn.T, -turn.T @ numbers[4:]])
        places = [parent / words[9] for parent in (folder, folder / "images", folder.parent / "images")]
        file = next((f for f in places if f.is_file()), places[0])
        yield View(file, _camera(path, place, cameras[words[8]], pose, file))


def _lines(path: Path, blank: bool = False) -> Iterator[tuple[int, str]]:
    """Number and text of the lines that are no comments; blank ones too where they mean something."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(path, "", "a text file of COLMAP", str(error)) from error
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("#") and (blank or line.strip()):
            yield number, line.strip()


def _floats(path: Path, place: str, words: list[str]) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError:
        raise DataError(path, place, "numbers", " ".join(words)[:60]) from None
    return values
