"""A thing whose normals, albedo and heights are known, under other lights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tomodiff.cli.console import say

if TYPE_CHECKING:
    import numpy as np


def show(found: Path, lights: Sequence[str], out: Path, ambient: float, gamma: float) -> None:
    """Write brightness (.npy) or a picture.  ConfigError for lights that cannot be, DataError for a folder without
    normals."""
    import numpy as np

    from tomodiff.analytic.photometric_stereo import gloss
    from tomodiff.errors import ConfigError, DataError
    from tomodiff.files.pictures import write_array, write_picture
    from tomodiff.projectors.terrain.shadows import Shadows

    chosen = [_light(text) for text in lights]
    if not gamma > 0 or not ambient >= 0:
        raise ConfigError("--gamma, --ambient: expected a number above 0, and one of at least 0")
    arrays = {}
    for name in ("normals", "albedo", "heights"):
        path = found / f"{name}.npy"
        try:
            arrays[name] = np.load(path, allow_pickle=False).astype(np.float64)
        except (OSError, ValueError) as error:
            raise DataError(path, "array", "one that `tomodiff optical normals` wrote", str(error)) from error
    try:
        lobe = json.loads((found / "found.json").read_text(encoding="utf-8")).get("lobe")
    except (OSError, ValueError):
        lobe = None
    inside = np.isfinite(arrays["normals"]).all(axis=-1)
    heights = np.where(inside, np.nan_to_num(arrays["heights"]), np.nanmin(arrays["heights"])).astype(np.float32)
    normals, albedo = arrays["normals"][inside], arrays["albedo"][inside]
    made = np.zeros_like(arrays["albedo"])
    made[inside] = ambient * albedo
    for towards, strength in chosen:
        seen = np.ones(len(normals))
        if towards[2] < 1 - 1e-9:
            seen = np.asarray(Shadows(heights.shape)({"height": heights, "sun": towards}))[inside]
        shine = gloss(normals, towards[None], *lobe)[0] if lobe else 0.0
        matt = albedo * np.maximum(normals @ towards, 0)[:, None]
        made[inside] += strength * seen[:, None] * (matt + np.reshape(shine, (-1, 1)))
    if out.suffix.lower() == ".npy":
        write_array(out, made)
    else:
        picture = made.clip(0, 1) ** (1 / gamma)
        write_picture(out, picture[..., 0] if picture.shape[-1] == 1 else picture)
    say(f"relit  {out}")


def _light(text: str) -> tuple[np.ndarray, float]:
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
