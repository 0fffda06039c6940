"""Fit the parts of a YAML file to a scan, and write them with their deviations."""

from __future__ import annotations

from pathlib import Path

from tomodiff.cli.console import STATE, say
from tomodiff.cli.options import Overrides
from tomodiff.cli.parts_file import plain, read_parts, show_parts

UNITS = {"half": "mm", "place": "mm", "turn": "degrees", "density": "1/mm"}


def find_parts(scan: Path, parts: Path, given: Overrides, out: Path) -> None:
    """Write the parts.  DataError for a scan that cannot be read, ConfigError for parts that cannot be."""
    import numpy as np

    from tomodiff.errors import ConfigError
    from tomodiff.files import read
    from tomodiff.files.atomic import replace_text
    from tomodiff.files.pictures import write_picture
    from tomodiff.prepare import prepare
    from tomodiff.recipes.config_file import settings_from
    from tomodiff.recipes.ct.radiographs import fit_parts
    from tomodiff.recipes.progress import Progress
    from tomodiff.recipes.yaml_tree import write_yaml

    begin = read_parts(parts, list(UNITS))
    settings = settings_from({"input.path": (str(scan), "the scan"), **given})
    chosen = settings.input
    dataset = read(chosen.path, **chosen.selection(), **chosen.setup())
    if dataset.kind != "line_integrals":
        dataset = prepare(dataset, **{**settings.prepare.options(), "rings": "off"})[0]
    with Progress(quiet=STATE.quiet).stage("parts") as stage:
        try:
            found = fit_parts(dataset, begin, advance=stage.advance)
        except ValueError as error:
            raise ConfigError(f"{parts}: {error}") from error
    replace_text(out, write_yaml({
        "parts": [plain(part) for part in found.parts], "deviations": found.deviations, "rms": found.rms,
    }))  # fmt: skip
    show_parts(found.parts, found.deviations, UNITS)
    worst = int(np.argmax((found.residual**2).sum(axis=(1, 2))))
    picture = found.residual[worst] / max(6 * found.rms, 1e-12) + 0.5
    write_picture(out.with_suffix(".png"), picture.clip(0, 1))
    say(f"parts  {out}, and what is left of view {worst} (grey is none) {out.with_suffix('.png')}")
