"""Normals, albedo and heights of a thing from pictures under several lights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomodiff.cli.console import STATE, say, tell

if TYPE_CHECKING:
    import numpy as np

    from tomodiff.recipes.optical.material_fit import Plan


def plan_of(model: str, free: str | None, glossy: bool, sky: int | None, unequal: bool, uncertain: float) -> Plan:
    """What is sought.  ConfigError for what cannot be."""
    from tomodiff.errors import ConfigError
    from tomodiff.recipes.optical.material_fit import Plan

    if sky is not None and not 0 <= sky <= 4:
        raise ConfigError(f"--sky {sky}: expected a degree from 0 to 4")
    if not 0 <= uncertain <= 45:
        raise ConfigError(f"--uncertain {uncertain:g}: expected degrees from 0 to 45")
    plan = Plan(model, None if free is None else tuple(free.replace(",", " ").split()), glossy, sky, unequal, uncertain)
    try:
        assert plan.sought is not None
    except ValueError as error:
        raise ConfigError(f"--model, --free: {error}") from error
    return plan


def find_normals(
    pictures: Sequence[Path], lights: Path, mask: Path | None, gamma: float, plan: Plan, out: Path
) -> None:
    """Write what pictures (files, or one folder of them) tell.  DataError for what cannot be read, or tells nothing."""
    import numpy as np

    from tomodiff.analytic.photometric_stereo import integrated, spread_of
    from tomodiff.errors import ConfigError, DataError
    from tomodiff.files.atomic import make_folder, replace_text
    from tomodiff.files.pictures import write_array, write_picture
    from tomodiff.files.planetary import read_directions
    from tomodiff.projectors.terrain.photometry import model_named
    from tomodiff.projectors.terrain.reflectance import direction
    from tomodiff.recipes.optical.materials import albedo_of, materials, parts
    from tomodiff.recipes.optical.thing import FACTS
    from tomodiff.recipes.progress import Progress

    if out.resolve() in (path.resolve() for path in pictures):
        raise ConfigError(f"--out: expected another folder than that of the pictures, {out}")
    files = sorted(p for p in pictures[0].iterdir() if p.is_file()) if pictures[0].is_dir() else list(pictures)
    files = [path for path in files if path != lights and path != mask and path.suffix.lower() not in (".txt", ".md")]
    if not gamma > 0:
        raise ConfigError(f"--gamma {gamma}: expected a number above 0")
    told = read_directions(lights, [path.name for path in files])
    missing = [path.name for path in files if path.name not in told]
    if missing or len(files) < 3:
        got = f"none of {', '.join(missing[:3])}" if missing else f"{len(files)} pictures"
        raise DataError(lights, "lights", "a direction for each of three pictures or more", got)
    images = [brightness(path) ** gamma for path in files]
    if len({image.shape[:2] for image in images}) > 1:
        raise DataError(pictures[0], "size", "pictures of one size", str(sorted({i.shape[:2] for i in images})))
    inside = _mask(mask, images)
    grey = np.stack([image.mean(axis=-1)[inside] for image in images])
    azimuth, elevation = (
        np.radians([getattr(told[p.name], n) for p in files]) for n in ("sun_azimuth", "sun_elevation")
    )
    directions = direction(azimuth, elevation)
    try:
        with Progress(quiet=STATE.quiet).stage("fit", total=parts(*grey.shape)) as stage:
            found = materials(grey, directions, plan, stage.advance)
    except ValueError as error:
        raise DataError(lights, "lights", "directions that tell normals", str(error).partition(": ")[2]) from error
    shape = inside.shape
    normals, share, degrees = np.full((*shape, 3), np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
    normals[inside], share[inside], degrees[inside] = found.x["normals"], found.fitting, found.degrees
    albedo = np.full(images[0].shape, np.nan)
    albedo[inside] = albedo_of(np.stack([image[inside] for image in images]), found, plan)
    heights = integrated(np.nan_to_num(normals), inside)
    make_folder(out)
    maps = {"normals": normals, "albedo": albedo, "heights": heights, "fitting": share, "degrees": degrees}
    for name, values in maps.items():
        write_array(out / f"{name}.npy", values)
        write_picture(out / f"{name}.png", _shown(name, values))
    facts: dict[str, Any] = {
        "pictures": len(files), "pixels": int(inside.sum()),
        "spread of the lights": f"{spread_of(directions):.3f} (1: even, 0: in one plane)",
        "lights that fit a pixel": f"{float(np.mean(found.fitting)):.0%}",
        "normals' deviation, degrees": f"{float(np.median(found.degrees)):.2f}",
    }  # fmt: skip
    parameters = dict(zip(model_named(plan.model).names, found.x["parameters"].tolist(), strict=True))
    facts |= {name: f"{parameters[name]:.4g}" for name in plan.sought}
    if plan.glossy:
        facts["roughness, F0"] = "{:.3f}, {:.3f}".format(*found.x["gloss"][1:])
    if plan.sky is not None:
        facts["sky's mean"] = f"{found.x['sky'][0]:.4g}"
    if found.untold:
        facts["not told by the pictures"] = "; ".join(found.untold)
    each = zip(files, found.x["lights"], found.x["strengths"], strict=True)
    of_lights = {path.name: [*map(float, light), float(strength)] for path, light, strength in each}
    told_materials = {
        "model": plan.model, "parameters": parameters, "gloss": found.x["gloss"].tolist(),
        "sky": found.x["sky"].tolist() if plan.sky is not None else None,
        "lights": of_lights, "untold": found.untold,
    }  # fmt: skip
    replace_text(out / FACTS, json.dumps({**facts, "materials": told_materials}, indent=1) + "\n")
    tell(facts)
    say("albedo is known up to one factor, the strength of the lights; heights up to a constant, in pixels")
    say(f"normals  {out}")


def brightness(path: Path) -> np.ndarray:
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
        bright = brightness(path).mean(axis=-1)
        inside = bright > 0.5 * float(bright.max())
        if inside.shape != shape:
            raise DataError(path, "size", f"{shape} pixels as the pictures have", str(inside.shape))
    if not inside.any():
        raise DataError(path or "pictures", "mask", "pixels that count", "none")
    return inside


def _shown(name: str, values: np.ndarray) -> np.ndarray:
    """A picture of an array, from 0 to 1."""
    import numpy as np

    if name == "normals":
        return np.nan_to_num((values + 1) / 2)
    if name == "albedo":
        made: np.ndarray = np.nan_to_num(values / max(float(np.nanpercentile(values, 99)), 1e-12))
        return made
    low, high = (0.0, 1.0) if name == "fitting" else (float(np.nanmin(values)), float(np.nanmax(values)))
    if name == "degrees":
        low, high = 0.0, max(float(np.nanpercentile(values, 95)), 1e-12)
    return np.nan_to_num((values - low) / max(high - low, 1e-12))
