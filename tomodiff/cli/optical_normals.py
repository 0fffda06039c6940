"""Normals, albedo and heights of a thing from pictures under several lights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomodiff.cli.console import rows, say

if TYPE_CHECKING:
    import numpy as np


def find_normals(
    pictures: Sequence[Path], lights: Path, mask: Path | None, gamma: float, glossy: bool, out: Path
) -> None:
    """Write what pictures (files, or one folder of them) tell.  DataError for what cannot be read, or tells nothing."""
    import numpy as np

    from tomodiff.analytic.photometric_stereo import integrated, photometric_stereo
    from tomodiff.errors import ConfigError, DataError
    from tomodiff.files.atomic import replace_text
    from tomodiff.files.pictures import write_array, write_picture
    from tomodiff.files.planetary import read_directions

    files = sorted(p for p in pictures[0].iterdir() if p.is_file()) if pictures[0].is_dir() else list(pictures)
    files = [path for path in files if path != lights and path != mask and path.suffix.lower() not in (".txt", ".md")]
    if not gamma > 0:
        raise ConfigError(f"--gamma {gamma}: expected a number above 0")
    told = read_directions(lights, [path.name for path in files])
    missing = [path.name for path in files if path.name not in told]
    if missing or len(files) < 3:
        found = f"none of {', '.join(missing[:3])}" if missing else f"{len(files)} pictures"
        raise DataError(lights, "lights", "a direction for each of three pictures or more", found)
    images = [_brightness(path) ** gamma for path in files]
    if len({image.shape[:2] for image in images}) > 1:
        raise DataError(pictures[0], "size", "pictures of one size", str(sorted({i.shape[:2] for i in images})))
    inside = _mask(mask, images)
    grey = np.stack([image.mean(axis=-1)[inside] for image in images])
    azimuth, elevation = (
        np.radians([getattr(told[p.name], n) for p in files]) for n in ("sun_azimuth", "sun_elevation")
    )
    flat = np.cos(elevation)
    directions = np.stack([flat * np.sin(azimuth), flat * np.cos(azimuth), np.sin(elevation)], axis=1)
    try:
        found_surface = photometric_stereo(grey, directions, glossy)
    except ValueError as error:
        raise DataError(lights, "lights", "directions that tell normals", str(error).partition(": ")[2]) from error
    shape = inside.shape
    normals, share = np.full((*shape, 3), np.nan), np.full(shape, np.nan)
    normals[inside], share[inside] = found_surface.normals, found_surface.fitting
    albedo = np.full(images[0].shape, np.nan)
    albedo[inside] = _albedo(images, inside, found_surface.normals, directions)
    heights = integrated(np.nan_to_num(normals), inside)
    out.mkdir(parents=True, exist_ok=True)
    for name, values in (("normals", normals), ("albedo", albedo), ("heights", heights), ("fitting", share)):
        write_array(out / f"{name}.npy", values)
        write_picture(out / f"{name}.png", _shown(name, values))
    facts: dict[str, Any] = {
        "pictures": len(files), "pixels": int(inside.sum()),
        "spread of the lights": f"{found_surface.spread:.3f} (1: even, 0: in one plane)",
        "lights that fit a pixel": f"{float(np.mean(found_surface.fitting)):.0%}",
    }  # fmt: skip
    if found_surface.lobe is not None:
        facts["roughness, F0"] = "{:.3f}, {:.3f}".format(*found_surface.lobe)
    replace_text(out / "found.json", json.dumps({**facts, "lobe": found_surface.lobe}, indent=1) + "\n")
    print(rows(facts))
    say("albedo is known up to one factor, the strength of the lights; heights up to a constant, in pixels")
    say(f"normals  {out}")


def _brightness(path: Path) -> np.ndarray:
    """A picture of numbers of at least 0."""
    from tomodiff.errors import DataError
    from tomodiff.files.pictures import read_picture

    values = read_picture(path)
    if values.min() < 0:
        raise DataError(path, "image", "brightness of at least 0", f"{values.min():g}")
    return values


def _mask(path: Path | None, images: Sequence[np.ndarray]) -> np.ndarray:
    """The pixels that count: those that are bright in a mask, else those that some light makes bright."""
    import numpy as np

    from tomodiff.errors import DataError

    shape = images[0].shape[:2]
    if path is None:
        bright = np.max([image.mean(axis=-1) for image in images], axis=0)
        inside = bright > 0.05 * np.percentile(bright, 99)
    else:
        bright = _brightness(path).mean(axis=-1)
        inside = bright > 0.5 * float(bright.max())
        if inside.shape != shape:
            raise DataError(path, "size", f"{shape} pixels as the pictures have", str(inside.shape))
    if not inside.any():
        raise DataError(path or "pictures", "mask", "pixels that count", "none")
    return inside


def _albedo(
    images: Sequence[np.ndarray], inside: np.ndarray, normals: np.ndarray, directions: np.ndarray
) -> np.ndarray:
    """Of each channel (pixel, channel): the median of brightness over facing, of lights that a pixel faces."""
    import numpy as np

    facing = directions @ normals.T
    seen = np.stack([image[inside] for image in images])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(facing[..., None] > 0.3, seen / facing[..., None], np.nan)
    made: np.ndarray = np.nan_to_num(np.nanmedian(ratio, axis=0))
    return made


def _shown(name: str, values: np.ndarray) -> np.ndarray:
    """A picture of an array, from 0 to 1."""
    import numpy as np

    if name == "normals":
        return np.nan_to_num((values + 1) / 2)
    if name == "albedo":
        made: np.ndarray = np.nan_to_num(values / max(float(np.nanpercentile(values, 99)), 1e-12))
        return made[..., 0] if made.shape[-1] == 1 else made
    low, high = (0.0, 1.0) if name == "fitting" else (float(np.nanmin(values)), float(np.nanmax(values)))
    return np.nan_to_num((values - low) / max(high - low, 1e-12))
