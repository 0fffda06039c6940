"""Things whose normals, albedo and heights are known, under other lights, and in other pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tomodiff.cli.console import say, tell

if TYPE_CHECKING:
    import numpy as np

    from tomodiff.recipes.optical.thing import Light, Thing


def show(found: Path, lights: Sequence[str], sky: Path | None, out: Path, ambient: float, gamma: float) -> None:
    """Write brightness (.npy) or a picture.  ConfigError for lights that cannot be, DataError for a folder without
    normals."""
    from tomodiff.errors import ConfigError
    from tomodiff.recipes.optical.thing import read_thing

    chosen = [light_of(text) for text in lights]
    if not gamma > 0 or not ambient >= 0:
        raise ConfigError("--gamma, --ambient: expected a number above 0, and one of at least 0")
    if not (chosen or sky or ambient):
        raise ConfigError("expected a --light, a --sky or --ambient")
    thing = read_thing(found)
    made = thing.lit(chosen, None if sky is None else read_sky(sky))
    inside = thing.inside
    made[inside] += ambient * thing.albedo[inside]
    written(out, made, gamma)
    say(f"relit  {out}")


def find_sky(found: Path, photo: Path, degree: int, gamma: float, out: Path) -> None:
    """Write the sky under which a thing was photographed.  DataError for a picture that is not of the thing."""
    from tomodiff.files.atomic import replace_text
    from tomodiff.recipes.optical.materials import SEEN
    from tomodiff.recipes.optical.thing import read_thing

    _check_photo(degree, gamma)
    sky, told = sky_over(read_thing(found), photo, _picture(photo, gamma), degree)
    replace_text(out, json.dumps({"sky": sky.tolist(), "told": told.tolist()}, indent=1) + "\n")
    tell({"mean of the sky": ", ".join(f"{v:.4g}" for v in sky[:, 0]),
                "combinations that are told": f"{int((told > SEEN).sum())} of {len(told)}"})  # fmt: skip
    say(f"sky  {out}")


def insert(thing: Path, scene: Path, photo: Path, at: str, lights: Sequence[str], sky: Path | None, degree: int,
           gamma: float, out: Path) -> None:  # fmt: skip
    """Write the photograph of a scene with a thing standing in it."""
    from tomodiff.errors import ConfigError
    from tomodiff.recipes.optical.thing import read_thing

    try:
        row, column = (int(word) for word in at.split(","))
    except ValueError as error:
        raise ConfigError(f"--at {at}: expected ROW,COLUMN") from error
    _check_photo(degree, gamma)
    upon, own, picture = read_thing(scene), read_thing(thing), _picture(photo, gamma)
    chosen = [light_of(text) for text in lights]
    if sky is not None:
        over: np.ndarray | None = read_sky(sky)
    else:
        over = None if chosen else sky_over(upon, photo, picture, degree)[0]
    try:
        made = inserted(own, upon, picture, (row, column), chosen, over)
    except ValueError as error:
        raise ConfigError(f"--at {at}: {error}") from error
    written(out, made, gamma)
    say(f"inserted  {out}")


def inserted(
    own: Thing, upon: Thing, photo: np.ndarray, at: tuple[int, int], lights: Sequence[Light], sky: np.ndarray | None
) -> np.ndarray:
    """A photograph (row, column, channel) of a scene with a thing in it: the thing as the lights show it, the rest by
    how much its light changes (Debevec 1998, SIGGRAPH, 189)."""
    import numpy as np

    both = upon.carrying(own, *at)
    rows_, columns = own.heights.shape
    covered = np.zeros(upon.inside.shape, bool)
    covered[at[0] : at[0] + rows_, at[1] : at[1] + columns] = own.inside
    of_thing = replace(both, model=own.model, parameters=own.parameters, gloss=own.gloss)
    alone, together, thing = upon.lit(lights, sky), both.lit(lights, sky), of_thing.lit(lights, sky)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(alone > 0, together / alone, 1.0)
    return np.where(covered[..., None], thing, photo * ratio)


def sky_over(thing: Thing, path: Path, picture: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """The sky (channel, harmonic) of a picture of a thing, and how well each combination of harmonics is told."""
    import numpy as np

    from tomodiff.errors import DataError
    from tomodiff.recipes.optical.materials import environment

    inside = thing.inside
    if picture.shape[:2] != inside.shape or picture.shape[2] not in (1, thing.albedo.shape[2]):
        expected = f"{inside.shape} pixels of {thing.albedo.shape[2]} channels, as what was found has"
        raise DataError(path, "size", expected, str(picture.shape))
    waves = thing.waves((degree + 1) ** 2)[inside]
    skies, told = [], []
    for channel in range(picture.shape[2]):
        albedo = thing.albedo[inside][:, min(channel, thing.albedo.shape[2] - 1)]
        try:
            found, values = environment(picture[inside][:, channel][None], albedo[:, None] * waves)
        except ValueError as error:
            raise DataError(path, "albedo", "a thing that sends light", str(error)) from error
        skies.append(found[0])
        told.append(values)
    return np.stack(skies), np.min(told, axis=0)


def _check_photo(degree: int, gamma: float) -> None:
    """ConfigError for a degree of the sky's harmonics, or a gamma of a photograph, that cannot be."""
    from tomodiff.errors import ConfigError

    if not 0 <= degree <= 4 or not gamma > 0:
        raise ConfigError("--degree, --gamma: expected 0 to 4, and a number above 0")


def written(out: Path, made: np.ndarray, gamma: float) -> None:
    """Brightness as numbers or as a picture."""
    from tomodiff.files.pictures import write_array, write_picture

    if out.suffix.lower() == ".npy":
        write_array(out, made)
    else:
        write_picture(out, made.clip(0, 1) ** (1 / gamma))


def _picture(path: Path, gamma: float) -> np.ndarray:
    from tomodiff.cli.optical.normals import brightness

    made: np.ndarray = brightness(path) ** gamma
    return made


def read_sky(path: Path) -> np.ndarray:
    """The sky (channel, harmonic) that `find_sky` wrote.  DataError for what is none."""
    import numpy as np

    from tomodiff.errors import DataError

    try:
        made = np.array(json.loads(path.read_text(encoding="utf-8"))["sky"], np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(path, "sky", "what `tomodiff optical sky` wrote", str(error)) from error
    if made.ndim != 2 or made.shape[1] not in (1, 4, 9, 16, 25) or not np.isfinite(made).all():
        raise DataError(path, "sky", "finite numbers (channel, harmonic)", str(made.shape))
    return made


def light_of(text: str) -> Light:
    """A direction of length one and a strength."""
    import numpy as np

    from tomodiff.errors import ConfigError

    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    size = float(np.linalg.norm(numbers[:3])) if numbers else 0.0
    if len(numbers) not in (3, 4) or not np.isfinite(numbers).all() or not size > 0:
        raise ConfigError(f"--light {text}: expected X,Y,Z or X,Y,Z,STRENGTH")
    if numbers[2] <= 0 or (len(numbers) == 4 and numbers[3] < 0):
        raise ConfigError(
            f"--light {text}: expected a light above the picture (Z above 0), of a strength of at least 0"
        )
    return np.array(numbers[:3]) / size, numbers[3] if len(numbers) == 4 else 1.0
