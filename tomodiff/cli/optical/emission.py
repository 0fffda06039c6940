"""Find the light that volumes give out, from the images that a YAML file names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tomodiff.cli.console import STATE, say, tell

if TYPE_CHECKING:
    import numpy as np

SHOWN = 6
"""Images that are drawn beside what is seen of the volume, at most."""


def find_emission(config: Path, out: Path, form: str) -> None:
    """Write the volumes.  ConfigError for settings that cannot be, DataError for images that cannot be read."""
    import numpy as np

    from tomodiff.errors import ConfigError
    from tomodiff.files import write
    from tomodiff.files.atomic import make_folder, replace_text
    from tomodiff.files.pictures import write_picture
    from tomodiff.files.volumes.formats import SUFFIXES
    from tomodiff.recipes.optical.emission import INNER, fit_emission, noise_of
    from tomodiff.recipes.optical.emission_images import absorption_of, axial_of, images_of
    from tomodiff.recipes.optical.emission_settings import read_emission_settings
    from tomodiff.recipes.progress import Progress
    from tomodiff.result import Result

    if f".{form}" not in SUFFIXES:
        raise ConfigError(f"--format {form}: expected one of {', '.join(s[1:] for s in SUFFIXES)}")
    settings = read_emission_settings(config)
    seen, pictures, grid = images_of(settings, config.parent)
    absorption = absorption_of(settings, config.parent, grid)
    chosen = settings.fit
    noise = float(np.sqrt(np.mean([noise_of(picture) ** 2 for _, picture in pictures])))
    with Progress(quiet=STATE.quiet).stage("fit", unit="it") as stage:
        found = fit_emission(
            grid, seen, axial_of(settings.axis, grid), absorption, None if chosen.smooth == "auto" else chosen.smooth,
            noise, chosen.iterations, lambda rms: stage.advance(INNER, rms=rms),
        )  # fmt: skip
    make_folder(out)
    named = [("emission" if len(found.emission) == 1 else f"emission{k}", one) for k, one in enumerate(found.emission)]
    if settings.absorption == "fit" and found.absorption is not None:
        named.append(("absorption", found.absorption))
    for name, volume in named:
        meta = {"command": f"tomodiff optical emission {config.name}"}
        write(out / f"{name}.{form}", Result(volume, grid, name, "1/mm", meta=meta))
        write_picture(out / f"{name}.png", sections(volume))
    shown = [whole for _, whole in pictures]
    for number, (truth, picture) in enumerate(zip(shown, like(shown, found.images), strict=True)):
        if number < SHOWN:
            write_picture(out / f"image{number}.png", side_by_side(truth, picture))
    facts = {"images": len(pictures), "rays": sum(len(one.values) for one in seen), "voxels": list(grid.shape),
             "what images miss, of their deviation": f"{found.rms:.4g}", "smooth": f"{found.smooth:.3g}"}  # fmt: skip
    replace_text(out / "found.json", json.dumps({**facts, "rms": found.rms, "centre": list(grid.center),
                                                 "spacing": list(grid.spacing)}, indent=1) + "\n")  # fmt: skip
    tell({name: str(value) for name, value in facts.items()})
    say(f"emission  {out}")


def like(pictures: list[np.ndarray], values: list[np.ndarray]) -> list[np.ndarray]:
    """What rays see, in the form of the pictures whose finite pixels they are."""
    import numpy as np

    flat, made, first = np.concatenate(values), [], 0
    for picture in pictures:
        inside, one = np.isfinite(picture), np.full(picture.shape, np.nan)
        one[inside] = flat[first : first + int(inside.sum())]
        first += int(inside.sum())
        made.append(one)
    return made


def side_by_side(truth: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """An image, what is seen of the volume, and twice the difference about grey."""
    import numpy as np

    most = max(float(np.nanpercentile(truth, 99.5)), 1e-30)
    return np.nan_to_num(np.concatenate([truth / most, picture / most, (picture - truth) / most * 2 + 0.5], axis=1))


def sections(volume: np.ndarray) -> np.ndarray:
    """The three middle sections of a volume (z, y, x), side by side, from 0 to its brightest."""
    import numpy as np

    middle = [n // 2 for n in volume.shape]
    cuts = [volume[middle[0]], volume[:, middle[1]], volume[:, :, middle[2]]]
    tall = max(cut.shape[0] for cut in cuts)
    padded = [np.pad(cut, ((0, tall - cut.shape[0]), (0, 2))) for cut in cuts]
    made: np.ndarray = np.concatenate(padded, axis=1) / max(float(volume.max()), 1e-30)
    return made
