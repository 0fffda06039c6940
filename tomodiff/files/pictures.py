"""Pictures and short films for people to look at: PNG, GIF, WebP, MP4."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import ConfigError
from tomodiff.extras import library
from tomodiff.files.atomic import replacing

FILMS = (".gif", ".webp", ".png", ".mp4")
"""Suffixes of films; .png is an animated one."""


def _image() -> Any:
    return library("PIL.Image", "scanners", "writing pictures needs", "pillow")


def as_bytes(picture: np.ndarray) -> np.ndarray:
    """Values from 0 to 1 in 8 bits; what is no number is black."""
    made: np.ndarray = np.rint(255 * np.nan_to_num(picture).clip(0, 1)).astype(np.uint8)
    return made


def write_picture(path: Path, picture: np.ndarray) -> None:
    """A picture (rows, columns) or (rows, columns, 3) from 0 to 1."""
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
