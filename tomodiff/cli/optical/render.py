"""Pictures and films of a scene, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tomodiff.cli.console import STATE, say

if TYPE_CHECKING:
    import numpy as np

    from tomodiff.geometry.cameras.photograph import Photograph
    from tomodiff.recipes.optical.scene import Scene

KINDS = ("colour", "opacity", "depth", "normals", "flow")


def draw(scene: Path, cameras: Path, out: Path, what: str, turn: int | None, bin: int, per_second: float) -> None:
    """Write what `what` says of each camera.  ConfigError for what cannot be drawn, DataError for unreadable files."""
    import numpy as np

    from tomodiff.errors import ConfigError
    from tomodiff.files.atomic import make_folder
    from tomodiff.files.photographs import read_views
    from tomodiff.files.pictures import write_array, write_film, write_picture
    from tomodiff.files.radiance_file import read_field
    from tomodiff.recipes.optical.scene import Scene
    from tomodiff.recipes.progress import Progress

    if what not in KINDS:
        raise ConfigError(f"--what {what}: expected {', '.join(KINDS)}")
    if bin < 1 or (turn is not None and turn < 2) or not per_second > 0:
        raise ConfigError("--bin, --turn, --per-second: expected at least 1, at least 2, and more than 0")
    found = Scene(read_field(scene))
    given = [view.camera.smaller(bin) if bin > 1 else view.camera for view in read_views(cameras, images=False)]
    chosen = list(around(given, turn)) if turn else given
    film, numbers = bool(out.suffix), []
    with Progress(quiet=STATE.quiet).stage("pictures", total=len(chosen)) as stage:
        for i, camera in enumerate(chosen):
            numbers.append(seen(found, camera, chosen[(i + 1) % len(chosen)], what))
            stage.advance()
    most = _most(numbers)
    pictures = [drawn(values, what, most) for values in numbers]
    if film:
        whole = [p if p.ndim == 3 else np.repeat(p[..., None], 3, axis=2) for p in pictures]
        write_film(out, whole, per_second)
        say(f"film  {out}")
        return
    make_folder(out)
    for i, (values, picture) in enumerate(zip(numbers, pictures, strict=True)):
        write_picture(out / f"{i:04d}.png", picture)
        if what in ("depth", "normals", "flow"):
            write_array(out / f"{i:04d}.npy", values)
    say(f"pictures  {out}")


def around(cameras: Sequence[Photograph], n: int) -> Iterator[Photograph]:
    """The first camera, taken n times around what all look at, about the direction that is up for most."""
    from dataclasses import replace

    import numpy as np

    from tomodiff.errors import ConfigError
    from tomodiff.geometry.rigid import moved
    from tomodiff.recipes.optical.box import looked_at

    try:
        centre, _ = looked_at(cameras)
    except ValueError as error:
        raise ConfigError(f"--turn: {error}") from error
    up = -np.sum([camera.pose[:, 1] for camera in cameras], axis=0)
    up /= max(float(np.linalg.norm(up)), 1e-12)
    for angle in 2 * np.pi * np.arange(n) / n:
        yield replace(cameras[0], pose=moved(cameras[0].pose, np.append(angle * up, np.zeros(3)), centre))


def seen(scene: Scene, camera: Photograph, following: Photograph, what: str) -> np.ndarray:
    """What a camera sees, as numbers."""
    if what == "colour":
        return scene.picture(camera)[0]
    if what == "opacity":
        return scene.picture(camera)[1]
    if what == "flow":
        return scene.flow(camera, following)
    return scene.depth(camera) if what == "depth" else scene.normals(camera)


def _most(numbers: Sequence[np.ndarray]) -> tuple[float, float]:
    """The least and the largest number of all."""
    import numpy as np

    known = np.concatenate([values[np.isfinite(values)].ravel() for values in numbers])
    return (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)


def drawn(values: np.ndarray, what: str, ends: tuple[float, float]) -> np.ndarray:
    """A picture of numbers, from 0 to 1: near is bright, normals are colours, flow's direction is a colour."""
    import numpy as np

    if what in ("colour", "opacity"):
        return values
    if what == "normals":
        return np.nan_to_num((values + 1) / 2)
    if what == "depth":
        return np.nan_to_num((ends[1] - values) / max(ends[1] - ends[0], 1e-12) * 0.9 + 0.1)
    from matplotlib.colors import hsv_to_rgb

    size = np.hypot(values[..., 0], values[..., 1])
    hue = np.arctan2(values[..., 1], values[..., 0]) / (2 * np.pi) % 1
    strong = np.nan_to_num(size / max(abs(ends[0]), abs(ends[1]), 1e-12)).clip(0, 1)
    made: np.ndarray = hsv_to_rgb(np.stack([np.nan_to_num(hue), strong, np.isfinite(size) * 1.0], axis=-1))
    return made
