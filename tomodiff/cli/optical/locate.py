"""Find where one picture was taken, write its camera, and say how sure that is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomodiff.cli.console import STATE, say, tell

if TYPE_CHECKING:
    import numpy as np

    from tomodiff.files.photographs import View
    from tomodiff.geometry.cameras.photograph import Photograph
    from tomodiff.recipes.optical.locate import Located

XRAYS = ("lines", "transmission")


@dataclass(frozen=True)
class Search:
    """How far from the camera that is given the true one may be: degrees, and lengths (of the scene's distance for
    photographs, mm under X-rays)."""

    turn_deg: float
    shift: float
    starts: int
    seed: int
    bin: int = 1


def locate_picture(photo: Path, scene: Path, camera: Path, out: Path, xrays: str | None, search: Search) -> None:
    """Write the camera of a picture.  DataError for what cannot be read, ConfigError for what does not fit together,
    Diverged where no pose, or more than one, fits."""
    import numpy as np

    from tomodiff.errors import ConfigError, Diverged
    from tomodiff.files.atomic import replace_text
    from tomodiff.files.photographs_writer import frame_of
    from tomodiff.geometry.poses import angle_between

    if xrays is not None and xrays not in XRAYS:
        raise ConfigError(f"--xrays {xrays}: expected {' or '.join(XRAYS)}")
    if search.turn_deg < 0 or search.shift < 0 or search.starts < 0 or search.bin < 1:
        raise ConfigError("--turn, --shift, --starts, --bin: expected numbers of at least 0, and --bin of at least 1")
    begin = _camera_of(photo, camera)
    found = _under_x_rays(photo, scene, begin, xrays, search) if xrays else _of_scene(photo, scene, begin, search)
    pose, before = found.camera.pose, begin.camera.pose
    turned = float(np.degrees(angle_between(before[:, :3], pose[:, :3])))
    moved = float(np.linalg.norm(pose[:, 3] - before[:, 3]))
    facts: dict[str, Any] = {
        "turned from the start": f"{turned:.3f} degrees",
        "moved from the start": f"{moved:.4g}",
        **{name.replace("_", " "): f"{value:.4g}" for name, value in found.fit.items()},
        "deviation": f"{found.deviations[0]:.2g} degrees, {found.deviations[1]:.2g}",
    }
    tell(facts)
    if found.doubt:
        raise Diverged(
            f"{photo}: not located: {found.doubt}; try a better --camera, or larger --turn, --shift, --starts"
        )
    written = {
        "frames": [frame_of(str(photo), found.camera)],
        "found": {**found.fit, "deviation_deg": found.deviations[0], "deviation_length": found.deviations[1]},
    }
    replace_text(out, json.dumps(written, indent=1) + "\n")
    say(f"camera  {out}")


def _camera_of(photo: Path, cameras: Path) -> View:
    """The camera of that name in a file, or the only one."""
    from tomodiff.errors import DataError
    from tomodiff.files.photographs import View, read_views

    views = read_views(cameras, images=False)
    same = [view for view in views if view.path.stem == photo.stem]
    if len(views) > 1 and len(same) != 1:
        raise DataError(
            cameras, "frames", f"one camera, or one of {photo.name}", f"{len(views)}, {len(same)} so called"
        )
    return View(photo, (same or views)[0].camera)


def _of_scene(photo: Path, scene: Path, begin: View, search: Search) -> Located:
    import numpy as np

    from tomodiff.files.radiance_file import read_field
    from tomodiff.recipes.optical.locate import locate
    from tomodiff.recipes.optical.scene import Scene

    stored = read_field(scene)
    colours, alpha = begin.layers(search.bin)
    if alpha.min() < 1:  # transparent pixels show what the scene has behind it, as far as that is of one colour
        beyond = Scene(stored).seen(np.zeros((1, 3), np.float32) + 1e6, np.array([[0, 0, 1.0]], np.float32))[0][0]
        colours = colours + (1 - alpha[..., None]) * beyond
    camera = begin.camera.smaller(search.bin)
    with _bar(search) as stage:
        return locate(stored, camera, colours, search.turn_deg, search.shift, search.starts, search.seed, stage.advance)


def _under_x_rays(photo: Path, scene: Path, begin: View, xrays: str, search: Search) -> Located:
    from tomodiff.array import block_mean
    from tomodiff.files import read_volume
    from tomodiff.recipes.optical.locate import register

    volume, grid, _ = read_volume(scene)
    picture = radiograph(photo, begin.camera, xrays)
    camera = begin.camera.smaller(search.bin)
    made = block_mean(picture, search.bin)
    with _bar(search) as stage:
        return register(
            volume, grid, camera, made, search.turn_deg, search.shift, search.starts, search.seed, stage.advance
        )


def _bar(search: Search) -> Any:
    from tomodiff.recipes.progress import Progress

    return Progress(quiet=STATE.quiet).stage("locate")


def radiograph(path: Path, camera: Photograph, xrays: str) -> np.ndarray:
    """Line integrals (rows, columns) of a TIFF, NumPy or other picture, of transmission after a logarithm."""
    import numpy as np

    from tomodiff.errors import DataError
    from tomodiff.files.pictures import read_picture

    values = read_picture(path).mean(axis=-1)
    if values.shape != tuple(camera.shape):
        raise DataError(path, "size", f"{camera.shape} pixels as its camera has", str(values.shape))
    if xrays == "transmission":
        if values.min() <= 0:
            raise DataError(path, "image", "transmission above 0", f"{values.min():g} at the least")
        values = -np.log(values)
    if np.ptp(values) == 0:
        raise DataError(path, "image", "a radiograph of something", "one value everywhere")
    made: np.ndarray = values
    return made
