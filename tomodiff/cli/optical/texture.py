"""The albedo of a body's surface, from photographs with known cameras and a mesh."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tomodiff.cli.console import STATE, say, tell

if TYPE_CHECKING:
    from tomodiff.recipes.optical.texturing import Shot, TexturePlan


def find_texture(photos: Path, mesh: Path, suns: Path | None, test: Path | None, plan: TexturePlan, gamma: float,
                 out: Path) -> None:  # fmt: skip
    """Write the texture.  DataError for photographs or meshes that cannot be read, or do not belong together."""
    import numpy as np

    from tomodiff.errors import ConfigError, DataError
    from tomodiff.files.atomic import make_folder, replace_text
    from tomodiff.files.body_mesh import read_body
    from tomodiff.files.pictures import write_array, write_picture
    from tomodiff.projectors.terrain.photometry import MODELS
    from tomodiff.recipes.optical.scene import psnr
    from tomodiff.recipes.optical.texturing import seen_with, textured
    from tomodiff.recipes.progress import Progress

    if plan.model not in MODELS:
        raise ConfigError(f"--model {plan.model}: expected one of {', '.join(MODELS)}")
    if not gamma > 0 or not plan.smooth >= 0:
        raise ConfigError("--gamma, --smooth: expected a number above 0, and one of at least 0")
    body, (names, shots) = read_body(mesh), read_shots(photos, suns, gamma)
    with Progress(quiet=STATE.quiet).stage("texture", total=len(shots) + plan.rounds) as stage:
        try:
            found = textured(body, shots, plan, stage.advance)
        except ValueError as error:
            raise DataError(mesh, "mesh", "one that the photographs show", str(error)) from error
    tests = []
    for name, shot in zip(*(read_shots(test, suns, gamma) if test else ([], [])), strict=True):
        shown, inside = seen_with(body, shot, found.texture, plan)
        if not inside.any():
            raise DataError(test or photos, name, "a photograph that shows a lit part of the mesh", "none of it")
        tests.append((shot.picture, shown, psnr(shown[inside], shot.picture[inside])))
    make_folder(out)
    seen = found.known
    write_array(out / "albedo.npy", np.where(seen[..., None], found.texture, np.nan))
    most = max(float(np.percentile(found.texture[seen], 99.5)), 1e-12)
    write_picture(out / "albedo.png", np.where(seen[..., None], found.texture / most, 0).clip(0, 1) ** (1 / gamma))
    write_picture(out / "seen.png", (found.seen / max(float(np.percentile(found.seen, 99)), 1e-12)).clip(0, 1))
    facts = {
        "photographs": len(shots),
        "seen": f"{seen.mean():.0%} of the texture",
        "rms of what fits": f"{found.rms:.4g}",
    }
    measured = [decibels for _, _, decibels in tests]
    for number, (seen_picture, shown, _) in enumerate(tests):
        write_picture(
            out / f"test{number}.png", np.concatenate([seen_picture, shown], axis=1).clip(0, 1) ** (1 / gamma)
        )
    if measured:
        facts["PSNR of held-out photographs, dB"] = f"{np.mean(measured):.1f} (least {min(measured):.1f})"
    exposures = dict(zip(names, map(float, found.exposures), strict=True))
    replace_text(
        out / "found.json", json.dumps({**facts, "exposures": exposures, "psnr_db": measured}, indent=1) + "\n"
    )
    tell({name: str(value) for name, value in facts.items()})
    say(f"texture  {out}")


def plan_of(size: str, uv: bool, model: str, exposures: bool, smooth: float) -> TexturePlan:
    """What is sought.  ConfigError for a size that is none."""
    from tomodiff.errors import ConfigError
    from tomodiff.recipes.optical.texturing import TexturePlan

    words = size.lower().split("x")
    if len(words) != 2 or not all(word.isdigit() and int(word) >= 2 for word in words):
        raise ConfigError(f"--size {size}: expected ROWSxCOLUMNS, as 256x512")
    return TexturePlan((int(words[0]), int(words[1])), uv, model, exposures, smooth)


def read_shots(photos: Path, suns: Path | None, gamma: float) -> tuple[list[str], list[Shot]]:
    """Names, and photographs with their cameras and suns.  DataError for what does not belong together."""
    import numpy as np

    from tomodiff.errors import DataError
    from tomodiff.files.photographs import read_views
    from tomodiff.files.planetary import read_directions
    from tomodiff.projectors.terrain.reflectance import direction
    from tomodiff.recipes.optical.texturing import Shot

    views = read_views(photos)
    told = {} if suns is None else read_directions(suns, None)
    towards = {n: direction(*np.radians([light.sun_azimuth, light.sun_elevation])) for n, light in told.items()}
    names, shots = [], []
    for view in views:
        if suns is not None and view.path.name not in towards:
            raise DataError(suns, view.path.name, "a line IMAGE X Y Z for each photograph", "none")
        names.append(view.path.name)
        shots.append(Shot(np.maximum(view.numbers(), 0) ** gamma, view.camera, towards.get(view.path.name)))
    channels = {shot.picture.shape[-1] for shot in shots}
    if len(channels) > 1:
        raise DataError(photos, "channels", "photographs that all are grey or all have colours", str(sorted(channels)))
    return names, shots
