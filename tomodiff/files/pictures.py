"""Pictures that are read as numbers, and pictures, films and arrays that are written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from tomodiff.errors import ConfigError, DataError
from tomodiff.extras import library
from tomodiff.files.atomic import replacing

FILMS = (".gif", ".webp", ".png", ".mp4")
"""Suffixes of films; .png is an animated one."""


def _image() -> Any:
    return library("PIL.Image", "scanners", "pictures need", "pillow")


def as_bytes(picture: np.ndarray) -> np.ndarray:
    """Values from 0 to 1 in 8 bits; what is no number is black."""
    made: np.ndarray = np.rint(255 * np.nan_to_num(picture).clip(0, 1)).astype(np.uint8)
    return made


def read_picture(path: Path) -> np.ndarray:
    """Finite numbers (row, column, channel) of a TIFF, NumPy's or another picture, whole numbers over their white.
    DataError for what is none."""
    try:
        if path.suffix.lower() == ".npy":
            values = np.load(path, allow_pickle=False)
        elif path.suffix.lower() in (".tif", ".tiff"):
            values = tifffile.imread(path)
        else:
            with _image().open(path) as opened:
                deep = opened.mode.startswith("I")
                values = np.asarray(opened if deep or opened.mode == "L" else opened.convert("RGB"))
                values = values.astype(np.uint16) if deep else values
    except (OSError, EOFError, ValueError, SyntaxError, tifffile.TiffFileError) as error:
        raise DataError(path, "image", "a picture that can be read", str(error)) from error
    if values.ndim not in (2, 3) or values.dtype.kind not in "uif" or not np.isfinite(values).all():
        expected = "finite numbers (row, column[, channel])"
        raise DataError(path, "image", expected, f"{values.dtype} {values.shape}, or numbers that are not finite")
    white = float(np.iinfo(values.dtype).max) if values.dtype.kind in "ui" else 1.0
    made: np.ndarray = values.astype(np.float64) / white
    return made[..., None] if made.ndim == 2 else made[..., :3]


def write_array(path: Path, values: np.ndarray) -> None:
    """Numbers in single precision as NumPy's .npy."""
    with replacing(path, values.nbytes) as target, target.open("wb") as file:
        np.save(file, values.astype(np.float32))


def write_picture(path: Path, picture: np.ndarray) -> None:
    """A picture (rows, columns) or (rows, columns, 1 or 3) from 0 to 1."""
    picture = picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture
    with replacing(path, picture.size) as target:
        _image().fromarray(as_bytes(picture)).save(target)


def write_film(path: Path, pictures: Sequence[np.ndarray], per_second: float = 20.0) -> None:
    """Pictures (rows, columns, 3) one after the other, for ever.  ConfigError for a suffix that is not of a film."""
    if path.suffix.lower() not in FILMS:
        raise ConfigError(f"{path}: expected a film ({', '.join(FILMS)})")
    frames = [as_bytes(picture) for picture in pictures]
    with replacing(path, sum(frame.size for frame in frames)) as target:
        if path.suffix.lower() == ".mp4":
            imageio = library("imageio.v2", "video", f"{path}: writing MP4 needs", "imageio")
            with imageio.get_writer(target, fps=per_second, macro_block_size=2) as film:
                for frame in frames:
                    film.append_data(frame)
            return
        first, *others = (_image().fromarray(frame) for frame in frames)
        first.save(target, save_all=True, append_images=others, duration=1000 / per_second, loop=0)
