"""Draw a set of labelled pictures, write and check it."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tomodiff.cli.console import STATE, note, say, tell
from tomodiff.cli.outputs import refuse_existing

REPROJECTION_PX = 1e-6
"""How far flow may be from what depth and cameras say."""
FITTED = ("gain", "black", "blur", "read_noise")


def print_template() -> None:
    """A settings file with all defaults."""
    from pydantic import BaseModel

    from tomodiff.recipes.optical.dataset_settings import DatasetSettings

    def shown(value: object) -> str:
        return json.dumps(list(value) if isinstance(value, tuple) else value)

    print("# What to draw. Run it with: tomodiff simulate dataset THIS_FILE -o FOLDER")
    print("# Two numbers are a range, from which one is drawn for each picture.")
    for name, field in DatasetSettings.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            print(f"\n{name}:")
            for inner, one in model.model_fields.items():
                print(f"  {inner}: {shown(one.default)}".ljust(48) + f"  # {one.description}")
        else:
            print(f"{name}: {shown(field.default)}".ljust(48) + f"  # {field.description}")


def make(config: Path | None, out: Path, pictures: int | None, seed: int | None, overwrite: bool) -> None:
    """Write the set.  ConfigError for settings that cannot be, DataError where it cannot be written."""
    from tomodiff.errors import ConfigError, TomodiffError
    from tomodiff.files.atomic import make_folder, replace_text
    from tomodiff.files.labelled import Bop, Coco, labelled_hdf5
    from tomodiff.files.pictures import write_picture
    from tomodiff.recipes.config_file import settings_in
    from tomodiff.recipes.optical.dataset_settings import DatasetSettings
    from tomodiff.recipes.progress import Progress
    from tomodiff.simulate.labelled import consistency, draw, taken
    from tomodiff.simulate.solids import KINDS

    settings = DatasetSettings() if config is None else settings_in(config, DatasetSettings)
    given = {name: value for name, value in (("pictures", pictures), ("seed", seed)) if value is not None}
    if any(value < (name == "pictures") for name, value in given.items()):
        raise ConfigError("--pictures, --seed: expected at least 1, and at least 0")
    settings = settings.model_copy(update=given)
    refuse_existing(overwrite, out)
    plain = settings.model_dump(mode="json")
    for name in ("images", "parameters"):
        make_folder(out / name)
    coco, worst = Coco(KINDS), {"reprojection_px": 0.0, "masks": 1.0, "hidden": 1.0, "normals": 0.0}
    bop = Bop(out / "bop", KINDS, settings.unit_mm) if "bop" in settings.formats else None
    whole: Any = nullcontext()
    if "hdf5" in settings.formats:
        whole = labelled_hdf5(out / "dataset.h5", settings.pictures, settings.camera.pixels, json.dumps(plain))
    with Progress(quiet=STATE.quiet).stage("pictures", total=settings.pictures) as stage, whole as add:
        for number in range(settings.pictures):
            picture = taken(draw(plain, number))
            name, things = f"{number:06d}.png", picture.draw.things
            write_picture(out / "images" / name, picture.values)
            replace_text(out / "parameters" / f"{number:06d}.json", json.dumps(picture.draw.record, indent=1) + "\n")
            coco.add(number, f"images/{name}", picture.visible, [thing.kind for thing in things])
            if bop is not None:
                masks = picture.whole, picture.visible
                bop.add(number, picture.values, picture.exact.depth, picture.draw.camera, things, *masks)
            found = consistency(picture)
            for key in ("reprojection_px", "normals"):
                worst[key] = max(worst[key], found[key])
            for key in ("masks", "hidden"):
                worst[key] = min(worst[key], found[key])
            if add is not None:
                add(picture)
            stage.advance()
    if bop is not None:
        bop.write()
    if "coco" in settings.formats:
        coco.write(out)
    replace_text(out / "settings.json", json.dumps({**plain, "consistency": worst}, indent=1) + "\n")
    tell({"pictures": str(settings.pictures), **{key: f"{value:.3g}" for key, value in worst.items()}})
    say(f"dataset  {out}")
    if (
        worst["reprojection_px"] > REPROJECTION_PX
        or min(worst["masks"], worst["hidden"]) < 1
        or worst["normals"] > 1e-6
    ):
        raise TomodiffError(f"{out}: labels do not agree with each other: {worst}")


def find_sensor(picture: Path, light: Path) -> None:
    """Print the sensor with which light looks like a real picture."""
    from tomodiff.errors import DataError
    from tomodiff.files.pictures import read_picture
    from tomodiff.simulate.sensor import fit_sensor

    real, given = read_picture(picture), read_picture(light)
    try:
        found = fit_sensor(given, real)
    except ValueError as error:
        raise DataError(light, "light", "that of the real picture", str(error).partition(": ")[2]) from error
    tell({name: f"{getattr(found, name):.4g}" for name in FITTED})
    ends = ", ".join(f"{name}: [{getattr(found, name):.4g}, {getattr(found, name):.4g}]" for name in FITTED)
    note(f"sensor: {{{ends}}}")
