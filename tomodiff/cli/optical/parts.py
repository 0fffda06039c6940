"""Fit the parts of a YAML file to photographs, and write them with their deviations."""

from __future__ import annotations

from pathlib import Path

from tomodiff.cli.console import STATE, say
from tomodiff.cli.parts_file import plain, read_parts, show_parts

UNITS = {"half": "", "place": "", "turn": "degrees", "colour": ""}


def find_seen_parts(photos: Path, parts: Path, silhouettes: bool, gamma: float, out: Path) -> None:
    """Write the parts.  DataError for photographs that cannot be read, ConfigError for parts that cannot be."""
    import numpy as np

    from tomodiff.errors import ConfigError
    from tomodiff.files.atomic import replace_text
    from tomodiff.files.photographs import read_views
    from tomodiff.files.pictures import write_picture
    from tomodiff.recipes.optical.parts import Shown, fit_shown
    from tomodiff.recipes.progress import Progress
    from tomodiff.recipes.yaml_tree import write_yaml

    if not gamma > 0:
        raise ConfigError(f"--gamma: expected a number above 0, got {gamma}")
    begin = read_parts(parts, list(UNITS), density=False)
    shots = []
    for view in read_views(photos):
        colours, opacity = view.layers()
        bare = np.maximum(colours, 0) / np.maximum(opacity[..., None], 1e-6)  # brightness is that of what is not clear
        clear = None if opacity.min() == 1 else opacity
        shots.append(Shown(np.where(opacity[..., None] > 0, bare, 0) ** gamma * opacity[..., None], clear, view.camera))
    with Progress(quiet=STATE.quiet).stage("parts") as stage:
        try:
            found = fit_shown(shots, begin, silhouettes, advance=stage.advance)
        except ValueError as error:
            raise ConfigError(f"{parts}: {error}") from error
    units = {group: unit for group, unit in UNITS.items() if not (silhouettes and group == "colour")}
    replace_text(out, write_yaml({
        "parts": [plain(part) for part in found.parts], "deviations": found.deviations,
        "light": found.light.tolist(), "rms": found.rms,
    }))  # fmt: skip
    show_parts(found.parts, found.deviations, units)
    seen, fit = max(found.pictures, key=lambda pair: float(((pair[0] - pair[1]) ** 2).sum()))
    rest = ((fit - seen) / max(6 * found.rms, 1e-12) + 0.5)[..., :3]
    sheet = np.concatenate([seen[..., :3], fit[..., :3], rest], axis=1).clip(0, 1)
    write_picture(out.with_suffix(".png"), sheet if sheet.shape[2] == 3 else sheet[..., 0])
    say(f"parts  {out}, and the worst photograph, the fit and what is left (grey is none) {out.with_suffix('.png')}")
