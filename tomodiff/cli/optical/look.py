"""What `tomodiff info` says of photographs with cameras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tomodiff.cli.console import tell


def is_photographs(file: Path) -> bool:
    """Whether it is a transforms.json, or a folder of COLMAP's text files."""
    if file.is_dir():
        return (file / "images.txt").is_file() and (file / "cameras.txt").is_file()
    if file.suffix.lower() != ".json":
        return False
    try:
        return '"frames"' in file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def describe(file: Path) -> None:
    """Print how many there are, their sizes and lenses, and what they look at."""
    import numpy as np

    from tomodiff.files.photographs import read_views
    from tomodiff.recipes.optical.box import looked_at

    views = read_views(file)
    cameras = [view.camera for view in views]
    sizes = sorted({f"{camera.shape[1]} x {camera.shape[0]}" for camera in cameras})
    shown: dict[str, Any] = {
        "photographs": len(views),
        "pixels": ", ".join(sizes[:4]) + (" ..." if len(sizes) > 4 else ""),
        "lenses": len({camera.lens for camera in cameras}),
        "distortion": "yes" if any(any(camera.distortion) for camera in cameras) else "none",
    }
    try:
        centre, half = looked_at(cameras)
        shown["they look at"] = ", ".join(f"{v:.4g}" for v in centre)
        shown["from"] = f"{np.median([np.linalg.norm(camera.place - centre) for camera in cameras]):.4g}"
        shown["and see there"] = f"{2 * half:.4g} across"
    except ValueError as error:
        shown["they look at"] = str(error)
    tell(shown)
